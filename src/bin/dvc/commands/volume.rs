//! `dvc volume`: named volumes with versions for containers, the same ones that Docker sees through
//! the plugin.

mod args;
mod local;

use crate::dirs;
use crate::failure::{CliError, CommandResult, Exit, Failed};
use crate::machine::volumes;
use crate::print::{Out, Paint, size};
use crate::render::mount::JsonMountStats;
use crate::session::Session;
use args::{CreateArgs, Driver, InspectArgs, MvArgs, PathArgs, PathScope, RmArgs};
pub(crate) use args::{VolumeAction, VolumeArgs};
use dvc::model::revision::RevisionSpec;
use dvc::observe::{Notice, NoticeLevel, Observer};
use dvc::ops::volume::{RemovedVolume, VolumeOptions, VolumeState, Volumes, check_name};
use serde::Serialize;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

/// Runs `volume`.
pub(crate) fn run(session: &Session, args: &VolumeArgs) -> CommandResult {
    match &args.action {
        VolumeAction::Create(with) => create(session, &with.own),
        VolumeAction::Ls(_) => list(session),
        VolumeAction::Inspect(with) => inspect(session, &with.own),
        VolumeAction::Path(with) => path(session, &with.own),
        VolumeAction::Has(with) => match volumes(session)?.find(&with.own.name) {
            Ok(found) => Ok(if found.is_some() {
                Exit::DONE
            } else {
                Exit::NO
            }),
            // No volume can have an invalid name.
            Err(_) if check_name(&with.own.name).is_err() => Ok(Exit::NO),
            Err(e) => Err(e.into()),
        },
        VolumeAction::Rm(with) => remove(session, &with.own),
        VolumeAction::Mv(with) => rename(session, &with.own),
    }
}

fn create(session: &Session, args: &CreateArgs) -> CommandResult {
    if args.driver == Driver::Local {
        return local::create(session, args);
    }
    let (volumes, dry_run) = (volumes(session)?, session.dry_run(args.dry));
    check_name(&args.name)?;
    let options = options(session, args)?;
    if options.had_password {
        let message =
            "ignored the password in the URL; set it in the environment or in /run/secrets";
        session.store_notices()?.notice(Notice {
            level: NoticeLevel::Info,
            path: Vec::new(),
            message: message.to_owned(),
        });
    }
    let new = if dry_run {
        volumes.find(&args.name)?.is_none()
    } else {
        volumes.create(&args.name, &options, &session.now.timestamp())?
    };
    let mut out = session.plain_out();
    if session.globals.json {
        out.json(&JsonCreated {
            name: &args.name,
            created: new,
            dry_run,
        })?;
    } else if session.globals.quiet == 0 {
        match (dry_run, new) {
            (false, _) => writeln!(out, "{}", args.name)?,
            (true, true) => writeln!(out, "would create volume {}", args.name)?,
            (true, false) => writeln!(out, "volume {} already exists", args.name)?,
        }
    }
    out.finish()?;
    Ok(Exit::DONE)
}

/// Translates the arguments of `dvc volume create` to the options of `docker volume create`.
fn options(session: &Session, args: &CreateArgs) -> Result<VolumeOptions, Failed> {
    let mut given: BTreeMap<String, String> = BTreeMap::new();
    let mut put = |key: &str, value: String| match given.insert(key.to_owned(), value) {
        Some(_) => Err(CliError::option(
            "-o",
            format!("`{key}` is given more than once"),
        )),
        None => Ok(()),
    };
    for option in &args.option {
        let parts = option.split_once('=');
        let (key, value) = parts.ok_or_else(|| {
            CliError::option(
                "-o",
                format!("invalid option `{option}`: expected KEY=VALUE"),
            )
        })?;
        put(key, value.to_owned())?;
    }
    if let Some(from) = &args.from {
        let located =
            RevisionSpec::parse_located(from.as_bytes()).map_err(dvc::error::Error::from)?;
        if located.url.is_some() {
            // `VolumeOptions` takes the version out of the address.
            put("repo", from.clone())?;
        } else {
            let named = session
                .named_repository()
                .and_then(|p| p.to_str().map(str::to_owned));
            let far = named.filter(|text| dvc::store::location::Location::is_url(text));
            let here = || -> Result<String, Failed> {
                let repository = session.place()?.repository;
                Ok(repository
                    // The volume is used from other directories, so its path must be absolute.
                    .canonicalize()
                    .unwrap_or(repository)
                    .display()
                    .to_string())
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

#[derive(Serialize)]
struct JsonCreated<'a> {
    name: &'a str,
    created: bool,
    dry_run: bool,
}

#[derive(Serialize)]
struct JsonVolume<'a> {
    name: &'a str,
    repository: &'a str,
    revision: &'a str,
    branch: Option<&'a str>,
    version: Option<&'a str>,
    read_only: bool,
    live: bool,
    quota_bytes: Option<u64>,
    cache_bytes: Option<u64>,
    overlay: &'a str,
    created_time: &'a str,
    local_repository: Option<Cow<'a, str>>,
    mount_point: Cow<'a, str>,
    mounted: bool,
    mode: Option<&'a str>,
    changed: bool,
    users: usize,
    pinned: bool,
    /// `null` if no process answers.
    stats: Option<JsonMountStats>,
}

#[derive(Serialize)]
struct JsonVolumePath<'a> {
    name: &'a str,
    path: Cow<'a, str>,
}

#[derive(Serialize)]
struct JsonRemoved<'a> {
    name: &'a str,
    trash: Option<&'a str>,
    cache_bytes: u64,
    dry_run: bool,
    unpushed_branch: Option<&'a str>,
    unpushed_versions: u64,
}

