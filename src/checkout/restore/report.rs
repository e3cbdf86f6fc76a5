//! The result of a restore or a patch.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counters of a run.
#[derive(Default)]
pub(in crate::checkout) struct Counts {
    pub(in crate::checkout) files: AtomicU64,
    pub(in crate::checkout) dirs: AtomicU64,
    pub(in crate::checkout) bytes: AtomicU64,
    pub(in crate::checkout) incomplete: AtomicU64,
    pub(in crate::checkout) damaged: AtomicU64,
    pub(in crate::checkout) removed: AtomicU64,
}

/// The result of a restore or a patch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RestoreReport {
    /// Created or changed nodes, except directories.
    pub files: u64,
    /// Created or changed directories.
    pub dirs: u64,
    /// Bytes written to files.
    pub bytes: u64,
    /// Removed nodes.
    pub removed: u64,
    /// Properties and nodes that could not be restored; each one was reported as a notice.
    pub incomplete: u64,
    /// Nodes not restored because the repository is damaged; each one was reported as a notice.
    pub damaged: u64,
    /// Nodes whose owner could not be restored for lack of privilege.
    pub owners_lost: u64,
    /// Everything that could not be restored for lack of privilege: owners, mode bits, xattrs,
    /// devices.
    pub denied: u64,
}

impl RestoreReport {
    pub(in crate::checkout) fn of(counts: &Counts) -> Self {
        let get = |c: &AtomicU64| c.load(Ordering::Relaxed);
        Self {
            files: get(&counts.files),
            dirs: get(&counts.dirs),
            bytes: get(&counts.bytes),
            removed: get(&counts.removed),
            incomplete: get(&counts.incomplete),
            damaged: get(&counts.damaged),
            ..Self::default()
        }
    }
}
