//! Builds the tree of a snapshot, at a cost proportional to the changes.
//!
//! Programs can continue to write in the meantime, because the snapshot has its own names and
//! frozen files. Unchanged directories are reused without reading them. The tree is identical to
//! the one that a walk over the mount would build.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::error::MountError;
use super::file::{BLOCK, BaseFile, FrozenFile};
use super::lower::LowerLayer;
use super::names::{DirResult, Inode, InodeBody, ROOT_INO, StoredDir, UpperTree};
use super::view::{MountSnapshot, SnapshotTree};
use crate::error::{Kind, Result};
use crate::model::entry::{Entry, HardLink, Node, Totals};
use crate::model::id::Id;
use crate::model::path::{DIR_PATH_MAX, display, is_reserved, join};
use crate::model::tree::{LinkTable, RootInfo};
use crate::observe::{Notice, NoticeLevel, Observer};
use crate::snapshot::content::store::{flush_small, store_links};
use crate::snapshot::output::Output;
use crate::snapshot::rechunk::{Change, OldState, rechunk};
use crate::snapshot::tree::store_tree;
use crate::snapshot::walk::links::link_of;
use crate::snapshot::walk::rules::{IGNORE_FILE, Ignores, Rules};
use crate::snapshot::walk::scan::reserved_notice;
use crate::sys::io_error::IoError;
use crate::work::NoThread;

/// Everything that is needed to build the tree of a snapshot.
#[derive(Clone, Copy)]
pub struct TreeInput<'i> {
    /// Reads objects of the version.
    pub lower: &'i LowerLayer,
    pub snapshot: &'i MountSnapshot,
    /// The tree of the version that the mount was based on when it started or was last switched.
    pub base: &'i Id,
    /// Whether the mount has committed another version since.
    pub committed: bool,
    /// Rules that leave files out.
    pub rules: &'i Rules,
    /// Whether files are included that the ignore files of the mount leave out.
    pub ignored: bool,
    /// Receives the new objects.
    pub out: &'i Output<'i>,
    /// Receives notices and progress.
    pub observer: &'i dyn Observer,
    /// Number of threads for chunking.
    pub threads: usize,
}

/// Stack size for the recursion over directories, whose depth [`DIR_PATH_MAX`] limits. Unused pages
/// of the stack take no memory.
const STACK: usize = 256 << 20;

/// Builds the tree of a snapshot.
pub fn build_tree(input: &TreeInput<'_>) -> Result<SnapshotTree> {
    let TreeInput {
        lower,
        snapshot,
        base,
        committed,
        rules,
        ignored,
        out,
        observer,
        threads,
    } = *input;
    let info = lower.repo().root_info(base)?;
    let mut builder = TreeBuilder {
        lower,
        snapshot,
        rules,
        ignored,
        out,
        observer,
        threads,
        rules_apply: rules.leaves_out(),
        rebuilt: HashSet::from([ROOT_INO]),
        groups: HashMap::new(),
        files: HashMap::new(),
        in_tree: HashSet::from([ROOT_INO]),
        dirs: Vec::new(),
    };
    for ino in snapshot.changed.iter().chain(snapshot.files.keys()) {
        builder.rebuild_above(*ino);
    }
    // Find the changed groups before the directories are built, because a changed group changes
    // entries of files that are unchanged themselves.
    builder.find_groups(&lower.repo().links(&info)?, committed);
    let root = std::thread::scope(|scope| {
        let make = || -> Result<StoredDir> {
            let made = builder.dir(ROOT_INO, Some(*base), b"", 0, &Ignores::default())?;
            flush_small(out)?;
            Ok(made)
        };
        let thread = std::thread::Builder::new()
            .stack_size(STACK)
            .spawn_scoped(scope, make);
        let thread = thread.map_err(NoThread)?;
        thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })?;
    out.flush()?;
    let named = |ino: &&u64| {
        snapshot
            .upper
            .inodes
            .get(ino)
            .is_some_and(|inode| inode.nlink > 0)
    };
    let missing = |ino: &&u64| !builder.in_tree.contains(ino);
    let left = snapshot
        .changed
        .iter()
        .filter(named)
        .filter(missing)
        .copied()
        .collect();
    Ok(SnapshotTree {
        tree: root.tree,
        totals: root.totals,
        files: builder.files,
        dirs: builder.dirs,
        left,
    })
}

