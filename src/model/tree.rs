//! A directory as stored: one object, or a search tree of objects where it is large.

use super::entry::{Content, Entry, Meta, Totals};
use super::id::Id;

/// One stored node of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeNode {
    /// Only in the root object of a version.
    pub root: Option<RootInfo>,
    /// What it holds.
    pub body: TreeBody,
}

/// What only the root of a version has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootInfo {
    /// The root directory's own metadata.
    pub meta: Meta,
    /// Sums over the whole tree.
    pub totals: Totals,
    /// The table of hard links ([`LinkTable`] encoded), stored like a file.
    pub links: Option<Content>,
}

/// The names of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TreeBody {
    /// Entries, sorted by name, no name twice.
    Leaf(Vec<Entry>),
    /// Children in order.
    Inner(Vec<TreeChild>),
}

/// A child of an inner node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeChild {
    /// The smallest name below the child.
    pub first: Vec<u8>,
    /// The child's object.
    pub id: Id,
}

/// All groups of hard links of a version: group, member paths sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkTable(pub Vec<([u8; 16], Vec<Vec<u8>>)>);
