//! Mounts inside a mount, such as nested volumes of a container and bind mounts, in all mount
//! namespaces that this process may inspect.
//!
//! When the name of such a mount point is invalidated, the kernel silently removes the mount in all
//! namespaces.

use std::collections::HashSet;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use crate::sys::mountinfo::Mounted;
use crate::sys::procfs::{ProcDir, processes};

/// A mount whose mount point is inside another mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NestedMount {
    /// Path of the mount point in the file system that contains it, without a leading slash.
    pub path: Vec<u8>,
    /// The mount point as its namespace sees it.
    pub at: PathBuf,
}

/// Returns the mounts inside the file system with this device number, those of this namespace
/// first.
pub fn nested_mounts(device: (u32, u32)) -> Vec<NestedMount> {
    let (mut seen, mut found) = (HashSet::new(), Vec::new());
    for process in std::iter::once(ProcDir::own()).chain(processes().map(ProcDir::of)) {
        // Skip inaccessible processes, whose namespace is unknown.
        let Some(space) = process.namespace("mnt") else {
            continue;
        };
        if seen.insert(space)
            && let Ok(table) = process.mounts()
        {
            found.extend(nested(&table, device));
        }
    }
    found
}

/// Returns the nested mounts in one mount table.
fn nested(table: &[Mounted], device: (u32, u32)) -> Vec<NestedMount> {
    let path = |m: &Mounted| {
        let below = table
            .iter()
            .find(|p| p.id == m.parent && p.id != m.id && p.device == device)?;
        // A bind mount shows a part of the file system, so the path of that part comes first.
        let path = below.root.join(m.at.strip_prefix(&below.at).ok()?);
        let path = path.as_os_str().as_bytes();
        Some(NestedMount {
            path: path.strip_prefix(b"/").unwrap_or(path).to_vec(),
            at: m.at.clone(),
        })
    };
    // A mount that covers the root is not affected, because all versions have a root.
    table
        .iter()
        .filter_map(path)
        .filter(|nested| !nested.path.is_empty())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::mountinfo::MountTable;

    #[test]
    fn a_mount_is_found_by_its_path_in_the_file_system_below() {
        // Mount 3 is inside the file system, and so is 5, by a bind mount. Mount 6 covers the root,
        // and the others are not inside.
        let table = MountTable::parse(
            b"1 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
            2 1 0:50 / /m rw - fuse.dvc dvc:main rw\n\
            3 2 0:60 / /m/a/in rw - tmpfs none rw\n\
            4 1 0:50 /a /elsewhere rw - fuse.dvc dvc:main rw\n\
            5 4 8:1 /etc/hosts /elsewhere/b rw - ext4 /dev/sda1 rw\n\
            6 2 0:61 / /m rw - tmpfs none rw\n\
            7 1 0:62 / /n rw - tmpfs none rw\n",
        );
        let found: Vec<_> = nested(&table, (0, 50))
            .into_iter()
            .map(|i| (i.path, i.at))
            .collect();
        let expected = [("a/in", "/m/a/in"), ("a/b", "/elsewhere/b")];
        assert_eq!(
            found,
            expected.map(|(path, at)| (path.as_bytes().to_vec(), PathBuf::from(at)))
        );
        assert!(nested(&table, (0, 51)).is_empty());
    }
}
