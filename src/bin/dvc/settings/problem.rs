//! Origins of settings, and the problems of a configuration.

use dvc::error::{Failure, Kind};
use std::fmt;
use std::io;
use std::path::PathBuf;

/// The origin of a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// The default of the program.
    BuiltIn,
    /// A configuration file.
    File(PathBuf),
    /// A file that holds one value, such as a password.
    Secret(PathBuf),
    /// An environment variable.
    Environment(&'static str),
    /// The option `-c key=value`.
    CommandLine,
    /// A flag such as `--jobs`.
    Flag(&'static str),
}

/// One problem of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ConfigProblem {
    /// The origin of the wrong value.
    pub(crate) origin: Origin,
    /// The description of the problem.
    pub(crate) text: String,
    /// Whether the problem is a missing permission or credential.
    denied: bool,
}

impl ConfigProblem {
    /// Returns a problem with a value or a name.
    pub(crate) fn new(origin: Origin, text: impl Into<String>) -> Self {
        Self {
            origin,
            text: text.into(),
            denied: false,
        }
    }

    /// Returns a problem with a credential, without which access would be denied.
    pub(crate) fn denied(origin: Origin, text: impl Into<String>) -> Self {
        Self {
            denied: true,
            ..Self::new(origin, text)
        }
    }

    /// Returns a problem with reading a file.
    pub(super) fn unreadable(origin: Origin, e: &io::Error) -> Self {
        let denied = e.kind() == io::ErrorKind::PermissionDenied;
        Self {
            denied,
            ..Self::new(origin, format!("cannot read the file: {e}"))
        }
    }
}

/// All problems of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BadConfiguration(pub(crate) Vec<ConfigProblem>);

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

impl fmt::Display for ConfigProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Origin::BuiltIn => write!(f, "{}", self.text),
            Origin::File(path) | Origin::Secret(path) => {
                write!(f, "{}: {}", path.display(), self.text)
            }
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
        if self.0.iter().all(|problem| problem.denied) {
            Kind::Denied
        } else {
            Kind::Usage
        }
    }
    fn hint(&self) -> Option<String> {
        let is_credential =
            |problem: &ConfigProblem| matches!(problem.origin, Origin::Environment(_));
        Some(match self.kind() {
            Kind::Denied if self.0.iter().any(is_credential) => {
                "set both variables, or neither".to_owned()
            }
            Kind::Denied => {
                "make the file readable by all users who run dvc on this machine".to_owned()
            }
            _ => "run `dvc config --help` to list the settings".to_owned(),
        })
    }
}
