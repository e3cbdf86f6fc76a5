//! Finds the objects that one repository lacks and another one has. The walk visits new versions,
//! and within each version only the difference from its parent.
//!
//! The result is a set of frames per pack, because frames are the unit of copying. Memory grows
//! with the needed frames and the visited nodes, not with the repository.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use super::error::SyncError;
use super::packs::table_of;
use crate::error::Result;
use crate::format::frame::CODEC_DELTA;
use crate::format::object::ListNode;
use crate::format::pack::PackKind;
use crate::format::segment::{IndexRow, ObjectLocation, PackName};
use crate::model::commit::Commit;
use crate::model::entry::{Content, Entry, Node};
use crate::model::id::{Id, ObjectKind};
use crate::model::tree::TreeBody;
use crate::observe::Observer;
use crate::repo::Repo;
use crate::repo::frames::ObjectError;
use crate::repo::packs::{PackTable, rows_of};
use crate::work::Cancelled;

/// Limit on the tables of contents of remote packs in memory.
const TABLES: usize = 32;
/// An index of chunks up to this size in bytes is fetched as a whole.
pub const INDEX_WHOLE_MAX: u64 = 64 << 20;
/// Approximate limit on the rows from tables of remote packs in memory.
const LEARNED: usize = 200_000;

/// Frames by pack, each with its offset and its stored length.
pub type Needed = BTreeMap<PackName, Vec<(u32, u32)>>;

/// Returns whether nothing is needed.
pub fn is_nothing(needed: &[Needed; 3]) -> bool {
    needed.iter().all(Needed::is_empty)
}

/// Adds the frame of an object to the needed frames.
pub fn add(needed: &mut Needed, place: &ObjectLocation) {
    let frames = needed.entry(place.pack).or_default();
    let frame = (place.offset, place.stored);
    // Skip most duplicates early: requests for the objects of one frame usually follow each other.
    if frames.last() != Some(&frame) {
        frames.push(frame);
    }
}

/// Sorts the frames and removes duplicates.
pub fn sorted(mut needed: [Needed; 3]) -> [Needed; 3] {
    for frames in needed.iter_mut().flat_map(BTreeMap::values_mut) {
        frames.sort_unstable();
        frames.dedup();
    }
    needed
}

/// The kinds of objects to look for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// All objects.
    All,
    /// Only chunks, because all other objects have been fetched already.
    Chunks,
}

/// The repository that has the missing objects.
#[derive(Clone, Copy)]
pub enum From<'a> {
    Repo(&'a Repo),
    /// The source of this lazy clone, which is only contacted if an object is missing.
    LazySource(&'a Repo),
}

/// A walk that collects missing objects.
pub struct Missing<'a> {
    /// Repository from which trees and lists are read.
    walk: &'a Repo,
    from: From<'a>,
    /// Destination, whose objects are not needed; `None` has no objects.
    dest: Option<&'a Repo>,
    observer: &'a dyn Observer,
    wanted: Wanted,
    /// Nodes that were walked with everything below them.
    whole: HashSet<Id>,
    /// Pairs of nodes for which only the difference was walked.
    beside: HashSet<(Id, Id)>,
    commits: HashSet<Id>,
    /// Versions for which only the commit object is needed.
    forgotten: HashSet<Id>,
    /// The forgotten versions that were walked.
    without_data: Vec<Id>,
    needed: [Needed; 3],
    tables: HashMap<PackName, Arc<PackTable>>,
    /// Rows of the tables that were read.
    learned: HashMap<Id, IndexRow>,
    /// Whether the rows of neighbours are kept, because the index is remote and does not fit into
    /// the cache; `None` if not decided yet.
    learns: Option<bool>,
}

