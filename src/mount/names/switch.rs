//! Switching to another version: decides what happens to each inode and name that the kernel may
//! have cached.
//!
//! A directory in both versions keeps its inode number, so that mounts on it and processes in it
//! are not affected. Any other inode keeps its number only if nothing that the kernel caches
//! differs. Otherwise its name gets a new number, and the old number keeps its content for existing
//! users. Planning changes nothing, so it can be repeated until all directories that the plan needs
//! have been read.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;

use super::attr::{NodeKind, ROOT_INO};
use super::entry::{EntryName, EntryRef};
use super::inode::{Inode, InodeBody};
use super::table::{NameTable, OpenCounts, PendingRows, VersionPlace};
use super::upper::{InoSource, OF_VERSION, RETIRED, UpperTree};
use crate::error::Result;
use crate::model::entry::{Entry, Node};
use crate::model::id::Id;
use crate::mount::file::FileData;
use crate::mount::lower::{LowerLayer, SharedDir};
use crate::mount::processes::nested::NestedMount;

/// The directories that a plan needs, kept in memory.
#[derive(Default)]
pub struct SwitchDirs(HashMap<Id, SharedDir>);

impl SwitchDirs {
    /// Reads directories and keeps them.
    pub fn read(&mut self, lower: &LowerLayer, trees: &[Id]) -> Result<()> {
        for tree in trees {
            self.0.insert(*tree, lower.dir(tree)?);
        }
        Ok(())
    }
}

/// A name that the kernel has to forget.
pub struct StaleName {
    pub name: EntryName,
    /// The inode, if the new version lacks it and it is not a directory.
    pub removed: Option<u64>,
}

/// Cached data that the kernel has to forget.
#[derive(Default)]
pub struct StaleEntries {
    /// Names that lead to a different inode now, or to one that was missing before.
    pub names: Vec<StaleName>,
    /// Directories whose list of names may differ.
    pub dirs: Vec<u64>,
    /// Inodes whose attributes differ.
    pub attributes: Vec<u64>,
}

/// The state of the name table after a switch.
pub struct SwitchPlan {
    /// Inodes that differ from the new version or that are still in use.
    pub upper: UpperTree,
    untouched: HashMap<u64, (VersionPlace, u64)>,
    trees: Vec<Id>,
    tree_indexes: HashMap<Id, u32>,
    aliases: HashMap<u64, HashSet<EntryName>>,
    skipped_inos: HashMap<u64, Vec<u64>>,
    lookups: HashMap<u64, u64>,
    /// Cached data that the kernel has to forget.
    pub stale: StaleEntries,
    /// Files that are not in the new version, but may still be in use.
    pub retired: Vec<Arc<FileData>>,
    /// Files that are not in use any more.
    pub dropped: Vec<Arc<FileData>>,
}

/// The result of an attempt to plan a switch.
pub enum SwitchAttempt {
    /// The plan is complete.
    Ready(Box<SwitchPlan>),
    /// These directories have to be read before the next attempt.
    Unread(Vec<Id>),
    /// A mount point prevents the switch, because the new version lacks its directory or has a
    /// different node there.
    MountPoint(PathBuf),
}

/// The fate of an inode in a switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum InodeFate {
    /// The inode and everything below it stay as they are.
    Same,
    /// The inode is a directory with this tree now.
    Dir(Id),
    /// The new version does not have the inode.
    Gone,
}

struct SwitchPlanner<'n> {
    names: &'n NameTable,
    dirs: &'n SwitchDirs,
    missing: HashSet<Id>,
    fates: HashMap<u64, InodeFate>,
    /// For each inode whose parent directory has a new tree, by inode number: the id of that tree
    /// and the index of the inode's entry in it.
    new_places: HashMap<u64, (Id, usize)>,
    plan: SwitchPlan,
    retired: HashSet<u64>,
    /// Directories that keep their inode numbers, by name.
    assigned: HashMap<EntryName, u64>,
}

