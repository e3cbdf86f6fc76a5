//! The immutable side of a mount: directories and file bytes of a version, by id, with what was decoded kept.
//!
//! Usable from many threads. Nothing here knows what was written; whoever asks may have to wait for a network.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::error::Result;
use crate::format::object::ListNode;
use crate::model::entry::{Content, Entry, Extent};
use crate::model::id::Id;
use crate::model::path::is_reserved;
use crate::repo::Repo;

/// Directory entries that are kept decoded; one takes some 300 bytes.
const ENTRIES_MAX: usize = 50_000;
/// Extents of chunk lists that are kept decoded; one takes 48 bytes.
const EXTENTS_MAX: usize = 400_000;
/// Nodes of a chunk list that are read at most to find its holes: some 30 GiB of a file.
const NODES_MAX: usize = 2048;
/// Chunk lists of which it is remembered how much data they have.
const ALLOCATED_MAX: usize = 1 << 16;
/// No chunk list is deeper.
const DEPTH_MAX: usize = 64;

/// A directory of a version.
pub struct Directory {
    entries: Vec<Entry>,
    /// How many of them are directories.
    pub subdirs: u32,
}

/// One that is shared.
pub type Dir = Arc<Directory>;

impl std::ops::Deref for Directory {
    type Target = [Entry];

    /// Its entries, sorted by name.
    fn deref(&self) -> &[Entry] {
        &self.entries
    }
}

/// The repository behind a mount.
pub struct Lower {
    repo: Repo,
    /// Whether reading may take a network.
    far: bool,
    dirs: Mutex<Kept<Directory>>,
    lists: Mutex<Kept<Spans>>,
    /// Bytes of data of chunk lists.
    allocated: Mutex<HashMap<Id, u64>>,
}

/// A node of a chunk list with the ends of its items, counted from its own start.
struct Spans {
    ends: Vec<u64>,
    items: Items,
}

enum Items {
    Leaf(Vec<Extent>),
    Inner(Vec<Id>),
}

/// Decoded objects, the oldest dropped first, but never one that is in use.
struct Kept<T> {
    map: HashMap<Id, (Arc<T>, usize)>,
    order: VecDeque<Id>,
    weight: usize,
    limit: usize,
}

impl<T> Kept<T> {
    fn new(limit: usize) -> Mutex<Self> {
        Mutex::new(Self { map: HashMap::new(), order: VecDeque::new(), weight: 0, limit })
    }

    fn get(&self, id: &Id) -> Option<Arc<T>> {
        self.map.get(id).map(|kept| Arc::clone(&kept.0))
    }

    fn put(&mut self, id: Id, value: Arc<T>, weight: usize) {
        if self.map.insert(id, (value, weight)).is_none() {
            self.weight += weight;
            self.order.push_back(id);
        }
        for _ in 0..self.order.len() {
            if self.weight <= self.limit {
                break;
            }
            let Some(oldest) = self.order.pop_front() else { break };
            match self.map.get(&oldest) {
                Some(kept) if Arc::strong_count(&kept.0) > 1 => self.order.push_back(oldest),
                Some(kept) => {
                    self.weight -= kept.1;
                    self.map.remove(&oldest);
                }
                None => {}
            }
        }
    }
}

impl Lower {
    /// Of an open repository.
    pub fn new(repo: Repo) -> Self {
        let far = repo.remote_store().is_some() || repo.is_lazy();
        Self { repo, far, dirs: Kept::new(ENTRIES_MAX), lists: Kept::new(EXTENTS_MAX), allocated: Mutex::default() }
    }

    /// The repository.
    pub fn repo(&self) -> &Repo {
        &self.repo
    }

    /// Whether reading may take a network.
    pub fn is_far(&self) -> bool {
        self.far
    }

    /// A directory that was read before.
    pub fn known_dir(&self, tree: &Id) -> Option<Dir> {
        self.dirs.lock().get(tree)
    }

    /// A directory.
    pub fn dir(&self, tree: &Id) -> Result<Dir> {
        if let Some(dir) = self.known_dir(tree) {
            return Ok(dir);
        }
        let mut entries = self.repo.entries(tree)?;
        // A mount shows no repository of a version: its hooks and settings would come from a remote.
        entries.retain(|e| !is_reserved(&e.name));
        let subdirs = u32::try_from(entries.iter().filter(|e| e.is_dir()).count()).unwrap_or(u32::MAX);
        let dir = Arc::new(Directory { entries, subdirs });
        let weight = dir.len() + 1;
        self.dirs.lock().put(*tree, Arc::clone(&dir), weight);
        Ok(dir)
    }

    /// Fills `out` with the bytes of a content from `offset` on; all of them must lie inside.
    pub fn read(&self, content: &Content, offset: u64, out: &mut [u8]) -> Result<()> {
        let mut at = offset;
        let mut out = out;
        while !out.is_empty() {
            let done = match content {
                Content::Inline(bytes) => copy(bytes, at, out),
                _ => {
                    let (start, extent) = self.extent(content, at)?;
                    let left = usize::try_from(start + extent.len - at).unwrap_or(usize::MAX).min(out.len());
                    match extent.chunk {
                        None => {
                            out[..left].fill(0);
                            left
                        }
                        Some(id) => copy(&self.repo.chunk_of(&id, extent.len)?, at - start, out),
                    }
                }
            };
            if done == 0 {
                return Err(short());
            }
            at += done as u64;
            out = &mut out[done..];
        }
        Ok(())
    }

