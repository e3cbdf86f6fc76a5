//! Trees, chunk lists and commits by id: the one place that walks them.
//!
//! Objects that were computed but not stored (of `status`, `diff` and dry runs) are answered from memory.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use parking_lot::RwLock;

use super::Repo;
use super::frames::{ObjectError, Plain};
use crate::error::{Kind, Result};
use crate::format::frame::CODEC_DELTA;
use crate::format::object::{ListNode, decode_commit, decode_links, decode_list, decode_tree};
use crate::format::pack::PackKind;
use crate::format::segment::IndexRow;
use crate::index::Index;
use crate::model::commit::Commit;
use crate::model::entry::{Content, Entry, Extent, Node};
use crate::model::id::{Id, ObjectKind};
use crate::model::tree::{LinkTable, RootInfo, TreeBody, TreeNode};

/// No directory or list is nested deeper; a deeper one is a hostile loop.
const DEPTH_MAX: usize = 64;
/// No table of hard links is longer, in bytes.
const LINKS_MAX: u64 = 1 << 30;

/// Plain bytes of objects that are in memory only.
#[derive(Default)]
pub struct Volatile(RwLock<HashMap<Id, Plain>>);

impl Volatile {
    /// Keeps an object for the life of this repository handle.
    pub fn put(&self, id: Id, bytes: Vec<u8>) {
        self.0.write().insert(id, Plain::alone(bytes));
    }

    /// Takes all of them out.
    pub fn take(&self) -> Vec<(Id, Vec<u8>)> {
        let all = std::mem::take(&mut *self.0.write());
        all.into_iter().map(|(id, plain)| (id, plain.to_vec())).collect()
    }

    /// Whether an object is only in memory.
    pub fn has(&self, id: &Id) -> bool {
        self.0.read().contains_key(id)
    }

    fn get(&self, id: &Id) -> Option<Plain> {
        self.0.read().get(id).cloned()
    }
}

impl Repo {
    /// The verified bytes of any object.
    pub fn object(&self, kind: ObjectKind, id: &Id) -> Result<Plain> {
        if kind != ObjectKind::Chunk
            && let Some(plain) = self.volatile.get(id)
        {
            return Ok(plain);
        }
        let index = self.index()?;
        let failed = match self.stored(index, kind, id) {
            Ok(Some(plain)) => return Ok(plain),
            Ok(None) => None,
            // Another process may have moved the object into another pack since the index was opened.
            Err(e) => match self.stored_meanwhile(index, kind, id)? {
                Some(plain) => return Ok(plain),
                None => Some(e),
            },
        };
        let elsewhere = match self.behind() {
            Ok(Some(behind)) => behind.index().and_then(|index| behind.stored(index, kind, id)),
            other => other.map(|_| None),
        };
        if let Ok(Some(plain)) = elsewhere {
            return Ok(plain);
        }
        if let Some(e) = failed {
            return Err(e);
        }
        // What another process stored after this one opened the index is found by a second look.
        if self.refresh_index()?
            && let Some(plain) = self.frames.object(index, kind, id)?
        {
            return Ok(plain);
        }
        Err(elsewhere.err().unwrap_or_else(|| ObjectError::Missing { kind, id: *id }.into()))
    }

    /// The verified bytes of an object whose known copies cannot be read, where the index names others by now. Looking costs
    /// a listing, and a damaged pack may be read often, so the index is looked at once a second.
    fn stored_meanwhile(&self, index: &Index, kind: ObjectKind, id: &Id) -> Result<Option<Plain>> {
        const PAUSE: Duration = Duration::from_secs(1);
        {
            let mut looked = self.looked.lock();
            if looked.is_none_or(|at| at.elapsed() >= PAUSE) {
                self.refresh_index()?;
                *looked = Some(Instant::now());
            }
        }
        // Another thread may have looked meanwhile; a copy that is still damaged is not news.
        Ok(self.frames.object(index, kind, id).unwrap_or_default())
    }

    /// The verified bytes of an object that the index knows. What is damaged in the cache is fetched once more.
    fn stored(&self, index: &Index, kind: ObjectKind, id: &Id) -> Result<Option<Plain>> {
        match (self.frames.object(index, kind, id), self.remote_store()) {
            (Err(e), Some(far)) if e.kind() == Kind::Integrity => {
                for row in index.lookup_all(PackKind::of(kind), id)? {
                    far.forget(&super::layout::pack(&row.place.pack));
                    row.base.iter().for_each(|base| far.forget(&super::layout::pack(&base.pack)));
                }
                self.frames.object(index, kind, id)
            }
            (found, _) => found,
        }
    }

