//! Errors of `commit`.

use crate::checkout::in_use::{User, describe};
use crate::error::{Failure, Kind};
use crate::model::refname::RefName;

/// Errors of `commit`.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// The source is empty, but the last version of the branch is not.
    #[error(
        "cannot commit `{path}`: the directory is empty, but the last version of `{branch}` is not"
    )]
    EmptySource {
        /// The path of the source.
        path: String,
        branch: RefName,
    },
    /// The stream is empty.
    #[error("cannot commit `{path}`: the stream is empty")]
    EmptyStream {
        /// The path of the file.
        path: String,
    },
    /// HEAD is detached.
    #[error("cannot commit: HEAD is detached, so there is no branch to commit to")]
    Detached,
    /// A path is not below the worktree, or is invalid.
    #[error("cannot commit `{path}`: it is not a valid path in the worktree")]
    BadPath {
        /// The path as given.
        path: String,
    },
    /// A path is below a reserved name such as `.dvcs`.
    #[error("cannot commit `{path}`: no version may contain a repository")]
    Reserved {
        /// The path as given.
        path: String,
    },
    /// A path is neither in the worktree nor in the last version.
    #[error("cannot commit `{path}`: it is neither in the worktree nor in the last version")]
    NoPath {
        /// The path as given.
        path: String,
    },
    /// A checkout was interrupted.
    #[error("cannot commit: a checkout was interrupted, so the worktree has files of two versions")]
    HalfCheckedOut,
    /// A database runs in the directory.
    #[error(
        "cannot commit `{path}` while a database runs in it: {}",
        describe(users)
    )]
    DatabaseRuns {
        /// The directory.
        path: String,
        /// The processes of the database, not empty.
        users: Vec<User>,
    },
    /// The option applies only to commits of a directory, not of a mount.
    #[error("`{option}` cannot be used for a commit of a mount")]
    NotInMount { option: &'static str },
    /// A tag exists.
    #[error("the tag `{name}` already exists")]
    TagExists { name: RefName },
}

impl Failure for CommitError {
    fn kind(&self) -> Kind {
        match self {
            Self::EmptySource { .. }
            | Self::EmptyStream { .. }
            | Self::Detached
            | Self::HalfCheckedOut
            | Self::TagExists { .. } => Kind::Rejected,
            Self::DatabaseRuns { .. } => Kind::Busy,
            Self::BadPath { .. } | Self::Reserved { .. } | Self::NotInMount { .. } => Kind::Usage,
            Self::NoPath { .. } => Kind::NotFound,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::EmptySource { .. } => {
                Some("check that the volume is mounted, or commit the empty directory with `--allow-empty`".to_owned())
            }
            Self::EmptyStream { .. } => {
                Some("check whether the command failed, or commit the empty file with `--allow-empty`".to_owned())
            }
            Self::DatabaseRuns { .. } => Some(QUIESCE_HINT.to_owned()),
            Self::HalfCheckedOut => {
                Some("run the checkout again to finish it, or check out another version with `-f`".to_owned())
            }
            Self::Detached => Some("run `dvc checkout -b NAME` to create a branch at the current version".to_owned()),
            Self::TagExists { .. } => Some("choose another name, or delete the tag with `dvc tag -d`".to_owned()),
            _ => None,
        }
    }
}

/// The hint for a running database.
pub(super) const QUIESCE_HINT: &str = "use `--quiesce` (dvc-quiesce(7)), or run the database in a live mount (`dvc mount --live`, dvc-mount(1))";
