//! Showing another version: what becomes of all that the kernel may know of the one before.
//!
//! A directory that is in both keeps its number, so that mounts on it and processes in it stay. Anything else keeps its
//! number only as what it is: if anything of it differs that the kernel keeps by itself, the name gets a new number, and
//! the old one stays what it was for those that have it. Nothing changes before all that is needed has been read.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use super::{Names, Openings, Pending, Place, RETIRED, Upper};
use crate::error::Result;
use crate::model::entry::{Entry, Node};
use crate::model::id::Id;
use crate::mount::data::Data;
use crate::mount::inode::{Inode, Kind, ROOT, What};
use crate::mount::inside::Inside;
use crate::mount::lower::{Dir, Lower};

/// Directories that a plan needs, held so that they stay known.
#[derive(Default)]
pub struct Dirs(HashMap<Id, Dir>);

impl Dirs {
    /// Reads directories.
    pub fn read(&mut self, lower: &Lower, trees: &[Id]) -> Result<()> {
        for tree in trees {
            self.0.insert(*tree, lower.dir(tree)?);
        }
        Ok(())
    }
}

/// What the kernel has to forget.
#[derive(Default)]
pub struct Forgotten {
    /// Names, by directory; with the inode where that is gone for good, which no directory is.
    pub names: Vec<(u64, Vec<u8>, Option<u64>)>,
    /// Directories whose list differs.
    pub dirs: Vec<u64>,
    /// Inodes of which attributes differ.
    pub attributes: Vec<u64>,
}

/// What is known after another version is shown.
pub struct Plan {
    /// What differs from the version, and what is only kept.
    pub upper: Upper,
    untouched: HashMap<u64, (Place, u64)>,
    trees: Vec<Id>,
    tree_numbers: HashMap<Id, u32>,
    aliases: HashMap<u64, HashSet<(u64, Vec<u8>)>>,
    chains: HashMap<u64, Vec<u64>>,
    held: HashMap<u64, u64>,
    /// What the kernel has to forget.
    pub forgotten: Forgotten,
    /// Files of which the kernel may know the inode, but that are not in the version.
    pub retired: Vec<Arc<Data>>,
    /// Files that nothing knows any more.
    pub dropped: Vec<Arc<Data>>,
}

/// An attempt to make a plan.
pub enum Moved {
    /// It is made.
    Ready(Box<Plan>),
    /// These directories have to be read first.
    Unread(Vec<Id>),
    /// There is a mount at a name that the version does not have, or has as something else.
    MountPoint(PathBuf),
}

/// What becomes of an inode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It is what it was, with all that is below it.
    Same,
    /// It is a directory still, of this tree.
    Dir(Id),
    /// It is not in the version.
    Gone,
}

struct Planner<'n> {
    names: &'n Names,
    dirs: &'n Dirs,
    missing: HashSet<Id>,
    fates: HashMap<u64, Fate>,
    /// Where inodes are in the version, if not where they were: the directory's tree and the position in it.
    landed: HashMap<u64, (Id, usize)>,
    plan: Plan,
    retired: HashSet<u64>,
    /// Directories that keep the numbers which they have, by place.
    given: HashMap<(u64, Vec<u8>), u64>,
}

impl Names {
    /// Plans to show the version of which `upper` holds the root. Mounts that are `inside` must stay where they are.
    pub fn plan(&self, upper: Upper, dirs: &Dirs, inside: &[Inside]) -> Moved {
        let mut planner = Planner::new(self, upper, dirs);
        planner.judge_all();
        if planner.missing.is_empty() {
            planner.place_upper();
            planner.place_untouched();
            planner.names();
        }
        let blocked = if planner.missing.is_empty() { planner.blocked(inside) } else { None };
        if !planner.missing.is_empty() {
            return Moved::Unread(planner.missing.into_iter().collect());
        }
        if let Some(at) = blocked {
            return Moved::MountPoint(at);
        }
        let mut plan = planner.plan;
        // One that has another place than that which the version has for its number keeps it: the other one gets another.
        let natural =
            |(parent, name): &(u64, Vec<u8>), ino| self.upper.numbers((0, *parent, name, None)).next() == Some(ino);
        planner.retired.extend(planner.given.iter().filter(|(at, ino)| !natural(at, **ino)).map(|(_, ino)| *ino));
        plan.upper.retired = Arc::new(planner.retired);
        let own = |((parent, name), ino): ((u64, Vec<u8>), u64)| {
            let number = plan.upper.free_number((0, parent, &name, None));
            (number != ino).then_some((number, ino))
        };
        let given = planner.given.into_iter().filter_map(own).collect();
        plan.upper.given = Arc::new(given);
        Moved::Ready(Box::new(plan))
    }

