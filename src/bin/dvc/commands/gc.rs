//! `dvc gc`: deletes data that no version needs, and data that can be rebuilt.

use crate::commands::gc_status;
use crate::dirs;
use crate::failure::{CliError, CommandResult, Exit, Failed};
use crate::globals::DryRun;
use crate::print::{Out, ago, size};
use crate::session::Session;
use crate::settings::value;
use crate::trash_places::TrashPlaces;
use clap::Args;
use dvc::care::options::GcReport;
use dvc::context::{Context, Remote};
use dvc::error::{Failure, Kind, with_causes};
use dvc::model::text::count;
use dvc::observe::{Notice, NoticeLevel, Observer};
use dvc::ops::gc::{
    CacheShrink, CollectOptions, CollectReport, PurgeReport, collect, collect_remote,
    ensure_no_writers, shrink_cache,
};
use dvc::ops::trash::{TrashUse, list};
use serde::Serialize;
use std::collections::BTreeSet;
use std::io::Write;
use std::time::Duration;

/// Priority of a collection among the processes of the machine: nearly the lowest.
const NICENESS: i32 = 15;

/// Options of `gc`.
#[derive(Args, Debug, Default)]
#[command(
    after_help = "Examples:\n  dvc gc -n\n  dvc gc\n  dvc gc origin\n  dvc gc --status\n  dvc gc --cache --max 2G"
)]
pub(crate) struct GcArgs {
    /// Collect a remote (a name or URL) instead of the local repository
    #[arg(value_name = "REMOTE", conflicts_with_all = ["cache", "all_remotes"])]
    pub(crate) remote: Option<String>,
    /// Collect every remote
    #[arg(long, conflicts_with = "cache")]
    pub(crate) all_remotes: bool,
    /// Delete cached blocks of remote objects instead, the least recently used first
    #[arg(long)]
    pub(crate) cache: bool,
    /// Keep at most SIZE of cached blocks
    #[arg(long, value_name = "SIZE", default_value = "0", requires = "cache")]
    pub(crate) max: String,
    /// Show which data is kept, why, and until when
    #[arg(long, conflicts_with_all = ["cache", "now", "all_remotes"])]
    pub(crate) status: bool,
    /// Delete unneeded data now, without waiting; on a remote, asks or needs -y
    #[arg(long, conflicts_with_all = ["cache", "grace"])]
    pub(crate) now: bool,
    /// Delete only what has been unneeded for TIME
    #[arg(long, value_name = "TIME", conflicts_with = "cache")]
    pub(crate) grace: Option<String>,
    /// Keep forgotten versions for TIME
    #[arg(long, value_name = "TIME", conflicts_with = "cache")]
    pub(crate) keep_trash: Option<String>,
    /// Leave up to PERCENT of the data unused rather than copying packs
    #[arg(long, value_name = "PERCENT", conflicts_with = "cache")]
    pub(crate) max_unused: Option<String>,
    /// Copy at most SIZE
    #[arg(long, value_name = "SIZE", conflicts_with = "cache")]
    pub(crate) max_repack: Option<String>,
    /// Stop copying after TIME; the next run continues
    #[arg(long, value_name = "TIME", conflicts_with = "cache")]
    pub(crate) max_time: Option<String>,
    #[command(flatten)]
    pub(crate) dry: DryRun,
}

#[derive(Serialize)]
struct JsonCacheDeletion {
    before_bytes: u64,
    after_bytes: u64,
    dry_run: bool,
}

/// A garbage collection in JSON.
#[derive(Serialize)]
pub(crate) struct JsonGc {
    remote: Option<String>,
    versions: u64,
    forgotten_versions: u64,
    deleted_packs: u64,
    deleted_bytes: u64,
    dropped_packs: u64,
    dropped_bytes: u64,
    copied_packs: u64,
    copied_bytes: u64,
    new_packs: u64,
    new_bytes: u64,
    waiting_packs: u64,
    waiting_bytes: u64,
    waiting_seconds: Option<i64>,
    dead_packs: u64,
    dead_bytes: u64,
    dead_seconds: Option<i64>,
    kept_bytes: u64,
    unused_bytes: u64,
    purged_entries: u64,
    purged_bytes: u64,
    trash_entries: u64,
    trash_bytes: u64,
    deferred_packs: u64,
    undeleted: u64,
    overlay_bytes: u64,
    incomplete: Vec<String>,
    complete: bool,
    dry_run: bool,
}

