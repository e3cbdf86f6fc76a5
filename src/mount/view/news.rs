//! Whether something changed that is not on disk, for the thread that flushes: as long as nothing did, it sleeps.

use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Condvar, Mutex};

/// Something to flush, or not.
#[derive(Debug, Default)]
pub struct News {
    here: AtomicBool,
    lock: Mutex<()>,
    came: Condvar,
}

impl News {
    /// Notes that there is something to flush. Costs nothing where that is known.
    pub fn come(&self) {
        if !self.here.load(Ordering::Acquire) && !self.here.swap(true, Ordering::AcqRel) {
            drop(self.lock.lock());
            self.came.notify_all();
        }
    }

    /// Waits until there is something to flush.
    pub fn wait(&self) {
        let mut lock = self.lock.lock();
        while !self.here.load(Ordering::Acquire) {
            self.came.wait(&mut lock);
        }
    }

    /// Whether there is something to flush, which the caller does now: a change from now on is a new one.
    pub fn take(&self) -> bool {
        self.here.swap(false, Ordering::AcqRel)
    }
}
