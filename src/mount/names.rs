//! Names and inodes: the version's tree, and over it what was made, changed and removed.
//!
//! Everything here is memory. Where a directory of the version is needed that was not read yet, the answer is
//! [`Stop::Dir`], and whoever asked reads it and asks again; so nothing is changed before all is known that a change
//! needs. Inode numbers are hashes of a node's first place, so they stay the same without being written down.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::data::Data;
use super::errno::Errno;
use super::inode::{Inode, Kind, ROOT, What};
use super::lower::Lower;
use super::space::Space;
use crate::codec::hash::checksum;
use crate::model::entry::{HardLink, Node, Totals};
use crate::model::id::Id;

mod change;
mod held;
mod look;
mod plan;

pub use change::Rename;
pub use look::{Listed, position};
pub use plan::{Dirs, Forgotten, Moved, Plan};

/// Numbers of the version's nodes have this bit, those of new ones have not.
const OF_VERSION: u64 = 1 << 62;

/// The directory of inodes that the version which is shown does not have, and that the kernel may know still.
const RETIRED: u64 = 0;

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

impl Place {
    /// Whether it is one of a version that is not shown any more.
    fn is_retired(&self) -> bool {
        self.parent == RETIRED
    }
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
    /// Numbers that no node gets: the kernel may know inodes of a version by them that is not shown any more. See
    /// [`Plan`].
    pub retired: Arc<HashSet<u64>>,
    /// Directories that were made here and are in the version now: their numbers, by those that they would have of it.
    pub given: Arc<HashMap<u64, u64>>,
    /// Whether the directories show several versions.
    pub several: bool,
}

impl Upper {
    /// Returns the number of a node of the version at a place; the hard links of one file have the same.
    pub fn number_of(&self, parent: u64, name: &[u8], link: Option<&HardLink>) -> u64 {
        self.number_in(0, parent, name, link)
    }

    /// Returns the same in a mount that shows several versions: `version` is the directory of the one that the node is in,
    /// because each version has its own hard links, under the same group ids.
    fn number_in(&self, version: u64, parent: u64, name: &[u8], link: Option<&HardLink>) -> u64 {
        let number = self.free_number((version, parent, name, link));
        self.given.get(&number).copied().unwrap_or(number)
    }

    fn free_number(&self, place: Spot<'_>) -> u64 {
        self.numbers(place).find(|n| !self.retired.contains(n)).unwrap_or(0)
    }

    /// The numbers of a place that it does not have because they are taken.
    fn taken_numbers<'s>(&'s self, place: Spot<'s>) -> impl Iterator<Item = u64> + 's {
        self.numbers(place).take_while(|n| self.retired.contains(n))
    }

