//! A signal that something has to be flushed, so that the flush thread can sleep while nothing
//! changes.

use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::{Condvar, Mutex};

/// Whether something has to be flushed.
#[derive(Debug, Default)]
pub struct DirtySignal {
    raised: AtomicBool,
    lock: Mutex<()>,
    woken: Condvar,
}

impl DirtySignal {
    /// Notes a change. This is cheap if a change was already noted.
    pub fn raise(&self) {
        if !self.raised.load(Ordering::Acquire) && !self.raised.swap(true, Ordering::AcqRel) {
            // A waiter checks the flag under the lock. Taking the lock ensures that the waiter
            // either sees the flag or already sleeps and gets the notification.
            drop(self.lock.lock());
            self.woken.notify_all();
        }
    }

    /// Waits for a change.
    pub fn wait(&self) {
        let mut lock = self.lock.lock();
        while !self.raised.load(Ordering::Acquire) {
            self.woken.wait(&mut lock);
        }
    }

    /// Returns whether something changed, and resets the signal. The caller flushes; a later change
    /// sets the signal again.
    pub fn take(&self) -> bool {
        self.raised.swap(false, Ordering::AcqRel)
    }
}
