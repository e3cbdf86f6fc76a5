//! Where an operation works, for whom and when: the repository, the worktree or mount, the remotes.

pub mod reach;

use std::path::PathBuf;
use std::sync::Arc;

use crate::error::{Kind, Result};
use crate::model::entry::{Time, Totals};
use crate::model::id::Id;
use crate::mount::control::{ControlRequest, MountClient, MountFacts, MountNote, SnapshotInfo};
use crate::observe::Observer;
use crate::repo::{OpenOptions, Repo};
use crate::store::access::Access;
use crate::store::location::Location;
use crate::sync::error::SyncError;
use crate::sync::state::RemoteState;
use crate::sys::mountinfo::Mounted;
use reach::Reach;

/// Where an operation works, for whom and when.
#[derive(Clone)]
pub struct Context {
    /// The root of the repository.
    pub repository: PathBuf,
    /// The top of the worktree, canonical. The repository may remember nothing of it.
    pub worktree: PathBuf,
    /// Author of versions and of moves of refs, `Name <mail>`.
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
            return self.open_remote(far);
        }
        let mut open = self.open.clone();
        if let Some(lazy) = self.behind().cloned() {
            let context = self.clone();
            open.lazy_source = Some(Arc::new(move || match context.open_remote(&lazy) {
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
    pub fn behind(&self) -> Option<&Remote> {
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

/// A remote as the settings describe it.
#[derive(Clone)]
pub struct Remote {
    /// Its name; the URL where it has none.
    pub name: String,
    /// Where it is.
    pub location: Location,
    /// Whether what is missing here is taken from it when it is read.
    pub lazy: bool,
    /// How it is reached.
    pub access: Access,
}

/// Where blocks of far objects are kept.
#[derive(Clone, Debug, Default)]
pub struct CacheOptions {
    /// The folder.
    pub dir: PathBuf,
    /// At most so many bytes.
    pub limit_bytes: u64,
}

/// A mount that a context is in.
#[derive(Clone, Debug)]
pub struct InMount {
    /// Where sockets and notes of mounts are.
    pub run: PathBuf,
    /// The mount.
    pub mounted: Mounted,
    /// The note of the process that serves the mount.
    pub note: MountNote,
}

impl InMount {
    /// A connection to its process.
    pub fn client(&self) -> Result<MountClient<'static>> {
        MountClient::connect(&self.run, &self.mounted)
    }

    /// How it stands.
    pub fn facts(&self) -> Result<MountFacts> {
        self.client()?.request(&ControlRequest::Facts)
    }

    /// The tree of the mount as it is now; the repository then answers for it from memory.
    pub fn look(&self, repo: &Repo, exclude: &[String], observer: &dyn Observer) -> Result<(Id, Totals, SnapshotInfo)> {
        let cancelled = || observer.cancelled();
        let mut client = self.client()?.cancelled_by(&cancelled);
        client.flush_kernel()?;
        let shot: SnapshotInfo =
            client.request(&ControlRequest::TakeSnapshot { store: false, exclude: exclude.to_vec() })?;
        for (id, bytes) in client.receive_objects(shot.objects)? {
            repo.volatile().put(id, bytes);
        }
        let (tree, totals) = tree_of(&shot);
        Ok((tree, totals, shot))
    }
}

/// The tree that a mount told of.
pub fn tree_of(shot: &SnapshotInfo) -> (Id, Totals) {
    let totals = Totals { files: shot.files, dirs: shot.dirs, bytes: shot.bytes };
    (Id::parse(&shot.tree).unwrap_or(Id([0; 32])), totals)
}

impl Context {
    /// The remote of that name.
    pub fn remote(&self, name: &str) -> Option<&Remote> {
        self.remotes.iter().find(|remote| remote.name == name)
    }

    /// Opens a repository that is not on this machine, to read it.
    pub fn open_remote(&self, remote: &Remote) -> Result<Repo> {
        let state = match RemoteState::load(&self.repository, &remote.location.to_string()) {
            // Reading relies on the ids of objects, so another user's notes on the remote are not needed.
            Err(e) if e.kind() == Kind::Denied => RemoteState::default(),
            state => state?,
        };
        Reach::knowing(self, remote, state)?.existing()
    }
}
