//! Makes files, links and whole trees from a version, item by item, on any number of threads.
//!
//! An item is small: a directory to list, some names to make, a range of a large file. Whoever takes one may push
//! more. Trouble with one node is a notice; only what concerns all of them ends the run.

use std::collections::HashMap;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use rustix::io::Errno;

use crate::checkout::content::Pieces;
use crate::checkout::dir::{Dir, Finish};
use crate::checkout::error::{concerns_all, io_error, words};
use crate::checkout::placed::Placements;
use crate::checkout::restore::done::UNLINKED;
use crate::checkout::restore::files::{LARGE, Large};
use crate::checkout::restore::links::{Links, Member, Turn};
use crate::checkout::restore::node::Maker;
use crate::checkout::source::Source;
use crate::error::Result;
use crate::model::entry::{Entry, Node};
use crate::model::path::{DIR_PATH_MAX, is_reserved};
use crate::observe::{Notice, NoticeLevel, Observer};
use crate::work::Cancelled;
use crate::work::queue::{LaneWorker, Lanes, run};

/// Names that one item makes.
const NAMES: usize = 64;

/// One thing to do.
pub(in crate::checkout) enum Item<'a> {
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

/// What was done.
#[derive(Default)]
pub(in crate::checkout) struct Counts {
    pub(in crate::checkout) files: AtomicU64,
    pub(in crate::checkout) dirs: AtomicU64,
    pub(in crate::checkout) bytes: AtomicU64,
    pub(in crate::checkout) incomplete: AtomicU64,
    pub(in crate::checkout) damaged: AtomicU64,
    pub(in crate::checkout) removed: AtomicU64,
}

/// What all threads of a run share.
pub(in crate::checkout) struct Engine<'a> {
    pub(in crate::checkout) source: &'a dyn Source,
    pub(in crate::checkout) maker: Maker,
    pub(in crate::checkout) observer: &'a dyn Observer,
    pub(in crate::checkout) placements: Option<&'a dyn Placements>,
    pub(in crate::checkout) links: Links,
    pub(in crate::checkout) counts: Counts,
    /// Old files that were begun and could not be finished.
    pub(in crate::checkout) torn: Mutex<Vec<Member>>,
    /// The paths that files have while they are made, with those that they get.
    pub(in crate::checkout) renamed: Mutex<HashMap<Vec<u8>, Vec<u8>>>,
}

impl<'a> Engine<'a> {
    /// Creates the shared state of a run in which nothing is done yet.
    pub(in crate::checkout) fn new(
        source: &'a dyn Source,
        maker: Maker,
        observer: &'a dyn Observer,
        placements: Option<&'a dyn Placements>,
    ) -> Self {
        Self {
            source,
            maker,
            observer,
            placements,
            links: Links::default(),
            counts: Counts::default(),
            torn: Mutex::default(),
            renamed: Mutex::default(),
        }
    }

    /// Works on `jobs` threads until all that `seed` pushes is done.
    pub(in crate::checkout) fn run(&self, jobs: usize, seed: impl FnOnce(&LaneWorker<'_, Item<'a>>)) -> Result<()> {
        let body = |queue: &LaneWorker<'_, Item<'a>>| {
            while let Some(item) = queue.next() {
                if self.observer.cancelled() {
                    return Err(Cancelled.into());
                }
                self.work(item, queue)?;
            }
            Ok(())
        };
        run(jobs, Lanes::new(jobs), seed, body).map(drop)
    }

    /// Gives up groups of hard links of which not all members were asked for.
    pub(in crate::checkout) fn close_groups(&self) {
        for first in self.links.forget_all() {
            self.release(&first.dir);
        }
    }

    /// Does one item.
    fn work(&self, item: Item<'a>, queue: &LaneWorker<'_, Item<'a>>) -> Result<()> {
        match item {
            Item::Tree { place, finish } => {
                self.tree(&place, finish, queue)?;
                self.release(&place.dir);
            }
            Item::Nodes(dir, mut rest) => {
                let mut now: Vec<Entry> = Vec::new();
                // A large file stays open until its last range is written: at most one, and the rest later.
                while now.len() < NAMES
                    && now.last().is_none_or(|e| e.size() <= LARGE)
                    && let Some(entry) = rest.next()
                {
                    now.push(entry);
                }
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

    fn tree(&self, place: &Member, finish: Finish, queue: &LaneWorker<'_, Item<'a>>) -> Result<()> {
        let tree = finish.tree;
        if place.dir.path_len() + 1 + place.name.len() > DIR_PATH_MAX {
            place.dir.placed().broken = true;
            let message =
                format!("a directory in it is not restored: its path is longer than {} KiB", DIR_PATH_MAX >> 10);
            self.incomplete(place.dir.path(), message);
            return Ok(());
        }
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
    pub(in crate::checkout) fn fill(&self, dir: &Arc<Dir>, mut entries: Vec<Entry>, queue: &LaneWorker<'_, Item<'a>>) {
        if entries.iter().any(|e| is_reserved(&e.name)) {
            for entry in entries.extract_if(.., |e| is_reserved(&e.name)) {
                dir.placed().broken = true;
                self.reserved(dir.path_of(&entry.name));
            }
        }
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

    /// Reports a name of the version that is not restored because it would be a repository.
    pub(in crate::checkout) fn reserved(&self, path: Vec<u8>) {
        self.counts.damaged.fetch_add(1, Ordering::Relaxed);
        let message = "not restored: no version may contain a repository".to_owned();
        self.observer.notice(Notice { level: NoticeLevel::Damage, path, message });
    }

    fn node(&self, place: Member, entry: Entry, queue: &LaneWorker<'_, Item<'a>>) -> Result<()> {
        if self.observer.cancelled() {
            return Err(Cancelled.into());
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

    fn make(&self, place: Member, entry: Entry, queue: &LaneWorker<'_, Item<'a>>) -> Result<()> {
        match &entry.node {
            Node::File { size, .. } if *size > LARGE => self.large(place, entry, queue),
            Node::File { .. } => self.small(&place, entry),
            Node::Dir { tree, totals } => {
                place.dir.retain();
                queue.push(Item::Tree { finish: Finish { tree: *tree, totals: *totals, meta: entry.meta }, place });
                Ok(())
            }
            _ => self.special(&place, entry),
        }
    }
}
