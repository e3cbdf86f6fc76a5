//! `dvc mount`: shows a version as a directory, or lists what is mounted.
//!
//! The command starts itself once more to serve the mount, waits until it stands, and ends.

use crate::args::DryRun;
use crate::argv;
use crate::commands::overlays;
use crate::dirs;
use crate::failure::{CliError, Exit, Failed, Outcome};
use crate::place::Place;
use crate::print::{Out, Paint, size};
use crate::session::Session;
use clap::Args;
use dvc::error::{Error, Kind};
use dvc::model::revision::{Revision, RevisionBase, RevisionSpec};
use dvc::model::text::harmless;
use dvc::mount::attach::MountTrust;
use dvc::mount::control::MountNote;
use dvc::mount::daemon::OverlayUse;
use dvc::mount::health::MountHealth;
use dvc::observe::{Notice, NoticeLevel, Observer};
use dvc::ops::clone::{CloneOptions, clone};
use dvc::ops::fetch::{FetchOptions, fetch};
use dvc::ops::mount::{Hydrate, MountOptions, MountState, OVERLAYS, Show, default_branch, mount, mounts, plan};
use dvc::repo::Repo;
use dvc::store::location::Location;
use dvc::sys::create;
use dvc::sys::mountinfo;
use parking_lot::Mutex;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

/// So long the remote of a volume is asked again.
const PATIENCE: std::time::Duration = std::time::Duration::from_secs(15);
/// Less is not worth a line.
const SPARE_SHOWN: u64 = 1 << 20;
/// A log that is larger is begun anew.
const LOG_MAX: u64 = 4 << 20;

/// Options of `mount`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  dvc mount AMCC@v3 /mnt/db\n  dvc mount --live AMCC /var/lib/mysql\n  \
                        dvc mount 's3://backups/amcc#AMCC@v3' /mnt/db\n  \
                        dvc mount -n AMCC /mnt/db      what would be mounted\n  dvc mount")]
pub(crate) struct MountArgs {
    /// The version, or URL#REV; without one, what is mounted is listed
    #[arg(value_name = "REV")]
    pub(crate) rev: Option<String>,
    /// The mount point, a directory
    #[arg(value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    pub(crate) dir: Option<PathBuf>,
    /// Nothing can be changed
    #[arg(long, conflicts_with_all = ["rw", "name", "ephemeral", "live"])]
    pub(crate) ro: bool,
    /// Show every branch and version as directories, `AMCC/v3`; read-only
    #[arg(long, conflicts_with_all = ["rw", "name", "ephemeral", "live", "follow"])]
    pub(crate) all: bool,
    /// Show what the branch is at, whenever it moves; read-only
    #[arg(long, conflicts_with_all = ["rw", "name", "ephemeral", "live"])]
    pub(crate) follow: bool,
    /// Changes go to a private overlay, the default
    #[arg(long)]
    pub(crate) rw: bool,
    /// The overlay that keeps changes; one for each mount point if left out
    #[arg(long, value_name = "OVERLAY")]
    pub(crate) name: Option<String>,
    /// Forget changes at the end
    #[arg(long, conflicts_with = "name")]
    pub(crate) ephemeral: bool,
    /// For databases that run while they are committed
    #[arg(long)]
    pub(crate) live: bool,
    /// Let other users in; each is asked for the permissions that the files say
    #[arg(long)]
    pub(crate) allow_other: bool,
    /// Honour set-user-id bits and file capabilities; for root only
    #[arg(long)]
    pub(crate) suid: bool,
    /// Let device nodes be opened; for root only
    #[arg(long)]
    pub(crate) dev: bool,
    /// Do not let files be executed
    #[arg(long)]
    pub(crate) noexec: bool,
    /// Show the version's files as of this user and group
    #[arg(long, value_name = "UID:GID")]
    pub(crate) map_owner: Option<String>,
    /// What the overlay may take on disk, such as 40G
    #[arg(long, value_name = "SIZE")]
    pub(crate) quota: Option<String>,
    /// Bring whole files into the overlay: `open` (for writing), `all`, or a pattern as in `.dvcsignore`
    #[arg(long, value_name = "WHICH")]
    pub(crate) hydrate: Option<String>,
    /// Wait until they are there
    #[arg(long, requires = "hydrate")]
    pub(crate) wait_hydrated: bool,
    /// Note in FILE what is read of the version
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub(crate) record: Option<PathBuf>,
    /// Bring at once what was read according to FILE, which `--record` made
    #[arg(long, value_name = "FILE", value_hint = clap::ValueHint::FilePath)]
    pub(crate) prefetch: Option<PathBuf>,
    /// Serve the mount in this process
    #[arg(long)]
    pub(crate) foreground: bool,
    /// Show what was counted of a mount
    #[arg(long, value_name = "DIR", exclusive = false, conflicts_with_all = ["rev", "dir"])]
    pub(crate) stats: Option<PathBuf>,
    /// List overlays: what is kept of mounts, also of those that have ended
    #[arg(long, conflicts_with_all = ["rev", "dir", "stats"])]
    pub(crate) overlays: bool,
    /// Copy the files of an overlay that cannot be mounted into DIR
    #[arg(long, value_name = "OVERLAY", conflicts_with_all = ["dir", "stats", "overlays", "ro", "all", "follow", "name"])]
    pub(crate) salvage: Option<String>,
    /// The mount of a volume: it goes on with what its overlay stands on, and with what is here of a repository that cannot
    /// be reached.
    #[arg(long, hide = true)]
    pub(crate) volume: bool,
    /// Told to the process that serves the mount: somebody waits for a word that it stands.
    #[arg(long, hide = true)]
    pub(crate) serving: bool,
    #[command(flatten)]
    pub(crate) dry: DryRun,
}

