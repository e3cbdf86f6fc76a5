//! Remotes, as the settings and the environment describe them: their locations, credentials and
//! speed limits.

use crate::config_file::FileChange;
use crate::failure::{CliError, Failed};
use crate::place::{INSIDE, RepoPlace};
use crate::session::Session;
use crate::settings::keys::KEYS;
use crate::settings::value::SettingValue;
use crate::settings::{BadConfiguration, ConfigProblem, Origin, Settings};
use crate::sidecar;
use dvc::context::Remote;
use dvc::error::Error;
use dvc::observe::Observer;
use dvc::repo::Repo;
use dvc::store::DistrustedRemote;
use dvc::store::access::{Access, Secret};
use dvc::store::location::{Location, ParsedLocation};
use dvc::store::meter::Meter;
use std::collections::BTreeMap;
use std::io::{ErrorKind, Write};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

/// Returns the directory without `..`. Existing parts are resolved first, because `..` after a
/// symbolic link means the parent of the link's target.
fn without_parents(dir: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for piece in dir.components() {
        match piece {
            Component::ParentDir => {
                // After a symbolic link, `..` means the parent of its target, so links are resolved
                // first.
                out = out.canonicalize().unwrap_or(out);
                out.pop();
            }
            piece => out.push(piece),
        }
    }
    out
}

/// The credentials that stores may need, by the variable names that the stores' own tools use.
const CREDENTIALS: &[&str] = &[
    "AWS_ACCESS_KEY_ID",
    "AWS_DEFAULT_REGION",
    "AWS_ENDPOINT_URL",
    "AWS_ENDPOINT_URL_S3",
    "AWS_PROFILE",
    "AWS_REGION",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AZURE_STORAGE_ACCOUNT_KEY",
    "AZURE_STORAGE_KEY",
    "AZURE_STORAGE_SAS_TOKEN",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "REGISTRY_PASSWORD",
    "REGISTRY_USERNAME",
    "STORAGE_EMULATOR_HOST",
    "WEBDAV_PASSWORD",
    "WEBDAV_TOKEN",
    "WEBDAV_USERNAME",
];

/// The remote that commands use if none is named.
pub(crate) const ORIGIN: &str = "origin";

/// The directory in which container engines mount secrets, one file each.
const SECRETS: &str = "/run/secrets";

/// The credentials found in the environment and in the directory of secrets.
#[derive(Default)]
pub(crate) struct FoundCredentials {
    /// The names of variables and files.
    pub(crate) sources: Vec<String>,
    /// Messages about credentials that cannot be read.
    pub(crate) problems: Vec<String>,
}

impl Session {
    /// Parses a URL or a path from the command line. A password in it is dropped, with a warning.
    pub(crate) fn location(&self, text: &str) -> Result<Location, Failed> {
        let ParsedLocation {
            mut location,
            had_password,
        } = Location::parse(text, &self.current).map_err(Error::from)?;
        if let Some(dir) = location.as_directory() {
            location = Location::directory(&without_parents(&dir));
        }
        // The path of a worktree means the repository in it.
        if let Some(inside) = location
            .as_directory()
            .map(|dir| dir.join(INSIDE))
            .filter(|dir| Repo::is_at(dir))
        {
            location = Location::directory(&inside);
        }
        if had_password {
            let line = "warning: the password in the URL is neither used nor stored; dvc-remotes(7) lists the sources of passwords\n";
            let _ = std::io::stderr().write_all(line.as_bytes());
        }
        Ok(location)
    }

    /// Returns all remotes of the settings and the environment.
    pub(crate) fn remotes(&self, settings: &Settings) -> Result<Vec<Remote>, Failed> {
        let mut remotes = Vec::new();
        for (name, entry) in settings.remotes() {
            let from_env = env(&prefixed(name, "URL"));
            let by_repository = from_env.is_none() && entry.by_repository;
            let Some(url) = from_env.or_else(|| entry.url.clone()) else {
                continue;
            };
            let location = Location::parse(&url, &self.current)
                .map_err(Error::from)?
                .location;
            // An unreadable credential is an error only for the remote that is used.
            let mut access = self.access(settings, Some(name), false)?;
            if by_repository && location.as_directory().is_none() {
                // The URL of such a remote could run commands through an ssh configuration, or send
                // the caller's credentials to a stranger.
                access.distrusted = self.distrusted().map(|d| DistrustedRemote {
                    why: d.to_string(),
                    hint: d.hint(),
                });
            }
            remotes.push(Remote {
                name: name.to_owned(),
                location,
                lazy: entry.lazy,
                access,
            });
        }
        // `default_remote` reports an error in the variables when it needs the remote.
        if let (true, Ok(Some(location))) = (
            remotes.iter().all(|r| r.name != ORIGIN),
            self.origin_of_environment(),
        ) {
            let access = self.access(settings, Some(ORIGIN), false)?;
            remotes.push(Remote {
                name: ORIGIN.to_owned(),
                location,
                lazy: false,
                access,
            });
        }
        Ok(remotes)
    }

