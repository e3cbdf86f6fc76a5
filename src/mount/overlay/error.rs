//! Errors of the overlay database.

use std::path::{Path, PathBuf};

use crate::error;
use crate::error::Failure;
use crate::index::sqlite;

/// Name of the database in an overlay.
pub(super) const FILE: &str = "overlay.db";

/// The overlay database is unusable.
#[derive(Debug, thiserror::Error)]
pub enum OverlayDbError {
    /// SQLite failed.
    #[error("cannot access the overlay database `{}`", path.display())]
    Sqlite {
        /// The database.
        path: PathBuf,
        source: rusqlite::Error,
    },
    /// The content is not valid.
    #[error("the overlay database `{}` is damaged: {why}", path.display())]
    Damaged {
        /// The database.
        path: PathBuf,
        /// The first violation that was found.
        why: String,
    },
    /// There are upper files but no database.
    #[error(
        "the overlay `{name}` is damaged: `{FILE}`, which has the names of its files, is missing"
    )]
    Lost {
        /// Name of the overlay.
        name: String,
        /// The missing database.
        path: PathBuf,
    },
    /// Another process has the overlay open.
    #[error("cannot mount the overlay `{name}`: it is already mounted")]
    InUse {
        /// Name of the overlay.
        name: String,
    },
}

impl Failure for OverlayDbError {
    fn kind(&self) -> error::Kind {
        match self {
            Self::Sqlite { path, source } => sqlite::kind(path, source),
            Self::Damaged { .. } | Self::Lost { .. } => error::Kind::Integrity,
            Self::InUse { .. } => error::Kind::Busy,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::InUse { .. } => Some(
                "run `dvc mount` to list mounts, or choose another overlay with `--name`"
                    .to_owned(),
            ),
            Self::Sqlite { path, .. } | Self::Damaged { path, .. } | Self::Lost { path, .. }
                if self.kind() == error::Kind::Integrity =>
            {
                rescue(path)
            }
            Self::Sqlite { path, source } => sqlite::hint(path, source),
            Self::Damaged { .. } | Self::Lost { .. } => None,
        }
    }
}

/// Returns the hint for an overlay that cannot be mounted.
fn rescue(path: &Path) -> Option<String> {
    let overlay = path.parent()?;
    let (name, repository) = (
        overlay.file_name()?.to_string_lossy(),
        overlay.parent()?.parent()?.display(),
    );
    Some(format!(
        "run `dvc --repo {repository} mount --salvage {name} DIR` to copy its files, \
         or `dvc --repo {repository} umount --discard {name}` to move it to the trash; nothing was removed yet"
    ))
}
