//! Names and inodes: the version's tree, and over it what was made, changed and removed.
//!
//! Everything here is memory. Where a directory of the version is needed that was not read yet, the answer is
//! [`Stop::Dir`], and whoever asked reads it and asks again; so nothing is changed before all is known that a change
//! needs. Inode numbers are hashes of a node's first place, so they stay the same without being written down.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::data::Data;
use super::errno::Errno;
use super::inode::{Attr, Inode, Kind, ROOT, What};
use super::lower::{Dir, Lower};
use super::space::Space;
use super::state::{Base, State};
use crate::codec::hash::checksum;
use crate::model::entry::{Entry, HardLink, Node, Totals};
use crate::model::id::Id;
use crate::write::commit::now;

/// Numbers of the version's nodes have this bit, those of new ones have not.
const OF_VERSION: u64 = 1 << 62;
/// It was of a version that is not shown any more.
const STALE: i32 = rustix::io::Errno::STALE.raw_os_error();
/// The most names of one inode.
const LINKS_MAX: u32 = 65_000;

/// Why something is not answered.
#[derive(Debug)]
pub enum Stop {
    /// This is the answer.
    Errno(Errno),
    /// This directory has to be read first.
    Dir(Id),
}

impl From<Errno> for Stop {
    fn from(e: Errno) -> Self {
        Self::Errno(e)
    }
}

type Found<T> = Result<T, Stop>;

/// What differs in a directory: a name and its inode, or that it is gone.
pub type Overrides = BTreeMap<Vec<u8>, Option<u64>>;

/// An untouched node of the version that the kernel knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    parent: u64,
    /// Number of the directory's tree.
    tree: u32,
    /// Its position there.
    index: u32,
}

/// What was made and changed; cheap to copy.
#[derive(Clone, Debug, Default)]
pub struct Upper {
    /// Inodes that differ from the version's, and all that the overrides name.
    pub inodes: HashMap<u64, Arc<Inode>>,
    /// Of directories, what differs.
    pub names: HashMap<u64, Arc<Overrides>>,
    /// Numbers are made with it, so that nobody can make a version in which two are the same.
    pub key: [u8; 16],
    /// Numbers of files that were open when another version was shown: the kernel keeps what it knows of them.
    pub retired: Arc<HashSet<u64>>,
}

impl Upper {
    /// The number of a node of the version at a place; names of one file have the same.
    pub fn number_of(&self, parent: u64, name: &[u8], link: Option<&HardLink>) -> u64 {
        let number = |salt| number_of(&self.key, parent, name, link, salt);
        (0..=u8::MAX).map(number).find(|n| !self.retired.contains(n)).unwrap_or_else(|| number(0))
    }
}

/// What the store does not know yet.
#[derive(Debug, Default)]
pub struct Pending {
    /// Inodes.
    pub inodes: HashSet<u64>,
    /// Names.
    pub names: HashSet<(u64, Vec<u8>)>,
    /// Inodes of which only times have changed: they can wait.
    pub times: HashSet<u64>,
}

/// One name of a directory.
#[derive(Clone, Debug)]
pub struct Listed {
    /// The name.
    pub name: Vec<u8>,
    /// Its inode.
    pub ino: u64,
    /// Its type.
    pub kind: Kind,
    /// Its position in the directory, the same as long as it is there, whatever else comes and goes.
    pub at: u64,
}

/// The names of a mount.
pub struct Names {
    lower: Arc<Lower>,
    space: Arc<Space>,
    trees: Vec<Id>,
    tree_numbers: HashMap<Id, u32>,
    untouched: HashMap<u64, (Place, u64)>,
    /// Nodes that the kernel knows of the version that was shown before: where they were, and how often it holds them.
    before: HashMap<u64, (u64, Vec<u8>, u64)>,
    /// Files of a version that is not shown any more, which somebody has open still.
    lingering: HashMap<u64, Attr>,
    /// Names of files of the version that have several, as far as they were asked for.
    aliases: HashSet<(u64, u64, Vec<u8>)>,
    /// Open files of untouched nodes.
    reading: HashMap<u64, Arc<Data>>,
    upper: Upper,
    /// How often the kernel holds an inode of `upper`.
    held: HashMap<u64, u64>,
    /// How often an inode is open: through us, and by the kernel alone.
    opened: HashMap<u64, (u64, u64)>,
    next: u64,
    pending: Pending,
    /// Inodes that differ from the last commit.
    changed: HashSet<u64>,
    /// Inodes of a version that is being made: until it is, they differ too.
    committing: HashSet<u64>,
}

