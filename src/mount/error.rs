//! Errors of a mount.

use std::path::PathBuf;

use super::processes::writers::WriterProcess;
use crate::error::{Failure, Kind};

/// An operation on a mount failed.
#[derive(Debug, thiserror::Error)]
pub enum MountError {
    /// The overlay has uncommitted changes to another version.
    #[error(
        "cannot mount another version: the overlay `{name}` has uncommitted changes based on {version}"
    )]
    OtherVersion {
        /// Name of the overlay.
        name: String,
        /// Short id of that version.
        version: String,
        /// The repository that contains the overlay.
        repository: PathBuf,
    },
    /// There are uncommitted changes.
    #[error("cannot switch to another version: the mount has uncommitted changes")]
    Dirty,
    /// An upper file is damaged.
    #[error("the upper file `{}` is damaged: {why}", path.display())]
    Upper {
        /// The upper file.
        path: PathBuf,
        /// How the damage was detected.
        why: String,
    },
    /// A file cannot be read, because its upper file is damaged.
    #[error("cannot read `{path}` in the mount: its upper file is damaged")]
    File {
        /// Path in the mount.
        path: String,
        /// The error of the upper file.
        source: crate::error::Error,
    },
    /// There is no snapshot to confirm.
    #[error("cannot confirm the snapshot: no snapshot is running")]
    NoSnapshot,
    /// A file is open for writing.
    #[error("cannot switch to another version: `{path}` is open for writing{}", by(user.as_ref()))]
    Written {
        /// Path in the mount.
        path: String,
        /// A process that has the file open, if it is known.
        user: Option<WriterProcess>,
    },
    /// A mount point inside the mount would be lost.
    #[error("cannot switch to another version: it would remove the mount point `{}`", at.display())]
    MountPoint {
        /// The mount point.
        at: PathBuf,
    },
    /// A snapshot was requested while the kernel may write to a file directly.
    #[error("cannot take a snapshot: {file} is open for writing in passthrough mode{}", by(user.as_ref()))]
    PassthroughWriter {
        /// Path in the mount, or the inode number, for display.
        file: String,
        /// A process that has the file open, if it is known.
        user: Option<WriterProcess>,
    },
}

impl Failure for MountError {
    fn kind(&self) -> Kind {
        match self {
            Self::OtherVersion { .. } | Self::Dirty | Self::PassthroughWriter { .. } => {
                Kind::Rejected
            }
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
                    "run `{dvc} mount {version} DIR` to continue with these changes, choose another overlay with `--name`, \
                     or run `{dvc} umount --discard {name}` to move the changes to the trash"
                ))
            }
            Self::Dirty => Some("commit the changes, or move them to the trash with `-f`".to_owned()),
            Self::PassthroughWriter { .. } => {
                Some("stop the program that has the file open for writing, or mount with `--live`".to_owned())
            }
            Self::Upper { .. } | Self::File { .. } => Some(
                "replace or remove the file; `dvc mount --salvage` copies the readable files of an overlay".to_owned(),
            ),
            Self::Written { .. } => {
                Some("stop the program that has the file open for writing, then try again".to_owned())
            }
            Self::MountPoint { at } => Some(format!("run `umount {}` first", at.display())),
            Self::NoSnapshot => None,
        }
    }
}

fn by(user: Option<&WriterProcess>) -> String {
    user.map_or_else(String::new, |user| {
        format!(" by {} (process {})", user.name, user.pid)
    })
}
