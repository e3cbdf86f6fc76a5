//! Reads the content of files and the tables of hard links of versions.

use std::collections::HashSet;

use super::frames::ObjectError;
use super::handle::Repo;
use crate::error::{Error, Result};
use crate::format::Malformed;
use crate::format::object::{ListNode, decode_links};
use crate::model::entry::{Content, Extent};
use crate::model::id::{Id, ObjectKind};
use crate::model::tree::{LinkTable, RootInfo};

/// Limit on the depth of a chunk list. Only a forged list is deeper.
const DEPTH_MAX: usize = 64;
/// Limit on the length of a table of hard links in bytes.
const LINKS_MAX: u64 = 1 << 30;

impl Repo {
    /// Iterates over the extents of a file in order; inline content has none.
    pub fn extents<'a>(&'a self, content: &Content) -> Extents<'a> {
        let mut walk = Extents {
            repo: self,
            stack: Vec::new(),
            leaf: Vec::new().into_iter(),
            failed: None,
        };
        match content {
            Content::Inline(_) => {}
            Content::Direct(list) => walk.leaf = list.clone().into_iter(),
            // No parent states the length of the root; `u64::MAX` marks it.
            Content::List(root) => walk.stack.push(vec![(u64::MAX, *root)].into_iter()),
        }
        walk
    }

    /// Iterates over the extents, starting with the one that contains byte `offset`; also returns
    /// the offset of that extent in the file. Reads only the nodes on the path to it.
    pub fn extents_at<'a>(&'a self, content: &Content, offset: u64) -> Result<(u64, Extents<'a>)> {
        let mut walk = self.extents(content);
        let mut start = 0u64;
        loop {
            let before = |len: u64, start: u64| start.saturating_add(len) <= offset;
            let leaf = walk.leaf.as_slice();
            let skip = leaf
                .iter()
                .take_while(|x| {
                    let b = before(x.len, start);
                    if b {
                        start += x.len
                    }
                    b
                })
                .count();
            for _ in 0..skip {
                walk.leaf.next();
            }
            if !walk.leaf.as_slice().is_empty() {
                return Ok((start, walk));
            }
            // Skip the children that end before the offset, then open the next one.
            let Some(level) = walk.stack.last_mut() else {
                return Ok((start, walk));
            };
            let children = level.as_slice();
            // The root has no length in a parent, so it is never skipped.
            let is_root = children.first().is_some_and(|c| c.0 == u64::MAX);
            let skip = if is_root {
                0
            } else {
                children
                    .iter()
                    .take_while(|c| {
                        let b = before(c.0, start);
                        if b {
                            start += c.0
                        }
                        b
                    })
                    .count()
            };
            for _ in 0..skip {
                level.next();
            }
            let Some((_, id)) = level.next() else {
                walk.stack.pop();
                continue;
            };
            // Each level costs memory, and the limit stops a forged list.
            if walk.stack.len() > DEPTH_MAX {
                return Err(malformed(&id, "nested too deeply"));
            }
            match self.list_node(&id)? {
                ListNode::Leaf(extents) => walk.leaf = extents.into_iter(),
                ListNode::Inner(children) => walk.stack.push(children.into_iter()),
            }
        }
    }

    /// Returns the whole content of a small file. Fails if it is longer than `limit` bytes.
    pub fn read_content(&self, content: &Content, limit: u64) -> Result<Vec<u8>> {
        if let Content::Inline(bytes) = content {
            return Ok(bytes.clone());
        }
        let mut out = Vec::new();
        for extent in self.extents(content) {
            let extent = extent?;
            let end = (out.len() as u64).saturating_add(extent.len);
            // The lengths are checked before the bytes are read, so that a forged length allocates
            // nothing.
            if end > limit {
                return Err(Malformed::new("stored content", "longer than the limit").into());
            }
            match extent.chunk {
                Some(id) => out.extend_from_slice(&self.chunk_of(&id, extent.len)?),
                None => out.resize(usize::try_from(end).unwrap_or(usize::MAX), 0),
            }
        }
        Ok(out)
    }

    /// Returns the table of hard links of a version.
    pub fn links(&self, info: &RootInfo) -> Result<LinkTable> {
        match &info.links {
            None => Ok(LinkTable::default()),
            Some(content) => {
                self.ensure_table(content)?;
                Ok(decode_links(&self.read_content(content, LINKS_MAX)?)?)
            }
        }
    }

    /// Fails if a content cannot be a table of hard links. A real table contains no hole and no
    /// chunk twice, because paths are text and groups are hashes. Without this check, a few bytes
    /// could claim a table of any length.
    fn ensure_table(&self, content: &Content) -> Result<()> {
        let mut seen = HashSet::new();
        for extent in self.extents(content) {
            match extent?.chunk {
                Some(id) if seen.insert(id) => {}
                _ => return Err(Malformed::new("link table", "duplicate entries").into()),
            }
        }
        Ok(())
    }
}

/// Iterates over the extents of a content, with one node per level of the chunk list in memory.
pub struct Extents<'a> {
    repo: &'a Repo,
    stack: Vec<std::vec::IntoIter<(u64, Id)>>,
    leaf: std::vec::IntoIter<Extent>,
    failed: Option<()>,
}

impl Iterator for Extents<'_> {
    type Item = Result<Extent>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if self.failed.is_some() {
                return None;
            }
            if let Some(extent) = self.leaf.next() {
                return Some(Ok(extent));
            }
            let Some((len, id)) = self.stack.last_mut()?.next() else {
                self.stack.pop();
                continue;
            };
            match self.repo.list_node(&id) {
                _ if self.stack.len() > DEPTH_MAX => {
                    self.failed = Some(());
                    return Some(Err(malformed(&id, "nested too deeply")));
                }
                Ok(node) => {
                    let sum: u64 = match &node {
                        ListNode::Leaf(extents) => extents.iter().map(|x| x.len).sum(),
                        ListNode::Inner(children) => children.iter().map(|c| c.0).sum(),
                    };
                    // `extents_at` skips nodes by the length in their parent, so both lengths must
                    // agree.
                    if len != u64::MAX && sum != len {
                        self.failed = Some(());
                        return Some(Err(malformed(&id, "wrong length")));
                    }
                    match node {
                        ListNode::Leaf(extents) => self.leaf = extents.into_iter(),
                        ListNode::Inner(children) => self.stack.push(children.into_iter()),
                    }
                }
                Err(e) => {
                    self.failed = Some(());
                    return Some(Err(e));
                }
            }
        }
    }
}

fn malformed(list: &Id, why: &str) -> Error {
    ObjectError::malformed(ObjectKind::List, list, why)
}
