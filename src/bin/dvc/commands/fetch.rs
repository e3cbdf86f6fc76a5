//! `dvc fetch`: fetches branches, tags and data from remotes.

use crate::failure::{CommandResult, Exit};
use crate::globals::DryRun;
use crate::print::{Out, Paint, elapsed, size};
use crate::session::Session;
use clap::Args;
use dvc::error::Kind;
use dvc::model::text::count;
use dvc::ops::fetch::{FetchOptions, FetchReport, fetch};
use serde::Serialize;
use std::ffi::OsString;
use std::io::Write;
use std::time::{Duration, Instant};

/// Options of `fetch`.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  dvc fetch                  all branches of `origin`\n  dvc fetch --data           complete a lazy clone\n  \
                        dvc fetch --data -- acme   only the data below a path"
)]
pub(crate) struct FetchArgs {
    /// Fetch from these remotes (names or URLs); the default is `origin`
    #[arg(value_name = "REMOTE")]
    pub(crate) remotes: Vec<String>,
    /// Fetch from every remote
    #[arg(long)]
    pub(crate) all: bool,
    /// Remove branches that the remote no longer has
    #[arg(long)]
    pub(crate) prune: bool,
    /// Fetch the data of all versions into a lazy clone
    #[arg(long)]
    pub(crate) data: bool,
    /// Continue even if the remote is not a copy of this repository
    #[arg(long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) dry: DryRun,
    /// Fetch only the data of these paths of the current version
    #[arg(last = true, value_name = "PATH", value_hint = clap::ValueHint::AnyPath)]
    pub(crate) paths: Vec<OsString>,
}

/// Runs `fetch`.
pub(crate) fn run(session: &Session, args: &FetchArgs) -> CommandResult {
    let (place, context) = session.here()?;
    let remotes = match (args.all, args.remotes.as_slice()) {
        (true, _) => context
            .remotes
            .iter()
            .map(|r| session.with_access(r))
            .collect::<Result<_, _>>()?,
        (false, []) => vec![session.default_remote(&context)?],
        (false, named) => named
            .iter()
            .map(|name| session.remote(&context, name))
            .collect::<Result<_, _>>()?,
    };
    let options = FetchOptions {
        prune: args.prune,
        data: args.data,
        paths: place.paths(&args.paths)?,
        depth: None,
        force: args.force,
        dry_run: session.dry_run(args.dry),
    };
    let mut damaged = 0;
    for remote in &remotes {
        let began = Instant::now();
        let progress = session.progress()?;
        let report = fetch(&context, remote, &options, &progress)?;
        drop(progress);
        let mut out = session.plain_out();
        if session.globals.json {
            out.json(&json(&report, options.dry_run, began.elapsed()))?;
        } else if session.globals.quiet == 0 {
            print(&mut out, &report, began.elapsed())?;
        }
        out.finish()?;
        damaged += report.damaged;
    }
    Ok(if damaged == 0 {
        Exit::DONE
    } else {
        Exit::with(Kind::Integrity)
    })
}

#[derive(Serialize)]
pub(crate) struct JsonFetch<'a> {
    remote: &'a str,
    url: &'a str,
    refs: Vec<JsonFetchedRef<'a>>,
    packs: u64,
    bytes: u64,
    received_bytes: u64,
    requests: u64,
    rolled_back: bool,
    dry_run: bool,
    seconds: f64,
}

#[derive(Serialize)]
struct JsonFetchedRef<'a> {
    kind: &'static str,
    name: &'a str,
    old: Option<String>,
    new: Option<String>,
    fast_forward: bool,
}

/// Returns the report as JSON.
pub(crate) fn json(report: &FetchReport, dry_run: bool, took: Duration) -> JsonFetch<'_> {
    let refs = report.refs.iter().map(|r| JsonFetchedRef {
        kind: r.kind.name(),
        name: r.name.as_str(),
        old: r.old.map(|id| id.to_string()),
        new: r.new.map(|id| id.to_string()),
        fast_forward: r.fast_forward,
    });
    JsonFetch {
        remote: &report.remote,
        url: &report.url,
        refs: refs.collect(),
        packs: report.packs,
        bytes: report.bytes,
        received_bytes: report.received_bytes,
        requests: report.requests,
        rolled_back: report.rolled_back,
        dry_run,
        seconds: took.as_secs_f64(),
    }
}

/// Writes the report as text.
pub(crate) fn print(out: &mut Out, report: &FetchReport, took: Duration) -> std::io::Result<()> {
    writeln!(out, "from {}", report.url)?;
    for one in &report.refs {
        let name = out.paint(Paint::Branch, &one.name);
        match (one.old, one.new) {
            (_, None) => writeln!(out, "  {name} was deleted on the remote")?,
            (None, Some(new)) => {
                writeln!(out, "  {name} {} (new)", out.paint(Paint::Id, new.short()))?
            }
            (Some(old), Some(new)) => {
                let moved = if one.fast_forward {
                    ""
                } else {
                    " (not a fast-forward)"
                };
                writeln!(
                    out,
                    "  {name} {}..{}{moved}",
                    old.short(),
                    out.paint(Paint::Id, new.short())
                )?;
            }
        }
    }
    if report.refs.is_empty() {
        writeln!(out, "  up to date")?;
    }
    if report.packs > 0 {
        writeln!(
            out,
            " {} in {}, {}, {}",
            size(report.bytes),
            count(report.packs, "pack"),
            count(report.requests, "request"),
            elapsed(took)
        )?;
    }
    Ok(())
}