/// Runs `mount`.
pub(crate) fn run(session: &Session, args: &MountArgs) -> Outcome {
    if args.overlays {
        return overlays::list(session);
    }
    if let Some(name) = &args.salvage {
        let missing = || CliError::option("--salvage", "name the directory that the files go into");
        return overlays::salvage(session, args.dry, name, args.rev.as_deref().ok_or_else(missing)?);
    }
    // Of all versions none is named.
    let (rev, dir) = match (args.all, &args.rev, &args.dir) {
        (true, Some(dir), None) => (Some("@"), Some(Path::new(dir))),
        (_, rev, dir) => (rev.as_deref(), dir.as_deref()),
    };
    match (rev, dir) {
        (Some(rev), Some(dir)) if session.dry_run(args.dry) => rehearse(session, args, rev, dir),
        (Some(rev), Some(dir)) if args.foreground || args.serving => serve(session, args, rev, dir),
        (Some(_), Some(dir)) => start(session, args, dir),
        (None, None) => list(session, args.stats.as_deref()),
        _ => Err(CliError::option("DIR", "name a version and the directory to mount it on").into()),
    }
}

/// Starts the process that serves the mount, and waits for its word.
fn start(session: &Session, args: &MountArgs, dir: &Path) -> Outcome {
    let failed = |doing: &'static str| move |source| CliError::File { doing, path: PathBuf::from("dvc"), source };
    let program = std::env::current_exe().map_err(failed("find"))?;
    // The command line of the process that serves the mount is open to every user for as long as the mount lives. What is
    // wrong with a URL, and that its password is not used, is reported here, where it still has one.
    for url in args.rev.iter().filter_map(|rev| located(rev).ok()?.0.url).chain(named_url(session)) {
        session.location(&url)?;
    }
    let hidden = |word: &OsString| argv::without_password(word).unwrap_or_else(|| word.clone());
    let words: Vec<OsString> = session.argv[1..].iter().map(hidden).collect();
    // After `--` it would be taken for a directory.
    let (options, rest) = words.split_at(words.iter().position(|word| word == "--").unwrap_or(words.len()));
    let mut child = Command::new(program)
        .args(options)
        .arg("--serving")
        .args(rest)
        .current_dir(&session.begun)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(failed("start"))?;
    let mut word = String::new();
    if let Some(output) = child.stdout.take() {
        BufReader::new(output).read_line(&mut word).map_err(failed("hear"))?;
    }
    let Ok(note) = serde_json::from_str::<MountNote>(&word) else {
        // It has said why not.
        let status = child.wait().map_err(failed("wait for"))?;
        return Ok(Exit::of_child(status));
    };
    let mut out = session.plain_out();
    match session.globals.json {
        true => out.json(&json_of_note(&note))?,
        false if session.globals.quiet > 0 => {}
        false => {
            let overlay = note.overlay.as_ref().map_or("read-only".to_owned(), |name| format!("overlay {name}"));
            writeln!(out, "{} on {}, {overlay}", out.paint(Paint::Branch, &note.revision), dir.display())?;
        }
    }
    out.finish()?;
    Ok(Exit::DONE)
}

