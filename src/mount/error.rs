//! Why a mount refuses something.

use crate::error::{Failure, Kind};

/// A mount is refused.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// The overlay is of another version, and holds changes.
    #[error("the overlay `{name}` has changes of version {version}")]
    OtherVersion {
        /// Its name.
        name: String,
        /// Its version, short.
        version: String,
    },
    /// Something is not committed.
    #[error("the mount has changes that are in no version")]
    Dirty,
    /// Nobody took a snapshot.
    #[error("there is no snapshot to settle")]
    NoSnapshot,
    /// The kernel writes by itself.
    #[error("a file is open for writing that the kernel writes to by itself, so there is no moment to commit")]
    Handed,
}

impl Failure for MountError {
    fn kind(&self) -> Kind {
        match self {
            Self::OtherVersion { .. } | Self::Dirty | Self::Handed => Kind::Rejected,
            Self::NoSnapshot => Kind::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::OtherVersion { version, .. } => {
                Some(format!("mount {version} to go on with it, take another `--name`, or `dvc umount --discard` it"))
            }
            Self::Dirty => Some("commit them first, or give them up with `-f`".to_owned()),
            Self::Handed => Some("stop what writes, or mount with `--live`".to_owned()),
            Self::NoSnapshot => None,
        }
    }
}
