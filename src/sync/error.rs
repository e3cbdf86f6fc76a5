//! The errors of synchronisation.

use crate::error::{Failure, Kind};
use crate::model::id::to_hex;

/// The error for two repositories that cannot be synchronised.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// The two repositories are not copies of each other.
    #[error(
        "refusing to use `{place}`: it contains a different repository (id {theirs}, expected {ours})"
    )]
    Foreign {
        /// Path or URL without secrets.
        place: String,
        /// Id of the remote repository.
        theirs: String,
        /// Id of the local repository.
        ours: String,
    },
    /// An earlier run reached a repository that does not exist any more.
    #[error("the repository at `{place}` no longer exists")]
    Gone { place: String },
    /// The remote of a lazy clone is empty or does not exist.
    #[error("some objects are not local, and there is no repository at `{place}`")]
    NotThere { place: String },
    /// A lazy clone cannot send objects that it does not have.
    #[error("cannot send all data to `{place}`: this lazy clone does not have it locally")]
    Lazy {
        /// The destination.
        place: String,
    },
    /// The content does not match the name.
    #[error("pack {} at `{place}` is damaged: checksum mismatch", &to_hex(pack)[..12])]
    Damaged { place: String, pack: [u8; 32] },
    /// The index lists a pack that does not exist.
    #[error("pack {} is missing at `{place}`", &to_hex(pack)[..12])]
    NoPack { place: String, pack: [u8; 32] },
}

impl Failure for SyncError {
    fn kind(&self) -> Kind {
        match self {
            Self::Foreign { .. } | Self::Gone { .. } => Kind::Rejected,
            Self::NotThere { .. } => Kind::Unreachable,
            Self::Lazy { .. } => Kind::Incomplete,
            Self::Damaged { .. } | Self::NoPack { .. } => Kind::Integrity,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Foreign { .. } => Some("check the URL; use `--force` to continue anyway".to_owned()),
            Self::Gone { .. } => {
                Some("check that its file system is mounted; use `--force` to create a new repository there".to_owned())
            }
            Self::NotThere { .. } => Some(
                "check that its file system is mounted; if the repository has moved, run `dvc remote set NAME URL`"
                    .to_owned(),
            ),
            Self::Lazy { .. } => Some("run `dvc fetch --data` first".to_owned()),
            Self::Damaged { .. } | Self::NoPack { .. } => Some(
                "run `dvc fsck --data --repo URL` to list the damage; then restore those files from an \
                 intact copy"
                    .to_owned(),
            ),
        }
    }
}