    fn origin_of_environment(&self) -> Result<Option<Location>, Failed> {
        let url = env(&prefixed(ORIGIN, "URL"))
            .map_or_else(|| sidecar::url(&credential), |url| Ok(Some(url)))?;
        let parsed = url
            .map(|url| Location::parse(&url, &self.current))
            .transpose()
            .map_err(Error::from)?;
        Ok(parsed.map(|parsed| parsed.location))
    }

    /// Returns a remote that no setting names; its name is its URL.
    pub(crate) fn unnamed(&self, location: Location) -> Result<Remote, Failed> {
        let access = self.access(self.settings()?, None, true)?;
        Ok(Remote {
            name: location.to_string(),
            location,
            lazy: false,
            access,
        })
    }

    /// Returns the configured remote with this name, or a remote at this URL or path.
    pub(crate) fn remote(
        &self,
        context: &dvc::context::Context,
        text: &str,
    ) -> Result<Remote, Failed> {
        match context.remote(text) {
            Some(remote) => self.with_access(remote),
            // A text with a slash is the path of a directory.
            None if Location::is_url(text) || text.contains('/') => {
                self.unnamed(self.location(text)?)
            }
            None => {
                let known: Vec<&str> = context.remotes.iter().map(|r| r.name.as_str()).collect();
                Err(CliError::NoRemote {
                    name: text.to_owned(),
                    known: known.join(", "),
                }
                .into())
            }
        }
    }

    /// Returns the default remote: `origin`, or the only one.
    pub(crate) fn default_remote(&self, context: &dvc::context::Context) -> Result<Remote, Failed> {
        let origin = context.remote(ORIGIN).or(match context.remotes.as_slice() {
            [only] => Some(only),
            _ => None,
        });
        // An error in the variables may be the reason why there is no origin.
        if origin.is_none() {
            self.origin_of_environment()?;
        }
        let known: Vec<&str> = context.remotes.iter().map(|r| r.name.as_str()).collect();
        let origin = origin.ok_or_else(|| CliError::NoRemote {
            name: ORIGIN.to_owned(),
            known: known.join(", "),
        })?;
        self.with_access(origin)
    }

    /// Returns the remote with its credentials, and fails if they cannot be read.
    pub(crate) fn with_access(&self, remote: &Remote) -> Result<Remote, Failed> {
        // `access` does not know the origin of the URL.
        let distrusted = remote.access.distrusted.clone();
        let access = Access {
            distrusted,
            ..self.access(self.settings()?, Some(&remote.name), true)?
        };
        Ok(Remote {
            access,
            ..remote.clone()
        })
    }

    /// Returns the credentials that are set, without their values.
    pub(crate) fn found_credentials(&self, settings: &Settings) -> FoundCredentials {
        let remotes: Vec<&str> = settings
            .remotes()
            .map(|(name, _)| name)
            .chain([ORIGIN])
            .collect();
        let own = |name: &'static str| remotes.iter().map(move |remote| prefixed(remote, name));
        let names = CREDENTIALS
            .iter()
            .flat_map(|name| own(name).chain([(*name).to_owned()]));
        let mut all = FoundCredentials::default();
        for name in names.collect::<std::collections::BTreeSet<_>>() {
            let file = format!("{name}_FILE");
            match credential(&name) {
                Ok(None) => {}
                Ok(Some(_)) if env(&name).is_some() => all.sources.push(name),
                Ok(Some(_)) if env(&file).is_some() => all.sources.push(file),
                Ok(Some(_)) => all.sources.push(format!("{SECRETS}/{name}")),
                Err(e) => all.problems.push(e.to_string()),
            }
        }
        all
    }

    /// Returns the files in the directory of secrets with unknown names, each with the most similar
    /// known name, if there is one.
    pub(crate) fn strange_secrets(&self) -> Vec<(String, Option<String>)> {
        let settings = KEYS.iter().filter_map(|key| key.env);
        let known = CREDENTIALS
            .iter()
            .chain(sidecar::NAMES)
            .copied()
            .chain(settings)
            .map(str::to_owned);
        sidecar::strangers(Path::new(SECRETS), &known.collect::<Vec<_>>())
    }