    /// The numbers of a place, the first of which that is not taken is its own.
    fn numbers<'s>(&'s self, place: Spot<'s>) -> impl Iterator<Item = u64> + 's {
        (0..).map(move |salt| number_of(&self.key, place, salt))
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

/// How often an inode is open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Openings {
    /// Through this process.
    through: u64,
    /// By the kernel alone.
    alone: u64,
    /// How many of all these are for writing.
    writers: u64,
}

/// The names of a mount.
pub struct Names {
    lower: Arc<Lower>,
    space: Arc<Space>,
    trees: Vec<Id>,
    tree_numbers: HashMap<Id, u32>,
    untouched: HashMap<u64, (Place, u64)>,
    /// Names by which the kernel may know a file of the version that has several: by inode, directories and names.
    aliases: HashMap<u64, HashSet<(u64, Vec<u8>)>>,
    /// Numbers that nodes did not get because they were taken.
    chains: HashMap<u64, Vec<u64>>,
    /// Open files of untouched nodes.
    reading: HashMap<u64, Arc<Data>>,
    upper: Upper,
    /// Of inodes with several names, those that are written down in `upper`: directories and names. To look for them
    /// there would take longer the more was changed.
    hard_links: HashMap<u64, HashSet<(u64, Vec<u8>)>>,
    /// How often the kernel holds an inode of `upper`.
    held: HashMap<u64, u64>,
    /// How often an inode is open.
    opened: HashMap<u64, Openings>,
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
        let mut hard_links: HashMap<u64, HashSet<(u64, Vec<u8>)>> = HashMap::new();
        let has_several = |ino: &u64| upper.inodes.get(ino).is_some_and(|i| i.nlink > 1 && i.kind() != Kind::Dir);
        for (ino, _) in upper.inodes.iter().filter(|(ino, _)| has_several(ino)) {
            hard_links.entry(*ino).or_default();
        }
        for (parent, names) in &upper.names {
            for (name, ino) in names.iter() {
                if let Some(all) = ino.and_then(|ino| hard_links.get_mut(&ino)) {
                    all.insert((*parent, name.clone()));
                }
            }
        }
        let next = upper.inodes.keys().filter(|n| *n & OF_VERSION == 0).max().map_or(ROOT, |n| *n) + 1;
        Self {
            lower,
            space,
            trees: Vec::new(),
            tree_numbers: HashMap::new(),
            untouched: HashMap::new(),
            aliases: HashMap::new(),
            chains: HashMap::new(),
            reading: HashMap::new(),
            upper,
            hard_links,
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

    /// Whether there is anything that the store does not know yet.
    pub fn has_pending(&self) -> bool {
        !self.pending.inodes.is_empty() || !self.pending.names.is_empty() || !self.pending.times.is_empty()
    }

    /// Gives back what could not be stored.
    pub fn put_back(&mut self, pending: Pending) {
        self.pending.inodes.extend(pending.inodes);
        self.pending.names.extend(pending.names);
        self.pending.times.extend(pending.times);
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

    /// Inodes of which the store does not know all; `times`: also those of which only times changed.
    pub fn to_be_told(&self, times: bool) -> impl Iterator<Item = &Arc<Inode>> {
        let times = self.pending.times.iter().filter(move |_| times);
        self.pending.inodes.iter().chain(times).filter_map(|ino| self.upper.inodes.get(ino))
    }

    /// Makes sure that an inode can be changed.
    pub fn raise(&mut self, ino: u64) -> Found<()> {
        if self.upper.inodes.contains_key(&ino) {
            return Ok(());
        }
        let place = self.place(ino)?;
        if place.is_retired() {
            return Err(Errno::STALE.into());
        }
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
        if inode.nlink > 1 && inode.kind() != Kind::Dir {
            self.hard_links.entry(ino).or_default();
        }
        self.upper.inodes.insert(ino, Arc::new(inode));
        self.pending.inodes.insert(ino);
        Ok(())
    }

    /// Makes sure that an inode can be changed: one of a version that is not shown any more cannot.
    fn raise_shown(&mut self, ino: u64) -> Found<()> {
        self.raise(ino)?;
        match self.upper.inodes.get(&ino) {
            Some(inode) if inode.parent == RETIRED => Err(Errno::STALE.into()),
            _ => Ok(()),
        }
    }

    /// An inode to be changed, noted as different from the last commit.
    pub fn change(&mut self, ino: u64) -> Found<&mut Inode> {
        self.raise_shown(ino)?;
        self.pending.inodes.insert(ino);
        self.changed.insert(ino);
        let inode = self.upper.inodes.get_mut(&ino).ok_or(Errno::NOENT)?;
        Ok(Arc::make_mut(inode))
    }

    /// An inode of which only that changes which no version holds.
    pub fn touch(&mut self, ino: u64) -> Found<&mut Inode> {
        self.raise_shown(ino)?;
        self.pending.inodes.insert(ino);
        let inode = self.upper.inodes.get_mut(&ino).ok_or(Errno::NOENT)?;
        Ok(Arc::make_mut(inode))
    }

    /// An inode of which only times change, which a later flush may tell.
    pub fn times(&mut self, ino: u64) -> Found<&mut Inode> {
        self.raise_shown(ino)?;
        self.pending.times.insert(ino);
        self.changed.insert(ino);
        let inode = self.upper.inodes.get_mut(&ino).ok_or(Errno::NOENT)?;
        Ok(Arc::make_mut(inode))
    }
}

/// The directory of the version (in a mount of several), the directory, the name, and the hard link.
type Spot<'s> = (u64, u64, &'s [u8], Option<&'s HardLink>);

/// Returns the number of a place; another one for each `salt`.
fn number_of(key: &[u8; 16], (version, parent, name, link): Spot<'_>, salt: u32) -> u64 {
    let long = salt.to_be_bytes();
    let salt = if salt <= 0xff { &long[3..] } else { &long };
    let hash = match link {
        Some(link) if version == 0 => checksum(&[key, b"link", salt, &link.group]),
        Some(link) => checksum(&[key, b"link of a version", salt, &version.to_be_bytes(), &link.group]),
        None => checksum(&[key, b"name", salt, &parent.to_be_bytes(), name]),
    };
    let mut low = [0; 8];
    low.copy_from_slice(&hash[..8]);
    u64::from_be_bytes(low) & (OF_VERSION - 1) | OF_VERSION
}
