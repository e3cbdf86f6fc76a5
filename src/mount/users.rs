//! Which process has a file of a mount open for writing, for messages.
//!
//! In: the device number of the mount and an inode. Out: a process. Only processes count that this one may look at.

use crate::sys::procfs::{Mapping, ProcDir, mappings, processes};

/// A process that has a file open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Its number.
    pub pid: u32,
    /// Its name.
    pub name: String,
}

/// Returns a process that has an inode open for writing, or mapped so that it can be written.
pub fn writer(device: (u32, u32), ino: u64) -> Option<User> {
    let pid = processes().find(|pid| writes(&ProcDir::of(*pid), device, ino))?;
    Some(User { pid, name: ProcDir::of(pid).command() })
}

/// Returns inodes that processes have mapped so that they write to them, each with one process.
///
/// Where the kernel uses a file by itself, a mapping holds that file and not the one of the mount: the mount is told that
/// it was closed, and not that it is still written.
pub fn mapped(device: (u32, u32)) -> Vec<(u64, User)> {
    let mut found: Vec<(u64, User)> = Vec::new();
    for pid in processes() {
        let process = ProcDir::of(pid);
        let maps = process.maps();
        let inodes = mappings(&maps).filter(|mapping| is_of(mapping, device)).map(|mapping| mapping.ino);
        let mut inodes = inodes.filter(|ino| found.iter().all(|(known, _)| known != ino)).peekable();
        if inodes.peek().is_some() {
            let name = process.command();
            let new: Vec<_> = inodes.map(|ino| (ino, User { pid, name: name.clone() })).collect();
            found.extend(new);
        }
    }
    found
}

/// Returns whether a process has that inode open for writing, or mapped so. Its files themselves are not asked: that would be
/// a request to the mount.
fn writes(process: &ProcDir, device: (u32, u32), ino: u64) -> bool {
    process.open_file_infos().any(|info| is_writer(&info, ino))
        || mappings(&process.maps()).any(|mapping| is_of(&mapping, device) && mapping.ino == ino)
}

/// Whether what the kernel tells of an open file is that inode, open for writing. The numbers of a mount's inodes are
/// random and of 62 bits, so that the device, which is not told, does not matter.
fn is_writer(info: &str, ino: u64) -> bool {
    let field = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    const ACCESS: u32 = 3;
    const PATH_ONLY: u32 = 0o10_000_000;
    let flags = field("flags:").and_then(|flags| u32::from_str_radix(flags, 8).ok()).unwrap_or(0);
    field("ino:").and_then(|n| n.parse().ok()) == Some(ino) && flags & ACCESS != 0 && flags & PATH_ONLY == 0
}

/// Returns whether a file of that file system is written by a mapping.
fn is_of(mapping: &Mapping<'_>, device: (u32, u32)) -> bool {
    mapping.is_writable && mapping.device == device
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_files_and_mappings_are_told_apart() {
        let info = |flags: &str| format!("pos:\t0\nflags:\t{flags}\nmnt_id:\t40\nino:\t4611686018427387999\n");
        let ino = 4_611_686_018_427_387_999;
        assert!(is_writer(&info("0100002"), ino) && is_writer(&info("0100001"), ino));
        assert!(!is_writer(&info("0100000"), ino) && !is_writer(&info("012000001"), ino));
        assert!(!is_writer(&info("0100002"), 7));
        let mapped = Mapping { is_writable: true, device: (0, 0x32), ino, path: b"/m/f" };
        assert!(is_of(&mapped, (0, 0x32)) && !is_of(&mapped, (0, 0x33)));
        assert!(!is_of(&Mapping { is_writable: false, ..mapped }, (0, 0x32)));
    }
}
