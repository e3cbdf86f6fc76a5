//! `dvc mount`: mounts a version as a directory, or lists mounts.
//!
//! The command runs this program again as the process that serves the mount, waits until the mount
//! is attached, and exits.

use crate::argv;
use crate::commands::overlays;
use crate::dirs;
use crate::failure::{CliError, CommandResult, Exit, Failed};
use crate::globals::DryRun;
use crate::mount_source::{self, MountSource, Purpose};
use crate::print::{Out, Paint, size};
use crate::render::mount::JsonMount;
use crate::session::Session;
use clap::Args;
use dvc::model::refname::RefName;
use dvc::model::text::count;
use dvc::mount::attach::MountTrust;
use dvc::mount::daemon::{
    DaemonLog, DaemonStart, MountDaemon, OverlayUse, report_mounted, start_daemon,
};
use dvc::mount::health::MountHealth;
use dvc::ops::mount::{
    Hydrate, MountOptions, MountState, MountedVersion, PlannedOverlay, Show, mount, mounts, plan,
};
use dvc::sys::mountinfo;
use serde::Serialize;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use std::borrow::Cow;
use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

/// Minimum number of spare bytes of an overlay that are listed.
const SPARE_SHOWN: u64 = 1 << 20;

/// Options of `mount`.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  dvc mount AMCC@v3 /mnt/db\n  dvc mount --live AMCC /var/lib/mysql\n  \
                        dvc mount 's3://backups/amcc#AMCC@v3' /mnt/db\n  \
                        dvc mount -n AMCC /mnt/db      what would be mounted\n  dvc mount"
)]
pub(crate) struct MountArgs {
    /// Mount this version, or URL#REV; without one, list mounts
    #[arg(value_name = "REV")]
    pub(crate) rev: Option<String>,
    /// Mount the version on this directory
    #[arg(value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    pub(crate) dir: Option<PathBuf>,
    /// Mount read-only
    #[arg(long, conflicts_with_all = ["rw", "name", "ephemeral", "live"])]
    pub(crate) ro: bool,
    /// Show every branch and version as a directory, such as `AMCC/v3`; read-only
    #[arg(long, conflicts_with_all = ["rw", "name", "ephemeral", "live", "follow"])]
    pub(crate) all: bool,
    /// Switch to the newest version whenever the branch moves; read-only
    #[arg(long, conflicts_with_all = ["rw", "name", "ephemeral", "live"])]
    pub(crate) follow: bool,
    /// Keep changes in a private overlay (the default)
    #[arg(long)]
    pub(crate) rw: bool,
    /// Keep changes in OVERLAY; the default is one for each mount point
    #[arg(long, value_name = "OVERLAY")]
    pub(crate) name: Option<String>,
    /// Discard all changes at unmount
    #[arg(long, conflicts_with = "name")]
    pub(crate) ephemeral: bool,
    /// Allow commits while databases run on the mount
    #[arg(long)]
    pub(crate) live: bool,
    /// Allow access for other users, subject to the permissions of the files
    #[arg(long)]
    pub(crate) allow_other: bool,
    /// Honour set-user-ID bits and file capabilities (root only)
    #[arg(long)]
    pub(crate) suid: bool,
    /// Allow device nodes (root only)
    #[arg(long)]
    pub(crate) dev: bool,
    /// Forbid the execution of files
    #[arg(long)]
    pub(crate) noexec: bool,
    /// Show the files of the version as owned by this user and group
    #[arg(long, value_name = "UID:GID")]
    pub(crate) map_owner: Option<String>,
    /// Limit the disk space of the overlay, such as 40G
    #[arg(long, value_name = "SIZE")]
    pub(crate) quota: Option<String>,
    /// Copy whole files to the overlay: `open` (when opened for writing), `all`, or a pattern as in
    /// `.dvcsignore`
    #[arg(long, value_name = "WHICH")]
    pub(crate) hydrate: Option<String>,
    /// Wait until the files of --hydrate are copied
    #[arg(long, requires = "hydrate")]
    pub(crate) wait_hydrated: bool,
    /// Record in FILE which parts of the version are read
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub(crate) record: Option<PathBuf>,
    /// Prefetch the parts listed in FILE, which --record created
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub(crate) prefetch: Option<PathBuf>,
    /// Serve the mount in this process
    #[arg(long)]
    pub(crate) foreground: bool,
    /// Show the statistics of the mount at DIR
    #[arg(long, value_name = "DIR", exclusive = false, conflicts_with_all = ["rev", "dir"])]
    pub(crate) stats: Option<PathBuf>,
    /// List overlays, including those that are not mounted
    #[arg(long, conflicts_with_all = ["rev", "dir", "stats"])]
    pub(crate) overlays: bool,
    /// Copy the files of an overlay that cannot be mounted to DIR
    #[arg(long, value_name = "OVERLAY", conflicts_with_all = ["dir", "stats", "overlays", "ro", "all", "follow", "name"])]
    pub(crate) salvage: Option<String>,
    /// Mount a volume: its overlay decides the version, and an unreachable remote is not an error
    #[arg(long, hide = true)]
    pub(crate) volume: bool,
    /// Report the mount on standard output, for the process that started this one
    #[arg(long, hide = true)]
    pub(crate) serving: bool,
    #[command(flatten)]
    pub(crate) dry: DryRun,
}