impl NameTable {
    /// Plans a switch to the version whose root is in `upper`. Mounts in `nested` must not be lost.
    pub fn plan_switch(
        &self,
        upper: UpperTree,
        dirs: &SwitchDirs,
        nested: &[NestedMount],
    ) -> SwitchAttempt {
        let mut planner = SwitchPlanner::new(self, upper, dirs);
        planner.decide_all();
        if planner.missing.is_empty() {
            planner.place_upper();
            planner.place_untouched();
            planner.find_stale_names();
        }
        let blocked = if planner.missing.is_empty() {
            planner.blocking_mount(nested)
        } else {
            None
        };
        if !planner.missing.is_empty() {
            return SwitchAttempt::Unread(planner.missing.into_iter().collect());
        }
        if let Some(at) = blocked {
            return SwitchAttempt::MountPoint(at);
        }
        let mut plan = planner.plan;
        // A directory that the mount has moved or created keeps its number. If the number is not
        // the one computed from the name, reserve it, so that the name from which it would be
        // computed gets a different one.
        let natural =
            |at: &EntryName, ino| self.upper.candidate_inos(source_of(at)).next() == Some(ino);
        planner.retired.extend(
            planner
                .assigned
                .iter()
                .filter(|(at, ino)| !natural(at, **ino))
                .map(|(_, ino)| *ino),
        );
        plan.upper.retired = Arc::new(planner.retired);
        let own = |(at, ino): (EntryName, u64)| {
            let number = plan.upper.free_ino(source_of(&at));
            (number != ino).then_some((number, ino))
        };
        let assigned = planner.assigned.into_iter().filter_map(own).collect();
        plan.upper.assigned = Arc::new(assigned);
        SwitchAttempt::Ready(Box::new(plan))
    }

    /// Executes a plan. Returns the cached data that the kernel has to forget.
    pub fn apply_switch(&mut self, plan: SwitchPlan) -> StaleEntries {
        self.upper = plan.upper;
        self.untouched = plan.untouched;
        (self.trees, self.tree_indexes) = (plan.trees, plan.tree_indexes);
        (self.aliases, self.skipped_inos, self.lookups) =
            (plan.aliases, plan.skipped_inos, plan.lookups);
        let untouched = &self.untouched;
        self.open_untouched
            .retain(|ino, _| untouched.contains_key(ino));
        let has_several = |(ino, inode): (&u64, &Arc<Inode>)| {
            (inode.nlink > 1 && inode.kind() != NodeKind::Dir).then_some(*ino)
        };
        self.hard_links = self
            .upper
            .inodes
            .iter()
            .filter_map(has_several)
            .map(|ino| (ino, HashSet::new()))
            .collect();
        self.pending = PendingRows::default();
        self.changed.clear();
        self.committing.clear();
        plan.stale
    }

    /// Returns whether the kernel knows an inode or has it open.
    fn is_used(&self, ino: u64) -> bool {
        self.is_known_to_kernel(ino)
            || self
                .open_counts
                .get(&ino)
                .is_some_and(|opened| *opened != OpenCounts::default())
    }
}

impl<'n> SwitchPlanner<'n> {
    fn new(names: &'n NameTable, upper: UpperTree, dirs: &'n SwitchDirs) -> Self {
        let upper = UpperTree {
            key: names.upper.key,
            multi_version: names.upper.multi_version,
            ..upper
        };
        let mut fates = HashMap::new();
        if let Some(InodeBody::Dir {
            tree: Some(tree), ..
        }) = upper.inodes.get(&ROOT_INO).map(|root| &root.what)
        {
            fates.insert(ROOT_INO, InodeFate::Dir(*tree));
        }
        let plan = SwitchPlan {
            upper,
            untouched: HashMap::new(),
            trees: Vec::new(),
            tree_indexes: HashMap::new(),
            aliases: HashMap::new(),
            skipped_inos: HashMap::new(),
            lookups: names
                .lookups
                .get(&ROOT_INO)
                .map(|held| (ROOT_INO, *held))
                .into_iter()
                .collect(),
            stale: StaleEntries::default(),
            retired: Vec::new(),
            dropped: Vec::new(),
        };
        let (missing, new_places, retired) = (HashSet::new(), HashMap::new(), HashSet::new());
        Self {
            names,
            dirs,
            missing,
            fates,
            new_places,
            plan,
            retired,
            assigned: HashMap::new(),
        }
    }

