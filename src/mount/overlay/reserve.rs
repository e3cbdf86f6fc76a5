//! Reserved space for the overlay database: on a full disk, a flush needs space before it can free
//! any.
//!
//! The reserve is a file. A flush that finds no space truncates the file and tries again. The next
//! successful flush fills it again.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::FallocateFlags;

use crate::sys::create;

const FILE: &str = "reserve";
/// Size of the reserve in bytes, enough for a flush of several hundred names.
const BYTES: u64 = 128 << 10;

/// The reserve file of an overlay.
pub(super) struct SpaceReserve {
    path: PathBuf,
    /// Whether the reserve is used up.
    empty: AtomicBool,
}

impl SpaceReserve {
    /// Uses the reserve of the overlay in `dir`. The first flush fills it.
    pub(super) fn new(dir: &Path) -> Self {
        let path = dir.join(FILE);
        let empty = std::fs::metadata(&path).map_or(true, |file| file.len() < BYTES);
        Self {
            path,
            empty: AtomicBool::new(empty),
        }
    }

    /// Frees the reserved space. Returns false if there was none.
    pub(super) fn release(&self) -> bool {
        let released = File::options()
            .write(true)
            .open(&self.path)
            .and_then(|file| file.set_len(0))
            .is_ok();
        released && !self.empty.swap(true, Ordering::AcqRel)
    }

    /// Reserves the space again, if the disk has enough.
    pub(super) fn fill(&self) {
        if !self.empty.load(Ordering::Acquire) {
            return;
        }
        let Ok(file) = create::open_private(&self.path, File::options().write(true)) else {
            return;
        };
        // `set_len` would create a hole, which reserves no space.
        match rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, BYTES) {
            // A file system without `fallocate` has no reserve. Do not try again after each flush.
            Ok(()) | Err(rustix::io::Errno::OPNOTSUPP) => {
                self.empty.store(false, Ordering::Release)
            }
            Err(_) => drop(file.set_len(0)),
        }
    }
}
