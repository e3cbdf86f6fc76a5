//! Which process has a file of a mount open for writing, for messages.
//!
//! In: the device number of the mount and an inode. Out: a process. Only processes count that this one may look at.

use std::fs;
use std::path::Path;

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
    let all = fs::read_dir("/proc").ok()?.flatten();
    let mut pids = all.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let pid = pids.find(|pid| writes(&Path::new("/proc").join(pid.to_string()), device, ino))?;
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    Some(User { pid, name: name.trim_end().to_owned() })
}

/// Returns inodes that processes have mapped so that they write to them, each with one process.
///
/// Where the kernel uses a file by itself, a mapping holds that file and not the one of the mount: the mount is told that
/// it was closed, and not that it is still written.
pub fn mapped(device: (u32, u32)) -> Vec<(u64, User)> {
    let mut found: Vec<(u64, User)> = Vec::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else { continue };
        let Ok(maps) = fs::read_to_string(entry.path().join("maps")) else { continue };
        let inodes = maps.lines().filter_map(|line| written_mapping(line, device));
        let mut inodes = inodes.filter(|ino| found.iter().all(|(known, _)| known != ino)).peekable();
        if inodes.peek().is_some() {
            let name = fs::read_to_string(entry.path().join("comm")).unwrap_or_default().trim_end().to_owned();
            let new: Vec<_> = inodes.map(|ino| (ino, User { pid, name: name.clone() })).collect();
            found.extend(new);
        }
    }
    found
}

/// Whether the process with a directory in `/proc` does. Its files themselves are not asked: that would be a request to the
/// mount.
fn writes(process: &Path, device: (u32, u32), ino: u64) -> bool {
    let infos = fs::read_dir(process.join("fdinfo")).into_iter().flatten().flatten();
    infos.filter_map(|info| fs::read_to_string(info.path()).ok()).any(|text| is_writer(&text, ino))
        || fs::read_to_string(process.join("maps")).is_ok_and(|maps| maps.lines().any(|l| is_mapped(l, device, ino)))
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

/// Whether a line of `maps` is a mapping by which that inode is written.
fn is_mapped(line: &str, device: (u32, u32), ino: u64) -> bool {
    written_mapping(line, device) == Some(ino)
}

/// The inode of a file system that is written by the mapping that a line of `maps` tells of.
fn written_mapping(line: &str, (major, minor): (u32, u32)) -> Option<u64> {
    let mut fields = line.split_ascii_whitespace().skip(1);
    let (rights, device, ino) = (fields.next()?, fields.nth(1)?, fields.next()?);
    let same = rights.contains('w') && rights.ends_with('s') && device == format!("{major:02x}:{minor:02x}");
    ino.parse().ok().filter(|_| same)
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
        let mapped = "7f0000000000-7f0000001000 rw-s 00000000 00:32 4611686018427387999    /m/f";
        assert!(is_mapped(mapped, (0, 0x32), ino));
        assert!(!is_mapped(mapped, (0, 0x33), ino) && !is_mapped(&mapped.replace("rw-s", "rw-p"), (0, 0x32), ino));
        assert!(!is_mapped("7f00-7f01 rw-p 00000000 00:00 0", (0, 0), ino));
    }
}
