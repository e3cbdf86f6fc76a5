//! `dvc undo`: undoes the last change of a branch or tag, by its ref log, the last forget, or the last
//! move to the trash.

use crate::commands::forget::print_restored;
use crate::commands::trash::{RestoreHow, described, report_problems, restore_entry};
use crate::failure::{CommandResult, Exit, Failed};
use crate::globals::DryRun;
use crate::print::ago;
use crate::render::moved;
use crate::session::Session;
use crate::trash_places::TrashPlaces;
use clap::Args;
use dvc::error::Kind;
use dvc::model::refname::RefName;
use dvc::ops::tag::TagName;
use dvc::ops::trash::{TrashEntry, TrashItem, list};
use dvc::ops::undo::{UndoOptions, UndoReport, undo};
use dvc::refs::moves::RefMoveError;
use std::io::Write;

/// Options of `undo`.
#[derive(Args, Debug)]
pub(crate) struct UndoArgs {
    /// Undo the last change of this branch or tag; by default of the current branch, or the last
    /// forget or the last move to the trash if that is newer
    #[arg(value_name = "NAME")]
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) dry: DryRun,
}

/// Runs `undo`.
pub(crate) fn run(session: &Session, args: &UndoArgs) -> CommandResult {
    let dry_run = session.dry_run(args.dry);
    let trashed = match args.name {
        None => LastTrashed::find(session)?,
        Some(_) => None,
    };
    let context = match (session.here(), &trashed) {
        (Ok((_, context)), _) => context,
        (Err(Failed::Operation(e)), Some(trashed)) if e.kind() == Kind::NoRepository => {
            return trashed.restore(session, dry_run);
        }
        (Err(e), _) => return Err(e),
    };
    let name = match args.name.as_deref() {
        None => None,
        Some(text) => Some(full_name(text, &context)?),
    };
    // The first call only plans the undo, so that the question names the change.
    let mut options = UndoOptions {
        name,
        dry_run: true,
    };
    let planned = undo(&context, &options, &session.notices()?);
    if let Some(trashed) = trashed.filter(|trashed| trashed.is_newer_than(&planned)) {
        return trashed.restore(session, dry_run);
    }
    let planned = planned?;
    let question = format!("undo {}?", description(session, &planned));
    if !dry_run && !session.confirmed(&question)? {
        return Ok(Exit::NO);
    }
    options.dry_run = dry_run;
    let report = if dry_run {
        planned
    } else {
        undo(&context, &options, &session.notices()?)?
    };
    let mut out = session.plain_out();
    if !session.globals.json && session.globals.quiet == 0 {
        let would = if dry_run { "would undo" } else { "undid" };
        writeln!(out, "{would} {}", description(session, &report))?;
    }
    let mut exit = Exit::DONE;
    if report.moves.is_empty() {
        exit = print_restored(session, &mut out, &report.restored, dry_run)?;
    } else {
        moved::print(session, &mut out, &report.moves, dry_run)?;
    }
    out.finish()?;
    Ok(exit)
}

/// The entry that was moved to the trash last, except forgotten versions.
struct LastTrashed {
    places: TrashPlaces,
    entry: TrashEntry,
}

impl LastTrashed {
    /// Looks in the trash of the current repository and worktree; outside of repositories, in that of
    /// all volumes and shared clones.
    fn find(session: &Session) -> Result<Option<Self>, Failed> {
        let places = TrashPlaces::of(session)?.here_only();
        let here = places.context.as_ref().map(|context| {
            let repository = &context.repository;
            let real = repository.canonicalize();
            let real = real.unwrap_or_else(|_| repository.clone());
            (real, context.worktree.clone())
        });
        let is_here = |entry: &TrashEntry| match (&here, &entry.item) {
            (_, TrashItem::Version(_)) => false,
            (Some((_, here)), TrashItem::Files { worktree, .. }) => worktree.as_ref() == Some(here),
            (Some((here, _)), TrashItem::Overlay { repository, .. }) => repository == here,
            (Some((here, _)), TrashItem::Volume { repository, .. }) => {
                repository.as_ref() == Some(here)
            }
            (None, _) => true,
        };
        // The last removed entry comes first.
        let found = list(&places.scope());
        // The last removal may be among the entries of this repository that cannot be read. The
        // repositories of volumes do not matter.
        if let (false, Some(context)) = (found.problems.is_empty(), &places.context) {
            let own = list(&TrashPlaces::of_repository(session, context)?.scope());
            if let Some(e) = own.problems.into_iter().next() {
                return Err(e.into());
            }
        }
        report_problems(session, &found)?;
        let entry = found.entries.into_iter().find(is_here);
        Ok(entry.map(|entry| Self { places, entry }))
    }

    /// Returns whether the entry is newer than the change that would be undone, if there is one.
    fn is_newer_than(&self, planned: &dvc::error::Result<UndoReport>) -> bool {
        match planned {
            Ok(planned) => (planned.time, planned.nanos) < (self.entry.time, self.entry.nanos),
            Err(e) => matches!(
                e.as_error().downcast_ref(),
                Some(RefMoveError::NothingToUndo { .. } | RefMoveError::NoBranchToUndo)
            ),
        }
    }

    fn restore(&self, session: &Session, dry_run: bool) -> CommandResult {
        let since = ago(session.now.timestamp().as_second() - self.entry.time);
        let question = format!("restore {}, removed {since}?", described(&self.entry));
        if !dry_run && !session.confirmed(&question)? {
            return Ok(Exit::NO);
        }
        let how = RestoreHow {
            dry_run,
            ..RestoreHow::default()
        };
        restore_entry(session, &self.places, &self.entry, how)
    }
}

fn full_name(text: &str, context: &dvc::context::Context) -> Result<RefName, Failed> {
    let head = dvc::refs::head::Head::read(context, &context.repo()?)?;
    Ok(TagName::parse(text)?.on(head.branch.as_ref())?)
}

/// Describes a change: `commit: nightly` of 2 hours ago, by Ann.
fn description(session: &Session, report: &UndoReport) -> String {
    let since = ago(session.now.timestamp().as_second() - report.time);
    format!(
        "`{}` of {since}, by {}",
        report.why.lines().next().unwrap_or(""),
        report.who
    )
}
