//! Makes files, links and whole trees from a version, item by item, on any number of threads.
//!
//! An item is small: a directory to list, some names to make, a range of a large file. Whoever takes one may push
//! more. Trouble with one node is a notice; only what concerns all of them ends the run.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::fs::{AtFlags, Stat, fstat, ftruncate, linkat, unlinkat};
use rustix::io::Errno;

use super::content::{Pieces, WriteError, pieces, write_at, write_pieces};
use super::dir::{Dir, Finish};
use super::error::{ReadError, concerns_all, io_error, words};
use super::links::{Links, Member, Turn};
use super::meta::{Known, Lost, Spot};
use super::node::{Maker, refused};
use super::placed::{PlacedName, Placements};
use super::restore_pool::{Queue, run};
use super::source::Source;
use crate::error::{Error, Kind, Result};
use crate::model::entry::{Content, Entry, Node};
use crate::model::path::display;
use crate::observe::{Level, Notice, Observer};

/// Names that one item makes.
const NAMES: usize = 64;
/// Files longer than this are written by ranges, in bytes.
const LARGE: u64 = 16 << 20;
/// Bytes of one range.
const RANGE: u64 = 8 << 20;
const UNLINKED: &str = "not made, like the file it is linked to";

/// One thing to do.
pub(super) enum Item<'a> {
    /// Make a directory and all that is in it.
    Tree {
        /// Where.
        place: Member,
        /// What it is to become.
        finish: Finish,
    },
    /// Make these in a directory, in order; none is a directory.
    Nodes(Arc<Dir>, std::vec::IntoIter<Entry>),
    /// Make one node under a name of its own.
    Node(Member, Entry),
    /// Write the next range of a large file.
    Range(Arc<Large>, Pieces<'a>),
}

/// A large file that several threads write.
pub(super) struct Large {
    fd: OwnedFd,
    place: Member,
    entry: Entry,
    /// It was there before: holes have to be punched, and it is not removed when it fails.
    old: bool,
    ranges: AtomicUsize,
    failed: Mutex<Option<Failed>>,
}

/// Why a node could not be made.
pub(super) enum Failed {
    /// The target refused.
    Target(String),
    /// The version is damaged.
    Source(Error),
}

/// What was done.
#[derive(Default)]
pub(super) struct Counts {
    pub(super) files: AtomicU64,
    pub(super) dirs: AtomicU64,
    pub(super) bytes: AtomicU64,
    pub(super) incomplete: AtomicU64,
    pub(super) damaged: AtomicU64,
    pub(super) removed: AtomicU64,
}

/// What all threads of a run share.
pub(super) struct Engine<'a> {
    pub(super) source: &'a dyn Source,
    pub(super) maker: Maker,
    pub(super) observer: &'a dyn Observer,
    pub(super) placements: Option<&'a dyn Placements>,
    pub(super) links: Links,
    pub(super) counts: Counts,
    /// Old files that were begun and could not be finished.
    pub(super) torn: Mutex<Vec<Member>>,
}

impl<'a> Engine<'a> {
    /// Works on `jobs` threads until all that `seed` pushes is done.
    pub(super) fn run(&self, jobs: usize, seed: impl FnOnce(&Queue<'_, Item<'a>>)) -> Result<()> {
        run(jobs, self.observer, seed, |item, queue| self.work(item, queue))
    }

    /// Gives up groups of hard links of which not all members were asked for.
    pub(super) fn close_groups(&self) {
        for first in self.links.forget_all() {
            self.release(&first.dir);
        }
    }

    /// Does one item.
    fn work(&self, item: Item<'a>, queue: &Queue<'_, Item<'a>>) -> Result<()> {
        match item {
            Item::Tree { place, finish } => {
                self.tree(&place, finish, queue)?;
                self.release(&place.dir);
            }
            Item::Nodes(dir, mut rest) => {
                let now: Vec<Entry> = rest.by_ref().take(NAMES).collect();
                if rest.len() > 0 {
                    dir.retain();
                    queue.push(Item::Nodes(Arc::clone(&dir), rest));
                }
                for entry in now {
                    let place = Member { dir: Arc::clone(&dir), name: entry.name.clone() };
                    self.node(place, entry, queue)?;
                }
                self.release(&dir);
            }
            Item::Node(place, entry) => {
                let dir = Arc::clone(&place.dir);
                self.node(place, entry, queue)?;
                self.release(&dir);
            }
            Item::Range(file, rest) => self.range(file, rest, queue)?,
        }
        Ok(())
    }

