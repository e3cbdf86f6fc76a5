//! Names and inodes: the tree of the version, and over it everything that the mount has created,
//! changed or removed.
//!
//! The table is in memory only. A lookup that needs a directory of the version which is not in
//! memory fails with [`LookupStop::Unread`]. The caller then reads the directory and repeats the
//! operation, so that no lock is held during a read.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::attr::{NodeAttr, NodeKind, ROOT_INO};
use super::entry::{EntryName, EntryRef};
use super::inode::{Inode, InodeBody, StoredDir};
use super::privileges::{drop_privileges, has_privileges};
use super::upper::{InoSource, OF_VERSION, RETIRED, UpperTree};
use crate::model::entry::{Entry, Meta, Node};
use crate::model::id::Id;
use crate::mount::errno::Errno;
use crate::mount::file::{BaseFile, FileData, UpperFiles};
use crate::mount::lower::{LowerLayer, SharedDir};

/// Why a lookup has no result.
#[derive(Debug)]
pub enum LookupStop {
    /// The lookup failed with this error, such as `ENOENT`.
    Errno(Errno),
    /// This directory has to be read before the lookup can be repeated.
    Unread(Id),
}

impl From<Errno> for LookupStop {
    fn from(e: Errno) -> Self {
        Self::Errno(e)
    }
}

/// The result of a lookup.
pub type Lookup<T> = Result<T, LookupStop>;

/// The place of an unchanged node of the version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct VersionPlace {
    pub(super) parent: u64,
    /// Index of the directory's tree in the list of trees.
    pub(super) tree: u32,
    /// Index of the entry in the directory.
    pub(super) index: u32,
}

impl VersionPlace {
    /// Returns whether the node belongs to a version that is not shown any more.
    pub(super) fn is_retired(&self) -> bool {
        self.parent == RETIRED
    }
}

/// Changes that are not in the overlay database yet.
#[derive(Debug, Default)]
pub struct PendingRows {
    /// Changed inodes.
    pub inodes: HashSet<u64>,
    /// Changed names.
    pub names: HashSet<EntryName>,
    /// Inodes for which only the times have changed. Their rows can wait for a later flush.
    pub times: HashSet<u64>,
}

/// Counts of the open handles of an inode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct OpenCounts {
    /// Handles that this process serves.
    pub(super) daemon_opens: u64,
    /// Handles in passthrough mode.
    pub(super) kernel_opens: u64,
    /// Handles of both kinds that are open for writing.
    pub(super) writers: u64,
}

/// Counts of inodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NameCounts {
    /// Inodes in memory.
    pub known: usize,
    /// Inodes that are open.
    pub open: usize,
}

/// The result of storing a directory in a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DirResult {
    /// Inode number of the directory.
    pub ino: u64,
    /// The stored directory, or `None` if the snapshot left some of its entries out.
    pub stored: Option<StoredDir>,
}

/// The names and inodes of a mount.
pub struct NameTable {
    pub(super) lower: Arc<LowerLayer>,
    pub(super) space: Arc<UpperFiles>,
    pub(super) trees: Vec<Id>,
    pub(super) tree_indexes: HashMap<Id, u32>,
    /// Places of unchanged nodes of the version and their counts of kernel lookups, by inode.
    pub(super) untouched: HashMap<u64, (VersionPlace, u64)>,
    /// Names of hard-linked files of the version that the kernel may know, by inode.
    pub(super) aliases: HashMap<u64, HashSet<EntryName>>,
    /// Reserved numbers that nodes had to skip, by inode.
    pub(super) skipped_inos: HashMap<u64, Vec<u64>>,
    /// Open files of unchanged nodes.
    pub(super) open_untouched: HashMap<u64, Arc<FileData>>,
    pub(super) upper: UpperTree,
    /// Recorded names of inodes with several hard links. Searching `upper` for them would take
    /// longer with each change.
    pub(super) hard_links: HashMap<u64, HashSet<EntryName>>,
    /// Counts of kernel lookups, by inode in `upper`.
    pub(super) lookups: HashMap<u64, u64>,
    /// Open handles by inode.
    pub(super) open_counts: HashMap<u64, OpenCounts>,
    pub(super) next_ino: u64,
    pub(super) pending: PendingRows,
    /// Inodes that differ from the last commit.
    pub(super) changed: HashSet<u64>,
    /// Inodes of a running snapshot. They count as changed until the snapshot has become a version.
    pub(super) committing: HashSet<u64>,
}

