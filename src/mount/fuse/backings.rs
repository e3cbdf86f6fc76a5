//! Files that the kernel uses by itself, as it knows them.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::sync::Arc;

use fuser::BackingId;
use parking_lot::Mutex;

/// Files that the kernel uses by itself: by inode, what it knows each by and how often it is open.
#[derive(Default)]
pub(super) struct Backings {
    inodes: Mutex<HashMap<u64, (Arc<BackingId>, u64)>>,
    handles: Mutex<HashMap<u64, u64>>,
}

impl Backings {
    /// What the kernel knows the file of an inode by; all openings of one share it.
    pub(super) fn give(
        &self,
        ino: u64,
        handle: u64,
        open: impl FnOnce() -> io::Result<BackingId>,
    ) -> io::Result<Arc<BackingId>> {
        let mut inodes = self.inodes.lock();
        let backing = match inodes.entry(ino) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(free) => free.insert((Arc::new(open()?), 0)),
        };
        backing.1 += 1;
        self.handles.lock().insert(handle, ino);
        Ok(Arc::clone(&backing.0))
    }

    /// Ends an opening.
    pub(super) fn take(&self, handle: u64) {
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
