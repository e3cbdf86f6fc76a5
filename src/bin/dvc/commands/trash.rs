//! `dvc trash`: lists, restores and deletes what commands have removed.

mod args;
mod empty;
mod report;
mod restore;

use crate::failure::CommandResult;
use crate::session::Session;
use crate::trash_places::TrashPlaces;
use dvc::ops::trash::list;

pub(crate) use args::{TrashAction, TrashArgs};
pub(crate) use report::{described, report_problems};
pub(crate) use restore::{RestoreHow, restore_entry};

/// Runs `trash`.
pub(crate) fn run(session: &Session, args: &TrashArgs) -> CommandResult {
    match &args.action {
        None | Some(TrashAction::Ls(_)) => {
            let found = list(&TrashPlaces::of(session)?.scope());
            report_problems(session, &found)?;
            report::print_list(session, &found)?;
            Ok(report::exit(&found))
        }
        Some(TrashAction::Restore(with)) => restore::run(session, &with.own),
        Some(TrashAction::Empty(with)) => empty::run(session, &with.own),
    }
}
