//! A stored directory: one tree object, or a search tree of tree objects if the directory is large.

use super::entry::{Content, Entry, Meta, Totals};
use super::id::Id;

/// One tree object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeNode {
    /// Present only in the root object of a commit.
    pub root: Option<RootInfo>,
    pub body: TreeBody,
}

/// The parts that only the root directory of a commit has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootInfo {
    /// Metadata of the root directory itself.
    pub meta: Meta,
    pub totals: Totals,
    /// The encoded [`LinkTable`], stored like the content of a file.
    pub links: Option<Content>,
}

/// The content of a tree object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TreeBody {
    /// Entries sorted by name, without duplicates.
    Leaf(Vec<Entry>),
    /// Children sorted by `first`.
    Inner(Vec<TreeChild>),
}

/// A child of an inner tree object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TreeChild {
    /// The smallest name below the child.
    pub first: Vec<u8>,
    pub id: Id,
}

/// All groups of hard links of a commit: the id of each group with its sorted member paths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkTable(pub Vec<([u8; 16], Vec<Vec<u8>>)>);
