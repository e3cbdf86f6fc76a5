//! `dvc trash empty`.

use super::args::EmptyArgs;
use super::report::{self, exit, report_problems};
use crate::commands::gc::{DoneGc, GcArgs, collect_garbage, options as gc_options};
use crate::failure::{CommandResult, Exit, Failed};
use crate::machine::volumes;
use crate::print::size;
use crate::session::Session;
use crate::trash_places::TrashPlaces;
use dvc::error::{Error, Failure, Kind};
use dvc::model::id::Id;
use dvc::ops::gc::ensure_no_writers;
use dvc::ops::trash::{TrashEntry, TrashItem, delete_files, delete_overlay, find, list};
use dvc::repo::local_trash::LocalTrashError;
use std::collections::BTreeSet;
use std::io::{IsTerminal, Write};

/// The error for a deletion without a confirmation.
#[derive(Debug, thiserror::Error)]
#[error("`trash empty` deletes data at once")]
struct Unconfirmed;

impl Failure for Unconfirmed {
    fn kind(&self) -> Kind {
        Kind::Rejected
    }

    fn hint(&self) -> Option<String> {
        Some("run the command with `-n` to list the entries, then with `-y`".to_owned())
    }
}

/// Runs `trash empty`.
pub(super) fn run(session: &Session, args: &EmptyArgs) -> CommandResult {
    let places = TrashPlaces::of(session)?;
    let found = list(&places.scope());
    report_problems(session, &found)?;
    let mut entries: Vec<&TrashEntry> = Vec::new();
    if args.ids.is_empty() {
        entries.extend(&found.entries);
    }
    for id in &args.ids {
        let entry = find(&found, id)?;
        if entries.iter().all(|known| known.id != entry.id) {
            entries.push(entry);
        }
    }
    let dry_run = session.dry_run(args.dry);
    if entries.is_empty() && !session.globals.json {
        let mut out = session.plain_out();
        if session.globals.quiet == 0 {
            writeln!(out, "the trash is empty")?;
        }
        out.finish()?;
        return Ok(exit(&found));
    }
    if !dry_run && !entries.is_empty() && !is_confirmed(session, &entries)? {
        return Ok(Exit::NO);
    }
    if !dry_run && !session.globals.yes && entries.iter().any(|entry| is_in_packs(entry)) {
        places.context.as_ref().map_or(Ok(()), ensure_no_writers)?;
    }
    let mut failed = None;
    let mut deleted = Vec::new();
    for entry in entries {
        match delete(session, &places, entry, dry_run) {
            Ok(()) => deleted.push(entry),
            Err(e) => {
                let exit = session.report_failure(&e);
                failed.get_or_insert(exit);
            }
        }
    }
    let gc = if dry_run {
        Ok(None)
    } else {
        collect(session, &places, &deleted)
    };
    // The deleted entries are reported even if the collection fails.
    let gc = gc.unwrap_or_else(|e| {
        let exit = session.report_failure(&e);
        failed.get_or_insert(exit);
        None
    });
    let mut out = session.plain_out();
    report::print_deleted(session, &mut out, &deleted, gc.as_ref(), dry_run)?;
    out.finish()?;
    let gc = gc
        .as_ref()
        .map(DoneGc::exit)
        .filter(|exit| *exit != Exit::DONE);
    Ok(failed.or(gc).unwrap_or_else(|| exit(&found)))
}

/// Asks before data is deleted. Without a terminal, `-y` is required.
fn is_confirmed(session: &Session, entries: &[&TrashEntry]) -> Result<bool, Failed> {
    let is_asked =
        std::io::stdin().is_terminal() && std::io::stderr().is_terminal() && !session.globals.json;
    if !session.globals.yes && !is_asked {
        return Err(Error::from(Unconfirmed).into());
    }
    let bytes = size(entries.iter().map(|entry| entry.bytes).sum());
    let what = match entries {
        [one] => report::described(one),
        many => format!("{} entries of the trash", many.len()),
    };
    Ok(session.confirmed(&format!("Delete {what} ({bytes}) permanently?"))?)
}

/// Returns whether a garbage collection has to delete the data of an entry.
fn is_in_packs(entry: &TrashEntry) -> bool {
    matches!(entry.item, TrashItem::Version(_) | TrashItem::Files { .. })
}

fn delete(
    session: &Session,
    places: &TrashPlaces,
    entry: &TrashEntry,
    dry_run: bool,
) -> Result<(), Failed> {
    if dry_run {
        return Ok(());
    }
    let missing = || Error::from(LocalTrashError::Missing(entry.id.clone()));
    match &entry.item {
        // The garbage collection that follows deletes the data.
        TrashItem::Version(_) => {}
        TrashItem::Overlay { repository, .. } => delete_overlay(repository, &entry.id)?,
        TrashItem::Volume { repository, .. } => {
            let volumes = volumes(session)?;
            let is_recorded = volumes.trash()?.iter().any(|volume| volume.id == entry.id);
            match repository {
                _ if is_recorded => volumes.delete_from_trash(&entry.id)?,
                Some(repository) => delete_overlay(repository, &entry.id)?,
                None => return Err(missing().into()),
            }
        }
        TrashItem::Files {
            worktree_ref,
            commit_id,
            ..
        } => {
            let context = places.context.as_ref().ok_or_else(missing)?;
            let notices = session.notices()?;
            delete_files(context, worktree_ref, commit_id, "emptied", &notices)?;
        }
    }
    Ok(())
}

/// Deletes the data of versions and files, which is in packs.
fn collect(
    session: &Session,
    places: &TrashPlaces,
    deleted: &[&TrashEntry],
) -> Result<Option<DoneGc>, Failed> {
    let is_needed = deleted.iter().any(|entry| is_in_packs(entry));
    let Some(context) = places.context.as_ref().filter(|_| is_needed) else {
        return Ok(None);
    };
    let versions: BTreeSet<Id> = deleted
        .iter()
        .filter_map(|entry| match &entry.item {
            TrashItem::Version(version) => Some(version.id),
            _ => None,
        })
        .collect();
    let now = GcArgs {
        now: true,
        ..GcArgs::default()
    };
    let mut options = gc_options(session, &now, false)?;
    options.at_once = versions;
    collect_garbage(session, context, &options).map(Some)
}