/// Chunks a frozen file, reusing the unchanged chunks of its base.
fn rechunk_file(
    lower: &LowerLayer,
    frozen: &FrozenFile,
    out: &Output<'_>,
    threads: usize,
) -> Result<BaseFile> {
    let state = &frozen.state;
    let old = state.base.as_ref().map(|b| OldState {
        size: b.size,
        chunker: b.chunker,
        content: &b.content,
    });
    let dirty: Vec<_> = state
        .dirty
        .iter()
        .map(|r| r.start * BLOCK..(r.end * BLOCK).min(state.size))
        .collect();
    let read = |offset: u64, bytes: &mut [u8]| frozen.read(lower, offset, bytes);
    let data = |offset: u64| frozen.next_data(lower, offset);
    let change = Change {
        old,
        dirty: &dirty,
        kept: state.kept,
        size: state.size,
        read: &read,
        data: Some(&data),
    };
    let (chunker, content) = rechunk(out, &change, threads)?;
    Ok(BaseFile {
        content,
        size: state.size,
        chunker,
    })
}

/// A path of a hard-linked file, and the directories to rebuild if its link changes.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct LinkPath {
    path: Vec<u8>,
    dirs: Vec<u64>,
}

/// The hard links of one file.
struct LinkGroup {
    link: Option<HardLink>,
    paths: Vec<Vec<u8>>,
}

/// The node of a name: a changed inode, or an entry of the version.
#[derive(Clone, Copy)]
struct NameNode<'e> {
    ino: u64,
    entry: Option<&'e Entry>,
}

struct TreeBuilder<'m> {
    lower: &'m LowerLayer,
    snapshot: &'m MountSnapshot,
    rules: &'m Rules,
    ignored: bool,
    out: &'m Output<'m>,
    observer: &'m dyn Observer,
    threads: usize,
    /// Whether rules can leave out names anywhere, so that all directories are rebuilt.
    rules_apply: bool,
    /// Directories to rebuild.
    rebuilt: HashSet<u64>,
    /// Hard-linked files by inode number.
    groups: HashMap<u64, LinkGroup>,
    files: HashMap<u64, Arc<BaseFile>>,
    /// Inodes that the tree contains.
    in_tree: HashSet<u64>,
    dirs: Vec<DirResult>,
}

