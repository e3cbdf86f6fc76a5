//! `dvc volume`: views of versions under names, the same that Docker sees through the plugin.

mod plain;

use crate::args::{DryRun, Globals, With};
use crate::dirs;
use crate::failure::{CliError, Exit, Failed, Outcome};
use crate::print::{Out, Paint, size};
use crate::session::Session;
use clap::{Args, Subcommand, ValueEnum};
use dvc::docker::{DockerEngine, EngineError};
use dvc::model::revision::RevisionSpec;
use dvc::observe::{Notice, NoticeLevel, Observer};
use dvc::ops::volume::{Removed, VolumeOptions, VolumeState, Volumes, check_name};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Options of `volume`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  dvc volume create db --from 's3://backups/amcc#AMCC@v3'\n  \
                        docker run -v \"$(dvc volume path db)\":/var/lib/mysql mariadb\n  \
                        dvc volume ls\n  dvc volume rm db")]
pub(crate) struct VolumeArgs {
    #[command(subcommand)]
    pub(crate) action: Action,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub(crate) enum Action {
    /// Make a volume; the same again does nothing
    Create(With<CreateArgs>),
    /// List volumes
    #[command(visible_alias = "list")]
    Ls(With<LsArgs>),
    /// Show all of a volume
    Inspect(With<NamesArgs>),
    /// Print where a volume is, and mount it
    Path(With<PathArgs>),
    /// Whether there is such a volume: exit code 0 or 1, no word
    Has(With<HasArgs>),
    /// Remove volumes; changes that no version has are put aside
    #[command(visible_alias = "remove")]
    Rm(With<RmArgs>),
    /// Give a volume another name
    #[command(alias = "rename")]
    Mv(With<MvArgs>),
}

/// Options of `volume create`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  dvc volume create scratch\n  dvc volume create db --from AMCC@v3 --quota 40G\n  \
                        dvc volume create db --from 's3://backups/amcc#AMCC@v3' --branch dev/me\n  \
                        dvc volume create db --from AMCC@v3 --driver local\n  \
                        dvc volume create db --parked db@1764330000")]
pub(crate) struct CreateArgs {
    /// Its name
    pub(crate) name: String,
    /// The version, or URL#REV; without one an empty volume is made
    #[arg(long, value_name = "REV")]
    pub(crate) from: Option<String>,
    /// Nothing can be changed
    #[arg(long)]
    pub(crate) ro: bool,
    /// The branch that commits go to
    #[arg(short, long, value_name = "NAME")]
    pub(crate) branch: Option<String>,
    /// What its changes may take on disk, such as 40G
    #[arg(long, value_name = "SIZE")]
    pub(crate) quota: Option<String>,
    /// An option as `docker volume create` takes it: repo, rev, mode, branch, cache, quota, live
    #[arg(short, value_name = "KEY=VALUE")]
    pub(crate) option: Vec<String>,
    /// Who keeps it: `local` writes the version into a plain volume of the Docker engine
    #[arg(long, value_enum, default_value = "dvc")]
    pub(crate) driver: Driver,
    /// Make it of a removed one that was put aside
    #[arg(long, value_name = "PARKED", conflicts_with_all = ["from", "ro", "branch", "quota", "option"])]
    pub(crate) parked: Option<String>,
    #[command(flatten)]
    pub(crate) dry: DryRun,
}

/// Who keeps a volume.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Driver {
    /// A view, of which nothing is copied before it is read
    Dvc,
    /// The Docker engine, as a directory
    Local,
}

/// Options of `volume ls`.
#[derive(Args, Debug)]
pub(crate) struct LsArgs {
    /// List what was removed with changes that no version has
    #[arg(long)]
    pub(crate) parked: bool,
}

/// Names of volumes.
#[derive(Args, Debug)]
pub(crate) struct NamesArgs {
    /// Names
    #[arg(required = true)]
    pub(crate) names: Vec<String>,
}

/// Options of `volume has`.
#[derive(Args, Debug)]
pub(crate) struct HasArgs {
    /// Its name
    pub(crate) name: String,
}

/// Options of `volume path`.
#[derive(Args, Debug)]
#[command(after_help = "The volume stays mounted until it is removed. In a container `host` is the path below \
                        DVC_HOST_DATA_DIR, which names what DVC_DATA_DIR is outside.")]
pub(crate) struct PathArgs {
    /// Its name
    pub(crate) name: String,
    /// Whose path
    #[arg(long, value_enum, default_value = "host")]
    pub(crate) scope: Scope,
}

