//! `dvc trash restore`.

use super::args::RestoreArgs;
use super::report::{self, Restored, mount_command, report_problems};
use crate::commands::checkout;
use crate::commands::forget::print_restored;
use crate::failure::{CommandResult, Exit, Failed};
use crate::machine::volumes;
use crate::session::Session;
use crate::trash_places::TrashPlaces;
use dvc::context::Context;
use dvc::error::Error;
use dvc::model::revision::RevisionQuery;
use dvc::ops::forget::{RestoreOptions, restore as restore_versions};
use dvc::ops::trash::{
    TrashEntry, TrashError, TrashItem, find, list, restore_files, restore_overlay,
};
use dvc::repo::local_trash::LocalTrashError;
use dvc::sys::mountinfo;
use std::path::Path;

/// How an entry is restored.
#[derive(Clone, Copy, Default)]
pub(crate) struct RestoreHow<'a> {
    /// Another directory for files.
    pub(crate) to: Option<&'a Path>,
    /// The name under which to restore a volume; `None` keeps its old name.
    pub(crate) name: Option<&'a str>,
    pub(crate) dry_run: bool,
}

/// Runs `trash restore`.
pub(super) fn run(session: &Session, args: &RestoreArgs) -> CommandResult {
    let places = TrashPlaces::of(session)?;
    let found = list(&places.scope());
    let entry = match find(&found, &args.id) {
        Ok(entry) => entry,
        Err(e) => {
            report_problems(session, &found)?;
            return Err(e.into());
        }
    };
    let how = RestoreHow {
        to: args.to.as_deref(),
        name: args.name.as_deref(),
        dry_run: session.dry_run(args.dry),
    };
    restore_entry(session, &places, entry, how)
}

/// Restores an entry, and prints what was done.
pub(crate) fn restore_entry(
    session: &Session,
    places: &TrashPlaces,
    entry: &TrashEntry,
    how: RestoreHow<'_>,
) -> CommandResult {
    let kind = entry.item.kind();
    let is_files = matches!(entry.item, TrashItem::Files { .. });
    let is_volume = matches!(entry.item, TrashItem::Volume { .. });
    for (option, is_wrong) in [
        ("--to", how.to.is_some() && !is_files),
        ("--name", how.name.is_some() && !is_volume),
    ] {
        if is_wrong {
            return Err(Error::from(TrashError::WrongOption { option, kind }).into());
        }
    }
    let mut out = session.plain_out();
    let mut exit = Exit::DONE;
    let dry_run = how.dry_run;
    match &entry.item {
        TrashItem::Version(version) => {
            let query =
                RevisionQuery::parse(version.id.to_string().as_bytes()).map_err(Error::from)?;
            let options = RestoreOptions {
                queries: vec![query],
                dry_run,
            };
            let done = restore_versions(here(places, entry)?, &options, &session.notices()?)?;
            exit = print_restored(session, &mut out, &done, dry_run)?;
        }
        TrashItem::Overlay {
            repository, name, ..
        } => {
            let overlay = restore_overlay(repository, &entry.id, name, dry_run)?;
            let done = Restored {
                command: Some(mount_command(&overlay)),
                dry_run,
                ..Restored::default()
            };
            report::print_restored(session, &mut out, entry, &done)?;
        }
        TrashItem::Volume {
            name,
            record,
            repository,
            ..
        } => {
            let name = how.name.unwrap_or(name);
            // The record of a volume in a shared repository may come from another user.
            let copy = record.clone().map(|record| dvc::ops::volume::VolumeRecord {
                local: repository.clone(),
                ..record
            });
            if !dry_run {
                volumes(session)?.restore(&entry.id, Some(name), copy.as_ref())?;
            }
            let done = Restored {
                volume: Some(name),
                dry_run,
                ..Restored::default()
            };
            report::print_restored(session, &mut out, entry, &done)?;
        }
        TrashItem::Files {
            worktree, overlay, ..
        } => {
            let here = here(places, entry)?;
            match (how.to, worktree) {
                (Some(_), _) => {}
                (None, Some(worktree)) => ensure_here(here, entry, worktree, overlay.is_some())?,
                (None, None) => {
                    return Err(Error::from(TrashError::Damaged(entry.id.clone())).into());
                }
            }
            let to = how.to.map(|to| session.current.join(to));
            let progress = session.progress()?;
            let done = restore_files(here, entry, to.as_deref(), dry_run, &progress)?;
            drop(progress);
            exit = checkout::exit(&done.checkout);
            let files = if dry_run {
                done.checkout.planned.len() as u64
            } else {
                done.checkout.done.files
            };
            let done = Restored {
                path: Some(&done.dir),
                files: Some(files),
                stays: done.stays,
                dry_run,
                ..Restored::default()
            };
            report::print_restored(session, &mut out, entry, &done)?;
        }
    }
    out.finish()?;
    Ok(exit)
}

/// Returns the current repository, to which versions and files belong.
fn here<'p>(places: &'p TrashPlaces, entry: &TrashEntry) -> Result<&'p Context, Failed> {
    let missing = || Error::from(LocalTrashError::Missing(entry.id.clone()));
    Ok(places.context.as_ref().ok_or_else(missing)?)
}

/// Fails if the worktree of an entry is not the current one. Only the user chooses where files are
/// written, because a repository from another person may name any path.
fn ensure_here(
    here: &Context,
    entry: &TrashEntry,
    worktree: &Path,
    is_mount: bool,
) -> Result<(), Failed> {
    let (id, path) = (entry.id.clone(), worktree.display().to_string());
    let mounted = mountinfo::ours().is_ok_and(|all| all.iter().any(|m| m.at == *worktree));
    let e = if is_mount && !mounted {
        TrashError::NotMounted { id, at: path }
    } else if here.worktree == worktree {
        return Ok(());
    } else if !worktree.is_dir() {
        TrashError::NoWorktree { id, worktree: path }
    } else {
        TrashError::OtherWorktree { id, worktree: path }
    };
    Err(Error::from(e).into())
}