    fn tree(&self, place: &Member, finish: Finish, queue: &Queue<'_, Item<'a>>) -> Result<()> {
        let tree = finish.tree;
        let made = match place.dir.fd().and_then(|fd| Maker::dir(fd.as_fd(), &place.name)) {
            // Kept by a patch, since something in it is not of any version.
            Err(Errno::EXIST) if !self.maker.uniform() => Ok(()),
            other => other,
        };
        let dir = match made.and_then(|()| Dir::open(&place.dir, &place.name, Some(finish))) {
            Ok(dir) => dir,
            Err(e) if concerns_all(e) => return Err(io_error("make", &place.dir.path_of(&place.name), e)),
            Err(e) => {
                place.dir.placed().broken = true;
                self.incomplete(place.dir.path_of(&place.name), format!("directory not made: {}", words(e)));
                return Ok(());
            }
        };
        // Given back when the new directory is finished.
        place.dir.retain();
        match self.source.entries(&tree) {
            Ok(entries) => self.fill(&dir, entries, queue),
            Err(e) => {
                dir.placed().broken = true;
                self.damaged(dir.path(), e)?;
                self.release(&dir);
            }
        }
        Ok(())
    }

    /// Pushes everything that is in a directory, then gives up the caller's hold on it.
    pub(super) fn fill(&self, dir: &Arc<Dir>, entries: Vec<Entry>, queue: &Queue<'_, Item<'a>>) {
        let (dirs, nodes): (Vec<Entry>, Vec<Entry>) = entries.into_iter().partition(Entry::is_dir);
        // The last one pushed is taken first.
        for entry in dirs.into_iter().rev() {
            if let Node::Dir { tree, totals } = entry.node {
                dir.retain();
                let place = Member { dir: Arc::clone(dir), name: entry.name };
                queue.push(Item::Tree { place, finish: Finish { meta: entry.meta, tree, totals } });
            }
        }
        if !nodes.is_empty() {
            dir.retain();
            queue.push(Item::Nodes(Arc::clone(dir), nodes.into_iter()));
        }
        self.release(dir);
    }

    fn node(&self, place: Member, entry: Entry, queue: &Queue<'_, Item<'a>>) -> Result<()> {
        if self.observer.cancelled() {
            return Err(ReadError::Cancelled.into());
        }
        let Some(link) = entry.link else { return self.make(place, entry, queue) };
        match self.links.turn(&link, &place, entry) {
            Turn::Write(entry) => self.make(place, entry, queue),
            Turn::Kept => Ok(()),
            Turn::Link(entry, first) => {
                self.link(&place, &entry, &first)?;
                self.group_step(&entry);
                Ok(())
            }
            Turn::Lost(entry) => {
                self.lose(&place, UNLINKED.to_owned());
                self.group_step(&entry);
                Ok(())
            }
        }
    }

    fn make(&self, place: Member, entry: Entry, queue: &Queue<'_, Item<'a>>) -> Result<()> {
        match &entry.node {
            Node::File { size, content, .. } if *size > LARGE => {
                let path = place.dir.path_of(&place.name);
                let all =
                    pieces(self.source, content, *size, move || ReadError::Extents { path: display(&path) }.into());
                let size = *size;
                let made = place.dir.fd().and_then(|dir| {
                    let fd = self.maker.file(dir.as_fd(), &place.name, &entry.meta)?;
                    ftruncate(&fd, size).map(|()| fd)
                });
                match made {
                    Ok(fd) => {
                        self.start(fd, place, entry, all, false, queue);
                        Ok(())
                    }
                    Err(e) => {
                        let failed = target_error(e, &place)?;
                        self.done(&place, entry, Err(failed), None)
                    }
                }
            }
            Node::File { .. } => {
                let made = self.small(&place, &entry);
                self.finish_small(&place, entry, made)
            }
            Node::Dir { tree, totals } => {
                place.dir.retain();
                queue.push(Item::Tree { finish: Finish { tree: *tree, totals: *totals, meta: entry.meta }, place });
                Ok(())
            }
            _ => {
                let made = place.dir.fd().and_then(|dir| self.maker.special(dir.as_fd(), &place.name, &entry));
                match made {
                    Ok(lost) => {
                        self.lost(lost, &place);
                        let stat = self.stat(|| {
                            let dir = place.dir.fd()?;
                            Spot::Named(dir.as_fd(), &place.name).stat()
                        });
                        self.done(&place, entry, Ok(()), stat)
                    }
                    Err(e) if concerns_all(e) => Err(io_error("make", &place.dir.path_of(&place.name), e)),
                    Err(e) => {
                        let why = refused(&entry, e);
                        self.done(&place, entry, Err(Failed::Target(why)), None)
                    }
                }
            }
        }
    }