fn json_of_note(note: &MountNote) -> serde_json::Value {
    serde_json::json!({
        "at": note.at.to_string_lossy(), "pid": note.process.pid, "revision": note.revision, "overlay": note.overlay,
        "repository": note.repository.to_string_lossy(), "read_only": note.read_only, "mode": note.mode,
    })
}

/// Shows what would be mounted.
fn rehearse(session: &Session, args: &MountArgs, rev: &str, dir: &Path) -> Outcome {
    let (place, revision, own) = place_of(session, Some(args), rev, true)?;
    let context = own.as_ref().unwrap_or(session).context(&place)?;
    // Without a clone the repository is the remote itself.
    let of_origin = own.is_some() && place.far.is_none() && is_shared_clone(&place.repository);
    let options = MountOptions { of_origin, ..options(session, args, revision, dir, false)? };
    let plan = plan(&context, &options, &*session.told()?)?;
    let mut out = session.plain_out();
    if session.globals.json {
        let overlay = plan.overlay.as_ref();
        out.json(&serde_json::json!({
            "at": options.at.to_string_lossy(), "revision": options.revision.to_string(),
            "version": plan.version.map(|id| id.to_string()), "branch": plan.branch.as_ref().map(ToString::to_string),
            "repository": plan.repository.to_string_lossy(), "read_only": options.read_only,
            "overlay": overlay.map(|(name, _)| name), "ephemeral": options.ephemeral, "clears": plan.clears,
            "kept": overlay.is_some_and(|(_, kept)| *kept != OverlayUse::Nothing),
            "changed": overlay.is_some_and(|(_, kept)| *kept == OverlayUse::Changed), "dry_run": true,
        }))?;
    } else if session.globals.quiet == 0 {
        if plan.clears {
            writeln!(out, "would clear away a mount that nobody serves any more")?;
        }
        let overlay = match &plan.overlay {
            None => "read-only".to_owned(),
            Some(_) if options.ephemeral => "changes are forgotten at the end".to_owned(),
            Some((name, OverlayUse::Nothing)) => format!("new overlay {name}"),
            Some((name, OverlayUse::Unchanged)) => format!("overlay {name}, in which nothing is changed"),
            Some((name, OverlayUse::Changed)) => format!("overlay {name} with what is changed in it"),
        };
        let id = plan.version.map(|id| format!(" ({})", out.paint(Paint::Id, id.short()))).unwrap_or_default();
        let revision = out.paint(Paint::Branch, &options.revision);
        writeln!(out, "would mount {revision}{id} on {}, {overlay}", dir.display())?;
    }
    out.finish()?;
    Ok(Exit::DONE)
}

fn options(
    session: &Session,
    args: &MountArgs,
    revision: Revision,
    dir: &Path,
    far: bool,
) -> Result<MountOptions, Failed> {
    Ok(MountOptions {
        revision,
        show: match (args.all, args.follow) {
            (true, _) => Show::All,
            (_, true) => Show::Follow,
            _ => Show::Version,
        },
        at: absolute(session, dir)?,
        name: args.name.clone(),
        read_only: args.ro || args.all || args.follow || far,
        of_origin: false,
        resume: args.volume,
        ephemeral: args.ephemeral,
        allow_other: args.allow_other,
        trust: MountTrust { suid: args.suid, dev: args.dev, noexec: args.noexec },
        map_owner: args.map_owner.as_deref().map(owner).transpose()?,
        quota: args.quota.as_deref().map(|text| size_of("--quota", text)).transpose()?,
        live: args.live,
        hydrate: match args.hydrate.as_deref() {
            None | Some("off") => Hydrate::Off,
            Some("open") => Hydrate::Open,
            Some("all") => Hydrate::All,
            Some(pattern) => Hydrate::Matching(pattern.to_owned()),
        },
        record: args.record.as_ref().map(|file| session.current.join(file)),
        prefetch: args.prefetch.as_ref().map(|file| session.current.join(file)),
        run: dirs::usable_run()?,
    })
}

