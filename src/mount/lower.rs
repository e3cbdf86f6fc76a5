//! The lower layer of a mount: directories and file contents of versions by id, with caches of
//! decoded objects.
//!
//! The layer can be used from many threads. A read may have to wait for a remote.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::cache::weighted::WeightedLru;
use crate::error::Result;
use crate::format::object::ListNode;
use crate::model::entry::{Content, Entry, Extent, Node};
use crate::model::id::Id;
use crate::model::path::is_reserved;
use crate::repo::Repo;

/// Limit on the directory entries in the cache; an entry takes about 300 bytes.
const ENTRIES_MAX: usize = 50_000;
/// Limit on the extents of chunk lists in the cache; an extent takes 48 bytes.
const EXTENTS_MAX: usize = 400_000;
/// Limit on the nodes of a chunk list that are read to count its holes, enough for a file of about
/// 30 GiB.
const NODES_MAX: usize = 2048;
/// Limit on the chunk lists in the cache of allocated bytes.
const ALLOCATED_MAX: usize = 1 << 16;
/// Depth limit for chunk lists, against malformed data.
const DEPTH_MAX: usize = 64;

/// A directory of a version.
pub struct LowerDir {
    entries: Vec<Entry>,
    /// Count of subdirectories.
    pub subdirs: u32,
}

/// A directory that the cache shares with its users.
pub type SharedDir = Arc<LowerDir>;

impl std::ops::Deref for LowerDir {
    type Target = [Entry];

    /// Returns the entries, sorted by name.
    fn deref(&self) -> &[Entry] {
        &self.entries
    }
}

/// A run of bytes that are either all in a hole or all data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HoleRun {
    /// Whether the run is a hole.
    pub hole: bool,
    /// The offset after the run.
    pub end: u64,
}

/// The content of a file, and its length.
pub struct FileContent {
    /// The bytes of the file.
    pub content: Content,
    /// Length of the file in bytes.
    pub size: u64,
}

/// An extent and its offset in the file.
struct LocatedExtent {
    start: u64,
    extent: Extent,
}

impl LocatedExtent {
    fn end(&self) -> u64 {
        self.start + self.extent.len
    }
}

/// The repository that a mount reads from, with caches.
pub struct LowerLayer {
    repo: Repo,
    /// Whether reads may have to wait for a remote.
    remote: bool,
    dirs: DecodedCache<LowerDir>,
    lists: DecodedCache<ListSpans>,
    /// Allocated bytes by chunk list.
    allocated: Mutex<HashMap<Id, u64>>,
}

/// A node of a chunk list with the ends of its items, relative to the start of the node.
struct ListSpans {
    ends: Vec<u64>,
    items: SpanItems,
}

enum SpanItems {
    Leaf(Vec<Extent>),
    Inner(Vec<Id>),
}

/// A cache of decoded objects by id.
type DecodedCache<T> = Mutex<WeightedLru<Id, Arc<T>>>;

/// Returns whether a caller of the cache still uses a value.
// Evicting a value in use would free no memory, and a lookup that is repeated would have to read
// the directory again.
fn in_use<T>(value: &Arc<T>) -> bool {
    Arc::strong_count(value) > 1
}

impl LowerLayer {
    /// Creates a layer with empty caches.
    pub fn new(repo: Repo) -> Self {
        // A lazy clone fetches missing objects from its remote.
        let remote = repo.remote_store().is_some() || repo.is_lazy();
        Self {
            repo,
            remote,
            dirs: Mutex::new(WeightedLru::new(ENTRIES_MAX)),
            lists: Mutex::new(WeightedLru::new(EXTENTS_MAX)),
            allocated: Mutex::default(),
        }
    }

    /// Returns the repository that the version is read from.
    pub fn repo(&self) -> &Repo {
        &self.repo
    }

    /// Returns whether reads may have to wait for a remote.
    pub fn is_remote(&self) -> bool {
        self.remote
    }

