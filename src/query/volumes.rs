//! Mounted volumes below a directory.

use crate::sys::mountinfo::MountTable;
use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Returns the mount points below a directory; the directory itself is the empty path.
pub fn mounted(dir: &Path) -> BTreeSet<Vec<u8>> {
    let below = |at: &Path| {
        at.strip_prefix(dir)
            .map(|path| path.as_os_str().as_bytes().to_vec())
    };
    MountTable::read()
        // Without the table, no directory counts as a mount point.
        .unwrap_or_default()
        .iter()
        .filter_map(|mount| below(&mount.at).ok())
        .collect()
}

/// Returns the directories that only lead to volumes. Each container creates them again, with
/// different times, so their metadata must not count as changed.
pub fn places(dir: &Path) -> Vec<Vec<u8>> {
    let mounted = mounted(dir);
    let mut places = BTreeSet::new();
    for path in mounted.iter().filter(|path| !path.is_empty()) {
        // Each `/` ends the path of a directory above the mount point; 0 is the empty path of `dir`
        // itself.
        let ends = path
            .iter()
            .enumerate()
            .filter(|(_, byte)| **byte == b'/')
            .map(|(at, _)| at);
        places.extend(
            std::iter::once(0)
                .chain(ends)
                .map(|end| path[..end].to_vec()),
        );
    }
    places
        .into_iter()
        .filter(|place| !mounted.contains(place))
        .collect()
}
