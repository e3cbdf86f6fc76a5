//! The threads of a walk: each takes whatever work is nearest to being done, so that memory stays bounded and all
//! cores stay busy.
//!
//! Batches of chunks first, then the next piece of a large file, then the next directory, depth first.

use std::sync::Arc;

use parking_lot::{Condvar, Mutex, MutexGuard};

use super::content::large::{ATTEMPTS, Batch, Buffers, Finished, Next, ReadError, Reader};
use super::content::store::flush_small;
use super::walk::dir::Dir;
use super::walk::late::read_unread;
use super::walk::scan::Walk;
use crate::error::{Error, Result};
use crate::model::entry::Node;
use crate::work::{Cancelled, Panicked};

#[derive(Default)]
#[expect(clippy::vec_box, reason = "a reader is large and moves between queue, threads and its file")]
struct Queue {
    batches: Vec<Batch>,
    readers: Vec<Box<Reader>>,
    dirs: Vec<Arc<Dir>>,
    busy: usize,
    error: Option<Error>,
}

struct Pool<'w, 'a> {
    walk: &'w Walk<'a>,
    queue: Mutex<Queue>,
    wake: Condvar,
    buffers: Buffers,
}

/// Walks from `root` with so many threads until all of it is done; the result is in the walk.
pub fn run(walk: &Walk<'_>, root: Arc<Dir>, threads: usize) -> Result<()> {
    let queue = Queue { dirs: vec![root], ..Queue::default() };
    let pool = Pool { walk, queue: Mutex::new(queue), wake: Condvar::new(), buffers: Buffers::default() };
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            // Where the system gives no more threads, this one does their work.
            if std::thread::Builder::new().spawn_scoped(scope, || pool.work()).is_err() {
                pool.work();
                break;
            }
        }
    });
    let queue = pool.queue.into_inner();
    queue.error.map_or(Ok(()), Err)
}

/// Finishes the directories that waited for all hard links to be known; `root` is the directory of the version.
pub fn settle_links(walk: &Walk<'_>, root: &std::path::Path) -> Result<()> {
    read_unread(walk, root)?;
    let waiting = walk.links.lock().take_waiting();
    waiting.iter().try_for_each(|dir| walk.done(dir))
}

enum Job {
    Batch(Batch),
    Read(Box<Reader>),
    Scan(Arc<Dir>),
}

impl Pool<'_, '_> {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock()
    }

    fn work(&self) {
        let mut buffer = Vec::new();
        while let Some(job) = self.next() {
            let result = match std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| self.do_job(job, &mut buffer)))
            {
                Ok(result) => result,
                Err(panic) => {
                    self.fail(Panicked.into());
                    std::panic::resume_unwind(panic);
                }
            };
            match result {
                Ok(()) if self.walk.observer.cancelled() => self.fail(Cancelled.into()),
                Ok(()) => {
                    self.lock().busy -= 1;
                    self.wake.notify_all();
                }
                Err(e) => self.fail(e),
            }
        }
        // Small chunks that this thread gathered are stored once no more can follow.
        if self.lock().error.is_none()
            && let Err(e) = flush_small(self.walk.out)
        {
            self.lock().error.get_or_insert(e);
        }
    }

    fn fail(&self, e: Error) {
        let mut queue = self.lock();
        queue.error.get_or_insert(e);
        queue.busy -= 1;
        self.wake.notify_all();
    }

    fn next(&self) -> Option<Job> {
        let mut queue = self.lock();
        loop {
            if queue.error.is_some() {
                return None;
            }
            let job = match (queue.batches.pop(), queue.readers.is_empty()) {
                (Some(batch), _) => Some(Job::Batch(batch)),
                (None, false) => queue.readers.pop().map(Job::Read),
                (None, true) => queue.dirs.pop().map(Job::Scan),
            };
            if job.is_some() {
                queue.busy += 1;
                return job;
            }
            if queue.busy == 0 {
                self.wake.notify_all();
                return None;
            }
            self.wake.wait(&mut queue);
        }
    }

    fn do_job(&self, job: Job, buffer: &mut Vec<u8>) -> Result<()> {
        let out = self.walk.out;
        match job {
            Job::Scan(dir) => {
                let found = self.walk.scan(&dir, buffer)?;
                let mut queue = self.lock();
                queue.readers.extend(found.readers);
                queue.dirs.extend(found.dirs.into_iter().rev());
                drop(queue);
                self.wake.notify_all();
                self.walk.done(&dir)
            }
            Job::Read(reader) => {
                let next = reader.step(out, &self.buffers);
                self.follow(next)
            }
            Job::Batch(batch) => match batch.run(out, &self.buffers) {
                Ok((bytes, next)) => {
                    self.walk.observer.advance(0, bytes);
                    self.follow(Ok(next))
                }
                Err(e) => self.follow(Err(e)),
            },
        }
    }

    fn follow(&self, next: Result<Next, ReadError>) -> Result<()> {
        match next {
            Ok(Next::Nothing) => Ok(()),
            Ok(Next::Batch(batch, reader)) => {
                let mut queue = self.lock();
                queue.batches.extend(batch);
                queue.readers.extend(reader);
                drop(queue);
                self.wake.notify_all();
                Ok(())
            }
            Ok(Next::Finished(finished)) => self.finished(finished),
            Err(ReadError::Repository(e)) => Err(e),
            Err(ReadError::File(dir, slot, e)) => {
                self.walk.drop_file(&dir, slot, &e);
                self.walk.done(&dir)
            }
        }
    }

    /// A last look at a file that was read in pieces: did it hold still?
    fn finished(&self, f: Finished) -> Result<()> {
        let Finished { reader, content, size, chunker } = f;
        let now = reader.look();
        let unchanged = now.as_ref().is_ok_and(|now| now.same(&reader.stat));
        let same_twice = reader.previous.as_ref() == Some(&content);
        if !unchanged && !same_twice && reader.attempt < ATTEMPTS {
            let (dir, slot) = (Arc::clone(reader.place().0), reader.place().1);
            match reader.again(content) {
                Ok(reader) => {
                    self.lock().readers.push(Box::new(reader));
                    self.wake.notify_all();
                    return Ok(());
                }
                Err(e) => {
                    self.walk.drop_file(&dir, slot, &e);
                    return self.walk.done(&dir);
                }
            }
        }
        let (dir, slot) = reader.place();
        let node = Node::File { size, chunker, content };
        self.walk.put_file(dir, slot, node, &reader.stat, unchanged || same_twice, unchanged);
        self.walk.observer.advance(1, 0);
        self.walk.done(dir)
    }
}
