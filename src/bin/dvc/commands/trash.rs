//! `dvc trash`: lists, restores and deletes what commands have removed.

mod args;
mod empty;
mod report;
mod restore;

use crate::failure::{CommandResult, Exit};
use crate::session::Session;
use crate::trash_places::TrashPlaces;
use dvc::error::{Kind, with_causes};
use dvc::observe::{Notice, NoticeLevel, Observer};
use dvc::ops::trash::{TrashEntry, TrashList, list};

pub(crate) use args::{TrashAction, TrashArgs};
pub(crate) use restore::{RestoreHow, restore_entry};

/// Runs `trash`.
pub(crate) fn run(session: &Session, args: &TrashArgs) -> CommandResult {
    match &args.action {
        None | Some(TrashAction::Ls(_)) => {
            let found = list(&TrashPlaces::of(session)?.scope());
            report_problems(session, &found)?;
            report::print_list(session, &found)?;
            Ok(exit(&found))
        }
        Some(TrashAction::Restore(with)) => restore::run(session, &with.own),
        Some(TrashAction::Empty(with)) => empty::run(session, &with.own),
    }
}

/// Describes an entry in a question: `the volume db`.
pub(crate) fn described(entry: &TrashEntry) -> String {
    report::described(entry)
}

/// Returns the exit code of a list: some places could not be read.
fn exit(found: &TrashList) -> Exit {
    if found.problems.is_empty() {
        Exit::DONE
    } else {
        Exit::with(Kind::Incomplete)
    }
}

/// Reports the places that cannot be read. The entries of other places are listed nevertheless.
fn report_problems(session: &Session, found: &TrashList) -> Result<(), crate::failure::Failed> {
    let notices = session.store_notices()?;
    for problem in &found.problems {
        notices.notice(Notice {
            level: NoticeLevel::Incomplete,
            path: Vec::new(),
            message: format!("a part of the trash is missing: {}", with_causes(problem)),
        });
    }
    Ok(())
}
