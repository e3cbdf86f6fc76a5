//! The options of `fsck` and of its repair.

use crate::context::Remote;
use crate::query::worktree::WalkOptions;
use std::path::PathBuf;
use std::time::Duration;

/// The options of `fsck`.
#[derive(Clone, Default)]
pub struct FsckOptions {
    /// The part of the data to read, in millionths of the bytes of all packs; `None` reads none.
    pub data: Option<u32>,
    /// Stop reading data after this time.
    pub max_time: Option<Duration>,
    /// Rebuild the index and the catalogue first.
    pub rebuild: bool,
    /// Repair the damage.
    pub repair: Option<RepairOptions>,
    /// The remote to check; `None` checks the repository of the context.
    pub remote: Option<Remote>,
    /// Change nothing: only report what a rebuild or a repair would do, and do not record what was
    /// read.
    pub dry_run: bool,
}

/// A place that the user has named to repair from.
#[derive(Clone)]
pub enum RepairPlace {
    /// A remote or another repository.
    Repository(Box<Remote>),
    /// A directory with files of versions.
    Directory(PathBuf),
}

/// The options of a repair.
#[derive(Clone, Default)]
pub struct RepairOptions {
    /// Places that are tried first.
    pub from: Vec<RepairPlace>,
    /// The mounts of the repository.
    pub mounts: Vec<PathBuf>,
    /// The files that commits leave out, for rebuilding trees.
    pub walk: WalkOptions,
    /// Let a ref whose newest entry is lost return to an older value.
    pub accept_older: bool,
}