    /// Hands out a large file by ranges; `old` says that it was there before.
    pub(super) fn start(
        &self,
        fd: OwnedFd,
        place: Member,
        entry: Entry,
        all: Pieces<'a>,
        old: bool,
        queue: &Queue<'_, Item<'a>>,
    ) {
        place.dir.retain();
        let file = Large { fd, place, entry, old, ranges: AtomicUsize::new(1), failed: Mutex::new(None) };
        queue.push(Item::Range(Arc::new(file), all));
    }

    fn range(&self, file: Arc<Large>, mut rest: Pieces<'a>, queue: &Queue<'_, Item<'a>>) -> Result<()> {
        let mut now = Vec::new();
        let (mut bytes, mut holes) = (0, 0);
        let mut more = true;
        let mut outcome = Ok(());
        while bytes < RANGE && now.len() < 4096 {
            match rest.next() {
                Some(Ok(piece)) => {
                    *(if piece.chunk.is_some() { &mut bytes } else { &mut holes }) += piece.len;
                    now.push(piece);
                }
                Some(Err(e)) => {
                    outcome = Err(WriteError::Source(e));
                    more = false;
                    break;
                }
                None => {
                    more = false;
                    break;
                }
            }
        }
        if more {
            file.ranges.fetch_add(1, Ordering::AcqRel);
            queue.push(Item::Range(Arc::clone(&file), rest));
        }
        let failed_before = file.failed.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        if outcome.is_ok() && !failed_before {
            outcome = write_pieces(self.source, file.fd.as_fd(), &now, file.old);
        }
        if let Err(e) = outcome {
            let failed = write_error(e, &file.place)?;
            file.failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(failed);
        } else {
            self.counts.bytes.fetch_add(bytes, Ordering::Relaxed);
            self.observer.advance(0, bytes + holes);
        }
        if file.ranges.fetch_sub(1, Ordering::AcqRel) == 1
            && let Some(file) = Arc::into_inner(file)
        {
            let dir = Arc::clone(&file.place.dir);
            self.finish_large(file)?;
            self.release(&dir);
        }
        Ok(())
    }

    fn finish_large(&self, file: Large) -> Result<()> {
        let Large { fd, place, entry, old, failed, .. } = file;
        let failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
        if let Some(failed) = failed {
            if old {
                self.torn.lock().unwrap_or_else(PoisonError::into_inner).push(place.clone());
            } else {
                self.unlink(&place);
            }
            return self.done(&place, entry, Err(failed), None);
        }
        let settled = if old {
            ftruncate(&fd, entry.size())
                .and_then(|()| fstat(&fd))
                .map(|stat| Spot::Open(fd.as_fd()).settle(&entry.meta, Known::of(&stat), false))
        } else {
            self.maker.finish_file(fd.as_fd(), &entry.meta)
        };
        match settled {
            Ok(lost) => {
                self.lost(lost, &place);
                let stat = self.stat(|| fstat(&fd));
                self.done(&place, entry, Ok(()), stat)
            }
            Err(e) => {
                let failed = target_error(e, &place)?;
                self.done(&place, entry, Err(failed), None)
            }
        }
    }

    fn small(&self, place: &Member, entry: &Entry) -> Result<(Lost, Option<Stat>), WriteError> {
        let Node::File { size, content, .. } = &entry.node else { return Err(WriteError::Target(Errno::INVAL)) };
        let dir = place.dir.fd().map_err(WriteError::Target)?;
        let fd = self.maker.file(dir.as_fd(), &place.name, &entry.meta).map_err(WriteError::Target)?;
        let fd = fd.as_fd();
        let written = match content {
            Content::Inline(bytes) if bytes.len() as u64 == *size => write_at(fd, bytes, 0).map_err(WriteError::Target),
            _ => {
                let path = || display(&place.dir.path_of(&place.name));
                let all = pieces(self.source, content, *size, || ReadError::Extents { path: path() }.into());
                all.collect::<Result<Vec<_>>>().map_err(WriteError::Source).and_then(|all| {
                    if all.last().is_some_and(|p| p.chunk.is_none()) {
                        ftruncate(fd, *size).map_err(WriteError::Target)?;
                    }
                    write_pieces(self.source, fd, &all, false)
                })
            }
        };
        let settled = written.and_then(|()| self.maker.finish_file(fd, &entry.meta).map_err(WriteError::Target));
        match settled {
            Ok(lost) => Ok((lost, self.stat(|| fstat(fd)))),
            Err(e) => {
                self.unlink(place);
                Err(e)
            }
        }
    }