/// Runs `mount`.
pub(crate) fn run(session: &Session, args: &MountArgs) -> CommandResult {
    if args.overlays {
        return overlays::list(session);
    }
    if let Some(name) = &args.salvage {
        let missing =
            || CliError::option("--salvage", "expected the directory to copy the files to");
        return overlays::salvage(
            session,
            args.dry,
            name,
            args.rev.as_deref().ok_or_else(missing)?,
        );
    }
    // With --all, the only argument is the directory.
    let (rev, dir) = match (args.all, &args.rev, &args.dir) {
        (true, Some(dir), None) => (Some("@"), Some(Path::new(dir))),
        (_, rev, dir) => (rev.as_deref(), dir.as_deref()),
    };
    match (rev, dir) {
        (Some(rev), Some(dir)) if session.dry_run(args.dry) => rehearse(session, args, rev, dir),
        (Some(rev), Some(dir)) if args.foreground || args.serving => serve(session, args, rev, dir),
        (Some(_), Some(dir)) => start(session, args, dir),
        (None, None) => list(session, args.stats.as_deref()),
        _ => Err(CliError::option("DIR", "expected a version and a directory").into()),
    }
}

/// Starts the process that serves the mount, and waits until it reports the mount.
fn start(session: &Session, args: &MountArgs, dir: &Path) -> CommandResult {
    let failed = |doing: &'static str| {
        move |source| CliError::File {
            doing,
            path: PathBuf::from("dvc"),
            source,
        }
    };
    let program = std::env::current_exe().map_err(failed("find"))?;
    // Every user can read the command line of the serving process, so passwords are removed from it
    // below. Check the URLs before that, while a password can still be warned about.
    mount_source::check_urls(session, args.rev.as_deref())?;
    let hidden = |word: &OsString| argv::without_password(word).unwrap_or_else(|| word.clone());
    let words: Vec<OsString> = session.argv[1..].iter().map(hidden).collect();
    // After `--`, the option would be taken for a positional argument.
    let (options, rest) = words.split_at(
        words
            .iter()
            .position(|word| word == "--")
            .unwrap_or(words.len()),
    );
    let mut command = Command::new(program);
    command
        .args(options)
        .arg("--serving")
        .args(rest)
        // The arguments contain `-C`, which is relative to the first directory.
        .current_dir(&session.begun);
    let note = match start_daemon(&mut command, &|| session.signals.cancelled())
        .map_err(failed("start"))?
    {
        DaemonStart::Mounted(note) => note,
        DaemonStart::Failed(status) => {
            return Ok(Exit::of_child(status).unless_cancelled(&session.signals));
        }
    };
    let mut out = session.plain_out();
    if session.globals.json {
        out.json(&JsonMount::started(&note))?;
    } else if session.globals.quiet == 0 {
        let overlay = note
            .overlay
            .as_ref()
            .map_or("read-only".to_owned(), |name| format!("overlay {name}"));
        writeln!(
            out,
            "{} on {}, {overlay}",
            out.paint(Paint::Branch, &note.revision),
            dir.display()
        )?;
    }
    out.finish()?;
    Ok(Exit::DONE)
}

