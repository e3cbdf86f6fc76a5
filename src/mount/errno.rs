//! What a program sees of a failure: the error number of each kind.

use std::io;

use crate::error::{Error, Kind};
use rustix::io::Errno as Raw;

/// An error number of the system.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Errno(pub i32);

/// The result of an operation of a mount.
pub type Answer<T> = Result<T, Errno>;

impl Errno {
    /// There is no such name.
    pub const NOENT: Self = Self(Raw::NOENT.raw_os_error());
    /// There is one already.
    pub const EXIST: Self = Self(Raw::EXIST.raw_os_error());
    /// It is not a directory.
    pub const NOTDIR: Self = Self(Raw::NOTDIR.raw_os_error());
    /// It is a directory.
    pub const ISDIR: Self = Self(Raw::ISDIR.raw_os_error());
    /// The directory holds something.
    pub const NOTEMPTY: Self = Self(Raw::NOTEMPTY.raw_os_error());
    /// It cannot be.
    pub const INVAL: Self = Self(Raw::INVAL.raw_os_error());
    /// Its data cannot be had.
    pub const IO: Self = Self(Raw::IO.raw_os_error());
    /// The file system is only read.
    pub const ROFS: Self = Self(Raw::ROFS.raw_os_error());
    /// No space is left.
    pub const NOSPC: Self = Self(Raw::NOSPC.raw_os_error());
    /// There is no such attribute.
    pub const NODATA: Self = Self(Raw::NODATA.raw_os_error());
    /// The answer does not fit.
    pub const RANGE: Self = Self(Raw::RANGE.raw_os_error());
    /// The argument is too large.
    pub const TOOBIG: Self = Self(Raw::TOOBIG.raw_os_error());
    /// That is not done here.
    pub const OPNOTSUPP: Self = Self(Raw::OPNOTSUPP.raw_os_error());
    /// The name is too long.
    pub const NAMETOOLONG: Self = Self(Raw::NAMETOOLONG.raw_os_error());
    /// There is no such handle.
    pub const BADF: Self = Self(Raw::BADF.raw_os_error());
    /// There is nothing behind that offset.
    pub const NXIO: Self = Self(Raw::NXIO.raw_os_error());
    /// The file would be too large.
    pub const FBIG: Self = Self(Raw::FBIG.raw_os_error());
    /// It was of a version that is not shown any more.
    pub const STALE: Self = Self(Raw::STALE.raw_os_error());
    /// It has too many names.
    pub const MLINK: Self = Self(Raw::MLINK.raw_os_error());

    /// Not an answer: it has to be asked for again by somebody who may wait.
    pub const LATER: Self = Self(-1);

    /// Of a kind of failure.
    pub const fn of(kind: Kind) -> Self {
        match kind {
            Kind::Usage | Kind::Rejected => Self::INVAL,
            Kind::NoSpace => Self::NOSPC,
            Kind::Busy => Self(Raw::BUSY.raw_os_error()),
            // What a version says is there and cannot be had is not "no such file".
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
        e.raw_os_error().map_or_else(|| Self::of(Kind::of_io(e)), Self)
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
