//! One directory of a walk: what its names are now, which of them are as they were, and, when all below it is done,
//! its tree object.
//!
//! A directory whose every name is as it was is not read, not encoded and not looked up: its old tree is its tree.

use std::collections::{HashMap, HashSet};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::{Mutex, MutexGuard};
use rustix::fs::FileType;

use crate::error::{Kind, Result};
use crate::format::Malformed;
use crate::model::entry::{Entry, Meta, Node, Time, Totals, Xattr};
use crate::model::id::{Id, ObjectKind};
use crate::model::path;
use crate::model::tree::RootInfo;
use crate::observe::{Notice, NoticeLevel, Observer};
use crate::repo::layout::INSIDE;
use crate::snapshot::content::large::{OldFile, Reader};
use crate::snapshot::content::small::{SMALL_MAX, SmallFile, store_small};
use crate::snapshot::content::store::store_links;
use crate::snapshot::output::Output;
use crate::snapshot::tree::store_tree;
use crate::snapshot::walk::basis::{DirRecord, fingerprint};
use crate::snapshot::walk::dir::{Dir, Slot, State};
use crate::snapshot::walk::entries;
use crate::snapshot::walk::entries::Stat;
use crate::snapshot::walk::links::Links;
use crate::snapshot::walk::rules::{self, Rules};
use crate::snapshot::walk::unrestored::Unrestored;

/// More paths than this are not noted.
const NOTED_MAX: usize = 1000;

/// What all directories of a walk share.
pub struct Walk<'a> {
    /// Where objects go.
    pub out: &'a Output<'a>,
    /// Who is told.
    pub observer: &'a dyn Observer,
    /// What is left out.
    pub rules: &'a Rules,
    /// Whether a file with this name is noted.
    pub notes: fn(&[u8]) -> bool,
    /// Paths that were noted, the first ones.
    pub noted: Mutex<Vec<Vec<u8>>>,
    /// The number of the worktree in the catalogue, if its records may be used.
    pub basis: Option<i64>,
    /// What a checkout could not restore.
    pub unrestored: Option<&'a Unrestored>,
    /// When the walk began.
    pub before: Time,
    /// Directories whose records must not be used.
    pub distrust: HashSet<Vec<u8>>,
    /// Whether objects may be gone that records rely on, so that each is looked for.
    pub doubt: bool,
    /// Hard links.
    pub links: Mutex<Links>,
    /// New records, by path.
    pub records: Mutex<Vec<(Vec<u8>, DirRecord)>>,
    /// The latest change of anything that was seen.
    pub newest: Mutex<Time>,
    /// Paths that could not be read or did not hold still.
    pub unstable: Mutex<Vec<Vec<u8>>>,
    /// The entries of named paths, by path, where the walk is for these.
    pub picked: Mutex<Vec<(Vec<u8>, Entry)>>,
    /// The finished root.
    pub result: Mutex<Option<Finished>>,
}

/// The root of a walk, when it is done.
#[derive(Clone, Debug)]
pub struct Finished {
    /// Its tree object.
    pub tree: Id,
    /// What lies below it.
    pub totals: Totals,
    /// Its own metadata.
    pub meta: Meta,
}

/// A name with what it is.
type Named = (Vec<u8>, Stat);

/// What a scanned directory gives its caller to do.
#[derive(Default)]
pub struct Found {
    /// Directories, in order of names.
    pub dirs: Vec<Arc<Dir>>,
    /// Files to be read in pieces.
    pub readers: Vec<Box<Reader>>,
}

/// The notice about a repository that is left out of a version.
pub fn reserved_notice(path: Vec<u8>) -> Notice {
    let message = "left out: no version may contain a repository".to_owned();
    Notice { level: NoticeLevel::Skipped, path, message }
}

impl<'a> Walk<'a> {
    /// Says that a path could not be read, and goes on.
    pub fn unreadable(&self, path: &[u8], what: &str, e: &io::Error) {
        self.incomplete(path, format!("cannot {what}: {e}"));
    }

