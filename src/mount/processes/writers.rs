//! Processes that have a file of a mount open or mapped for writing. Only processes that this
//! process may inspect are considered.

use crate::sys::procfs::{Mapping, ProcDir, mappings, processes};

/// A process that has a file open for writing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WriterProcess {
    /// Process id.
    pub pid: u32,
    /// Name of the program.
    pub name: String,
}

/// A file that a process has mapped for writing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MappedFile {
    /// Inode number.
    pub ino: u64,
    /// A process that maps the file.
    pub process: WriterProcess,
}

/// Returns a process that has an inode open for writing or mapped writable.
pub fn find_writer(device: (u32, u32), ino: u64) -> Option<WriterProcess> {
    let pid = processes().find(|pid| writes(&ProcDir::of(*pid), device, ino))?;
    Some(WriterProcess { pid, name: ProcDir::of(pid).command() })
}

/// Returns all inodes that are mapped writable, each with one process.
///
/// In passthrough mode, a mapping refers to the upper file. The kernel then reports the close of
/// the file in the mount, but not that the mapping can still write.
pub fn mapped_files(device: (u32, u32)) -> Vec<MappedFile> {
    let mut found: Vec<MappedFile> = Vec::new();
    for pid in processes() {
        let process = ProcDir::of(pid);
        let maps = process.maps();
        let inodes = mappings(&maps).filter(|mapping| writes_device(mapping, device)).map(|mapping| mapping.ino);
        let mut inodes = inodes.filter(|ino| found.iter().all(|known| known.ino != *ino)).peekable();
        if inodes.peek().is_some() {
            let name = process.command();
            let new: Vec<_> =
                inodes.map(|ino| MappedFile { ino, process: WriterProcess { pid, name: name.clone() } }).collect();
            found.extend(new);
        }
    }
    found
}

/// Returns whether a process has the inode open for writing or mapped writable. Does not access the
/// open files themselves, because that would be a request to the mount.
fn writes(process: &ProcDir, device: (u32, u32), ino: u64) -> bool {
    process.open_file_infos().any(|info| is_writer(&info, ino))
        || mappings(&process.maps()).any(|mapping| writes_device(&mapping, device) && mapping.ino == ino)
}

/// Returns whether a file in `fdinfo` is this inode, open for writing. The file does not contain
/// the device. Inode numbers of version files are 62-bit hashes, but the small number of a new file
/// can also match a file on another device.
fn is_writer(info: &str, ino: u64) -> bool {
    let field = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
    const ACCESS: u32 = 3;
    const PATH_ONLY: u32 = 0o10_000_000;
    let flags = field("flags:").and_then(|flags| u32::from_str_radix(flags, 8).ok()).unwrap_or(0);
    field("ino:").and_then(|n| n.parse().ok()) == Some(ino) && flags & ACCESS != 0 && flags & PATH_ONLY == 0
}

/// Returns whether a mapping can write to a file of this device.
fn writes_device(mapping: &Mapping<'_>, device: (u32, u32)) -> bool {
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
        assert!(writes_device(&mapped, (0, 0x32)) && !writes_device(&mapped, (0, 0x33)));
        assert!(!writes_device(&Mapping { is_writable: false, ..mapped }, (0, 0x32)));
    }
}
