//! `dvc config`: shows settings and their origins, and changes the files that hold them.

use crate::config_file::FileChange;
use crate::dirs;
use crate::failure::{CliError, CommandResult, Exit, Failed};
use crate::globals::{DryRun, Globals, With};
use crate::print::Paint;
use crate::render::JsonPath;
use crate::session::Session;
use crate::settings::keys::{KEYS, SettingKey, find_key};
use crate::settings::retention::{self, RetentionKey};
use crate::settings::value::SettingValue;
use crate::settings::{BadConfiguration, ConfigProblem, Origin};
use clap::{Args, Subcommand};
use dvc::store::location::{Location, without_password};
use serde::Serialize;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// Options of `config`.
#[derive(Args, Debug)]
#[command(args_conflicts_with_subcommands = true, after_help = settings_help())]
pub(crate) struct ConfigArgs {
    #[command(subcommand)]
    pub(crate) action: Option<ConfigAction>,
    /// Show this setting, or set it if a value follows
    pub(crate) key: Option<String>,
    /// Set the setting to this value
    pub(crate) value: Option<String>,
    /// Accept git's `config --list`
    #[arg(short, long, hide = true, conflicts_with = "key")]
    pub(crate) list: bool,
    #[command(flatten)]
    pub(crate) file: ConfigFile,
    #[command(flatten)]
    pub(crate) dry: DryRun,
}

/// The file to change.
#[derive(Args, Debug, Default, Clone, Copy)]
pub(crate) struct ConfigFile {
    /// Change the user's file instead of the repository's
    #[arg(long, conflicts_with = "system")]
    pub(crate) global: bool,
    /// Change the machine's file instead of the repository's
    #[arg(long)]
    pub(crate) system: bool,
}

/// The actions of `config`.
#[derive(Subcommand, Debug)]
pub(crate) enum ConfigAction {
    /// List all settings
    #[command(visible_alias = "ls")]
    List(With<ListArgs>),
    /// Print a setting
    Get(With<GetArgs>),
    /// Write a setting to a file
    Set(With<SetArgs>),
    /// Remove a setting from a file
    Unset(With<UnsetArgs>),
}

/// Options of `config list`.
#[derive(Args, Debug)]
pub(crate) struct ListArgs {
    /// Show the origin of each value
    #[arg(long)]
    pub(crate) show_origin: bool,
}

/// Options of `config get`.
#[derive(Args, Debug)]
pub(crate) struct GetArgs {
    /// Print this setting
    pub(crate) key: String,
}

/// Options of `config set`.
#[derive(Args, Debug)]
pub(crate) struct SetArgs {
    #[command(flatten)]
    pub(crate) file: ConfigFile,
    #[command(flatten)]
    pub(crate) dry: DryRun,
    /// Set this setting
    pub(crate) key: String,
    /// Use this value; commas separate the items of a list
    pub(crate) value: String,
}

/// Options of `config unset`.
#[derive(Args, Debug)]
pub(crate) struct UnsetArgs {
    #[command(flatten)]
    pub(crate) file: ConfigFile,
    #[command(flatten)]
    pub(crate) dry: DryRun,
    /// Remove this setting
    pub(crate) key: String,
}

impl ConfigAction {
    /// Returns the global options that follow the action.
    pub(crate) fn globals(&self) -> &Globals {
        match self {
            Self::List(with) => &with.globals,
            Self::Get(with) => &with.globals,
            Self::Set(with) => &with.globals,
            Self::Unset(with) => &with.globals,
        }
    }
}

/// Returns the list of all settings, for the help and the manual.
fn settings_help() -> String {
    let lines = KEYS.iter().map(|key| {
        let default = key
            .default
            .filter(|d| !d.is_empty())
            .map(|d| format!(", default {d}"))
            .unwrap_or_default();
        let env = key.env.map(|e| format!(" [env: {e}]")).unwrap_or_default();
        format!(
            "\n  {}{env}\n      {} ({}{default})",
            key.name,
            key.about,
            key.kind.description()
        )
    });
    format!("Settings:{}{}", lines.collect::<String>(), retention::HELP)
}

