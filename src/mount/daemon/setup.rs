//! The parameters and the base of a mount.

use std::path::PathBuf;
use std::sync::Arc;

use crate::error::Result;
use crate::model::id::Id;
use crate::mount::attach::MountTrust;
use crate::mount::hydrate::HydrateSet;
use crate::mount::overlay::Fact;
use crate::mount::profile::{AccessProfile, ReadRecorder};
use crate::mount::view::{FileOwner, LogFn};
use crate::repo::Repo;
use crate::store::meter::Meter;

/// Fact: the version that the mount is based on.
pub(super) const VERSION: &str = "version";
/// Fact: the tree that unchanged names refer to, see [`MountBase::tree`].
pub(super) const TREE: &str = "below";
/// Fact: the tree of the last snapshot.
pub(super) const SNAPSHOT: &str = "shot";
/// Fact: the branch of the mount.
pub(super) const BRANCH: &str = "branch";

/// A version and its tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VersionTree {
    pub version: Id,
    /// The tree of the version.
    pub tree: Id,
}

/// An overlay on disk.
#[derive(Clone, Debug)]
pub struct OverlayDir {
    pub path: PathBuf,
    pub name: String,
}

/// Data to fetch before it is read.
pub struct Prefetch {
    /// The recorded reads.
    pub profile: AccessProfile,
    /// Approximate limit on the bytes that are fetched.
    pub budget_bytes: u64,
}

/// The parameters of a mount.
pub struct MountSetup {
    pub repo: Repo,
    pub version: VersionTree,
    /// The branch for commits.
    pub branch: Option<String>,
    /// The revision that the user has requested.
    pub revision: String,
    /// The mount point.
    pub at: PathBuf,
    /// The overlay, or `None` for a read-only mount.
    pub overlay: Option<OverlayDir>,
    /// Whether to remove the overlay after the unmount.
    pub ephemeral: bool,
    /// Whether to refuse writes.
    pub read_only: bool,
    /// Whether other users have access.
    pub allow_other: bool,
    /// Whether files of the mount may use set-user-ID bits and device nodes, and may be run.
    pub trust: MountTrust,
    /// Owner to show for files of the version.
    pub map_owner: Option<FileOwner>,
    /// Limit on the bytes of the upper files.
    pub quota: Option<u64>,
    /// Whether commits happen while files are open for writing, which excludes passthrough.
    pub live: bool,
    /// Files to copy to the overlay in the background.
    pub hydrate: HydrateSet,
    /// Limit on the bytes that hydration fetches.
    pub hydrate_budget_bytes: u64,
    /// Records which parts of the version are read.
    pub recorder: Option<Arc<ReadRecorder>>,
    /// Data to fetch at the start.
    pub prefetch: Option<Prefetch>,
    /// Parallel jobs of a snapshot. Also determines the number of request threads.
    pub jobs: usize,
    /// The run directory, with control sockets and notes.
    pub run: PathBuf,
    /// Counts requests to the remote and transferred bytes.
    pub meter: Arc<Meter>,
    /// Called regularly to find out which version to show.
    pub follow: Option<Box<FollowFn>>,
    /// Whether the mount shows several versions as directories.
    pub multi_version: bool,
    /// Receives messages for the log.
    pub log: Arc<LogFn>,
}

/// Returns the version to show now.
pub type FollowFn = dyn Fn(&Repo) -> Result<VersionTree> + Send + Sync;

/// The version that a mount is based on.
#[derive(Clone, Debug)]
pub(super) struct MountBase {
    pub(super) version: Id,
    /// The tree that unchanged names refer to. It differs from the tree of `version` after a
    /// commit.
    pub(super) tree: Id,
    pub(super) branch: Option<String>,
    /// The tree of the last snapshot for a commit.
    pub(super) snapshot: Option<Id>,
}

impl MountBase {
    /// Returns the base as facts for the overlay database.
    pub(super) fn facts(&self, revision: &str) -> Vec<Fact> {
        vec![
            Fact::new(VERSION, self.version.to_string()),
            Fact::new(TREE, self.tree.to_string()),
            Fact::new(
                SNAPSHOT,
                self.snapshot.map(|id| id.to_string()).unwrap_or_default(),
            ),
            Fact::new(BRANCH, self.branch.clone().unwrap_or_default()),
            Fact::new("revision", revision),
        ]
    }
}
