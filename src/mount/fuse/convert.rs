//! Conversion between the types of `fuser` and those of this crate.

use std::time::{SystemTime, UNIX_EPOCH};

use fuser::{Errno as Raw, FileAttr, FileType, INodeNo, Request};

use crate::model::entry::Time;
use crate::mount::errno::Errno;
use crate::mount::file::AllocatedBytes;
use crate::mount::names::{NodeAttr, NodeKind};
use crate::mount::view::Caller;
use crate::sys::clock::to_system;

pub(super) fn raw(e: Errno) -> Raw {
    Raw::from_i32(e.0)
}

/// Converts a time from the kernel. For times before 1970, `fuser` has subtracted the nanoseconds
/// instead of adding them, which this function undoes.
pub(super) fn ours(time: SystemTime) -> Time {
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => Time {
            secs: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
            nanos: since.subsec_nanos(),
        },
        Err(before) => {
            let d = before.duration();
            Time {
                secs: -i64::try_from(d.as_secs()).unwrap_or(i64::MAX),
                nanos: d.subsec_nanos(),
            }
        }
    }
}

pub(super) fn file_type(kind: NodeKind) -> FileType {
    match kind {
        NodeKind::File => FileType::RegularFile,
        NodeKind::Dir => FileType::Directory,
        NodeKind::Symlink => FileType::Symlink,
        NodeKind::Fifo => FileType::NamedPipe,
        NodeKind::Socket => FileType::Socket,
        NodeKind::CharDevice => FileType::CharDevice,
        NodeKind::BlockDevice => FileType::BlockDevice,
    }
}

/// Encodes a device number as FUSE does: 12 bits of the major and 20 bits of the minor number.
pub(super) fn packed(rdev: (u32, u32)) -> u32 {
    (rdev.1 & 0xff) | (rdev.0 << 8) | ((rdev.1 & !0xff) << 12)
}

pub(super) fn unpacked(rdev: u32) -> (u32, u32) {
    (
        (rdev >> 8) & 0xfff,
        (rdev & 0xff) | ((rdev >> 12) & 0xfff00),
    )
}

/// Returns the allocated size in units of 512 bytes. Programs look for holes only if it is smaller
/// than the length, so an unknown size is reported as smaller.
fn blocks(a: &NodeAttr) -> u64 {
    const UNIT: u64 = 4096;
    let bytes = match a.allocated {
        AllocatedBytes::Bytes(bytes) => bytes.div_ceil(UNIT) * UNIT,
        AllocatedBytes::List { .. } => (a.size / UNIT).saturating_sub(1) * UNIT,
    };
    bytes / 512
}

pub(super) fn attr(a: &NodeAttr) -> FileAttr {
    FileAttr {
        ino: INodeNo(a.ino),
        size: a.size,
        blocks: blocks(a),
        atime: to_system(a.atime),
        mtime: to_system(a.mtime),
        ctime: to_system(a.ctime),
        // Only the protocol of macOS has this field.
        crtime: UNIX_EPOCH,
        kind: file_type(a.kind),
        perm: u16::try_from(a.mode & 0o7777).unwrap_or(0),
        nlink: a.nlink,
        uid: a.uid,
        gid: a.gid,
        rdev: packed(a.rdev),
        blksize: 4096,
        flags: 0,
    }
}

/// Returns the reply for a missing name: inode number 0 makes the kernel cache that it is missing.
pub(super) fn nothing() -> FileAttr {
    let none = Time::default();
    attr(&NodeAttr {
        ino: 0,
        kind: NodeKind::File,
        mode: 0,
        nlink: 0,
        uid: 0,
        gid: 0,
        rdev: (0, 0),
        size: 0,
        allocated: AllocatedBytes::Bytes(0),
        atime: none,
        mtime: none,
        ctime: none,
    })
}

pub(super) fn caller(req: &Request) -> Caller {
    Caller {
        uid: req.uid(),
        gid: req.gid(),
        umask: 0,
    }
}

/// Returns the caller of a request that creates a node.
pub(super) fn maker(req: &Request, umask: u32) -> Caller {
    Caller {
        umask,
        ..caller(req)
    }
}

pub(super) const NOBODY: NodeAttr = NodeAttr {
    ino: 0,
    kind: NodeKind::Dir,
    mode: 0,
    nlink: 1,
    uid: 0,
    gid: 0,
    rdev: (0, 0),
    size: 0,
    allocated: AllocatedBytes::Bytes(0),
    atime: Time { secs: 0, nanos: 0 },
    mtime: Time { secs: 0, nanos: 0 },
    ctime: Time { secs: 0, nanos: 0 },
};
