//! Stores a directory: one object, or a search tree of objects if the directory is large.
//!
//! The hashes of names determine where leaves end, so that an additional name rewrites one leaf and
//! the nodes above it. The limits are constants of the format.

use crate::codec::hash::checksum;
use crate::error::Result;
use crate::format::object::{encode_entry, encode_tree};
use crate::model::entry::Entry;
use crate::model::id::{Id, ObjectKind};
use crate::model::tree::{RootInfo, TreeBody, TreeChild, TreeNode};

use super::output::Output;

/// Limit on the names of a directory that is stored as one object. If an entry has xattrs,
/// [`LEAF_BYTES`] is a limit too.
const WHOLE_MAX: usize = 512;
/// Minimum number of names of a leaf, except the last one.
const LEAF_MIN: usize = 64;
/// Maximum number of names of a leaf.
const LEAF_MAX: usize = 1024;
/// Length in bytes at which a leaf ends after the current entry.
const LEAF_BYTES: usize = 1 << 20;

/// Stores a directory of sorted `entries`; `root` makes it the root of a version.
pub fn store_tree(entries: Vec<Entry>, root: Option<RootInfo>, out: &Output<'_>) -> Result<Id> {
    let store = |node: &TreeNode| out.store_object(ObjectKind::Tree, encode_tree(node));
    // The length counts only if there are xattrs (docs/format.md), so most directories are not
    // encoded twice.
    let small = entries.len() <= WHOLE_MAX && entries.iter().all(|e| e.meta.xattrs.is_empty());
    if small || (entries.len() <= WHOLE_MAX && encoded(&entries) <= LEAF_BYTES) {
        return store(&TreeNode {
            root,
            body: TreeBody::Leaf(entries),
        });
    }
    let mut children = Vec::new();
    let mut leaf: Vec<Entry> = Vec::new();
    let mut bytes = 0;
    for entry in entries {
        let ends = |l: &Entry| {
            leaf.len() >= LEAF_MAX
                || bytes >= LEAF_BYTES
                || (leaf.len() >= LEAF_MIN && is_edge(&l.name, 0))
        };
        if leaf.last().is_some_and(ends) {
            children.push(store_leaf(std::mem::take(&mut leaf), out)?);
            bytes = 0;
        }
        bytes += encode_entry(&entry).len();
        leaf.push(entry);
    }
    children.push(store_leaf(leaf, out)?);
    let mut level = 1;
    // Adds levels until one node can have all children.
    while children.len() > WHOLE_MAX {
        let mut above = Vec::new();
        let mut group: Vec<TreeChild> = Vec::new();
        for child in children {
            let full = group.len() >= LEAF_MAX
                || (group.len() >= LEAF_MIN && is_edge(&child.first, level));
            if full {
                above.push(store_inner(std::mem::take(&mut group), out)?);
            }
            group.push(child);
        }
        above.push(store_inner(group, out)?);
        children = above;
        level += 1;
    }
    store(&TreeNode {
        root,
        body: TreeBody::Inner(children),
    })
}

fn encoded(entries: &[Entry]) -> usize {
    entries.iter().map(|e| encode_entry(e).len()).sum()
}

fn is_edge(name: &[u8], level: u8) -> bool {
    // One name in 256 meets this condition. The level is hashed, too, so that the levels end at
    // different names.
    checksum(&[&[level], name])[0] == 0
}

fn store_leaf(entries: Vec<Entry>, out: &Output<'_>) -> Result<TreeChild> {
    let first = entries.first().map(|e| e.name.clone()).unwrap_or_default();
    let node = TreeNode {
        root: None,
        body: TreeBody::Leaf(entries),
    };
    Ok(TreeChild {
        first,
        id: out.store_object(ObjectKind::Tree, encode_tree(&node))?,
    })
}

fn store_inner(children: Vec<TreeChild>, out: &Output<'_>) -> Result<TreeChild> {
    let first = children
        .first()
        .map(|c| c.first.clone())
        .unwrap_or_default();
    let node = TreeNode {
        root: None,
        body: TreeBody::Inner(children),
    };
    Ok(TreeChild {
        first,
        id: out.store_object(ObjectKind::Tree, encode_tree(&node))?,
    })
}
