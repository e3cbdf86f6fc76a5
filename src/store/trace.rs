//! Events of a local store for each step towards durability.
//!
//! Crash tests use the events to reconstruct the state of a disk after a power failure that lost
//! all unsynced data.

use std::path::{Path, PathBuf};

/// A step towards durability.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiskEvent {
    /// The content of a file is synced.
    FileSynced(PathBuf),
    /// A file was renamed; durable once both directories are synced.
    Renamed(PathBuf, PathBuf),
    /// A name was removed; durable once its directory is synced.
    Removed(PathBuf),
    /// A directory was created; durable once its parent is synced.
    DirMade(PathBuf),
    /// The names in a directory are synced.
    DirSynced(PathBuf),
}

/// Receives the events of a local store.
pub trait Tracer: Send + Sync {
    /// Reports a step that was just taken.
    fn event(&self, event: DiskEvent);
}

/// Calls the tracer, if there is one.
pub(super) fn trace(
    tracer: Option<&dyn Tracer>,
    event: impl FnOnce(&Path) -> DiskEvent,
    path: &Path,
) {
    if let Some(tracer) = tracer {
        tracer.event(event(path));
    }
}
