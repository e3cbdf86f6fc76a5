//! The messages between a commit and its watchdog: JSON, one object per line.

use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::profile::{DatabaseAddress, QuiesceProfile};

/// The interval at which waiting code checks whether to stop waiting.
pub(super) const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// The parameters of a watchdog.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct QuiescePlan {
    /// The profiles, in the order in which they start.
    pub profiles: Vec<QuiesceProfile>,
    /// The committed directory.
    pub source: PathBuf,
    /// The names of the committed volumes.
    pub volumes: Vec<String>,
    /// The socket of the engine, as in `DOCKER_HOST`.
    pub engine: Option<String>,
    /// The password of the databases.
    pub password: Option<String>,
    /// The time after which the writers are released even if the commit still runs, in
    /// milliseconds.
    pub limit_ms: u64,
}

/// A step to undo at the end.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum UndoStep {
    /// A container was paused.
    Unpause { id: String, name: String },
    /// A container was stopped.
    Start {
        id: String,
        name: String,
        /// The last start of the container, as the engine reports it.
        started: String,
        /// The seconds that the container may take to stop.
        secs: u64,
    },
    /// A command was run, and another command reverses it.
    Exec {
        container: String,
        /// The shell command that reverses the first one.
        command: String,
        /// The time limit for that command, in milliseconds.
        limit_ms: u64,
    },
    /// A file system was frozen.
    Thaw {
        /// A path on the file system.
        path: PathBuf,
    },
}

/// A message of the watchdog.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum WatchdogEvent {
    /// The step comes next, and must be undone.
    Undo(UndoStep),
    /// All profiles are active.
    Quiesced {
        /// The steps that were done, for users.
        did: Vec<String>,
    },
    /// A step failed, and all steps were undone.
    Failed {
        /// The failure of the step, followed by any problems of undoing the steps.
        message: String,
        hint: Option<String>,
    },
    /// All steps were undone.
    Ended {
        why: EndReason,
        /// The steps that did not last or cannot be undone.
        problems: Vec<String>,
    },
}

/// The reason why all steps were undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum EndReason {
    /// The commit requested the release.
    Asked,
    /// The time limit was reached.
    Expired,
    /// The commit is gone, or the watchdog process was asked to exit.
    Gone,
}

impl QuiescePlan {
    pub(super) fn needs_engine(&self) -> bool {
        self.profiles.iter().any(|profile| match profile {
            QuiesceProfile::Pause | QuiesceProfile::Stop | QuiesceProfile::Exec { .. } => true,
            QuiesceProfile::Database { at, .. } => matches!(at, DatabaseAddress::Container(_)),
            QuiesceProfile::Freeze { .. } => false,
        })
    }
}
