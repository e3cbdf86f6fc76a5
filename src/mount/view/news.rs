//! Whether something changed that is not on disk, for the thread that flushes: as long as nothing did, it sleeps.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};

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
            drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner));
            self.came.notify_all();
        }
    }

    /// Waits until there is something to flush.
    pub fn wait(&self) {
        let mut lock = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        while !self.here.load(Ordering::Acquire) {
            lock = self.came.wait(lock).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Whether there is something to flush, which the caller does now: a change from now on is a new one.
    pub fn take(&self) -> bool {
        self.here.swap(false, Ordering::AcqRel)
    }
}
