//! A version: one tree, its parents, who made it, when, and why.

use super::id::Id;

/// An instant with the offset of the clock that it was read from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp {
    /// Seconds since 1970.
    pub secs: i64,
    /// Nanoseconds 0..1e9.
    pub nanos: u32,
    /// Offset from UTC in seconds, -86,399..=86,399.
    pub offset: i32,
}

/// What a version counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Nodes that are not directories.
    pub files: u64,
    /// Bytes of all regular files.
    pub bytes: u64,
    /// Bytes of chunks that were new to the repository.
    pub new_bytes: u64,
    /// Bytes that those take in packs.
    pub stored_bytes: u64,
}

/// One version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// The root tree.
    pub tree: Id,
    /// First the version before on the branch.
    pub parents: Vec<Id>,
    /// Number on its branch, counted along first parents from 1.
    pub ordinal: u64,
    /// `Name <mail>`.
    pub author: String,
    /// The machine that made it.
    pub host: String,
    /// When it was made.
    pub time: Timestamp,
    /// Free text.
    pub message: String,
    /// `Key: value` pairs in order.
    pub trailers: Vec<(String, String)>,
    /// Its sizes.
    pub counts: Counts,
    /// Paths that were unreadable or changed while they were read, at most 1,000, sorted.
    pub unstable: Vec<Vec<u8>>,
    /// Reserved: a signature over the rest.
    pub signature: Option<Vec<u8>>,
}

impl Commit {
    /// The first line of the message.
    pub fn subject(&self) -> &str {
        self.message.lines().next().unwrap_or("")
    }
}
