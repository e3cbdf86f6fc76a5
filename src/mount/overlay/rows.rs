//! Rows that a flush writes to the overlay database, and the state that a mount loads from it.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use crate::mount::file::FileSeal;
use crate::mount::names::{EntryName, Inode, UpperTree};

/// Fact: the last mount ended cleanly.
pub(super) const CLEAN: &str = "clean";
/// Value of a fact that is true.
pub(super) const YES: &[u8] = b"yes";
/// Fact: reserved inode numbers, see [`UpperTree::retired`].
pub const RETIRED: &str = "retired";
/// Fact: assigned inode numbers in pairs, see [`UpperTree::assigned`].
pub const GIVEN: &str = "given";

/// The new state of an inode.
pub struct InodeChange {
    /// Inode number.
    pub ino: u64,
    /// The inode, or `None` if it was removed.
    pub inode: Option<Arc<Inode>>,
    /// Whether the inode differs from the last commit.
    pub changed: bool,
}

impl InodeChange {
    /// Returns the new state of an inode that exists.
    pub fn new(ino: u64, inode: &Arc<Inode>, changed: bool) -> Self {
        Self {
            ino,
            inode: Some(Arc::clone(inode)),
            changed,
        }
    }
}

/// The new state of a name.
pub struct NameChange {
    pub name: EntryName,
    /// The meaning of the name.
    pub target: NameTarget,
}

/// The meaning of a name in an upper tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameTarget {
    /// The name is as in the version.
    Version,
    /// The name of the version was removed.
    Removed,
    /// The name leads to this inode.
    Inode(u64),
}

/// Written blocks of a file, which are durable in its upper file.
pub struct BlockChange {
    /// Inode number.
    pub ino: u64,
    /// Ranges of blocks.
    pub ranges: Vec<Range<u64>>,
}

/// A new seal of an upper file.
pub struct SealChange {
    /// Inode number.
    pub ino: u64,
    pub seal: FileSeal,
}

/// A fact about the overlay: a row of the table `meta`.
#[derive(Clone, Debug)]
pub struct Fact {
    pub key: &'static str,
    pub value: Vec<u8>,
}

impl Fact {
    pub fn new(key: &'static str, value: impl Into<Vec<u8>>) -> Self {
        Self {
            key,
            value: value.into(),
        }
    }
}

/// The rows of one transaction.
#[derive(Default)]
pub struct FlushRows {
    /// Changed inodes.
    pub inodes: Vec<InodeChange>,
    /// Changed names.
    pub names: Vec<NameChange>,
    /// Written blocks.
    pub blocks: Vec<BlockChange>,
    /// Files whose recorded blocks are replaced by `blocks`.
    pub replaced_blocks: Vec<u64>,
    /// Files that lose their seal.
    pub unsealed: Vec<u64>,
    /// New seals.
    pub seals: Vec<SealChange>,
    /// Changed facts.
    pub facts: Vec<Fact>,
}

impl FlushRows {
    /// Returns whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        let rows = self.inodes.is_empty() && self.names.is_empty() && self.blocks.is_empty();
        rows && self.facts.is_empty() && self.unsealed.is_empty() && self.seals.is_empty()
    }
}

/// The state that the last mount has stored.
pub struct LoadedOverlay {
    /// Inodes and names.
    pub upper: UpperTree,
    /// Inodes that differ from the last commit.
    pub changed: HashSet<u64>,
    /// Files whose rows are outdated, for example because the files were written shortly before a
    /// crash.
    pub outdated: Vec<u64>,
    /// Messages for the log about data that could not be loaded.
    pub lost: Vec<String>,
    /// Files whose seals do not match and have to be removed.
    pub unsealed: Vec<u64>,
}
