//! `dvc gc`: gives back what can be made again.

use crate::args::DryRun;
use crate::failure::{CliError, Exit, Outcome};
use crate::print::size;
use crate::session::Session;
use clap::Args;
use dvc::ops::gc::shrink;
use std::io::Write;

/// Options of `gc`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  dvc gc --cache\n  dvc gc --cache --max 2G")]
pub(crate) struct GcArgs {
    /// Remove blocks of far repositories, what was not used for longest first
    #[arg(long, required = true)]
    pub(crate) cache: bool,
    /// Keep so much
    #[arg(long, value_name = "SIZE", default_value = "0")]
    pub(crate) max: String,
    #[command(flatten)]
    pub(crate) dry: DryRun,
}

/// Runs `gc`.
pub(crate) fn run(session: &Session, args: &GcArgs) -> Outcome {
    let max = dvc::model::size::parse(&args.max).map_err(|problem| CliError::option("--max", problem))?;
    let dry_run = session.dry_run(args.dry);
    let (before, after) = shrink(&session.nowhere()?, max, dry_run)?;
    let mut out = session.plain_out();
    if session.globals.json {
        out.json(&serde_json::json!({ "before_bytes": before, "after_bytes": after, "dry_run": dry_run }))?;
    } else if session.globals.quiet == 0 {
        let would = if dry_run { "would give" } else { "gave" };
        writeln!(out, "{would} back {}; the cache holds {}", size(before.saturating_sub(after)), size(after))?;
    }
    out.finish()?;
    Ok(Exit::DONE)
}
