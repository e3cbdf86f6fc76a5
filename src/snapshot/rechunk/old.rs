//! Looks up the extents of the previous version of a file by offset.
//!
//! The path to one leaf of the chunk list is kept, so that lookups near the last offset are cheap.
//! A leaf is read only when one of its extents is needed.

use crate::error::Result;
use crate::format::Malformed;
use crate::format::object::ListNode;
use crate::model::entry::{Content, Extent};
use crate::model::id::Id;
use crate::repo::Repo;

/// Limit on the depth of a list; only a forged list can be deeper.
const DEPTH_MAX: usize = 64;

/// Finds old extents.
#[derive(Clone)]
pub(super) struct OldMap<'a> {
    repo: &'a Repo,
    /// Inner nodes from the root to the parents of leaves; all paths have the same length.
    path: Vec<Items<Id>>,
    height: usize,
    leaf: Items<Option<Id>>,
}

/// A leaf of the list, or the whole list if it has no inner nodes.
#[derive(Clone, Copy)]
pub(super) struct LeafPlace {
    /// Start offset in the file.
    pub(super) start: u64,
    /// End offset in the file.
    pub(super) end: u64,
    /// Id of the node; `None` if the list is one leaf, or is stored in the entry itself.
    pub(super) id: Option<Id>,
}

#[derive(Clone, Default)]
struct Items<T> {
    start: u64,
    /// End offset of each item.
    ends: Vec<u64>,
    items: Vec<T>,
}

impl<T: Copy> Items<T> {
    fn new(start: u64, items: impl Iterator<Item = (u64, T)>) -> Self {
        let mut new = Self {
            start,
            ends: Vec::new(),
            items: Vec::new(),
        };
        for (len, item) in items {
            new.ends.push(new.end().saturating_add(len));
            new.items.push(item);
        }
        new
    }

    fn end(&self) -> u64 {
        self.ends.last().copied().unwrap_or(self.start)
    }

    /// Returns the start, the end and the item at `offset`.
    fn at(&self, offset: u64) -> Option<(u64, u64, T)> {
        if offset < self.start {
            return None;
        }
        let i = self.ends.partition_point(|end| *end <= offset);
        let start = i
            .checked_sub(1)
            .map_or(self.start, |before| self.ends[before]);
        Some((start, *self.ends.get(i)?, self.items[i]))
    }
}

fn leaf_items(start: u64, extents: &[Extent]) -> Items<Option<Id>> {
    Items::new(start, extents.iter().map(|x| (x.len, x.chunk)))
}

impl<'a> OldMap<'a> {
    /// Opens the extents of `content`, which must not be inline.
    pub(super) fn new(repo: &'a Repo, content: &Content) -> Result<Self> {
        let mut map = Self {
            repo,
            path: Vec::new(),
            height: 0,
            leaf: Items::default(),
        };
        match content {
            Content::Inline(_) => {}
            Content::Direct(extents) => map.leaf = leaf_items(0, extents),
            Content::List(root) => {
                let mut id = *root;
                loop {
                    match repo.list_node(&id)? {
                        ListNode::Leaf(extents) => {
                            map.leaf = leaf_items(0, &extents);
                            break;
                        }
                        ListNode::Inner(children) => {
                            id = children.first().ok_or_else(uneven)?.1;
                            map.path.push(Items::new(0, children.into_iter()));
                        }
                    }
                    if map.path.len() > DEPTH_MAX {
                        return Err(Malformed::new("stored list", "nested too deeply").into());
                    }
                }
                map.height = map.path.len();
            }
        }
        Ok(map)
    }

    /// Returns the extent that contains `offset` and its start offset, or `None` after the last
    /// one.
    pub(super) fn at(&mut self, offset: u64) -> Result<Option<(u64, Extent)>> {
        if self.leaf.at(offset).is_none()
            && let Some(LeafPlace {
                start,
                end,
                id: Some(id),
            }) = self.leaf_at(offset)?
        {
            let ListNode::Leaf(extents) = self.repo.list_node(&id)? else {
                return Err(uneven());
            };
            self.leaf = leaf_items(start, &extents);
            // A node whose length differs from that in its parent would shift all later offsets.
            if self.leaf.end() != end {
                return Err(uneven());
            }
        }
        Ok(self.leaf.at(offset).map(|(start, end, chunk)| {
            (
                start,
                Extent {
                    len: end - start,
                    chunk,
                },
            )
        }))
    }

    /// Returns the leaf that contains `offset` without reading it.
    pub(super) fn leaf_at(&mut self, offset: u64) -> Result<Option<LeafPlace>> {
        if self.height == 0 {
            let (start, end) = (self.leaf.start, self.leaf.end());
            return Ok((offset < end).then_some(LeafPlace {
                start,
                end,
                id: None,
            }));
        }
        // Leaves the nodes that do not contain the offset.
        while self.path.len() > 1
            && self
                .path
                .last()
                .is_some_and(|level| level.at(offset).is_none())
        {
            self.path.pop();
        }
        loop {
            let Some((start, end, id)) = self.path.last().and_then(|level| level.at(offset)) else {
                return Ok(None);
            };
            // All paths have the same length, so the children of this node are leaves.
            if self.path.len() == self.height {
                return Ok(Some(LeafPlace {
                    start,
                    end,
                    id: Some(id),
                }));
            }
            let ListNode::Inner(children) = self.repo.list_node(&id)? else {
                return Err(uneven());
            };
            let level = Items::new(start, children.into_iter());
            if level.end() != end {
                return Err(uneven());
            }
            self.path.push(level);
        }
    }
}

fn uneven() -> crate::error::Error {
    Malformed::new("stored list", "inconsistent nodes").into()
}
