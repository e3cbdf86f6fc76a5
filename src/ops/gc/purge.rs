//! Removes expired entries from the local trash: overlays and volumes, and files of worktrees.

use std::path::Path;

use crate::context::Context;
use crate::error::{Kind, Result, with_causes};
use crate::model::id::Id;
use crate::observe::{Notice, NoticeLevel, Observer};
use crate::ops::mount::bytes_below;
use crate::repo::Repo;
use crate::repo::local_trash::{LocalTrash, TrashedOverlay};
use crate::repo::refs::Move;
use crate::snapshot::overwritten::{overwritten_files, take_out};

/// The entries that were removed from the local trash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PurgeReport {
    pub entries: u64,
    /// The bytes of overlays and volumes. Files of worktrees do not count, because their data is in
    /// packs.
    pub bytes: u64,
}

impl PurgeReport {
    /// Deletes the overlays that are in the trash since `since` or longer, in seconds since 1970. A
    /// dry run only counts them.
    pub(super) fn overlays(
        &mut self,
        context: &Context,
        since: i64,
        dry_run: bool,
        observer: &dyn Observer,
    ) -> Result<()> {
        let trash = LocalTrash::of(&context.repository);
        if !dry_run {
            trash.sweep();
        }
        for overlay in due_overlays(&context.repository, since)? {
            let bytes = bytes_below(&overlay.dir);
            observer.step("trash");
            let is_gone = if dry_run {
                Ok(true)
            } else {
                trash.delete(&overlay.id)
            };
            match is_gone {
                Ok(true) => {
                    self.entries += 1;
                    self.bytes += bytes;
                }
                Ok(false) => {}
                // Another member of a shared repository has to delete it.
                Err(e) if e.kind() == Kind::Denied => observer.notice(Notice {
                    level: NoticeLevel::Warning,
                    path: Vec::new(),
                    message: format!(
                        "`{}` stays in the trash: {}",
                        overlay.id,
                        with_causes(e.as_error())
                    ),
                }),
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    /// Takes the files of worktrees out of the trash that are in it since `since` or longer. Their
    /// data stays until the collection deletes it. A dry run only counts them.
    pub(super) fn files(
        &mut self,
        context: &Context,
        repo: &Repo,
        since: i64,
        dry_run: bool,
        observer: &dyn Observer,
    ) -> Result<()> {
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
        self.entries += due.len() as u64;
        if dry_run {
            return Ok(());
        }
        let mut worktrees: Vec<_> = due.iter().map(|files| &files.worktree).collect();
        worktrees.dedup();
        for worktree in worktrees {
            let is_due = |id: &Id| due.iter().any(|files| files.id == *id);
            take_out(repo, observer, worktree, &is_due, &how)?;
        }
        Ok(())
    }
}

/// Returns the overlays that are older than `since`.
pub(super) fn due_overlays(repository: &Path, since: i64) -> Result<Vec<TrashedOverlay>> {
    let all = LocalTrash::of(repository).list()?.into_iter();
    Ok(all.filter(|overlay| overlay.time <= since).collect())
}