    /// Returns a directory if it is in the cache.
    pub fn known_dir(&self, tree: &Id) -> Option<SharedDir> {
        self.dirs.lock().get(tree).cloned()
    }

    /// Returns a directory, from the cache or from the repository.
    pub fn dir(&self, tree: &Id) -> Result<SharedDir> {
        if let Some(dir) = self.known_dir(tree) {
            return Ok(dir);
        }
        let mut entries = self.repo.entries(tree)?;
        // A mount must not show a repository inside of a version, because its hooks and settings
        // could come from an untrusted remote.
        entries.retain(|e| !is_reserved(&e.name));
        let subdirs =
            u32::try_from(entries.iter().filter(|e| e.is_dir()).count()).unwrap_or(u32::MAX);
        let dir = Arc::new(LowerDir { entries, subdirs });
        let weight = dir.len() + 1;
        self.dirs
            .lock()
            .put(*tree, Arc::clone(&dir), weight, in_use);
        Ok(dir)
    }

    /// Fills `out` from `offset` on. The range must lie within the content.
    pub fn read(&self, content: &Content, offset: u64, out: &mut [u8]) -> Result<()> {
        let mut at = offset;
        let mut out = out;
        while !out.is_empty() {
            let done = match content {
                Content::Inline(bytes) => copy(bytes, at, out),
                _ => {
                    let found = self.extent(content, at)?;
                    let LocatedExtent { start, extent } = found;
                    let left = usize::try_from(found.end() - at)
                        .unwrap_or(usize::MAX)
                        .min(out.len());
                    match extent.chunk {
                        None => {
                            out[..left].fill(0);
                            left
                        }
                        Some(id) => copy(&self.repo.chunk_of(&id, extent.len)?, at - start, out),
                    }
                }
            };
            // Content that is shorter than its file would cause an endless loop.
            if done == 0 {
                return Err(too_short());
            }
            at += done as u64;
            out = &mut out[done..];
        }
        Ok(())
    }

    /// Fetches the chunks of a range from the remote. Returns the number of fetched bytes.
    pub fn fetch_ahead(&self, content: &Content, range: &Range<u64>) -> Result<u64> {
        self.repo.fetch_ahead(&self.chunks(content, range)?)
    }

    /// Returns the chunks of a range.
    pub fn chunks(&self, content: &Content, range: &Range<u64>) -> Result<Vec<Id>> {
        let (mut at, mut chunks) = (range.start, Vec::new());
        while at < range.end && !matches!(content, Content::Inline(_)) {
            let found = self.extent(content, at)?;
            chunks.extend(found.extent.chunk);
            at = found.end();
        }
        Ok(chunks)
    }

    /// Returns the extent that contains an offset.
    fn extent(&self, content: &Content, offset: u64) -> Result<LocatedExtent> {
        match content {
            Content::Inline(_) => Err(too_short()),
            Content::Direct(extents) => {
                let mut start = 0u64;
                for extent in extents {
                    if offset < start.saturating_add(extent.len) {
                        return Ok(LocatedExtent {
                            start,
                            extent: *extent,
                        });
                    }
                    start += extent.len;
                }
                Err(too_short())
            }
            Content::List(root) => {
                let (mut node, mut start) = (self.list(root)?, 0u64);
                for _ in 0..DEPTH_MAX {
                    let at = node.ends.partition_point(|end| start + end <= offset);
                    let before = at.checked_sub(1).map_or(0, |n| node.ends[n]);
                    match &node.items {
                        SpanItems::Leaf(extents) => {
                            let extent = extents.get(at).ok_or_else(too_short)?;
                            return Ok(LocatedExtent {
                                start: start + before,
                                extent: *extent,
                            });
                        }
                        SpanItems::Inner(children) => {
                            let child = self.list(children.get(at).ok_or_else(too_short)?)?;
                            // Reject a node whose length differs from the one in its parent,
                            // because the offset could lie outside of it.
                            if child.ends.last().copied()
                                != node.ends.get(at).map(|end| end - before)
                            {
                                return Err(too_short());
                            }
                            start += before;
                            node = child;
                        }
                    }
                }
                Err(too_short())
            }
        }
    }

