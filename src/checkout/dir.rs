//! Directories below the target, by descriptor.
//!
//! A directory is reached from its parent's descriptor, one name at a time, never through a symbolic link. Only so
//! many descriptors are kept open; a directory without one walks down from its nearest ancestor that has one.

use std::collections::HashSet;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::{Mutex, MutexGuard};
use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;

use super::placed::PlacedName;
use crate::model::entry::{Meta, Totals};
use crate::model::id::Id;
use crate::model::path::join;

/// How many descriptors of directories a run keeps open.
const HELD_MAX: usize = 200;
/// Half of them are for directories at depths that are a multiple of this, so that no directory of a long chain has a long
/// way from the nearest one that has a descriptor.
const HELD_EVERY: usize = 64;

/// How a directory is opened.
pub(super) const OPEN_DIR: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// A directory below the target.
pub(super) struct Dir {
    parent: Option<Arc<Dir>>,
    name: Vec<u8>,
    depth: usize,
    /// The length of its path.
    path_len: usize,
    held: Option<OwnedFd>,
    handles: Arc<AtomicUsize>,
    /// What still has to happen before its own metadata may be set.
    pending: AtomicUsize,
    /// What it is to become; `None` where its metadata is not ours to set.
    pub(super) finish: Option<Finish>,
    /// Names that are in place, for the stat cache.
    placed: Mutex<Placed>,
}

/// A directory as its version says.
pub(super) struct Finish {
    pub(super) meta: Meta,
    pub(super) tree: Id,
    pub(super) totals: Totals,
}

/// What has been put into a directory.
#[derive(Default)]
pub(super) struct Placed {
    pub(super) names: Vec<PlacedName>,
    /// Names of nodes that are there, but lack something of their metadata or their links.
    pub(super) in_part: HashSet<Vec<u8>>,
    /// Something in it could not be made or changed.
    pub(super) broken: bool,
}

/// A directory's descriptor: its own, or one for this use.
pub(super) enum DirFd<'a> {
    /// Kept open by the directory.
    Held(BorrowedFd<'a>),
    /// Opened just now.
    Opened(OwnedFd),
}

impl AsFd for DirFd<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Held(fd) => *fd,
            Self::Opened(fd) => fd.as_fd(),
        }
    }
}

impl Dir {
    /// The target itself; its descriptor is always kept.
    pub(super) fn root(fd: OwnedFd, finish: Option<Finish>) -> Arc<Self> {
        let handles = Arc::new(AtomicUsize::new(1));
        Self::new(None, Vec::new(), Some(fd), handles, finish)
    }

    /// Opens the directory `name`, which must exist and be no link.
    pub(super) fn open(parent: &Arc<Self>, name: &[u8], finish: Option<Finish>) -> Result<Arc<Self>, Errno> {
        let fd = openat(parent.fd()?, name, OPEN_DIR, Mode::empty())?;
        let handles = Arc::clone(&parent.handles);
        let before = handles.fetch_add(1, Ordering::Relaxed);
        let spare = before < HELD_MAX / 2 || (parent.depth + 1).is_multiple_of(HELD_EVERY);
        let held = if before < HELD_MAX && spare {
            Some(fd)
        } else {
            handles.fetch_sub(1, Ordering::Relaxed);
            None
        };
        Ok(Self::new(Some(Arc::clone(parent)), name.to_vec(), held, handles, finish))
    }

    fn new(
        parent: Option<Arc<Self>>,
        name: Vec<u8>,
        held: Option<OwnedFd>,
        handles: Arc<AtomicUsize>,
        finish: Option<Finish>,
    ) -> Arc<Self> {
        let (pending, placed) = (AtomicUsize::new(1), Mutex::default());
        let (depth, above) = parent.as_ref().map_or((0, 0), |p| (p.depth + 1, p.path_len));
        let path_len = above + usize::from(above > 0) + name.len();
        Arc::new(Self { parent, name, depth, path_len, held, handles, pending, finish, placed })
    }

    /// Its last name; empty for the target itself.
    pub(super) fn name(&self) -> &[u8] {
        &self.name
    }

