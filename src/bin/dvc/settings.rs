//! Layered settings: built-in < files < secret files < environment < `-c` < flags, each value with its origin.
//!
//! Sources in, checked values out; all problems are found before the first is reported.

pub(crate) mod edit;
pub(crate) mod keys;
mod layers;
pub(crate) mod value;

use dvc::error::{Failure, Kind};
use keys::Key;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::PathBuf;
use value::Value;

/// Where a value comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The program itself.
    BuiltIn,
    /// A configuration file.
    File(PathBuf),
    /// A file that holds one secret.
    Secret(PathBuf),
    /// An environment variable.
    Environment(&'static str),
    /// `-c key=value`.
    CommandLine,
    /// A flag of its own.
    Flag(&'static str),
}

/// A configuration file to read, where it exists.
#[derive(Clone, Debug)]
pub(crate) struct SourceFile {
    /// The file.
    pub(crate) path: PathBuf,
    /// Whether it lies in a repository and so may not set everything.
    pub(crate) in_repository: bool,
    /// Whether it is in a home that may be another user's: then the file is left out if it cannot be read.
    pub(crate) optional: bool,
}

/// Everything that settings are made of, the lowest first.
pub(crate) struct Sources<'a> {
    /// Defaults that depend on the machine.
    pub(crate) defaults: Vec<(&'static str, String)>,
    /// Files, the lowest first.
    pub(crate) files: Vec<SourceFile>,
    /// `/run/secrets`.
    pub(crate) secrets: PathBuf,
    /// Looks up an environment variable.
    pub(crate) env: &'a dyn Fn(&str) -> Option<OsString>,
    /// The values of `-c`.
    pub(crate) overrides: &'a [String],
    /// Flags: flag, setting, value.
    pub(crate) flags: Vec<(&'static str, &'static str, String)>,
}

/// One thing that is wrong with the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Problem {
    /// Where it stands.
    pub(crate) origin: Origin,
    /// What is wrong.
    pub(crate) text: String,
    /// Whether it is a file that may not be read, or half of a credential.
    denied: bool,
}

impl Problem {
    /// With a value or a name.
    pub(crate) fn new(origin: Origin, text: impl Into<String>) -> Self {
        Self { origin, text: text.into(), denied: false }
    }

    /// With a credential: access is denied without it.
    pub(crate) fn denied(origin: Origin, text: impl Into<String>) -> Self {
        Self { denied: true, ..Self::new(origin, text) }
    }

    /// With reading a file.
    fn unreadable(origin: Origin, e: &io::Error) -> Self {
        let denied = e.kind() == io::ErrorKind::PermissionDenied;
        Self { denied, ..Self::new(origin, format!("it cannot be read: {e}")) }
    }
}

/// All that is wrong with the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BadConfiguration(pub(crate) Vec<Problem>);

/// The settings in force, by name.
#[derive(Debug, Default)]
pub(crate) struct Settings {
    values: BTreeMap<&'static str, (Value, Origin)>,
    remotes: BTreeMap<String, RemoteEntry>,
    left_out: Vec<Problem>,
}

/// What the settings say of one remote.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RemoteEntry {
    /// Where it is.
    pub(crate) url: Option<String>,
    /// Whether the configuration of the repository says where it is.
    pub(crate) by_repository: bool,
    /// Whether what is missing here is taken from it when it is read.
    pub(crate) lazy: bool,
}

impl Settings {
    /// Reads all layers.
    pub(crate) fn load(sources: &Sources<'_>) -> Result<Self, BadConfiguration> {
        Self::load_table(keys::KEYS, sources)
    }

    fn load_table(table: &'static [Key], sources: &Sources<'_>) -> Result<Self, BadConfiguration> {
        let layers::Reading { found, remotes, problems, left_out } = layers::read(table, sources);
        if !problems.is_empty() {
            return Err(BadConfiguration(problems));
        }
        Ok(Self { remotes, left_out, values: found.into_iter().map(|f| (f.key, (f.value, f.origin))).collect() })
    }

    /// Text, a choice or a path.
    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        match self.values.get(key) {
            Some((Value::Text(text), _)) => Some(text),
            _ => None,
        }
    }

    /// A number or a size in bytes.
    pub(crate) fn number(&self, key: &str) -> Option<u64> {
        match self.values.get(key) {
            Some((Value::Number(n), _)) => Some(*n),
            _ => None,
        }
    }

    /// A switch; off where nothing sets it.
    pub(crate) fn on(&self, key: &str) -> bool {
        matches!(self.values.get(key), Some((Value::Bool(true), _)))
    }

    /// A list; empty where nothing sets it.
    pub(crate) fn list(&self, key: &str) -> &[String] {
        match self.values.get(key) {
            Some((Value::List(items), _)) => items,
            _ => &[],
        }
    }

    /// Files of another user's home that cannot be read.
    pub(crate) fn left_out(&self) -> &[Problem] {
        &self.left_out
    }

    /// The remotes, by name.
    pub(crate) fn remotes(&self) -> impl Iterator<Item = (&str, &RemoteEntry)> {
        self.remotes.iter().map(|(name, entry)| (name.as_str(), entry))
    }

    /// Every value in force with its origin, sorted by name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'static str, &Value, &Origin)> {
        self.values.iter().map(|(key, (value, origin))| (*key, value, origin))
    }
}

/// The setting of that name, or what is wrong with the name.
pub(crate) fn find_key(table: &'static [Key], name: &str) -> Result<&'static Key, String> {
    if let Some(key) = table.iter().find(|k| k.name == name) {
        return Ok(key);
    }
    let near = dvc::model::suggest::nearest(name, table.iter().map(|k| k.name));
    Err(match near {
        Some(near) => format!("unknown setting `{name}`, did you mean `{near}`?"),
        None => format!("unknown setting `{name}`"),
    })
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BuiltIn => f.write_str("built-in"),
            Self::File(path) => write!(f, "file:{}", path.display()),
            Self::Secret(path) => write!(f, "secret:{}", path.display()),
            Self::Environment(name) => write!(f, "env:{name}"),
            Self::CommandLine => f.write_str("command line:-c"),
            Self::Flag(flag) => write!(f, "command line:{flag}"),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Origin::BuiltIn => write!(f, "{}", self.text),
            Origin::File(path) | Origin::Secret(path) => write!(f, "{}: {}", path.display(), self.text),
            Origin::Environment(name) => write!(f, "{name}: {}", self.text),
            Origin::CommandLine => write!(f, "-c: {}", self.text),
            Origin::Flag(flag) => write!(f, "{flag}: {}", self.text),
        }
    }
}

impl fmt::Display for BadConfiguration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.as_slice() {
            [one] => write!(f, "{one}"),
            many => {
                write!(f, "{} problems in the configuration", many.len())?;
                many.iter().try_for_each(|p| write!(f, "\n  {p}"))
            }
        }
    }
}

impl std::error::Error for BadConfiguration {}

impl Failure for BadConfiguration {
    fn kind(&self) -> Kind {
        if self.0.iter().all(|problem| problem.denied) { Kind::Denied } else { Kind::Usage }
    }
    fn hint(&self) -> Option<String> {
        Some(match self.kind() {
            Kind::Denied => "everybody who runs dvc here must be able to read it".to_owned(),
            _ => "`dvc config --help` lists every setting".to_owned(),
        })
    }
}
