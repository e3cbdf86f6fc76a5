//! The options and the report of `forget`.

use std::path::PathBuf;

use crate::model::commit::Timestamp;
use crate::model::id::Id;
use crate::model::retention::{ForgetExcess, RetentionPolicy};
use crate::model::revision::RevisionQuery;

/// A policy for the branches that match one of its patterns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BranchPolicy {
    /// The name in the configuration; `None` if the rules were given on the command line.
    pub name: Option<String>,
    pub branches: Vec<String>,
    pub policy: RetentionPolicy,
}

/// The versions to forget.
#[derive(Clone, Debug)]
pub enum ForgetTarget {
    /// These versions and ranges.
    Versions(Vec<RevisionQuery>),
    /// The versions that no policy of their branches keeps. A branch without a policy keeps all.
    Policies(Vec<BranchPolicy>),
}

/// Options of `forget`.
#[derive(Clone, Debug)]
pub struct ForgetOptions {
    pub target: ForgetTarget,
    /// The run fails instead of forgetting more versions than this. Up to this number, it needs no
    /// confirmation.
    pub max_forget: Option<usize>,
    /// Whether the user has confirmed that branches lose many versions, see [`ForgetExcess`].
    pub is_confirmed: bool,
    /// Whether the versions bypass the trash.
    pub skips_trash: bool,
    pub dry_run: bool,
    /// The directory with the notes of mounts.
    pub run: PathBuf,
}

/// The decision about one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForgetVerdict {
    pub id: Id,
    /// `main@v3`, or the short id of a version that is on no branch.
    pub name: String,
    pub ordinal: u64,
    /// The time in the commit.
    pub time: Timestamp,
    pub is_kept: bool,
    /// Whether the version was forgotten before.
    pub was_in_trash: bool,
    /// Why the version is kept; else the rules that do not keep it.
    pub reasons: Vec<String>,
}

/// A branch that loses so many versions that the run needs a confirmation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BranchExcess {
    pub branch: String,
    pub excess: ForgetExcess,
}

/// The result of `forget`.
#[derive(Clone, Debug, Default)]
pub struct ForgetReport {
    /// All versions that the command examined, the newest of each branch first.
    pub verdicts: Vec<ForgetVerdict>,
    /// The branches for which the run needs a confirmation.
    pub excess: Vec<BranchExcess>,
}

impl ForgetReport {
    /// Returns the versions that are forgotten.
    pub fn forgotten(&self) -> impl Iterator<Item = &ForgetVerdict> {
        self.verdicts.iter().filter(|verdict| !verdict.is_kept)
    }
}