/// The error for a deletion on a remote without a confirmation.
#[derive(Debug, thiserror::Error)]
#[error("--now deletes data of {remote} at once")]
struct Unconfirmed {
    remote: String,
}

impl Failure for Unconfirmed {
    fn kind(&self) -> Kind {
        Kind::Rejected
    }

    fn hint(&self) -> Option<String> {
        Some("run the command with `-n` to see what would be deleted, then with `-y`".to_owned())
    }
}

/// Runs `gc`.
pub(crate) fn run(session: &Session, args: &GcArgs) -> CommandResult {
    if args.cache {
        run_cache(session, args)
    } else if args.status {
        let remote = args.remote.as_deref();
        gc_status::run(session, remote, &options(session, args, remote.is_some())?)
    } else {
        run_repository(session, args)
    }
}

fn run_cache(session: &Session, args: &GcArgs) -> CommandResult {
    let max =
        dvc::model::size::parse(&args.max).map_err(|problem| CliError::option("--max", problem))?;
    let dry_run = session.dry_run(args.dry);
    let CacheShrink {
        before_bytes: before,
        after_bytes: after,
    } = shrink_cache(&session.nowhere()?, max, dry_run)?;
    let mut out = session.plain_out();
    if session.globals.json {
        out.json(&JsonCacheDeletion {
            before_bytes: before,
            after_bytes: after,
            dry_run,
        })?;
    } else if session.globals.quiet == 0 {
        let verb = if dry_run { "would delete" } else { "deleted" };
        writeln!(
            out,
            "{verb} {}; the cache contains {}",
            size(before.saturating_sub(after)),
            size(after)
        )?;
    }
    out.finish()?;
    Ok(Exit::DONE)
}

fn run_repository(session: &Session, args: &GcArgs) -> CommandResult {
    let context = session.here()?.1;
    let remotes: Vec<Remote> = match (&args.remote, args.all_remotes) {
        (_, true) => context
            .remotes
            .iter()
            .map(|remote| session.with_access(remote))
            .collect::<Result<_, _>>()?,
        (Some(name), false) => vec![session.remote(&context, name)?],
        (None, false) => {
            if args.now && !session.dry_run(args.dry) {
                if !session.globals.yes {
                    ensure_no_writers(&context)?;
                }
                if !session.confirmed(QUESTION)? {
                    return Ok(Exit::NO);
                }
            }
            let options = options(session, args, false)?;
            return show(session, &collect_garbage(session, &context, &options)?);
        }
    };
    let options = options(session, args, true)?;
    if args.now && !options.dry_run {
        ensure_confirmed(session, &remotes)?;
        if !session.confirmed(QUESTION)? {
            return Ok(Exit::NO);
        }
    }
    // An error on one remote does not prevent the collection of the others.
    let (mut exit, mut failed) = (Exit::DONE, None);
    for remote in remotes {
        let at_remote = Context {
            remote_repository: Some(remote.clone()),
            ..context.clone()
        };
        match collect_garbage(session, &at_remote, &options) {
            Ok(done) if done.is_complete() => drop(show(session, &done)?),
            Ok(done) => exit = show(session, &done)?,
            Err(Failed::Operation(e)) if failed.is_some() => {
                let message = format!("{}: {}", remote.name, with_causes(e.as_error()));
                session.notices()?.notice(Notice {
                    level: NoticeLevel::Incomplete,
                    path: Vec::new(),
                    message,
                });
            }
            Err(e) => failed = Some(e),
        }
    }
    failed.map_or(Ok(exit), Err)
}

/// The question before a deletion without a grace period.
const QUESTION: &str = "Delete everything that no version needs, without waiting? Running commits may have to store data again.";

