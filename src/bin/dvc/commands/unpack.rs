//! `dvc unpack`: the word of a container that brings the newest version onto the volumes below `/source`.

use crate::args::DryRun;
use crate::commands::{checkout, fetch, pack};
use crate::failure::{Exit, Failed, Outcome};
use crate::print::{Paint, elapsed, size};
use crate::render::change::{JsonChange, Stat};
use crate::session::Session;
use crate::sidecar::Way;
use clap::Args;
use dvc::error::Error;
use dvc::model::revision::Revision;
use dvc::model::text::harmless;
use dvc::ops::unpack::{UnpackOptions, UnpackReport, unpack};
use dvc::repo::Repo;
use std::ffi::OsString;
use std::io::Write;
use std::time::{Duration, Instant};

/// Options of `unpack`.
#[derive(Args, Debug)]
#[command(
    after_help = "Environment: DATA_TAG, REGISTRY, DATA_S3_SRC, DATA_S3_DST, NO_PULL; each also as NAME_FILE and \
    /run/secrets/NAME.\n\
    Where volumes hold another version, what would change is shown, and the exit code is 4; a second run, or --yes, goes on.\n\n\
    Examples:\n  \
    docker run --rm -v db:/source/db -e DATA_TAG=registry.example/backup dvc unpack\n  \
    NO_PULL=1 dvc -C /srv/volumes --repo /backup/volumes unpack db\n  \
    NO_PULL=1 dvc -C /srv/volumes --repo /backup/volumes unpack AMCC@v41 db"
)]
pub(crate) struct UnpackArgs {
    /// That branch; else the tag of DATA_TAG, else the repository's default branch
    #[arg(short, long, value_name = "NAME")]
    pub(crate) branch: Option<String>,
    /// Fetch nothing, as with NO_PULL=1
    #[arg(long)]
    pub(crate) no_pull: bool,
    /// Even where what is in no version would be lost
    #[arg(short, long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) dry: DryRun,
    /// A version such as AMCC@v41, else the newest one; then only these volumes, by their paths below /source
    #[arg(value_name = "REV|VOLUME", value_hint = clap::ValueHint::AnyPath)]
    pub(crate) volumes: Vec<OsString>,
}

/// Runs `unpack`.
pub(crate) fn run(session: &Session, args: &UnpackArgs) -> Outcome {
    let (revision, named) = split(&args.volumes)?;
    let pack::Begun { session, context, remote, branch, paths, volumes } =
        pack::begin(session, Way::Unpack, args.no_pull, args.branch.as_deref(), named)?;
    let dry_run = session.dry_run(args.dry);
    if dry_run && remote.is_some() && !Repo::is_at(&context.repository) {
        let line = format!("would make a copy of the remote's repository in `{}`\n", context.repository.display());
        std::io::stderr().write_all(line.as_bytes())?;
        return Ok(Exit::DONE);
    }
    let began = Instant::now();
    let options = UnpackOptions {
        branch,
        revision,
        // What a dry run shows is what is here.
        remote: remote.filter(|_| !dry_run),
        paths,
        volumes,
        accept: session.globals.yes,
        force: args.force,
        dry_run,
        walk: session.walk()?,
    };
    let progress = session.progress()?;
    let report = unpack(&context, &options, &progress)?;
    drop(progress);
    print(&session, &report, dry_run, began.elapsed())?;
    match report.stopped {
        Some(stopped) if !dry_run => Err(Error::from(stopped).into()),
        _ => Ok(report.checkout.as_ref().map_or(Exit::DONE, checkout::exit)),
    }
}

/// The version and the volumes among the words. The first word with an `@` is a version; a volume that has one in its name
/// is written with a directory, `./a@b`.
fn split(words: &[OsString]) -> Result<(Option<Revision>, &[OsString]), Failed> {
    let is_path =
        |word: &OsString| word.as_encoded_bytes().starts_with(b"/") || word.as_encoded_bytes().starts_with(b"./");
    match words.split_first() {
        Some((first, rest)) if first.as_encoded_bytes().contains(&b'@') && !is_path(first) => {
            let revision = Revision::parse(&first.to_string_lossy()).map_err(Error::from)?;
            Ok((Some(revision), rest))
        }
        _ => Ok((None, words)),
    }
}

fn print(session: &Session, report: &UnpackReport, dry_run: bool, took: Duration) -> Result<(), Failed> {
    let mut out = session.plain_out();
    let UnpackReport { fetched, branch, version, stopped, changes, checkout } = report;
    if session.globals.json {
        let done = checkout.as_ref().map(|checkout| &checkout.done);
        out.json(&serde_json::json!({
            "id": version.to_string(),
            "branch": branch.as_str(),
            "fetched": fetched.as_ref().map(|fetched| fetch::json(fetched, dry_run, took)),
            "stopped": stopped.is_some(),
            "changes": changes.iter().map(|change| JsonChange::new(change, true)).collect::<Vec<_>>(),
            "dry_run": dry_run,
            "files": done.map(|done| done.files),
            "bytes": done.map(|done| done.bytes),
            "removed": done.map(|done| done.removed),
            "incomplete": done.map(|done| done.incomplete),
            "damaged": done.map(|done| done.damaged),
            "seconds": took.as_secs_f64(),
        }))?;
        return Ok(out.finish()?);
    }
    let quiet = session.globals.quiet > 0;
    if let Some(fetched) = fetched.as_ref().filter(|_| !quiet) {
        fetch::print(&mut out, fetched, took)?;
    }
    // Who has to look gets it to see.
    if (stopped.is_some() || dry_run && !quiet) && !changes.is_empty() {
        let mut stat = Stat::new("");
        changes.iter().try_for_each(|change| stat.add(&mut out, change))?;
        stat.finish(&mut out)?;
    }
    if let (Some(checkout), false) = (checkout, quiet) {
        let (commit, done) = (&checkout.commit, &checkout.done);
        let id = out.paint(Paint::Id, version.short());
        writeln!(out, "[{branch} v{} {id}] {}", commit.ordinal, harmless(commit.subject()))?;
        let gone = if done.removed > 0 { format!(", {} removed", done.removed) } else { String::new() };
        let plural = if done.files == 1 { "" } else { "s" };
        writeln!(out, " {} file{plural}, {} written{gone}, {}", done.files, size(done.bytes), elapsed(took))?;
    }
    Ok(out.finish()?)
}
