//! Directories below the target, accessed by descriptor.
//!
//! A directory is opened from the descriptor of its parent, one name at a time, and never through a
//! symbolic link. The number of open descriptors is limited; a directory without a descriptor is
//! opened from its nearest ancestor with one.

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

/// Limit on the open descriptors of directories.
const HELD_MAX: usize = 200;
/// Half of the descriptors are reserved for directories whose depth is a multiple of this number,
/// so that every directory of a deep chain has an ancestor with a descriptor nearby.
const HELD_EVERY: usize = 64;

/// Flags for opening a directory.
pub(super) const OPEN_DIR: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

/// A directory below the target.
pub(super) struct Dir {
    parent: Option<Arc<Dir>>,
    name: Vec<u8>,
    depth: usize,
    /// Length of the path in bytes.
    path_len: usize,
    held: Option<OwnedFd>,
    handles: Arc<AtomicUsize>,
    /// Number of tasks left before the metadata of the directory can be set.
    pending: AtomicUsize,
    /// The final metadata, or `None` if the metadata is not to be set.
    pub(super) finish: Option<Finish>,
    /// Complete entries, for the stat cache.
    placed: Mutex<Placed>,
}

/// The properties of a directory in its version.
pub(super) struct Finish {
    pub(super) meta: Meta,
    pub(super) tree: Id,
    pub(super) totals: Totals,
}

/// The complete entries of a directory.
#[derive(Default)]
pub(super) struct Placed {
    pub(super) names: Vec<PlacedName>,
    /// Names of nodes that exist but lack some metadata or links.
    pub(super) in_part: HashSet<Vec<u8>>,
    /// Whether an entry could not be created or changed.
    pub(super) broken: bool,
}

/// A descriptor of a directory: a shared one, or one for this use.
pub(super) enum DirFd<'a> {
    /// Kept open by the directory.
    Held(BorrowedFd<'a>),
    /// Opened for this use.
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
    /// Returns the target itself, whose descriptor is always kept open.
    pub(super) fn root(fd: OwnedFd, finish: Option<Finish>) -> Arc<Self> {
        let handles = Arc::new(AtomicUsize::new(1));
        Self::new(None, Vec::new(), Some(fd), handles, finish)
    }

    /// Opens the directory `name`, which must exist and must not be a link.
    pub(super) fn open(
        parent: &Arc<Self>,
        name: &[u8],
        finish: Option<Finish>,
    ) -> Result<Arc<Self>, Errno> {
        let fd = openat(parent.fd()?, name, OPEN_DIR, Mode::empty())?;
        let handles = Arc::clone(&parent.handles);
        // Count before the check, so that two threads cannot both take the last descriptor.
        let before = handles.fetch_add(1, Ordering::Relaxed);
        let spare = before < HELD_MAX / 2 || (parent.depth + 1).is_multiple_of(HELD_EVERY);
        let held = if before < HELD_MAX && spare {
            Some(fd)
        } else {
            handles.fetch_sub(1, Ordering::Relaxed);
            None
        };
        Ok(Self::new(
            Some(Arc::clone(parent)),
            name.to_vec(),
            held,
            handles,
            finish,
        ))
    }

    fn new(
        parent: Option<Arc<Self>>,
        name: Vec<u8>,
        held: Option<OwnedFd>,
        handles: Arc<AtomicUsize>,
        finish: Option<Finish>,
    ) -> Arc<Self> {
        let (pending, placed) = (AtomicUsize::new(1), Mutex::default());
        let (depth, above) = parent
            .as_ref()
            .map_or((0, 0), |p| (p.depth + 1, p.path_len));
        let path_len = above + usize::from(above > 0) + name.len();
        Arc::new(Self {
            parent,
            name,
            depth,
            path_len,
            held,
            handles,
            pending,
            finish,
            placed,
        })
    }

    /// Returns the name; empty for the target itself.
    pub(super) fn name(&self) -> &[u8] {
        &self.name
    }

    /// Returns the complete entries.
    pub(super) fn placed(&self) -> MutexGuard<'_, Placed> {
        self.placed.lock()
    }

    /// Records that some metadata of the directory itself is missing.
    pub(super) fn placed_in_part(&self) {
        match &self.parent {
            Some(parent) => _ = parent.placed().in_part.insert(self.name.clone()),
            // The metadata of the target is recorded together with its entries.
            None => self.placed().broken = true,
        }
    }

    /// Returns a descriptor of the directory.
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

    /// Returns the length of the path relative to the target.
    pub(super) fn path_len(&self) -> usize {
        self.path_len
    }

    /// Returns the path relative to the target; empty for the target itself.
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

    /// Returns the path of an entry.
    pub(super) fn path_of(&self, name: &[u8]) -> Vec<u8> {
        join(&self.path(), name)
    }

    /// Returns the parent directory.
    pub(super) fn parent(&self) -> Option<&Arc<Self>> {
        self.parent.as_ref()
    }

    /// Adds a task that must be completed before the directory can be finished.
    pub(super) fn retain(&self) {
        self.pending.fetch_add(1, Ordering::AcqRel);
    }

    /// Completes a task. Returns true after the last one; the caller then finishes the directory
    /// and releases its parent.
    pub(super) fn release(&self) -> bool {
        self.pending.fetch_sub(1, Ordering::AcqRel) == 1
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        if self.held.take().is_some() {
            self.handles.fetch_sub(1, Ordering::Relaxed);
        }
        // Dropping a chain of a hundred thousand directories recursively would overflow the stack.
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
        Dir::root(
            rustix::fs::open(dir, OPEN_DIR, Mode::empty()).unwrap(),
            None,
        )
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
        assert!(matches!(
            Dir::open(&top, b"link", None),
            Err(Errno::LOOP | Errno::NOTDIR)
        ));
    }
}