/// Fails if data of a remote would be deleted at once and no user can be asked. A remote that is a
/// directory needs no confirmation, like the local repository.
fn ensure_confirmed(session: &Session, remotes: &[Remote]) -> Result<(), Failed> {
    use std::io::IsTerminal;
    let is_asked =
        std::io::stdin().is_terminal() && std::io::stderr().is_terminal() && !session.globals.json;
    let is_far = |remote: &&Remote| remote.location.as_directory().is_none();
    match remotes.iter().find(is_far) {
        Some(remote) if !session.globals.yes && !is_asked => Err(Failed::Operation(
            Unconfirmed {
                remote: remote.name.clone(),
            }
            .into(),
        )),
        _ => Ok(()),
    }
}

fn show(session: &Session, done: &DoneGc) -> CommandResult {
    let mut out = session.plain_out();
    if session.globals.json {
        out.json(&done.to_json())?;
    } else if session.globals.quiet == 0 {
        done.print(&mut out)?;
    }
    out.finish()?;
    Ok(done.exit())
}

/// A garbage collection that has ended.
pub(crate) struct DoneGc {
    report: GcReport,
    purged: PurgeReport,
    /// The entries that are left in the trash.
    trash: TrashUse,
    options: CollectOptions,
    /// The name of the remote; `None` for the local repository.
    remote: Option<String>,
    now: i64,
}

impl DoneGc {
    fn is_complete(&self) -> bool {
        !self.report.is_partial && self.report.undeleted == 0
    }

    /// Returns the exit code.
    pub(crate) fn exit(&self) -> Exit {
        if self.is_complete() {
            Exit::DONE
        } else {
            Exit::with(Kind::Incomplete)
        }
    }

    /// Returns the report in JSON.
    pub(crate) fn to_json(&self) -> JsonGc {
        JsonGc {
            remote: self.remote.clone(),
            complete: self.is_complete(),
            purged_entries: self.purged.entries,
            purged_bytes: self.purged.bytes,
            trash_entries: self.trash.entries,
            trash_bytes: self.trash.bytes,
            ..as_json(&self.report, self.options.dry_run, self.now)
        }
    }

    fn print_trash(&self, out: &mut Out) -> std::io::Result<()> {
        let entries = |n: u64| {
            let noun = if n == 1 { "entry" } else { "entries" };
            format!("{n} {noun}")
        };
        let (purged, trash) = (&self.purged, &self.trash);
        if purged.entries > 0 {
            let verb = if self.options.dry_run {
                "would delete"
            } else {
                "deleted"
            };
            let many = entries(purged.entries);
            writeln!(out, "{verb} {many} from the trash, {}", size(purged.bytes))?;
        }
        if trash.entries > 0 {
            let (many, bytes) = (entries(trash.entries), size(trash.bytes));
            let rest = trash.until.unwrap_or(0).saturating_sub(self.now);
            let first = if rest > 0 {
                format!("the first may be deleted {}", ago(rest.saturating_neg()))
            } else {
                "the next run deletes some".to_owned()
            };
            writeln!(out, "the trash has {many} with {bytes}; {first}")?;
        }
        Ok(())
    }

    /// Prints the report.
    pub(crate) fn print(&self, out: &mut Out) -> std::io::Result<()> {
        if let Some(remote) = &self.remote {
            writeln!(out, "at {remote}:")?;
        }
        print(out, &self.report, &self.options, self.now)?;
        self.print_trash(out)
    }
}

