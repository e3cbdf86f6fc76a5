//! Why a mount refuses something.

use std::path::PathBuf;

use super::users::User;
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
    /// A file is open for writing.
    #[error("cannot show another version: `{path}` is open for writing{}", by(user.as_ref()))]
    Written {
        /// The file, from the mount point on.
        path: String,
        /// A process that has it open, where one is seen.
        user: Option<User>,
    },
    /// A mount would be taken away.
    #[error("cannot show another version: `{}` is a mount point, and that version has something else there", at.display())]
    MountPoint {
        /// Where.
        at: PathBuf,
    },
    /// The kernel writes by itself.
    #[error("a file is open for writing that the kernel writes to by itself, so there is no moment to commit")]
    Handed,
}

impl Failure for MountError {
    fn kind(&self) -> Kind {
        match self {
            Self::OtherVersion { .. } | Self::Dirty | Self::Handed => Kind::Rejected,
            Self::Upper { .. } | Self::File { .. } => Kind::Integrity,
            Self::Written { .. } | Self::MountPoint { .. } => Kind::Busy,
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
            Self::Written { .. } => Some("end what writes to it, then try again".to_owned()),
            Self::MountPoint { at } => Some(format!("unmount it first: `umount {}`", at.display())),
            Self::NoSnapshot => None,
        }
    }
}

fn by(user: Option<&User>) -> String {
    user.map_or_else(String::new, |user| format!(" by {} (process {})", user.name, user.pid))
}
