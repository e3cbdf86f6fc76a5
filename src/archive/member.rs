//! One member of an archive, as it stands there.

use crate::model::entry::Meta;

/// A member without its bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its name as written, raw bytes, without a slash at the end; `.` or empty is the top.
    pub path: Vec<u8>,
    /// Mode, owner, time, attributes; of a hard link only what it repeats.
    pub meta: Meta,
    /// What it is.
    pub kind: MemberKind,
}

/// What a member is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberKind {
    /// A regular file; its bytes follow.
    File {
        /// Its length in bytes, holes counted.
        size: u64,
    },
    /// A directory.
    Dir,
    /// A symbolic link.
    Symlink {
        /// Where it points, raw.
        target: Vec<u8>,
    },
    /// Another name of a member that came before.
    HardLink {
        /// The name of that, from the top.
        target: Vec<u8>,
    },
    /// A named pipe.
    Fifo,
    /// A character device.
    CharDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
    /// A block device.
    BlockDevice {
        /// Major number.
        major: u32,
        /// Minor number.
        minor: u32,
    },
}