    fn incomplete(&self, path: &[u8], message: String) {
        self.unstable.lock().push(path.to_vec());
        self.observer.notice(Notice { level: NoticeLevel::Incomplete, path: path.to_vec(), message });
    }

    /// Says that a file did not hold still.
    pub fn changed(&self, path: &[u8]) {
        self.incomplete(path, "it changed while it was read; kept as read".to_owned());
    }

    /// Reports that a directory is left out because of the length of its path; `above` is the path of its parent.
    fn too_long(&self, above: &[u8]) {
        let most = path::DIR_PATH_MAX >> 10;
        self.incomplete(above, format!("a directory in it is left out: its path is longer than {most} KiB"));
    }

    /// All hard links so far.
    pub fn links(&self) -> MutexGuard<'_, Links> {
        self.links.lock()
    }

    /// Looks at a directory; the caller then does what was found and calls [`Walk::done`] once for the scan itself.
    pub fn scan(&self, dir: &Arc<Dir>, buffer: &mut Vec<u8>) -> Result<Found> {
        let found = match self.look(dir) {
            Ok(Some(names)) => self.compare(dir, names, buffer),
            Ok(None) => Ok(Found::default()),
            Err(e) if e.kind() == io::ErrorKind::NotFound && !dir.is_root() => {
                dir.lock().gone = true;
                Ok(Found::default())
            }
            Err(e) => {
                self.unreadable(&dir.path, "read the directory", &e);
                // It stands empty in the tree rather than not at all: its own metadata is known.
                Ok(Found::default())
            }
        };
        dir.release();
        found
    }

    /// Attributes, or `None` and a word where they cannot be read: the content is worth more than they are.
    fn attributes(&self, path: &[u8], read: io::Result<Vec<Xattr>>) -> Option<Vec<Xattr>> {
        read.map_err(|e| self.unreadable(path, "read its attributes", &e)).ok()
    }

    /// Opens and lists a directory.
    fn look(&self, dir: &Arc<Dir>) -> io::Result<Option<Vec<Named>>> {
        let fd = dir.open()?;
        let fd = fd.as_fd();
        let stat = entries::stat_at(fd, b"")?;
        let outside = |d: &Arc<Dir>| {
            let mut top = d;
            while let Some(p) = &top.parent {
                top = p;
            }
            top.stat.lock().dev != stat.dev
        };
        let xattrs = self.attributes(&dir.path, entries::xattrs_of(fd)).unwrap_or_default();
        let skipped = (self.rules.one_file_system && outside(dir))
            || (self.rules.skip_cache_dirs && !dir.is_root() && entries::is_cache_dir(fd));
        *dir.stat.lock() = stat;
        let mut state = dir.lock();
        state.xattrs = xattrs;
        if skipped {
            return Ok(None);
        }
        let names = entries::names(fd)?;
        if !dir.is_root() && entries::is_repository(fd, &names) {
            // Each push to it would be part of the next version, which would be pushed to it.
            let message = "left out: it is a repository".to_owned();
            self.observer.notice(Notice { level: NoticeLevel::Skipped, path: dir.path.clone(), message });
            return Ok(None);
        }
        if names.iter().any(|n| n.1 == rules::IGNORE_FILE.as_bytes()) {
            let file = path::join(&dir.path, rules::IGNORE_FILE.as_bytes());
            let mut report = |bad: rules::BadLine| {
                self.observer.notice(Notice {
                    level: NoticeLevel::Warning,
                    path: file.clone(),
                    message: bad.to_string(),
                });
            };
            match state.ignores.enter(fd, dir.depth, &mut report) {
                Ok(ignores) => state.ignores = ignores,
                Err(e) => self.unreadable(&file, "obey it", &e),
            }
        }
        let ignores = state.ignores.clone();
        drop(state);
        let mut out = Vec::with_capacity(names.len());
        for (_, name) in names {
            if (self.notes)(&name) {
                let mut noted = self.noted.lock();
                if noted.len() < NOTED_MAX {
                    noted.push(path::join(&dir.path, &name));
                }
            }
            if dir.chosen.as_ref().is_some_and(|chosen| !chosen.takes(&name)) {
                continue;
            }
            if path::is_reserved(&name) {
                self.reserved(dir, fd, name);
                continue;
            }
            let stat = match entries::stat_at(fd, &name) {
                Ok(stat) => stat,
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                Err(e) => {
                    self.unreadable(&path::join(&dir.path, &name), "look at it", &e);
                    continue;
                }
            };
            let is_dir = stat.kind == FileType::Directory;
            if is_dir && self.rules.repository == Some((stat.dev, stat.ino)) {
                continue;
            }
            let full = path::join(&dir.path, &name);
            if ignores.excludes(self.rules, &full, is_dir) {
                continue;
            }
            if stat.kind == FileType::RegularFile
                && let Some(limit) = self.rules.exceeded(stat.size)
            {
                let message = format!("left out: its {} bytes are more than {limit}", stat.size);
                self.observer.notice(Notice { level: NoticeLevel::Skipped, path: full, message });
                continue;
            }
            if stat.kind == FileType::Socket {
                let message = "sockets are not kept".to_owned();
                self.observer.notice(Notice { level: NoticeLevel::Skipped, path: full, message });
                continue;
            }
            out.push((name, stat));
        }
        Ok(Some(out))
    }

    /// Reports that a repository of another worktree is left out. The worktree's own repository goes without saying.
    fn reserved(&self, dir: &Dir, fd: BorrowedFd<'_>, name: Vec<u8>) {
        let own = dir.is_root() && name == INSIDE.as_bytes();
        let is_repository = |s: &Stat| self.rules.repository == Some((s.dev, s.ino));
        if !own && !entries::stat_at(fd, &name).is_ok_and(|stat| is_repository(&stat)) {
            self.observer.notice(reserved_notice(path::join(&dir.path, &name)));
        }
    }

    /// Compares what is there with the record, and takes up what changed.
    fn compare(&self, dir: &Arc<Dir>, names: Vec<Named>, buffer: &mut Vec<u8>) -> Result<Found> {
        let device = dir.device();
        if let Some(newest) = names.iter().map(|(_, stat)| stat.ctime).max() {
            let mut known = self.newest.lock();
            *known = newest.max(*known);
        }
        let mut slots: Vec<Slot> = names
            .into_iter()
            .map(|(name, stat)| {
                let is_dir = stat.kind == FileType::Directory;
                let print = if is_dir { 0 } else { fingerprint(&name, &stat, None, device, self.before) };
                Slot { name, stat, print, entry: None, link: None }
            })
            .collect();
        // Files are visited in order of inodes, trees are in order of names.
        let by_inode: Vec<Vec<u8>> = slots.iter().map(|s| s.name.clone()).collect();
        slots.sort_by(|a, b| a.name.cmp(&b.name));
        let record = self.record(dir)?;
        let clean = record.as_ref().is_some_and(|r| {
            r.prints.len() == slots.len() + 1
                && slots
                    .iter()
                    .zip(&r.prints)
                    .all(|(s, p)| s.stat.kind == FileType::Directory || r.confirms(device, &s.stat, s.print, *p))
        });
        let mut old = match &record {
            Some(_) if clean => HashMap::new(),
            Some(record) => self.old_entries(record),
            None => self.entries_before(dir),
        };
        let mut found = Found::default();
        let ignores = dir.lock().ignores.clone();
        for slot in slots.iter().filter(|s| s.stat.kind == FileType::Directory) {
            if dir.path.len() + 1 + slot.name.len() > path::DIR_PATH_MAX {
                self.too_long(&dir.path);
                continue;
            }
            dir.pending.fetch_add(1, Ordering::AcqRel);
            dir.users.fetch_add(1, Ordering::AcqRel);
            let old_tree = match old.get(&slot.name) {
                Some((Entry { node: Node::Dir { tree, .. }, .. }, _)) => Some(*tree),
                _ => None,
            };
            found.dirs.push(Dir::below(dir, &slot.name, slot.stat, ignores.clone(), old_tree));
        }
        if clean {
            let mut files = 0;
            let mut bytes = 0;
            for slot in slots.iter().filter(|s| s.stat.kind != FileType::Directory) {
                files += 1;
                bytes += slot.stat.size;
                if slot.stat.nlink > 1 {
                    self.links().kept((slot.stat.dev, slot.stat.ino), &dir.path, &slot.name);
                }
            }
            self.observer.advance(files, bytes);
            let mut state = dir.lock();
            state.slots = slots;
            state.record = record;
            state.clean = true;
            return Ok(found);
        }
        let positions: HashMap<Vec<u8>, usize> = slots.iter().enumerate().map(|(i, s)| (s.name.clone(), i)).collect();
        dir.lock().slots = slots;
        let confirms = |stat: &Stat, now, then| record.as_ref().is_some_and(|r| r.confirms(device, stat, now, then));
        let Some(fd) = dir.fd() else { return Ok(found) };
        for name in by_inode {
            if self.observer.cancelled() {
                break;
            }
            let Some(at) = positions.get(&name).copied() else { continue };
            let (stat, print) = {
                let state = dir.lock();
                (state.slots[at].stat, state.slots[at].print)
            };
            if stat.kind == FileType::Directory {
                continue;
            }
            let old = old.remove(&name);
            if let Some((entry, before)) = &old
                && confirms(&stat, print, *before)
            {
                if stat.nlink > 1 {
                    self.links().kept((stat.dev, stat.ino), &dir.path, &name);
                }
                self.observer.advance(1, stat.size);
                dir.lock().slots[at].entry = Some(entry.clone());
                continue;
            }
            self.file(dir, &fd, at, &name, stat, old.map(|o| o.0), buffer, &mut found)?;
        }
        Ok(found)
    }

    /// The record of a directory, if it may be trusted.
    fn record(&self, dir: &Dir) -> Result<Option<DirRecord>> {
        let Some(worktree) = self.basis else { return Ok(None) };
        if self.distrust.contains(&dir.path) {
            return Ok(None);
        }
        let repo = self.out.repo();
        let bytes = repo.catalogue()?.stat_dirs(worktree, &[&dir.path])?.into_iter().next().flatten();
        let record = bytes.and_then(|b| DirRecord::decode(&b));
        Ok(match record {
            Some(r) if self.doubt => self.is_all_there(&r)?.then_some(r),
            Some(r) if repo.index()?.lookup(crate::format::pack::PackKind::Tree, &r.tree)?.is_some() => Some(r),
            _ => None,
        })
    }

    /// Whether all objects of a directory's own names can be had; what is below has records of its own.
    fn is_all_there(&self, record: &DirRecord) -> Result<bool> {
        let repo = self.out.repo();
        let known = |kind, id: &Id| -> Result<bool> {
            Ok(repo.has_whole(kind, id)? || repo.is_lazy() && repo.knows(kind, id)?)
        };
        if !known(ObjectKind::Tree, &record.tree)? {
            return Ok(false);
        }
        let entries = match repo.entries(&record.tree) {
            Err(e) if e.kind() == Kind::Integrity => return Ok(false),
            entries => entries?,
        };
        for entry in entries {
            let Node::File { content, .. } = &entry.node else { continue };
            for extent in repo.extents(content) {
                let chunk = match extent {
                    // A node of the list is gone.
                    Err(e) if e.kind() == Kind::Integrity => return Ok(false),
                    extent => extent?.chunk,
                };
                if let Some(id) = chunk
                    && !known(ObjectKind::Chunk, &id)?
                {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }

    /// What the version before held here; only good for deltas, since nothing tells whether it is the same still.
    fn entries_before(&self, dir: &Dir) -> HashMap<Vec<u8>, (Entry, u64)> {
        let entries = dir.old_tree.and_then(|tree| self.out.repo().entries(&tree).ok()).unwrap_or_default();
        entries.into_iter().map(|e| (e.name.clone(), (e, 0))).collect()
    }

    fn old_entries(&self, record: &DirRecord) -> HashMap<Vec<u8>, (Entry, u64)> {
        let Ok(entries) = self.out.repo().entries(&record.tree) else { return HashMap::new() };
        if entries.len() + 1 != record.prints.len() {
            return HashMap::new();
        }
        entries.into_iter().zip(&record.prints).map(|(e, p)| (e.name.clone(), (e, *p))).collect()
    }

    /// Takes up one name that is not a directory and not as it was.
    #[expect(clippy::too_many_arguments, reason = "the pieces of one slot, once")]
    fn file(
        &self,
        dir: &Arc<Dir>,
        fd: &Arc<OwnedFd>,
        at: usize,
        name: &[u8],
        stat: Stat,
        old: Option<Entry>,
        buffer: &mut Vec<u8>,
        found: &mut Found,
    ) -> Result<()> {
        let key = (stat.nlink > 1).then_some((stat.dev, stat.ino));
        if let Some(key) = key {
            let first = self.links().found(key, &dir.path, name);
            let mut state = dir.lock();
            state.slots[at].link = Some(key);
            if !std::mem::replace(&mut state.waits_for_links, true) {
                dir.pending.fetch_add(1, Ordering::AcqRel);
                self.links().wait(Arc::clone(dir));
            }
            drop(state);
            if !first {
                // Another name of it is read; this one takes the result.
                if let Some(xattrs) = self.attributes_at(dir, fd, at, name) {
                    let entry = Entry { name: name.to_vec(), meta: stat.meta(xattrs), link: None, node: Node::Fifo };
                    dir.lock().slots[at].entry = Some(entry);
                    self.observer.advance(1, stat.size);
                }
                return Ok(());
            }
        }
        let node = match stat.kind {
            FileType::RegularFile => {
                let file = match entries::open_file(fd.as_fd(), name) {
                    Ok(file) => file,
                    Err(e) => return self.leave_out(dir, at, name, &e),
                };
                let now = match entries::stat_at(file.as_fd(), b"") {
                    Ok(now) if now.kind == FileType::RegularFile => now,
                    // It was replaced by something else between the two looks.
                    Ok(_) => return self.leave_out(dir, at, name, &io::ErrorKind::NotFound.into()),
                    Err(e) => return self.leave_out(dir, at, name, &e),
                };
                let xattrs = self.attributes(&path::join(&dir.path, name), entries::xattrs_of(file.as_fd()));
                let old = old.and_then(|e| match e.node {
                    Node::File { size, content, .. } => Some(OldFile { size, content }),
                    _ => None,
                });
                {
                    let mut state = dir.lock();
                    let slot = &mut state.slots[at];
                    slot.stat = now;
                    slot.print =
                        if xattrs.is_some() { fingerprint(name, &now, None, dir.device(), self.before) } else { 0 };
                    let meta = now.meta(xattrs.unwrap_or_default());
                    slot.entry = Some(Entry { name: name.to_vec(), meta, link: None, node: Node::Fifo });
                }
                let outcome = if now.size > SMALL_MAX {
                    SmallFile::Grown(now)
                } else {
                    store_small(self.out, &file, now, old.as_ref(), buffer)?
                };
                match outcome {
                    SmallFile::Stored { node, bytes, stat, stable, fresh } => {
                        self.put_file(dir, at, node, &stat, stable, fresh);
                        self.observer.advance(1, bytes);
                    }
                    SmallFile::Unreadable(e) => self.drop_file(dir, at, &e),
                    SmallFile::Grown(now) => {
                        drop(file);
                        // Opened when it is its turn, since a directory may hold more files than may be open.
                        dir.pending.fetch_add(1, Ordering::AcqRel);
                        dir.users.fetch_add(1, Ordering::AcqRel);
                        found.readers.push(Box::new(Reader::new(now, Arc::clone(dir), at, name, old)));
                    }
                }
                return Ok(());
            }
            _ => match entries::node_of(fd.as_fd(), name, &stat) {
                Ok(node) => node,
                Err(e) => return self.leave_out(dir, at, name, &e),
            },
        };
        if let Some(xattrs) = self.attributes_at(dir, fd, at, name) {
            let entry = Entry { name: name.to_vec(), meta: stat.meta(xattrs), link: None, node: node.clone() };
            dir.lock().slots[at].entry = Some(entry);
            if let Some(key) = key {
                self.links().settle(key, node);
            }
            self.observer.advance(1, 0);
        }
        Ok(())
    }

    /// The attributes of a name that is not opened; `None` if it is gone.
    fn attributes_at(&self, dir: &Dir, fd: &OwnedFd, at: usize, name: &[u8]) -> Option<Vec<Xattr>> {
        let read = entries::xattrs_at(fd.as_fd(), name);
        // They are read through /proc, which may be what is missing.
        if let Err(e) = &read
            && e.kind() == io::ErrorKind::NotFound
            && entries::stat_at(fd.as_fd(), name).is_err_and(|e| e.kind() == io::ErrorKind::NotFound)
        {
            self.skip(dir, at, name, e);
            return None;
        }
        let known = self.attributes(&path::join(&dir.path, name), read);
        if known.is_none() {
            dir.lock().slots[at].print = 0;
        }
        Some(known.unwrap_or_default())
    }

    fn leave_out(&self, dir: &Dir, at: usize, name: &[u8], e: &io::Error) -> Result<()> {
        self.skip(dir, at, name, e);
        Ok(())
    }

    /// Leaves a name out: silently if it vanished, else with a word.
    pub fn skip(&self, dir: &Dir, at: usize, name: &[u8], e: &io::Error) {
        let mut state = dir.lock();
        state.slots[at].entry = None;
        let link = state.slots[at].link.take();
        drop(state);
        let path = path::join(&dir.path, name);
        if let Some(key) = link {
            self.links().lost(key, &path);
        }
        if e.kind() != io::ErrorKind::NotFound {
            self.unreadable(&path, "read it", e);
        }
    }

    /// Puts what a file turned out to be into its slot; `stable`: it held still while it was read.
    pub fn put_file(&self, dir: &Dir, at: usize, node: Node, stat: &Stat, stable: bool, fresh: bool) {
        let mut state = dir.lock();
        let slot = &mut state.slots[at];
        if !(stable && fresh) {
            slot.print = 0;
        }
        if let Some(entry) = &mut slot.entry {
            entry.node = node.clone();
            entry.meta.mtime = stat.mtime;
        }
        let (key, name) = (slot.link, slot.name.clone());
        drop(state);
        if let Some(key) = key {
            self.links().settle(key, node);
        }
        if !stable {
            self.changed(&path::join(&dir.path, &name));
        }
    }

    /// Leaves out the file of a slot that failed half-way.
    pub fn drop_file(&self, dir: &Dir, at: usize, e: &io::Error) {
        let name = dir.lock().slots[at].name.clone();
        self.skip(dir, at, &name, e);
    }

    /// One piece of work below a directory is done; finishes it, and those above, if it was the last.
    pub fn done(&self, dir: &Arc<Dir>) -> Result<()> {
        let mut dir = Arc::clone(dir);
        while dir.pending.fetch_sub(1, Ordering::AcqRel) == 1 {
            let gone = dir.lock().gone;
            let finished = if gone { None } else { Some(self.finish(&dir)?) };
            let Some(parent) = dir.parent.clone() else {
                *self.result.lock() = finished;
                return Ok(());
            };
            let mut state = parent.lock();
            if let Some(finished) = finished
                && let Ok(at) = state.slots.binary_search_by(|s| s.name.cmp(&dir.name))
            {
                let stat = *dir.stat.lock();
                let slot = &mut state.slots[at];
                slot.print = fingerprint(&dir.name, &stat, Some(&finished.tree), parent.device(), self.before);
                slot.entry = Some(Entry {
                    name: dir.name.clone(),
                    meta: finished.meta,
                    link: None,
                    node: Node::Dir { tree: finished.tree, totals: finished.totals },
                });
            }
            drop(state);
            dir = parent;
        }
        Ok(())
    }

    fn finish(&self, dir: &Dir) -> Result<Finished> {
        let stat = *dir.stat.lock();
        let mut state = std::mem::take(&mut *dir.lock());
        let mut meta = match self.rules.is_place(&dir.path) {
            true => Meta { mode: 0o755, ..Meta::default() },
            false => stat.meta(std::mem::take(&mut state.xattrs)),
        };
        let own = fingerprint(b"", &stat, Some(&Id([0; 32])), stat.dev, self.before);
        if let Some(record) = state.record.as_ref().filter(|_| state.clean) {
            let same = |stat: &Stat, now, then: &u64| record.confirms(dir.device(), stat, now, *then);
            let names = state.slots.iter().zip(&record.prints).all(|(s, then)| same(&s.stat, s.print, then));
            // The root's own metadata stands in its object; any other directory's in the one above.
            let itself = !dir.is_root() || record.prints.last().is_some_and(|then| same(&stat, own, then));
            if names && itself {
                return Ok(Finished { tree: record.tree, totals: record.totals, meta });
            }
            // Only these entries say what the unchanged names hold: without them the walk has to begin anew.
            let mut old: HashMap<Vec<u8>, Entry> =
                self.out.repo().entries(&record.tree)?.into_iter().map(|e| (e.name.clone(), e)).collect();
            for slot in state.slots.iter_mut().filter(|s| s.stat.kind != FileType::Directory) {
                let entry = old.remove(&slot.name);
                slot.entry = Some(entry.ok_or_else(|| Malformed::new("directory", "it is not what was remembered"))?);
            }
        }
        for slot in &mut state.slots {
            if let Some(key) = slot.link {
                let (link, node) = self.links().result(&key);
                slot.entry = slot.entry.take().zip(node).map(|(entry, node)| Entry { link, node, ..entry });
            }
        }
        self.settle_unrestored(dir, &mut meta, &mut state)?;
        let mut prints = Vec::with_capacity(state.slots.len() + 1);
        let mut entries = Vec::with_capacity(state.slots.len());
        let mut totals = Totals::default();
        for slot in state.slots {
            if let Some(entry) = slot.entry {
                totals.add(&entry);
                prints.push(slot.print);
                entries.push(entry);
            }
        }
        prints.push(own);
        if let Some(chosen) = &dir.chosen {
            let whole = entries.into_iter().filter(|entry| chosen.takes_whole(&entry.name));
            let picked = whole.map(|entry| (path::join(&dir.path, &entry.name), entry));
            self.picked.lock().extend(picked);
            return Ok(Finished { tree: Id([0; 32]), totals, meta });
        }
        let root = if dir.is_root() {
            let table = self.links().table();
            let links = if table.0.is_empty() { None } else { Some(store_links(self.out, &table)?) };
            Some(RootInfo { meta: meta.clone(), totals, links })
        } else {
            None
        };
        let tree = store_tree(entries, root, self.out)?;
        // How new the newest is will be known when the walk ends.
        let record = DirRecord { tree, totals, device: stat.dev, newest: Time::default(), prints };
        self.records.lock().push((dir.path.clone(), record));
        Ok(Finished { tree, totals, meta })
    }

    /// Gives the entries of a directory what a checkout could not restore, devices included.
    fn settle_unrestored(&self, dir: &Dir, meta: &mut Meta, state: &mut State) -> Result<()> {
        let Some(unrestored) = self.unrestored else { return Ok(()) };
        let own = dir.is_root().then_some(meta);
        for entry in unrestored.settle(self.out.repo(), &dir.path, own, &mut state.slots)? {
            let name = entry.name.clone();
            let is_wanted = dir.chosen.as_ref().is_none_or(|chosen| chosen.takes(&name));
            if !is_wanted || state.ignores.excludes(self.rules, &path::join(&dir.path, &name), false) {
                continue;
            }
            // A print of 0: the device is not there, so nothing vouches for it.
            let stat = Stat { kind: FileType::CharacterDevice, ..*dir.stat.lock() };
            let slot = Slot { name, stat, print: 0, entry: Some(entry), link: None };
            let at = state.slots.partition_point(|s| s.name < slot.name);
            state.slots.insert(at, slot);
        }
        Ok(())
    }
}
