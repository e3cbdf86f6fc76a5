//! fuser's types from ours and back.

use std::time::{SystemTime, UNIX_EPOCH};

use fuser::{Errno as Raw, FileAttr, FileType, INodeNo, Request};

use crate::model::entry::Time;
use crate::mount::errno::Errno;
use crate::mount::inode::{Allocated, Attr, Kind};
use crate::mount::view::Caller;
use crate::sys::clock::to_system;

pub(super) fn raw(e: Errno) -> Raw {
    Raw::from_i32(e.0)
}

/// A time as the kernel sent it. fuser takes the nanoseconds of a time before 1970 away instead of adding them.
pub(super) fn ours(time: SystemTime) -> Time {
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => Time { secs: i64::try_from(since.as_secs()).unwrap_or(i64::MAX), nanos: since.subsec_nanos() },
        Err(before) => {
            let d = before.duration();
            Time { secs: -i64::try_from(d.as_secs()).unwrap_or(i64::MAX), nanos: d.subsec_nanos() }
        }
    }
}

pub(super) fn file_type(kind: Kind) -> FileType {
    match kind {
        Kind::File => FileType::RegularFile,
        Kind::Dir => FileType::Directory,
        Kind::Symlink => FileType::Symlink,
        Kind::Fifo => FileType::NamedPipe,
        Kind::Socket => FileType::Socket,
        Kind::CharDevice => FileType::CharDevice,
        Kind::BlockDevice => FileType::BlockDevice,
    }
}

/// Device numbers as the kernel packs them for FUSE: twelve bits of major, twenty of minor.
pub(super) fn packed(rdev: (u32, u32)) -> u32 {
    (rdev.1 & 0xff) | (rdev.0 << 8) | ((rdev.1 & !0xff) << 12)
}

pub(super) fn unpacked(rdev: u32) -> (u32, u32) {
    ((rdev >> 8) & 0xfff, (rdev & 0xff) | ((rdev >> 12) & 0xfff00))
}

/// What a file takes, in units of 512 bytes, as programs expect it that look for holes only in files that take less than
/// their length: one of which that is not known takes less.
fn blocks(a: &Attr) -> u64 {
    const UNIT: u64 = 4096;
    let bytes = match a.allocated {
        Allocated::Bytes(bytes) => bytes.div_ceil(UNIT) * UNIT,
        Allocated::List { .. } => (a.size / UNIT).saturating_sub(1) * UNIT,
    };
    bytes / 512
}

pub(super) fn attr(a: &Attr) -> FileAttr {
    FileAttr {
        ino: INodeNo(a.ino),
        size: a.size,
        blocks: blocks(a),
        atime: to_system(a.atime),
        mtime: to_system(a.mtime),
        ctime: to_system(a.ctime),
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

/// That there is no such name, told so that the kernel remembers it.
pub(super) fn nothing() -> FileAttr {
    let none = Time::default();
    attr(&Attr {
        ino: 0,
        kind: Kind::File,
        mode: 0,
        nlink: 0,
        uid: 0,
        gid: 0,
        rdev: (0, 0),
        size: 0,
        allocated: Allocated::Bytes(0),
        atime: none,
        mtime: none,
        ctime: none,
    })
}

pub(super) fn caller(req: &Request) -> Caller {
    Caller { uid: req.uid(), gid: req.gid(), umask: 0 }
}

/// Who makes something.
pub(super) fn maker(req: &Request, umask: u32) -> Caller {
    Caller { umask, ..caller(req) }
}

pub(super) const NOBODY: Attr = Attr {
    ino: 0,
    kind: Kind::Dir,
    mode: 0,
    nlink: 1,
    uid: 0,
    gid: 0,
    rdev: (0, 0),
    size: 0,
    allocated: Allocated::Bytes(0),
    atime: Time { secs: 0, nanos: 0 },
    mtime: Time { secs: 0, nanos: 0 },
    ctime: Time { secs: 0, nanos: 0 },
};