    /// Returns how to access stores. Variables of a named remote override the general ones. A
    /// credential that cannot be read is an error only if `must` is set.
    pub(crate) fn access(
        &self,
        settings: &Settings,
        remote: Option<&str>,
        must: bool,
    ) -> Result<Access, Failed> {
        let mut credentials = BTreeMap::new();
        for name in CREDENTIALS {
            // A variable of the remote takes precedence over the general one.
            let own = remote.map(|remote| prefixed(remote, name));
            for variable in own.iter().map(String::as_str).chain([*name]) {
                match credential(variable) {
                    Ok(None) => {}
                    Ok(Some(value)) => {
                        credentials.insert((*name).to_owned(), Secret::new(value));
                        break;
                    }
                    Err(e) if must => return Err(e.into()),
                    Err(_) => {}
                }
            }
        }
        // A rate of 0 means no limit.
        let rate = |key| settings.number(key).filter(|rate| *rate > 0);
        let observer: Arc<dyn Observer> = self.store_notices()?;
        Ok(Access {
            credentials,
            offline: settings.on("network.offline"),
            meter: Arc::new(Meter::new(
                rate("network.limit-up"),
                rate("network.limit-down"),
            )),
            observer,
            patience: None,
            guarded: false,
            distrusted: None,
            wrap: None,
        })
    }
}

/// Writes the URL of a remote, and whether it is lazy, into the settings of the repository.
pub(crate) fn write_remote(
    place: &RepoPlace,
    name: &str,
    location: &Location,
    lazy: bool,
) -> dvc::error::Result<()> {
    set_in_repository(
        place,
        &format!("remote.{name}.url"),
        Some(&SettingValue::Text(location.to_string())),
    )?;
    set_in_repository(
        place,
        &format!("remote.{name}.lazy"),
        lazy.then_some(&SettingValue::Bool(true)),
    )
}

/// Removes a remote from the settings of the repository.
pub(crate) fn remove_remote(place: &RepoPlace, name: &str) -> dvc::error::Result<()> {
    set_in_repository(place, &format!("remote.{name}.url"), None)?;
    set_in_repository(place, &format!("remote.{name}.lazy"), None)
}

fn set_in_repository(
    place: &RepoPlace,
    key: &str,
    value: Option<&SettingValue>,
) -> dvc::error::Result<()> {
    FileChange::prepare(&place.repository.join("config.toml"), key, value)?.write()
}

/// Returns `DVC_REMOTE_<NAME>_<OPTION>`.
fn prefixed(remote: &str, option: &str) -> String {
    let name: String = remote
        .chars()
        // A shell allows only these characters in the name of a variable.
        .map(|c| {
            if c.is_ascii_alphanumeric() {
                c.to_ascii_uppercase()
            } else {
                '_'
            }
        })
        .collect();
    format!("DVC_REMOTE_{name}_{option}")
}

fn env(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Reads a credential from the environment, from the file that `NAME_FILE` names, or from
/// `/run/secrets/NAME`.
pub(crate) fn credential(name: &str) -> Result<Option<String>, BadConfiguration> {
    if let Some(value) = env(name) {
        return Ok(Some(value));
    }
    // This variable contains the path of a key file. A file with this name in the secrets directory
    // is the key file itself, so return its path and not its content.
    if name.ends_with("GOOGLE_APPLICATION_CREDENTIALS") {
        let secret = Path::new(SECRETS).join(name);
        return Ok(secret
            .is_file()
            .then(|| secret.to_string_lossy().into_owned()));
    }
    let named = env(&format!("{name}_FILE")).map(PathBuf::from);
    let path = named
        .clone()
        .unwrap_or_else(|| Path::new(SECRETS).join(name));
    match std::fs::read_to_string(&path) {
        Ok(text) => {
            // `echo` and editors append a line break, which is not part of the value.
            let text = text.strip_suffix('\n').unwrap_or(&text);
            Ok(Some(text.strip_suffix('\r').unwrap_or(text).to_owned()))
        }
        // Without the variable, the file is optional.
        Err(e)
            if named.is_none()
                && matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
        {
            Ok(None)
        }
        Err(e) => Err(BadConfiguration(vec![ConfigProblem::new(
            Origin::Secret(path),
            format!("cannot read the file: {}", e.kind()),
        )])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remote_has_variables_of_its_own() {
        assert_eq!(prefixed("origin", "URL"), "DVC_REMOTE_ORIGIN_URL");
        assert_eq!(
            prefixed("my-nas.2", "AWS_REGION"),
            "DVC_REMOTE_MY_NAS_2_AWS_REGION"
        );
        assert!(CREDENTIALS.windows(2).all(|w| w[0] < w[1]));
    }
}
