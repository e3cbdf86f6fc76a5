//! Errors of `forget`.

use super::options::BranchExcess;
use crate::error::{Failure, Kind};
use crate::model::refname::RefKind;
use crate::model::text;

/// A refused or impossible `forget`.
#[derive(Debug, thiserror::Error)]
pub enum ForgetError {
    #[error("cannot forget {version}: it is the {holder}")]
    Named {
        version: String,
        holder: String,
        kind: RefKind,
        name: String,
    },
    #[error("cannot forget {version}: {holder} needs it")]
    Held { version: String, holder: String },
    #[error("refusing to forget versions of `{}`: {}", .0.branch, .0.excess)]
    Excess(BranchExcess),
    #[error("refusing to forget {}: more than `--max-forget {most}`", text::count(*count as u64, "version"))]
    TooMany { count: usize, most: usize },
    #[error("no branch matches `{0}`")]
    NoBranch(String),
    #[error("cannot forget `{0}`: symmetric ranges (`A...B`) are not supported")]
    Symmetric(String),
    #[error("cannot restore {0}: it is not in the trash")]
    NotInTrash(String),
    #[error("nothing to undo: no version was forgotten, or all were restored")]
    NothingToUndo,
    #[error("cannot restore {0}: an unfinished garbage collection may delete its data")]
    Planned(String),
    #[error("cannot restore {0}: a garbage collection has deleted data that was on the remote")]
    Incomplete(String),
}

impl Failure for ForgetError {
    fn kind(&self) -> Kind {
        match self {
            Self::Named { .. } | Self::Excess(_) | Self::TooMany { .. } => Kind::Rejected,
            Self::Held { .. } | Self::Planned(_) | Self::Incomplete(_) => Kind::Busy,
            Self::NoBranch(_) | Self::NotInTrash(_) | Self::NothingToUndo => Kind::NotFound,
            Self::Symmetric(_) => Kind::Usage,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Named { kind: RefKind::Branch, name, .. } => {
                Some(format!("run `dvc branch -d {name}` to delete the branch with all its versions"))
            }
            Self::Named { kind: RefKind::Tag, name, .. } => {
                Some(format!("run `dvc tag -d {name}` to delete the tag, then forget the version"))
            }
            Self::Named { .. } => None,
            Self::Held { .. } => Some(
                "check out another version there, unmount it, or remove the overlay or volume; then run the command \
                 again"
                    .to_owned(),
            ),
            Self::Excess(_) => {
                Some("run the command with `-n` to list the versions, then with `-y` or `--max-forget N`".to_owned())
            }
            Self::TooMany { .. } => Some("run the command with `-n` to list the versions".to_owned()),
            Self::NoBranch(_) => Some("run `dvc branch` to list the branches".to_owned()),
            Self::Symmetric(_) => Some("write `A..B` for the versions after A up to B".to_owned()),
            Self::NotInTrash(_) | Self::NothingToUndo => {
                Some("run `dvc forget --list` to list the versions in the trash".to_owned())
            }
            Self::Incomplete(_) => Some("run the command again".to_owned()),
            Self::Planned(_) => Some("let `dvc gc` run to completion, then run the command again".to_owned()),
        }
    }
}