/// A planned mount, in JSON.
#[derive(Serialize)]
struct JsonMountPlan<'a> {
    mount_point: Cow<'a, str>,
    revision: String,
    version: Option<String>,
    branch: Option<&'a str>,
    repository: Cow<'a, str>,
    read_only: bool,
    overlay: Option<&'a str>,
    ephemeral: bool,
    clears_dead_mount: bool,
    overlay_exists: bool,
    overlay_changed: bool,
    dry_run: bool,
}

/// Shows what would be mounted.
fn rehearse(session: &Session, args: &MountArgs, rev: &str, dir: &Path) -> CommandResult {
    let source = MountSource::open(session, rev, Purpose::DryRun)?;
    let context = source.session(session).context(&source.place)?;
    let options = options(session, args, &source, dir)?;
    let plan = plan(&context, &options, &*session.store_notices()?)?;
    let mut out = session.plain_out();
    if session.globals.json {
        let overlay = plan.overlay.as_ref();
        out.json(&JsonMountPlan {
            mount_point: options.at.to_string_lossy(),
            revision: options.revision.to_string(),
            version: plan.version.map(|id| id.to_string()),
            branch: plan.branch.as_ref().map(RefName::as_str),
            repository: plan.repository.to_string_lossy(),
            read_only: options.read_only,
            overlay: overlay.map(|overlay| overlay.name.as_str()),
            ephemeral: options.ephemeral,
            clears_dead_mount: plan.clears,
            overlay_exists: overlay.is_some_and(|overlay| overlay.kept != OverlayUse::Nothing),
            overlay_changed: overlay.is_some_and(|overlay| overlay.kept == OverlayUse::Changed),
            dry_run: true,
        })?;
    } else if session.globals.quiet == 0 {
        if plan.clears {
            writeln!(
                out,
                "would remove a dead mount, whose daemon no longer runs"
            )?;
        }
        let overlay = match &plan.overlay {
            None => "read-only".to_owned(),
            Some(_) if options.ephemeral => "changes are discarded at unmount".to_owned(),
            Some(PlannedOverlay {
                name,
                kept: OverlayUse::Nothing,
            }) => format!("new overlay {name}"),
            Some(PlannedOverlay {
                name,
                kept: OverlayUse::Unchanged,
            }) => {
                format!("overlay {name}, which has no changes")
            }
            Some(PlannedOverlay {
                name,
                kept: OverlayUse::Changed,
            }) => format!("overlay {name} with its changes"),
        };
        let id = plan
            .version
            .map(|id| format!(" ({})", out.paint(Paint::Id, id.short())))
            .unwrap_or_default();
        let revision = out.paint(Paint::Branch, &options.revision);
        writeln!(
            out,
            "would mount {revision}{id} on {}, {overlay}",
            dir.display()
        )?;
    }
    out.finish()?;
    Ok(Exit::DONE)
}

fn options(
    session: &Session,
    args: &MountArgs,
    source: &MountSource,
    dir: &Path,
) -> Result<MountOptions, Failed> {
    Ok(MountOptions {
        revision: source.revision.clone(),
        show: match (args.all, args.follow) {
            (true, _) => Show::All,
            (_, true) => Show::Follow,
            _ => Show::Version,
        },
        at: absolute(session, dir)?,
        name: args.name.clone(),
        read_only: args.ro || args.all || args.follow,
        of_origin: source.is_shared_clone(),
        resume: args.volume,
        ephemeral: args.ephemeral,
        allow_other: args.allow_other,
        trust: MountTrust {
            suid: args.suid,
            dev: args.dev,
            noexec: args.noexec,
        },
        map_owner: args.map_owner.as_deref().map(owner).transpose()?,
        quota: args
            .quota
            .as_deref()
            .map(|text| size_of("--quota", text))
            .transpose()?,
        live: args.live,
        hydrate: match args.hydrate.as_deref() {
            None | Some("off") => Hydrate::Off,
            Some("open") => Hydrate::Open,
            Some("all") => Hydrate::All,
            Some(pattern) => Hydrate::Matching(pattern.to_owned()),
        },
        record: args.record.as_ref().map(|file| session.current.join(file)),
        prefetch: args
            .prefetch
            .as_ref()
            .map(|file| session.current.join(file)),
        run: dirs::usable_run()?,
    })
}

