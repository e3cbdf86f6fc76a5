//! From settings and the environment to remotes: where each is, with which credentials, and how fast.

use crate::failure::{CliError, Failed};
use crate::place::INSIDE;
use crate::session::Session;
use crate::settings::keys::KEYS;
use crate::settings::{BadConfiguration, Origin, Problem, Settings};
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

/// The directory without `..`. What exists is looked up first, because a link may lead elsewhere.
fn without_parents(dir: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for piece in dir.components() {
        match piece {
            Component::ParentDir => {
                out = out.canonicalize().unwrap_or(out);
                out.pop();
            }
            piece => out.push(piece),
        }
    }
    out
}

/// The credentials that stores may need, by the names that their own tools use.
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

/// The remote that is meant where none is named.
pub(crate) const ORIGIN: &str = "origin";

/// Where files with one secret each lie.
const SECRETS: &str = "/run/secrets";

impl Session {
    /// Reads a URL or a path as the command line gives it; a password in it is left out, and said so.
    pub(crate) fn location(&self, text: &str) -> Result<Location, Failed> {
        let ParsedLocation { mut location, had_password } =
            Location::parse(text, &self.current).map_err(Error::from)?;
        if let Some(dir) = location.as_directory() {
            location = Location::directory(&without_parents(&dir));
        }
        // A worktree stands for the repository in it.
        if let Some(inside) = location.as_directory().map(|dir| dir.join(INSIDE)).filter(|dir| Repo::is_at(dir)) {
            location = Location::directory(&inside);
        }
        if had_password {
            let line =
                "warning: the password in the URL is not used and not stored; dvc-remotes(7) says where to put it\n";
            let _ = std::io::stderr().write_all(line.as_bytes());
        }
        Ok(location)
    }

    /// All remotes that the settings know.
    pub(crate) fn remotes(&self, settings: &Settings) -> Result<Vec<Remote>, Failed> {
        let mut remotes = Vec::new();
        for (name, entry) in settings.remotes() {
            let from_env = env(&prefixed(name, "URL"));
            let by_repository = from_env.is_none() && entry.by_repository;
            let Some(url) = from_env.or_else(|| entry.url.clone()) else { continue };
            let location = Location::parse(&url, &self.current).map_err(Error::from)?.location;
            // One that nobody uses does no harm, whatever is wrong with its credentials.
            let mut access = self.access(settings, Some(name), false)?;
            if by_repository && location.as_directory().is_none() {
                // Such a remote could run commands by an ssh configuration, and take the caller's keys and credentials.
                access.distrusted =
                    self.distrusted().map(|d| DistrustedRemote { why: d.to_string(), hint: d.remedy() });
            }
            remotes.push(Remote { name: name.to_owned(), location, lazy: entry.lazy, access });
        }
        // One that is of no use is told when it is asked for.
        if let (true, Ok(Some(location))) = (remotes.iter().all(|r| r.name != ORIGIN), self.origin_of_environment()) {
            let access = self.access(settings, Some(ORIGIN), false)?;
            remotes.push(Remote { name: ORIGIN.to_owned(), location, lazy: false, access });
        }
        Ok(remotes)
    }

    fn origin_of_environment(&self) -> Result<Option<Location>, Failed> {
        let url = env(&prefixed(ORIGIN, "URL")).map_or_else(|| sidecar::url(&credential), |url| Ok(Some(url)))?;
        let parsed = url.map(|url| Location::parse(&url, &self.current)).transpose().map_err(Error::from)?;
        Ok(parsed.map(|parsed| parsed.location))
    }

    /// A remote that has no name.
    pub(crate) fn unnamed(&self, location: Location) -> Result<Remote, Failed> {
        let access = self.access(self.settings()?, None, true)?;
        Ok(Remote { name: location.to_string(), location, lazy: false, access })
    }

    /// The remote of a name, or of a URL that is given instead.
    pub(crate) fn remote(&self, context: &dvc::context::Context, text: &str) -> Result<Remote, Failed> {
        match context.remote(text) {
            Some(remote) => self.with_access(remote),
            None if Location::is_url(text) || text.contains('/') => self.unnamed(self.location(text)?),
            None => {
                let known: Vec<&str> = context.remotes.iter().map(|r| r.name.as_str()).collect();
                Err(CliError::NoRemote { name: text.to_owned(), known: known.join(", ") }.into())
            }
        }
    }

    /// The remote that is meant where none is named: `origin`, or the only one.
    pub(crate) fn default_remote(&self, context: &dvc::context::Context) -> Result<Remote, Failed> {
        let origin = context.remote(ORIGIN).or(match context.remotes.as_slice() {
            [only] => Some(only),
            _ => None,
        });
        if origin.is_none() {
            self.origin_of_environment()?;
        }
        let known: Vec<&str> = context.remotes.iter().map(|r| r.name.as_str()).collect();
        let origin = origin.ok_or_else(|| CliError::NoRemote { name: ORIGIN.to_owned(), known: known.join(", ") })?;
        self.with_access(origin)
    }