/// Whose path.
#[derive(ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Outside of the container that this runs in
    Host,
    /// Where this runs
    Container,
}

/// Options of `volume rm`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  dvc volume rm db\n  dvc volume rm --discard db     give changes up\n  \
                        dvc volume rm --parked db@1764330000")]
pub(crate) struct RmArgs {
    /// Names
    #[arg(required = true)]
    pub(crate) names: Vec<String>,
    /// Give up changes that no version has
    #[arg(long)]
    pub(crate) discard: bool,
    /// Remove what was put aside, by what `ls --parked` calls it
    #[arg(long, conflicts_with = "discard")]
    pub(crate) parked: bool,
    #[command(flatten)]
    pub(crate) dry: DryRun,
}

/// Options of `volume mv`.
#[derive(Args, Debug)]
pub(crate) struct MvArgs {
    /// Its name
    pub(crate) name: String,
    /// Its new name
    pub(crate) new: String,
    #[command(flatten)]
    pub(crate) dry: DryRun,
}

impl Action {
    /// The global options behind the action.
    pub(crate) fn globals(&self) -> &Globals {
        match self {
            Self::Create(with) => &with.globals,
            Self::Ls(with) => &with.globals,
            Self::Inspect(with) => &with.globals,
            Self::Path(with) => &with.globals,
            Self::Has(with) => &with.globals,
            Self::Rm(with) => &with.globals,
            Self::Mv(with) => &with.globals,
        }
    }
}

/// Runs `volume`.
pub(crate) fn run(session: &Session, args: &VolumeArgs) -> Outcome {
    match &args.action {
        Action::Create(with) => create(session, &with.own),
        Action::Ls(with) => list(session, &with.own),
        Action::Inspect(with) => inspect(session, &with.own),
        Action::Path(with) => path(session, &with.own),
        Action::Has(with) => match volumes(session)?.find(&with.own.name) {
            Ok(found) => Ok(if found.is_some() { Exit::DONE } else { Exit::NO }),
            // What is no name is no volume either.
            Err(_) if check_name(&with.own.name).is_err() => Ok(Exit::NO),
            Err(e) => Err(e.into()),
        },
        Action::Rm(with) => remove(session, &with.own),
        Action::Mv(with) => rename(session, &with.own),
    }
}

/// The Docker engine, as `DOCKER_HOST` names it. Nothing is asked yet.
pub(crate) fn engine() -> Result<DockerEngine, EngineError> {
    DockerEngine::new(std::env::var("DOCKER_HOST").ok().as_deref())
}

/// Whether somebody said where it is.
pub(crate) fn engine_is_named() -> bool {
    std::env::var_os("DOCKER_HOST").is_some_and(|host| !host.is_empty())
}

/// The volumes of this machine.
pub(crate) fn volumes(session: &Session) -> Result<Volumes, Failed> {
    let failed = |source| CliError::File { doing: "find", path: PathBuf::from("dvc"), source };
    let program = std::env::current_exe().map_err(failed)?;
    let cache = session.settings()?.text("cache.dir").map(PathBuf::from).unwrap_or_default();
    let settings = session.globals.set.iter().flat_map(|set| ["-c".to_owned(), set.clone()]).collect();
    Ok(Volumes::new(&dirs::state(), dirs::usable_run()?, cache, program, settings))
}

fn create(session: &Session, args: &CreateArgs) -> Outcome {
    if args.driver == Driver::Local {
        return plain::create(session, args);
    }
    let (volumes, dry_run) = (volumes(session)?, session.dry_run(args.dry));
    check_name(&args.name)?;
    let new = if let Some(parked) = &args.parked {
        if !dry_run {
            volumes.restore(&args.name, parked)?;
        }
        true
    } else {
        let options = options(session, args)?;
        if options.had_password {
            let message = "the password in the URL was left out: passwords come from the environment or /run/secrets";
            session.told()?.notice(Notice { level: NoticeLevel::Info, path: Vec::new(), message: message.to_owned() });
        }
        match dry_run {
            true => volumes.find(&args.name)?.is_none(),
            false => volumes.create(&args.name, &options, &session.now.timestamp())?,
        }
    };
    let mut out = session.plain_out();
    if session.globals.json {
        out.json(&serde_json::json!({ "name": args.name, "new": new, "dry_run": dry_run }))?;
    } else if session.globals.quiet == 0 {
        match (dry_run, new) {
            (false, _) => writeln!(out, "{}", args.name)?,
            (true, true) => writeln!(out, "would make volume {}", args.name)?,
            (true, false) => writeln!(out, "volume {} is there already", args.name)?,
        }
    }
    out.finish()?;
    Ok(Exit::DONE)
}