    /// Brings what a range of a content needs to this machine.
    pub fn fetch_ahead(&self, content: &Content, range: &Range<u64>) -> Result<u64> {
        self.repo.fetch_ahead(&self.chunks(content, range)?)
    }

    /// The chunks that hold a range of a content.
    pub fn chunks(&self, content: &Content, range: &Range<u64>) -> Result<Vec<Id>> {
        let (mut at, mut chunks) = (range.start, Vec::new());
        while at < range.end && !matches!(content, Content::Inline(_)) {
            let (start, extent) = self.extent(content, at)?;
            chunks.extend(extent.chunk);
            at = start + extent.len;
        }
        Ok(chunks)
    }

    /// The extent that holds a byte, and where it begins.
    pub fn extent(&self, content: &Content, offset: u64) -> Result<(u64, Extent)> {
        match content {
            Content::Inline(_) => Err(short()),
            Content::Direct(extents) => {
                let mut start = 0u64;
                for extent in extents {
                    if offset < start.saturating_add(extent.len) {
                        return Ok((start, *extent));
                    }
                    start += extent.len;
                }
                Err(short())
            }
            Content::List(root) => {
                let (mut node, mut start) = (self.list(root)?, 0u64);
                for _ in 0..DEPTH_MAX {
                    let at = node.ends.partition_point(|end| start + end <= offset);
                    let before = at.checked_sub(1).map_or(0, |n| node.ends[n]);
                    match &node.items {
                        Items::Leaf(extents) => {
                            let extent = extents.get(at).ok_or_else(short)?;
                            return Ok((start + before, *extent));
                        }
                        Items::Inner(children) => {
                            let child = self.list(children.get(at).ok_or_else(short)?)?;
                            // Offsets below a node stay below its end only if the node is as long as its parent says.
                            if child.ends.last().copied() != node.ends.get(at).map(|end| end - before) {
                                return Err(short());
                            }
                            start += before;
                            node = child;
                        }
                    }
                }
                Err(short())
            }
        }
    }

    /// The ends of all runs of data and holes that touch a range, as `(is a hole, end)`.
    pub fn is_hole(&self, content: &Content, range: &Range<u64>) -> Result<(bool, u64)> {
        if matches!(content, Content::Inline(_)) {
            return Ok((false, range.end));
        }
        let (start, extent) = self.extent(content, range.start)?;
        Ok((extent.chunk.is_none(), (start + extent.len).min(range.end)))
    }

    /// Bytes of a chunk list that are no holes; `None` where finding out would take a network, or too long.
    pub fn allocated(&self, list: &Id) -> Option<u64> {
        let known = || self.allocated.lock();
        if let Some(bytes) = known().get(list) {
            return Some(*bytes);
        }
        if self.far {
            return None;
        }
        let (mut todo, mut bytes) = (vec![*list], 0);
        for _ in 0..NODES_MAX {
            match todo.pop() {
                Some(id) => match self.repo.list_node(&id).ok()? {
                    ListNode::Leaf(extents) => {
                        bytes += extents.iter().filter(|x| x.chunk.is_some()).map(|x| x.len).sum::<u64>();
                    }
                    ListNode::Inner(children) => todo.extend(children.into_iter().map(|child| child.1)),
                },
                None => {
                    let mut known = known();
                    if known.len() >= ALLOCATED_MAX {
                        known.clear();
                    }
                    known.insert(*list, bytes);
                    return Some(bytes);
                }
            }
        }
        None
    }

    /// The same, if it is known.
    pub fn known_allocated(&self, list: &Id) -> Option<u64> {
        self.allocated.lock().get(list).copied()
    }

    fn list(&self, id: &Id) -> Result<Arc<Spans>> {
        if let Some(known) = self.lists.lock().get(id) {
            return Ok(known);
        }
        let mut end = 0u64;
        let mut add = |len: u64| {
            end += len;
            end
        };
        let spans = match self.repo.list_node(id)? {
            ListNode::Leaf(extents) => {
                Spans { ends: extents.iter().map(|x| add(x.len)).collect(), items: Items::Leaf(extents) }
            }
            ListNode::Inner(children) => Spans {
                ends: children.iter().map(|c| add(c.0)).collect(),
                items: Items::Inner(children.into_iter().map(|c| c.1).collect()),
            },
        };
        let spans = Arc::new(spans);
        let weight = spans.ends.len() + 1;
        self.lists.lock().put(*id, Arc::clone(&spans), weight);
        Ok(spans)
    }
}

fn copy(from: &[u8], at: u64, out: &mut [u8]) -> usize {
    let from = from.get(usize::try_from(at).unwrap_or(usize::MAX)..).unwrap_or_default();
    let n = from.len().min(out.len());
    out[..n].copy_from_slice(&from[..n]);
    n
}

/// A content that holds less than its file says.
fn short() -> crate::error::Error {
    crate::format::Malformed::new("stored content", "it is shorter than its file").into()
}