    /// The remote with its credentials, which must be readable now.
    pub(crate) fn with_access(&self, remote: &Remote) -> Result<Remote, Failed> {
        let distrusted = remote.access.distrusted.clone();
        let access = Access { distrusted, ..self.access(self.settings()?, Some(&remote.name), true)? };
        Ok(Remote { access, ..remote.clone() })
    }

    /// The names of the credentials that are there, each with where it comes from, and what is wrong with others.
    pub(crate) fn credentials_found(&self, settings: &Settings) -> (Vec<String>, Vec<String>) {
        let remotes: Vec<&str> = settings.remotes().map(|(name, _)| name).chain([ORIGIN]).collect();
        let own = |name: &'static str| remotes.iter().map(move |remote| prefixed(remote, name));
        let names = CREDENTIALS.iter().flat_map(|name| own(name).chain([(*name).to_owned()]));
        let (mut found, mut problems) = (Vec::new(), Vec::new());
        for name in names.collect::<std::collections::BTreeSet<_>>() {
            let file = format!("{name}_FILE");
            match credential(&name) {
                Ok(None) => {}
                Ok(Some(_)) if env(&name).is_some() => found.push(name),
                Ok(Some(_)) if env(&file).is_some() => found.push(file),
                Ok(Some(_)) => found.push(format!("{SECRETS}/{name}")),
                Err(e) => problems.push(e.to_string()),
            }
        }
        (found, problems)
    }

    /// Files of the directory of secrets that nobody asks for, each with the name that may have been meant.
    pub(crate) fn strange_secrets(&self) -> Vec<(String, Option<String>)> {
        let settings = KEYS.iter().filter_map(|key| key.env);
        let known = CREDENTIALS.iter().chain(sidecar::NAMES).copied().chain(settings).map(str::to_owned);
        sidecar::strangers(Path::new(SECRETS), &known.collect::<Vec<_>>())
    }

    /// How stores are reached; a named remote may have credentials of its own. What cannot be read is an error only
    /// where it `must` be there.
    pub(crate) fn access(&self, settings: &Settings, remote: Option<&str>, must: bool) -> Result<Access, Failed> {
        let mut credentials = BTreeMap::new();
        for name in CREDENTIALS {
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
        let rate = |key| settings.number(key).filter(|rate| *rate > 0);
        let observer: Arc<dyn Observer> = self.told()?;
        Ok(Access {
            credentials,
            offline: settings.on("network.offline"),
            meter: Arc::new(Meter::new(rate("network.limit-up"), rate("network.limit-down"))),
            observer,
            patience: None,
            guarded: false,
            distrusted: None,
            wrap: None,
        })
    }
}

/// `DVC_REMOTE_<NAME>_<OPTION>`.
fn prefixed(remote: &str, option: &str) -> String {
    let name: String =
        remote.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect();
    format!("DVC_REMOTE_{name}_{option}")
}

fn env(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// A credential from the environment, from the file that `NAME_FILE` names, or from `/run/secrets/NAME`.
pub(crate) fn credential(name: &str) -> Result<Option<String>, BadConfiguration> {
    if let Some(value) = env(name) {
        return Ok(Some(value));
    }
    // What names a file is not looked for in one.
    if name.ends_with("GOOGLE_APPLICATION_CREDENTIALS") {
        let secret = Path::new(SECRETS).join(name);
        return Ok(secret.is_file().then(|| secret.to_string_lossy().into_owned()));
    }
    let named = env(&format!("{name}_FILE")).map(PathBuf::from);
    let path = named.clone().unwrap_or_else(|| Path::new(SECRETS).join(name));
    match std::fs::read_to_string(&path) {
        Ok(text) => {
            let text = text.strip_suffix('\n').unwrap_or(&text);
            Ok(Some(text.strip_suffix('\r').unwrap_or(text).to_owned()))
        }
        Err(e) if named.is_none() && matches!(e.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => Ok(None),
        Err(e) => {
            Err(BadConfiguration(vec![Problem::new(Origin::Secret(path), format!("it cannot be read: {}", e.kind()))]))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_remote_has_variables_of_its_own() {
        assert_eq!(prefixed("origin", "URL"), "DVC_REMOTE_ORIGIN_URL");
        assert_eq!(prefixed("my-nas.2", "AWS_REGION"), "DVC_REMOTE_MY_NAS_2_AWS_REGION");
        assert!(CREDENTIALS.windows(2).all(|w| w[0] < w[1]));
    }
}
