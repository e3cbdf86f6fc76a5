//! `dvc config`: shows settings with where they come from, and changes the files that hold them.

use crate::args::{DryRun, Globals, With};
use crate::dirs;
use crate::failure::{CliError, Exit, Failed, Outcome};
use crate::print::Paint;
use crate::render::JsonPath;
use crate::session::Session;
use crate::settings::keys::KEYS;
use crate::settings::value::Value;
use crate::settings::{BadConfiguration, Origin, Problem, edit, find_key};
use clap::{Args, Subcommand};
use dvc::store::location::{Location, without_password};
use dvc::sys::create;
use serde::Serialize;
use std::fs;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// Options of `config`.
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true, after_help = settings_help())]
pub(crate) struct ConfigArgs {
    #[command(subcommand)]
    pub(crate) action: Option<Action>,
    /// The setting to show, or to set where a value follows
    pub(crate) key: Option<String>,
    /// Its new value
    pub(crate) value: Option<String>,
    /// Accepted for git's `config --list`
    #[arg(short, long, hide = true, conflicts_with = "key")]
    pub(crate) list: bool,
    #[command(flatten)]
    pub(crate) file: Which,
    #[command(flatten)]
    pub(crate) dry: DryRun,
}

/// Which file to change.
#[derive(Args, Debug, Default, Clone, Copy)]
pub(crate) struct Which {
    /// Change the user's file, not the repository's
    #[arg(long, conflicts_with = "system")]
    pub(crate) global: bool,
    /// Change the machine's file, not the repository's
    #[arg(long)]
    pub(crate) system: bool,
}

/// What to do.
#[derive(Subcommand, Debug)]
pub(crate) enum Action {
    /// List every setting in force
    #[command(visible_alias = "ls")]
    List(With<ListArgs>),
    /// Print one setting
    Get(With<GetArgs>),
    /// Write a setting to a file
    Set(With<SetArgs>),
    /// Remove a setting from a file
    Unset(With<UnsetArgs>),
}

/// Options of `config list`.
#[derive(Args, Debug)]
pub(crate) struct ListArgs {
    /// With where each value comes from
    #[arg(long)]
    pub(crate) show_origin: bool,
}

/// Options of `config get`.
#[derive(Args, Debug)]
pub(crate) struct GetArgs {
    /// The setting
    pub(crate) key: String,
}

/// Options of `config set`.
#[derive(Args, Debug)]
pub(crate) struct SetArgs {
    #[command(flatten)]
    pub(crate) file: Which,
    #[command(flatten)]
    pub(crate) dry: DryRun,
    /// The setting
    pub(crate) key: String,
    /// Its new value; a list is separated by commas
    pub(crate) value: String,
}

/// Options of `config unset`.
#[derive(Args, Debug)]
pub(crate) struct UnsetArgs {
    #[command(flatten)]
    pub(crate) file: Which,
    #[command(flatten)]
    pub(crate) dry: DryRun,
    /// The setting
    pub(crate) key: String,
}

impl Action {
    /// The global options behind the action.
    pub(crate) fn globals(&self) -> &Globals {
        match self {
            Self::List(with) => &with.globals,
            Self::Get(with) => &with.globals,
            Self::Set(with) => &with.globals,
            Self::Unset(with) => &with.globals,
        }
    }
}

/// Every setting in one line, for the help and the manual.
fn settings_help() -> String {
    let lines = KEYS.iter().map(|key| {
        let default = key.default.filter(|d| !d.is_empty()).map(|d| format!(", else {d}")).unwrap_or_default();
        let env = key.env.map(|e| format!(" [env: {e}]")).unwrap_or_default();
        format!("\n  {}{env}\n      {} ({}{default})", key.name, key.about, key.kind.words())
    });
    format!("Settings:{}", lines.collect::<String>())
}

/// Runs `config`.
pub(crate) fn run(session: &Session, args: &ConfigArgs) -> Outcome {
    match (&args.action, &args.key, &args.value) {
        (Some(Action::List(with)), ..) => list(session, with.own.show_origin),
        (Some(Action::Get(with)), ..) => get(session, &with.own.key),
        (Some(Action::Set(with)), ..) => {
            let own = &with.own;
            change(session, own.file, session.dry_run(own.dry), &own.key, Some(&own.value))
        }
        (Some(Action::Unset(with)), ..) => {
            let own = &with.own;
            change(session, own.file, session.dry_run(own.dry), &own.key, None)
        }
        (None, Some(key), Some(value)) => change(session, args.file, session.dry_run(args.dry), key, Some(value)),
        (None, Some(key), None) => get(session, key),
        (None, None, _) => list(session, false),
    }
}

fn list(session: &Session, show_origin: bool) -> Outcome {
    let settings = session.settings()?;
    let mut out = session.plain_out();
    for (key, value, origin) in settings.iter() {
        let secret = find_key(KEYS, key).is_ok_and(|k| k.secret);
        if session.globals.json {
            let value = if secret { serde_json::Value::Null } else { value.to_json() };
            out.json(&serde_json::json!({ "key": key, "value": value, "origin": origin.to_string() }))?;
            continue;
        }
        let value = if secret { "(secret)".to_owned() } else { value.to_string() };
        if show_origin {
            let origin = out.paint(Paint::Faint, origin);
            write!(out, "{origin}\t")?;
        }
        writeln!(out, "{key}={value}")?;
    }
    for (name, remote) in settings.remotes() {
        let Some(url) = &remote.url else { continue };
        let parsed = Location::parse(url, &session.current);
        let url = parsed.map_or_else(|_| without_password(url), |parsed| parsed.location.to_string());
        match session.globals.json {
            true => out.json(&serde_json::json!({ "key": format!("remote.{name}.url"), "value": url }))?,
            false => writeln!(out, "remote.{name}.url={url}")?,
        }
    }
    out.finish()?;
    Ok(Exit::DONE)
}

