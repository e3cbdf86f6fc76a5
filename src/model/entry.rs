//! A directory entry: a name with its metadata and content.
//!
//! Invariant: an entry holds everything that is needed to recreate the file, or does not exist at
//! all.

use super::id::Id;

/// A timestamp of a file, in seconds since 1970 (negative before) and nanoseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Time {
    /// Whole seconds, rounded down.
    pub secs: i64,
    /// 0 to 999,999,999.
    pub nanos: u32,
}

/// An extended attribute; ACLs and file capabilities are stored as xattrs, too.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Xattr {
    /// The full name with its namespace, for example `user.comment`.
    pub name: Vec<u8>,
    pub value: Vec<u8>,
}

/// The metadata that every kind of entry has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// Permission bits, 0 to 0o7777.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub mtime: Time,
    /// Sorted by name.
    pub xattrs: Vec<Xattr>,
}

/// Membership in a group of hard links.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HardLink {
    /// Hash of the member path that sorts first by bytes.
    pub group: [u8; 16],
    /// Number of members within the tree, at least 2.
    pub count: u32,
}

/// A range of a file that is one chunk or a hole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Extent {
    /// In bytes, more than 0.
    pub len: u64,
    /// `None` is a hole, which reads as zeros.
    pub chunk: Option<Id>,
}

/// The chunker that divided a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Chunker {
    /// Content-defined chunking with the parameters of the repository.
    Cdc,
    /// Chunks of this length in bytes.
    Fixed(u32),
}

/// Content of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// The bytes themselves, for tiny and empty files.
    Inline(Vec<u8>),
    /// A short list of extents.
    Direct(Vec<Extent>),
    /// Id of the root node of a chunk list.
    List(Id),
}

/// The kind of an entry, with the data that only this kind has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    File {
        /// In bytes.
        size: u64,
        chunker: Chunker,
        content: Content,
    },
    Dir {
        tree: Id,
        /// Sums over everything below the directory.
        totals: Totals,
    },
    Symlink {
        /// The raw target path.
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

/// Sums over everything below a directory, without the directory itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Totals {
    /// Entries that are not directories.
    pub files: u64,
    pub dirs: u64,
    /// Total length of all regular files. Each hard link counts.
    pub bytes: u64,
}

impl Totals {
    /// Adds one entry and, if the entry is a directory, everything below it.
    pub fn add(&mut self, entry: &Entry) {
        match &entry.node {
            Node::Dir { totals, .. } => {
                // The sums of forged totals must not overflow.
                self.files = self.files.saturating_add(totals.files);
                self.dirs = self.dirs.saturating_add(totals.dirs).saturating_add(1);
                self.bytes = self.bytes.saturating_add(totals.bytes);
            }
            Node::File { size, .. } => {
                self.files = self.files.saturating_add(1);
                self.bytes = self.bytes.saturating_add(*size);
            }
            _ => self.files = self.files.saturating_add(1),
        }
    }
}

/// One entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Raw bytes; never empty, `.` or `..`, and without `/` and NUL.
    pub name: Vec<u8>,
    pub meta: Meta,
    /// Set if the file has more than one hard link within the tree.
    pub link: Option<HardLink>,
    pub node: Node,
}

impl Entry {
    /// Returns the length in bytes of a regular file, and 0 for other entries.
    pub fn size(&self) -> u64 {
        match self.node {
            Node::File { size, .. } => size,
            _ => 0,
        }
    }

    /// Returns whether the entry is a directory.
    pub fn is_dir(&self) -> bool {
        matches!(self.node, Node::Dir { .. })
    }
}