fn serve(session: &Session, args: &MountArgs, rev: &str, dir: &Path) -> Outcome {
    let (place, revision, own) = place_of(session, Some(args), rev, false)?;
    let context = own.as_ref().unwrap_or(session).context(&place)?;
    let of_origin = own.is_some() && is_shared_clone(&place.repository);
    let options = MountOptions { of_origin, ..options(session, args, revision, dir, place.far.is_some())? };
    let log = Arc::new(Log::default());
    let told = Arc::clone(&log);
    let complain = Arc::new(move |text: &str| told.say(text));
    let (daemon, overlay) = mount(&context, &options, complain, &*session.told()?)?;
    log.to(&overlay.clone().unwrap_or_else(|| dirs::run().join("mounts")).join("log"));
    let note = daemon.note().clone();
    log.say(&format!("{} mounted on {}", note.revision, note.at.display()));
    let (wait, serving) = (args.wait_hydrated.then(|| daemon.hydration_waiter()), args.serving);
    let stands = move || -> std::io::Result<()> {
        if let Some(wait) = wait {
            wait();
        }
        if serving {
            let word = serde_json::to_string(&note).map_err(std::io::Error::other)?;
            let mut out = std::io::stdout();
            writeln!(out, "{word}")?;
            out.flush()?;
            release();
        }
        Ok(())
    };
    let (state, stop) = (daemon.facts_reporter(), daemon.stopper());
    // Whoever asks by signal finds the answer in the log.
    if let Ok(mut signals) = signal_hook::iterator::Signals::new([SIGUSR1, SIGTERM, SIGINT, SIGHUP]) {
        if session.signals.cancelled() {
            stop();
        }
        std::thread::spawn(move || {
            for signal in signals.forever() {
                match signal {
                    SIGUSR1 => {
                        let Some(facts) = state() else { return };
                        log.say(&serde_json::to_string(&facts).unwrap_or_default());
                    }
                    _ => stop(),
                }
            }
        });
    }
    // The mount is served meanwhile.
    std::thread::spawn(stands);
    daemon.run(overlay)?;
    Ok(Exit::DONE)
}

/// Lets go of the terminal and of whoever waits for output.
fn release() {
    let _ = rustix::process::setsid();
    if let Ok(null) = std::fs::File::options().read(true).write(true).open("/dev/null") {
        let _ = rustix::stdio::dup2_stdout(&null);
        let _ = rustix::stdio::dup2_stderr(&null);
    }
}

/// What went wrong, kept beside the overlay.
#[derive(Default)]
struct Log(Mutex<Option<std::fs::File>>);

impl Log {
    fn to(&self, path: &Path) {
        let long = std::fs::metadata(path).is_ok_and(|m| m.len() > LOG_MAX);
        if long {
            let _ = std::fs::rename(path, path.with_extension("old"));
        }
        let file = create::open_private(path, std::fs::File::options().append(true));
        *self.0.lock() = file.ok();
    }

    fn say(&self, text: &str) {
        let line = format!("{} {}\n", jiff::Timestamp::now(), harmless(text));
        match &*self.0.lock() {
            Some(file) => drop((&*file).write_all(line.as_bytes())),
            None => drop(std::io::stderr().write_all(line.as_bytes())),
        }
    }
}

fn owner(text: &str) -> Result<(u32, u32), CliError> {
    let parts = text.split_once(':').and_then(|(uid, gid)| Some((uid.parse().ok()?, gid.parse().ok()?)));
    parts.ok_or_else(|| CliError::option("--map-owner", format!("`{text}` is not UID:GID")))
}

fn size_of(option: &'static str, text: &str) -> Result<u64, CliError> {
    dvc::model::size::parse(text).map_err(|problem| CliError::option(option, problem))
}

pub(super) fn absolute(session: &Session, dir: &Path) -> Result<PathBuf, CliError> {
    let dir = session.current.join(dir);
    // A mount point is not looked at: its process may be gone, stopped, or another user's.
    let found = match mountinfo::ours_at(&dir) {
        Ok(Some(mounted)) => Ok(mounted.at),
        _ => dir.canonicalize(),
    };
    found.map_err(|source| CliError::File { doing: "find", path: dir, source })
}