impl Names {
    /// Over a version: `upper` as it was put down, with its root; `changed` since the last commit.
    pub fn new(lower: Arc<Lower>, space: Arc<Space>, upper: Upper, changed: HashSet<u64>) -> Self {
        let next = upper.inodes.keys().filter(|n| *n & OF_VERSION == 0).max().map_or(ROOT, |n| *n) + 1;
        Self {
            lower,
            space,
            trees: Vec::new(),
            tree_numbers: HashMap::new(),
            untouched: HashMap::new(),
            before: HashMap::new(),
            aliases: HashSet::new(),
            lingering: HashMap::new(),
            reading: HashMap::new(),
            upper,
            held: HashMap::new(),
            opened: HashMap::new(),
            next,
            pending: Pending::default(),
            changed,
            committing: HashSet::new(),
        }
    }

    /// What was made and changed.
    pub fn upper(&self) -> &Upper {
        &self.upper
    }

    /// What the store does not know yet; it is taken for known then.
    pub fn take_pending(&mut self) -> Pending {
        std::mem::take(&mut self.pending)
    }

    /// Gives back what could not be stored.
    pub fn put_back(&mut self, pending: Pending) {
        self.pending.inodes.extend(pending.inodes);
        self.pending.names.extend(pending.names);
        self.pending.times.extend(pending.times);
    }

    /// Notes that times of an inode changed, which a later flush may tell.
    pub fn times(&mut self, ino: u64) -> Found<&mut Inode> {
        self.raise(ino)?;
        self.pending.times.insert(ino);
        self.changed.insert(ino);
        let inode = self.upper.inodes.get_mut(&ino).ok_or(Errno::NOENT)?;
        Ok(Arc::make_mut(inode))
    }

    /// Whether the store knows everything.
    pub fn is_stored(&self) -> bool {
        self.pending.inodes.is_empty() && self.pending.names.is_empty()
    }

    /// Whether an inode differs from the last commit.
    pub fn is_changed(&self, ino: u64) -> bool {
        self.changed.contains(&ino) || self.committing.contains(&ino)
    }

    /// Whether any inode does.
    pub fn any_changed(&self) -> bool {
        !self.changed.is_empty() || !self.committing.is_empty()
    }

    /// Begins a version of what differs.
    pub fn begin_commit(&mut self) -> HashSet<u64> {
        self.committing = std::mem::take(&mut self.changed);
        self.committing.clone()
    }

    /// Ends it. What is not in a version still differs.
    pub fn end_commit(&mut self, left: impl IntoIterator<Item = u64>) {
        let done = std::mem::take(&mut self.committing);
        self.pending.inodes.extend(done);
        self.still_changed(left);
    }

    /// Notes that inodes still differ.
    fn still_changed(&mut self, inodes: impl IntoIterator<Item = u64>) {
        for ino in inodes {
            if self.upper.inodes.contains_key(&ino) {
                self.changed.insert(ino);
                self.pending.inodes.insert(ino);
            }
        }
    }

    /// Notes that the store has to know inodes anew.
    pub fn note(&mut self, inodes: impl IntoIterator<Item = u64>) {
        self.pending.inodes.extend(inodes);
    }

    /// Notes that directories are stored as something, or that nobody knows as what.
    pub fn stored(&mut self, dirs: &[(u64, Option<(Id, Totals)>)]) {
        for (ino, as_what) in dirs {
            if let Some(inode) = self.upper.inodes.get_mut(ino)
                && let What::Dir { stored, .. } = &mut Arc::make_mut(inode).what
            {
                *stored = *as_what;
                self.pending.inodes.insert(*ino);
            }
        }
    }

    /// Untouched nodes that the kernel knows, inodes that are kept, and open ones.
    pub fn counts(&self) -> (usize, usize, usize) {
        (self.untouched.len(), self.upper.inodes.len(), self.opened.len())
    }

    /// The path of a node; `None` where it has no name.
    pub fn path(&mut self, ino: u64) -> Found<Option<Vec<u8>>> {
        let mut names: Vec<Vec<u8>> = Vec::new();
        let mut at = ino;
        while at != ROOT {
            if let Some(inode) = self.upper.inodes.get(&at) {
                if inode.nlink == 0 {
                    return Ok(None);
                }
                names.push(inode.name.clone());
                at = inode.parent;
            } else {
                let place = self.place(at)?;
                let (dir, index) = self.entry(&place)?;
                names.push(dir[index].name.clone());
                at = place.parent;
            }
        }
        names.reverse();
        Ok(Some(names.join(&b'/')))
    }

