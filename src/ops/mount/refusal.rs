//! Refused mounts and commits of mounts.

use crate::error::{Failure, Kind};
use crate::model::refname::RefName;
use std::path::PathBuf;

/// A refused mount, or a refused commit of a mount.
#[derive(Debug, thiserror::Error)]
pub enum MountRefusal {
    /// The name is not valid for an overlay.
    #[error("invalid overlay name `{0}`")]
    BadName(String),
    /// The base of the mount is not the tip of the branch.
    #[error("the mount is based on {version}, but `{branch}` has newer versions")]
    NotTip {
        branch: RefName,
        /// The abbreviated id of the version.
        version: String,
    },
    /// The mount is on no branch.
    #[error("the mount is based on {version} and has no branch to commit to")]
    NoBranch {
        /// The abbreviated id of the version.
        version: String,
    },
    /// The remote does not have the branch.
    #[error("the remote has no branch `{branch}`; only the local clone `{}` has it", repository.display())]
    NotAtOrigin {
        branch: RefName,
        /// The path of the clone.
        repository: PathBuf,
    },
    /// No version is named, and the repository has no default branch.
    #[error("the repository has no default branch `{default}`")]
    NoDefault {
        /// The name of the default branch.
        default: RefName,
        /// The branches of the repository.
        branches: Vec<String>,
    },
    /// The repository is remote, and the mount is not read-only.
    #[error("cannot mount a version of a remote repository for writing")]
    NeedsLocal,
}

impl Failure for MountRefusal {
    fn kind(&self) -> Kind {
        match self {
            Self::BadName(_) | Self::NeedsLocal => Kind::Usage,
            Self::NotTip { .. } | Self::NoBranch { .. } => Kind::Rejected,
            Self::NotAtOrigin { .. } => Kind::NotFound,
            Self::NoDefault { .. } => Kind::NotFound,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::BadName(_) => Some("use letters, digits, `.`, `_` and `-`".to_owned()),
            Self::NotTip { .. } | Self::NoBranch { .. } => {
                Some("commit to a new branch with `-b NAME`".to_owned())
            }
            Self::NotAtOrigin { branch, repository } => Some(format!(
                "run `dvc --repo {} mount {branch} DIR` to mount the branch of the clone",
                repository.display()
            )),
            Self::NoDefault { branches, .. } if branches.is_empty() => {
                Some("push a version to the repository first".to_owned())
            }
            Self::NoDefault { branches, .. } => Some(format!(
                "select a branch with URL#BRANCH: {}",
                branches.join(", ")
            )),
            Self::NeedsLocal => {
                Some("mount the version with `--ro`, or run `dvc clone --lazy` first".to_owned())
            }
        }
    }
}
