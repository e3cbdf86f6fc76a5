//! Mounts inside a mount: nested volumes of a container, bind mounts, anything that lies on one of its names.
//!
//! In: the device number of a mount. Out: what is mounted on names of it, in every mount namespace that this process may
//! look into. The kernel takes such a mount away, everywhere and silently, when the name below it is invalidated.

use std::collections::HashSet;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use crate::sys::mountinfo::Mounted;
use crate::sys::procfs::{ProcDir, processes};

/// A mount on a name of another one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inside {
    /// The path of the name in the file system, without a slash in front.
    pub path: Vec<u8>,
    /// The mount point as its namespace sees it.
    pub at: PathBuf,
}

/// Returns the mounts on names of the file system with a device number, this namespace's first.
pub fn mounts_inside(device: (u32, u32)) -> Vec<Inside> {
    let (mut seen, mut found) = (HashSet::new(), Vec::new());
    for process in std::iter::once(ProcDir::own()).chain(processes().map(ProcDir::of)) {
        // A process that may not be looked at has a namespace that is not seen.
        let Some(space) = process.namespace("mnt") else { continue };
        if seen.insert(space)
            && let Ok(table) = process.mounts()
        {
            found.extend(inside(&table, device));
        }
    }
    found
}

/// Those of one table.
fn inside(table: &[Mounted], device: (u32, u32)) -> Vec<Inside> {
    let path = |m: &Mounted| {
        let below = table.iter().find(|p| p.id == m.parent && p.id != m.id && p.device == device)?;
        let path = below.root.join(m.at.strip_prefix(&below.at).ok()?);
        let path = path.as_os_str().as_bytes();
        Some(Inside { path: path.strip_prefix(b"/").unwrap_or(path).to_vec(), at: m.at.clone() })
    };
    // What covers the root of the file system is not taken away: the root is in every version.
    table.iter().filter_map(path).filter(|inside| !inside.path.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::mountinfo::MountTable;

    #[test]
    fn a_mount_is_found_by_its_path_in_the_file_system_below() {
        let table = MountTable::parse(
            b"1 1 8:1 / / rw - ext4 /dev/sda1 rw\n\
            2 1 0:50 / /m rw - fuse.dvc dvc:main rw\n\
            3 2 0:60 / /m/a/in rw - tmpfs none rw\n\
            4 1 0:50 /a /elsewhere rw - fuse.dvc dvc:main rw\n\
            5 4 8:1 /etc/hosts /elsewhere/b rw - ext4 /dev/sda1 rw\n\
            6 2 0:61 / /m rw - tmpfs none rw\n\
            7 1 0:62 / /n rw - tmpfs none rw\n",
        );
        let found: Vec<_> = inside(&table, (0, 50)).into_iter().map(|i| (i.path, i.at)).collect();
        let expected = [("a/in", "/m/a/in"), ("a/b", "/elsewhere/b")];
        assert_eq!(found, expected.map(|(path, at)| (path.as_bytes().to_vec(), PathBuf::from(at))));
        assert!(inside(&table, (0, 51)).is_empty());
    }
}
