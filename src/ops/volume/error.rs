//! Failures of operations on volumes.

use crate::error::{Failure, Kind};
use std::path::PathBuf;

/// Errors of operations on volumes.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the names of the fields explain them")]
pub enum VolumeError {
    /// The name is not valid.
    #[error("invalid volume name `{0}`")]
    BadName(String),
    /// No volume has this name.
    #[error("no such volume: `{0}`")]
    Missing(String),
    /// A volume with this name exists.
    #[error("the volume `{0}` already exists")]
    Exists(String),
    /// A volume with this name exists, with different options.
    #[error("the volume `{0}` already exists with different options")]
    Differs(String),
    /// The volume has users.
    #[error("volume `{name}` is in use by {users}")]
    InUse { name: String, users: String },
    /// A record of a volume is damaged.
    #[error("the volume record `{}` is damaged", path.display())]
    Damaged {
        path: PathBuf,
        source: serde_json::Error,
    },
    /// The process that mounts or creates the volume failed.
    #[error("volume `{name}`: {detail}")]
    Process {
        name: String,
        /// The error that the process reported.
        detail: String,
        /// The hint that the process reported.
        hint: Option<String>,
        /// The error kind that the process reported.
        kind: Kind,
    },
    /// The mount is invisible to the engine.
    #[error(
        "volume `{0}` is mounted, but the engine does not see the mount: the container would get an empty directory"
    )]
    Unseen(String),
    /// A volume with this name exists, so the one in the trash cannot be restored.
    #[error("cannot restore the volume `{name}`: a volume with this name already exists")]
    InTheWay { name: String, id: String },
    /// The record of a volume in the trash is damaged, and there is no copy.
    #[error("the record of the entry `{0}` in the trash is damaged")]
    DamagedInTrash(String),
    /// The overlay of a volume in the trash is gone.
    #[error("the changes of the volume `{name}` are not in `{}`", repository.display())]
    Gone { name: String, repository: PathBuf },
}

impl Failure for VolumeError {
    fn kind(&self) -> Kind {
        match self {
            Self::BadName(_) | Self::Exists(_) | Self::Differs(_) => Kind::Usage,
            Self::Missing(_) | Self::Gone { .. } => Kind::NotFound,
            Self::InTheWay { .. } => Kind::Rejected,
            Self::InUse { .. } => Kind::Busy,
            Self::Unseen(_) => Kind::System,
            Self::Damaged { .. } | Self::DamagedInTrash(_) => Kind::Integrity,
            Self::Process { kind, .. } => *kind,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::BadName(_) => {
                Some("use up to 90 letters, digits, `.`, `_` and `-`, and start with a letter or digit".to_owned())
            }
            Self::Missing(_) => Some("run `dvc volume ls` to list the volumes".to_owned()),
            Self::InTheWay { id, .. } => Some(format!(
                "restore it under another name: `dvc trash restore {id} --name NAME`"
            )),
            Self::DamagedInTrash(id) => Some(format!(
                "restore the record from a backup, or delete the entry: `dvc trash empty {id}`"
            )),
            Self::Gone { .. } => Some(
                "mount the file system of the repository, if it is not mounted; if the changes were deleted, the next \
                 `dvc trash` removes the entry"
                    .to_owned(),
            ),
            Self::InUse { .. } => Some("stop the containers and programs that use the volume first".to_owned()),
            Self::Unseen(_) => Some(
                "run `docker plugin disable -f` and `docker plugin enable` for a plugin that the engine runs; in a container, \
                 bind-mount the volume directory with `rshared`"
                    .to_owned(),
            ),
            Self::Process { hint, .. } => hint.clone(),
            _ => None,
        }
    }
}
