//! Space that is kept for the tables: on a full disk a flush needs some before it can free any.
//!
//! It is a file beside the tables, emptied when a flush finds no space, and filled again after one that did.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::FallocateFlags;

use crate::sys::create;

const FILE: &str = "reserve";
/// What a flush of some hundred names takes.
const BYTES: u64 = 128 << 10;

/// The file.
pub(super) struct Reserve {
    path: PathBuf,
    /// Whether it was emptied.
    empty: AtomicBool,
}

impl Reserve {
    /// In the directory of an overlay, filled by the first flush.
    pub(super) fn new(dir: &Path) -> Self {
        let path = dir.join(FILE);
        let empty = std::fs::metadata(&path).map_or(true, |file| file.len() < BYTES);
        Self { path, empty: AtomicBool::new(empty) }
    }

    /// Empties it; false if it was empty.
    pub(super) fn release(&self) -> bool {
        let released = File::options().write(true).open(&self.path).and_then(|file| file.set_len(0)).is_ok();
        released && !self.empty.swap(true, Ordering::AcqRel)
    }

    /// Fills it, where there is space.
    pub(super) fn fill(&self) {
        if !self.empty.load(Ordering::Acquire) {
            return;
        }
        let Ok(file) = create::open_private(&self.path, File::options().write(true)) else { return };
        match rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, BYTES) {
            // A file system that reserves nothing has none to give.
            Ok(()) | Err(rustix::io::Errno::OPNOTSUPP) => self.empty.store(false, Ordering::Release),
            Err(_) => drop(file.set_len(0)),
        }
    }
}
