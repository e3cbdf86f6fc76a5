//! Scans one directory of a walk: lists its entries, compares them with the record, and stores
//! changed ones.
//!
//! If every entry of a directory matches the record, its files are not read, and its tree is not
//! encoded or looked up: the old tree is the new tree.

use std::collections::{HashMap, HashSet};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::{Mutex, MutexGuard};
use rustix::fs::FileType;

use crate::error::Result;
use crate::model::entry::{Entry, Meta, Node, Time, Totals, Xattr};
use crate::model::id::Id;
use crate::model::path;
use crate::observe::{Notice, NoticeLevel, Observer};
use crate::repo::layout::INSIDE;
use crate::snapshot::content::large::{OldFile, Reader};
use crate::snapshot::content::small::{SMALL_MAX, SmallFile, store_small};
use crate::snapshot::output::Output;
use crate::snapshot::walk::basis::{DirRecord, fingerprint};
use crate::snapshot::walk::dir::{Dir, Slot};
use crate::snapshot::walk::entries;
use crate::snapshot::walk::entries::Stat;
use crate::snapshot::walk::links::Links;
use crate::snapshot::walk::rules::{self, Rules};
use crate::snapshot::walk::unrestored::Unrestored;

/// Limit on the paths in [`Walk::noted`].
const NOTED_MAX: usize = 1000;

/// State that all directories of a walk share.
pub struct Walk<'a> {
    /// Destination of objects.
    pub out: &'a Output<'a>,
    /// Receives notices and progress.
    pub observer: &'a dyn Observer,
    /// Exclusion rules.
    pub rules: &'a Rules,
    /// Whether a file with this name is listed in `noted`.
    pub notes: fn(&[u8]) -> bool,
    /// The first paths that `notes` accepted.
    pub noted: Mutex<Vec<Vec<u8>>>,
    /// Number of the worktree in the catalogue, if its records may be used.
    pub basis: Option<i64>,
    /// Properties that a checkout could not restore.
    pub unrestored: Option<&'a Unrestored>,
    /// Start of the walk.
    pub before: Time,
    /// Directories whose records must not be used.
    pub distrust: HashSet<Vec<u8>>,
    /// Whether objects on which records rely may be missing, so that each must be checked.
    pub doubt: bool,
    pub links: Mutex<Links>,
    /// Directories whose records stay as they are; `None` if the caller does not need them.
    pub kept: Option<Mutex<Vec<Vec<u8>>>>,
    /// New records, by path.
    pub records: Mutex<Vec<(Vec<u8>, DirRecord)>>,
    /// The latest ctime that the walk saw.
    pub newest: Mutex<Time>,
    /// Paths that were unreadable or changed while they were read.
    pub unstable: Mutex<Vec<Vec<u8>>>,
    /// Entries of named paths, by path, in a walk of named paths.
    pub picked: Mutex<Vec<(Vec<u8>, Entry)>>,
    /// The finished root.
    pub result: Mutex<Option<Finished>>,
}

/// The finished root of a walk.
#[derive(Clone, Debug)]
pub struct Finished {
    /// Tree object of the directory.
    pub tree: Id,
    /// Totals of everything below the directory.
    pub totals: Totals,
    /// Metadata of the directory itself.
    pub meta: Meta,
}

/// A name and its stat.
type Named = (Vec<u8>, Stat);

/// The work that remains after scanning a directory.
#[derive(Default)]
pub struct Found {
    /// Directories, in order of names.
    pub dirs: Vec<Arc<Dir>>,
    /// Files to read in pieces.
    pub readers: Vec<Box<Reader>>,
}

/// Returns the notice about a repository that is excluded from a version.
pub fn reserved_notice(path: Vec<u8>) -> Notice {
    let message = "no version may contain a repository".to_owned();
    Notice {
        level: NoticeLevel::Skipped,
        path,
        message,
    }
}

impl<'a> Walk<'a> {
    /// Reports that a path is unreadable; the walk continues.
    pub fn unreadable(&self, path: &[u8], what: &str, e: &io::Error) {
        self.incomplete(path, format!("cannot {what}: {e}"));
    }

    fn incomplete(&self, path: &[u8], message: String) {
        self.unstable.lock().push(path.to_vec());
        self.observer.notice(Notice {
            level: NoticeLevel::Incomplete,
            path: path.to_vec(),
            message,
        });
    }

    /// Reports that a file changed while it was read.
    pub fn changed(&self, path: &[u8]) {
        self.incomplete(
            path,
            "changed while it was read; the version may contain a mix of old and new content"
                .to_owned(),
        );
    }

