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
    Some(WriterProcess {
        pid,
        name: ProcDir::of(pid).command(),
    })
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
        let inodes = mappings(&maps)
            .filter(|mapping| writes_device(mapping, device))
            .map(|mapping| mapping.ino);
        let mut inodes = inodes
            .filter(|ino| found.iter().all(|known| known.ino != *ino))
            .peekable();
        if inodes.peek().is_some() {
            let name = process.command();
            let new: Vec<_> = inodes
                .map(|ino| MappedFile {
                    ino,
                    process: WriterProcess {
                        pid,
                        name: name.clone(),
                    },
                })
                .collect();
            found.extend(new);
        }
    }
    found
}

/// Returns whether a process has the inode open for writing or mapped writable. Does not access the
/// open files themselves, because that would be a request to the mount.
fn writes(process: &ProcDir, device: (u32, u32), ino: u64) -> bool {
    process
        .open_file_infos()
        .any(|info| is_writer(&info, ino) && is_on(process, &info, device))
        || mappings(&process.maps())
            .any(|mapping| writes_device(&mapping, device) && mapping.ino == ino)
}

/// Returns whether a file in `fdinfo` has this inode number and is open for writing.
fn is_writer(info: &str, ino: u64) -> bool {
    // `O_ACCMODE`, in which `O_RDONLY` is 0.
    const ACCESS: u32 = 3;
    // `O_PATH`: such a descriptor cannot write, even if its flags include write access.
    const PATH_ONLY: u32 = 0o10_000_000;
    let flags = field(info, "flags:")
        .and_then(|flags| u32::from_str_radix(flags, 8).ok())
        .unwrap_or(0);
    number(info, "ino:") == Some(ino) && flags & ACCESS != 0 && flags & PATH_ONLY == 0
}

/// Returns whether a file in `fdinfo` may be on this device, because the small inode number of a
/// new file also exists on other devices. The mount table of the process has the device of the
/// file's mount; a mount that is not in the table any more may be ours.
fn is_on(process: &ProcDir, info: &str, device: (u32, u32)) -> bool {
    let (Some(id), Ok(mounts)) = (number(info, "mnt_id:"), process.mounts()) else {
        return true;
    };
    mounts
        .iter()
        .find(|mount| mount.id == id)
        .is_none_or(|mount| mount.device == device)
}

fn field<'i>(info: &'i str, name: &str) -> Option<&'i str> {
    info.lines()
        .find_map(|line| line.strip_prefix(name))
        .map(str::trim)
}

fn number(info: &str, name: &str) -> Option<u64> {
    field(info, name)?.parse().ok()
}

/// Returns whether a mapping can write to a file of this device.
fn writes_device(mapping: &Mapping<'_>, device: (u32, u32)) -> bool {
    mapping.is_writable && mapping.device == device
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_on_another_device_is_no_writer() {
        let dir = tempfile::tempdir().unwrap();
        let file = std::fs::File::create(dir.path().join("f")).unwrap();
        let meta = std::os::fd::AsFd::as_fd(&file);
        let stat = rustix::fs::fstat(meta).unwrap();
        let device = (
            rustix::fs::major(stat.st_dev),
            rustix::fs::minor(stat.st_dev),
        );
        let found = find_writer(device, stat.st_ino);
        assert_eq!(found.map(|writer| writer.pid), Some(std::process::id()));
        assert_eq!(find_writer((device.0, device.1 + 1), stat.st_ino), None);
    }

    #[test]
    fn open_files_and_mappings_are_told_apart() {
        let info = |flags: &str| {
            format!("pos:\t0\nflags:\t{flags}\nmnt_id:\t40\nino:\t4611686018427387999\n")
        };
        let ino = 4_611_686_018_427_387_999;
        assert!(is_writer(&info("0100002"), ino) && is_writer(&info("0100001"), ino));
        assert!(!is_writer(&info("0100000"), ino) && !is_writer(&info("012000001"), ino));
        assert!(!is_writer(&info("0100002"), 7));
        let mapped = Mapping {
            is_writable: true,
            device: (0, 0x32),
            ino,
            path: b"/m/f",
        };
        assert!(writes_device(&mapped, (0, 0x32)) && !writes_device(&mapped, (0, 0x33)));
        assert!(!writes_device(
            &Mapping {
                is_writable: false,
                ..mapped
            },
            (0, 0x32)
        ));
    }
}
