//! The space that a file takes on disk.

use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, StatxFlags, statx};

/// Returns the bytes that the file system has allocated for a file.
///
/// Queries only the block count. Since Linux 6.13, a query of the times makes the next write take a
/// fine-grained time, and then the times of other files advance with every write instead of every
/// tick of the clock.
pub fn allocated_bytes(file: impl AsFd) -> io::Result<u64> {
    let found = statx(file, "", AtFlags::EMPTY_PATH, StatxFlags::BLOCKS)?;
    // statx(2) counts blocks of 512 bytes on every file system.
    Ok(found.stx_blocks * 512)
}

/// Like [`allocated_bytes`] for the file at a path.
pub fn allocated_bytes_at(path: &Path) -> io::Result<u64> {
    let found = statx(CWD, path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::BLOCKS)?;
    Ok(found.stx_blocks * 512)
}
