//! Bringing whole files from the version into the overlay, beside everything else.
//!
//! A file is brought in pieces, so that whoever writes to it never waits long; then it is durable, and noted as whole.

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Condvar, Mutex, MutexGuard};

use super::errno::Answer;
use super::inode::{Kind, ROOT};
use super::view::View;
use crate::model::path::join;
use crate::snapshot::walk::rules::{Ignores, Rules};

/// Bytes that are brought at a time.
const STEP: u64 = 1 << 20;

/// Which files are brought.
#[derive(Clone, Debug, Default)]
pub enum Which {
    /// None.
    #[default]
    Off,
    /// Those that are opened for writing.
    Open,
    /// All.
    All,
    /// Those that match patterns of gitignore grammar.
    Matching(Rules),
}

impl Which {
    /// Whether none is.
    pub fn is_off(&self) -> bool {
        matches!(self, Self::Off)
    }
}

#[derive(Default)]
struct Queue {
    files: VecDeque<u64>,
    known: HashSet<u64>,
    /// All files are to be looked for.
    walk: bool,
    busy: bool,
    ended: bool,
}

/// Brings files.
pub struct Hydrator {
    which: Which,
    budget_bytes: u64,
    queue: Mutex<Queue>,
    wake: Condvar,
    done_bytes: AtomicU64,
}

impl Hydrator {
    /// Of these files, at most so many bytes.
    pub fn new(which: Which, budget_bytes: u64) -> Self {
        let walk = !matches!(which, Which::Off | Which::Open);
        let queue = Queue { walk, busy: walk, ..Queue::default() };
        Self { which, budget_bytes, queue: Mutex::new(queue), wake: Condvar::new(), done_bytes: AtomicU64::new(0) }
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock()
    }

    /// Whether anything is brought at all.
    pub fn is_on(&self) -> bool {
        !matches!(self.which, Which::Off)
    }

    /// Bytes that were brought.
    pub fn done_bytes(&self) -> u64 {
        self.done_bytes.load(Ordering::Relaxed)
    }

    /// A file was opened for writing.
    pub fn opened(&self, ino: u64) {
        if matches!(self.which, Which::Open) {
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

    /// Brings files until [`Self::end`]. `complain` is told of those that cannot be had.
    pub fn run(&self, view: &View, complain: &dyn Fn(&str)) {
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
                    queue.busy = false;
                    self.wake.notify_all();
                    self.wake.wait(&mut queue);
                }
            };
            let Some(ino) = ino else {
                if let Err(e) = self.walk(view, ROOT, b"") {
                    complain(&format!("not all files can be brought: {e:?}"));
                }
                continue;
            };
            let told = match self.bring(view, ino) {
                Ok(true) => None,
                Ok(false) => Some("the cache is full: the rest is read as it is needed".to_owned()),
                Err(e) => Some(format!("a file cannot be brought: {e:?}")),
            };
            if let Some(told) = told {
                complain(&told);
            }
        }
    }

    /// Another version is shown: what of it is not here is to be brought.
    pub fn again(&self) {
        if self.is_on() && !matches!(self.which, Which::Open) {
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

    /// Waits until there is nothing more to bring.
    pub fn wait(&self) {
        let mut queue = self.lock();
        while !queue.ended && (queue.busy || !queue.files.is_empty()) {
            self.wake.wait(&mut queue);
        }
    }

    /// Finds the files.
    fn walk(&self, view: &View, dir: u64, path: &[u8]) -> Answer<()> {
        let all = view.ask(|n| n.list(dir))?;
        for listed in all {
            if self.lock().ended {
                return Ok(());
            }
            let path = join(path, &listed.name);
            // It is known from now on, so that its number means something.
            let Some(ino) = view.ask(|n| n.find(dir, &listed.name))? else { continue };
            match listed.kind {
                Kind::Dir => self.walk(view, ino, &path)?,
                Kind::File => match &self.which {
                    Which::Matching(rules) if !Ignores::default().excludes(rules, &path, false) => {}
                    _ => {
                        view.ask(|n| n.raise(ino))?;
                        self.add(ino);
                    }
                },
                _ => {}
            }
        }
        Ok(())
    }

    /// Brings one file; false if there is no room for it.
    fn bring(&self, view: &View, ino: u64) -> Answer<bool> {
        let data = match view.ask(|n| {
            n.raise(ino)?;
            n.open(ino, false)
        }) {
            Ok(data) => data,
            // It is gone, or something else by now.
            Err(_) => return Ok(true),
        };
        let absent = data.absent_bytes();
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
        self.done_bytes.fetch_add(absent - data.absent_bytes().min(absent), Ordering::Relaxed);
        let synced = if absent > 0 && fits { view.settle(&data) } else { Ok(()) };
        view.closed(&data, false, false);
        failed.map_or(synced, Err).map(|()| fits)
    }
}
