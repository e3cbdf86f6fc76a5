//! Backing ids: the numbers by which the kernel knows the upper files of passthrough.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::sync::Arc;

use fuser::BackingId;
use parking_lot::Mutex;

/// Backing ids by inode number, each with the count of its open handles.
#[derive(Default)]
pub(super) struct BackingIds {
    inodes: Mutex<HashMap<u64, (Arc<BackingId>, u64)>>,
    handles: Mutex<HashMap<u64, u64>>,
}

impl BackingIds {
    /// Returns the backing id of an inode. All handles of an inode share one; `open` creates it for
    /// the first handle.
    pub(super) fn open(
        &self,
        ino: u64,
        handle: u64,
        open: impl FnOnce() -> io::Result<BackingId>,
    ) -> io::Result<Arc<BackingId>> {
        let mut inodes = self.inodes.lock();
        // The kernel refuses to open an inode with a second backing file (fs/fuse/iomode.c).
        let backing = match inodes.entry(ino) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(free) => free.insert((Arc::new(open()?), 0)),
        };
        backing.1 += 1;
        self.handles.lock().insert(handle, ino);
        Ok(Arc::clone(&backing.0))
    }

    /// Closes a handle.
    pub(super) fn close(&self, handle: u64) {
        let ino = self.handles.lock().remove(&handle);
        let Some(ino) = ino else { return };
        let mut inodes = self.inodes.lock();
        if let Some(backing) = inodes.get_mut(&ino) {
            backing.1 -= 1;
            if backing.1 == 0 {
                inodes.remove(&ino);
            }
        }
    }
}