impl TreeBuilder<'_> {
    fn inode(&self, ino: u64) -> Option<&Arc<Inode>> {
        self.snapshot.upper.inodes.get(&ino)
    }

    /// Marks an inode and all directories above it to be rebuilt.
    fn rebuild_above(&mut self, ino: u64) {
        let mut at = ino;
        while let Some(inode) = self.snapshot.upper.inodes.get(&at) {
            // All directories above a marked one are marked already.
            if !self.rebuilt.insert(at) && at != ino || at == ROOT_INO {
                break;
            }
            at = inode.parent;
        }
    }

    /// Returns the path of a changed inode, or `None` if it has no name.
    fn path(&self, ino: u64) -> Option<Vec<u8>> {
        let mut names = Vec::new();
        let mut at = ino;
        while at != ROOT_INO {
            let inode = self.inode(at).filter(|i| i.nlink > 0)?;
            names.push(inode.name.as_slice());
            at = inode.parent;
        }
        names.reverse();
        Some(names.join(&b'/'))
    }

    /// Finds all names of hard-linked files. After a commit, all their directories are rebuilt,
    /// because it is not recorded which link data the last commit stored in them.
    fn find_groups(&mut self, table: &LinkTable, committed: bool) {
        let mut paths: HashMap<u64, Vec<LinkPath>> = HashMap::new();
        let linked: HashSet<u64> = table
            .0
            .iter()
            .map(|(group, _)| of_group(&self.snapshot.upper, *group))
            .collect();
        // The names that the mount has created or moved.
        for (parent, names) in &self.snapshot.upper.names {
            for (name, ino) in names.iter() {
                let Some(inode) = ino.and_then(|n| self.inode(n)) else {
                    continue;
                };
                let Some(ino) = ino else { continue };
                if matches!(inode.what, InodeBody::Dir { .. })
                    || inode.nlink < 2 && !linked.contains(ino)
                {
                    continue;
                }
                if let Some(dir) = self.path(*parent) {
                    paths.entry(*ino).or_default().push(LinkPath {
                        path: join(&dir, name),
                        dirs: vec![*parent],
                    });
                }
            }
        }
        // The names of the version that still exist.
        for (group, members) in &table.0 {
            for member in members {
                if let Some(found) = self.locate(member) {
                    paths
                        .entry(of_group(&self.snapshot.upper, *group))
                        .or_default()
                        .push(found);
                }
            }
        }
        let before: HashMap<u64, Option<HardLink>> = table
            .0
            .iter()
            .map(|(g, p)| (of_group(&self.snapshot.upper, *g), link_of(p)))
            .collect();
        for (ino, mut found) in paths {
            found.sort_unstable();
            let all: Vec<Vec<u8>> = found.iter().map(|f| f.path.clone()).collect();
            let link = link_of(&all);
            // Also rebuild the directories of a changed file: they may still be those of the
            // version, with outdated link data, because it is not recorded that an earlier commit
            // has rebuilt them.
            let changed = committed
                || before.get(&ino).copied().flatten() != link
                || self.inode(ino).is_some();
            if changed {
                for LinkPath { dirs, .. } in &found {
                    for dir in dirs {
                        self.rebuilt.insert(*dir);
                        self.rebuild_above(*dir);
                    }
                }
            }
            self.groups.insert(ino, LinkGroup { link, paths: all });
        }
    }

    /// Returns the current path of a file of the base version, and the directories on it. Returns
    /// `None` if a directory above it is gone, or if the mount has changed the last name of the
    /// path, because `find_groups` then finds the file among the changed names.
    fn locate(&self, path: &[u8]) -> Option<LinkPath> {
        let names: Vec<&[u8]> = path.split(|b| *b == b'/').collect();
        let (last, above) = names.split_last()?;
        let (mut dir, mut at) = (ROOT_INO, Vec::new());
        let mut dirs = vec![ROOT_INO];
        for name in above {
            let next = self.snapshot.upper.ino_of(dir, name, None);
            at = match self.inode(next) {
                Some(_) => self.path(next)?,
                None if self.overrides(dir, name) => return None,
                None => join(&at, name),
            };
            dir = next;
            dirs.push(dir);
        }
        (!self.overrides(dir, last)).then(|| LinkPath {
            path: join(&at, last),
            dirs,
        })
    }

    fn overrides(&self, dir: u64, name: &[u8]) -> bool {
        self.snapshot
            .upper
            .names
            .get(&dir)
            .is_some_and(|names| names.contains_key(name))
    }

    /// Builds a directory from its entries of the version and its changed names.
    fn dir(
        &mut self,
        ino: u64,
        tree: Option<Id>,
        path: &[u8],
        depth: usize,
        above: &Ignores,
    ) -> Result<StoredDir> {
        let below = match &tree {
            Some(tree) => Some(self.lower.dir(tree)?),
            None => None,
        };
        let over = self
            .snapshot
            .upper
            .names
            .get(&ino)
            .cloned()
            .unwrap_or_default();
        let mut nodes: BTreeMap<&[u8], NameNode<'_>> = BTreeMap::new();
        for entry in below.iter().flat_map(|dir| dir.iter()) {
            if !over.contains_key(&entry.name) {
                let number = self
                    .snapshot
                    .upper
                    .ino_of(ino, &entry.name, entry.link.as_ref());
                nodes.insert(
                    &entry.name,
                    NameNode {
                        ino: number,
                        entry: Some(entry),
                    },
                );
            }
        }
        // A removed name has no inode and is left out.
        nodes.extend(over.iter().filter_map(|(name, n)| {
            Some((
                name.as_slice(),
                NameNode {
                    ino: (*n)?,
                    entry: None,
                },
            ))
        }));
        // Ignore rules of this directory apply to everything below it.
        let ignores = if self.ignored {
            Ignores::default()
        } else {
            self.ignores(&nodes, path, depth, above)?
        };
        // If ignore rules apply now or have applied before, everything below may differ from the
        // stored directory.
        let had = !self.ignored
            && below
                .as_ref()
                .is_some_and(|dir| dir.iter().any(|e| e.name == IGNORE_FILE.as_bytes()));
        let forced = !ignores.is_empty() || had;
        let before = self.rules_apply;
        self.rules_apply |= forced;
        let mut entries = Vec::with_capacity(nodes.len());
        let mut totals = Totals::default();
        for (name, NameNode { ino: number, entry }) in nodes {
            let full = join(path, name);
            let is_dir = match (self.inode(number), entry) {
                (Some(inode), _) => matches!(inode.what, InodeBody::Dir { .. }),
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
                let message = format!(
                    "a subdirectory was not recorded: its path is longer than {} KiB",
                    DIR_PATH_MAX >> 10
                );
                self.observer.notice(Notice {
                    level: NoticeLevel::Incomplete,
                    path: path.to_vec(),
                    message,
                });
                continue;
            }
            if let Some(entry) = self.entry(name, number, entry, &full, depth, &ignores)? {
                totals.add(&entry);
                entries.push(entry);
            }
        }
        self.rules_apply = before;
        let root = match (ino, self.inode(ROOT_INO)) {
            (ROOT_INO, Some(inode)) => Some(RootInfo {
                meta: inode.meta.clone(),
                totals,
                links: self.links()?,
            }),
            _ => None,
        };
        let id = store_tree(entries, root, self.out)?;
        // A directory that depends on rules must not be reused, because the next snapshot may have
        // different rules.
        let dir = StoredDir { tree: id, totals };
        let stored = (!self.rules_apply && !forced).then_some(dir);
        self.dirs.push(DirResult { ino, stored });
        Ok(dir)
    }

    /// Builds the entry of a name. Returns `None` if the name is left out.
    fn entry(
        &mut self,
        name: &[u8],
        number: u64,
        entry: Option<&Entry>,
        path: &[u8],
        depth: usize,
        ignores: &Ignores,
    ) -> Result<Option<Entry>> {
        let link = self.groups.get(&number).and_then(|group| group.link);
        self.in_tree.insert(number);
        let Some(inode) = self.inode(number).cloned() else {
            let Some(entry) = entry else { return Ok(None) };
            let mut entry = Entry {
                link,
                ..entry.clone()
            };
            if let Node::Dir { tree, .. } = entry.node
                && (self.rules_apply || self.rebuilt.contains(&number))
            {
                let StoredDir { tree, totals } =
                    self.dir(number, Some(tree), path, depth + 1, ignores)?;
                entry.node = Node::Dir { tree, totals };
            }
            return Ok(Some(entry));
        };
        let node = match &inode.what {
            InodeBody::File(data) => {
                let base = match (self.files.get(&number), self.snapshot.files.get(&number)) {
                    (Some(base), _) => Some(Arc::clone(base)),
                    (None, Some(frozen)) => {
                        let damaged = |source: crate::error::Error| match source.kind() {
                            Kind::Integrity => MountError::File {
                                path: display(path),
                                source,
                            }
                            .into(),
                            _ => source,
                        };
                        let base = Arc::new(
                            rechunk_file(self.lower, frozen, self.out, self.threads)
                                .map_err(damaged)?,
                        );
                        // A snapshot of many files would otherwise run out of descriptors.
                        frozen.close();
                        self.observer.advance(1, base.size);
                        self.files.insert(number, Arc::clone(&base));
                        Some(base)
                    }
                    // The content was not changed at the moment of the snapshot, so it is that of
                    // the base.
                    (None, None) => data.facts().base,
                };
                match base {
                    Some(base) => Node::File {
                        size: base.size,
                        chunker: base.chunker,
                        content: base.content.clone(),
                    },
                    // Unreachable: only a file that was created after the snapshot has neither a
                    // frozen state nor a base.
                    None => return Ok(None),
                }
            }
            InodeBody::Dir { tree, stored } => {
                let StoredDir { tree, totals } = match stored {
                    Some(stored) if !self.rules_apply && !self.rebuilt.contains(&number) => *stored,
                    _ => self.dir(number, *tree, path, depth + 1, ignores)?,
                };
                Node::Dir { tree, totals }
            }
            InodeBody::Symlink(target) => Node::Symlink {
                target: target.clone(),
            },
            InodeBody::Fifo => Node::Fifo,
            InodeBody::Socket => {
                let message = "sockets are not recorded".to_owned();
                self.observer.notice(Notice {
                    level: NoticeLevel::Skipped,
                    path: path.to_vec(),
                    message,
                });
                return Ok(None);
            }
            InodeBody::CharDevice(major, minor) => Node::CharDevice {
                major: *major,
                minor: *minor,
            },
            InodeBody::BlockDevice(major, minor) => Node::BlockDevice {
                major: *major,
                minor: *minor,
            },
        };
        Ok(Some(Entry {
            name: name.to_vec(),
            meta: inode.meta.clone(),
            link,
            node,
        }))
    }

    /// Returns the ignore rules of a directory, including those of its parents.
    fn ignores(
        &self,
        nodes: &BTreeMap<&[u8], NameNode<'_>>,
        path: &[u8],
        depth: usize,
        above: &Ignores,
    ) -> Result<Ignores> {
        const TEXT_MAX: u64 = 16 << 20;
        let unread = |e: std::io::Error| {
            let file = display(&join(path, IGNORE_FILE.as_bytes())).to_string();
            IoError::new("read the ignore rules", file, e)
        };
        let mut ignores = above.clone();
        let Some(NameNode { ino: number, entry }) = nodes.get(IGNORE_FILE.as_bytes()) else {
            return Ok(ignores);
        };
        let content = match (self.inode(*number), entry) {
            (Some(inode), _) => match &inode.what {
                InodeBody::File(data) => data.facts().base.map(|base| base.content.clone()),
                _ => None,
            },
            (
                None,
                Some(Entry {
                    node: Node::File { content, .. },
                    ..
                }),
            ) => Some(content.clone()),
            _ => None,
        };
        let text = match (self.snapshot.files.get(number), content) {
            // The file is not stored yet, so read its frozen state.
            (Some(frozen), _) => {
                let len = frozen.state.size;
                if len > TEXT_MAX {
                    let e = std::io::Error::from(std::io::ErrorKind::FileTooLarge);
                    return Err(unread(e).into());
                }
                let mut text = vec![0; usize::try_from(len).unwrap_or(0)];
                frozen.read(self.lower, 0, &mut text)?;
                text
            }
            (None, Some(content)) => self.lower.repo().read_content(&content, TEXT_MAX)?,
            (None, None) => return Ok(ignores),
        };
        ignores.add(&text, depth).map_err(unread)?;
        Ok(ignores)
    }

    /// Stores the table of hard links.
    fn links(&self) -> Result<Option<crate::model::entry::Content>> {
        let sorted: BTreeMap<[u8; 16], Vec<Vec<u8>>> = self
            .groups
            .values()
            .filter_map(|group| Some((group.link?.group, group.paths.clone())))
            .collect();
        if sorted.is_empty() {
            return Ok(None);
        }
        store_links(self.out, &LinkTable(sorted.into_iter().collect())).map(Some)
    }
}

/// Returns the inode number of a hard-linked file.
fn of_group(upper: &UpperTree, group: [u8; 16]) -> u64 {
    upper.ino_of(0, b"", Some(&HardLink { group, count: 2 }))
}