    /// Does what was planned. Returns what the kernel has to forget.
    pub fn adopt(&mut self, plan: Plan) -> Forgotten {
        self.upper = plan.upper;
        self.untouched = plan.untouched;
        (self.trees, self.tree_numbers) = (plan.trees, plan.tree_numbers);
        (self.aliases, self.chains, self.held) = (plan.aliases, plan.chains, plan.held);
        let untouched = &self.untouched;
        self.reading.retain(|ino, _| untouched.contains_key(ino));
        let has_several =
            |(ino, inode): (&u64, &Arc<Inode>)| (inode.nlink > 1 && inode.kind() != Kind::Dir).then_some(*ino);
        self.hard_links = self.upper.inodes.iter().filter_map(has_several).map(|ino| (ino, HashSet::new())).collect();
        self.pending = Pending::default();
        self.changed.clear();
        self.committing.clear();
        plan.forgotten
    }

    /// Whether the kernel has an inode, or has it open.
    fn is_used(&self, ino: u64) -> bool {
        self.is_held(ino) || self.opened.get(&ino).is_some_and(|opened| *opened != Openings::default())
    }
}

impl<'n> Planner<'n> {
    fn new(names: &'n Names, upper: Upper, dirs: &'n Dirs) -> Self {
        let upper = Upper { key: names.upper.key, several: names.upper.several, ..upper };
        let mut fates = HashMap::new();
        if let Some(What::Dir { tree: Some(tree), .. }) = upper.inodes.get(&ROOT).map(|root| &root.what) {
            fates.insert(ROOT, Fate::Dir(*tree));
        }
        let plan = Plan {
            upper,
            untouched: HashMap::new(),
            trees: Vec::new(),
            tree_numbers: HashMap::new(),
            aliases: HashMap::new(),
            chains: HashMap::new(),
            held: names.held.get(&ROOT).map(|held| (ROOT, *held)).into_iter().collect(),
            forgotten: Forgotten::default(),
            retired: Vec::new(),
            dropped: Vec::new(),
        };
        let (missing, landed, retired) = (HashSet::new(), HashMap::new(), HashSet::new());
        Self { names, dirs, missing, fates, landed, plan, retired, given: HashMap::new() }
    }

    /// A directory, if it was read.
    fn dir(&mut self, tree: &Id) -> Option<Dir> {
        if let Some(dir) = self.dirs.0.get(tree) {
            return Some(Arc::clone(dir));
        }
        self.missing.insert(*tree);
        None
    }

    /// The entry of an untouched node as it was.
    fn entry(&mut self, place: &Place) -> Option<(Dir, usize)> {
        let tree = self.names.trees.get(place.tree as usize)?;
        let dir = self.dir(tree)?;
        (dir.len() > place.index as usize).then_some((dir, place.index as usize))
    }

    fn parent(&self, ino: u64) -> Option<u64> {
        let parent = match self.names.upper.inodes.get(&ino) {
            Some(inode) => Some(inode.parent).filter(|_| inode.nlink > 0),
            None => self.names.untouched.get(&ino).map(|known| known.0.parent),
        };
        parent.filter(|parent| *parent != RETIRED)
    }

    /// Finds out what becomes of each inode, those above it first.
    fn judge_all(&mut self) {
        let names = self.names;
        for ino in names.upper.inodes.keys().chain(names.untouched.keys()) {
            let (mut above, mut at) = (Vec::new(), *ino);
            while !self.fates.contains_key(&at) {
                above.push(at);
                match self.parent(at) {
                    Some(parent) if !above.contains(&parent) => at = parent,
                    _ => {
                        self.fates.insert(at, Fate::Gone);
                    }
                }
            }
            while let Some(at) = above.pop() {
                if self.fates.contains_key(&at) {
                    continue;
                }
                match self.judge(at) {
                    Some(fate) => self.fates.insert(at, fate),
                    None => break,
                };
            }
        }
    }