/// Serves the mount in this process until it is unmounted.
fn serve(session: &Session, args: &MountArgs, rev: &str, dir: &Path) -> CommandResult {
    let purpose = if args.volume {
        Purpose::Volume {
            overlay: args.name.as_deref(),
        }
    } else {
        Purpose::Command
    };
    let source = MountSource::open(session, rev, purpose)?;
    let context = source.session(session).context(&source.place)?;
    let options = options(session, args, &source, dir)?;
    // Until the log file is open, messages go to standard error.
    let log = Arc::new(DaemonLog::new(Box::new(std::io::stderr())));
    let reporter = Arc::clone(&log);
    let complain = Arc::new(move |text: &str| reporter.write(text));
    let MountedVersion { daemon, overlay } =
        mount(&context, &options, complain, &*session.store_notices()?)?;
    log.open(
        &overlay
            .clone()
            .unwrap_or_else(|| dirs::run().join("mounts"))
            .join("log"),
    );
    let note = daemon.note().clone();
    log.write(&format!(
        "{} mounted on {}",
        note.revision,
        note.at.display()
    ));
    let (wait, serving) = (
        args.wait_hydrated.then(|| daemon.hydration_waiter()),
        args.serving,
    );
    let report = move || -> std::io::Result<()> {
        if let Some(wait) = wait {
            wait();
        }
        if serving {
            report_mounted(&mut std::io::stdout(), &note)?;
            release_output();
        }
        Ok(())
    };
    watch_signals(session, &daemon, log);
    // Report from another thread, because this one must serve the mount while files are hydrated.
    std::thread::spawn(report);
    daemon.run(overlay)?;
    Ok(Exit::DONE)
}

/// Logs the statistics on SIGUSR1, and unmounts on SIGTERM, SIGINT and SIGHUP.
fn watch_signals(session: &Session, daemon: &MountDaemon, log: Arc<DaemonLog>) {
    let (facts, stop) = (daemon.facts_reporter(), daemon.stopper());
    let Ok(mut signals) = signal_hook::iterator::Signals::new([SIGUSR1, SIGTERM, SIGINT, SIGHUP])
    else {
        return;
    };
    // A signal may have arrived before the new handlers were installed.
    if session.signals.cancelled() {
        stop();
    }
    std::thread::spawn(move || {
        for signal in signals.forever() {
            if signal != SIGUSR1 {
                stop();
                continue;
            }
            let Some(facts) = facts() else { return };
            log.write(&serde_json::to_string(&facts).unwrap_or_default());
        }
    });
}

/// Releases the terminal and closes standard output and error, so that callers that read the output
/// to its end can continue.
fn release_output() {
    // setsid(2) fails only for the leader of a process group, which then keeps its session.
    let _ = rustix::process::setsid();
    if let Ok(null) = std::fs::File::options()
        .read(true)
        .write(true)
        .open("/dev/null")
    {
        let _ = rustix::stdio::dup2_stdout(&null);
        let _ = rustix::stdio::dup2_stderr(&null);
    }
}

fn owner(text: &str) -> Result<(u32, u32), CliError> {
    let parts = text
        .split_once(':')
        .and_then(|(uid, gid)| Some((uid.parse().ok()?, gid.parse().ok()?)));
    parts.ok_or_else(|| {
        CliError::option(
            "--map-owner",
            format!("invalid owner `{text}`: expected UID:GID, as numbers"),
        )
    })
}

fn size_of(option: &'static str, text: &str) -> Result<u64, CliError> {
    dvc::model::size::parse(text).map_err(|problem| CliError::option(option, problem))
}