/// Runs `config`.
pub(crate) fn run(session: &Session, args: &ConfigArgs) -> CommandResult {
    match (&args.action, &args.key, &args.value) {
        (Some(ConfigAction::List(with)), ..) => list(session, with.own.show_origin),
        (Some(ConfigAction::Get(with)), ..) => get(session, &with.own.key),
        (Some(ConfigAction::Set(with)), ..) => {
            let own = &with.own;
            change(
                session,
                own.file,
                session.dry_run(own.dry),
                &own.key,
                Some(&own.value),
            )
        }
        (Some(ConfigAction::Unset(with)), ..) => {
            let own = &with.own;
            change(session, own.file, session.dry_run(own.dry), &own.key, None)
        }
        (None, Some(key), Some(value)) => change(
            session,
            args.file,
            session.dry_run(args.dry),
            key,
            Some(value),
        ),
        (None, Some(key), None) => get(session, key),
        (None, None, _) => list(session, false),
    }
}

#[derive(Serialize)]
struct JsonSetting<'a> {
    key: &'a str,
    /// `null` for a secret.
    value: serde_json::Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    origin: Option<String>,
}

fn list(session: &Session, show_origin: bool) -> CommandResult {
    let settings = session.settings()?;
    let mut out = session.plain_out();
    for (key, value, origin) in settings.iter() {
        let secret = find_key(KEYS, key).is_ok_and(|k| k.secret);
        if session.globals.json {
            // The value of a secret is never shown.
            let value = if secret {
                serde_json::Value::Null
            } else {
                value.to_json()
            };
            out.json(&JsonSetting {
                key,
                value,
                origin: Some(origin.to_string()),
            })?;
            continue;
        }
        let value = if secret {
            "(secret)".to_owned()
        } else {
            value.to_string()
        };
        if show_origin {
            let origin = out.paint(Paint::Faint, origin);
            write!(out, "{origin}\t")?;
        }
        writeln!(out, "{key}={value}")?;
    }
    for (policy, entry) in settings.retention() {
        for (option, value, origin) in entry.iter() {
            let key = format!("retention.{policy}.{option}");
            if session.globals.json {
                out.json(&JsonSetting {
                    key: &key,
                    value: value.to_json(),
                    origin: Some(origin.to_string()),
                })?;
                continue;
            }
            if show_origin {
                let origin = out.paint(Paint::Faint, origin);
                write!(out, "{origin}\t")?;
            }
            writeln!(out, "{key}={value}")?;
        }
    }
    for (name, remote) in settings.remotes() {
        let Some(url) = &remote.url else { continue };
        // A URL that cannot be parsed may also contain a password.
        let parsed = Location::parse(url, &session.current);
        let url = parsed.map_or_else(
            |_| without_password(url),
            |parsed| parsed.location.to_string(),
        );
        let key = format!("remote.{name}.url");
        if session.globals.json {
            out.json(&JsonSetting {
                key: &key,
                value: url.into(),
                origin: None,
            })?;
        } else {
            writeln!(out, "{key}={url}")?;
        }
    }
    out.finish()?;
    Ok(Exit::DONE)
}

