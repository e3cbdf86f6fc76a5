//! The options, the report and the failures of `checkout`.

use std::ops::ControlFlow;
use std::path::PathBuf;

use crate::checkout::restore::report::RestoreReport;
use crate::error::{Error, Failure, Kind, Result};
use crate::model::commit::Commit;
use crate::model::id::Id;
use crate::model::refname::RefName;
use crate::model::revision::Revision;
use crate::query::compare::{TreeChange, steps};
use crate::query::worktree::WalkOptions;
use crate::repo::Repo;

/// The options of `checkout`.
#[derive(Clone, Debug, Default)]
pub struct CheckoutOptions {
    /// The version. `None` is the version of HEAD.
    pub revision: Option<Revision>,
    /// The directory to write to. It must be missing or empty, or have an interrupted checkout of
    /// the same version and paths. `None` is the worktree.
    pub into: Option<PathBuf>,
    /// Create this branch at the version and move HEAD to it.
    pub new_branch: Option<RefName>,
    /// The paths to write; all if empty. Without `delete`, no files below them are removed. A path
    /// that is not in the version and contains `*`, `?` or `[` is a pattern in gitignore syntax.
    pub paths: Vec<Vec<u8>>,
    /// The directory that patterns are relative to, below the worktree. As in an ignore file, a
    /// pattern without a slash matches at any depth below it.
    pub prefix: Vec<u8>,
    /// Keep files that the version does not have.
    pub keep_extra: bool,
    /// Remove files below `paths` that the version does not have.
    pub delete: bool,
    /// Read the written files back and compare them.
    pub verify: bool,
    /// Continue even if changes would be lost or files are in use.
    pub force: bool,
    /// Continue even if changes would be lost, because the caller has checked them. Files in use
    /// are still refused.
    pub overwrite: bool,
    /// With `force`, lose the files that are in no version instead of keeping them in the trash.
    pub no_trash: bool,
    /// Only report what would be done.
    pub dry_run: bool,
    /// The files that the walk of the worktree leaves out. These files are never touched.
    pub walk: WalkOptions,
}

/// The result of `checkout`.
#[derive(Debug)]
pub struct CheckoutReport {
    pub version: Id,
    /// The commit of the version.
    pub commit: Commit,
    /// The branch that HEAD is on now; `None` if HEAD is detached or did not move.
    pub branch: Option<RefName>,
    /// The restored files.
    pub done: RestoreReport,
    /// The changes that would be made; only in a dry run.
    pub planned: Vec<TreeChange>,
    /// The number of files that differ from the version, by `verify`.
    pub wrong: u64,
    /// The files that were moved to the trash before they were overwritten or removed.
    pub kept: Option<KeptFiles>,
}

/// Files that were moved to the trash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptFiles {
    /// The commit; `None` in a dry run.
    pub id: Option<Id>,
    pub files: u64,
}

/// Errors of `checkout`.
#[derive(Debug, thiserror::Error)]
pub enum CheckoutError {
    /// Uncommitted changes would be lost.
    #[error("cannot check out the version: the worktree has uncommitted changes: {}", listed(paths, *more))]
    Dirty {
        /// The first of the changed paths.
        paths: Vec<String>,
        /// The number of further paths.
        more: usize,
    },
    /// The directory has an interrupted checkout of another version.
    #[error("`{path}` has an interrupted checkout of `{revision}`")]
    Unfinished {
        /// The directory.
        path: String,
        /// The revision of the interrupted checkout, as given.
        revision: String,
    },
    /// The branch has no version.
    #[error("branch `{0}` has no versions yet")]
    Unborn(RefName),
    /// HEAD is detached, but the worktree has no version.
    #[error("cannot check out `HEAD`: the worktree has no version yet")]
    NoVersion,
    /// A path is not in the version.
    #[error("`{path}` is not in `{revision}`")]
    NoPath {
        /// The revision as given; `HEAD` if there was none.
        revision: String,
        path: String,
    },
    /// Files that would be overwritten cannot be moved to the trash.
    #[error("cannot move the changed files to the trash first")]
    NotKept(#[source] Error),
    /// A file that would be overwritten cannot be read.
    #[error("cannot move `{0}` to the trash first: it cannot be read")]
    Unreadable(String),
}

impl Failure for CheckoutError {
    fn kind(&self) -> Kind {
        match self {
            Self::Dirty { .. } | Self::Unfinished { .. } => Kind::Rejected,
            Self::Unborn(_) | Self::NoVersion | Self::NoPath { .. } => Kind::NotFound,
            // In a mount, a file that is open for writing refuses a snapshot.
            Self::NotKept(e) if e.kind() == Kind::Rejected => Kind::Busy,
            Self::NotKept(e) => e.kind(),
            Self::Unreadable(_) => Kind::Denied,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Unfinished { path, revision } => Some(format!(
                "run `dvc checkout {revision} --into {path}` to finish that checkout, or choose a new or empty directory"
            )),
            Self::Dirty { .. } => Some(
                "commit the changes first, or move them to the trash with `-f`".to_owned(),
            ),
            Self::NotKept(_) => Some(
                "nothing was changed; fix the cause, or add `--no-trash` to lose the changes".to_owned(),
            ),
            Self::Unreadable(_) => Some(
                "nothing was changed; run the command as a user who may read it, or add `--no-trash` to lose it"
                    .to_owned(),
            ),
            _ => None,
        }
    }
}

fn listed(paths: &[String], more: usize) -> String {
    let shown = paths
        .iter()
        .map(|p| format!("`{p}`"))
        .collect::<Vec<_>>()
        .join(", ");
    if more == 0 {
        shown
    } else {
        format!("{shown} and {more} more")
    }
}

/// Returns the changes that turn one tree into another, below some paths.
pub(super) fn planned(
    repo: &Repo,
    from: Option<&Id>,
    to: &Id,
    paths: &[Vec<u8>],
) -> Result<Vec<TreeChange>> {
    let mut changes = Vec::new();
    steps(repo, from, to, paths, &mut |change| {
        changes.push(change);
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(changes)
}