    /// Whether an object is stored here.
    pub fn has(&self, kind: ObjectKind, id: &Id) -> Result<bool> {
        Ok(self.index()?.lookup(PackKind::of(kind), id)?.is_some())
    }

    /// The verified bytes of one copy of an object.
    pub fn object_at(&self, kind: ObjectKind, row: &IndexRow) -> Result<Plain> {
        self.frames.at(self.index()?, kind, row)
    }

    /// The verified bytes of an object that another index than the repository's places.
    pub fn object_by(&self, index: &Index, kind: ObjectKind, id: &Id) -> Result<Option<Plain>> {
        self.frames.object(index, kind, id)
    }

    /// The verified bytes of a chunk.
    pub fn chunk(&self, id: &Id) -> Result<Plain> {
        self.object(ObjectKind::Chunk, id)
    }

    /// Whether chunks were read in the order in which they were stored, so that [`Self::bring_ahead`] has something to do.
    pub fn has_ahead(&self) -> bool {
        self.frames.has_ahead()
    }

    /// Decompresses what is stored behind the chunks that were read last.
    pub fn bring_ahead(&self) {
        self.frames.bring();
    }

    /// Where a chunk is stored whole: itself, or, if it is stored as a delta only, its base. What new deltas go against.
    pub fn whole_base(&self, id: &Id) -> Result<Option<IndexRow>> {
        let index = self.index()?;
        let copies = index.lookup_all(PackKind::Data, id)?;
        for whole in copies.iter().filter(|r| r.place.codec != CODEC_DELTA) {
            if self.is_there(whole)? {
                return Ok(Some(*whole));
            }
        }
        let Some(delta) = copies.first() else { return Ok(None) };
        if !self.is_there(delta)? {
            return Ok(None);
        }
        let Some(base) = self.frames.base_id(delta)? else { return Ok(None) };
        let bases = index.lookup_all(PackKind::Data, &base)?;
        Ok(bases.into_iter().find(|r| r.place.codec != CODEC_DELTA && self.is_there(r).unwrap_or(false)))
    }

    /// One stored node of a directory.
    pub fn tree_node(&self, id: &Id) -> Result<TreeNode> {
        Ok(decode_tree(&self.object(ObjectKind::Tree, id)?)?)
    }

    /// All entries of a directory, sorted by name.
    pub fn entries(&self, tree: &Id) -> Result<Vec<Entry>> {
        self.names(tree)?.all()
    }

    /// The root of a version: its own metadata and all its entries.
    pub fn root(&self, tree: &Id) -> Result<(RootInfo, Vec<Entry>)> {
        let (info, names) = self.root_names(tree)?;
        Ok((info, names.all()?))
    }

    /// The root's own metadata.
    pub fn root_info(&self, tree: &Id) -> Result<RootInfo> {
        let info = self.tree_node(tree)?.root;
        info.ok_or_else(|| self.malformed(ObjectKind::Tree, tree, "it is not the root of a version"))
    }

    /// The base that a stored delta names.
    pub fn delta_base(&self, row: &IndexRow) -> Result<Option<Id>> {
        self.frames.base_id(row)
    }

    /// One entry of a directory by name, reading only the nodes on the way to it.
    pub fn entry(&self, tree: &Id, name: &[u8]) -> Result<Option<Entry>> {
        let mut node = self.tree_node(tree)?;
        for _ in 0..DEPTH_MAX {
            match node.body {
                TreeBody::Leaf(mut entries) => {
                    let found = entries.binary_search_by(|e| e.name.as_slice().cmp(name));
                    return Ok(found.ok().map(|at| entries.swap_remove(at)));
                }
                TreeBody::Inner(children) => {
                    let after = children.partition_point(|c| c.first.as_slice() <= name);
                    let Some(child) = after.checked_sub(1).and_then(|at| children.get(at)) else { return Ok(None) };
                    node = self.tree_node(&child.id)?;
                }
            }
        }
        Err(self.malformed(ObjectKind::Tree, tree, "it is nested too deeply"))
    }

    /// The entry at a path below a tree; `None` where there is none. The root itself has no entry.
    pub fn find(&self, tree: &Id, path: &[Vec<u8>]) -> Result<Option<Entry>> {
        let mut dir = *tree;
        let mut names = path.iter().peekable();
        while let Some(name) = names.next() {
            let Some(entry) = self.entry(&dir, name)? else { return Ok(None) };
            if names.peek().is_none() {
                return Ok(Some(entry));
            }
            let Node::Dir { tree, .. } = entry.node else { return Ok(None) };
            dir = tree;
        }
        Ok(None)
    }

