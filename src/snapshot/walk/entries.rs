//! Reads directories: names, stat, xattrs.
//!
//! Everything is opened relative to its directory and without following links, so that a directory
//! that is replaced by a link during the walk cannot lead out of the worktree.

use std::ffi::OsStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, RawDir, StatxFlags};

use crate::format::marker::Marker;
use crate::model::entry::{Meta, Node, Time, Xattr};
use crate::repo::layout;

/// Limit on the xattrs of one node in bytes.
const XATTRS_MAX: usize = 1 << 20;

/// Device and inode of a file.
pub type LinkKey = (u64, u64);

/// The result of `statx`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    pub kind: FileType,
    /// Permission bits.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// Length in bytes.
    pub size: u64,
    /// Allocated size in units of 512 bytes.
    pub blocks: u64,
    /// Time of the last change of the content.
    pub mtime: Time,
    /// Time of the last change of content or metadata.
    pub ctime: Time,
    pub ino: u64,
    pub dev: u64,
    /// Number of hard links.
    pub nlink: u32,
    /// Major and minor number of a device node.
    pub rdev: (u32, u32),
}

impl Stat {
    /// Returns the metadata with these xattrs.
    pub fn meta(&self, xattrs: Vec<Xattr>) -> Meta {
        Meta {
            mode: self.mode,
            uid: self.uid,
            gid: self.gid,
            mtime: self.mtime,
            xattrs,
        }
    }

    /// Returns whether both stats describe the same state of the same file.
    pub fn same(&self, other: &Self) -> bool {
        (self.ino, self.dev, self.size, self.mtime, self.ctime)
            == (other.ino, other.dev, other.size, other.mtime, other.ctime)
    }
}

/// Returns the stat of a name without following a link. An empty name means the directory itself.
pub fn stat_at(dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<Stat> {
    let flags = if name.is_empty() {
        AtFlags::EMPTY_PATH
    } else {
        AtFlags::SYMLINK_NOFOLLOW
    };
    let s = rustix::fs::statx(dir, OsStr::from_bytes(name), flags, StatxFlags::BASIC_STATS)?;
    let mode = u32::from(s.stx_mode);
    Ok(Stat {
        kind: FileType::from_raw_mode(mode),
        mode: mode & 0o7777,
        uid: s.stx_uid,
        gid: s.stx_gid,
        size: s.stx_size,
        blocks: s.stx_blocks,
        mtime: Time {
            secs: s.stx_mtime.tv_sec,
            nanos: s.stx_mtime.tv_nsec,
        },
        ctime: Time {
            secs: s.stx_ctime.tv_sec,
            nanos: s.stx_ctime.tv_nsec,
        },
        ino: s.stx_ino,
        dev: rustix::fs::makedev(s.stx_dev_major, s.stx_dev_minor),
        nlink: s.stx_nlink,
        rdev: (s.stx_rdev_major, s.stx_rdev_minor),
    })
}

/// Opens the root of a walk, which may be a symbolic link.
pub fn open_root(path: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::openat(
        CWD,
        path,
        OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?)
}

/// Opens a subdirectory without following a symbolic link.
pub fn open_dir(dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    open_quietly(dir, name, flags)
}

/// Opens a file for reading.
pub fn open_file(dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<OwnedFd> {
    open_quietly(
        dir,
        name,
        // Without `NONBLOCK`, opening would wait forever if the name was replaced by a pipe.
        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC,
    )
}

/// Opens without changing the access time, if the kernel permits that.
fn open_quietly(dir: BorrowedFd<'_>, name: &[u8], flags: OFlags) -> io::Result<OwnedFd> {
    let name = OsStr::from_bytes(name);
    match rustix::fs::openat(dir, name, flags | OFlags::NOATIME, Mode::empty()) {
        // Only the owner of a file may use `O_NOATIME` (open(2)).
        Err(rustix::io::Errno::PERM) => Ok(rustix::fs::openat(dir, name, flags, Mode::empty())?),
        r => Ok(r?),
    }
}

/// Returns the names of a directory with their inode numbers, in order of inode numbers, so that
/// uncached inode tables are read sequentially.
pub fn names(dir: BorrowedFd<'_>) -> io::Result<Vec<(u64, Vec<u8>)>> {
    let mut buf = vec![MaybeUninit::<u8>::uninit(); 64 << 10];
    let mut iter = RawDir::new(dir, &mut buf);
    let mut out = Vec::new();
    while let Some(entry) = iter.next() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            out.push((entry.ino(), name.to_vec()));
        }
    }
    out.sort_unstable();
    Ok(out)
}

