//! `dvc gc`: deletes data that can be rebuilt.

use crate::failure::{CliError, CommandResult, Exit};
use crate::globals::DryRun;
use crate::print::size;
use crate::session::Session;
use clap::Args;
use dvc::ops::gc::{CacheShrink, shrink_cache};
use serde::Serialize;
use std::io::Write;

/// Options of `gc`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  dvc gc --cache\n  dvc gc --cache --max 2G")]
pub(crate) struct GcArgs {
    /// Delete cached blocks of remote objects, the least recently used first
    #[arg(long, required = true)]
    pub(crate) cache: bool,
    /// Keep SIZE of them
    #[arg(long, value_name = "SIZE", default_value = "0")]
    pub(crate) max: String,
    #[command(flatten)]
    pub(crate) dry: DryRun,
}

#[derive(Serialize)]
struct JsonGc {
    before_bytes: u64,
    after_bytes: u64,
    dry_run: bool,
}

/// Runs `gc`.
pub(crate) fn run(session: &Session, args: &GcArgs) -> CommandResult {
    let max = dvc::model::size::parse(&args.max).map_err(|problem| CliError::option("--max", problem))?;
    let dry_run = session.dry_run(args.dry);
    let CacheShrink { before_bytes: before, after_bytes: after } = shrink_cache(&session.nowhere()?, max, dry_run)?;
    let mut out = session.plain_out();
    if session.globals.json {
        out.json(&JsonGc { before_bytes: before, after_bytes: after, dry_run })?;
    } else if session.globals.quiet == 0 {
        let verb = if dry_run { "would delete" } else { "deleted" };
        writeln!(out, "{verb} {}; the cache has {}", size(before.saturating_sub(after)), size(after))?;
    }
    out.finish()?;
    Ok(Exit::DONE)
}
