//! From a mount to the tree of a version, at the cost of what changed.
//!
//! At one moment, while nobody writes, names are copied and changed files are frozen; the tree is made from these while
//! programs go on. Directories in which nothing changed are taken over unread. The tree is the same that a walk of the
//! mount would give.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::error::MountError;
use super::frozen::Frozen;
use super::inode::{Inode, ROOT, What};
use super::lower::Lower;
use super::names::Upper;
use super::state::{BLOCK, Base};
use super::view::View;
use crate::error::{Kind, Result};
use crate::model::entry::{Entry, HardLink, Node, Totals};
use crate::model::id::Id;
use crate::model::path::{DIR_PATH_MAX, display, is_reserved, join};
use crate::model::tree::{LinkTable, RootInfo};
use crate::observe::{Notice, NoticeLevel, Observer};
use crate::snapshot::content::store::{flush_small, store_links};
use crate::snapshot::output::Output;
use crate::snapshot::rechunk::{Change, OldState, recut};
use crate::snapshot::tree::store_tree;
use crate::snapshot::walk::links::link_of;
use crate::snapshot::walk::rules::{IGNORE_FILE, Ignores, Rules};
use crate::snapshot::walk::scan::reserved_notice;
use crate::work::NoThread;

/// A mount at one moment.
pub struct Snapshot {
    upper: Upper,
    changed: HashSet<u64>,
    files: HashMap<u64, Arc<Frozen>>,
}

/// What a snapshot was stored as.
pub struct Taken {
    /// The root's tree.
    pub tree: Id,
    /// What lies below it.
    pub totals: Totals,
    /// Files that were cut anew.
    files: Vec<(u64, Arc<Base>)>,
    /// Directories that were made anew; `None`: not all that is in one was taken.
    dirs: Vec<(u64, Option<(Id, Totals)>)>,
    /// Changed inodes that are not in it.
    left: HashSet<u64>,
}

impl View {
    /// The mount at this moment. Nobody writes meanwhile, and what is in it is preserved until [`Self::end`]. To `commit`
    /// it, no file may be open that the kernel writes to by itself.
    pub fn begin(&self, commit: bool) -> Result<Snapshot> {
        let _alone = self.gate.write();
        if commit && (self.is_written_alone() || !self.mapped_alone().is_empty()) {
            return Err(MountError::Handed.into());
        }
        let mut names = self.names();
        let changed = names.begin_commit();
        let upper = names.upper().clone();
        let mut files = HashMap::new();
        for (ino, inode) in &upper.inodes {
            if let What::File(data) = &inode.what
                && inode.nlink > 0
                && data.is_changed()
            {
                files.insert(*ino, data.freeze());
            }
        }
        Ok(Snapshot { upper, changed, files })
    }

    /// Ends a snapshot: it was stored as `taken`, or not at all.
    pub fn end(&self, snapshot: &Snapshot, taken: Option<&Taken>) {
        let _alone = self.gate.write();
        let became: HashMap<u64, &Arc<Base>> =
            taken.iter().flat_map(|t| &t.files).map(|(ino, base)| (*ino, base)).collect();
        for ino in snapshot.files.keys() {
            if let Some(Inode { what: What::File(data), .. }) = snapshot.upper.inodes.get(ino).map(|i| &**i) {
                data.thaw(became.get(ino).map(|base| Arc::clone(base)));
                data.take_news();
                self.note_unsynced(data);
            }
        }
        let mut names = self.names();
        if let Some(taken) = taken {
            names.stored(&taken.dirs);
        }
        // What an ignore file names was not taken.
        let left = snapshot.changed.iter().filter(|ino| taken.is_none_or(|t| t.left.contains(ino)));
        names.end_commit(left.copied());
        names.note(snapshot.files.keys().copied());
        self.news.come();
    }
}

/// Directories are made by recursion, [`DIR_PATH_MAX`] deep at most. What is not used of a stack takes no memory.
const STACK: usize = 256 << 20;