/// The repository and the version of `REV` or `URL#REV`, and what has the settings of a clone.
pub(super) fn place_of(
    session: &Session,
    args: Option<&MountArgs>,
    text: &str,
    dry: bool,
) -> Result<(Place, Revision, Option<Session>), Failed> {
    let (spec, names_version) = located(text)?;
    if spec.path.is_some() {
        return Err(CliError::option("REV", "a whole version is meant, not a path of it").into());
    }
    match spec.url.or_else(|| named_url(session)) {
        Some(url) => {
            let volume = args.filter(|args| args.volume).map(|args| args.name.as_deref());
            let (place, own) = cloned(session, volume, &url, dry)?;
            let revision = match names_version {
                true => spec.revision,
                false => {
                    let branch = default_branch(&own.context(&place)?)?;
                    Revision { base: RevisionBase::Name(branch), suffixes: Vec::new() }
                }
            };
            Ok((place, revision, Some(own)))
        }
        None => Ok((session.place()?, spec.revision, None)),
    }
}

/// Where the lazy clones are that mounts share.
pub(super) fn clones() -> PathBuf {
    dirs::state().join("clones")
}

/// Whether a repository is a lazy clone that mounts of a URL share.
fn is_shared_clone(repository: &Path) -> bool {
    repository.parent() == Some(&clones())
}

/// `REV`, `URL#REV` or `URL`, and whether it names a version.
fn located(text: &str) -> Result<(RevisionSpec, bool), Failed> {
    let spec = RevisionSpec::parse_located(text.as_bytes());
    // No revision has a slash at its start or behind a colon.
    let is_url = !text.contains('#') && (text.contains("://") || text.starts_with('/') || text.contains(":/"));
    if is_url {
        let revision = Revision { base: RevisionBase::Head, suffixes: Vec::new() };
        return Ok((RevisionSpec { url: Some(text.to_owned()), revision, path: None }, false));
    }
    Ok((spec.map_err(Error::from)?, true))
}

/// The URL that `--repo` or `DVC_REPO` names, if it is one.
fn named_url(session: &Session) -> Option<String> {
    session.named_repository().and_then(|p| p.to_str().map(str::to_owned)).filter(|text| Location::is_url(text))
}

/// A lazy clone of a repository elsewhere, made or brought up to date. In a dry run it stays as it is, and where there is none
/// the repository is looked at where it is. `volume` is the overlay of a volume's mount, if it is for one.
fn cloned(session: &Session, volume: Option<Option<&str>>, url: &str, dry: bool) -> Result<(Place, Session), Failed> {
    let location = session.location(url)?;
    let key: String = location.to_string().chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let repository = match location.as_directory() {
        Some(dir) => dir.to_path_buf(),
        None => clones().join(key),
    };
    let place = Place {
        repository: repository.clone(),
        worktree: session.current.clone(),
        prefix: PathBuf::new(),
        far: None,
        mount: None,
    };
    // Where it takes from is in the settings of the clone, not in those of where the command runs.
    let own = session.in_repository(&repository);
    if location.as_directory().is_some() {
        return Ok((place, own));
    }
    if dry {
        let far = (!Repo::is_at(&repository)).then(|| url.to_owned());
        return Ok((Place { far, ..place }, own));
    }
    let failed = |source| CliError::File { doing: "create", path: repository.clone(), source };
    // The directory of all state stays open, because the mount points of volumes are in it.
    create::dir_all(&dirs::state())
        .and_then(|()| create::private_dir(repository.parent().unwrap_or(&repository)))
        .and_then(|()| create::private_dir(&repository))
        .map_err(failed)?;
    // Two who mount of one repository at once make one clone.
    let _lock = create::open_private(&repository.with_extension("lock"), std::fs::File::options().write(true))
        .and_then(|lock| lock.lock().map(|()| lock))
        .map_err(failed)?;
    let progress = session.progress()?;
    let mut origin = session.unnamed(location.clone())?;
    "origin".clone_into(&mut origin.name);
    origin.lazy = true;
    // Docker gives up on a volume after a while, and says less of why.
    origin.access.patience = volume.map(|_| PATIENCE);
    if Repo::is_at(&repository) {
        let context = own.context(&place)?;
        let goes_on = volume.flatten().map(|name| repository.join(OVERLAYS).join(name));
        if context.remotes.is_empty()
            || own.settings()?.on("network.offline")
            || goes_on.is_some_and(|overlay| overlay.exists())
        {
            return Ok((place, own));
        }
        let mut remote = own.remote(&context, "origin")?;
        remote.access.patience = origin.access.patience;
        match fetch(&context, &remote, &FetchOptions::default(), &progress) {
            Err(e) if volume.is_some() && e.kind() == Kind::Unreachable => {
                let message = format!("{e}; what is here already is shown");
                progress.notice(Notice { level: NoticeLevel::Info, path: Vec::new(), message });
            }
            fetched => {
                fetched?;
                follow(&context)?;
            }
        }
        return Ok((place, own));
    }
    let context = session.context(&place)?;
    let settle = || {
        super::remote::write(&place, "origin", Some(&location), Some("true")).map_err(|e| match e {
            Failed::Operation(e) => e,
            Failed::Output(source) => CliError::File { doing: "write", path: repository.clone(), source }.into(),
        })
    };
    let options = CloneOptions { no_checkout: true, ..CloneOptions::default() };
    match clone(&context, &origin, &options, &settle, &progress) {
        // Which branch is meant is said by the revision.
        Err(e) if e.kind() == Kind::NotFound => {}
        done => drop(done?),
    }
    follow(&own.context(&place)?)?;
    Ok((place, own))
}

