//! What a local store has made durable, told step by step.
//!
//! Tests listen here to rebuild what a disk would hold if the power failed and everything that was not synced
//! were lost.

use std::path::{Path, PathBuf};

/// One step on the way to durability.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiskEvent {
    /// A file's bytes are on disk.
    FileSynced(PathBuf),
    /// A name was moved; durable once both directories are synced.
    Renamed(PathBuf, PathBuf),
    /// A name was removed; durable once its directory is synced.
    Removed(PathBuf),
    /// A directory was made; durable once its parent is synced.
    DirMade(PathBuf),
    /// A directory's names are on disk.
    DirSynced(PathBuf),
}

/// Listens to a local store.
pub trait Tracer: Send + Sync {
    /// The step was just taken.
    fn event(&self, event: DiskEvent);
}

/// Calls the tracer, where there is one.
pub(super) fn tell(tracer: Option<&dyn Tracer>, event: impl FnOnce(&Path) -> DiskEvent, path: &Path) {
    if let Some(tracer) = tracer {
        tracer.event(event(path));
    }
}