/// A setting that can be read and changed.
enum NamedSetting<'a> {
    Plain(&'static SettingKey),
    Retention(RetentionKey<'a>),
}

impl<'a> NamedSetting<'a> {
    fn find(name: &'a str) -> Result<Self, BadConfiguration> {
        let bad = |text| BadConfiguration(vec![ConfigProblem::new(Origin::BuiltIn, text)]);
        match RetentionKey::parse(name) {
            Some(key) => Ok(Self::Retention(key.map_err(bad)?)),
            None => Ok(Self::Plain(find_key(KEYS, name).map_err(bad)?)),
        }
    }

    fn is_secret(&self) -> bool {
        matches!(self, Self::Plain(key) if key.secret)
    }

    fn is_for_repositories(&self) -> bool {
        !matches!(self, Self::Plain(key) if !key.in_repository)
    }

    fn parse(&self, text: &str) -> Result<SettingValue, String> {
        match self {
            Self::Plain(key) => key.kind.parse(text),
            Self::Retention(key) => key.parse_value(text),
        }
    }
}

fn get(session: &Session, name: &str) -> CommandResult {
    let key = NamedSetting::find(name)?;
    let settings = session.settings()?;
    let found = match &key {
        NamedSetting::Plain(key) => settings
            .iter()
            .find(|(k, ..)| *k == key.name)
            .map(|(_, v, o)| (v, o)),
        NamedSetting::Retention(key) => {
            let policy = settings
                .retention()
                .find(|(policy, _)| *policy == key.policy);
            policy
                .and_then(|(_, entry)| entry.iter().find(|(option, ..)| *option == key.option))
                .map(|(_, v, o)| (v, o))
        }
    };
    let (value, origin) = found.ok_or_else(|| CliError::NotSet(name.to_owned()))?;
    if key.is_secret() {
        return Err(CliError::option(name, "the setting is secret and cannot be shown").into());
    }
    let mut out = session.plain_out();
    if session.globals.json {
        out.json(&JsonSetting {
            key: name,
            value: value.to_json(),
            origin: Some(origin.to_string()),
        })?;
    } else {
        writeln!(out, "{value}")?;
    }
    out.finish()?;
    Ok(Exit::DONE)
}

/// Sets or unsets one setting in a configuration file. The rest of the file stays unchanged.
fn change(
    session: &Session,
    file: ConfigFile,
    dry_run: bool,
    name: &str,
    text: Option<&str>,
) -> CommandResult {
    let key = NamedSetting::find(name)?;
    let bad = |problem: String| Failed::from(CliError::option(name, problem));
    if key.is_secret() {
        return Err(bad(
            "the setting is secret; set it in the environment or in a secret file".to_owned(),
        ));
    }
    let value = text.map(|t| key.parse(t)).transpose().map_err(bad)?;
    let path = target(session, file)?;
    if !key.is_for_repositories() && !file.global && !file.system {
        return Err(bad(
            "a repository cannot set this setting; use --global".to_owned()
        ));
    }
    let file = FileChange::prepare(&path, name, value.as_ref())?;
    if !dry_run {
        file.write()?;
    }
    let mut out = session.plain_out();
    let changed = file.is_different();
    if session.globals.json {
        let JsonPath {
            path: file,
            path_hex: file_hex,
        } = JsonPath::new(path.as_os_str().as_bytes());
        let value = value.as_ref().map(SettingValue::to_json);
        out.json(&JsonChanged {
            key: name,
            value,
            file,
            file_hex,
            changed,
            dry_run,
        })?;
    } else if dry_run && session.globals.quiet == 0 {
        let file = path.display();
        match &value {
            _ if !changed => writeln!(out, "nothing would change in `{file}`")?,
            Some(value) => writeln!(out, "would set {name}={value} in `{file}`")?,
            None => writeln!(out, "would remove {name} from `{file}`")?,
        }
    }
    out.finish()?;
    Ok(Exit::DONE)
}

#[derive(Serialize)]
struct JsonChanged<'a> {
    key: &'a str,
    value: Option<serde_json::Value>,
    file: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    file_hex: Option<String>,
    changed: bool,
    dry_run: bool,
}

fn target(session: &Session, file: ConfigFile) -> Result<PathBuf, CliError> {
    if file.system {
        return Ok(dirs::system_config());
    }
    if file.global {
        return Ok(dirs::user_config().unwrap_or_else(dirs::system_config));
    }
    Ok(session.place()?.repository.join("config.toml"))
}
