//! A difference that a patch removes.

use crate::model::entry::Entry;

/// A difference between the worktree and a version.
#[derive(Clone, Debug)]
pub struct Change {
    /// Path relative to the worktree.
    pub path: Vec<u8>,
    /// The entry in the worktree.
    pub old: Option<Entry>,
    /// The entry in the version. A directory that the worktree lacks includes everything below it.
    pub new: Option<Entry>,
    /// Whether the content of `old` was verified in the worktree. If not, only the type of the
    /// entry is known.
    pub sure: bool,
}
