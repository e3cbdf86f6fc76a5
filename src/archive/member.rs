//! A member of an archive.

use crate::model::entry::Meta;

/// A member without its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchiveMember {
    /// Raw name without a trailing slash; `.` or empty for the root.
    pub path: Vec<u8>,
    /// Mode, owner, mtime and xattrs. For a hard link, only the fields that the archive repeats.
    pub meta: Meta,
    pub kind: MemberKind,
}

/// The kind of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberKind {
    /// A regular file, whose content follows.
    File {
        /// Length in bytes, including holes.
        size: u64,
    },
    Dir,
    Symlink {
        /// The raw target path.
        target: Vec<u8>,
    },
    /// Another hard link to an earlier member.
    HardLink {
        /// Path of the earlier member from the root of the archive.
        target: Vec<u8>,
    },
    Fifo,
    CharDevice {
        major: u32,
        minor: u32,
    },
    BlockDevice {
        major: u32,
        minor: u32,
    },
}
