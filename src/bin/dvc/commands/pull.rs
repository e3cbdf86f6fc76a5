//! `dvc pull`: fetches, and moves the current branch forward.

use crate::commands::checkout;
use crate::commands::fetch::{self, JsonFetch};
use crate::failure::{CommandResult, Exit};
use crate::globals::DryRun;
use crate::print::Paint;
use crate::session::Session;
use clap::Args;
use dvc::error::Kind;
use dvc::ops::pull::pull;
use serde::Serialize;
use std::io::Write;
use std::time::Instant;

/// Options of `pull`.
#[derive(Args, Debug)]
pub(crate) struct PullArgs {
    /// Fetch from this remote (name or URL); the default is `origin`
    pub(crate) remote: Option<String>,
    #[command(flatten)]
    pub(crate) dry: DryRun,
}

#[derive(Serialize)]
struct JsonPull<'a> {
    fetched: JsonFetch<'a>,
    branch: &'a str,
    old: Option<String>,
    new: String,
    dry_run: bool,
}

/// Runs `pull`.
pub(crate) fn run(session: &Session, args: &PullArgs) -> CommandResult {
    let (_, context) = session.here()?;
    let remote = match &args.remote {
        Some(name) => session.remote(&context, name)?,
        None => session.default_remote(&context)?,
    };
    let began = Instant::now();
    let dry_run = session.dry_run(args.dry);
    let progress = session.progress()?;
    let report = pull(&context, &remote, &session.walk()?, dry_run, &progress)?;
    drop(progress);
    let mut out = session.plain_out();
    if session.globals.json {
        out.json(&JsonPull {
            fetched: fetch::json(&report.fetched, dry_run, began.elapsed()),
            branch: report.branch.as_str(),
            old: report.old.map(|id| id.to_string()),
            new: report.new.to_string(),
            dry_run,
        })?;
    } else if session.globals.quiet == 0 {
        fetch::print(&mut out, &report.fetched, began.elapsed())?;
        let branch = out.paint(Paint::Branch, &report.branch);
        match report.old {
            Some(old) if old == report.new => writeln!(out, "{branch} is up to date")?,
            old => {
                let old = old
                    .map(|id| format!("{}..", id.short()))
                    .unwrap_or_default();
                writeln!(
                    out,
                    "{branch} {old}{}",
                    out.paint(Paint::Id, report.new.short())
                )?;
            }
        }
    }
    out.finish()?;
    if report.fetched.damaged > 0 {
        return Ok(Exit::with(Kind::Integrity));
    }
    Ok(report.checkout.as_ref().map_or(Exit::DONE, checkout::exit))
}