/// Makes the tree of a snapshot. `below`: the tree that the mount was made over; `committed`: there is another since.
#[expect(clippy::too_many_arguments, reason = "all that a tree is made of, once")]
pub fn take(
    lower: &Lower,
    snapshot: &Snapshot,
    below: &Id,
    committed: bool,
    rules: &Rules,
    out: &Output<'_>,
    observer: &dyn Observer,
    threads: usize,
) -> Result<Taken> {
    let info = lower.repo().root_info(below)?;
    let mut maker = Maker {
        lower,
        snapshot,
        rules,
        out,
        observer,
        threads,
        everything: rules.leaves_out(),
        anew: HashSet::from([ROOT]),
        groups: HashMap::new(),
        files: HashMap::new(),
        in_tree: HashSet::from([ROOT]),
        dirs: Vec::new(),
    };
    for ino in snapshot.changed.iter().chain(snapshot.files.keys()) {
        maker.above(*ino);
    }
    maker.find_groups(&lower.repo().links(&info)?, committed);
    let (tree, totals) = std::thread::scope(|scope| {
        let make = || -> Result<(Id, Totals)> {
            let made = maker.dir(ROOT, Some(*below), b"", 0, &Ignores::default())?;
            flush_small(out)?;
            Ok(made)
        };
        let thread = std::thread::Builder::new().stack_size(STACK).spawn_scoped(scope, make);
        let thread = thread.map_err(NoThread)?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })?;
    out.flush()?;
    let named = |ino: &&u64| snapshot.upper.inodes.get(ino).is_some_and(|inode| inode.nlink > 0);
    let missing = |ino: &&u64| !maker.in_tree.contains(ino);
    let left = snapshot.changed.iter().filter(named).filter(missing).copied().collect();
    Ok(Taken { tree, totals, files: maker.files.into_iter().collect(), dirs: maker.dirs, left })
}

/// What a frozen file holds.
fn cut(lower: &Lower, frozen: &Frozen, out: &Output<'_>, threads: usize) -> Result<Base> {
    let state = &frozen.state;
    let old = state.base.as_ref().map(|b| OldState { size: b.size, chunker: b.chunker, content: &b.content });
    let dirty: Vec<_> = state.dirty.iter().map(|r| r.start * BLOCK..(r.end * BLOCK).min(state.size)).collect();
    let read = |offset: u64, bytes: &mut [u8]| frozen.read(lower, offset, bytes);
    let data = |offset: u64| frozen.next_data(lower, offset);
    let change = Change { old, dirty: &dirty, kept: state.kept, size: state.size, read: &read, data: Some(&data) };
    let (chunker, content) = recut(out, &change, threads)?;
    Ok(Base { content, size: state.size, chunker })
}

/// A path, and the directories that have to be made anew if it is another.
type Named = (Vec<u8>, Vec<u64>);

struct Maker<'m> {
    lower: &'m Lower,
    snapshot: &'m Snapshot,
    rules: &'m Rules,
    out: &'m Output<'m>,
    observer: &'m dyn Observer,
    threads: usize,
    /// Whether names may be left out anywhere.
    everything: bool,
    /// Directories that are made anew.
    anew: HashSet<u64>,
    /// Paths of inodes with several names.
    groups: HashMap<u64, (Option<HardLink>, Vec<Vec<u8>>)>,
    files: HashMap<u64, Arc<Base>>,
    /// Inodes that are in the tree.
    in_tree: HashSet<u64>,
    dirs: Vec<(u64, Option<(Id, Totals)>)>,
}

