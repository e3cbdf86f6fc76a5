//! `dvc unpack`: checks out a version, by default the newest, to the volumes below `/source`. It is
//! a container's entry point, configured by the environment.

use crate::commands::checkout::{self, print_kept, trash_id};
use crate::commands::fetch::{self, JsonFetch};
use crate::commands::pack;
use crate::failure::{CommandResult, Exit, Failed};
use crate::globals::DryRun;
use crate::print::{Paint, elapsed, size};
use crate::render::change::{JsonChange, StatTable};
use crate::session::Session;
use crate::sidecar::ContainerVerb;
use clap::Args;
use dvc::error::Error;
use dvc::model::revision::Revision;
use dvc::model::text::harmless;
use dvc::ops::unpack::{UnpackOptions, UnpackReport, unpack};
use dvc::repo::Repo;
use serde::Serialize;
use std::ffi::OsString;
use std::io::Write;
use std::time::{Duration, Instant};

/// Options of `unpack`.
#[derive(Args, Debug)]
#[command(
    after_help = "Environment: DATA_TAG, REGISTRY, DATA_S3_SRC, DATA_S3_DST, NO_PULL; each also as NAME_FILE and \
    /run/secrets/NAME.\n\
    If volumes have another version, the changes are shown and the exit code is 4; a second run, or --yes, continues.\n\n\
    Examples:\n  \
    docker run --rm -v db:/source/db -e DATA_TAG=registry.example/backup dvc unpack\n  \
    NO_PULL=1 dvc -C /srv/volumes --repo /backup/volumes unpack db\n  \
    NO_PULL=1 dvc -C /srv/volumes --repo /backup/volumes unpack AMCC@v41 db"
)]
pub(crate) struct UnpackArgs {
    /// Check out this branch; the default is the tag of DATA_TAG, or the repository's default
    /// branch
    #[arg(short, long, value_name = "NAME")]
    pub(crate) branch: Option<String>,
    /// Do not fetch, as with NO_PULL=1
    #[arg(long)]
    pub(crate) no_pull: bool,
    /// Continue even if there are uncommitted changes, which are moved to the trash
    #[arg(short, long)]
    pub(crate) force: bool,
    /// With --force, lose uncommitted changes instead of moving them to the trash
    #[arg(long, requires = "force")]
    pub(crate) no_trash: bool,
    #[command(flatten)]
    pub(crate) dry: DryRun,
    /// Check out a version such as AMCC@v41 (the default is the newest), and only these volumes, by
    /// their paths below /source
    #[arg(value_name = "REV|VOLUME", value_hint = clap::ValueHint::AnyPath)]
    pub(crate) volumes: Vec<OsString>,
}

/// Runs `unpack`.
pub(crate) fn run(session: &Session, args: &UnpackArgs) -> CommandResult {
    let (revision, named) = split(&args.volumes)?;
    let pack::ContainerRun {
        session,
        context,
        remote,
        branch,
        paths,
        volumes,
    } = pack::begin(
        session,
        ContainerVerb::Unpack,
        args.no_pull,
        args.branch.as_deref(),
        named,
    )?;
    let dry_run = session.dry_run(args.dry);
    if dry_run && remote.is_some() && !Repo::is_at(&context.repository) {
        let line = format!(
            "would clone the remote lazily into `{}`\n",
            context.repository.display()
        );
        std::io::stderr().write_all(line.as_bytes())?;
        return Ok(Exit::DONE);
    }
    let began = Instant::now();
    let options = UnpackOptions {
        branch,
        revision,
        // A dry run does not fetch, so it shows only local versions.
        remote: remote.filter(|_| !dry_run),
        paths,
        volumes,
        accept: session.globals.yes,
        force: args.force,
        no_trash: args.no_trash,
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

/// Splits the arguments into a version and volumes. A first argument with an `@` is a version; a
/// volume with an `@` in its name must be written as a path, `./a@b`.
fn split(words: &[OsString]) -> Result<(Option<Revision>, &[OsString]), Failed> {
    let is_path = |word: &OsString| {
        word.as_encoded_bytes().starts_with(b"/") || word.as_encoded_bytes().starts_with(b"./")
    };
    match words.split_first() {
        Some((first, rest)) if first.as_encoded_bytes().contains(&b'@') && !is_path(first) => {
            let revision = Revision::parse(&first.to_string_lossy()).map_err(Error::from)?;
            Ok((Some(revision), rest))
        }
        _ => Ok((None, words)),
    }
}

#[derive(Serialize)]
struct JsonUnpack<'a> {
    id: String,
    branch: &'a str,
    fetched: Option<JsonFetch<'a>>,
    stopped: bool,
    changes: Vec<JsonChange>,
    dry_run: bool,
    files: Option<u64>,
    bytes: Option<u64>,
    removed: Option<u64>,
    incomplete: Option<u64>,
    damaged: Option<u64>,
    trash: Option<String>,
    seconds: f64,
}

fn print(
    session: &Session,
    report: &UnpackReport,
    dry_run: bool,
    took: Duration,
) -> Result<(), Failed> {
    let mut out = session.plain_out();
    let UnpackReport {
        fetched,
        branch,
        version,
        stopped,
        changes,
        checkout,
    } = report;
    if session.globals.json {
        let done = checkout.as_ref().map(|checkout| &checkout.done);
        out.json(&JsonUnpack {
            id: version.to_string(),
            branch: branch.as_str(),
            fetched: fetched
                .as_ref()
                .map(|fetched| fetch::json(fetched, dry_run, took)),
            stopped: stopped.is_some(),
            changes: changes
                .iter()
                .map(|change| JsonChange::new(change, true))
                .collect(),
            dry_run,
            files: done.map(|done| done.files),
            bytes: done.map(|done| done.bytes),
            removed: done.map(|done| done.removed),
            incomplete: done.map(|done| done.incomplete),
            damaged: done.map(|done| done.damaged),
            trash: checkout.as_ref().and_then(trash_id),
            seconds: took.as_secs_f64(),
        })?;
        return Ok(out.finish()?);
    }
    let quiet = session.globals.quiet > 0;
    if let Some(fetched) = fetched.as_ref().filter(|_| !quiet) {
        fetch::print(&mut out, fetched, took)?;
    }
    // If the run stopped, print the changes even with --quiet: the user must see them before a
    // second run overwrites them.
    if (stopped.is_some() || dry_run && !quiet) && !changes.is_empty() {
        let mut stat = StatTable::new("");
        changes
            .iter()
            .try_for_each(|change| stat.add(&mut out, change))?;
        stat.finish(&mut out)?;
    }
    if let (Some(checkout), false) = (checkout, quiet) {
        let (commit, done) = (&checkout.commit, &checkout.done);
        let id = out.paint(Paint::Id, version.short());
        writeln!(
            out,
            "[{branch} v{} {id}] {}",
            commit.ordinal,
            harmless(commit.subject())
        )?;
        let gone = if done.removed > 0 {
            format!(", {} removed", done.removed)
        } else {
            String::new()
        };
        let plural = if done.files == 1 { "" } else { "s" };
        writeln!(
            out,
            " {} file{plural}, {} written{gone}, {}",
            done.files,
            size(done.bytes),
            elapsed(took)
        )?;
        if let Some(kept) = &checkout.kept {
            print_kept(&mut out, kept)?;
        }
    }
    Ok(out.finish()?)
}