/// The options of the command line as the ones that Docker hands on.
fn options(session: &Session, args: &CreateArgs) -> Result<VolumeOptions, Failed> {
    let mut given: BTreeMap<String, String> = BTreeMap::new();
    let mut put = |key: &str, value: String| match given.insert(key.to_owned(), value) {
        Some(_) => Err(CliError::option("-o", format!("`{key}` is given twice"))),
        None => Ok(()),
    };
    for option in &args.option {
        let parts = option.split_once('=');
        let (key, value) = parts.ok_or_else(|| CliError::option("-o", format!("`{option}` is not KEY=VALUE")))?;
        put(key, value.to_owned())?;
    }
    if let Some(from) = &args.from {
        let located = RevisionSpec::parse_located(from.as_bytes()).map_err(dvc::error::Error::from)?;
        if located.url.is_some() {
            put("repo", from.clone())?;
        } else {
            let named = session.named_repository().and_then(|p| p.to_str().map(str::to_owned));
            let far = named.filter(|text| dvc::store::location::Location::is_url(text));
            let here = || -> Result<String, Failed> {
                let repository = session.place()?.repository;
                Ok(repository.canonicalize().unwrap_or(repository).display().to_string())
            };
            put("repo", far.map_or_else(here, Ok)?)?;
            put("rev", from.clone())?;
        }
    }
    if args.ro {
        put("mode", "ro".to_owned())?;
    }
    for (key, value) in [("branch", &args.branch), ("quota", &args.quota)] {
        if let Some(value) = value {
            put(key, value.clone())?;
        }
    }
    Ok(VolumeOptions::parse(&given)?)
}

fn list(session: &Session, args: &LsArgs) -> Outcome {
    let volumes = volumes(session)?;
    let mut out = session.plain_out();
    if args.parked {
        for (called, record) in volumes.parked()? {
            match session.globals.json {
                true => out.json(&serde_json::json!({
                    "parked": called, "name": record.name, "repository": record.repository, "revision": record.revision,
                }))?,
                false => writeln!(out, "{called}")?,
            }
        }
        out.finish()?;
        return Ok(Exit::DONE);
    }
    for record in volumes.list()? {
        if session.globals.quiet > 0 {
            writeln!(out, "{}", record.name)?;
            continue;
        }
        let state = volumes.state(&record.name)?;
        if session.globals.json {
            out.json(&json(&state))?;
            continue;
        }
        line(&mut out, &state)?;
    }
    out.finish()?;
    Ok(Exit::DONE)
}

fn line(out: &mut Out, state: &VolumeState) -> std::io::Result<()> {
    let (record, facts) = (&state.record, state.facts.as_ref());
    let version = state.version.as_deref().map_or("", |id| id.get(..8).unwrap_or(id));
    let changes = match (state.changed, facts) {
        (false, _) => "unchanged".to_owned(),
        (true, Some(facts)) => format!("{} changed", size(facts.dirty_bytes)),
        (true, None) => "changed".to_owned(),
    };
    let users = match (state.users.ids.len(), state.note.is_some()) {
        (0, false) => "not mounted".to_owned(),
        (0, true) => "mounted".to_owned(),
        (n, _) => format!("in use by {n}"),
    };
    writeln!(
        out,
        "{}\t{}\t{}\t{}\t{changes}\t{users}",
        record.name,
        out.paint(Paint::Branch, &record.revision),
        out.paint(Paint::Id, version),
        if record.read_only { "ro" } else { "rw" },
    )
}

fn json(state: &VolumeState) -> serde_json::Value {
    let record = &state.record;
    serde_json::json!({
        "name": record.name, "repository": record.repository, "revision": record.revision, "branch": record.branch,
        "version": state.version, "read_only": record.read_only, "live": record.live, "quota": record.quota,
        "cache": record.cache, "overlay": record.overlay, "created": record.created,
        "local": record.local.as_ref().map(|p| p.to_string_lossy()), "at": state.at.to_string_lossy(),
        "mounted": state.note.is_some(), "mode": state.note.as_ref().map(|n| n.mode.clone()),
        "changed": state.changed, "users": state.users.ids.len(), "held": state.users.held,
        "state": state.facts.as_ref().map(|facts| serde_json::to_value(facts).unwrap_or_default()),
    })
}