    fn finish_small(&self, place: &Member, entry: Entry, made: Result<(Lost, Option<Stat>), WriteError>) -> Result<()> {
        match made {
            Ok((lost, stat)) => {
                self.lost(lost, place);
                self.counts.bytes.fetch_add(entry.size(), Ordering::Relaxed);
                self.observer.advance(0, entry.size());
                self.done(place, entry, Ok(()), stat)
            }
            Err(WriteError::Target(e)) if !concerns_all(e) => {
                let why = refused(&entry, e);
                self.done(place, entry, Err(Failed::Target(why)), None)
            }
            Err(e) => {
                let failed = write_error(e, place)?;
                self.done(place, entry, Err(failed), None)
            }
        }
    }

    /// Closes the account of a node: counters, its group of hard links, the stat cache.
    fn done(&self, place: &Member, entry: Entry, outcome: Result<(), Failed>, stat: Option<Stat>) -> Result<()> {
        let made = outcome.is_ok();
        match outcome {
            Ok(()) => {
                self.counts.files.fetch_add(1, Ordering::Relaxed);
                self.observer.advance(1, 0);
                self.placed(place, stat.filter(|_| entry.link.is_none()));
            }
            Err(Failed::Target(why)) => self.lose(place, why),
            Err(Failed::Source(e)) => {
                place.dir.placed().broken = true;
                self.damaged(place.dir.path_of(&place.name), e)?;
            }
        }
        let Some(link) = entry.link else { return Ok(()) };
        let kept = if made { self.links.made(&link, place) } else { self.links.failed(&link) };
        for (member, entry) in kept {
            if made {
                self.link(&member, &entry, place)?;
            } else {
                self.lose(&member, UNLINKED.to_owned());
            }
            self.group_step(&entry);
            self.release(&member.dir);
        }
        self.group_step(&entry);
        Ok(())
    }

    /// Notes a name for the stat cache.
    fn placed(&self, place: &Member, stat: Option<Stat>) {
        if self.placements.is_some() {
            place.dir.placed().names.push(PlacedName { name: place.name.clone(), stat, made: true });
        }
    }

    /// Says that a node could not be made.
    fn lose(&self, place: &Member, why: String) {
        place.dir.placed().broken = true;
        self.incomplete(place.dir.path_of(&place.name), why);
    }

    fn link(&self, place: &Member, entry: &Entry, first: &Member) -> Result<()> {
        let linked = first.dir.fd().and_then(|from| {
            let to = place.dir.fd()?;
            linkat(&from, first.name.as_slice(), &to, place.name.as_slice(), AtFlags::empty())
        });
        match linked {
            Ok(()) => {
                self.counts.files.fetch_add(1, Ordering::Relaxed);
                self.observer.advance(1, entry.size());
                self.placed(place, None);
                Ok(())
            }
            Err(e) if concerns_all(e) => Err(io_error("link", &place.dir.path_of(&place.name), e)),
            Err(e @ (Errno::MLINK | Errno::PERM | Errno::NOTSUP | Errno::XDEV)) => {
                let why = format!(
                    "not linked to `{}`, a copy instead: {}",
                    display(&first.dir.path_of(&first.name)),
                    words(e)
                );
                self.incomplete(place.dir.path_of(&place.name), why);
                self.copy(place, entry)
            }
            Err(e) => {
                self.lose(place, format!("not linked: {}", words(e)));
                Ok(())
            }
        }
    }

    /// Makes a node of its own where a link could not be made; by one thread, since this is rare.
    fn copy(&self, place: &Member, entry: &Entry) -> Result<()> {
        let alone = Entry { link: None, ..entry.clone() };
        if let Node::File { .. } = alone.node {
            let made = self.small(place, &alone);
            return self.finish_small(place, alone, made);
        }
        match place.dir.fd().and_then(|dir| self.maker.special(dir.as_fd(), &place.name, &alone)) {
            Ok(lost) => {
                self.lost(lost, place);
                self.done(place, alone, Ok(()), None)
            }
            Err(e) => {
                let why = refused(&alone, e);
                self.done(place, alone, Err(Failed::Target(why)), None)
            }
        }
    }

