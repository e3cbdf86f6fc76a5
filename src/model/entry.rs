//! One name in a directory: its metadata and what it holds.
//!
//! Invariant: an entry holds everything that is needed to make the node again, or says nothing of it at all.

use super::id::Id;

/// A point in time: seconds since 1970 (negative before) and nanoseconds 0..1e9.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Time {
    /// Whole seconds, rounded down.
    pub secs: i64,
    /// Nanoseconds after `secs`.
    pub nanos: u32,
}

/// An extended attribute; ACLs and file capabilities are attributes too.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Xattr {
    /// Full name, `user.comment`.
    pub name: Vec<u8>,
    /// Value, raw.
    pub value: Vec<u8>,
}

/// What every node has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// Permission bits, 0..=0o7777.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time.
    pub mtime: Time,
    /// Sorted by name.
    pub xattrs: Vec<Xattr>,
}

/// Membership in a group of hard links.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HardLink {
    /// Hash of the byte-smallest member path.
    pub group: [u8; 16],
    /// Members inside the tree, at least 2.
    pub count: u32,
}

/// A run of a file: stored bytes, or a hole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Extent {
    /// Length in bytes, more than 0.
    pub len: u64,
    /// The chunk; `None` is a hole, that is zeros.
    pub chunk: Option<Id>,
}

/// How a file was cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Chunker {
    /// Content-defined cuts with the repository's parameters.
    Cdc,
    /// Pieces of that many bytes.
    Fixed(u32),
}

/// A file's bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// The bytes themselves (tiny files, and the empty file).
    Inline(Vec<u8>),
    /// A short list of extents.
    Direct(Vec<Extent>),
    /// The root node of a chunk list.
    List(Id),
}

/// What a name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// A regular file.
    File {
        /// Length in bytes.
        size: u64,
        /// How it was cut.
        chunker: Chunker,
        /// Its bytes.
        content: Content,
    },
    /// A directory.
    Dir {
        /// Its tree object.
        tree: Id,
        /// What lies below it.
        totals: Totals,
    },
    /// A symbolic link.
    Symlink {
        /// Where it points, raw.
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

/// Sums over everything below a directory, itself not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Totals {
    /// Nodes that are not directories.
    pub files: u64,
    /// Directories.
    pub dirs: u64,
    /// Bytes of regular files, each hard link counted.
    pub bytes: u64,
}

impl Totals {
    /// Adds one entry of a directory and all that lies below it.
    pub fn add(&mut self, entry: &Entry) {
        match &entry.node {
            Node::Dir { totals, .. } => {
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

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Raw bytes; never empty, `.`, `..`, nor with `/` or NUL.
    pub name: Vec<u8>,
    /// Mode, owner, time, attributes.
    pub meta: Meta,
    /// Group of hard links, where it has more than one name in the tree.
    pub link: Option<HardLink>,
    /// What it is.
    pub node: Node,
}

impl Entry {
    /// Length in bytes of a regular file, else 0.
    pub fn size(&self) -> u64 {
        match self.node {
            Node::File { size, .. } => size,
            _ => 0,
        }
    }

    /// Whether this is a directory.
    pub fn is_dir(&self) -> bool {
        matches!(self.node, Node::Dir { .. })
    }
}
