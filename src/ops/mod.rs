//! One file per verb: a [`Context`] and options in, a report out. No terminal, no environment, no formatting.

pub mod branch;
pub mod cache;
pub mod checkout;
pub mod clone;
pub mod commit;
pub mod compare;
pub mod describe;
pub mod diff;
pub mod du;
pub mod export;
pub mod fetch;
pub mod fsck;
pub mod head;
pub mod history;
pub mod hooks;
pub mod import;
pub mod init;
mod lazy;
pub mod lines;
pub mod log;
pub mod ls;
#[cfg(test)]
mod made;
pub mod mount;
pub mod pack;
pub mod pull;
pub mod push;
pub mod quiesce;
pub mod ranges;
pub mod reach;
pub mod refmove;
pub mod remote;
pub mod resolve;
pub mod show;
pub mod status;
pub mod tag;
pub mod undo;
pub mod unpack;
pub mod volume;
pub mod worktree;

use crate::error::{Kind, Result};
use crate::model::entry::Time;
use crate::repo::{OpenOptions, Repo};
use crate::sync::error::SyncError;
use mount::InMount;
use reach::{CacheOptions, Remote};
use std::path::PathBuf;
use std::sync::Arc;

/// Where an operation works, for whom and when.
#[derive(Clone)]
pub struct Context {
    /// The root of the repository.
    pub repository: PathBuf,
    /// The top of the worktree, canonical. The repository may remember nothing of it.
    pub worktree: PathBuf,
    /// Who makes versions and moves refs, `Name <mail>`.
    pub author: String,
    /// The name of this machine.
    pub host: String,
    /// Threads that compute at the same time, at least 1.
    pub jobs: usize,
    /// Memory for buffers and tables.
    pub memory_bytes: u64,
    /// The present, with the user's time zone.
    pub now: jiff::Zoned,
    /// How the repository is opened.
    pub open: OpenOptions,
    /// The repository, where it is not on this machine; it is only read.
    pub far: Option<Remote>,
    /// The remotes that the settings know.
    pub remotes: Vec<Remote>,
    /// Where blocks of far objects are kept.
    pub cache: CacheOptions,
    /// The mount that is the worktree.
    pub mount: Option<InMount>,
}

impl Context {
    /// Opens the repository.
    pub fn repo(&self) -> Result<Repo> {
        if let Some(far) = &self.far {
            return self.open_far(far);
        }
        let mut open = self.open.clone();
        if let Some(lazy) = self.behind().cloned() {
            let context = self.clone();
            open.behind = Some(Arc::new(move || match context.open_far(&lazy) {
                Err(e) if e.kind() == Kind::NoRepository => {
                    Err(SyncError::NotThere { place: lazy.location.to_string() }.into())
                }
                opened => opened,
            }));
        }
        Repo::open(&self.repository, open)
    }

    /// The remote that has what is not here: where a repository is not whole the one that a part was taken from, else a
    /// lazy one, else `origin` or the first.
    pub(super) fn behind(&self) -> Option<&Remote> {
        let lazy = self.remotes.iter().find(|remote| remote.lazy);
        let Some(from) = Repo::partial(&self.repository) else { return lazy };
        let taken = self.remotes.iter().find(|remote| remote.location.to_string() == from);
        taken.or(lazy).or_else(|| self.remote("origin")).or(self.remotes.first())
    }

    /// Threads for work of which most waits for the disk: four a core, as far as there is memory for them.
    pub fn threads(&self) -> usize {
        // Measured: a walk takes 100 MiB and each of its threads 10.
        let fit = self.memory_bytes.saturating_sub(100 << 20) / (10 << 20);
        (self.jobs * 4).min(usize::try_from(fit).unwrap_or(usize::MAX)).max(self.jobs)
    }

    /// When a ref is moved.
    pub fn moved_at(&self) -> Time {
        let now = self.now.timestamp();
        Time { secs: now.as_second(), nanos: u32::try_from(now.subsec_nanosecond()).unwrap_or(0) }
    }

    /// Seconds since 1970.
    pub fn now_secs(&self) -> i64 {
        self.now.timestamp().as_second()
    }
}
