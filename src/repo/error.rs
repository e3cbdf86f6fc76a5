//! The errors that occur when a repository is opened or created.

use std::path::PathBuf;

use super::layout;
use crate::error::{Failure, Kind};
use crate::format::Malformed;

/// The error for a repository that cannot be opened or created.
#[derive(Debug, thiserror::Error)]
pub enum RepoError {
    #[error("no repository at `{}`", path.display())]
    None { path: PathBuf },
    /// The directory has the packs and refs of a repository but no marker.
    #[error("the repository at `{}` has lost its marker `{}`", path.display(), layout::MARKER)]
    Unmarked { path: PathBuf },
    #[error(
        "cannot open the repository at `{place}`: invalid marker `{}`",
        layout::MARKER
    )]
    BadMarker {
        /// Path or URL of the repository.
        place: String,
        is_local: bool,
        source: Malformed,
    },
    #[error("a repository already exists at `{}`", path.display())]
    Exists { path: PathBuf },
    /// The remote of a lazy clone has not responded recently.
    #[error("some objects are not local and the remote is unavailable: {detail}")]
    Unavailable {
        /// The error message of the last attempt.
        detail: String,
    },
    /// The remote of a lazy clone contains a different repository.
    #[error("some objects are not local, and `{place}` contains a different repository")]
    Foreign {
        /// URL of the remote.
        place: String,
    },
    /// The operation requires a local repository.
    #[error("cannot use the repository at `{place}`: this command needs a local repository")]
    NotLocal { place: String },
    /// Neither the repository nor the cache directory can be written.
    #[error("cannot write to the repository `{}`, and no cache directory is available", path.display())]
    NoState { path: PathBuf },
    /// The directory for a new repository contains other files.
    #[error("cannot create a repository in `{}`: the directory is not empty and is not a repository", path.display())]
    Occupied { path: PathBuf },
}

impl Failure for RepoError {
    fn kind(&self) -> Kind {
        match self {
            Self::None { .. } => Kind::NoRepository,
            Self::Unmarked { .. } | Self::BadMarker { .. } => Kind::Integrity,
            Self::Unavailable { .. } => Kind::Unreachable,
            Self::Foreign { .. } => Kind::Rejected,
            Self::NoState { .. } => Kind::Denied,
            Self::Exists { .. } | Self::Occupied { .. } | Self::NotLocal { .. } => Kind::Usage,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::None { .. } => {
                "create one with `dvc init`, or specify one with `--repo` or `DVC_REPO`".to_owned()
            }
            Self::Unmarked { .. } | Self::BadMarker { is_local: true, .. } => format!(
                "restore `{}` from another copy of the repository, such as a remote, or run `dvc fsck --rebuild`",
                layout::MARKER
            ),
            Self::BadMarker { .. } => {
                format!(
                    "check the URL, or restore `{}` there from a clone of the repository",
                    layout::MARKER
                )
            }
            Self::Unavailable { .. } => "check the network and run the command again".to_owned(),
            Self::Foreign { .. } => {
                "set the URL of the correct repository with `dvc remote set NAME URL`".to_owned()
            }
            Self::NotLocal { .. } => "run `dvc clone` first".to_owned(),
            Self::NoState { .. } => {
                "run the command as the owner, or set `DVC_CACHE_DIR` to a directory of your own"
                    .to_owned()
            }
            Self::Exists { .. } | Self::Occupied { .. } => {
                "specify a new or empty directory".to_owned()
            }
        })
    }
}