impl NameTable {
    /// Creates a table. `upper` is the state of an earlier mount with its root, and `changed` are
    /// the inodes that differ from the last commit.
    pub fn new(
        lower: Arc<LowerLayer>,
        space: Arc<UpperFiles>,
        upper: UpperTree,
        changed: HashSet<u64>,
    ) -> Self {
        let mut hard_links: HashMap<u64, HashSet<EntryName>> = HashMap::new();
        let has_several = |ino: &u64| {
            upper
                .inodes
                .get(ino)
                .is_some_and(|i| i.nlink > 1 && i.kind() != NodeKind::Dir)
        };
        for (ino, _) in upper.inodes.iter().filter(|(ino, _)| has_several(ino)) {
            hard_links.entry(*ino).or_default();
        }
        for (parent, names) in &upper.names {
            for (name, ino) in names.iter() {
                if let Some(all) = ino.and_then(|ino| hard_links.get_mut(&ino)) {
                    all.insert(EntryName {
                        parent: *parent,
                        name: name.clone(),
                    });
                }
            }
        }
        let next_ino = upper
            .inodes
            .keys()
            // Numbers of the version are hashes. Only numbers of new nodes are consecutive.
            .filter(|n| *n & OF_VERSION == 0)
            .max()
            .map_or(ROOT_INO, |n| *n)
            + 1;
        Self {
            lower,
            space,
            trees: Vec::new(),
            tree_indexes: HashMap::new(),
            untouched: HashMap::new(),
            aliases: HashMap::new(),
            skipped_inos: HashMap::new(),
            open_untouched: HashMap::new(),
            upper,
            hard_links,
            lookups: HashMap::new(),
            open_counts: HashMap::new(),
            next_ino,
            pending: PendingRows::default(),
            changed,
            committing: HashSet::new(),
        }
    }

    /// Returns everything that the mount has created or changed.
    pub fn upper(&self) -> &UpperTree {
        &self.upper
    }

    /// Returns the changes that are not in the overlay database yet, and forgets them.
    pub fn take_pending(&mut self) -> PendingRows {
        std::mem::take(&mut self.pending)
    }

    /// Returns whether there are changes that are not in the overlay database.
    pub fn has_pending(&self) -> bool {
        !self.pending.inodes.is_empty()
            || !self.pending.names.is_empty()
            || !self.pending.times.is_empty()
    }

    /// Takes back changes that could not be stored.
    pub fn return_pending(&mut self, pending: PendingRows) {
        self.pending.inodes.extend(pending.inodes);
        self.pending.names.extend(pending.names);
        self.pending.times.extend(pending.times);
    }

    /// Returns whether an inode differs from the last commit.
    pub fn is_changed(&self, ino: u64) -> bool {
        self.changed.contains(&ino) || self.committing.contains(&ino)
    }

    /// Returns whether any inode differs from the last commit.
    pub fn any_changed(&self) -> bool {
        !self.changed.is_empty() || !self.committing.is_empty()
    }

    /// Starts a snapshot. Returns the changed inodes.
    pub fn begin_commit(&mut self) -> HashSet<u64> {
        // Changes during the snapshot go to the empty set, so that they belong to the next commit.
        self.committing = std::mem::take(&mut self.changed);
        self.committing.clone()
    }

    /// Ends a snapshot. Inodes in `left` are not in the new version and stay changed.
    pub fn end_commit(&mut self, left: impl IntoIterator<Item = u64>) {
        let done = std::mem::take(&mut self.committing);
        // The rows of these inodes still say that they are changed.
        self.pending.inodes.extend(done);
        self.still_changed(left);
    }

    /// Marks inodes as changed, if they still exist.
    fn still_changed(&mut self, inodes: impl IntoIterator<Item = u64>) {
        for ino in inodes {
            if self.upper.inodes.contains_key(&ino) {
                self.changed.insert(ino);
                self.pending.inodes.insert(ino);
            }
        }
    }

    /// Marks the rows of inodes in the overlay database as outdated.
    pub fn mark_unstored(&mut self, inodes: impl IntoIterator<Item = u64>) {
        self.pending.inodes.extend(inodes);
    }

    /// Sets the stored form of directories.
    pub fn set_stored_dirs(&mut self, dirs: &[DirResult]) {
        for DirResult { ino, stored: now } in dirs {
            if let Some(inode) = self.upper.inodes.get_mut(ino)
                && let InodeBody::Dir { stored, .. } = &mut Arc::make_mut(inode).what
            {
                *stored = *now;
                self.pending.inodes.insert(*ino);
            }
        }
    }

    /// Returns the counts of inodes.
    pub fn counts(&self) -> NameCounts {
        NameCounts {
            known: self.untouched.len() + self.upper.inodes.len(),
            open: self.open_counts.len(),
        }
    }