impl<'a> Missing<'a> {
    /// Creates a walk between two repositories.
    pub fn new(
        from: From<'a>,
        dest: Option<&'a Repo>,
        wanted: Wanted,
        observer: &'a dyn Observer,
    ) -> Self {
        let (From::Repo(walk) | From::LazySource(walk)) = from;
        Self {
            walk,
            from,
            learned: HashMap::new(),
            learns: None,
            dest,
            observer,
            wanted,
            whole: HashSet::new(),
            beside: HashSet::new(),
            commits: HashSet::new(),
            forgotten: HashSet::new(),
            without_data: Vec::new(),
            needed: Default::default(),
            tables: HashMap::new(),
        }
    }

    /// Returns the needed frames by kind of pack, sorted and without duplicates.
    pub fn finish(self) -> [Needed; 3] {
        sorted(self.needed)
    }

    /// Leaves out the data of these versions.
    pub fn leave_out(&mut self, forgotten: HashSet<Id>) {
        self.forgotten = forgotten;
    }

    /// Returns the walked versions for which only the commit object is needed.
    pub fn take_without_data(&mut self) -> Vec<Id> {
        std::mem::take(&mut self.without_data)
    }

    /// Walks a version and its ancestors, except versions for which `whole` returns true because
    /// the destination has them completely, and at most `depth` versions along each line.
    pub fn version(
        &mut self,
        tip: &Id,
        whole: &dyn Fn(&Id) -> bool,
        depth: Option<usize>,
    ) -> Result<()> {
        // Walk breadth first, so that each version is visited at its smallest distance.
        let mut next = VecDeque::from([(*tip, 1usize)]);
        while let Some((id, distance)) = next.pop_front() {
            if whole(&id) || !self.commits.insert(id) {
                continue;
            }
            self.check()?;
            self.need(ObjectKind::Commit, &id)?;
            let commit = self.walk.commit_cached(&id)?;
            let goes_on = depth.is_none_or(|most| distance < most);
            if self.forgotten.contains(&id) {
                self.without_data.push(id);
            } else {
                let old = self.tree_before(&commit, whole, goes_on, depth.is_none())?;
                self.root(&commit.tree, old.as_ref())?;
            }
            if goes_on {
                next.extend(commit.parents.iter().map(|parent| (*parent, distance + 1)));
            }
        }
        Ok(())
    }

    /// Returns the tree of the nearest older version that is not forgotten, if the destination has
    /// it or will have it after the walk.
    fn tree_before(
        &self,
        commit: &Commit,
        whole: &dyn Fn(&Id) -> bool,
        goes_on: bool,
        has_no_limit: bool,
    ) -> Result<Option<Id>> {
        // The first parent is walked if this walk goes on. Older versions are certain to be walked
        // only without a limit of depth.
        let (mut next, mut is_walked) = (commit.parents.first().copied(), goes_on);
        while let Some(id) = next.filter(|id| is_walked || whole(id) || has_no_limit) {
            let parent = self.walk.commit_cached(&id)?;
            if !self.forgotten.contains(&id) {
                return Ok(Some(parent.tree).filter(|_| is_walked || whole(&id)));
            }
            next = parent.parents.first().copied();
            is_walked = has_no_limit;
        }
        Ok(None)
    }

    /// Walks the tree of a version with its table of hard links.
    fn root(&mut self, new: &Id, old: Option<&Id>) -> Result<()> {
        self.tree(new, old)?;
        let links = |tree: &Id| Ok::<_, crate::error::Error>(self.walk.root_info(tree)?.links);
        if let Some(content) = links(new)? {
            let before = old.map(links).transpose()?.flatten();
            self.content(&content, before.as_ref())?;
        }
        Ok(())
    }

    /// Walks the node of an entry, except the chunks of its previous content `old`.
    pub fn entry(&mut self, entry: &Entry, old: Option<&Content>) -> Result<()> {
        match &entry.node {
            Node::Dir { tree, .. } => self.tree(tree, None),
            Node::File { content, .. } => self.content(content, old),
            _ => Ok(()),
        }
    }