    /// What becomes of an inode, when it is known of the directory above it; `None` if something has to be read first.
    fn judge(&mut self, ino: u64) -> Option<Fate> {
        let names = self.names;
        let parent = self.parent(ino)?;
        let tree = match self.fates.get(&parent)? {
            Fate::Dir(tree) => *tree,
            Fate::Same if names.untouched.contains_key(&ino) => return Some(Fate::Same),
            _ => return Some(Fate::Gone),
        };
        let raised = names.upper.inodes.get(&ino);
        let before = match (raised, names.untouched.get(&ino)) {
            (None, Some(known)) => Some(self.entry(&known.0)?),
            _ => None,
        };
        let before: Option<&Entry> = before.as_ref().map(|(dir, at)| &dir[*at]);
        let name = match (raised, before) {
            (Some(inode), _) => inode.name.as_slice(),
            (None, Some(entry)) => entry.name.as_slice(),
            (None, None) => return Some(Fate::Gone),
        };
        let dir = self.dir(&tree)?;
        let Ok(at) = dir.binary_search_by(|e| e.name.as_slice().cmp(name)) else { return Some(Fate::Gone) };
        let now = &dir[at];
        let was_dir = raised.map_or_else(|| before.is_some_and(Entry::is_dir), |i| i.kind() == Kind::Dir);
        let fate = match &now.node {
            Node::Dir { tree, .. } if was_dir => match before.map(|entry| &entry.node) {
                Some(Node::Dir { tree: same, .. }) if same == tree => Fate::Same,
                _ => Fate::Dir(*tree),
            },
            // A version that was not read cannot be compared: a number of several links may need what is above.
            _ if was_dir || names.number_at(parent, now).ok() != Some(ino) => return Some(Fate::Gone),
            node => {
                let (same, mtime) = match (raised, before) {
                    (Some(inode), _) => (is_node(&inode.what, node), inode.meta.mtime),
                    (None, entry) => {
                        (entry.is_some_and(|e| e.node == *node), entry.map_or(now.meta.mtime, |e| e.meta.mtime))
                    }
                };
                // The kernel keeps the time of the last write by itself too, in writeback mode.
                if !same || mtime != now.meta.mtime {
                    return Some(Fate::Gone);
                }
                Fate::Same
            }
        };
        let known = before.is_some_and(|entry| entry.meta == now.meta && entry.link == now.link);
        if !known {
            self.plan.forgotten.attributes.push(ino);
        }
        self.landed.insert(ino, (tree, at));
        Some(fate)
    }

    fn fate(&self, ino: u64) -> Fate {
        self.fates.get(&ino).copied().unwrap_or(Fate::Gone)
    }

    fn intern(&mut self, tree: &Id) -> u32 {
        if let Some(n) = self.plan.tree_numbers.get(tree) {
            return *n;
        }
        let n = u32::try_from(self.plan.trees.len()).unwrap_or(u32::MAX);
        self.plan.trees.push(*tree);
        self.plan.tree_numbers.insert(*tree, n);
        n
    }

    /// What was made and changed: what is in the version in the same way is kept, with the bytes that are here.
    fn place_upper(&mut self) {
        let names = self.names;
        for (ino, inode) in names.upper.inodes.iter().filter(|(ino, _)| **ino != ROOT) {
            let held = names.held.get(ino).copied();
            let data = match &inode.what {
                What::File(data) => Some(Arc::clone(data)),
                _ => None,
            };
            let landed = self.landed.get(ino).copied().filter(|_| self.fate(*ino) != Fate::Gone);
            match landed.and_then(|(tree, at)| Some((self.dir(&tree)?, at))) {
                Some((dir, at)) => {
                    let entry = &dir[at];
                    let mut now = Inode::of_entry(*ino, inode.parent, entry, data, &names.space);
                    if let Node::Dir { tree, .. } = &entry.node {
                        let Some(dir) = self.dir(tree) else { continue };
                        now.nlink = 2 + dir.subdirs;
                    }
                    if entry.is_dir() {
                        self.given.insert((inode.parent, entry.name.clone()), *ino);
                    }
                    self.keep_chain(*ino, inode.parent, entry);
                    self.plan.upper.inodes.insert(*ino, Arc::new(now));
                }
                None if !names.is_used(*ino) => {
                    self.plan.dropped.extend(data);
                    continue;
                }
                // It is only open, or was of an earlier version: it stays what it is.
                None if inode.nlink == 0 => {
                    self.plan.upper.inodes.insert(*ino, Arc::clone(inode));
                    if inode.parent == RETIRED {
                        self.retired.insert(*ino);
                    }
                }
                None => {
                    self.plan.retired.extend(data);
                    self.retire(*ino, Inode::clone(inode));
                }
            }
            self.plan.held.extend(held.map(|held| (*ino, held)));
        }
    }

