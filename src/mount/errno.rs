//! Error numbers that programs see.

use std::io;

use rustix::io::Errno as Raw;

use crate::error::{Error, Kind};

/// An error number of the system.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Errno(pub i32);

/// The result of a file system operation.
pub type FsResult<T> = Result<T, Errno>;

impl Errno {
    /// A name does not exist.
    pub const NOENT: Self = Self(Raw::NOENT.raw_os_error());
    /// A name already exists.
    pub const EXIST: Self = Self(Raw::EXIST.raw_os_error());
    /// A node is not a directory.
    pub const NOTDIR: Self = Self(Raw::NOTDIR.raw_os_error());
    /// A node is a directory.
    pub const ISDIR: Self = Self(Raw::ISDIR.raw_os_error());
    /// A directory is not empty.
    pub const NOTEMPTY: Self = Self(Raw::NOTEMPTY.raw_os_error());
    /// An argument is invalid.
    pub const INVAL: Self = Self(Raw::INVAL.raw_os_error());
    /// Data cannot be read or written.
    pub const IO: Self = Self(Raw::IO.raw_os_error());
    /// The mount is read-only.
    pub const ROFS: Self = Self(Raw::ROFS.raw_os_error());
    /// The disk is full or the quota is reached.
    pub const NOSPC: Self = Self(Raw::NOSPC.raw_os_error());
    /// An xattr does not exist.
    pub const NODATA: Self = Self(Raw::NODATA.raw_os_error());
    /// A result does not fit into the buffer of the caller.
    pub const RANGE: Self = Self(Raw::RANGE.raw_os_error());
    /// The value of an xattr is too large.
    pub const TOOBIG: Self = Self(Raw::TOOBIG.raw_os_error());
    /// The operation is not supported.
    pub const OPNOTSUPP: Self = Self(Raw::OPNOTSUPP.raw_os_error());
    /// A name is too long.
    pub const NAMETOOLONG: Self = Self(Raw::NAMETOOLONG.raw_os_error());
    /// A handle does not exist.
    pub const BADF: Self = Self(Raw::BADF.raw_os_error());
    /// There is no data or hole after an offset.
    pub const NXIO: Self = Self(Raw::NXIO.raw_os_error());
    /// A file would be too large.
    pub const FBIG: Self = Self(Raw::FBIG.raw_os_error());
    /// The inode belongs to a version that is not shown any more.
    pub const STALE: Self = Self(Raw::STALE.raw_os_error());
    /// An inode would have too many hard links.
    pub const MLINK: Self = Self(Raw::MLINK.raw_os_error());

    /// Internal: the operation has to wait, so another thread must repeat it. Programs never see
    /// this number.
    pub const WOULD_WAIT: Self = Self(-1);

    /// Returns the error number for a kind of error.
    pub const fn of(kind: Kind) -> Self {
        match kind {
            Kind::Usage | Kind::Rejected => Self::INVAL,
            Kind::NoSpace => Self::NOSPC,
            Kind::Busy => Self(Raw::BUSY.raw_os_error()),
            // Do not return `ENOENT`, because the version does contain the data.
            Kind::Incomplete
            | Kind::Integrity
            | Kind::Unreachable
            | Kind::CommandFailed
            | Kind::NoRepository
            | Kind::Denied
            | Kind::NotFound
            | Kind::Cancelled
            | Kind::System
            | Kind::Internal => Self::IO,
        }
    }
}

impl std::fmt::Debug for Errno {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        io::Error::from_raw_os_error(self.0).fmt(f)
    }
}

impl From<&Error> for Errno {
    fn from(e: &Error) -> Self {
        Self::of(e.kind())
    }
}

impl From<&io::Error> for Errno {
    fn from(e: &io::Error) -> Self {
        e.raw_os_error()
            .map_or_else(|| Self::of(Kind::of_io(e)), Self)
    }
}

impl From<io::Error> for Errno {
    fn from(e: io::Error) -> Self {
        Self::from(&e)
    }
}

impl From<rustix::io::Errno> for Errno {
    fn from(e: rustix::io::Errno) -> Self {
        Self(e.raw_os_error())
    }
}
