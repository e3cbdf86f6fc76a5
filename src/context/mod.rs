//! The context of an operation: repository, worktree or mount, remotes, author and time.

mod mounted;
mod open;
mod remote;
pub mod remote_access;

pub use mounted::{InMount, MountTree, tree_of};
pub use remote::{CacheOptions, Remote};

use std::path::PathBuf;

use crate::model::entry::Time;
use crate::repo::{OpenOptions, Repo};

/// The context of an operation: repository, worktree or mount, remotes, author and time.
#[derive(Clone)]
pub struct Context {
    /// The root of the repository.
    pub repository: PathBuf,
    /// The top of the worktree, as a canonical path. The repository may have no state for it.
    pub worktree: PathBuf,
    /// The author of versions and of moves of refs, `Name <email>`.
    pub author: String,
    /// The name of this machine.
    pub host: String,
    /// The number of threads that compute at the same time, at least 1.
    pub jobs: usize,
    /// Limit on the memory for buffers and tables, in bytes.
    pub memory_bytes: u64,
    /// The current time, in the time zone of the user.
    pub now: jiff::Zoned,
    /// Options for opening the repository.
    pub open: OpenOptions,
    /// The repository, if it is remote and therefore read-only.
    pub remote_repository: Option<Remote>,
    /// The remotes of the settings.
    pub remotes: Vec<Remote>,
    /// The cache of blocks of remote objects.
    pub cache: CacheOptions,
    /// The mount, if the worktree is one.
    pub mount: Option<InMount>,
}

impl Context {
    /// Returns the remote from which missing objects are fetched.
    ///
    /// For a partial repository: the remote that it was fetched from, else a lazy remote, else
    /// `origin`, else the first remote. Otherwise: the lazy remote.
    pub fn lazy_source(&self) -> Option<&Remote> {
        let lazy = self.remotes.iter().find(|remote| remote.lazy);
        let Some(from) = Repo::partial(&self.repository) else {
            return lazy;
        };
        // The URL decides, because the name of the remote may have changed.
        let taken = self
            .remotes
            .iter()
            .find(|remote| remote.location.to_string() == from);
        taken
            .or(lazy)
            .or_else(|| self.remote("origin"))
            .or(self.remotes.first())
    }

    /// Returns the remote called `name`.
    pub fn remote(&self, name: &str) -> Option<&Remote> {
        self.remotes.iter().find(|remote| remote.name == name)
    }

    /// Returns the number of threads for work that mostly waits for the disk: four times `jobs`, as
    /// far as the memory allows, but at least `jobs`.
    pub fn threads(&self) -> usize {
        // Measured: a walk uses 100 MiB, and 10 MiB for each thread.
        let fit = self.memory_bytes.saturating_sub(100 << 20) / (10 << 20);
        (self.jobs * 4)
            .min(usize::try_from(fit).unwrap_or(usize::MAX))
            .max(self.jobs)
    }

    /// Returns the current time, which is recorded when refs move.
    pub fn moved_at(&self) -> Time {
        let now = self.now.timestamp();
        Time {
            secs: now.as_second(),
            // The fraction of a jiff timestamp is negative before 1970.
            nanos: u32::try_from(now.subsec_nanosecond()).unwrap_or(0),
        }
    }

    /// Returns the current time in seconds since 1970.
    pub fn now_secs(&self) -> i64 {
        self.now.timestamp().as_second()
    }
}