    /// Inodes of which the store does not know all; `times`: also those of which only times changed.
    pub fn to_be_told(&self, times: bool) -> impl Iterator<Item = &Arc<Inode>> {
        let times = self.pending.times.iter().filter(move |_| times);
        self.pending.inodes.iter().chain(times).filter_map(|ino| self.upper.inodes.get(ino))
    }

    /// Directories that the kernel knows, with the names in them as far as they are at hand.
    pub fn known_dirs(&mut self) -> Vec<(u64, HashSet<Vec<u8>>)> {
        let known: Vec<u64> = self.untouched.keys().chain(self.upper.inodes.keys()).copied().collect();
        let mut out = Vec::new();
        for ino in known {
            if self.attr(ino).is_ok_and(|attr| attr.kind == Kind::Dir) {
                let names = self.list(ino).unwrap_or_default();
                out.push((ino, names.into_iter().map(|listed| listed.name).collect()));
            }
        }
        out
    }

    /// Shows another version, of which nothing is changed; `upper` holds its root. What the kernel knows is found there
    /// when it asks for it, but, to `retire` them, not open files. Returns that: inodes, each with the directory and the name by which it was known.
    pub fn replace(&mut self, upper: Upper, retire: bool) -> Vec<(u64, u64, Vec<u8>)> {
        let mut known: Vec<(u64, u64, Vec<u8>)> = Vec::new();
        for ino in self.opened.keys().copied().collect::<Vec<_>>() {
            if let Some(attr) = self.attr(ino).ok().filter(|_| retire) {
                self.lingering.insert(ino, attr);
            }
        }
        let mut before = std::mem::take(&mut self.before);
        for (ino, (place, held)) in std::mem::take(&mut self.untouched) {
            if let Ok((dir, at)) = self.entry(&place) {
                before.insert(ino, (place.parent, dir[at].name.clone(), held));
            }
        }
        for (ino, inode) in &self.upper.inodes {
            if let Some(held) = self.held.remove(ino).filter(|_| *ino != ROOT) {
                before.insert(*ino, (inode.parent, inode.name.clone(), held));
            }
        }
        known.extend(before.iter().map(|(ino, (parent, name, _))| (*ino, *parent, name.clone())));
        // A file with several names is noted with one of them, and the kernel may know all.
        for (parent, names) in &self.upper.names {
            known.extend(names.iter().filter_map(|(name, ino)| Some(((*ino)?, *parent, name.clone()))));
        }
        known.extend(std::mem::take(&mut self.aliases));
        self.before = before;
        // What is open stays what it is for whoever has it open: the kernel would keep its old length.
        let open = self.opened.keys().filter(|ino| retire && !is_dir(&self.upper, **ino));
        let retired: HashSet<u64> = self.upper.retired.iter().chain(open).copied().collect();
        self.upper = Upper { retired: Arc::new(retired), key: self.upper.key, ..upper };
        self.held.clear();
        self.pending = Pending::default();
        self.changed.clear();
        self.committing.clear();
        self.trees.clear();
        self.tree_numbers.clear();
        known
    }

    /// Open files of untouched nodes.
    pub fn open_files(&self) -> Vec<Arc<Data>> {
        self.reading.values().cloned().collect()
    }

    /// What the version has as a file under a number.
    pub fn base_of(&mut self, ino: u64) -> Found<Arc<Base>> {
        let place = self.place(ino)?;
        let (dir, at) = self.entry(&place)?;
        match &dir[at].node {
            Node::File { size, chunker, content } => {
                Ok(Arc::new(Base { content: content.clone(), size: *size, chunker: *chunker }))
            }
            _ => Err(Errno(STALE).into()),
        }
    }

    fn tree_number(&mut self, tree: &Id) -> u32 {
        if let Some(n) = self.tree_numbers.get(tree) {
            return *n;
        }
        let n = u32::try_from(self.trees.len()).unwrap_or(u32::MAX);
        self.trees.push(*tree);
        self.tree_numbers.insert(*tree, n);
        n
    }

    fn dir(&self, tree: &Id) -> Found<Dir> {
        self.lower.known_dir(tree).ok_or(Stop::Dir(*tree))
    }

