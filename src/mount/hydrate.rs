//! Hydration: copies complete files from the version to the overlay, in the background.
//!
//! A file is copied in pieces, so that a writer never waits for long. When all pieces are copied,
//! the file is made durable and recorded as complete.

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Condvar, Mutex, MutexGuard};

use super::errno::FsResult;
use super::names::{NodeKind, ROOT_INO};
use super::view::View;
use crate::model::path::join;
use crate::snapshot::walk::rules::{Ignores, Rules};

/// Number of bytes that are hydrated in one step.
const STEP: u64 = 1 << 20;

/// The files to hydrate.
#[derive(Clone, Debug, Default)]
pub enum HydrateSet {
    /// No files.
    #[default]
    Off,
    /// Files that are opened for writing.
    Open,
    /// All files.
    All,
    /// Files that match patterns in gitignore syntax.
    Matching(Rules),
}

impl HydrateSet {
    /// Returns whether no files are hydrated.
    pub fn is_off(&self) -> bool {
        matches!(self, Self::Off)
    }
}

#[derive(Default)]
struct Queue {
    files: VecDeque<u64>,
    known: HashSet<u64>,
    /// Set when the mount has to be searched for files.
    walk: bool,
    busy: bool,
    ended: bool,
}

/// Copies the files of a [`HydrateSet`] to the overlay.
pub struct Hydrator {
    which: HydrateSet,
    budget_bytes: u64,
    queue: Mutex<Queue>,
    wake: Condvar,
    done_bytes: AtomicU64,
}

impl Hydrator {
    /// Creates a hydrator that copies the files in `which`, at most `budget_bytes` in total.
    pub fn new(which: HydrateSet, budget_bytes: u64) -> Self {
        let walk = !matches!(which, HydrateSet::Off | HydrateSet::Open);
        let queue = Queue {
            walk,
            // `wait` must not return before the walk has begun.
            busy: walk,
            ..Queue::default()
        };
        Self {
            which,
            budget_bytes,
            queue: Mutex::new(queue),
            wake: Condvar::new(),
            done_bytes: AtomicU64::new(0),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock()
    }

    /// Returns whether any files are hydrated.
    pub fn is_on(&self) -> bool {
        !matches!(self.which, HydrateSet::Off)
    }

    /// Returns the number of hydrated bytes.
    pub fn done_bytes(&self) -> u64 {
        self.done_bytes.load(Ordering::Relaxed)
    }

    /// Notes that a file was opened for writing.
    pub fn opened(&self, ino: u64) {
        if matches!(self.which, HydrateSet::Open) {
            self.add(ino);
        }
    }

    fn add(&self, ino: u64) {
        let mut queue = self.lock();
        if queue.known.insert(ino) {
            queue.files.push_back(ino);
            self.wake.notify_all();
        }
    }

    /// Hydrates files until [`Self::end`]. Failures are logged.
    pub fn run(&self, view: &View, log: &dyn Fn(&str)) {
        loop {
            let ino = {
                let mut queue = self.lock();
                loop {
                    if queue.ended {
                        return;
                    }
                    if std::mem::take(&mut queue.walk) {
                        break None;
                    }
                    if let Some(ino) = queue.files.pop_front() {
                        queue.busy = true;
                        break Some(ino);
                    }
                    // Wakes the callers of `wait`.
                    queue.busy = false;
                    self.wake.notify_all();
                    self.wake.wait(&mut queue);
                }
            };
            let Some(ino) = ino else {
                if let Err(e) = self.walk(view, ROOT_INO, b"") {
                    log(&format!("cannot hydrate all files: {e:?}"));
                }
                continue;
            };
            let told = match self.hydrate_file(view, ino) {
                Ok(true) => None,
                Ok(false) => Some(
                    "hydration limit reached; the remaining files are fetched when they are read"
                        .to_owned(),
                ),
                Err(e) => Some(format!("cannot hydrate {}: {e:?}", view.shown_path(ino))),
            };
            if let Some(told) = told {
                log(&told);
            }
        }
    }

    /// Searches the mount again after a switch to another version.
    pub fn restart(&self) {
        if self.is_on() && !matches!(self.which, HydrateSet::Open) {
            let mut queue = self.lock();
            queue.known.clear();
            (queue.walk, queue.busy) = (true, true);
            self.wake.notify_all();
        }
    }

    /// Ends [`Self::run`].
    pub fn end(&self) {
        self.lock().ended = true;
        self.wake.notify_all();
    }

    /// Waits until all requested files are hydrated, or hydration has ended.
    pub fn wait(&self) {
        let mut queue = self.lock();
        while !queue.ended && (queue.busy || !queue.files.is_empty()) {
            self.wake.wait(&mut queue);
        }
    }

    /// Adds the matching files below a directory to the queue.
    fn walk(&self, view: &View, dir: u64, path: &[u8]) -> FsResult<()> {
        let all = view.query(|n| n.list(dir))?;
        for listed in all {
            if self.lock().ended {
                return Ok(());
            }
            let path = join(path, &listed.name);
            // Look up the name, because this registers the inode number, which `copy_up` needs.
            let Some(ino) = view.query(|n| n.find(dir, &listed.name))? else {
                continue;
            };
            match listed.kind {
                NodeKind::Dir => self.walk(view, ino, &path)?,
                NodeKind::File => match &self.which {
                    HydrateSet::Matching(rules)
                        if !Ignores::default().excludes(rules, &path, false) => {}
                    _ => {
                        view.query(|n| n.copy_up(ino))?;
                        self.add(ino);
                    }
                },
                _ => {}
            }
        }
        Ok(())
    }

    /// Hydrates a file. Returns false if the file exceeds the budget.
    fn hydrate_file(&self, view: &View, ino: u64) -> FsResult<bool> {
        let data = match view.query(|n| {
            n.copy_up(ino)?;
            // An open file keeps its data, even if its last name is removed.
            n.open(ino, false)
        }) {
            Ok(data) => data,
            // The file was removed or replaced in the meantime.
            Err(_) => return Ok(true),
        };
        let absent = data.missing_bytes();
        let fits = self.done_bytes() + absent <= self.budget_bytes;
        let mut at = Some(0).filter(|_| fits && absent > 0);
        let mut failed = None;
        while let Some(from) = at {
            at = match view.hydrate(&data, from, STEP) {
                Ok(next) => next,
                Err(e) => {
                    failed = Some(e);
                    None
                }
            };
            if self.lock().ended {
                break;
            }
        }
        self.done_bytes
            .fetch_add(absent - data.missing_bytes().min(absent), Ordering::Relaxed);
        let synced = if absent > 0 && fits {
            view.finish_hydration(&data)
        } else {
            Ok(())
        };
        view.close_file(&data, false, false);
        failed.map_or(synced, Err).map(|()| fits)
    }
}
