//! Failures of quiescing.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::error::{Failure, Kind};

/// Hint that lists the forms of a profile.
const FORMS: &str = "use docker:pause, docker:stop, exec:CONTAINER:CMD[ / CMD], mariadb:[CONTAINER|SOCKET|URL], \
                                postgres:[CONTAINER|SOCKET|URL], fsfreeze:PATH, none";

/// Failures of quiescing.
#[derive(Debug, thiserror::Error)]
pub enum QuiesceError {
    /// A profile is invalid.
    #[error("invalid profile `{text}`: {problem}")]
    Bad {
        /// The profile as shown in messages, without parts that may contain a password.
        text: String,
        problem: String,
    },
    /// dvc itself writes to the file system to freeze.
    #[error("cannot freeze `{}`: dvc writes to `{}`, which is on the same file system", path.display(), ours.display())]
    Ours {
        /// The path to freeze.
        path: PathBuf,
        /// The directory that dvc writes to.
        ours: PathBuf,
    },
    /// The path to freeze cannot be used.
    #[error("cannot freeze `{}`", path.display())]
    NoPath {
        /// The path to freeze.
        path: PathBuf,
        source: io::Error,
    },
    /// The watchdog cannot be started, does not answer, or has exited by itself.
    #[error("the watchdog process {what}; nothing was committed")]
    Watchdog {
        /// A verb phrase that follows "the watchdog process".
        what: &'static str,
        source: io::Error,
    },
    /// A step failed, and all steps were undone.
    #[error("{message}; nothing was committed")]
    Failed {
        /// The failure of the step, followed by any problems of undoing the steps.
        message: String,
        hint: Option<String>,
    },
    /// The time limit was reached.
    #[error("the commit took longer than {} s, so the writers were released; nothing was committed", limit.as_secs_f64())]
    Expired { limit: Duration },
    /// A step was not in effect until the end, or cannot be undone.
    #[error("{}; nothing was committed", problems.join("; "))]
    Broken { problems: Vec<String> },
}

impl Failure for QuiesceError {
    fn kind(&self) -> Kind {
        match self {
            Self::Bad { .. } | Self::Ours { .. } => Kind::Usage,
            _ => Kind::CommandFailed,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Bad { .. } => Some(FORMS.to_owned()),
            Self::Ours { .. } => {
                Some("keep the repository on another file system (`--repo`), or use another profile".to_owned())
            }
            Self::Failed { hint, .. } => hint.clone(),
            Self::Expired { .. } => {
                Some("allow more time with `--quiesce-timeout`, or use a mount, which needs only a moment".to_owned())
            }
            _ => None,
        }
    }
}
