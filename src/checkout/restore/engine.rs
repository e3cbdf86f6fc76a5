//! Creates files, links and whole trees of a version, item by item, on any number of threads.
//!
//! An item is small: a directory to list, some names to create, a range of a large file. A thread
//! that processes an item may push more items. An error with one node is reported as a notice; an
//! error that concerns all nodes ends the run.

use std::collections::HashMap;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::Mutex;
use rustix::io::Errno;

use crate::checkout::dir::{Dir, Finish};
use crate::checkout::error::{concerns_all, error_text, io_error};
use crate::checkout::placed::Placements;
use crate::checkout::restore::item::{Item, LARGE, UNLINKED};
use crate::checkout::restore::links::{LinkAction, Links, Member};
use crate::checkout::restore::node::Maker;
use crate::checkout::restore::report::Counts;
use crate::checkout::source::Source;
use crate::error::Result;
use crate::model::entry::{Entry, Node};
use crate::model::path::{DIR_PATH_MAX, is_reserved};
use crate::observe::{Notice, NoticeLevel, Observer};
use crate::work::Cancelled;
use crate::work::queue::{LaneWorker, Lanes, run};

/// Number of names that one item creates.
const NAMES: usize = 64;

/// State that all threads of a run share.
pub(in crate::checkout) struct Engine<'a> {
    pub(in crate::checkout) source: &'a dyn Source,
    pub(in crate::checkout) maker: Maker,
    pub(in crate::checkout) observer: &'a dyn Observer,
    pub(in crate::checkout) placements: Option<&'a dyn Placements>,
    pub(in crate::checkout) links: Links,
    pub(in crate::checkout) counts: Counts,
    /// Existing files that were changed in part and could not be completed.
    pub(in crate::checkout) torn: Mutex<Vec<Member>>,
    /// The final path of each file, by the temporary path under which it is created.
    pub(in crate::checkout) renamed: Mutex<HashMap<Vec<u8>, Vec<u8>>>,
}

impl<'a> Engine<'a> {
    /// Creates the shared state of a run.
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

    /// Processes the items of `seed` and all items that they push, on `jobs` threads.
    pub(in crate::checkout) fn run(
        &self,
        jobs: usize,
        seed: impl FnOnce(&LaneWorker<'_, Item<'a>>),
    ) -> Result<()> {
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

    /// Releases groups of hard links of which not all members were requested.
    pub(in crate::checkout) fn close_groups(&self) {
        for first in self.links.forget_all() {
            self.release(&first.dir);
        }
    }

    /// Processes one item.
    fn work(&self, item: Item<'a>, queue: &LaneWorker<'_, Item<'a>>) -> Result<()> {
        match item {
            Item::Tree { place, finish } => {
                self.tree(&place, finish, queue)?;
                self.release(&place.dir);
            }
            Item::Nodes(dir, mut rest) => {
                let mut now: Vec<Entry> = Vec::new();
                // A large file stays open until its last range is written, so an item contains at
                // most one large file, as its last entry.
                while now.len() < NAMES
                    && now.last().is_none_or(|e| e.size() <= LARGE)
                    && let Some(entry) = rest.next()
                {
                    now.push(entry);
                }
                if rest.len() > 0 {
                    // Retain the directory before the push, because another thread may complete the
                    // item at once.
                    dir.retain();
                    queue.push(Item::Nodes(Arc::clone(&dir), rest));
                }
                for entry in now {
                    let place = Member {
                        dir: Arc::clone(&dir),
                        name: entry.name.clone(),
                    };
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
            let message = format!(
                "a subdirectory was not restored: its path is longer than {} KiB",
                DIR_PATH_MAX >> 10
            );
            self.incomplete(place.dir.path(), message);
            return Ok(());
        }
        let made = match place
            .dir
            .fd()
            .and_then(|fd| Maker::dir(fd.as_fd(), &place.name))
        {
            // In a patch, the directory may still exist, because it contains files that are in no
            // version.
            Err(Errno::EXIST) if !self.maker.uniform() => Ok(()),
            other => other,
        };
        let dir = match made.and_then(|()| Dir::open(&place.dir, &place.name, Some(finish))) {
            Ok(dir) => dir,
            Err(e) if concerns_all(e) => {
                return Err(io_error("create", &place.dir.path_of(&place.name), e));
            }
            Err(e) => {
                place.dir.placed().broken = true;
                self.incomplete(
                    place.dir.path_of(&place.name),
                    format!("directory not created: {}", error_text(e)),
                );
                return Ok(());
            }
        };
        // The directory is released when the new one is complete.
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

    /// Pushes all entries of a directory, then releases the directory once.
    pub(in crate::checkout) fn fill(
        &self,
        dir: &Arc<Dir>,
        mut entries: Vec<Entry>,
        queue: &LaneWorker<'_, Item<'a>>,
    ) {
        if entries.iter().any(|e| is_reserved(&e.name)) {
            for entry in entries.extract_if(.., |e| is_reserved(&e.name)) {
                dir.placed().broken = true;
                self.reserved(dir.path_of(&entry.name));
            }
        }
        let (dirs, nodes): (Vec<Entry>, Vec<Entry>) = entries.into_iter().partition(Entry::is_dir);
        // The queue is a stack, so the first directory must be pushed last.
        for entry in dirs.into_iter().rev() {
            if let Node::Dir { tree, totals } = entry.node {
                dir.retain();
                let place = Member {
                    dir: Arc::clone(dir),
                    name: entry.name,
                };
                queue.push(Item::Tree {
                    place,
                    finish: Finish {
                        meta: entry.meta,
                        tree,
                        totals,
                    },
                });
            }
        }
        // Files come before subdirectories, as in the walk that wrote the packs, so that packs are
        // read in order.
        if !nodes.is_empty() {
            dir.retain();
            queue.push(Item::Nodes(Arc::clone(dir), nodes.into_iter()));
        }
        self.release(dir);
    }

    /// Reports an entry of the version that is not restored because it would be a repository.
    pub(in crate::checkout) fn reserved(&self, path: Vec<u8>) {
        self.counts.damaged.fetch_add(1, Ordering::Relaxed);
        let message = "not restored: no version may contain a repository".to_owned();
        self.observer.notice(Notice {
            level: NoticeLevel::Damage,
            path,
            message,
        });
    }

    fn node(&self, place: Member, entry: Entry, queue: &LaneWorker<'_, Item<'a>>) -> Result<()> {
        if self.observer.cancelled() {
            return Err(Cancelled.into());
        }
        let Some(link) = entry.link else {
            return self.make(place, entry, queue);
        };
        match self.links.action(&link, &place, entry) {
            LinkAction::Write(entry) => self.make(place, entry, queue),
            LinkAction::Deferred => Ok(()),
            LinkAction::Link(entry, first) => {
                self.link(&place, &entry, &first)?;
                self.group_step(&entry);
                Ok(())
            }
            LinkAction::Lost(entry) => {
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
                queue.push(Item::Tree {
                    finish: Finish {
                        tree: *tree,
                        totals: *totals,
                        meta: entry.meta,
                    },
                    place,
                });
                Ok(())
            }
            _ => self.special(&place, entry),
        }
    }
}