impl Maker<'_> {
    fn inode(&self, ino: u64) -> Option<&Arc<Inode>> {
        self.snapshot.upper.inodes.get(&ino)
    }

    /// Notes that the directories above an inode are made anew, and itself.
    fn above(&mut self, ino: u64) {
        let mut at = ino;
        while let Some(inode) = self.snapshot.upper.inodes.get(&at) {
            if !self.anew.insert(at) && at != ino || at == ROOT {
                break;
            }
            at = inode.parent;
        }
    }

    /// The path of an inode that was made or changed; `None` if it is gone.
    fn path(&self, ino: u64) -> Option<Vec<u8>> {
        let mut names = Vec::new();
        let mut at = ino;
        while at != ROOT {
            let inode = self.inode(at).filter(|i| i.nlink > 0)?;
            names.push(inode.name.as_slice());
            at = inode.parent;
        }
        names.reverse();
        Some(names.join(&b'/'))
    }

    /// Finds all names of files that have several. What directories were stored with at the last commit nobody has
    /// written down: once there was one they are all made anew.
    fn find_groups(&mut self, table: &LinkTable, committed: bool) {
        let mut paths: HashMap<u64, Vec<Named>> = HashMap::new();
        let linked: HashSet<u64> = table.0.iter().map(|(group, _)| of_group(&self.snapshot.upper, *group)).collect();
        for (parent, names) in &self.snapshot.upper.names {
            for (name, ino) in names.iter() {
                let Some(inode) = ino.and_then(|n| self.inode(n)) else { continue };
                let Some(ino) = ino else { continue };
                if matches!(inode.what, What::Dir { .. }) || inode.nlink < 2 && !linked.contains(ino) {
                    continue;
                }
                if let Some(dir) = self.path(*parent) {
                    paths.entry(*ino).or_default().push((join(&dir, name), vec![*parent]));
                }
            }
        }
        for (group, members) in &table.0 {
            for member in members {
                if let Some(found) = self.locate(member) {
                    paths.entry(of_group(&self.snapshot.upper, *group)).or_default().push(found);
                }
            }
        }
        let before: HashMap<u64, Option<HardLink>> =
            table.0.iter().map(|(g, p)| (of_group(&self.snapshot.upper, *g), link_of(p))).collect();
        for (ino, mut found) in paths {
            found.sort_unstable();
            let all: Vec<Vec<u8>> = found.iter().map(|f| f.0.clone()).collect();
            let link = link_of(&all);
            // The directories of a file that was changed may be the version's, in which it is as it was: that an
            // earlier commit has made them anew is noted nowhere.
            let changed = committed || before.get(&ino).copied().flatten() != link || self.inode(ino).is_some();
            if changed {
                for (_, dirs) in &found {
                    for dir in dirs {
                        self.anew.insert(*dir);
                        self.above(*dir);
                    }
                }
            }
            self.groups.insert(ino, (link, all));
        }
    }

    /// Where a path of the version below is now, and the directories on the way to it, if its last name is untouched.
    fn locate(&self, path: &[u8]) -> Option<Named> {
        let names: Vec<&[u8]> = path.split(|b| *b == b'/').collect();
        let (last, above) = names.split_last()?;
        let (mut dir, mut at) = (ROOT, Vec::new());
        let mut dirs = vec![ROOT];
        for name in above {
            let next = self.snapshot.upper.number_of(dir, name, None);
            at = match self.inode(next) {
                Some(_) => self.path(next)?,
                None if self.overrides(dir, name) => return None,
                None => join(&at, name),
            };
            dir = next;
            dirs.push(dir);
        }
        (!self.overrides(dir, last)).then(|| (join(&at, last), dirs))
    }

    fn overrides(&self, dir: u64, name: &[u8]) -> bool {
        self.snapshot.upper.names.get(&dir).is_some_and(|names| names.contains_key(name))
    }

    /// Makes a directory: what it is of the version, and what was changed.
    fn dir(&mut self, ino: u64, tree: Option<Id>, path: &[u8], depth: usize, above: &Ignores) -> Result<(Id, Totals)> {
        let below = match &tree {
            Some(tree) => Some(self.lower.dir(tree)?),
            None => None,
        };
        let over = self.snapshot.upper.names.get(&ino).cloned().unwrap_or_default();
        let mut nodes: BTreeMap<&[u8], (u64, Option<&Entry>)> = BTreeMap::new();
        for entry in below.iter().flat_map(|dir| dir.iter()) {
            if !over.contains_key(&entry.name) {
                nodes.insert(
                    &entry.name,
                    (self.snapshot.upper.number_of(ino, &entry.name, entry.link.as_ref()), Some(entry)),
                );
            }
        }
        nodes.extend(over.iter().filter_map(|(name, n)| Some((name.as_slice(), ((*n)?, None)))));
        let ignores = self.ignores(&nodes, depth, above)?;
        // What was taken before was taken by other rules; by these all of it has to be looked at.
        let had = below.as_ref().is_some_and(|dir| dir.iter().any(|e| e.name == IGNORE_FILE.as_bytes()));
        let forced = !ignores.is_empty() || had;
        let before = self.everything;
        self.everything |= forced;
        let mut entries = Vec::with_capacity(nodes.len());
        let mut totals = Totals::default();
        for (name, (number, entry)) in nodes {
            let full = join(path, name);
            let is_dir = match (self.inode(number), entry) {
                (Some(inode), _) => matches!(inode.what, What::Dir { .. }),
                (None, entry) => entry.is_some_and(Entry::is_dir),
            };
            if is_reserved(name) {
                self.observer.notice(reserved_notice(full));
                continue;
            }
            if ignores.excludes(self.rules, &full, is_dir) {
                continue;
            }
            if is_dir && full.len() > DIR_PATH_MAX {
                let message =
                    format!("a directory in it is left out: its path is longer than {} KiB", DIR_PATH_MAX >> 10);
                self.observer.notice(Notice { level: NoticeLevel::Incomplete, path: path.to_vec(), message });
                continue;
            }
            if let Some(entry) = self.entry(name, number, entry, &full, depth, &ignores)? {
                totals.add(&entry);
                entries.push(entry);
            }
        }
        self.everything = before;
        let root = match (ino, self.inode(ROOT)) {
            (ROOT, Some(inode)) => Some(RootInfo { meta: inode.meta.clone(), totals, links: self.links()? }),
            _ => None,
        };
        let id = store_tree(entries, root, self.out)?;
        // Another time other rules may be in force.
        let remembered = (!self.everything && !forced).then_some((id, totals));
        self.dirs.push((ino, remembered));
        Ok((id, totals))
    }

    /// The entry of a name; `None` where it is not kept.
    fn entry(
        &mut self,
        name: &[u8],
        number: u64,
        entry: Option<&Entry>,
        path: &[u8],
        depth: usize,
        ignores: &Ignores,
    ) -> Result<Option<Entry>> {
        let link = self.groups.get(&number).and_then(|g| g.0);
        self.in_tree.insert(number);
        let Some(inode) = self.inode(number).cloned() else {
            let Some(entry) = entry else { return Ok(None) };
            let mut entry = Entry { link, ..entry.clone() };
            if let Node::Dir { tree, .. } = entry.node
                && (self.everything || self.anew.contains(&number))
            {
                let (tree, totals) = self.dir(number, Some(tree), path, depth + 1, ignores)?;
                entry.node = Node::Dir { tree, totals };
            }
            return Ok(Some(entry));
        };
        let node = match &inode.what {
            What::File(data) => {
                let base = match (self.files.get(&number), self.snapshot.files.get(&number)) {
                    (Some(base), _) => Some(Arc::clone(base)),
                    (None, Some(frozen)) => {
                        let damaged = |source: crate::error::Error| match source.kind() {
                            Kind::Integrity => MountError::File { path: display(path), source }.into(),
                            _ => source,
                        };
                        let base = Arc::new(cut(self.lower, frozen, self.out, self.threads).map_err(damaged)?);
                        frozen.close();
                        self.observer.advance(1, base.size);
                        self.files.insert(number, Arc::clone(&base));
                        Some(base)
                    }
                    (None, None) => data.facts().base,
                };
                match base {
                    Some(base) => Node::File { size: base.size, chunker: base.chunker, content: base.content.clone() },
                    // It was made after this moment, which cannot be.
                    None => return Ok(None),
                }
            }
            What::Dir { tree, stored } => {
                let (id, totals) = match stored {
                    Some(stored) if !self.everything && !self.anew.contains(&number) => *stored,
                    _ => self.dir(number, *tree, path, depth + 1, ignores)?,
                };
                Node::Dir { tree: id, totals }
            }
            What::Symlink(target) => Node::Symlink { target: target.clone() },
            What::Fifo => Node::Fifo,
            What::Socket => {
                let message = "sockets are not kept".to_owned();
                self.observer.notice(Notice { level: NoticeLevel::Skipped, path: path.to_vec(), message });
                return Ok(None);
            }
            What::CharDevice(major, minor) => Node::CharDevice { major: *major, minor: *minor },
            What::BlockDevice(major, minor) => Node::BlockDevice { major: *major, minor: *minor },
        };
        Ok(Some(Entry { name: name.to_vec(), meta: inode.meta.clone(), link, node }))
    }

    /// The ignore files down to a directory.
    fn ignores(
        &self,
        nodes: &BTreeMap<&[u8], (u64, Option<&Entry>)>,
        depth: usize,
        above: &Ignores,
    ) -> Result<Ignores> {
        const TEXT_MAX: u64 = 16 << 20;
        let mut ignores = above.clone();
        let Some((number, entry)) = nodes.get(IGNORE_FILE.as_bytes()) else { return Ok(ignores) };
        let content = match (self.inode(*number), entry) {
            (Some(inode), _) => match &inode.what {
                What::File(data) => data.facts().base.map(|base| base.content.clone()),
                _ => None,
            },
            (None, Some(Entry { node: Node::File { content, .. }, .. })) => Some(content.clone()),
            _ => None,
        };
        let text = match (self.snapshot.files.get(number), content) {
            // What is not stored yet is read where it lies.
            (Some(frozen), _) => {
                let mut text = vec![0; usize::try_from(frozen.state.size.min(TEXT_MAX)).unwrap_or(0)];
                frozen.read(self.lower, 0, &mut text)?;
                text
            }
            (None, Some(content)) => self.lower.repo().read_content(&content, TEXT_MAX)?,
            (None, None) => return Ok(ignores),
        };
        ignores.add(&text, depth);
        Ok(ignores)
    }

    /// The table of hard links, stored.
    fn links(&self) -> Result<Option<crate::model::entry::Content>> {
        let sorted: BTreeMap<[u8; 16], Vec<Vec<u8>>> =
            self.groups.values().filter_map(|(link, paths)| Some(((*link)?.group, paths.clone()))).collect();
        if sorted.is_empty() {
            return Ok(None);
        }
        store_links(self.out, &LinkTable(sorted.into_iter().collect())).map(Some)
    }
}

/// The number of the inode that a group of hard links is.
fn of_group(upper: &Upper, group: [u8; 16]) -> u64 {
    upper.number_of(0, b"", Some(&HardLink { group, count: 2 }))
}