    /// What has been put into it.
    pub(super) fn placed(&self) -> MutexGuard<'_, Placed> {
        self.placed.lock()
    }

    /// Notes that it lacks something of its own metadata.
    pub(super) fn placed_in_part(&self) {
        match &self.parent {
            Some(parent) => _ = parent.placed().in_part.insert(self.name.clone()),
            // The target's own metadata is remembered with what is in it.
            None => self.placed().broken = true,
        }
    }

    /// Its descriptor.
    pub(super) fn fd(&self) -> Result<DirFd<'_>, Errno> {
        let mut names = Vec::new();
        let mut at = self;
        let mut fd = loop {
            match (&at.held, &at.parent) {
                (Some(fd), _) => break DirFd::Held(fd.as_fd()),
                (None, Some(parent)) => {
                    names.push(at.name.as_slice());
                    at = parent;
                }
                (None, None) => return Err(Errno::BADF),
            }
        };
        for name in names.into_iter().rev() {
            fd = DirFd::Opened(openat(&fd, name, OPEN_DIR, Mode::empty())?);
        }
        Ok(fd)
    }

    /// The length of its path relative to the target.
    pub(super) fn path_len(&self) -> usize {
        self.path_len
    }

    /// Its path relative to the target, empty for the target itself.
    pub(super) fn path(&self) -> Vec<u8> {
        let mut names = Vec::new();
        let mut at = self;
        while let Some(parent) = &at.parent {
            names.push(at.name.as_slice());
            at = parent;
        }
        names.reverse();
        names.join(&b'/')
    }

    /// The path of a name in it.
    pub(super) fn path_of(&self, name: &[u8]) -> Vec<u8> {
        join(&self.path(), name)
    }

    /// The directory that holds it.
    pub(super) fn parent(&self) -> Option<&Arc<Self>> {
        self.parent.as_ref()
    }

    /// One more thing is to be done in it.
    pub(super) fn retain(&self) {
        self.pending.fetch_add(1, Ordering::AcqRel);
    }

    /// One thing is done. Returns true when it was the last one; the caller then finishes the directory and
    /// releases its parent.
    pub(super) fn release(&self) -> bool {
        self.pending.fetch_sub(1, Ordering::AcqRel) == 1
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        if self.held.take().is_some() {
            self.handles.fetch_sub(1, Ordering::Relaxed);
        }
        // A chain of a hundred thousand directories must not unwind by recursion.
        let mut parent = self.parent.take();
        while let Some(mut last) = parent.and_then(Arc::into_inner) {
            parent = last.parent.take();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(dir: &std::path::Path) -> Arc<Dir> {
        Dir::root(rustix::fs::open(dir, OPEN_DIR, Mode::empty()).unwrap(), None)
    }

    #[test]
    fn deep_chains_need_few_descriptors_and_no_stack() {
        let temp = tempfile::tempdir().unwrap();
        let mut dir = root(temp.path());
        for depth in 0..1_000 {
            rustix::fs::mkdirat(dir.fd().unwrap(), "d", Mode::RWXU).unwrap();
            dir = Dir::open(&dir, b"d", None).unwrap();
            assert!(dir.handles.load(Ordering::Relaxed) <= HELD_MAX, "{depth}");
        }
        assert_eq!((dir.path().len(), dir.path_len()), (1_999, 1_999));
        rustix::fs::mkdirat(dir.fd().unwrap(), "last", Mode::RWXU).unwrap();
        let handles = Arc::clone(&dir.handles);
        drop(dir);
        assert_eq!(handles.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_link_in_the_way_is_not_followed() {
        let temp = tempfile::tempdir().unwrap();
        std::fs::create_dir(temp.path().join("real")).unwrap();
        std::os::unix::fs::symlink("real", temp.path().join("link")).unwrap();
        let top = root(temp.path());
        assert!(Dir::open(&top, b"real", None).is_ok());
        assert!(matches!(Dir::open(&top, b"link", None), Err(Errno::LOOP | Errno::NOTDIR)));
    }
}