    /// Returns the hole or data run at the start of a range, clipped to the range.
    pub fn hole_run(&self, content: &Content, range: &Range<u64>) -> Result<HoleRun> {
        if matches!(content, Content::Inline(_)) {
            return Ok(HoleRun {
                hole: false,
                end: range.end,
            });
        }
        let found = self.extent(content, range.start)?;
        Ok(HoleRun {
            hole: found.extent.chunk.is_none(),
            end: found.end().min(range.end),
        })
    }

    /// Returns the allocated bytes of a chunk list. Returns `None` if counting them needs a remote
    /// or takes too long.
    pub fn allocated(&self, list: &Id) -> Option<u64> {
        let known = || self.allocated.lock();
        if let Some(bytes) = known().get(list) {
            return Some(*bytes);
        }
        if self.remote {
            return None;
        }
        let (mut todo, mut bytes) = (vec![*list], 0);
        for _ in 0..NODES_MAX {
            match todo.pop() {
                Some(id) => match self.repo.list_node(&id).ok()? {
                    ListNode::Leaf(extents) => {
                        bytes += extents
                            .iter()
                            .filter(|x| x.chunk.is_some())
                            .map(|x| x.len)
                            .sum::<u64>();
                    }
                    ListNode::Inner(children) => {
                        todo.extend(children.into_iter().map(|child| child.1))
                    }
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

    /// Returns the allocated bytes of a chunk list if they are in the cache.
    pub fn known_allocated(&self, list: &Id) -> Option<u64> {
        self.allocated.lock().get(list).copied()
    }

    fn list(&self, id: &Id) -> Result<Arc<ListSpans>> {
        if let Some(known) = self.lists.lock().get(id) {
            return Ok(Arc::clone(known));
        }
        let mut end = 0u64;
        // The decoder has checked that the sum does not overflow.
        let mut add = |len: u64| {
            end += len;
            end
        };
        let spans = match self.repo.list_node(id)? {
            ListNode::Leaf(extents) => ListSpans {
                ends: extents.iter().map(|x| add(x.len)).collect(),
                items: SpanItems::Leaf(extents),
            },
            ListNode::Inner(children) => ListSpans {
                ends: children.iter().map(|c| add(c.0)).collect(),
                items: SpanItems::Inner(children.into_iter().map(|c| c.1).collect()),
            },
        };
        let spans = Arc::new(spans);
        let weight = spans.ends.len() + 1;
        self.lists
            .lock()
            .put(*id, Arc::clone(&spans), weight, in_use);
        Ok(spans)
    }
}

fn copy(from: &[u8], at: u64, out: &mut [u8]) -> usize {
    let from = from
        .get(usize::try_from(at).unwrap_or(usize::MAX)..)
        .unwrap_or_default();
    let n = from.len().min(out.len());
    out[..n].copy_from_slice(&from[..n]);
    n
}

/// Returns the error for a content that is shorter than its file.
fn too_short() -> crate::error::Error {
    crate::format::Malformed::new("stored content", "shorter than the file size").into()
}

impl LowerLayer {
    /// Returns the file at a path of a tree, or `None` if there is none.
    pub(super) fn file(&self, tree: &Id, path: &[u8]) -> Result<Option<FileContent>> {
        let mut tree = *tree;
        let mut parts = path.split(|b| *b == b'/').peekable();
        while let Some(name) = parts.next() {
            let dir = self.dir(&tree)?;
            let Ok(at) = dir.binary_search_by(|entry| entry.name.as_slice().cmp(name)) else {
                return Ok(None);
            };
            match &dir[at].node {
                Node::Dir { tree: below, .. } => tree = *below,
                Node::File { content, size, .. } if parts.peek().is_none() => {
                    return Ok(Some(FileContent {
                        content: content.clone(),
                        size: *size,
                    }));
                }
                _ => return Ok(None),
            }
        }
        Ok(None)
    }
}
