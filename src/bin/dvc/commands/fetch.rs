//! `dvc fetch`: brings what remotes have.

use crate::args::DryRun;
use crate::failure::{Exit, Outcome};
use crate::print::{Out, Paint, elapsed, size};
use crate::session::Session;
use clap::Args;
use dvc::error::Kind;
use dvc::model::text::count;
use dvc::ops::fetch::{FetchOptions, FetchReport, fetch};
use std::ffi::OsString;
use std::io::Write;
use std::time::{Duration, Instant};

/// Options of `fetch`.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  dvc fetch                  all branches of `origin`\n  dvc fetch --data           make a lazy clone whole\n  \
                        dvc fetch --data -- acme   only what is below a path"
)]
pub(crate) struct FetchArgs {
    /// Remotes (names or URLs); `origin` if left out
    #[arg(value_name = "REMOTE")]
    pub(crate) remotes: Vec<String>,
    /// From every remote
    #[arg(long)]
    pub(crate) all: bool,
    /// Forget branches that the remote no longer has
    #[arg(long)]
    pub(crate) prune: bool,
    /// The data of all versions too, into a lazy clone
    #[arg(long)]
    pub(crate) data: bool,
    /// Go on where the repository there is no copy of this one
    #[arg(long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) dry: DryRun,
    /// Only the data of these paths of the current version
    #[arg(last = true, value_name = "PATH", value_hint = clap::ValueHint::AnyPath)]
    pub(crate) paths: Vec<OsString>,
}

/// Runs `fetch`.
pub(crate) fn run(session: &Session, args: &FetchArgs) -> Outcome {
    let (place, context) = session.here()?;
    let remotes = match (args.all, args.remotes.as_slice()) {
        (true, _) => context.remotes.iter().map(|r| session.with_access(r)).collect::<Result<_, _>>()?,
        (false, []) => vec![session.default_remote(&context)?],
        (false, named) => named.iter().map(|name| session.remote(&context, name)).collect::<Result<_, _>>()?,
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
        match session.globals.json {
            true => out.json(&json(&report, options.dry_run, began.elapsed()))?,
            false if session.globals.quiet > 0 => {}
            false => print(&mut out, &report, began.elapsed())?,
        }
        out.finish()?;
        damaged += report.damaged;
    }
    Ok(if damaged == 0 { Exit::DONE } else { Exit::with(Kind::Integrity) })
}

/// The report for programs.
pub(crate) fn json(report: &FetchReport, dry_run: bool, took: Duration) -> serde_json::Value {
    let refs = report.refs.iter().map(|r| {
        serde_json::json!({
            "kind": r.kind.name(), "name": r.name.as_str(), "old": r.old.map(|id| id.to_string()),
            "new": r.new.map(|id| id.to_string()), "follows": r.follows,
        })
    });
    serde_json::json!({
        "remote": report.remote, "url": report.url, "refs": refs.collect::<Vec<_>>(), "packs": report.packs,
        "bytes": report.bytes, "received_bytes": report.received_bytes, "requests": report.requests, "went_back": report.went_back, "dry_run": dry_run,
        "seconds": took.as_secs_f64(),
    })
}

/// The report for people.
pub(crate) fn print(out: &mut Out, report: &FetchReport, took: Duration) -> std::io::Result<()> {
    writeln!(out, "from {}", report.url)?;
    for one in &report.refs {
        let name = out.paint(Paint::Branch, &one.name);
        match (one.old, one.new) {
            (_, None) => writeln!(out, "  {name} is gone there")?,
            (None, Some(new)) => writeln!(out, "  {name} {} (new)", out.paint(Paint::Id, new.short()))?,
            (Some(old), Some(new)) => {
                let moved = if one.follows { "" } else { " (does not follow)" };
                writeln!(out, "  {name} {}..{}{moved}", old.short(), out.paint(Paint::Id, new.short()))?;
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
