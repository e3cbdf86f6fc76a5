//! A directory during a walk: its entries, its descriptor, and the counters of their users.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::{Mutex, MutexGuard};

use crate::model::entry::{Entry, Xattr};
use crate::model::id::Id;
use crate::model::path;
use crate::snapshot::walk::basis::DirRecord;
use crate::snapshot::walk::entries;
use crate::snapshot::walk::entries::LinkKey;
use crate::snapshot::walk::entries::Stat;
use crate::snapshot::walk::named::Chosen;
use crate::snapshot::walk::rules::Ignores;

/// A directory of the walk.
pub struct Dir {
    pub(in crate::snapshot) parent: Option<Arc<Dir>>,
    pub(in crate::snapshot) name: Vec<u8>,
    /// Path below the root of the snapshot.
    pub path: Vec<u8>,
    pub(in crate::snapshot) depth: usize,
    fd: Mutex<Option<Arc<OwnedFd>>>,
    pub(in crate::snapshot) stat: Mutex<Stat>,
    /// Tree of the directory in the previous version, for deltas.
    pub(in crate::snapshot) old_tree: Option<Id>,
    /// The names to include in a walk of named paths, in which no tree is stored for this
    /// directory.
    pub(in crate::snapshot) chosen: Option<Arc<Chosen>>,
    state: Mutex<State>,
    /// Number of open tasks below the directory. The thread that completes the last one finishes
    /// the directory.
    pub(in crate::snapshot) pending: AtomicUsize,
    /// Number of users of the descriptor: the scan of the directory, and its subdirectories that
    /// are not open yet.
    pub(in crate::snapshot) users: AtomicUsize,
}

#[derive(Default)]
pub(in crate::snapshot) struct State {
    pub(in crate::snapshot) xattrs: Vec<Xattr>,
    pub(in crate::snapshot) ignores: Ignores,
    pub(in crate::snapshot) slots: Vec<Slot>,
    pub(in crate::snapshot) record: Option<DirRecord>,
    /// Set if all entries except subdirectories match the record. If the subdirectories turn out
    /// unchanged too, the recorded tree is reused; otherwise its entries are loaded.
    pub(in crate::snapshot) clean: bool,
    pub(in crate::snapshot) waits_for_links: bool,
    /// Whether the directory was removed before it could be read.
    pub(in crate::snapshot) gone: bool,
}

pub(in crate::snapshot) struct Slot {
    pub(in crate::snapshot) name: Vec<u8>,
    pub(in crate::snapshot) stat: Stat,
    pub(in crate::snapshot) print: u64,
    pub(in crate::snapshot) entry: Option<Entry>,
    pub(in crate::snapshot) link: Option<LinkKey>,
}

impl Dir {
    /// Creates the root of a walk of all paths, or of `chosen` paths.
    pub fn root(
        (fd, stat): (OwnedFd, Stat),
        old_tree: Option<Id>,
        chosen: Option<Arc<Chosen>>,
    ) -> Arc<Self> {
        Arc::new(Self {
            old_tree,
            chosen,
            parent: None,
            name: Vec::new(),
            path: Vec::new(),
            depth: 0,
            fd: Mutex::new(Some(Arc::new(fd))),
            stat: Mutex::new(stat),
            state: Mutex::default(),
            pending: AtomicUsize::new(1),
            users: AtomicUsize::new(1),
        })
    }

    pub(in crate::snapshot) fn below(
        parent: &Arc<Self>,
        name: &[u8],
        stat: Stat,
        ignores: Ignores,
        old_tree: Option<Id>,
    ) -> Arc<Self> {
        Arc::new(Self {
            old_tree,
            chosen: parent.chosen.as_ref().and_then(|chosen| chosen.below(name)),
            path: path::join(&parent.path, name),
            parent: Some(Arc::clone(parent)),
            name: name.to_vec(),
            depth: parent.depth + 1,
            fd: Mutex::new(None),
            stat: Mutex::new(stat),
            state: Mutex::new(State {
                ignores,
                ..State::default()
            }),
            pending: AtomicUsize::new(1),
            users: AtomicUsize::new(1),
        })
    }

    pub(in crate::snapshot) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Returns the descriptor, if the directory is open.
    pub fn fd(&self) -> Option<Arc<OwnedFd>> {
        self.fd.lock().clone()
    }

    /// Returns the device of the directory.
    pub(in crate::snapshot) fn device(&self) -> u64 {
        self.stat.lock().dev
    }

    pub(in crate::snapshot) fn open(&self) -> io::Result<Arc<OwnedFd>> {
        if let Some(fd) = self.fd() {
            return Ok(fd);
        }
        let parent = self.parent.as_ref().and_then(|p| p.fd());
        let parent = parent.ok_or_else(|| io::Error::other("the parent directory is closed"))?;
        let opened = entries::open_dir(parent.as_fd(), &self.name);
        // Release the parent also after an error, because its descriptor would stay open.
        if let Some(parent) = &self.parent {
            parent.release();
        }
        let fd = Arc::new(opened?);
        *self.fd.lock() = Some(Arc::clone(&fd));
        Ok(fd)
    }

    /// Removes a user of the descriptor, which is closed after the last one so that few descriptors
    /// are open.
    pub fn release(&self) {
        if self.users.fetch_sub(1, Ordering::AcqRel) == 1 {
            *self.fd.lock() = None;
        }
    }

    /// Returns whether this is the root of the snapshot, whose object contains its own metadata.
    pub(in crate::snapshot) fn is_root(&self) -> bool {
        self.parent.is_none()
    }
}