fn inspect(session: &Session, args: &NamesArgs) -> Outcome {
    let volumes = volumes(session)?;
    let mut out = session.plain_out();
    for name in &args.names {
        let value = json(&volumes.state(name)?);
        if session.globals.json {
            out.json(&value)?;
            continue;
        }
        for (key, value) in value.as_object().into_iter().flatten() {
            match value {
                serde_json::Value::Null | serde_json::Value::Object(_) => {}
                serde_json::Value::String(text) => writeln!(out, "{key}: {text}")?,
                value => writeln!(out, "{key}: {value}")?,
            }
        }
        for (key, value) in value["state"].as_object().into_iter().flatten().filter(|(_, v)| v.is_u64()) {
            writeln!(out, "{key}: {value}")?;
        }
    }
    out.finish()?;
    Ok(Exit::DONE)
}

fn path(session: &Session, args: &PathArgs) -> Outcome {
    let at = volumes(session)?.path(&args.name)?;
    let at = if args.scope == Scope::Host { outside(&at) } else { at };
    let mut out = session.plain_out();
    match session.globals.json {
        true => out.json(&serde_json::json!({ "name": args.name, "path": at.to_string_lossy() }))?,
        false => writeln!(out, "{}", at.display())?,
    }
    out.finish()?;
    Ok(Exit::DONE)
}

/// What a path below the state directory is outside of this container.
fn outside(at: &Path) -> PathBuf {
    match (dirs::host_state(), at.strip_prefix(dirs::state())) {
        (Some(host), Ok(below)) => host.join(below),
        _ => at.to_owned(),
    }
}

/// Removes volumes. One that cannot be removed does not keep the others.
fn remove(session: &Session, args: &RmArgs) -> Outcome {
    let volumes = volumes(session)?;
    let mut failed = None;
    for name in &args.names {
        match remove_one(session, args, &volumes, name) {
            Ok(()) => {}
            Err(e) if args.names.len() == 1 => return Err(e),
            Err(e) => {
                let exit = session.tell_failure(&e);
                failed.get_or_insert(exit);
            }
        }
    }
    Ok(failed.unwrap_or(Exit::DONE))
}

fn remove_one(session: &Session, args: &RmArgs, volumes: &Volumes, name: &str) -> Result<(), Failed> {
    let dry_run = session.dry_run(args.dry);
    if args.parked {
        if !dry_run {
            volumes.discard_parked(name)?;
        }
        return Ok(());
    }
    let local = volumes.find(name)?.and_then(|record| record.local);
    let removed = if dry_run {
        let changed = volumes.state(name)?.changed && !args.discard;
        Removed { parked: changed.then(|| name.to_owned()), cache_bytes: 0, unpushed: None }
    } else {
        volumes.remove(name, args.discard, session.now.timestamp().as_second())?
    };
    let mut out = session.plain_out();
    if session.globals.json {
        out.json(&serde_json::json!({
            "name": name, "parked": removed.parked, "cache_bytes": removed.cache_bytes, "dry_run": dry_run,
            "unpushed": removed.unpushed.as_ref().map(|kept| kept.branch.to_string()),
            "unpushed_versions": removed.unpushed.as_ref().map_or(0, |kept| kept.versions),
        }))?;
    } else if session.globals.quiet == 0 {
        let would = if dry_run { "would remove " } else { "" };
        match &removed.parked {
            Some(_) if dry_run => writeln!(out, "{would}{name}, and put its changes aside")?,
            Some(parked) => writeln!(
                out,
                "{name}\n its changes are put aside, `dvc volume create {name} --parked {parked}` brings them back"
            )?,
            None => writeln!(out, "{would}{name}")?,
        }
        if let (Some(kept), Some(local)) = (&removed.unpushed, &local) {
            let (versions, branch) = (kept.versions, out.paint(Paint::Branch, &kept.branch));
            let many = if versions == 1 { "version that is" } else { "versions that are" };
            writeln!(out, " {versions} {many} not pushed: branch {branch} of `dvc --repo {}`", local.display())?;
        }
    }
    Ok(out.finish()?)
}

fn rename(session: &Session, args: &MvArgs) -> Outcome {
    if session.dry_run(args.dry) {
        volumes(session)?.state(&args.name)?;
        check_name(&args.new)?;
    } else {
        volumes(session)?.rename(&args.name, &args.new)?;
    }
    Ok(Exit::DONE)
}