    /// Keeps an inode that the version does not have, for those that have it still.
    fn retire(&mut self, ino: u64, mut inode: Inode) {
        if let What::Dir { .. } = inode.what {
            inode.what = What::Dir { tree: None, stored: None };
        }
        (inode.nlink, inode.parent) = (0, RETIRED);
        self.plan.upper.inodes.insert(ino, Arc::new(inode));
        self.retired.insert(ino);
    }

    /// Numbers that a node did not get stay taken as long as it has its own.
    fn keep_chain(&mut self, ino: u64, parent: u64, entry: &Entry) {
        let upper = &self.names.upper;
        if let Some(chain) = self.names.chains.get(&ino) {
            self.retired.extend(chain);
            self.plan.chains.insert(ino, chain.clone());
        } else if !upper.retired.is_empty() && entry.link.is_none() {
            self.retired.extend(upper.taken_numbers((0, parent, &entry.name, None)));
        }
    }

    fn place_untouched(&mut self) {
        let names = self.names;
        for (ino, (place, held)) in &names.untouched {
            let reading = names.reading.get(ino);
            if *held == 0 && reading.is_none() {
                continue;
            }
            let Some(tree) = names.trees.get(place.tree as usize) else { continue };
            if place.is_retired() {
                let tree = self.intern(tree);
                self.plan.untouched.insert(*ino, (Place { tree, ..*place }, *held));
                self.retired.insert(*ino);
                continue;
            }
            if self.fate(*ino) != Fate::Gone {
                let (parent, (tree, index)) = match self.landed.get(ino) {
                    Some((tree, at)) => (place.parent, (*tree, u32::try_from(*at).unwrap_or(u32::MAX))),
                    None => (place.parent, (*tree, place.index)),
                };
                let tree = self.intern(&tree);
                self.plan.untouched.insert(*ino, (Place { parent, tree, index }, *held));
                if let Some(chain) = names.chains.get(ino) {
                    self.retired.extend(chain);
                    self.plan.chains.insert(*ino, chain.clone());
                }
                continue;
            }
            let Some((dir, at)) = self.entry(place) else { continue };
            if dir[at].is_dir() {
                let inode = Inode::of_entry(*ino, RETIRED, &dir[at], None, &names.space);
                self.retire(*ino, inode);
                self.plan.held.insert(*ino, *held);
            } else {
                let tree = self.intern(tree);
                let place = Place { parent: RETIRED, tree, index: place.index };
                self.plan.untouched.insert(*ino, (place, *held));
                self.plan.retired.extend(reading.cloned());
                self.retired.insert(*ino);
            }
        }
    }

    /// Whether a name leads to an inode in the version too.
    fn leads(&mut self, dir: u64, name: &[u8], ino: u64) -> bool {
        if self.fate(ino) == Fate::Gone {
            return false;
        }
        if self.given.get(&(dir, name.to_vec())) == Some(&ino) {
            return true;
        }
        let Fate::Dir(tree) = self.fate(dir) else { return true };
        let Some(listed) = self.dir(&tree) else { return true };
        let at = listed.binary_search_by(|e| e.name.as_slice().cmp(name)).ok();
        at.is_some_and(|at| self.names.number_at(dir, &listed[at]).ok() == Some(ino))
    }