/// Makes the branches of a clone that nobody works in the same as its remote's.
fn follow(context: &dvc::context::Context) -> Result<(), Failed> {
    Ok(dvc::ops::mount::follow_origin(context)?)
}

fn list(session: &Session, only: Option<&Path>) -> Outcome {
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
        match session.globals.json {
            true => out.json(&json(state))?,
            false => print(&mut out, state, only.is_some())?,
        }
    }
    out.finish()?;
    Ok(Exit::DONE)
}

fn json(state: &MountState) -> serde_json::Value {
    let mut value = state
        .note
        .as_ref()
        .map_or_else(|| serde_json::json!({ "at": state.mounted.at.to_string_lossy() }), json_of_note);
    value["alive"] = state.facts().is_some().into();
    value["health"] = state.health.name().into();
    value["owner"] = state.mounted.owner().into();
    if let Some(facts) = state.facts() {
        value["state"] = serde_json::to_value(facts).unwrap_or_default();
    }
    value
}

fn print(out: &mut Out, state: &MountState, all: bool) -> std::io::Result<()> {
    let at = state.mounted.at.display();
    let facts = match &state.health {
        MountHealth::Served(facts) => facts,
        MountHealth::Dead => return writeln!(out, "{at}: no process serves it any more; `dvc umount` removes it"),
        MountHealth::OtherUser(owner) => return writeln!(out, "{at}: mounted by user {owner}"),
        MountHealth::Unknown => {
            return writeln!(out, "{at}: served by a process that is not known here (another DVC_RUN_DIR?)");
        }
        MountHealth::Silent { pid, stopped } => {
            let how = if *stopped { "is stopped" } else { "does not answer" };
            return writeln!(out, "{at}: process {pid}, which serves it, {how}; `dvc umount --force` detaches it");
        }
    };
    let Some(note) = &state.note else { return Ok(()) };
    let version = facts.version.as_deref().map_or("", |id| &id[..8.min(id.len())]);
    let kind = note.overlay.as_ref().map_or("read-only".to_owned(), |name| format!("overlay {name}"));
    let branch = facts.branch.as_ref().map_or(String::new(), |b| format!(" of {b}"));
    let version = if version.is_empty() { String::new() } else { format!(", {}", out.paint(Paint::Id, version)) };
    writeln!(out, "{at}: {}{version}{branch}, {kind}", out.paint(Paint::Branch, &note.revision))?;
    if facts.spare_bytes >= SPARE_SHOWN {
        writeln!(out, " {} of the overlay are in a version: a remount gives them back", size(facts.spare_bytes))?;
    }
    if facts.changed > 0 {
        writeln!(out, " {} changed, {} not in a version", facts.changed, size(facts.dirty_bytes))?;
    }
    if all {
        writeln!(out, " process {}, {} files open, {} known to the kernel", note.process.pid, facts.open, facts.known)?;
        writeln!(out, " read {} in {} requests", size(facts.read_bytes), facts.reads)?;
        writeln!(out, " written {} in {} requests", size(facts.written_bytes), facts.writes)?;
        writeln!(out, " hydrated {}", size(facts.hydrated_bytes))?;
        writeln!(out, " fetched {} in {} requests", size(facts.fetched_bytes), facts.requests)?;
        writeln!(out, " failed {}", facts.failed)?;
    }
    Ok(())
}