/// Runs a garbage collection of the repository of the context, which may be a remote one.
pub(crate) fn collect_garbage(
    session: &Session,
    context: &Context,
    options: &CollectOptions,
) -> Result<DoneGc, Failed> {
    let run = dirs::usable_run()?;
    let progress = session.progress()?;
    // Commits that run at the same time go first. Threads inherit the priority.
    let _ = rustix::process::setpriority_process(None, NICENESS);
    let CollectReport {
        packs: report,
        purged,
    } = match &context.remote_repository {
        None => collect(context, &run, options, &progress)?,
        Some(remote) => {
            let settle = session.settings()?.number("gc.settle");
            let settle = settle.map(Duration::from_secs);
            let local = Context {
                remote_repository: None,
                ..context.clone()
            };
            CollectReport {
                packs: collect_remote(&local, remote, &run, options, settle, &progress)?,
                purged: PurgeReport::default(),
            }
        }
    };
    for root in &report.incomplete {
        let message = format!(
            "{}: objects of version {} are missing",
            root.name,
            root.id.short()
        );
        progress.notice(Notice {
            level: NoticeLevel::Warning,
            path: Vec::new(),
            message,
        });
    }
    if report.undeleted > 0 {
        let objects = count(report.undeleted, "object");
        let because = report.undeleted_because.as_deref().unwrap_or("refused");
        progress.notice(Notice {
            level: NoticeLevel::Warning,
            path: Vec::new(),
            message: format!("could not delete {objects}: {because}; the next gc will try again"),
        });
    }
    drop(progress);
    let trash = match &context.remote_repository {
        None => list(&TrashPlaces::of_repository(session, context)?.scope()).size(),
        Some(_) => TrashUse::default(),
    };
    Ok(DoneGc {
        report,
        purged,
        trash,
        options: options.clone(),
        remote: context.remote_repository.as_ref().map(|r| r.name.clone()),
        now: context.now_secs(),
    })
}

/// Returns the options; the settings provide those that the command line lacks.
pub(crate) fn options(
    session: &Session,
    args: &GcArgs,
    is_remote: bool,
) -> Result<CollectOptions, Failed> {
    let grace = if is_remote {
        "gc.remote-grace"
    } else {
        "gc.grace"
    };
    let settings = session.settings()?;
    let seconds = |key: &str| Duration::from_secs(settings.number(key).unwrap_or(0));
    let time = |option: &'static str, text: &Option<String>, key: &str| match text {
        Some(text) => value::duration(text).map_err(|problem| CliError::option(option, problem)),
        None => Ok(seconds(key)),
    };
    let bytes = match &args.max_repack {
        Some(text) => dvc::model::size::parse(text)
            .map_err(|problem| CliError::option("--max-repack", problem))?,
        None => settings.number("gc.max-repack").unwrap_or(0),
    };
    let percent = match &args.max_unused {
        Some(text) => share(text).map_err(|problem| CliError::option("--max-unused", problem))?,
        None => share(settings.text("gc.max-unused").unwrap_or("10%"))
            .map_err(|problem| CliError::option("gc.max-unused", problem))?,
    };
    let max_time = time("--max-time", &args.max_time, "gc.max-time")?;
    Ok(CollectOptions {
        grace: if args.now {
            Duration::ZERO
        } else {
            time("--grace", &args.grace, grace)?
        },
        keep_trash: time("--keep-trash", &args.keep_trash, "gc.keep-trash")?,
        keep_local_trash: seconds("gc.keep-local-trash"),
        at_once: BTreeSet::new(),
        keep_log: seconds("gc.keep-log"),
        max_unused: percent,
        // A setting of 0 means no limit.
        max_repack: Some(bytes).filter(|bytes| *bytes > 0),
        max_time: Some(max_time).filter(|time| !time.is_zero()),
        dry_run: session.dry_run(args.dry),
        is_confirmed: session.globals.yes,
    })
}

/// Parses `10`, `10%` or `2.5%`, and returns a fraction between 0 and 1.
fn share(text: &str) -> Result<f64, String> {
    let wrong = || format!("invalid percentage `{text}`: expected a number such as 10 or 2.5%");
    let percent: f64 = text
        .strip_suffix('%')
        .unwrap_or(text)
        .parse()
        .map_err(|_| wrong())?;
    // The range also rejects `nan` and `inf`, which Rust parses as numbers.
    if (0.0..=100.0).contains(&percent) {
        Ok(percent / 100.0)
    } else {
        Err(wrong())
    }
}