    /// Finds the names that the kernel has to forget: those that it may know and that lead elsewhere now, and those that it
    /// may know as missing. What is below a directory that is gone it forgets with that.
    fn names(&mut self) {
        let names = self.names;
        let mut known: HashSet<(u64, Vec<u8>, u64)> = HashSet::new();
        for (ino, (place, _)) in names.untouched.iter().filter(|(_, known)| known.1 > 0 && !known.0.is_retired()) {
            if matches!(self.fate(place.parent), Fate::Dir(_))
                && let Some((dir, at)) = self.entry(place)
            {
                known.insert((place.parent, dir[at].name.clone(), *ino));
            }
        }
        for (ino, all) in &names.aliases {
            known.extend(all.iter().map(|(dir, name)| (*dir, name.clone(), *ino)));
        }
        for (dir, over) in &names.upper.names {
            known.extend(over.iter().filter_map(|(name, ino)| Some((*dir, name.clone(), (*ino)?))));
        }
        for (ino, inode) in names.upper.inodes.iter().filter(|(ino, inode)| **ino != ROOT && inode.nlink > 0) {
            known.insert((inode.parent, inode.name.clone(), *ino));
        }
        for (dir, name, ino) in known {
            if self.fate(dir) == Fate::Gone || !names.is_held(ino) {
                continue;
            }
            if self.leads(dir, &name, ino) {
                if names.aliases.contains_key(&ino) {
                    self.plan.aliases.entry(ino).or_default().insert((dir, name));
                }
                continue;
            }
            let is_file = match names.upper.inodes.get(&ino) {
                Some(inode) => inode.kind() != Kind::Dir,
                None => !self.plan.upper.inodes.contains_key(&ino),
            };
            let gone = is_file && self.fate(ino) == Fate::Gone;
            self.plan.forgotten.names.push((dir, name, gone.then_some(ino)));
        }
        let dirs: Vec<(u64, Id)> = self
            .fates
            .iter()
            .filter_map(|(ino, fate)| match fate {
                Fate::Dir(tree) if *ino == ROOT || names.is_held(*ino) => Some((*ino, *tree)),
                _ => None,
            })
            .collect();
        for (ino, tree) in dirs {
            self.new_names(ino, &tree);
            self.plan.forgotten.dirs.push(ino);
        }
    }

    /// Names of a directory that were not there before: the kernel may know that.
    fn new_names(&mut self, ino: u64, tree: &Id) {
        let names = self.names;
        let before = match names.upper.inodes.get(&ino).map(|inode| &inode.what) {
            Some(What::Dir { tree, .. }) => *tree,
            _ => match names.untouched.get(&ino).map(|known| known.0) {
                Some(place) => match self.entry(&place) {
                    Some((dir, at)) => match &dir[at].node {
                        Node::Dir { tree, .. } => Some(*tree),
                        _ => None,
                    },
                    None => return,
                },
                None => None,
            },
        };
        let before = match before {
            Some(tree) => match self.dir(&tree) {
                Some(dir) => Some(dir),
                None => return,
            },
            None => None,
        };
        let Some(now) = self.dir(tree) else { return };
        let over = names.upper.names.get(&ino);
        for entry in now.iter() {
            let was = match over.and_then(|over| over.get(&entry.name)) {
                Some(over) => over.is_some(),
                None => before.as_ref().is_some_and(|dir| dir.binary_search_by(|e| e.name.cmp(&entry.name)).is_ok()),
            };
            if !was {
                self.plan.forgotten.names.push((ino, entry.name.clone(), None));
            }
        }
    }

    /// The mount point that forgetting a name would take away.
    fn blocked(&mut self, inside: &[Inside]) -> Option<PathBuf> {
        if inside.is_empty() {
            return None;
        }
        let names = std::mem::take(&mut self.plan.forgotten.names);
        let mut found = None;
        for (dir, name, _) in &names {
            let Some(path) = self.path(*dir, name) else { continue };
            let is_at = |m: &&Inside| {
                m.path.strip_prefix(&path[..]).is_some_and(|rest| matches!(rest.first(), None | Some(b'/')))
            };
            if let Some(mount) = inside.iter().find(is_at) {
                found = Some(mount.at.clone());
                break;
            }
        }
        self.plan.forgotten.names = names;
        found
    }

    /// The path of a name as it was.
    fn path(&mut self, dir: u64, name: &[u8]) -> Option<Vec<u8>> {
        let names = self.names;
        let mut parts = vec![name.to_vec()];
        let mut at = dir;
        while at != ROOT {
            let part = match names.upper.inodes.get(&at) {
                Some(inode) => inode.name.clone(),
                None => {
                    let place = names.untouched.get(&at)?.0;
                    let (dir, index) = self.entry(&place)?;
                    dir[index].name.clone()
                }
            };
            parts.push(part);
            at = self.parent(at)?;
        }
        parts.reverse();
        Some(parts.join(&b'/'))
    }
}

/// Whether what was made or changed is what a version has.
fn is_node(what: &What, node: &Node) -> bool {
    match (what, node) {
        (What::File(data), Node::File { size, chunker, content }) => data.is_as_in(*size, *chunker, content),
        (What::Symlink(target), Node::Symlink { target: now }) => target == now,
        (What::Fifo, Node::Fifo) => true,
        (What::CharDevice(a, b), Node::CharDevice { major, minor })
        | (What::BlockDevice(a, b), Node::BlockDevice { major, minor }) => (a, b) == (major, minor),
        _ => false,
    }
}
