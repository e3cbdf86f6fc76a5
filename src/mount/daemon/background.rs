//! Background work of a mount: periodic flushes, prefetching, following a branch, and the renewal of
//! leases.

use std::time::Duration;

use super::lease::LEASE;
use super::service::MountService;
use super::setup::{Prefetch, VersionTree};
use crate::error::{Kind, Result, with_causes};
use crate::mount::overlay::Fact;
use crate::repo::writer::RootCheck;

/// Delay after which changes are flushed if no program syncs them.
const FLUSH_INTERVAL: Duration = Duration::from_secs(5);
/// Interval at which the age of the lease on the remote is checked.
const CHECK_INTERVAL: Duration = Duration::from_secs(3600);

impl MountService {
    /// Flushes changes some seconds after they were made. Wakes up regularly only if the mount
    /// follows a branch, if the kernel can write to a file directly, or if a flush failed.
    pub(super) fn flush_periodically(&self) {
        let dirty = self.view.dirty_signal();
        while !self.has_ended(Duration::ZERO) {
            if self.follow.is_none() {
                // Sleep without a timeout, so that an idle mount does not wake the processor.
                dirty.wait();
            }
            // Changes of some seconds share one flush. At the end, `View::finish` flushes the rest.
            if self.has_ended(FLUSH_INTERVAL) {
                return;
            }
            if dirty.take() {
                // A failure is already in the log, and the next round retries.
                let failed = self.view.sync_all().is_err();
                self.flush_recorder();
                // In passthrough mode, the kernel writes to upper files without a request, so
                // nothing would raise the signal again.
                if failed || self.view.has_kernel_writers() {
                    dirty.raise();
                }
            }
            self.follow_once();
        }
    }

    /// Writes the recorded reads to the access profile.
    pub(super) fn flush_recorder(&self) {
        if let Some(Err(e)) = self.recorder.as_ref().map(|recorder| recorder.flush()) {
            (self.log)(&with_causes(&e));
        }
    }

    /// Fetches the data that the access profile lists, and logs the result.
    pub(super) fn prefetch(&self) {
        let Some(Prefetch {
            profile,
            budget_bytes,
        }) = &self.prefetch
        else {
            return;
        };
        let tree = self.base().tree;
        match profile.prefetch(&self.lower, &tree, *budget_bytes, &|| {
            self.has_ended(Duration::ZERO)
        }) {
            Ok(bytes) => (self.log)(&format!("prefetched {bytes} bytes")),
            Err(e) => (self.log)(&format!(
                "cannot prefetch the data of the access profile: {}",
                with_causes(&e)
            )),
        }
    }

    /// Switches to the version that the mount should show now, if it is a different one.
    pub(super) fn follow_once(&self) {
        let Some(follow) = &self.follow else { return };
        // The log is read before the version is chosen.
        let begun = RootCheck::begin(self.lower.repo());
        let moved = begun.and_then(|check| {
            let now: VersionTree = follow(self.lower.repo())?;
            // Compare in the exclusive section, because a connection may switch the mount.
            let _exclusive = self.exclusive();
            let shown = self.base().tree;
            if shown == now.tree {
                Ok(())
            } else {
                self.show(now, None, false, &check)
            }
        });
        let why = moved
            .err()
            .map(|e| {
                format!(
                    "cannot switch to the newest version of the branch, will try again: {}",
                    with_causes(&e)
                )
            })
            .unwrap_or_default();
        let mut last_refusal = self.last_refusal.lock();
        if !why.is_empty() && why != *last_refusal {
            (self.log)(&why);
        }
        *last_refusal = why;
    }

    /// Records the lease on the remote in the overlay, so that the next mount replaces the lease.
    pub(super) fn note_lease(&self, key: String) -> Result<()> {
        let noted = self.view.sync_all_with(vec![Fact::new(LEASE, key)]);
        noted.map_err(|e| self.io("flush", e.0))
    }

    /// Replaces the lease on the remote daily. Returns when the mount ends.
    pub(super) fn renew_leases(&self) {
        let Some(leases) = self.leases.as_ref().filter(|leases| leases.has_source()) else {
            return;
        };
        loop {
            if leases.is_remote_due() {
                let renewed = leases
                    .take_remote(self.lower.repo(), &*self.log)
                    .and_then(|key| key.map_or(Ok(()), |key| self.note_lease(key)));
                if let Err(e) = renewed
                    && e.kind() != Kind::Cancelled
                {
                    (self.log)(&format!("cannot renew the lease: {}", with_causes(&e)));
                }
            }
            if self.has_ended(CHECK_INTERVAL) {
                return;
            }
        }
    }
}