    /// Returns inodes with outdated rows in the overlay database. With `times`, this includes
    /// inodes for which only the times have changed.
    pub fn unstored_inodes(&self, times: bool) -> impl Iterator<Item = &Arc<Inode>> {
        let times = self.pending.times.iter().filter(move |_| times);
        self.pending
            .inodes
            .iter()
            .chain(times)
            .filter_map(|ino| self.upper.inodes.get(ino))
    }

    /// Copies an inode of the version to `upper`, so that it can change.
    pub fn copy_up(&mut self, ino: u64) -> Lookup<()> {
        if self.upper.inodes.contains_key(&ino) {
            return Ok(());
        }
        let place = self.place(ino)?;
        if place.is_retired() {
            return Err(Errno::STALE.into());
        }
        // All directories above a changed inode are in `upper` too, so that its path needs no
        // lookup in the version.
        self.copy_up(place.parent)?;
        let (dir, at) = self.entry(&place)?;
        let subdirs = match &dir[at].node {
            Node::Dir { tree, .. } => self.dir(tree)?.subdirs,
            _ => 0,
        };
        let mut inode = Inode::of_entry(
            ino,
            place.parent,
            &dir[at],
            self.open_untouched.remove(&ino),
            &self.space,
        );
        if inode.kind() == NodeKind::Dir {
            // The name of the directory, its `.`, and the `..` of each subdirectory.
            inode.nlink = 2 + subdirs;
        }
        if let Some((_, held)) = self.untouched.remove(&ino).filter(|known| known.1 > 0) {
            self.lookups.insert(ino, held);
        }
        if inode.nlink > 1 && inode.kind() != NodeKind::Dir {
            self.hard_links.entry(ino).or_default();
        }
        self.upper.inodes.insert(ino, Arc::new(inode));
        self.pending.inodes.insert(ino);
        Ok(())
    }

    /// Like [`Self::copy_up`], but also fails with `ESTALE` for a retired inode that is already in
    /// `upper`.
    fn copy_up_current(&mut self, ino: u64) -> Lookup<()> {
        self.copy_up(ino)?;
        match self.upper.inodes.get(&ino) {
            Some(inode) if inode.parent == RETIRED => Err(Errno::STALE.into()),
            _ => Ok(()),
        }
    }

    /// Returns an inode for a change that the next commit includes. Copies the inode up and marks
    /// it as changed.
    pub fn change(&mut self, ino: u64) -> Lookup<&mut Inode> {
        self.copy_up_current(ino)?;
        self.pending.inodes.insert(ino);
        self.changed.insert(ino);
        let inode = self.upper.inodes.get_mut(&ino).ok_or(Errno::NOENT)?;
        Ok(Arc::make_mut(inode))
    }

    /// Returns an inode for a change that only the overlay database records. Copies the inode up.
    pub fn touch(&mut self, ino: u64) -> Lookup<&mut Inode> {
        self.copy_up_current(ino)?;
        self.pending.inodes.insert(ino);
        let inode = self.upper.inodes.get_mut(&ino).ok_or(Errno::NOENT)?;
        Ok(Arc::make_mut(inode))
    }

    /// Like [`Self::change`], for a change of times only, which a later flush may store.
    pub fn change_times(&mut self, ino: u64) -> Lookup<&mut Inode> {
        self.copy_up_current(ino)?;
        self.pending.times.insert(ino);
        self.changed.insert(ino);
        let inode = self.upper.inodes.get_mut(&ino).ok_or(Errno::NOENT)?;
        Ok(Arc::make_mut(inode))
    }

    /// Returns the path of an inode, or `None` if it has no name.
    pub fn path(&mut self, ino: u64) -> Lookup<Option<Vec<u8>>> {
        let mut names: Vec<Vec<u8>> = Vec::new();
        let mut at = ino;
        while at != ROOT_INO {
            if let Some(inode) = self.upper.inodes.get(&at) {
                if inode.nlink == 0 {
                    return Ok(None);
                }
                names.push(inode.name.clone());
                at = inode.parent;
            } else {
                let place = self.place(at)?;
                if place.is_retired() {
                    return Ok(None);
                }
                let (dir, index) = self.entry(&place)?;
                names.push(dir[index].name.clone());
                at = place.parent;
            }
        }
        names.reverse();
        Ok(Some(names.join(&b'/')))
    }