    /// Returns a directory, or notes that it has to be read.
    fn dir(&mut self, tree: &Id) -> Option<SharedDir> {
        if let Some(dir) = self.dirs.0.get(tree) {
            return Some(Arc::clone(dir));
        }
        self.missing.insert(*tree);
        None
    }

    /// Returns the entry of an unchanged node in the old version.
    fn entry(&mut self, place: &VersionPlace) -> Option<(SharedDir, usize)> {
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

    /// Decides the fate of each inode. Parents come first.
    fn decide_all(&mut self) {
        let names = self.names;
        for ino in names.upper.inodes.keys().chain(names.untouched.keys()) {
            let (mut above, mut at) = (Vec::new(), *ino);
            while !self.fates.contains_key(&at) {
                above.push(at);
                match self.parent(at) {
                    // A damaged overlay database could contain a cycle of parents.
                    Some(parent) if !above.contains(&parent) => at = parent,
                    _ => {
                        self.fates.insert(at, InodeFate::Gone);
                    }
                }
            }
            while let Some(at) = above.pop() {
                if self.fates.contains_key(&at) {
                    continue;
                }
                match self.decide(at) {
                    Some(fate) => self.fates.insert(at, fate),
                    // A directory has to be read, so the plan will be made again.
                    None => break,
                };
            }
        }
    }

    /// Decides the fate of an inode whose parent is already decided. Returns `None` if a directory
    /// has to be read first.
    fn decide(&mut self, ino: u64) -> Option<InodeFate> {
        let names = self.names;
        let parent = self.parent(ino)?;
        let tree = match self.fates.get(&parent)? {
            InodeFate::Dir(tree) => *tree,
            // Everything below an equal tree is equal, except for inodes that the mount has
            // changed.
            InodeFate::Same if names.untouched.contains_key(&ino) => return Some(InodeFate::Same),
            _ => return Some(InodeFate::Gone),
        };
        let raised = names.upper.inodes.get(&ino);
        // Find the name of the inode, and its entry in the old version if it is unchanged.
        let before = match (raised, names.untouched.get(&ino)) {
            (None, Some(known)) => Some(self.entry(&known.0)?),
            _ => None,
        };
        let before: Option<&Entry> = before.as_ref().map(|(dir, at)| &dir[*at]);
        let name = match (raised, before) {
            (Some(inode), _) => inode.name.as_slice(),
            (None, Some(entry)) => entry.name.as_slice(),
            (None, None) => return Some(InodeFate::Gone),
        };
        // Find the same name in the new version.
        let dir = self.dir(&tree)?;
        let Ok(at) = dir.binary_search_by(|e| e.name.as_slice().cmp(name)) else {
            return Some(InodeFate::Gone);
        };
        let now = &dir[at];
        let was_dir = raised.map_or_else(
            || before.is_some_and(Entry::is_dir),
            |i| i.kind() == NodeKind::Dir,
        );
        let fate = match &now.node {
            Node::Dir { tree, .. } if was_dir => match before.map(|entry| &entry.node) {
                Some(Node::Dir { tree: same, .. }) if same == tree => InodeFate::Same,
                _ => InodeFate::Dir(*tree),
            },
            // In a multi-version mount, `ino_at` can fail, because the number of a hard link can
            // depend on directories above it that have not been read. The inode is then gone.
            _ if was_dir || names.ino_at(parent, now).ok() != Some(ino) => {
                return Some(InodeFate::Gone);
            }
            node => {
                let (same, mtime) = match (raised, before) {
                    (Some(inode), _) => (is_node(&inode.what, node), inode.meta.mtime),
                    (None, entry) => (
                        entry.is_some_and(|e| e.node == *node),
                        entry.map_or(now.meta.mtime, |e| e.meta.mtime),
                    ),
                };
                // In writeback mode, the kernel also caches the modification time, so it must not
                // differ.
                if !same || mtime != now.meta.mtime {
                    return Some(InodeFate::Gone);
                }
                InodeFate::Same
            }
        };
        let known = before.is_some_and(|entry| entry.meta == now.meta && entry.link == now.link);
        if !known {
            self.plan.stale.attributes.push(ino);
        }
        self.new_places.insert(ino, (tree, at));
        Some(fate)
    }

    fn fate(&self, ino: u64) -> InodeFate {
        self.fates.get(&ino).copied().unwrap_or(InodeFate::Gone)
    }

    fn tree_index(&mut self, tree: &Id) -> u32 {
        if let Some(n) = self.plan.tree_indexes.get(tree) {
            return *n;
        }
        let n = u32::try_from(self.plan.trees.len()).unwrap_or(u32::MAX);
        self.plan.trees.push(*tree);
        self.plan.tree_indexes.insert(*tree, n);
        n
    }

    /// Adds the changed inodes to the plan. Inodes that are identical in the new version keep their
    /// upper files.
    fn place_upper(&mut self) {
        let names = self.names;
        for (ino, inode) in names
            .upper
            .inodes
            .iter()
            .filter(|(ino, _)| **ino != ROOT_INO)
        {
            let held = names.lookups.get(ino).copied();
            let data = match &inode.what {
                InodeBody::File(data) => Some(Arc::clone(data)),
                _ => None,
            };
            let new_places = self
                .new_places
                .get(ino)
                .copied()
                .filter(|_| self.fate(*ino) != InodeFate::Gone);
            match new_places.and_then(|(tree, at)| Some((self.dir(&tree)?, at))) {
                Some((dir, at)) => {
                    let entry = &dir[at];
                    // The inode is in the new version, from which it takes its metadata.
                    let mut now = Inode::of_entry(*ino, inode.parent, entry, data, &names.space);
                    if let Node::Dir { tree, .. } = &entry.node {
                        let Some(dir) = self.dir(tree) else { continue };
                        now.nlink = 2 + dir.subdirs;
                    }
                    if entry.is_dir() {
                        self.assigned.insert(
                            EntryName {
                                parent: inode.parent,
                                name: entry.name.clone(),
                            },
                            *ino,
                        );
                    }
                    self.keep_skipped_inos(*ino, inode.parent, entry);
                    self.plan.upper.inodes.insert(*ino, Arc::new(now));
                }
                None if !names.is_used(*ino) => {
                    self.plan.dropped.extend(data);
                    continue;
                }
                // The inode has no name, or is already retired. It stays as it is. The new version
                // may have the removed name again, which must not lead to the removed file.
                None if inode.nlink == 0 => {
                    self.plan.upper.inodes.insert(*ino, Arc::clone(inode));
                    if ino & OF_VERSION != 0 {
                        self.retired.insert(*ino);
                    }
                }
                None => {
                    self.plan.retired.extend(data);
                    self.retire(*ino, Inode::clone(inode));
                }
            }
            self.plan.lookups.extend(held.map(|held| (*ino, held)));
        }
    }

    /// Keeps an inode that the new version does not have, for its current users.
    fn retire(&mut self, ino: u64, mut inode: Inode) {
        if let InodeBody::Dir { .. } = inode.what {
            inode.what = InodeBody::Dir {
                tree: None,
                stored: None,
            };
        }
        (inode.nlink, inode.parent) = (0, RETIRED);
        self.plan.upper.inodes.insert(ino, Arc::new(inode));
        self.retired.insert(ino);
    }

    /// Keeps the numbers reserved that a node had to skip, because the node would otherwise get a
    /// different number.
    fn keep_skipped_inos(&mut self, ino: u64, parent: u64, entry: &Entry) {
        let upper = &self.names.upper;
        if let Some(chain) = self.names.skipped_inos.get(&ino) {
            self.retired.extend(chain);
            self.plan.skipped_inos.insert(ino, chain.clone());
        } else if !upper.retired.is_empty() && entry.link.is_none() {
            self.retired.extend(upper.taken_inos(InoSource {
                version: 0,
                parent,
                name: &entry.name,
                link: None,
            }));
        }
    }

    fn place_untouched(&mut self) {
        let names = self.names;
        for (ino, (place, held)) in &names.untouched {
            let reading = names.open_untouched.get(ino);
            if *held == 0 && reading.is_none() {
                continue;
            }
            let Some(tree) = names.trees.get(place.tree as usize) else {
                continue;
            };
            // A node that an earlier switch has retired keeps its place and its number.
            if place.is_retired() {
                let tree = self.tree_index(tree);
                self.plan
                    .untouched
                    .insert(*ino, (VersionPlace { tree, ..*place }, *held));
                self.retired.insert(*ino);
                continue;
            }
            // The node is in the new version, perhaps at another index.
            if self.fate(*ino) != InodeFate::Gone {
                let (parent, (tree, index)) = match self.new_places.get(ino) {
                    Some((tree, at)) => (
                        place.parent,
                        (*tree, u32::try_from(*at).unwrap_or(u32::MAX)),
                    ),
                    None => (place.parent, (*tree, place.index)),
                };
                let tree = self.tree_index(&tree);
                self.plan.untouched.insert(
                    *ino,
                    (
                        VersionPlace {
                            parent,
                            tree,
                            index,
                        },
                        *held,
                    ),
                );
                if let Some(chain) = names.skipped_inos.get(ino) {
                    self.retired.extend(chain);
                    self.plan.skipped_inos.insert(*ino, chain.clone());
                }
                continue;
            }
            let Some((dir, at)) = self.entry(place) else {
                continue;
            };
            if dir[at].is_dir() {
                let inode = Inode::of_entry(*ino, RETIRED, &dir[at], None, &names.space);
                self.retire(*ino, inode);
                self.plan.lookups.insert(*ino, *held);
            } else {
                let tree = self.tree_index(tree);
                let place = VersionPlace {
                    parent: RETIRED,
                    tree,
                    index: place.index,
                };
                self.plan.untouched.insert(*ino, (place, *held));
                self.plan.retired.extend(reading.cloned());
                self.retired.insert(*ino);
            }
        }
    }

    /// Returns whether a name leads to the same inode in the new version.
    fn still_leads_to(&mut self, dir: u64, name: &[u8], ino: u64) -> bool {
        if self.fate(ino) == InodeFate::Gone {
            return false;
        }
        if self.assigned.get(&EntryRef::new(dir, name).to_owned()) == Some(&ino) {
            return true;
        }
        let InodeFate::Dir(tree) = self.fate(dir) else {
            return true;
        };
        let Some(listed) = self.dir(&tree) else {
            return true;
        };
        let at = listed
            .binary_search_by(|e| e.name.as_slice().cmp(name))
            .ok();
        at.is_some_and(|at| self.names.ino_at(dir, &listed[at]).ok() == Some(ino))
    }

    /// Collects the names that the kernel has to forget: cached names that lead to a different
    /// inode now, and names that it may have cached as missing. The kernel forgets names below a
    /// lost directory together with the directory.
    fn find_stale_names(&mut self) {
        let names = self.names;
        // First collect all names that the kernel may have cached: of unchanged nodes in
        // directories with a different tree, of hard-linked files, and of changed inodes.
        let mut known: HashSet<(EntryName, u64)> = HashSet::new();
        for (ino, (place, _)) in names
            .untouched
            .iter()
            .filter(|(_, known)| known.1 > 0 && !known.0.is_retired())
        {
            if matches!(self.fate(place.parent), InodeFate::Dir(_))
                && let Some((dir, at)) = self.entry(place)
            {
                known.insert((
                    EntryName {
                        parent: place.parent,
                        name: dir[at].name.clone(),
                    },
                    *ino,
                ));
            }
        }
        for (ino, all) in &names.aliases {
            known.extend(all.iter().map(|name| (name.clone(), *ino)));
        }
        for (dir, over) in &names.upper.names {
            known.extend(
                over.iter().filter_map(|(name, ino)| {
                    Some((EntryRef::new(*dir, name).to_owned(), (*ino)?))
                }),
            );
        }
        for (ino, inode) in names
            .upper
            .inodes
            .iter()
            .filter(|(ino, inode)| **ino != ROOT_INO && inode.nlink > 0)
        {
            known.insert((EntryRef::new(inode.parent, &inode.name).to_owned(), *ino));
        }
        // A name that leads to the same inode stays cached. The kernel forgets names in a lost
        // directory together with the directory.
        for (name, ino) in known {
            if self.fate(name.parent) == InodeFate::Gone || !names.is_known_to_kernel(ino) {
                continue;
            }
            if self.still_leads_to(name.parent, &name.name, ino) {
                if names.aliases.contains_key(&ino) {
                    self.plan.aliases.entry(ino).or_default().insert(name);
                }
                continue;
            }
            let is_file = match names.upper.inodes.get(&ino) {
                Some(inode) => inode.kind() != NodeKind::Dir,
                None => !self.plan.upper.inodes.contains_key(&ino),
            };
            let gone = is_file && self.fate(ino) == InodeFate::Gone;
            self.plan.stale.names.push(StaleName {
                name,
                removed: gone.then_some(ino),
            });
        }
        // Names that are new in a directory may be cached as missing.
        let dirs: Vec<(u64, Id)> = self
            .fates
            .iter()
            .filter_map(|(ino, fate)| match fate {
                InodeFate::Dir(tree) if *ino == ROOT_INO || names.is_known_to_kernel(*ino) => {
                    Some((*ino, *tree))
                }
                _ => None,
            })
            .collect();
        for (ino, tree) in dirs {
            self.new_names(ino, &tree);
            self.plan.stale.dirs.push(ino);
        }
    }

    /// Collects names that a directory did not have before, because the kernel may have cached that
    /// they are missing.
    fn new_names(&mut self, ino: u64, tree: &Id) {
        let names = self.names;
        let before = match names.upper.inodes.get(&ino).map(|inode| &inode.what) {
            Some(InodeBody::Dir { tree, .. }) => *tree,
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
                None => before
                    .as_ref()
                    .is_some_and(|dir| dir.binary_search_by(|e| e.name.cmp(&entry.name)).is_ok()),
            };
            if !was {
                let name = EntryRef::new(ino, &entry.name).to_owned();
                self.plan.stale.names.push(StaleName {
                    name,
                    removed: None,
                });
            }
        }
    }