    /// A version.
    pub fn commit(&self, id: &Id) -> Result<Commit> {
        Ok(decode_commit(&self.object(ObjectKind::Commit, id)?)?)
    }

    /// One node of a chunk list.
    pub fn list_node(&self, id: &Id) -> Result<ListNode> {
        Ok(decode_list(&self.object(ObjectKind::List, id)?)?)
    }

    /// The extents of a file in order; inline content has none.
    pub fn extents<'a>(&'a self, content: &Content) -> Extents<'a> {
        let mut walk = Extents { repo: self, stack: Vec::new(), leaf: Vec::new().into_iter(), failed: None };
        match content {
            Content::Inline(_) => {}
            Content::Direct(list) => walk.leaf = list.clone().into_iter(),
            Content::List(root) => walk.stack.push(vec![(u64::MAX, *root)].into_iter()),
        }
        walk
    }

    /// The extents from the one that holds byte `offset` on, and where that one begins; reads only the nodes on the
    /// way to it.
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
            // Skip whole children, then open the one that holds the offset.
            let Some(level) = walk.stack.last_mut() else { return Ok((start, walk)) };
            let children = level.as_slice();
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
            if walk.stack.len() > DEPTH_MAX {
                return Err(self.malformed(ObjectKind::List, &id, "it is nested too deeply"));
            }
            match self.list_node(&id)? {
                ListNode::Leaf(extents) => walk.leaf = extents.into_iter(),
                ListNode::Inner(children) => walk.stack.push(children.into_iter()),
            }
        }
    }

    /// A whole small file in memory; `limit` bounds its size in bytes.
    pub fn read_content(&self, content: &Content, limit: u64) -> Result<Vec<u8>> {
        if let Content::Inline(bytes) = content {
            return Ok(bytes.clone());
        }
        let mut out = Vec::new();
        for extent in self.extents(content) {
            let extent = extent?;
            let end = (out.len() as u64).saturating_add(extent.len);
            if end > limit {
                return Err(crate::format::Malformed::new("stored content", "it is longer than it may be").into());
            }
            match extent.chunk {
                Some(id) => out.extend_from_slice(&self.chunk_of(&id, extent.len)?),
                None => out.resize(usize::try_from(end).unwrap_or(usize::MAX), 0),
            }
        }
        Ok(out)
    }

    /// A chunk that must be `len` bytes long, as its extent says.
    pub fn chunk_of(&self, id: &Id, len: u64) -> Result<Plain> {
        let plain = self.chunk(id)?;
        if plain.len() as u64 == len {
            Ok(plain)
        } else {
            Err(self.malformed(ObjectKind::Chunk, id, "its length differs"))
        }
    }

    /// The table of hard links of a version.
    pub fn links(&self, info: &RootInfo) -> Result<LinkTable> {
        match &info.links {
            None => Ok(LinkTable::default()),
            Some(content) => {
                self.ensure_table(content)?;
                Ok(decode_links(&self.read_content(content, LINKS_MAX)?)?)
            }
        }
    }

    /// Fails if a content cannot be a table of hard links: no part of one is a hole or comes twice, because paths are
    /// text and groups are hashes. Otherwise a few bytes could claim a table of any length.
    fn ensure_table(&self, content: &Content) -> Result<()> {
        let mut seen = HashSet::new();
        for extent in self.extents(content) {
            match extent?.chunk {
                Some(id) if seen.insert(id) => {}
                _ => return Err(crate::format::Malformed::new("link table", "it repeats itself").into()),
            }
        }
        Ok(())
    }

    fn malformed(&self, kind: ObjectKind, id: &Id, why: &str) -> crate::error::Error {
        ObjectError::Malformed { kind, id: *id, why: why.to_owned() }.into()
    }
}

/// Walks a chunk list, holding one node of each level.
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
                    return Some(Err(self.repo.malformed(ObjectKind::List, &id, "it is nested too deeply")));
                }
                Ok(node) => {
                    let sum: u64 = match &node {
                        ListNode::Leaf(extents) => extents.iter().map(|x| x.len).sum(),
                        ListNode::Inner(children) => children.iter().map(|c| c.0).sum(),
                    };
                    if len != u64::MAX && sum != len {
                        self.failed = Some(());
                        return Some(Err(self.repo.malformed(ObjectKind::List, &id, "its length differs")));
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
