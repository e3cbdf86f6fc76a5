//! Builds the content of a file from its extents: a short list, or a tree of list nodes.
//!
//! The ids of chunks determine where nodes end, so that a change rewrites one node per level. The
//! division depends only on the extents; the limits are constants of the format.

use crate::error::Result;
use crate::format::object::{ListNode, encode_list};
use crate::model::entry::{Content, Extent};
use crate::model::id::{Id, ObjectKind};

use crate::snapshot::output::Output;

/// Limit on the extents that are stored in the entry itself.
pub const DIRECT_MAX: usize = 16;
/// Minimum number of items of a node, except the last one.
const NODE_MIN: usize = 64;
/// Maximum number of items of a node.
const NODE_MAX: usize = 1024;
/// A node ends after an id whose last byte is zero under this mask, which is on average 256 items
/// after the minimum.
const NODE_MASK: u8 = 0xff;

/// Receives extents in order and returns the content.
#[derive(Default)]
pub struct ListBuilder {
    leaf: Vec<Extent>,
    /// For each level from the leaves up, the nodes that have no parent yet.
    levels: Vec<Vec<(u64, Id)>>,
}

impl ListBuilder {
    /// Appends an extent; adjacent holes are joined.
    pub fn push(&mut self, extent: Extent, out: &Output<'_>) -> Result<()> {
        if let (Some(last), None) = (self.leaf.last_mut(), extent.chunk)
            && last.chunk.is_none()
        {
            last.len += extent.len;
            return Ok(());
        }
        // The leaf is closed before the next extent and not after the last one, so that a growing
        // hole is never split.
        if self.leaf.len() > DIRECT_MAX
            && ends_node(
                self.leaf.len(),
                self.leaf.last().and_then(|x| x.chunk.as_ref()),
            )
        {
            self.close_leaf(out)?;
        }
        self.leaf.push(extent);
        Ok(())
    }

    /// Appends a leaf (length and id) of an older list unchanged. Returns false if its extents must
    /// be appended instead. The leaf must not be the last one of its list, and the next extents
    /// must be those that followed it there.
    pub(in crate::snapshot) fn push_leaf(
        &mut self,
        leaf: (u64, Id),
        out: &Output<'_>,
    ) -> Result<bool> {
        if let Some(last) = self.leaf.last() {
            // The hole might continue in the leaf.
            if last.chunk.is_none() || !ends_node(self.leaf.len(), last.chunk.as_ref()) {
                return Ok(false);
            }
            self.close_leaf(out)?;
        }
        self.add(0, leaf, out)?;
        Ok(true)
    }

    /// Returns the content of the whole file.
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
    let id = out.store_object(
        ObjectKind::List,
        encode_list(&ListNode::Inner(nodes.to_vec())),
    )?;
    Ok((len, id))
}
