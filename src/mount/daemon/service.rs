//! State that all threads of a mount's process share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex, MutexGuard};

use super::lease::MountLeases;
use super::setup::{FollowFn, MountBase, Prefetch};
use crate::model::id::Id;
use crate::mount::control::{MountFacts, MountNote};
use crate::mount::fuse::KernelCache;
use crate::mount::hydrate::Hydrator;
use crate::mount::lower::LowerLayer;
use crate::mount::profile::ReadRecorder;
use crate::mount::view::{LogFn, View};
use crate::store::meter::Meter;
use crate::sys::io_error::IoError;

pub(super) struct MountService {
    pub(super) view: Arc<View>,
    pub(super) lower: Arc<LowerLayer>,
    pub(super) hydrator: Arc<Hydrator>,
    pub(super) base: Mutex<MountBase>,
    pub(super) note: MountNote,
    pub(super) meter: Arc<Meter>,
    pub(super) recorder: Option<Arc<ReadRecorder>>,
    pub(super) prefetch: Option<Prefetch>,
    pub(super) jobs: usize,
    pub(super) kernel_cache: KernelCache,
    pub(super) follow: Option<Box<FollowFn>>,
    pub(super) leases: Option<Arc<MountLeases>>,
    pub(super) log: Arc<LogFn>,
    /// Device number of the mount.
    pub(super) device: (u32, u32),
    /// The last error of following the branch, so that it is logged only once.
    pub(super) last_refusal: Mutex<String>,
    /// Set while a connection or the follower is in an [`ExclusiveSection`].
    pub(super) exclusive_taken: (Mutex<bool>, Condvar),
    pub(super) ended: (Mutex<bool>, Condvar),
    /// Whether the overlay is removed after the unmount.
    pub(super) discard: AtomicBool,
    /// Whether the overlay is then deleted instead of moved to the trash.
    pub(super) no_trash: AtomicBool,
    /// Held until the reply to a stop request is sent.
    pub(super) stopping: Mutex<()>,
}

/// Serialises snapshots and switches of the mount to another version.
pub(super) struct ExclusiveSection<'i>(pub(super) &'i MountService);

impl Drop for ExclusiveSection<'_> {
    fn drop(&mut self) {
        *self.0.exclusive_taken.0.lock() = false;
        // Only one thread can enter next.
        self.0.exclusive_taken.1.notify_one();
    }
}

impl MountService {
    pub(super) fn base(&self) -> MutexGuard<'_, MountBase> {
        self.base.lock()
    }

    pub(super) fn end(&self) {
        *self.ended.0.lock() = true;
        self.ended.1.notify_all();
        // Wake the flush thread, which sleeps until something changes.
        self.view.dirty_signal().raise();
    }

    pub(super) fn has_ended(&self, wait: Duration) -> bool {
        let mut ended = self.ended.0.lock();
        self.ended
            .1
            .wait_while_for(&mut ended, |ended| !*ended, wait);
        *ended
    }

    pub(super) fn io(&self, what: &'static str, errno: i32) -> crate::error::Error {
        let source = std::io::Error::from_raw_os_error(errno);
        IoError::new(what, &self.note.at, source).into()
    }

    pub(super) fn facts(&self) -> MountFacts {
        let base = self.base().clone();
        let counters = &self.view.counters;
        let read = |n: &std::sync::atomic::AtomicU64| n.load(Ordering::Relaxed);
        let state = self.view.state();
        MountFacts {
            version: Some(base.version)
                // A mount that shows several versions has the zero id.
                .filter(|id| *id != Id([0; 32]))
                .map(|id| id.to_string()),
            branch: base.branch,
            snapshot: base.snapshot.map(|id| id.to_string()),
            changed: state.changed_inodes,
            dirty_bytes: state.dirty_bytes,
            overlay_bytes: self.view.space_used(),
            spare_bytes: self.view.spare_bytes(),
            known: state.known_inodes,
            open: state.open_inodes,
            reads: read(&counters.reads),
            read_bytes: read(&counters.read_bytes),
            writes: read(&counters.writes),
            written_bytes: read(&counters.written_bytes),
            fetched_bytes: self.meter.down.bytes(),
            requests: self.meter.requests(),
            failed: read(&counters.failed),
            hydrated_bytes: self.hydrator.done_bytes(),
        }
    }

    /// Waits until no other thread is in the exclusive section, and enters it.
    pub(super) fn exclusive(&self) -> ExclusiveSection<'_> {
        let (taken, free) = &self.exclusive_taken;
        let mut taken = taken.lock();
        while *taken {
            free.wait(&mut taken);
        }
        *taken = true;
        ExclusiveSection(self)
    }
}
