//! Removes what has been in the local trash for long enough: overlays and volumes, and files of
//! worktrees.

use std::path::Path;

use crate::context::Context;
use crate::error::Result;
use crate::model::id::Id;
use crate::observe::Observer;
use crate::ops::mount::bytes_below;
use crate::repo::Repo;
use crate::repo::local_trash::{LocalTrash, TrashedOverlay};
use crate::repo::refs::Move;
use crate::snapshot::overwritten::{overwritten_files, take_out};

/// The entries that were removed from the local trash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PurgeReport {
    pub entries: u64,
    /// The bytes of overlays and volumes. The data of files of worktrees is part of packs.
    pub bytes: u64,
}

/// Removes entries that are older than `since`, in seconds since 1970. A dry run only counts them.
pub(super) fn purge(
    context: &Context,
    repo: &Repo,
    since: i64,
    dry_run: bool,
    observer: &dyn Observer,
) -> Result<PurgeReport> {
    let mut report = PurgeReport::default();
    let trash = LocalTrash::of(&context.repository);
    if !dry_run {
        trash.sweep();
    }
    for overlay in due_overlays(&context.repository, since)? {
        let bytes = bytes_below(&overlay.dir);
        observer.step("trash");
        if dry_run || trash.delete(&overlay.id)? {
            report.entries += 1;
            report.bytes += bytes;
        }
    }
    let how = Move {
        who: &context.author,
        why: "gc: the time in the trash is over",
        time: context.moved_at(),
    };
    let files = overwritten_files(repo)?;
    let due: Vec<_> = files
        .iter()
        .filter(|files| {
            let commit = files.commit.as_ref();
            commit.is_ok_and(|commit| commit.time.secs <= since)
        })
        .collect();
    report.entries += due.len() as u64;
    if dry_run {
        return Ok(report);
    }
    let mut worktrees: Vec<_> = due.iter().map(|files| &files.worktree).collect();
    worktrees.dedup();
    for worktree in worktrees {
        let is_due = |id: &Id| due.iter().any(|files| files.id == *id);
        take_out(repo, observer, worktree, &is_due, &how)?;
    }
    Ok(report)
}

/// Returns the overlays that are older than `since`.
pub(super) fn due_overlays(repository: &Path, since: i64) -> Result<Vec<TrashedOverlay>> {
    let all = LocalTrash::of(repository).list()?.into_iter();
    Ok(all.filter(|overlay| overlay.time <= since).collect())
}