    /// Reports that a directory is excluded because of the length of its path; `above` is the path
    /// of its parent.
    fn too_long(&self, above: &[u8]) {
        let most = path::DIR_PATH_MAX >> 10;
        self.incomplete(
            above,
            format!("a subdirectory was not recorded: its path is longer than {most} KiB"),
        );
    }

    /// Returns all hard links so far.
    pub fn links(&self) -> MutexGuard<'_, Links> {
        self.links.lock()
    }

    /// Scans a directory. The caller then performs the returned work, and calls [`Walk::done`] once
    /// for the scan itself.
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
                // The directory is recorded as empty and not omitted, because its own metadata is
                // known.
                Ok(Found::default())
            }
        };
        dir.release();
        found
    }

    /// Returns the xattrs, or reports that they are unreadable and returns `None`. Unreadable
    /// xattrs must not prevent the storage of the content.
    fn attributes(&self, path: &[u8], read: io::Result<Vec<Xattr>>) -> Option<Vec<Xattr>> {
        read.map_err(|e| self.unreadable(path, "read its xattrs", &e))
            .ok()
    }

    /// Opens and lists a directory. Returns `None` if its entries are excluded.
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
        let xattrs = self
            .attributes(&dir.path, entries::xattrs_of(fd))
            .unwrap_or_default();
        let skipped = (self.rules.one_file_system && outside(dir))
            || (self.rules.skip_cache_dirs && !dir.is_root() && entries::is_cache_dir(fd));
        // The name may lead to a different directory than when its parent was scanned, so use the
        // stat of the open directory.
        *dir.stat.lock() = stat;
        let mut state = dir.lock();
        state.xattrs = xattrs;
        if skipped {
            return Ok(None);
        }
        let names = entries::names(fd)?;
        if !dir.is_root() && entries::is_repository(fd, &names) {
            // If the repository were included, each push to it would be part of the next version,
            // which would be pushed again.
            let message = "the directory is a repository".to_owned();
            self.observer.notice(Notice {
                level: NoticeLevel::Skipped,
                path: dir.path.clone(),
                message,
            });
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
                Err(e) => self.unreadable(&file, "read the ignore rules", &e),
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
            if dir
                .chosen
                .as_ref()
                .is_some_and(|chosen| !chosen.takes(&name))
            {
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
                    self.unreadable(&path::join(&dir.path, &name), "inspect it", &e);
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
                let message = format!(
                    "its size of {} bytes exceeds the limit of {limit} bytes",
                    stat.size
                );
                self.observer.notice(Notice {
                    level: NoticeLevel::Skipped,
                    path: full,
                    message,
                });
                continue;
            }
            if stat.kind == FileType::Socket {
                let message = "sockets are not recorded".to_owned();
                self.observer.notice(Notice {
                    level: NoticeLevel::Skipped,
                    path: full,
                    message,
                });
                continue;
            }
            out.push((name, stat));
        }
        Ok(Some(out))
    }

    /// Reports that a repository is excluded, unless it is that of this worktree.
    fn reserved(&self, dir: &Dir, fd: BorrowedFd<'_>, name: Vec<u8>) {
        let own = dir.is_root() && name == INSIDE.as_bytes();
        let is_repository = |s: &Stat| self.rules.repository == Some((s.dev, s.ino));
        if !own && !entries::stat_at(fd, &name).is_ok_and(|stat| is_repository(&stat)) {
            self.observer
                .notice(reserved_notice(path::join(&dir.path, &name)));
        }
    }

    /// Compares the entries with the record, and stores the changed ones.
    fn compare(&self, dir: &Arc<Dir>, names: Vec<Named>, buffer: &mut Vec<u8>) -> Result<Found> {
        let device = dir.device();
        // A snapshot of a volume is not older than the latest change in it, see
        // `DirRecord::confirms`.
        if let Some(newest) = names.iter().map(|(_, stat)| stat.ctime).max() {
            let mut known = self.newest.lock();
            *known = newest.max(*known);
        }
        let mut slots: Vec<Slot> = names
            .into_iter()
            .map(|(name, stat)| {
                let is_dir = stat.kind == FileType::Directory;
                let print = if is_dir {
                    0
                } else {
                    fingerprint(&name, &stat, None, device, self.before)
                };
                Slot {
                    name,
                    stat,
                    print,
                    entry: None,
                    link: None,
                }
            })
            .collect();
        // Files are read in order of inodes, but trees are in order of names.
        let by_inode: Vec<Vec<u8>> = slots.iter().map(|s| s.name.clone()).collect();
        slots.sort_by(|a, b| a.name.cmp(&b.name));
        let record = self.record(dir)?;
        // Subdirectories are compared when they are finished.
        let clean = record.as_ref().is_some_and(|r| {
            r.prints.len() == slots.len() + 1
                && slots.iter().zip(&r.prints).all(|(s, p)| {
                    s.stat.kind == FileType::Directory || r.confirms(device, &s.stat, s.print, *p)
                })
        });
        // If all files match the record, their entries are needed only if a subdirectory has
        // changed.
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
            // Count the subdirectory before it is queued, because another thread may finish it at
            // once.
            dir.pending.fetch_add(1, Ordering::AcqRel);
            dir.users.fetch_add(1, Ordering::AcqRel);
            let old_tree = match old.get(&slot.name) {
                Some((
                    Entry {
                        node: Node::Dir { tree, .. },
                        ..
                    },
                    _,
                )) => Some(*tree),
                _ => None,
            };
            found.dirs.push(Dir::below(
                dir,
                &slot.name,
                slot.stat,
                ignores.clone(),
                old_tree,
            ));
        }
        if clean {
            let mut files = 0;
            let mut bytes = 0;
            for slot in slots.iter().filter(|s| s.stat.kind != FileType::Directory) {
                files += 1;
                bytes += slot.stat.size;
                if slot.stat.nlink > 1 {
                    self.links()
                        .kept((slot.stat.dev, slot.stat.ino), &dir.path, &slot.name);
                }
            }
            self.observer.advance(files, bytes);
            let mut state = dir.lock();
            state.slots = slots;
            state.record = record;
            state.clean = true;
            return Ok(found);
        }
        let positions: HashMap<Vec<u8>, usize> = slots
            .iter()
            .enumerate()
            .map(|(i, s)| (s.name.clone(), i))
            .collect();
        dir.lock().slots = slots;
        let confirms = |stat: &Stat, now, then| {
            record
                .as_ref()
                .is_some_and(|r| r.confirms(device, stat, now, then))
        };
        let Some(fd) = dir.fd() else { return Ok(found) };
        for name in by_inode {
            if self.observer.cancelled() {
                break;
            }
            let Some(at) = positions.get(&name).copied() else {
                continue;
            };
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
            self.file(
                dir,
                &fd,
                at,
                &name,
                stat,
                old.map(|o| o.0),
                buffer,
                &mut found,
            )?;
        }
        Ok(found)
    }

    /// Returns the record of a directory, if it may be used.
    fn record(&self, dir: &Dir) -> Result<Option<DirRecord>> {
        let Some(worktree) = self.basis else {
            return Ok(None);
        };
        if self.distrust.contains(&dir.path) {
            return Ok(None);
        }
        let repo = self.out.repo();
        let bytes = repo
            .catalogue()?
            .stat_dirs(worktree, &[&dir.path])?
            .into_iter()
            .next()
            .flatten();
        let record = bytes.and_then(|b| DirRecord::decode(&b));
        Ok(match record {
            // Subdirectories have their own records.
            Some(r) if self.doubt => repo
                .is_directory_whole(&r.tree, dir.path.is_empty())?
                .then_some(r),
            Some(r)
                if repo
                    .index()?
                    .lookup(crate::format::pack::PackKind::Tree, &r.tree)?
                    .is_some() =>
            {
                Some(r)
            }
            _ => None,
        })
    }

    /// Returns the entries of the previous version, which are only usable for deltas, because
    /// nothing proves that they are unchanged.
    fn entries_before(&self, dir: &Dir) -> HashMap<Vec<u8>, (Entry, u64)> {
        let entries = dir
            .old_tree
            .and_then(|tree| self.out.repo().entries(&tree).ok())
            .unwrap_or_default();
        entries
            .into_iter()
            .map(|e| (e.name.clone(), (e, 0)))
            .collect()
    }

    fn old_entries(&self, record: &DirRecord) -> HashMap<Vec<u8>, (Entry, u64)> {
        let Ok(entries) = self.out.repo().entries(&record.tree) else {
            return HashMap::new();
        };
        if entries.len() + 1 != record.prints.len() {
            return HashMap::new();
        }
        entries
            .into_iter()
            .zip(&record.prints)
            .map(|(e, p)| (e.name.clone(), (e, *p)))
            .collect()
    }

    /// Stores one changed entry that is not a directory.
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
            // The id of a group of hard links is known only at the end of the walk.
            if !std::mem::replace(&mut state.waits_for_links, true) {
                dir.pending.fetch_add(1, Ordering::AcqRel);
                self.links().wait(Arc::clone(dir));
            }
            drop(state);
            if !first {
                // Another hard link of the file is read, and this one gets the same node.
                if let Some(xattrs) = self.attributes_at(dir, fd, at, name) {
                    let entry = Entry {
                        name: name.to_vec(),
                        meta: stat.meta(xattrs),
                        link: None,
                        node: Node::Fifo,
                    };
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
                // From here on, only the open file counts, because the name may lead to another
                // file by now.
                let now = match entries::stat_at(file.as_fd(), b"") {
                    Ok(now) if now.kind == FileType::RegularFile => now,
                    // The file was replaced by another node after the first stat.
                    Ok(_) => return self.leave_out(dir, at, name, &io::ErrorKind::NotFound.into()),
                    Err(e) => return self.leave_out(dir, at, name, &e),
                };
                let xattrs = self.attributes(
                    &path::join(&dir.path, name),
                    entries::xattrs_of(file.as_fd()),
                );
                let old = old.and_then(|e| match e.node {
                    Node::File { size, content, .. } => Some(OldFile { size, content }),
                    _ => None,
                });
                {
                    let mut state = dir.lock();
                    let slot = &mut state.slots[at];
                    slot.stat = now;
                    // Without its xattrs, the file has to be read again by the next walk.
                    slot.print = if xattrs.is_some() {
                        fingerprint(name, &now, None, dir.device(), self.before)
                    } else {
                        0
                    };
                    let meta = now.meta(xattrs.unwrap_or_default());
                    slot.entry = Some(Entry {
                        name: name.to_vec(),
                        meta,
                        link: None,
                        // A placeholder until the content is stored.
                        node: Node::Fifo,
                    });
                }
                let outcome = if now.size > SMALL_MAX {
                    SmallFile::Grown(now)
                } else {
                    store_small(self.out, &file, now, old.as_ref(), buffer)?
                };
                match outcome {
                    SmallFile::Stored {
                        node,
                        bytes,
                        stat,
                        stable,
                        fresh,
                    } => {
                        self.put_file(dir, at, node, &stat, stable, fresh);
                        self.observer.advance(1, bytes);
                    }
                    SmallFile::Unreadable(e) => self.drop_file(dir, at, &e),
                    SmallFile::Grown(now) => {
                        drop(file);
                        // The file is opened later, because a directory may contain more files than
                        // a process may open.
                        dir.pending.fetch_add(1, Ordering::AcqRel);
                        dir.users.fetch_add(1, Ordering::AcqRel);
                        found.readers.push(Box::new(Reader::new(
                            now,
                            Arc::clone(dir),
                            at,
                            name,
                            old,
                        )));
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
            let entry = Entry {
                name: name.to_vec(),
                meta: stat.meta(xattrs),
                link: None,
                node: node.clone(),
            };
            dir.lock().slots[at].entry = Some(entry);
            if let Some(key) = key {
                self.links().settle(key, node);
            }
            self.observer.advance(1, 0);
        }
        Ok(())
    }

    /// Returns the xattrs of a name that is not opened, or `None` if it does not exist any more.
    fn attributes_at(&self, dir: &Dir, fd: &OwnedFd, at: usize, name: &[u8]) -> Option<Vec<Xattr>> {
        let read = entries::xattrs_at(fd.as_fd(), name);
        // The error may mean that /proc is missing, so check whether the name still exists.
        if let Err(e) = &read
            && e.kind() == io::ErrorKind::NotFound
            && entries::stat_at(fd.as_fd(), name)
                .is_err_and(|e| e.kind() == io::ErrorKind::NotFound)
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

    /// Removes a name from the snapshot, and reports an error unless the name does not exist any
    /// more.
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

    /// Sets the node of a file in its slot. `stable` means that the content is from a single point
    /// in time, and `fresh` means that the file did not change while it was read.
    pub fn put_file(
        &self,
        dir: &Dir,
        at: usize,
        node: Node,
        stat: &Stat,
        stable: bool,
        fresh: bool,
    ) {
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

    /// Removes the entry of a file that could not be read to its end.
    pub fn drop_file(&self, dir: &Dir, at: usize, e: &io::Error) {
        let name = dir.lock().slots[at].name.clone();
        self.skip(dir, at, &name, e);
    }
}