    /// Returns a mount point that would be lost when the kernel forgets a name.
    fn blocking_mount(&mut self, nested: &[NestedMount]) -> Option<PathBuf> {
        if nested.is_empty() {
            return None;
        }
        // Take the names out of the plan, because computing a path needs the planner.
        let names = std::mem::take(&mut self.plan.stale.names);
        let mut found = None;
        for StaleName { name, .. } in &names {
            let Some(path) = self.path(name.parent, &name.name) else {
                continue;
            };
            let is_at = |m: &&NestedMount| {
                m.path
                    .strip_prefix(&path[..])
                    .is_some_and(|rest| matches!(rest.first(), None | Some(b'/')))
            };
            if let Some(mount) = nested.iter().find(is_at) {
                found = Some(mount.at.clone());
                break;
            }
        }
        self.plan.stale.names = names;
        found
    }

    /// Returns the path of a name in the old version.
    fn path(&mut self, dir: u64, name: &[u8]) -> Option<Vec<u8>> {
        let names = self.names;
        let mut parts = vec![name.to_vec()];
        let mut at = dir;
        while at != ROOT_INO {
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

/// Returns the source of the inode number that a name would have.
fn source_of(at: &EntryName) -> InoSource<'_> {
    InoSource {
        version: 0,
        parent: at.parent,
        name: &at.name,
        link: None,
    }
}

/// Returns whether a changed inode is equal to a node of a version.
fn is_node(what: &InodeBody, node: &Node) -> bool {
    match (what, node) {
        (
            InodeBody::File(data),
            Node::File {
                size,
                chunker,
                content,
            },
        ) => data.matches_entry(*size, *chunker, content),
        (InodeBody::Symlink(target), Node::Symlink { target: now }) => target == now,
        (InodeBody::Fifo, Node::Fifo) => true,
        (InodeBody::CharDevice(a, b), Node::CharDevice { major, minor })
        | (InodeBody::BlockDevice(a, b), Node::BlockDevice { major, minor }) => {
            (a, b) == (major, minor)
        }
        _ => false,
    }
}