fn get(session: &Session, name: &str) -> Outcome {
    let key = known(name)?;
    let settings = session.settings()?;
    let (_, value, origin) =
        settings.iter().find(|(k, ..)| *k == key.name).ok_or_else(|| CliError::NotSet(key.name.to_owned()))?;
    if key.secret {
        return Err(CliError::option(key.name, "it is secret and never shown").into());
    }
    let mut out = session.plain_out();
    if session.globals.json {
        let origin = origin.to_string();
        out.json(&serde_json::json!({ "key": key.name, "value": value.to_json(), "origin": origin }))?;
    } else {
        writeln!(out, "{value}")?;
    }
    out.finish()?;
    Ok(Exit::DONE)
}

/// Writes one value to a file, or removes it; the rest of the file stays as it is.
fn change(session: &Session, file: Which, dry_run: bool, name: &str, text: Option<&str>) -> Outcome {
    let key = known(name)?;
    let bad = |problem: String| Failed::from(CliError::option(name, problem));
    if key.secret {
        return Err(bad("it is secret, give it by a file or the environment".to_owned()));
    }
    let value = text.map(|t| key.kind.parse(t)).transpose().map_err(bad)?;
    let path = target(session, file)?;
    if !key.in_repository && !file.global && !file.system {
        return Err(bad("it cannot be set by a repository, use --global".to_owned()));
    }
    let before = match fs::read_to_string(&path) {
        Ok(before) => before,
        Err(e) if e.kind() == io::ErrorKind::NotFound => String::new(),
        Err(source) => return Err(CliError::File { doing: "read", path, source }.into()),
    };
    let after = edit::edited(&before, key.name, value.as_ref(), &path).map_err(|p| BadConfiguration(vec![p]))?;
    if !dry_run && after != before {
        replace(&path, &after).map_err(|source| CliError::File { doing: "write", path: path.clone(), source })?;
    }
    let mut out = session.plain_out();
    let changed = after != before;
    if session.globals.json {
        let JsonPath { path: file, path_hex: file_hex } = JsonPath::new(path.as_os_str().as_bytes());
        let value = value.as_ref().map(Value::to_json);
        out.json(&JsonChanged { key: key.name, value, file, file_hex, changed, dry_run })?;
    } else if dry_run && session.globals.quiet == 0 {
        let file = path.display();
        match &value {
            _ if !changed => writeln!(out, "nothing would change in `{file}`")?,
            Some(value) => writeln!(out, "would set {}={value} in `{file}`", key.name)?,
            None => writeln!(out, "would remove {} from `{file}`", key.name)?,
        }
    }
    out.finish()?;
    Ok(Exit::DONE)
}

#[derive(Serialize)]
struct JsonChanged {
    key: &'static str,
    value: Option<serde_json::Value>,
    file: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    file_hex: Option<String>,
    changed: bool,
    dry_run: bool,
}

fn known(name: &str) -> Result<&'static crate::settings::keys::Key, BadConfiguration> {
    find_key(KEYS, name).map_err(|text| BadConfiguration(vec![Problem::new(Origin::BuiltIn, text)]))
}

fn target(session: &Session, file: Which) -> Result<PathBuf, CliError> {
    if file.system {
        return Ok(dirs::system_config());
    }
    if file.global {
        return Ok(dirs::user_config().unwrap_or_else(dirs::system_config));
    }
    Ok(session.place()?.repository.join("config.toml"))
}

/// Writes one text or switch that belongs to a remote, or removes it.
pub(crate) fn write_text(path: &Path, key: &str, text: Option<&str>) -> Result<(), Failed> {
    let before = match fs::read_to_string(path) {
        Ok(before) => before,
        Err(e) if e.kind() == io::ErrorKind::NotFound => String::new(),
        Err(source) => return Err(CliError::File { doing: "read", path: path.to_owned(), source }.into()),
    };
    let value = text.map(|text| match text {
        "true" => Value::Bool(true),
        text => Value::Text(text.to_owned()),
    });
    let after = edit::edited(&before, key, value.as_ref(), path).map_err(|p| BadConfiguration(vec![p]))?;
    if after != before {
        replace(path, &after).map_err(|source| CliError::File { doing: "write", path: path.to_owned(), source })?;
    }
    Ok(())
}

/// The old file or the new one, whatever happens.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("/"));
    create::dir_all(dir)?;
    let mut file = create::temp_file(dir, ".config")?;
    file.write_all(text.as_bytes())?;
    if let Ok(old) = fs::metadata(path) {
        file.as_file().set_permissions(old.permissions())?;
    }
    file.as_file().sync_all()?;
    file.persist(path).map_err(|e| e.error)?;
    fs::File::open(dir)?.sync_all()
}
