//! Why two repositories cannot be brought together.

use crate::error::{Failure, Kind};
use crate::model::id::to_hex;

/// Why two repositories cannot be brought together.
#[derive(Debug, thiserror::Error)]
pub enum SyncError {
    /// The other one is no copy of this one.
    #[error("`{place}` holds another repository ({theirs}, here it is {ours})")]
    Foreign {
        /// Where.
        place: String,
        /// Its id.
        theirs: String,
        /// The id of the one here.
        ours: String,
    },
    /// It was there and is not any more.
    #[error("there was a repository at `{place}`, and there is none now")]
    Gone {
        /// Where.
        place: String,
    },
    /// Where a lazy clone takes from, nothing is.
    #[error("not all that is needed is here, and there is no repository at `{place}`")]
    NotThere {
        /// Where.
        place: String,
    },
    /// A lazy clone cannot give what it does not have.
    #[error("this lazy clone does not have all the data that `{place}` lacks")]
    Lazy {
        /// Where it should go.
        place: String,
    },
    /// What came is not what was asked for.
    #[error("pack {} at `{place}` is damaged: its bytes do not match its name", &to_hex(pack)[..12])]
    Damaged {
        /// Where.
        place: String,
        /// Its name.
        pack: [u8; 32],
    },
    /// A pack that the index speaks of is not where it should be.
    #[error("pack {} is missing at `{place}`", &to_hex(pack)[..12])]
    NoPack {
        /// Where.
        place: String,
        /// Its name.
        pack: [u8; 32],
    },
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
            Self::Foreign { .. } => Some("check the URL; `--force` goes on nevertheless".to_owned()),
            Self::Gone { .. } => Some("is it mounted? `--force` makes a new one there".to_owned()),
            Self::NotThere { .. } => Some("is it mounted? `dvc remote set NAME URL` tells where it is now".to_owned()),
            Self::Lazy { .. } => Some("`dvc fetch --data` brings it here first".to_owned()),
            Self::Damaged { .. } | Self::NoPack { .. } => Some(
                "`dvc fsck --data --repo URL` names what is damaged; copy those files there again from a whole copy"
                    .to_owned(),
            ),
        }
    }
}