    fn group_step(&self, entry: &Entry) {
        if let Some(link) = &entry.link
            && let Some(first) = self.links.complete(link)
        {
            self.release(&first.dir);
        }
    }

    /// One thing is done in `dir`: finishes it when that was the last, and then perhaps its parents.
    pub(super) fn release(&self, dir: &Arc<Dir>) {
        let mut dir = Arc::clone(dir);
        while dir.release() {
            self.finish_dir(&dir);
            let Some(parent) = dir.parent().map(Arc::clone) else { break };
            dir = parent;
        }
    }

    fn finish_dir(&self, dir: &Dir) {
        let Some(finish) = &dir.finish else { return };
        let settled = dir.fd().and_then(|fd| {
            let spot = Spot::Open(fd.as_fd());
            let known = if dir.parent().is_some() { self.maker.known_dir(spot)? } else { Known::of(&spot.stat()?) };
            let lost = spot.settle(&finish.meta, known, false);
            Ok((lost, if self.placements.is_some() { Some(spot.stat()?) } else { None }))
        });
        self.counts.dirs.fetch_add(1, Ordering::Relaxed);
        match settled {
            Ok((lost, stat)) => {
                let count = self.maker.report(lost, || dir.path(), self.observer);
                self.counts.incomplete.fetch_add(count, Ordering::Relaxed);
                self.tell_placed(dir, finish, stat);
            }
            Err(e) => self.incomplete(dir.path(), format!("metadata not restored: {}", words(e))),
        }
    }

    /// Tells the stat cache of a directory that is complete, and its parent of its stat.
    fn tell_placed(&self, dir: &Dir, finish: &Finish, stat: Option<Stat>) {
        let Some(placements) = self.placements else { return };
        let placed = std::mem::take(&mut *dir.placed());
        if !placed.broken {
            let mut names = placed.names;
            names.sort_unstable_by(|a, b| a.name.cmp(&b.name));
            placements.dir_placed(&dir.path(), &finish.tree, &finish.totals, names);
        }
        if let Some(parent) = dir.parent() {
            parent.placed().names.push(PlacedName { name: dir.name().to_vec(), stat, made: true });
        }
    }

    fn stat(&self, stat: impl FnOnce() -> Result<Stat, Errno>) -> Option<Stat> {
        self.placements?;
        stat().ok()
    }

    fn unlink(&self, place: &Member) {
        if let Ok(dir) = place.dir.fd() {
            // The notice about the file itself follows; a name that cannot be removed adds nothing to it.
            let _ = unlinkat(dir, place.name.as_slice(), AtFlags::empty());
        }
    }

    /// Says what was lost of a node.
    pub(super) fn lost(&self, lost: Lost, place: &Member) {
        let count = self.maker.report(lost, || place.dir.path_of(&place.name), self.observer);
        self.counts.incomplete.fetch_add(count, Ordering::Relaxed);
    }

    /// Says that something could not be restored.
    pub(super) fn incomplete(&self, path: Vec<u8>, message: String) {
        self.counts.incomplete.fetch_add(1, Ordering::Relaxed);
        self.observer.notice(Notice { level: Level::Incomplete, path, message });
    }

    /// Says that something in the repository is damaged; any other failure of the repository ends the run.
    pub(super) fn damaged(&self, path: Vec<u8>, e: Error) -> Result<()> {
        if e.kind() != Kind::Integrity {
            return Err(e);
        }
        self.counts.damaged.fetch_add(1, Ordering::Relaxed);
        self.observer.notice(Notice { level: Level::Damage, path, message: format!("not restored: {e}") });
        Ok(())
    }
}

fn target_error(e: Errno, place: &Member) -> Result<Failed> {
    if concerns_all(e) {
        return Err(io_error("write", &place.dir.path_of(&place.name), e));
    }
    Ok(Failed::Target(format!("not restored: {}", words(e))))
}

fn write_error(e: WriteError, place: &Member) -> Result<Failed> {
    match e {
        WriteError::Target(e) => target_error(e, place),
        WriteError::Source(e) if e.kind() == Kind::Integrity => Ok(Failed::Source(e)),
        WriteError::Source(e) => Err(e),
    }
}