    /// Returns the file of the version with this inode number.
    pub fn base_of(&mut self, ino: u64) -> Lookup<Arc<BaseFile>> {
        let place = self.place(ino)?;
        let (dir, at) = self.entry(&place)?;
        match &dir[at].node {
            Node::File {
                size,
                chunker,
                content,
            } => Ok(Arc::new(BaseFile {
                content: content.clone(),
                size: *size,
                chunker: *chunker,
            })),
            _ => Err(Errno::STALE.into()),
        }
    }

    pub(super) fn tree_index(&mut self, tree: &Id) -> u32 {
        if let Some(n) = self.tree_indexes.get(tree) {
            return *n;
        }
        let n = u32::try_from(self.trees.len()).unwrap_or(u32::MAX);
        self.trees.push(*tree);
        self.tree_indexes.insert(*tree, n);
        n
    }

    pub(super) fn dir(&self, tree: &Id) -> Lookup<SharedDir> {
        self.lower.known_dir(tree).ok_or(LookupStop::Unread(*tree))
    }

    /// Returns the entry of an unchanged node, as a directory and an index in it.
    pub(super) fn entry(&self, place: &VersionPlace) -> Lookup<(SharedDir, usize)> {
        let tree = self.trees.get(place.tree as usize).ok_or(Errno::IO)?;
        let (dir, index) = (self.dir(tree)?, place.index as usize);
        if index < dir.len() {
            Ok((dir, index))
        } else {
            Err(Errno::IO.into())
        }
    }

    /// Returns the place of an unchanged node.
    pub(super) fn place(&self, ino: u64) -> Lookup<VersionPlace> {
        let known = self.untouched.get(&ino).ok_or(Errno::NOENT)?;
        Ok(known.0)
    }

    /// Returns the tree of the version for a directory.
    pub(super) fn tree_of(&mut self, ino: u64) -> Lookup<Option<Id>> {
        if let Some(inode) = self.upper.inodes.get(&ino) {
            return match &inode.what {
                InodeBody::Dir { tree, .. } => Ok(*tree),
                _ => Err(Errno::NOTDIR.into()),
            };
        }
        let place = self.place(ino)?;
        let (dir, at) = self.entry(&place)?;
        match &dir[at].node {
            Node::Dir { tree, .. } => Ok(Some(*tree)),
            _ => Err(Errno::NOTDIR.into()),
        }
    }

    /// Returns the inode number of a node of the version.
    pub fn ino_at(&self, parent: u64, entry: &Entry) -> Lookup<u64> {
        let version = self.version_of(parent, entry)?;
        Ok(self
            .upper
            .ino_in_version(version, parent, &entry.name, entry.link.as_ref()))
    }

    fn version_of(&self, parent: u64, entry: &Entry) -> Lookup<u64> {
        match entry.link {
            Some(_) if self.upper.multi_version => self.version_dir_of(parent),
            _ => Ok(0),
        }
    }

    /// Remembers the reserved numbers that a node had to skip.
    fn note_skipped_inos(&mut self, parent: u64, entry: &Entry, ino: u64) -> Lookup<()> {
        if !self.upper.retired.is_empty() {
            let version = self.version_of(parent, entry)?;
            let source = InoSource {
                version,
                parent,
                name: &entry.name,
                link: entry.link.as_ref(),
            };
            let chain: Vec<u64> = self.upper.taken_inos(source).collect();
            if !chain.is_empty() {
                self.skipped_inos.insert(ino, chain);
            }
        }
        Ok(())
    }

    /// In a multi-version mount, returns the root of the version that contains a directory: the
    /// first directory on the way up whose entry is in a tree that was built in memory for this
    /// mount.
    fn version_dir_of(&self, dir: u64) -> Lookup<u64> {
        let mut at = dir;
        while at != ROOT_INO {
            let place = self.place(at)?;
            let tree = self.trees.get(place.tree as usize).ok_or(Errno::IO)?;
            if self.lower.repo().volatile().has(tree) {
                return Ok(at);
            }
            at = place.parent;
        }
        Ok(ROOT_INO)
    }

    /// Returns the inode number of a node of the version, and remembers its place.
    pub(super) fn register(
        &mut self,
        parent: u64,
        tree: &Id,
        index: usize,
        entry: &Entry,
    ) -> Lookup<u64> {
        let place = VersionPlace {
            parent,
            tree: self.tree_index(tree),
            index: u32::try_from(index).unwrap_or(u32::MAX),
        };
        let ino = self.ino_at(parent, entry)?;
        self.note_skipped_inos(parent, entry, ino)?;
        if entry.link.is_some() {
            self.aliases
                .entry(ino)
                .or_default()
                .insert(EntryRef::new(parent, &entry.name).to_owned());
        }
        if self.upper.inodes.contains_key(&ino) {
            return Ok(ino);
        }
        let known = self.untouched.entry(ino).or_insert((place, 0));
        // Hard links share a number. If two other nodes have the same number by chance, lookups of
        // the second one fail.
        if known.0 == place || entry.link.is_some() {
            Ok(ino)
        } else {
            Err(Errno::IO.into())
        }
    }

