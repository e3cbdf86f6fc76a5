//! Restores and deletes entries of the trash: overlays, and files of worktrees.

use std::path::{Path, PathBuf};

use super::error::TrashError;
use super::list::{TrashEntry, TrashItem};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::model::id::Id;
use crate::model::refname::RefName;
use crate::model::revision::{Revision, RevisionBase};
use crate::mount::daemon::{OverlayBase, overlay_base};
use crate::observe::Observer;
use crate::ops::checkout::{CheckoutError, CheckoutOptions, CheckoutReport, checkout};
use crate::ops::mount::OVERLAYS;
use crate::query::worktree::WalkOptions;
use crate::repo::local_trash::{LocalTrash, LocalTrashError};
use crate::repo::refs::Move;
use crate::snapshot::overwritten::take_out;

/// An overlay that can be mounted again.
#[derive(Clone, Debug)]
pub struct RestoredOverlay {
    pub repository: PathBuf,
    pub name: String,
    /// The base; `None` if the overlay cannot be read.
    pub base: Option<OverlayBase>,
}

/// Moves an overlay out of the trash. A dry run only reports it.
pub fn restore_overlay(
    repository: &Path,
    id: &str,
    name: &str,
    dry_run: bool,
) -> Result<RestoredOverlay> {
    // The name comes from a file that another user of the repository may have written.
    if name.is_empty() || name.starts_with('.') || name.contains('/') {
        return Err(TrashError::BadName(id.to_owned()).into());
    }
    let trash = LocalTrash::of(repository);
    let to = repository.join(OVERLAYS).join(name);
    if !dry_run {
        trash.take_out(id, &to)?;
    }
    let dir = if dry_run { trash.path(id) } else { to };
    Ok(RestoredOverlay {
        repository: repository.to_owned(),
        name: name.to_owned(),
        base: overlay_base(&dir, name).ok().flatten(),
    })
}

/// Deletes an overlay in the trash.
pub fn delete_overlay(repository: &Path, id: &str) -> Result<()> {
    let trash = LocalTrash::of(repository);
    trash.sweep();
    if trash.delete(id)? {
        Ok(())
    } else {
        Err(LocalTrashError::Missing(id.to_owned()).into())
    }
}

/// The result of restoring files.
#[derive(Debug)]
pub struct FilesReport {
    /// The directory that has the files now.
    pub dir: PathBuf,
    pub checkout: CheckoutReport,
    /// Whether the entry stays in the trash: because the files were restored to another directory,
    /// or not completely.
    pub stays: bool,
}

/// Restores the files of an entry to the worktree of the context, or to the directory `to`, which
/// must be missing or empty. Files of the worktree that have changed since are not overwritten. The
/// entry leaves the trash if all files are in the worktree again.
pub fn restore_files(
    context: &Context,
    entry: &TrashEntry,
    to: Option<&Path>,
    dry_run: bool,
    observer: &dyn Observer,
) -> Result<FilesReport> {
    let TrashItem::Files {
        worktree_ref,
        commit_id,
        commit: Some(commit),
        ..
    } = &entry.item
    else {
        return Err(TrashError::Damaged(entry.id.clone()).into());
    };
    let repo = context.repo()?;
    let paths: Vec<Vec<u8>> = repo
        .root(&commit.tree)?
        .1
        .into_iter()
        .map(|entry| entry.name)
        .collect();
    // A checkout without paths replaces the complete worktree.
    if paths.is_empty() {
        return Err(TrashError::Damaged(entry.id.clone()).into());
    }
    let revision = Revision {
        base: RevisionBase::Name(RefName::new(&commit_id.to_string())?),
        suffixes: Vec::new(),
    };
    let options = CheckoutOptions {
        revision: Some(revision),
        into: to.map(Path::to_path_buf),
        paths,
        keep_extra: true,
        dry_run,
        // Ignore rules that were added later must not hide a file that the trash has.
        walk: WalkOptions::default(),
        ..CheckoutOptions::default()
    };
    drop(repo);
    let done = checkout(context, &options, observer).map_err(|e| changed(e, &entry.id))?;
    let is_whole = done.done.incomplete == 0 && done.done.damaged == 0;
    let stays = to.is_some() || dry_run || !is_whole;
    if !stays {
        // Another process may have restored the same files.
        forget_files(context, worktree_ref, commit_id, "restored", observer)?;
    }
    Ok(FilesReport {
        dir: to.map_or_else(|| context.worktree.clone(), Path::to_path_buf),
        checkout: done,
        stays,
    })
}

/// Turns the error of a refused checkout into one that names the entry.
fn changed(e: Error, id: &str) -> Error {
    match e.as_error().downcast_ref::<CheckoutError>() {
        Some(CheckoutError::Dirty { paths, more }) => {
            let mut paths = paths
                .iter()
                .map(|path| format!("`{path}`"))
                .collect::<Vec<_>>();
            paths.extend((*more > 0).then(|| format!("{more} more")));
            TrashError::Changed {
                id: id.to_owned(),
                paths: paths.join(", "),
            }
            .into()
        }
        _ => e,
    }
}

/// Removes files of a worktree from the trash. A garbage collection then deletes their data.
pub fn delete_files(
    context: &Context,
    worktree: &RefName,
    commit: &Id,
    why: &str,
    observer: &dyn Observer,
) -> Result<()> {
    if forget_files(context, worktree, commit, why, observer)? {
        Ok(())
    } else {
        Err(LocalTrashError::Missing(commit.short()).into())
    }
}

/// Removes files of a worktree from the trash. Returns false if they are not in it.
fn forget_files(
    context: &Context,
    worktree: &RefName,
    commit: &Id,
    why: &str,
    observer: &dyn Observer,
) -> Result<bool> {
    let why = format!("trash: {why} {}", commit.short());
    let how = Move {
        who: &context.author,
        why: &why,
        time: context.moved_at(),
    };
    let repo = context.repo()?;
    let gone = take_out(&repo, observer, worktree, &|id| id == commit, &how)?;
    Ok(!gone.is_empty())
}