pub(super) fn absolute(session: &Session, dir: &Path) -> Result<PathBuf, CliError> {
    let dir = session.current.join(dir);
    // Do not access the mount point itself, because its process may be gone or stopped, or belong
    // to another user.
    let found = match mountinfo::ours_at(&dir) {
        Ok(Some(mounted)) => Ok(mounted.at),
        _ => dir.canonicalize(),
    };
    found.map_err(|source| CliError::File {
        doing: "find",
        path: dir,
        source,
    })
}

fn list(session: &Session, only: Option<&Path>) -> CommandResult {
    let wanted = only.map(|dir| absolute(session, dir)).transpose()?;
    let all: Vec<MountState> = mounts(&dirs::usable_run()?)?
        .into_iter()
        .filter(|m| wanted.as_ref().is_none_or(|at| m.mounted.at == *at))
        .collect();
    if let (Some(at), true) = (&wanted, all.is_empty()) {
        return Err(dvc::mount::daemon::no_mount_at(at).into());
    }
    let mut out = session.plain_out();
    for state in &all {
        if session.globals.json {
            out.json(&JsonMount::listed(state))?;
        } else {
            print(&mut out, state, only.is_some())?;
        }
    }
    out.finish()?;
    Ok(Exit::DONE)
}

fn print(out: &mut Out, state: &MountState, all: bool) -> std::io::Result<()> {
    let at = state.mounted.at.display();
    let facts = match &state.health {
        MountHealth::Served(facts) => facts,
        MountHealth::Dead => {
            return writeln!(
                out,
                "{at}: dead mount, its daemon no longer runs; run `dvc umount {at}`"
            );
        }
        MountHealth::OtherUser(owner) => return writeln!(out, "{at}: mounted by user {owner}"),
        MountHealth::Unknown => {
            return writeln!(
                out,
                "{at}: mounted, but its daemon cannot be found; it may use another DVC_RUN_DIR"
            );
        }
        MountHealth::Silent { pid, stopped } => {
            let how = if *stopped {
                "is stopped"
            } else {
                "does not respond"
            };
            return writeln!(
                out,
                "{at}: process {pid}, the daemon of the mount, {how}; run `dvc umount --force {at}` to detach it"
            );
        }
    };
    let Some(note) = &state.note else {
        return Ok(());
    };
    let version = facts
        .version
        .as_deref()
        .map_or("", |id| &id[..8.min(id.len())]);
    let kind = note
        .overlay
        .as_ref()
        .map_or("read-only".to_owned(), |name| format!("overlay {name}"));
    let branch = facts
        .branch
        .as_ref()
        .map_or(String::new(), |b| format!(" of {b}"));
    let version = if version.is_empty() {
        String::new()
    } else {
        format!(", {}", out.paint(Paint::Id, version))
    };
    writeln!(
        out,
        "{at}: {}{version}{branch}, {kind}",
        out.paint(Paint::Branch, &note.revision)
    )?;
    if facts.spare_bytes >= SPARE_SHOWN {
        writeln!(
            out,
            " {} of the overlay are already committed; a remount frees them",
            size(facts.spare_bytes)
        )?;
    }
    if facts.changed > 0 {
        writeln!(
            out,
            " {} changed, {} uncommitted",
            count(facts.changed, "file"),
            size(facts.dirty_bytes)
        )?;
    }
    if all {
        writeln!(
            out,
            " process {}, {}, {} cached by the kernel",
            note.process.pid,
            count(facts.open, "open file"),
            count(facts.known, "inode")
        )?;
        writeln!(
            out,
            " read {} in {}",
            size(facts.read_bytes),
            count(facts.reads, "request")
        )?;
        writeln!(
            out,
            " written {} in {}",
            size(facts.written_bytes),
            count(facts.writes, "request")
        )?;
        writeln!(out, " hydrated {}", size(facts.hydrated_bytes))?;
        writeln!(
            out,
            " fetched {} in {}",
            size(facts.fetched_bytes),
            count(facts.requests, "request")
        )?;
        writeln!(out, " failed requests: {}", facts.failed)?;
    }
    Ok(())
}