    /// The entry of an untouched node.
    fn entry(&self, place: &Place) -> Found<(Dir, usize)> {
        let tree = self.trees.get(place.tree as usize).ok_or(Errno::IO)?;
        let (dir, index) = (self.dir(tree)?, place.index as usize);
        if index < dir.len() { Ok((dir, index)) } else { Err(Errno::IO.into()) }
    }

    /// Where an untouched node is.
    fn place(&mut self, ino: u64) -> Found<Place> {
        if let Some((place, _)) = self.untouched.get(&ino) {
            return Ok(*place);
        }
        // It may be in this version too.
        let (parent, name, held) = self.before.get(&ino).cloned().ok_or(Errno::NOENT)?;
        match self.find(parent, &name)? {
            Some(found) if found == ino => {}
            _ => return Err(Errno(STALE).into()),
        }
        self.before.remove(&ino);
        match self.untouched.get_mut(&ino) {
            Some(known) => {
                known.1 += held;
                Ok(known.0)
            }
            None => Err(Errno(STALE).into()),
        }
    }

    /// The version's directory below a directory.
    fn tree_of(&mut self, ino: u64) -> Found<Option<Id>> {
        if let Some(inode) = self.upper.inodes.get(&ino) {
            return match &inode.what {
                What::Dir { tree, .. } => Ok(*tree),
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

    /// The number of a node of the version at its place; the node is known then.
    fn number(&mut self, parent: u64, tree: &Id, index: usize, entry: &Entry) -> u64 {
        let place = Place { parent, tree: self.tree_number(tree), index: u32::try_from(index).unwrap_or(u32::MAX) };
        let ino = self.upper.number_of(parent, &entry.name, entry.link.as_ref());
        if entry.link.is_some() {
            self.aliases.insert((ino, parent, entry.name.clone()));
        }
        if self.upper.inodes.contains_key(&ino) {
            return ino;
        }
        let known = self.untouched.entry(ino).or_insert((place, 0));
        // Two names of one file are the same number. Should two files be, then the second is not shown.
        if known.0 == place || entry.link.is_some() { ino } else { 0 }
    }

    /// The inode of a name.
    pub fn find(&mut self, parent: u64, name: &[u8]) -> Found<Option<u64>> {
        if name.len() > 255 {
            return Err(Errno::NAMETOOLONG.into());
        }
        if let Some(over) = self.upper.names.get(&parent).and_then(|names| names.get(name)) {
            return Ok(*over);
        }
        let Some(tree) = self.tree_of(parent)? else { return Ok(None) };
        let dir = self.dir(&tree)?;
        match dir.binary_search_by(|e| e.name.as_slice().cmp(name)) {
            Ok(at) => match self.number(parent, &tree, at, &dir[at]) {
                0 => Err(Errno::IO.into()),
                ino => Ok(Some(ino)),
            },
            Err(_) => Ok(None),
        }
    }

    /// What `stat` says of an inode.
    pub fn attr(&mut self, ino: u64) -> Found<Attr> {
        if let Some(inode) = self.upper.inodes.get(&ino) {
            return Ok(inode.attr(ino));
        }
        if let Some(attr) = self.lingering.get(&ino) {
            return Ok(*attr);
        }
        let place = self.place(ino)?;
        let (dir, at) = self.entry(&place)?;
        let mut attr = Attr::of_entry(ino, &dir[at]);
        if let Node::Dir { tree, totals } = &dir[at].node {
            // One that was not read yet has at most so many.
            let most = u32::try_from(totals.dirs).unwrap_or(u32::MAX - 2);
            attr.nlink = 2 + self.lower.known_dir(tree).map_or(most, |d| d.subdirs);
        }
        Ok(attr)
    }

    /// Whether an inode's owner is the version's.
    pub fn is_foreign(&self, ino: u64) -> bool {
        self.upper.inodes.get(&ino).is_none_or(|i| i.foreign)
    }

    /// Calls `look` with an inode's attributes and, of a symbolic link, its target.
    pub fn look<T>(&mut self, ino: u64, look: impl FnOnce(&crate::model::entry::Meta, Option<&[u8]>) -> T) -> Found<T> {
        if let Some(inode) = self.upper.inodes.get(&ino) {
            let target = match &inode.what {
                What::Symlink(target) => Some(target.as_slice()),
                _ => None,
            };
            return Ok(look(&inode.meta, target));
        }
        let place = self.place(ino)?;
        let (dir, at) = self.entry(&place)?;
        let target = match &dir[at].node {
            Node::Symlink { target } => Some(target.as_slice()),
            _ => None,
        };
        Ok(look(&dir[at].meta, target))
    }

    /// The directory above one.
    pub fn parent(&mut self, ino: u64) -> Found<u64> {
        if let Some(inode) = self.upper.inodes.get(&ino) {
            return Ok(inode.parent);
        }
        Ok(self.place(ino)?.parent)
    }

    /// The version's directory where nothing differs from it, for a listing without copies.
    pub fn plain_dir(&mut self, ino: u64) -> Found<Option<Dir>> {
        if self.upper.names.get(&ino).is_some_and(|names| !names.is_empty()) {
            return Ok(None);
        }
        let Some(tree) = self.tree_of(ino)? else { return Ok(None) };
        self.dir(&tree).map(Some)
    }

    /// The version's directory below a directory.
    pub fn below(&mut self, ino: u64) -> Found<Option<Dir>> {
        let tree = self.tree_of(ino)?;
        tree.map(|tree| self.dir(&tree)).transpose()
    }

    /// All names of a directory, by position: those of the version in its order, then others.
    pub fn list(&mut self, ino: u64) -> Found<Vec<Listed>> {
        let tree = self.tree_of(ino)?;
        let dir = tree.as_ref().map(|tree| self.dir(tree)).transpose()?;
        let over = self.upper.names.get(&ino).cloned().unwrap_or_default();
        let mut out = Vec::new();
        if let Some(dir) = &dir {
            for (index, entry) in dir.iter().enumerate() {
                if !over.contains_key(&entry.name) {
                    let number = self.upper.number_of(ino, &entry.name, entry.link.as_ref());
                    let (kind, at) = (Kind::of(&entry.node), position(index));
                    out.push(Listed { name: entry.name.clone(), ino: number, kind, at });
                }
            }
        }
        for (name, number) in over.iter() {
            if let Some(number) = number
                && let Some(inode) = self.upper.inodes.get(number)
            {
                let of_version = dir.as_ref().and_then(|dir| dir.binary_search_by(|e| e.name.cmp(name)).ok());
                let at = of_version.map_or_else(|| self.upper.number_of(ino, name, None), position);
                out.push(Listed { name: name.clone(), ino: *number, kind: inode.kind(), at });
            }
        }
        out.sort_unstable_by(|a, b| (a.at, &a.name).cmp(&(b.at, &b.name)));
        Ok(out)
    }

    /// Whether a directory holds nothing.
    pub fn is_empty(&mut self, ino: u64) -> Found<bool> {
        let tree = self.tree_of(ino)?;
        let over = self.upper.names.get(&ino);
        if over.is_some_and(|names| names.values().any(Option::is_some)) {
            return Ok(false);
        }
        let Some(tree) = tree else { return Ok(true) };
        let gone = |name: &Vec<u8>| over.is_some_and(|names| names.contains_key(name));
        Ok(self.dir(&tree)?.iter().all(|e| gone(&e.name)))
    }

    /// Counts that the kernel was told of an inode.
    pub fn hold(&mut self, ino: u64) {
        match self.untouched.get_mut(&ino) {
            Some(known) => known.1 += 1,
            None => *self.held.entry(ino).or_default() += 1,
        }
    }

    /// Counts that the kernel let go of an inode so many times. Returns a file that is gone for good.
    pub fn forget(&mut self, ino: u64, times: u64) -> Option<Arc<Data>> {
        let mut times = times;
        if let Some(known) = self.before.get_mut(&ino) {
            let less = times.min(known.2);
            known.2 -= less;
            times -= less;
            if known.2 == 0 {
                self.before.remove(&ino);
            }
        }
        if let Some(known) = self.untouched.get_mut(&ino) {
            known.1 = known.1.saturating_sub(times);
            if known.1 == 0 && !self.reading.contains_key(&ino) {
                self.untouched.remove(&ino);
            }
            return None;
        }
        if let Some(held) = self.held.get_mut(&ino) {
            *held = held.saturating_sub(times);
            if *held == 0 {
                self.held.remove(&ino);
            }
        }
        self.purge(ino)
    }

    /// Removes an inode that has no name and that nobody holds.
    fn purge(&mut self, ino: u64) -> Option<Arc<Data>> {
        let inode = self.upper.inodes.get(&ino)?;
        if inode.nlink > 0 || self.held.contains_key(&ino) || self.opened.contains_key(&ino) {
            return None;
        }
        let inode = self.upper.inodes.remove(&ino)?;
        self.upper.names.remove(&ino);
        self.pending.inodes.insert(ino);
        self.changed.remove(&ino);
        match &inode.what {
            What::File(data) => Some(Arc::clone(data)),
            _ => None,
        }
    }

    /// The bytes of a file that is opened. Each is to be closed.
    pub fn open(&mut self, ino: u64) -> Found<Arc<Data>> {
        let data = match self.upper.inodes.get(&ino) {
            Some(inode) => match &inode.what {
                What::File(data) => Arc::clone(data),
                What::Dir { .. } => return Err(Errno::ISDIR.into()),
                _ => return Err(Errno::INVAL.into()),
            },
            None => match self.reading.get(&ino) {
                Some(data) => Arc::clone(data),
                None => {
                    let place = self.place(ino)?;
                    let (dir, at) = self.entry(&place)?;
                    if !matches!(dir[at].node, Node::File { .. }) {
                        return Err(Errno::INVAL.into());
                    }
                    let data = Arc::new(Data::new(ino, Arc::clone(&self.space), State::of(self.base_of(ino)?)));
                    self.reading.insert(ino, Arc::clone(&data));
                    data
                }
            },
        };
        self.opened.entry(ino).or_default().0 += 1;
        Ok(data)
    }

    /// Makes the last opening of an inode one by the kernel alone, if it may be: all of its openings have to be alike.
    pub fn open_alone(&mut self, ino: u64, complete: bool) -> bool {
        let Some(opened) = self.opened.get_mut(&ino) else { return false };
        let may = opened.1 > 0 || complete && opened.0 == 1;
        if may {
            opened.0 -= 1;
            opened.1 += 1;
        }
        may
    }

    /// Makes the last opening of an inode one through us again.
    pub fn open_through(&mut self, ino: u64) {
        if let Some(opened) = self.opened.get_mut(&ino) {
            opened.0 += 1;
            opened.1 = opened.1.saturating_sub(1);
        }
    }

    /// Closes a file once. True if nobody has it open now, with the file where it is gone for good.
    pub fn close(&mut self, ino: u64, alone: bool) -> (bool, Option<Arc<Data>>) {
        if let Some(opened) = self.opened.get_mut(&ino) {
            let n = if alone { &mut opened.1 } else { &mut opened.0 };
            *n = n.saturating_sub(1);
            if *opened != (0, 0) {
                return (false, None);
            }
        }
        self.opened.remove(&ino);
        self.lingering.remove(&ino);
        self.reading.remove(&ino);
        if self.untouched.get(&ino).is_some_and(|known| known.1 == 0) {
            self.untouched.remove(&ino);
        }
        (true, self.purge(ino))
    }

    /// Makes sure that an inode can be changed.
    pub fn raise(&mut self, ino: u64) -> Found<()> {
        if self.upper.inodes.contains_key(&ino) {
            return Ok(());
        }
        let place = self.place(ino)?;
        // Whatever is above something changed can be named without looking at the version.
        self.raise(place.parent)?;
        let (dir, at) = self.entry(&place)?;
        let subdirs = match &dir[at].node {
            Node::Dir { tree, .. } => self.dir(tree)?.subdirs,
            _ => 0,
        };
        let mut inode = Inode::of_entry(ino, place.parent, &dir[at], self.reading.remove(&ino), &self.space);
        if inode.kind() == Kind::Dir {
            inode.nlink = 2 + subdirs;
        }
        if let Some((_, held)) = self.untouched.remove(&ino).filter(|known| known.1 > 0) {
            self.held.insert(ino, held);
        }
        self.upper.inodes.insert(ino, Arc::new(inode));
        self.pending.inodes.insert(ino);
        Ok(())
    }

    /// An inode to be changed, noted as different from the last commit.
    pub fn change(&mut self, ino: u64) -> Found<&mut Inode> {
        self.raise(ino)?;
        self.pending.inodes.insert(ino);
        self.changed.insert(ino);
        let inode = self.upper.inodes.get_mut(&ino).ok_or(Errno::NOENT)?;
        Ok(Arc::make_mut(inode))
    }

    /// An inode of which only that changes which no version holds.
    pub fn touch(&mut self, ino: u64) -> Found<&mut Inode> {
        self.raise(ino)?;
        self.pending.inodes.insert(ino);
        let inode = self.upper.inodes.get_mut(&ino).ok_or(Errno::NOENT)?;
        Ok(Arc::make_mut(inode))
    }

    fn put_name(&mut self, parent: u64, name: &[u8], ino: Option<u64>) {
        let names = Arc::make_mut(self.upper.names.entry(parent).or_default());
        match ino {
            Some(ino) => names.insert(name.to_vec(), Some(ino)),
            None => {
                // What was made here leaves nothing behind.
                let below = match self.upper.inodes.get(&parent).map(|i| &i.what) {
                    Some(What::Dir { tree, .. }) => tree.and_then(|tree| self.lower.known_dir(&tree)),
                    _ => None,
                };
                let made_here =
                    matches!(self.upper.inodes.get(&parent).map(|i| &i.what), Some(What::Dir { tree: None, .. }));
                let is_below = below.map(|dir| dir.binary_search_by(|e| e.name.as_slice().cmp(name)).is_ok());
                match is_below.unwrap_or(!made_here) {
                    true => names.insert(name.to_vec(), None),
                    false => names.remove(name),
                }
            }
        };
        self.pending.names.insert((parent, name.to_vec()));
    }

    /// So many more directories are in one.
    fn count_dirs(&mut self, dir: u64, more: i32) -> Found<()> {
        if more != 0 {
            let inode = self.change(dir)?;
            inode.nlink = inode.nlink.saturating_add_signed(more);
        }
        Ok(())
    }

    /// Notes that names of a directory have changed.
    fn stamp(&mut self, dir: u64) -> Found<()> {
        let now = now();
        let inode = self.change(dir)?;
        inode.meta.mtime = now;
        inode.ctime = now;
        Ok(())
    }

    /// Makes a node. `what` gets its number.
    pub fn make(
        &mut self,
        parent: u64,
        name: &[u8],
        meta: crate::model::entry::Meta,
        what: impl FnOnce(u64, &Arc<Space>) -> What,
    ) -> Found<u64> {
        if self.find(parent, name)?.is_some() {
            return Err(Errno::EXIST.into());
        }
        self.raise(parent)?;
        if self.upper.inodes.get(&parent).is_some_and(|dir| dir.nlink == 0) {
            return Err(Errno::NOENT.into());
        }
        let ino = self.next;
        self.next += 1;
        let (mtime, what) = (meta.mtime, what(ino, &self.space));
        let (own, is_dir) = (name.to_vec(), matches!(what, What::Dir { .. }));
        let nlink = if is_dir { 2 } else { 1 };
        let inode = Inode { meta, atime: mtime, ctime: mtime, nlink, parent, name: own, foreign: false, what };
        self.upper.inodes.insert(ino, Arc::new(inode));
        self.pending.inodes.insert(ino);
        self.changed.insert(ino);
        self.put_name(parent, name, Some(ino));
        self.stamp(parent)?;
        self.count_dirs(parent, i32::from(is_dir))?;
        Ok(ino)
    }

    /// One more name of an inode.
    pub fn link(&mut self, ino: u64, parent: u64, name: &[u8]) -> Found<()> {
        if self.find(parent, name)?.is_some() {
            return Err(Errno::EXIST.into());
        }
        self.raise(ino)?;
        self.raise(parent)?;
        // Its own name is written down, so that all of them are found.
        let own = self.upper.inodes.get(&ino).map(|inode| (inode.parent, inode.name.clone())).ok_or(Errno::NOENT)?;
        self.raise(own.0)?;
        if self.find(own.0, &own.1)? == Some(ino) {
            self.put_name(own.0, &own.1, Some(ino));
        }
        let inode = self.change(ino)?;
        match inode.nlink {
            0 => return Err(Errno::NOENT.into()),
            LINKS_MAX.. => return Err(Errno::MLINK.into()),
            _ => {}
        }
        inode.nlink += 1;
        inode.ctime = now();
        self.put_name(parent, name, Some(ino));
        self.stamp(parent)
    }

    /// Removes a name. Returns a file that is gone for good.
    pub fn remove(&mut self, parent: u64, name: &[u8], dir: bool) -> Found<Option<Arc<Data>>> {
        let ino = self.find(parent, name)?.ok_or(Errno::NOENT)?;
        let is_dir = self.attr(ino)?.kind == Kind::Dir;
        match (dir, is_dir) {
            (true, false) => return Err(Errno::NOTDIR.into()),
            (false, true) => return Err(Errno::ISDIR.into()),
            (true, true) if !self.is_empty(ino)? => return Err(Errno::NOTEMPTY.into()),
            _ => {}
        }
        self.raise(ino)?;
        self.raise(parent)?;
        self.put_name(parent, name, None);
        self.stamp(parent)?;
        self.count_dirs(parent, -i32::from(is_dir))?;
        self.drop_name(ino, is_dir, (parent, name))
    }

    /// One name less.
    fn drop_name(&mut self, ino: u64, is_dir: bool, gone: (u64, &[u8])) -> Found<Option<Arc<Data>>> {
        let inode = self.change(ino)?;
        inode.nlink = if is_dir { 0 } else { inode.nlink.saturating_sub(1) };
        inode.ctime = now();
        if inode.nlink > 0 && (inode.parent, inode.name.as_slice()) == gone {
            // It is known by another of its names from now on.
            let other = self.upper.names.iter().find_map(|(parent, names)| {
                names.iter().find(|(_, n)| **n == Some(ino)).map(|(name, _)| (*parent, name.clone()))
            });
            if let (Some((parent, name)), Ok(inode)) = (other, self.change(ino)) {
                (inode.parent, inode.name) = (parent, name);
            }
        }
        Ok(self.purge(ino))
    }

    /// Moves a name. Returns a file that was replaced and is gone for good.
    pub fn rename(&mut self, from: (u64, &[u8]), to: (u64, &[u8]), how: Rename) -> Found<Option<Arc<Data>>> {
        let ino = self.find(from.0, from.1)?.ok_or(Errno::NOENT)?;
        let there = self.find(to.0, to.1)?;
        let is_dir = self.attr(ino)?.kind == Kind::Dir;
        self.raise(from.0)?;
        self.raise(to.0)?;
        self.raise(ino)?;
        if let Some(other) = there {
            if how == Rename::Fresh {
                return Err(Errno::EXIST.into());
            }
            if other == ino && how != Rename::Exchange {
                return Ok(None);
            }
            let other_is_dir = self.attr(other)?.kind == Kind::Dir;
            if how == Rename::Replace {
                match (is_dir, other_is_dir) {
                    (true, false) => return Err(Errno::NOTDIR.into()),
                    (false, true) => return Err(Errno::ISDIR.into()),
                    (true, true) if !self.is_empty(other)? => return Err(Errno::NOTEMPTY.into()),
                    _ => {}
                }
            }
            self.raise(other)?;
        } else if how == Rename::Exchange {
            return Err(Errno::NOENT.into());
        }
        let now = now();
        let gone = match (how, there) {
            (Rename::Exchange, Some(other)) => {
                self.put_name(from.0, from.1, Some(other));
                let inode = self.change(other)?;
                (inode.parent, inode.name) = (from.0, from.1.to_vec());
                inode.ctime = now;
                let came = i32::from(inode.kind() == Kind::Dir);
                self.count_dirs(from.0, came)?;
                self.count_dirs(to.0, -came)?;
                None
            }
            (_, Some(other)) => {
                let other_is_dir = self.attr(other)?.kind == Kind::Dir;
                self.put_name(from.0, from.1, None);
                self.count_dirs(to.0, -i32::from(other_is_dir))?;
                self.drop_name(other, other_is_dir, to)?
            }
            (_, None) => {
                self.put_name(from.0, from.1, None);
                None
            }
        };
        self.put_name(to.0, to.1, Some(ino));
        let inode = self.change(ino)?;
        (inode.parent, inode.name) = (to.0, to.1.to_vec());
        inode.ctime = now;
        self.stamp(from.0)?;
        self.stamp(to.0)?;
        self.count_dirs(from.0, -i32::from(is_dir))?;
        self.count_dirs(to.0, i32::from(is_dir))?;
        Ok(gone)
    }
}

fn is_dir(upper: &Upper, ino: u64) -> bool {
    upper.inodes.get(&ino).is_some_and(|inode| inode.kind() == Kind::Dir)
}

fn number_of(key: &[u8; 16], parent: u64, name: &[u8], link: Option<&HardLink>, salt: u8) -> u64 {
    let hash = match link {
        Some(link) => checksum(&[key, b"link", &[salt], &link.group]),
        None => checksum(&[key, b"name", &[salt], &parent.to_be_bytes(), name]),
    };
    let mut low = [0; 8];
    low.copy_from_slice(&hash[..8]);
    u64::from_be_bytes(low) & (OF_VERSION - 1) | OF_VERSION
}

/// The position of an entry of the version's directory: behind `.` and `..`, of which reading goes on at 1 and 2.
pub fn position(index: usize) -> u64 {
    index as u64 + 3
}

/// What a rename does with a name that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rename {
    /// It goes.
    Replace,
    /// Nothing may be there.
    Fresh,
    /// Both change places.
    Exchange,
}