    /// Returns the inode number of a name.
    pub fn find(&mut self, parent: u64, name: &[u8]) -> Lookup<Option<u64>> {
        // The kernel accepts longer names for FUSE (`FUSE_NAME_MAX`), but a version does not.
        if name.len() > 255 {
            return Err(Errno::NAMETOOLONG.into());
        }
        if let Some(over) = self
            .upper
            .names
            .get(&parent)
            .and_then(|names| names.get(name))
        {
            return Ok(*over);
        }
        let Some(tree) = self.tree_of(parent)? else {
            return Ok(None);
        };
        let dir = self.dir(&tree)?;
        match dir.binary_search_by(|e| e.name.as_slice().cmp(name)) {
            Ok(at) => self.register(parent, &tree, at, &dir[at]).map(Some),
            Err(_) => Ok(None),
        }
    }

    /// Returns the attributes of an inode.
    pub fn attr(&mut self, ino: u64) -> Lookup<NodeAttr> {
        if let Some(InodeBody::File(data)) = self.upper.inodes.get(&ino).map(|inode| &inode.what)
            && data.is_written_by_kernel()
        {
            // Every reply with attributes passes here, and the kernel would trust an outdated
            // length.
            let data = Arc::clone(data);
            self.refresh_from_kernel(&data)?;
        }
        if let Some(inode) = self.upper.inodes.get(&ino) {
            return Ok(inode.attr(ino));
        }
        let place = self.place(ino)?;
        let (dir, at) = self.entry(&place)?;
        let mut attr = NodeAttr::of_entry(ino, &dir[at]);
        if place.is_retired() {
            attr.nlink = 0;
        }
        if let Node::Dir { tree, totals } = &dir[at].node {
            // For a directory that is not in memory, use the number of all directories below it,
            // which is an upper bound.
            let most = u32::try_from(totals.dirs).unwrap_or(u32::MAX - 2);
            attr.nlink = 2 + self.lower.known_dir(tree).map_or(most, |d| d.subdirs);
        }
        Ok(attr)
    }

    /// Reads the length and time of a file that the kernel writes to directly. Returns true if the
    /// write has removed privileges, so that the attributes in the kernel are outdated.
    pub fn refresh_from_kernel(&mut self, data: &FileData) -> Lookup<bool> {
        let Some(mtime) = data.refresh_from_kernel() else {
            return Ok(false);
        };
        let inode = self.change_times(data.ino())?;
        if inode.meta.mtime == mtime {
            return Ok(false);
        }
        inode.meta.mtime = mtime;
        // The clock of the underlying file system can be some milliseconds behind, and a change
        // time must not go back.
        inode.ctime = inode.ctime.max(mtime);
        let distrusted = has_privileges(&inode.meta, false);
        if distrusted {
            drop_privileges(&mut self.change(data.ino())?.meta, false);
        }
        Ok(distrusted)
    }

    /// Returns whether an inode still has the owner of the version.
    pub fn has_version_owner(&self, ino: u64) -> bool {
        self.upper
            .inodes
            .get(&ino)
            .is_none_or(|i| i.has_version_owner)
    }

    /// Calls `read` with the metadata of an inode and, for a symbolic link, its target.
    pub fn with_meta<T>(
        &mut self,
        ino: u64,
        read: impl FnOnce(&Meta, Option<&[u8]>) -> T,
    ) -> Lookup<T> {
        if let Some(inode) = self.upper.inodes.get(&ino) {
            let target = match &inode.what {
                InodeBody::Symlink(target) => Some(target.as_slice()),
                _ => None,
            };
            return Ok(read(&inode.meta, target));
        }
        let place = self.place(ino)?;
        let (dir, at) = self.entry(&place)?;
        let target = match &dir[at].node {
            Node::Symlink { target } => Some(target.as_slice()),
            _ => None,
        };
        Ok(read(&dir[at].meta, target))
    }

    /// Returns the parent directory of an inode.
    pub fn parent(&mut self, ino: u64) -> Lookup<u64> {
        if let Some(inode) = self.upper.inodes.get(&ino) {
            return Ok(inode.parent);
        }
        let place = self.place(ino)?;
        if place.is_retired() {
            Err(Errno::STALE.into())
        } else {
            Ok(place.parent)
        }
    }
}
