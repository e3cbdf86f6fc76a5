//! Why a mount refuses something.

use std::path::PathBuf;

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
        /// The repository that it lies in.
        repository: PathBuf,
    },
    /// Something is not committed.
    #[error("the mount has changes that are in no version")]
    Dirty,
    /// An upper file is not what was written.
    #[error("the upper file `{}` is damaged: {why}", path.display())]
    Upper {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A file of the mount cannot be read, since its upper file is damaged.
    #[error("`{path}` in the mount is damaged")]
    File {
        /// Its path in the mount.
        path: String,
        /// What is wrong.
        source: crate::error::Error,
    },
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
            Self::Upper { .. } | Self::File { .. } => Kind::Integrity,
            Self::NoSnapshot => Kind::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::OtherVersion { name, version, repository } => {
                let dvc = format!("dvc --repo {}", repository.display());
                Some(format!(
                    "`{dvc} mount {version} DIR` goes on with it, `--name` takes another overlay, \
                     `{dvc} umount --discard {name}` gives the changes up"
                ))
            }
            Self::Dirty => Some("commit them first, or give them up with `-f`".to_owned()),
            Self::Handed => Some("stop what writes, or mount with `--live`".to_owned()),
            Self::Upper { .. } | Self::File { .. } => Some(
                "write the file anew from another copy, or remove it; `dvc mount --salvage` copies out what is there"
                    .to_owned(),
            ),
            Self::NoSnapshot => None,
        }
    }
}