fn list(session: &Session) -> CommandResult {
    let volumes = volumes(session)?;
    let mut out = session.plain_out();
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
    let version = state
        .version
        .as_deref()
        .map_or("", |id| id.get(..8).unwrap_or(id));
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

fn json(state: &VolumeState) -> JsonVolume<'_> {
    let record = &state.record;
    JsonVolume {
        name: &record.name,
        repository: &record.repository,
        revision: &record.revision,
        branch: record.branch.as_deref(),
        version: state.version.as_deref(),
        read_only: record.read_only,
        live: record.live,
        quota_bytes: record.quota,
        cache_bytes: record.cache,
        overlay: &record.overlay,
        created_time: &record.created,
        local_repository: record.local.as_deref().map(Path::to_string_lossy),
        mount_point: state.at.to_string_lossy(),
        mounted: state.note.is_some(),
        mode: state.note.as_ref().map(|note| note.mode.as_str()),
        changed: state.changed,
        users: state.users.ids.len(),
        pinned: state.users.pinned,
        stats: state.facts.as_ref().map(JsonMountStats::new),
    }
}

fn inspect(session: &Session, args: &InspectArgs) -> CommandResult {
    let volumes = volumes(session)?;
    let mut out = session.plain_out();
    for name in &args.names {
        let state = volumes.state(name)?;
        if session.globals.json {
            out.json(&json(&state))?;
            continue;
        }
        let value = serde_json::to_value(json(&state)).map_err(std::io::Error::other)?;
        for (key, value) in value.as_object().into_iter().flatten() {
            match value {
                serde_json::Value::Null | serde_json::Value::Object(_) => {}
                serde_json::Value::String(text) => writeln!(out, "{key}: {text}")?,
                value => writeln!(out, "{key}: {value}")?,
            }
        }
        for (key, value) in value["stats"].as_object().into_iter().flatten() {
            writeln!(out, "{key}: {value}")?;
        }
    }
    out.finish()?;
    Ok(Exit::DONE)
}

fn path(session: &Session, args: &PathArgs) -> CommandResult {
    let at = volumes(session)?.path(&args.name)?;
    let at = if args.scope == PathScope::Host {
        outside(&at)
    } else {
        at
    };
    let mut out = session.plain_out();
    if session.globals.json {
        out.json(&JsonVolumePath {
            name: &args.name,
            path: at.to_string_lossy(),
        })?;
    } else {
        writeln!(out, "{}", at.display())?;
    }
    out.finish()?;
    Ok(Exit::DONE)
}

/// Returns the path on the host of a path below the state directory, if this process runs in a
/// container that knows it, or else the path itself.
fn outside(at: &Path) -> PathBuf {
    match (dirs::host_state(), at.strip_prefix(dirs::state())) {
        (Some(host), Ok(below)) => host.join(below),
        _ => at.to_owned(),
    }
}

/// Removes volumes. If one of them cannot be removed, the others still are.
fn remove(session: &Session, args: &RmArgs) -> CommandResult {
    let volumes = volumes(session)?;
    let mut failed = None;
    for name in &args.names {
        match remove_one(session, args, &volumes, name) {
            Ok(()) => {}
            Err(e) if args.names.len() == 1 => return Err(e),
            // The other volumes are removed too, and the first failure decides the exit code.
            Err(e) => {
                let exit = session.report_failure(&e);
                failed.get_or_insert(exit);
            }
        }
    }
    Ok(failed.unwrap_or(Exit::DONE))
}

fn remove_one(
    session: &Session,
    args: &RmArgs,
    volumes: &Volumes,
    name: &str,
) -> Result<(), Failed> {
    let dry_run = session.dry_run(args.dry);
    // The record is read first, because the removal deletes it.
    let local = volumes.find(name)?.and_then(|record| record.local);
    let removed = if dry_run {
        let changed = volumes.state(name)?.changed && !args.no_trash;
        RemovedVolume {
            trash: changed.then(|| name.to_owned()),
            cache_bytes: 0,
            unpushed: None,
        }
    } else {
        volumes.remove(name, args.no_trash, session.now.timestamp().as_second())?
    };
    let mut out = session.plain_out();
    if session.globals.json {
        out.json(&JsonRemoved {
            name,
            trash: removed.trash.as_deref(),
            cache_bytes: removed.cache_bytes,
            dry_run,
            unpushed_branch: removed.unpushed.as_ref().map(|kept| kept.branch.as_str()),
            unpushed_versions: removed.unpushed.as_ref().map_or(0, |kept| kept.versions),
        })?;
    } else if session.globals.quiet == 0 {
        let would = if dry_run { "would remove " } else { "" };
        match &removed.trash {
            Some(_) if dry_run => {
                writeln!(out, "{would}{name}, and move its changes to the trash")?
            }
            Some(id) => {
                writeln!(out, "{name}")?;
                writeln!(
                    out,
                    " its changes are in the trash; run `dvc trash restore {id}` to restore it"
                )?;
            }
            None => writeln!(out, "{would}{name}")?,
        }
        if let (Some(kept), Some(local)) = (&removed.unpushed, &local) {
            let (versions, branch) = (kept.versions, out.paint(Paint::Branch, &kept.branch));
            let many = if versions == 1 {
                "unpushed version"
            } else {
                "unpushed versions"
            };
            writeln!(
                out,
                " {versions} {many} kept on branch {branch} in `{}`",
                local.display()
            )?;
        }
    }
    Ok(out.finish()?)
}

fn rename(session: &Session, args: &MvArgs) -> CommandResult {
    // A dry run only checks both names.
    if session.dry_run(args.dry) {
        volumes(session)?.state(&args.name)?;
        check_name(&args.new)?;
    } else {
        volumes(session)?.rename(&args.name, &args.new)?;
    }
    Ok(Exit::DONE)
}
