//! `dvc forget`: moves versions to the trash, by name or by retention policies.

mod args;
mod choice;
mod report;

use crate::dirs;
use crate::failure::{CommandResult, Exit, Failed};
use crate::session::Session;
use choice::ForgetAction;
use dvc::context::Context;
use dvc::error::{Failure, Kind};
use dvc::observe::{Notice, NoticeLevel, Observer};
use dvc::ops::forget::{
    ForgetOptions, ForgetReport, ForgetTarget, RestoreOptions, forget, restore, trash,
};
use dvc::ops::gc::ensure_no_writers;
use std::time::Duration;

use super::gc::{DoneGc, GcArgs, collect_garbage, options as gc_options};

pub(crate) use args::ForgetArgs;
pub(crate) use report::print_restored;

/// The error for a deletion without a confirmation.
#[derive(Debug, thiserror::Error)]
#[error("refusing to delete data without confirmation: `--now` bypasses the trash")]
struct Unconfirmed;

impl Failure for Unconfirmed {
    fn kind(&self) -> Kind {
        Kind::Rejected
    }

    fn hint(&self) -> Option<String> {
        Some("run the command with `-n` to list the versions, then with `-y`".to_owned())
    }
}

/// Runs `forget`.
pub(crate) fn run(session: &Session, args: &ForgetArgs) -> CommandResult {
    let action = choice::action(session, args)?;
    let context = context(session, args)?;
    match action {
        ForgetAction::List => {
            let keep =
                Duration::from_secs(session.settings()?.number("gc.keep-trash").unwrap_or(0));
            report::print_trash(session, &trash(&context)?, keep)?;
            Ok(Exit::DONE)
        }
        ForgetAction::Undo(queries) => undo(
            session,
            args,
            &context,
            RestoreOptions {
                queries,
                dry_run: false,
            },
        ),
        ForgetAction::Forget(target) => run_forget(session, args, &context, target),
    }
}

/// Returns the context of the repository, or of the remote.
fn context(session: &Session, args: &ForgetArgs) -> Result<Context, Failed> {
    match &args.remote {
        None => Ok(session.anywhere()?.1),
        Some(name) => {
            let context = session.here()?.1;
            let remote = session.remote(&context, name)?;
            Ok(Context {
                remote_repository: Some(remote),
                ..context
            })
        }
    }
}

fn undo(
    session: &Session,
    args: &ForgetArgs,
    context: &Context,
    options: RestoreOptions,
) -> CommandResult {
    let dry_run = session.dry_run(args.dry);
    let report = restore(
        context,
        &RestoreOptions { dry_run, ..options },
        &session.notices()?,
    )?;
    let mut out = session.plain_out();
    let exit = print_restored(session, &mut out, &report, dry_run)?;
    out.finish()?;
    Ok(exit)
}

fn run_forget(
    session: &Session,
    args: &ForgetArgs,
    context: &Context,
    target: ForgetTarget,
) -> CommandResult {
    let dry_run = session.dry_run(args.dry);
    if args.now && !dry_run && !session.globals.yes && args.remote.is_none() {
        ensure_no_writers(context)?;
    }
    if args.now && !dry_run && !is_confirmed(session)? {
        return Ok(Exit::NO);
    }
    let is_named = matches!(target, ForgetTarget::Versions(_));
    let options = ForgetOptions {
        target,
        max_forget: args.max_forget,
        is_confirmed: session.globals.yes,
        skips_trash: args.now,
        dry_run,
        run: dirs::usable_run()?,
    };
    let progress = session.progress()?;
    let report = forget(context, &options, &progress)?;
    if let (Some(first), true) = (report.excess.first(), dry_run) {
        let message = format!(
            "this run needs a confirmation: branch `{}`: {}",
            first.branch, first.excess
        );
        progress.notice(Notice {
            level: NoticeLevel::Warning,
            path: Vec::new(),
            message,
        });
    }
    drop(progress);
    let gc = if (args.gc || args.now) && !dry_run {
        Some(collect(session, args, context, &report)?)
    } else {
        None
    };
    let mut out = session.plain_out();
    report::print(
        session,
        &mut out,
        &report,
        &report::Style {
            dry_run,
            is_named,
            gc: gc.as_ref(),
        },
    )?;
    out.finish()?;
    Ok(gc.as_ref().map_or(Exit::DONE, DoneGc::exit))
}

/// Asks before data is deleted. Without a terminal, `-y` is required.
fn is_confirmed(session: &Session) -> Result<bool, Failed> {
    use std::io::IsTerminal;
    // A question needs a terminal, and a program that reads JSON cannot answer it.
    let is_asked =
        std::io::stdin().is_terminal() && std::io::stderr().is_terminal() && !session.globals.json;
    if !session.globals.yes && !is_asked {
        return Err(Failed::Operation(Unconfirmed.into()));
    }
    Ok(session.confirmed(
        "Delete the data of these versions now? Data that other versions share stays.",
    )?)
}

/// Runs a garbage collection after a forget. With `--now`, the data of the forgotten versions is
/// deleted at once.
fn collect(
    session: &Session,
    args: &ForgetArgs,
    context: &Context,
    report: &ForgetReport,
) -> Result<DoneGc, Failed> {
    let mut options = gc_options(
        session,
        &GcArgs {
            now: args.now,
            ..GcArgs::default()
        },
        context.remote_repository.is_some(),
    )?;
    if args.now {
        // Versions that an earlier run moved to the trash are deleted, too.
        let named = report
            .verdicts
            .iter()
            .filter(|verdict| !verdict.is_kept || verdict.was_in_trash);
        options.at_once = named.map(|verdict| verdict.id).collect();
    }
    // The user has already confirmed `--now`.
    options.is_confirmed |= args.now;
    collect_garbage(session, context, &options)
}
