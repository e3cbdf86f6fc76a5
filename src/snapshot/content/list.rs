//! Building a file's content from its extents, in order: a short list, or a tree of list nodes.
//!
//! Nodes are cut where a chunk's id says so, so that a change rewrites one node of each level. Where they are cut
//! depends on the extents alone; the limits are constants of the format.

use crate::error::Result;
use crate::format::object::{ListNode, encode_list};
use crate::model::entry::{Content, Extent};
use crate::model::id::{Id, ObjectKind};

use crate::snapshot::output::Output;

/// Up to so many extents stand in the entry itself.
pub const DIRECT_MAX: usize = 16;
/// A node has at least so many items, but the last.
const NODE_MIN: usize = 64;
/// A node has at most so many items.
const NODE_MAX: usize = 1024;
/// A node ends after an id whose last byte is a multiple of this: 256 items on average beyond the least.
const NODE_MASK: u8 = 0xff;

/// Takes extents in order and gives the content.
#[derive(Default)]
pub struct ListBuilder {
    leaf: Vec<Extent>,
    /// Nodes of each level above the leaves that are not yet in a node.
    levels: Vec<Vec<(u64, Id)>>,
}

impl ListBuilder {
    /// The next extent; holes that touch become one.
    pub fn push(&mut self, extent: Extent, out: &Output<'_>) -> Result<()> {
        if let (Some(last), None) = (self.leaf.last_mut(), extent.chunk)
            && last.chunk.is_none()
        {
            last.len += extent.len;
            return Ok(());
        }
        // Cut before the next extent comes, not after one, so that a growing hole is never split.
        if self.leaf.len() > DIRECT_MAX && ends_node(self.leaf.len(), self.leaf.last().and_then(|x| x.chunk.as_ref())) {
            self.close_leaf(out)?;
        }
        self.leaf.push(extent);
        Ok(())
    }

    /// Takes a leaf of an older list as it is, its length and id; false if its extents must be pushed instead. The
    /// leaf must not be the last one of its list, and what comes next must be what came after it there.
    pub(in crate::snapshot) fn push_leaf(&mut self, leaf: (u64, Id), out: &Output<'_>) -> Result<bool> {
        if let Some(last) = self.leaf.last() {
            // A hole might go on in the leaf.
            if last.chunk.is_none() || !ends_node(self.leaf.len(), last.chunk.as_ref()) {
                return Ok(false);
            }
            self.close_leaf(out)?;
        }
        self.add(0, leaf, out)?;
        Ok(true)
    }

    /// The content of the whole file.
    pub fn finish(mut self, out: &Output<'_>) -> Result<Content> {
        if self.levels.is_empty() && self.leaf.len() <= DIRECT_MAX {
            return Ok(Content::Direct(self.leaf));
        }
        self.close_leaf(out)?;
        let mut level = 0;
        loop {
            let nodes = std::mem::take(&mut self.levels[level]);
            if level + 1 == self.levels.len() && nodes.len() == 1 {
                return Ok(Content::List(nodes[0].1));
            }
            if !nodes.is_empty() {
                let node = store_inner(&nodes, out)?;
                self.add(level + 1, node, out)?;
            }
            level += 1;
        }
    }

    fn close_leaf(&mut self, out: &Output<'_>) -> Result<()> {
        let extents = std::mem::take(&mut self.leaf);
        let len = extents.iter().map(|x| x.len).sum();
        let id = out.store_object(ObjectKind::List, encode_list(&ListNode::Leaf(extents)))?;
        self.add(0, (len, id), out)
    }

    fn add(&mut self, level: usize, node: (u64, Id), out: &Output<'_>) -> Result<()> {
        if self.levels.len() <= level {
            self.levels.resize(level + 1, Vec::new());
        }
        let nodes = &mut self.levels[level];
        let full = nodes.len() > 1 && ends_node(nodes.len(), nodes.last().map(|n| &n.1));
        if full {
            let done = std::mem::take(nodes);
            let above = store_inner(&done, out)?;
            self.add(level + 1, above, out)?;
        }
        self.levels[level].push(node);
        Ok(())
    }
}

fn ends_node(len: usize, last: Option<&Id>) -> bool {
    len >= NODE_MAX || (len >= NODE_MIN && last.is_some_and(|id| id.0[31] & NODE_MASK == 0))
}

fn store_inner(nodes: &[(u64, Id)], out: &Output<'_>) -> Result<(u64, Id)> {
    let len = nodes.iter().map(|n| n.0).sum();
    let id = out.store_object(ObjectKind::List, encode_list(&ListNode::Inner(nodes.to_vec())))?;
    Ok((len, id))
}
