//! `dvc undo`: undoes the last change of a branch or tag, by its ref log, or the last forget.

use crate::commands::forget::print_restored;
use crate::failure::{CommandResult, Exit, Failed};
use crate::globals::DryRun;
use crate::print::ago;
use crate::render::moved;
use crate::session::Session;
use clap::Args;
use dvc::model::refname::RefName;
use dvc::ops::tag::TagName;
use dvc::ops::undo::{UndoOptions, UndoReport, undo};
use std::io::Write;

/// Options of `undo`.
#[derive(Args, Debug)]
pub(crate) struct UndoArgs {
    /// Undo the last change of this branch or tag; by default of the current branch, or the last
    /// forget if it is newer
    #[arg(value_name = "NAME")]
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) dry: DryRun,
}

/// Runs `undo`.
pub(crate) fn run(session: &Session, args: &UndoArgs) -> CommandResult {
    let (_, context) = session.here()?;
    let name = match args.name.as_deref() {
        None => None,
        Some(text) => Some(full_name(text, &context)?),
    };
    // The first call only plans the undo, so that the question names the change.
    let mut options = UndoOptions {
        name,
        dry_run: true,
    };
    let planned = undo(&context, &options, &session.notices()?)?;
    let dry_run = session.dry_run(args.dry);
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
