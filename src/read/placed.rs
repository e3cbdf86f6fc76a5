//! What a restore tells about each node that it has put in place, so that a stat cache can be filled.

use rustix::fs::Stat;

use crate::model::entry::{Entry, Time};

/// What the file system says of a node right after its last change by us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Device.
    pub dev: u64,
    /// Inode.
    pub ino: u64,
    /// Length in bytes.
    pub size: u64,
    /// Modification time.
    pub mtime: Time,
    /// Change time.
    pub ctime: Time,
}

impl Stamp {
    pub(super) fn of(stat: &Stat) -> Self {
        let nanos = |n| u32::try_from(n).unwrap_or(0);
        Self {
            dev: stat.st_dev,
            ino: stat.st_ino,
            size: u64::try_from(stat.st_size).unwrap_or(0),
            mtime: Time { secs: stat.st_mtime, nanos: nanos(stat.st_mtime_nsec) },
            ctime: Time { secs: stat.st_ctime, nanos: nanos(stat.st_ctime_nsec) },
        }
    }
}

/// Hears of nodes that are as their version says, in no order and from several threads. Members of groups of hard
/// links are left out, since each further link changes them.
pub trait Placements: Sync {
    /// A file, link or special node in directory `dir` (relative to the target) is complete.
    fn placed(&self, dir: &[u8], entry: &Entry, stamp: &Stamp);
}