    /// Walks a directory and everything below it, except nodes that `old` also has.
    pub fn tree(&mut self, new: &Id, old: Option<&Id>) -> Result<()> {
        let mut next = vec![(*new, old.copied())];
        while let Some((new, old)) = next.pop() {
            if Some(new) == old || self.is_walked(&new, old.as_ref()) {
                continue;
            }
            self.check()?;
            let Some(old) = old else {
                self.whole_directory(new, &mut next)?;
                continue;
            };
            let (fresh, gone) = self.entries(new, old)?;
            let gone: HashMap<&[u8], &Entry> =
                gone.iter().map(|e| (e.name.as_slice(), e)).collect();
            for entry in &fresh {
                let before = gone.get(entry.name.as_slice()).map(|e| &e.node);
                match (&entry.node, before) {
                    // Only the metadata of the entry differs.
                    (new, Some(old)) if new == old => {}
                    (Node::Dir { tree, .. }, Some(Node::Dir { tree: old, .. })) => {
                        next.push((*tree, Some(*old)))
                    }
                    (Node::Dir { tree, .. }, _) => next.push((*tree, None)),
                    (Node::File { content, .. }, Some(Node::File { content: old, .. })) => {
                        self.content(content, Some(old))?;
                    }
                    (Node::File { content, .. }, _) => self.content(content, None)?,
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// Walks a whole directory node by node, because all its entries may not fit into memory.
    fn whole_directory(&mut self, tree: Id, next: &mut Vec<(Id, Option<Id>)>) -> Result<()> {
        let mut nodes = vec![tree];
        while let Some(id) = nodes.pop() {
            if self.is_known(&id, false) {
                continue;
            }
            self.check()?;
            self.need(ObjectKind::Tree, &id)?;
            match self.walk.tree_node(&id)?.body {
                // Push in reverse, so that the stack visits the children in their order.
                TreeBody::Inner(children) => nodes.extend(children.into_iter().rev().map(|c| c.id)),
                TreeBody::Leaf(entries) => {
                    for entry in &entries {
                        match &entry.node {
                            Node::Dir { tree, .. } => next.push((*tree, None)),
                            Node::File { content, .. } => self.content(content, None)?,
                            _ => {}
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// Returns the entries in nodes that only the new directory has, and the entries in nodes that
    /// only the old directory has.
    fn entries(&mut self, new: Id, old: Id) -> Result<(Vec<Entry>, Vec<Entry>)> {
        let (mut fresh, mut gone) = (Vec::new(), Vec::new());
        let (mut news, mut olds) = (vec![new], vec![old]);
        while !news.is_empty() {
            let (mut below, mut old_below) = (Vec::new(), Vec::new());
            for id in news {
                if self.is_known(&id, true) {
                    continue;
                }
                self.need(ObjectKind::Tree, &id)?;
                match self.walk.tree_node(&id)?.body {
                    TreeBody::Leaf(entries) => fresh.extend(entries),
                    TreeBody::Inner(children) => below.extend(children.into_iter().map(|c| c.id)),
                }
            }
            for id in olds {
                match self.walk.tree_node(&id)?.body {
                    TreeBody::Leaf(entries) => gone.extend(entries),
                    TreeBody::Inner(children) => {
                        old_below.extend(children.into_iter().map(|c| c.id))
                    }
                }
            }
            (news, olds) = without_shared(below, old_below);
        }
        Ok((fresh, gone))
    }

    /// Walks the nodes and chunks of the content of a file, except those that `old` also has.
    fn content(&mut self, new: &Content, old: Option<&Content>) -> Result<()> {
        let chunks = |content: &Content| match content {
            Content::Direct(extents) => extents.iter().filter_map(|x| x.chunk).collect(),
            _ => Vec::new(),
        };
        let lists = |content: &Content| match content {
            Content::List(root) => vec![*root],
            _ => Vec::new(),
        };
        let (mut fresh, mut gone) = (chunks(new), old.map(chunks).unwrap_or_default());
        let (mut news, mut olds) = without_shared(lists(new), old.map(lists).unwrap_or_default());
        while !news.is_empty() {
            self.check()?;
            let (mut below, mut old_below) = (Vec::new(), Vec::new());
            for id in news {
                if !self.is_known(&id, old.is_some()) {
                    self.need(ObjectKind::List, &id)?;
                    self.list(&id, &mut below, &mut fresh)?;
                }
            }
            for id in olds {
                self.list(&id, &mut old_below, &mut gone)?;
            }
            (news, olds) = without_shared(below, old_below);
            // Handle the chunks level by level, so that memory does not grow with the file. A chunk
            // that moved between levels costs only a lookup.
            self.chunks(&mut fresh, &mut gone)?;
        }
        self.chunks(&mut fresh, &mut gone)
    }

    fn chunks(&mut self, fresh: &mut Vec<Id>, gone: &mut Vec<Id>) -> Result<()> {
        let known: HashSet<Id> = gone.drain(..).collect();
        fresh
            .drain(..)
            .filter(|id| !known.contains(id))
            .try_for_each(|id| self.need(ObjectKind::Chunk, &id))
    }

    fn list(&self, id: &Id, below: &mut Vec<Id>, chunks: &mut Vec<Id>) -> Result<()> {
        match self.walk.list_node(id)? {
            ListNode::Leaf(extents) => chunks.extend(extents.iter().filter_map(|x| x.chunk)),
            ListNode::Inner(children) => below.extend(children.iter().map(|c| c.1)),
        }
        Ok(())
    }

    /// Returns whether a directory was already walked as a whole or in the same comparison. If not,
    /// remembers the comparison.
    fn is_walked(&mut self, new: &Id, old: Option<&Id>) -> bool {
        self.whole.contains(new) || old.is_some_and(|old| !self.beside.insert((*new, *old)))
    }

    /// Returns whether a node was walked with everything below it. A node that was only compared
    /// does not count: each comparison skips what the other node has, so a comparison with a
    /// different node may find more.
    fn is_known(&mut self, id: &Id, compared: bool) -> bool {
        if compared {
            self.whole.contains(id)
        } else {
            !self.whole.insert(*id)
        }
    }

    fn check(&self) -> Result<()> {
        if self.observer.cancelled() {
            Err(Cancelled.into())
        } else {
            Ok(())
        }
    }

    fn need(&mut self, kind: ObjectKind, id: &Id) -> Result<()> {
        let table = PackKind::of(kind);
        if self.wanted == Wanted::Chunks && kind != ObjectKind::Chunk {
            return Ok(());
        }
        if let Some(dest) = self.dest
            && dest.rely(kind, id)?
        {
            return Ok(());
        }
        if let Some(row) = self.learned.get(id).copied() {
            return self.mark(table, &row);
        }
        let source = self.source()?;
        let Some(row) = source.live_copy(table, id)? else {
            // A lazy source may lack the object without being damaged.
            if source.is_lazy() {
                return Err(SyncError::Lazy {
                    place: self.place(),
                }
                .into());
            }
            return Err(ObjectError::Missing { kind, id: *id }.into());
        };
        self.learn(&row)?;
        self.mark(table, &row)
    }

    fn source(&self) -> Result<&'a Repo> {
        match self.from {
            From::Repo(repo) => Ok(repo),
            From::LazySource(lazy) => lazy.lazy_source()?.ok_or_else(|| {
                SyncError::Lazy {
                    place: self.place(),
                }
                .into()
            }),
        }
    }

    fn place(&self) -> String {
        self.dest
            .map_or_else(|| "here".to_owned(), |dest| dest.store().place())
    }

    /// Keeps the locations of the neighbours of an object from the table of its remote pack,
    /// because the neighbours are needed next.
    fn learn(&mut self, row: &IndexRow) -> Result<()> {
        let learns = match self.learns {
            Some(learns) => learns,
            // A smaller index is fetched as a whole, so lookups in it need no requests.
            None => self.is_remote()? && index_bytes(self.source()?)? > INDEX_WHOLE_MAX,
        };
        self.learns = Some(learns);
        if !learns || row.place.codec == CODEC_DELTA || self.tables.contains_key(&row.place.pack) {
            return Ok(());
        }
        let table = self.table(&row.place.pack)?;
        if self.learned.len() > LEARNED {
            self.learned.clear();
        }
        let mut rows = Vec::new();
        for frame in table.frames.iter().filter(|f| f.codec != CODEC_DELTA) {
            rows_of(frame, &row.place.pack, None, &mut rows)?;
        }
        self.learned
            .extend(rows.into_iter().map(|row| (row.id, row)));
        Ok(())
    }

    fn is_remote(&self) -> Result<bool> {
        Ok(self.source()?.remote_store().is_some())
    }

    fn mark(&mut self, kind: PackKind, row: &IndexRow) -> Result<()> {
        let needed = &mut self.needed[usize::from(kind.number())];
        add(needed, &row.place);
        if row.place.codec != CODEC_DELTA {
            return Ok(());
        }
        // A delta is useless without its base, so the base is needed too.
        if let Some(place) = &row.base {
            let there = self.dest.map(Repo::index).transpose()?;
            // An empty destination certainly lacks the base, so its id need not be read from the
            // frame.
            if there.is_none_or(|index| index.segments(kind).is_empty()) {
                add(needed, place);
                return Ok(());
            }
        }
        let Some(base) = self.base_of(row)? else {
            return Ok(());
        };
        // A complete copy of a base always exists, so a read never follows a chain of deltas.
        let whole = |rows: Vec<IndexRow>| rows.into_iter().find(|r| r.place.codec != CODEC_DELTA);
        if let Some(dest) = self.dest
            && whole(dest.reliable_copies(kind, &base)?).is_some()
        {
            return Ok(());
        }
        match whole(self.source()?.index()?.lookup_all(kind, &base)?) {
            Some(row) => self.mark(kind, &row),
            None => Err(ObjectError::Missing {
                kind: ObjectKind::Chunk,
                id: base,
            }
            .into()),
        }
    }

    /// Returns the base of a delta. For a remote pack, reads the table once instead of the header
    /// of each frame.
    fn base_of(&mut self, row: &IndexRow) -> Result<Option<Id>> {
        if !self.is_remote()? {
            return self.source()?.delta_base(row);
        }
        let table = self.table(&row.place.pack)?;
        let at = table
            .frames
            .binary_search_by_key(&u64::from(row.place.offset), |f| f.offset);
        Ok(at.ok().and_then(|at| table.frames.get(at)?.base))
    }

    fn table(&mut self, pack: &PackName) -> Result<Arc<PackTable>> {
        if let Some(table) = self.tables.get(pack) {
            return Ok(Arc::clone(table));
        }
        if self.tables.len() >= TABLES {
            self.tables.clear();
        }
        let table = Arc::new(table_of(self.source()?, pack)?);
        self.tables.insert(*pack, Arc::clone(&table));
        Ok(table)
    }
}

/// Returns the length of the index of chunks in bytes.
pub fn index_bytes(repo: &Repo) -> Result<u64> {
    Ok(repo
        .index()?
        .segments(PackKind::Data)
        .iter()
        .map(|s| s.file_bytes())
        .sum())
}

/// Removes the nodes that both lists have, and duplicates. Without the latter, the lists would grow
/// exponentially if nodes name the same child several times at each level.
fn without_shared(mut news: Vec<Id>, mut olds: Vec<Id>) -> (Vec<Id>, Vec<Id>) {
    let mut new_set = HashSet::new();
    news.retain(|id| new_set.insert(*id));
    let mut old_set = HashSet::new();
    olds.retain(|id| old_set.insert(*id));
    news.retain(|id| !old_set.contains(id));
    olds.retain(|id| !new_set.contains(id));
    (news, olds)
}