/// Returns the target of a symbolic link.
fn read_link(dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<Vec<u8>> {
    Ok(rustix::fs::readlinkat(dir, OsStr::from_bytes(name), Vec::new())?.into_bytes())
}

/// Returns the node of a name that is neither a file nor a directory.
pub fn node_of(dir: BorrowedFd<'_>, name: &[u8], stat: &Stat) -> io::Result<Node> {
    Ok(match stat.kind {
        FileType::Symlink => Node::Symlink {
            target: read_link(dir, name)?,
        },
        FileType::Fifo => Node::Fifo,
        FileType::CharacterDevice => Node::CharDevice {
            major: stat.rdev.0,
            minor: stat.rdev.1,
        },
        FileType::BlockDevice => Node::BlockDevice {
            major: stat.rdev.0,
            minor: stat.rdev.1,
        },
        _ => return Err(io::Error::other("unknown file type")),
    })
}

/// Returns the xattrs of an open file or directory.
pub fn xattrs_of(fd: BorrowedFd<'_>) -> io::Result<Vec<Xattr>> {
    read_xattrs(
        |buf| rustix::fs::flistxattr(fd, buf),
        |name, buf| rustix::fs::fgetxattr(fd, OsStr::from_bytes(name), buf),
    )
}

/// Returns the xattrs of a node that cannot be opened: a link, pipe or device.
pub fn xattrs_at(dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<Vec<Xattr>> {
    // The system calls with a directory descriptor (`getxattrat`) exist only since Linux 6.13.
    let mut path = format!("/proc/self/fd/{}/", dir.as_fd().as_raw_fd()).into_bytes();
    path.extend_from_slice(name);
    let path = OsStr::from_bytes(&path);
    read_xattrs(
        |buf| rustix::fs::llistxattr(path, buf),
        |name, buf| rustix::fs::lgetxattr(path, OsStr::from_bytes(name), buf),
    )
}

fn read_xattrs(
    list: impl Fn(&mut [u8]) -> rustix::io::Result<usize>,
    get: impl Fn(&[u8], &mut [u8]) -> rustix::io::Result<usize>,
) -> io::Result<Vec<Xattr>> {
    use rustix::io::Errno;
    let mut buf = [0u8; 1024];
    let mut large;
    let names = match list(&mut buf) {
        Ok(n) => &buf[..n],
        // The file system has no xattrs.
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => return Ok(Vec::new()),
        Err(Errno::RANGE) => {
            // The kernel's limit for a list of names and for a value, see xattr(7).
            large = vec![0u8; 64 << 10];
            let n = list(&mut large)?;
            &large[..n]
        }
        Err(e) => return Err(e.into()),
    };
    let mut out = Vec::new();
    let mut total = 0;
    for name in names.split(|b| *b == 0).filter(|n| !n.is_empty()) {
        let mut value = vec![0u8; 256];
        let got = match get(name, &mut value) {
            Err(Errno::RANGE) => {
                value.resize(64 << 10, 0);
                get(name, &mut value)
            }
            r => r,
        };
        match got {
            Ok(n) => value.truncate(n),
            // The xattr was removed after it was listed.
            Err(Errno::NODATA) => continue,
            Err(e) => return Err(e.into()),
        }
        total += name.len() + value.len();
        if total > XATTRS_MAX {
            return Err(io::Error::other("more than 1 MiB of extended attributes"));
        }
        out.push(Xattr {
            name: name.to_vec(),
            value,
        });
    }
    // Trees store xattrs in order, and other orders would give other ids.
    out.sort();
    Ok(out)
}

/// Returns whether a directory contains a valid CACHEDIR.TAG.
pub fn is_cache_dir(dir: BorrowedFd<'_>) -> bool {
    // From the Cache Directory Tagging Specification (https://bford.info/cachedir/).
    const SIGNATURE: &[u8] = b"Signature: 8a477f597d28d172789f06886806bc55";
    let Ok(fd) = open_file(dir, b"CACHEDIR.TAG") else {
        return false;
    };
    let mut head = [0u8; 43];
    io::Read::read_exact(&mut std::fs::File::from(fd), &mut head).is_ok() && head == SIGNATURE
}

/// Returns whether a directory with these names is a repository without a worktree, such as a
/// remote.
pub fn is_repository(dir: BorrowedFd<'_>, names: &[(u64, Vec<u8>)]) -> bool {
    let has = |name: &str| names.iter().any(|n| n.1 == name.as_bytes());
    if ![layout::MARKER, layout::PACKS, layout::INDEX]
        .into_iter()
        .all(has)
    {
        return false;
    }
    let Ok(fd) = open_file(dir, layout::MARKER.as_bytes()) else {
        return false;
    };
    let mut bytes = Vec::new();
    // A marker is short. The limit protects against a huge file with this name.
    let read = io::Read::take(std::fs::File::from(fd), 64 << 10);
    io::Read::read_to_end(&mut { read }, &mut bytes).is_ok() && Marker::decode(&bytes).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink("/etc", dir.path().join("out")).unwrap();
        let root = open_root(dir.path()).unwrap();
        assert!(open_dir(root.as_fd(), b"out").is_err());
        assert_eq!(read_link(root.as_fd(), b"out").unwrap(), b"/etc");
        assert_eq!(
            stat_at(root.as_fd(), b"out").unwrap().kind,
            FileType::Symlink
        );
        assert_eq!(names(root.as_fd()).unwrap().len(), 1);
    }
}
