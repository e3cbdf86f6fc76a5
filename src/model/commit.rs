//! A commit: one tree with its parents, author, time and message.

use super::id::Id;

/// An instant, with the UTC offset of the clock that it was read from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp {
    /// Seconds since 1970-01-01 UTC.
    pub secs: i64,
    /// 0 to 999,999,999.
    pub nanos: u32,
    /// Seconds east of UTC, -86,399 to 86,399.
    pub offset: i32,
}

/// Sizes of a commit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CommitCounts {
    /// Entries that are not directories.
    pub files: u64,
    /// Total length of all regular files.
    pub bytes: u64,
    /// Uncompressed bytes of the chunks that were new to the repository.
    pub new_bytes: u64,
    /// Bytes that the new chunks take in packs.
    pub stored_bytes: u64,
}

/// A commit object, which users see as a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    pub tree: Id,
    /// The first parent is the previous commit of the branch.
    pub parents: Vec<Id>,
    /// Number of the commit on its branch, counted along first parents from 1.
    pub ordinal: u64,
    /// `Name <email>`.
    pub author: String,
    /// Name of the machine that created the commit.
    pub host: String,
    pub time: Timestamp,
    pub message: String,
    /// `Key: value` pairs in the given order.
    pub trailers: Vec<(String, String)>,
    pub counts: CommitCounts,
    /// Sorted paths of files that were unreadable or changed while they were read, at most 1,000.
    pub unstable: Vec<Vec<u8>>,
    /// Reserved for a signature of all other fields.
    pub signature: Option<Vec<u8>>,
}

impl Commit {
    /// Returns the first line of the message.
    pub fn subject(&self) -> &str {
        self.message.lines().next().unwrap_or("")
    }
}
