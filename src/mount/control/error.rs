//! Errors of the control socket.

use std::io;
use std::path::PathBuf;

use crate::error::{Failure, Kind};
use crate::work::Cancelled;

/// A request to a mount failed.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// No connection to the daemon, or the connection was lost.
    #[error("the daemon of the mount at `{}` does not respond", at.display())]
    Silent {
        /// The mount point.
        at: PathBuf,
        source: io::Error,
    },
    /// The process of the mount has rejected the request.
    #[error("{message}")]
    Refused {
        kind: Kind,
        message: String,
        /// An imperative phrase that says how to fix the error.
        hint: Option<String>,
    },
    /// A file could not be flushed.
    #[error("cannot flush `{}`", path.display())]
    Sync {
        /// Absolute path of the file.
        path: PathBuf,
        source: io::Error,
    },
    /// There is no mount at the path.
    #[error("no dvc mount at `{}`", at.display())]
    None {
        /// The path as given.
        at: PathBuf,
    },
    /// The process is stopped, or has not answered in time.
    #[error("process {pid}, the daemon of the mount at `{}`, {}", at.display(), if *stopped { "is stopped" } else { "does not respond" })]
    Stuck {
        /// The mount point.
        at: PathBuf,
        /// Id of the process.
        pid: u32,
        /// Whether the process was stopped by a signal or a debugger.
        stopped: bool,
    },
    /// Another user's process serves the mount and accepts requests only from that user.
    #[error("cannot access the mount at `{}`: it was mounted by user {owner}", at.display())]
    OtherUser {
        /// The mount point.
        at: PathBuf,
        /// Id of the user who has mounted it.
        owner: u32,
    },
    /// The run directory has no note of the mount.
    #[error("cannot access the mount at `{}`: its daemon cannot be found", at.display())]
    Unknown {
        /// The mount point.
        at: PathBuf,
    },
    /// The caller was cancelled while it waited.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

impl Failure for ControlError {
    fn kind(&self) -> Kind {
        match self {
            Self::Silent { .. } => Kind::System,
            Self::Sync { source, .. } => Kind::of_io(source),
            Self::Refused { kind, .. } => *kind,
            Self::None { .. } => Kind::NotFound,
            Self::Stuck { .. } | Self::Unknown { .. } => Kind::Busy,
            Self::OtherUser { .. } => Kind::Denied,
            Self::Cancelled(e) => e.kind(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Refused { hint, .. } => hint.clone(),
            Self::Silent { .. } => Some("read the log of the overlay, or run `dvc umount`".to_owned()),
            Self::Stuck { at, pid, stopped } => {
                let first = if *stopped { format!("run `kill -CONT {pid}`, or ") } else { String::new() };
                Some(format!("{first}run `dvc umount --force {}`, which does not wait for the daemon", at.display()))
            }
            Self::OtherUser { .. } => Some("run the command as that user; root can run `dvc umount`".to_owned()),
            Self::Unknown { .. } => Some(
                "set DVC_RUN_DIR or XDG_RUNTIME_DIR to the value that `dvc mount` had; `dvc umount` works without them"
                    .to_owned(),
            ),
            Self::Cancelled(e) => e.hint(),
            Self::None { .. } => Some("run `dvc mount` to list mounts".to_owned()),
            Self::Sync { .. } => None,
        }
    }
}