fn as_json(report: &GcReport, dry_run: bool, now: i64) -> JsonGc {
    let wait = |until: i64| until.saturating_sub(now).max(0);
    JsonGc {
        remote: None,
        versions: report.whole_versions,
        forgotten_versions: report.forgotten_versions,
        deleted_packs: report.deleted_packs,
        deleted_bytes: report.deleted_bytes,
        dropped_packs: report.dropped_packs,
        dropped_bytes: report.dropped_bytes,
        copied_packs: report.copied_packs,
        copied_bytes: report.copied_bytes,
        new_packs: report.new_packs,
        new_bytes: report.new_bytes,
        waiting_packs: report.waiting_packs,
        waiting_bytes: report.waiting_bytes,
        waiting_seconds: report.waiting_until.map(wait),
        dead_packs: report.dead_packs,
        dead_bytes: report.dead_bytes,
        dead_seconds: report.dead_until.map(wait),
        kept_bytes: report.kept_bytes,
        unused_bytes: report.unused_bytes,
        purged_entries: 0,
        purged_bytes: 0,
        trash_entries: 0,
        trash_bytes: 0,
        deferred_packs: report.deferred_packs,
        undeleted: report.undeleted,
        overlay_bytes: report.overlay_bytes,
        incomplete: report
            .incomplete
            .iter()
            .map(|root| root.name.clone())
            .collect(),
        complete: true,
        dry_run,
    }
}

fn print(
    out: &mut Out,
    report: &GcReport,
    options: &CollectOptions,
    now: i64,
) -> std::io::Result<()> {
    let packs = |bytes: u64, packs: u64| format!("{} in {}", size(bytes), count(packs, "pack"));
    let would = if options.dry_run { "would " } else { "" };
    if report.dropped_packs > 0 {
        let mark = if options.dry_run { "mark" } else { "marked" };
        writeln!(
            out,
            "{would}{mark} {} as dead",
            packs(report.dropped_bytes, report.dropped_packs)
        )?;
    }
    if report.copied_packs > 0 {
        let copied = if options.dry_run { "copy" } else { "copied" };
        let from = count(report.copied_packs, "partly unused pack");
        writeln!(
            out,
            "{would}{copied} {} of {from}",
            size(report.copied_bytes)
        )?;
    }
    if report.waiting_packs > 0 {
        let after = due(report.waiting_until, now);
        writeln!(
            out,
            "{} not needed, to be marked as dead {after}",
            packs(report.waiting_bytes, report.waiting_packs)
        )?;
    }
    if report.dead_packs > 0 {
        let after = due(report.dead_until, now);
        writeln!(
            out,
            "{} dead, to be deleted {after}",
            packs(report.dead_bytes, report.dead_packs)
        )?;
    }
    let deleted = if options.dry_run {
        "would delete"
    } else {
        "deleted"
    };
    let (bytes, number) = (report.deleted_bytes, report.deleted_packs);
    let (kept, unused) = (size(report.kept_bytes), size(report.unused_bytes));
    writeln!(
        out,
        "{deleted} {}; {kept} kept, of which {unused} unused",
        packs(bytes, number)
    )?;
    if report.overlay_bytes > 0 {
        let freed = if options.dry_run {
            "would free"
        } else {
            "freed"
        };
        let bytes = size(report.overlay_bytes);
        writeln!(out, "{freed} {bytes} of committed data in overlays")?;
    }
    if report.deferred_packs > 0 {
        let packs = count(report.deferred_packs, "pack");
        writeln!(
            out,
            "the registry frees the space of {packs} when its own garbage collection runs"
        )?;
    }
    Ok(())
}

/// Describes the time from which a run marks packs as dead, or deletes them.
fn due(at: Option<i64>, now: i64) -> String {
    match at.map(|at| at.saturating_sub(now)) {
        Some(secs) if secs > 0 => {
            let wait = Duration::from_secs(u64::try_from(secs).unwrap_or(0));
            format!("by a run in {}", crate::print::elapsed(wait))
        }
        _ => "by the next run".to_owned(),
    }
}
