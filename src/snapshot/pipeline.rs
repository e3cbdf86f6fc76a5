//! The threads of a walk. Each thread takes the work that is nearest to completion, so that memory
//! stays bounded and all cores are busy: batches of chunks first, then the next piece of a large
//! file, then the next directory, depth first.

use std::sync::Arc;

use super::content::large::{ATTEMPTS, Batch, Buffers, Finished, Next, ReadError, Reader};
use super::content::store::flush_small;
use super::walk::dir::Dir;
use super::walk::late::read_unread;
use super::walk::scan::Walk;
use crate::error::Result;
use crate::model::entry::Node;
use crate::work::Cancelled;
use crate::work::queue::{self, Policy, Worker};

#[derive(Default)]
#[expect(
    clippy::vec_box,
    reason = "a reader is large and moves between queue, threads and its file"
)]
struct Jobs {
    batches: Vec<Batch>,
    readers: Vec<Box<Reader>>,
    dirs: Vec<Arc<Dir>>,
}

enum Job {
    Batch(Batch),
    Read(Box<Reader>),
    Scan(Arc<Dir>),
}

impl Policy for Jobs {
    type Item = Job;

    fn take(&mut self, _worker: usize) -> Option<Job> {
        let batch = self.batches.pop().map(Job::Batch);
        let next = batch.or_else(|| self.readers.pop().map(Job::Read));
        next.or_else(|| self.dirs.pop().map(Job::Scan))
    }
}

/// Walks from `root` on `threads` threads. The result is then in [`Walk::result`].
pub fn run(walk: &Walk<'_>, root: Arc<Dir>, threads: usize) -> Result<()> {
    let buffers = Buffers::default();
    let body = |jobs: &Worker<'_, Jobs>| {
        let thread = WalkThread {
            walk,
            buffers: &buffers,
            jobs,
        };
        let done = thread.work();
        // Store the small chunks that this thread has collected, even after an error, because
        // another walk may run on this thread later.
        done.and(flush_small(walk.out))
    };
    let jobs = Jobs {
        dirs: vec![root],
        ..Jobs::default()
    };
    queue::run(threads, jobs, |_| (), body).map(drop)
}

/// Finishes the directories that wait until all hard links are known. `root` is the directory of
/// the snapshot.
pub fn settle_links(walk: &Walk<'_>, root: &std::path::Path) -> Result<()> {
    read_unread(walk, root)?;
    let waiting = walk.links.lock().take_waiting();
    waiting.iter().try_for_each(|dir| walk.done(dir))
}

/// State of one worker thread.
struct WalkThread<'t, 'a> {
    walk: &'t Walk<'a>,
    buffers: &'t Buffers,
    jobs: &'t Worker<'t, Jobs>,
}

impl WalkThread<'_, '_> {
    fn work(&self) -> Result<()> {
        let mut buffer = Vec::new();
        while let Some(job) = self.jobs.next() {
            self.do_job(job, &mut buffer)?;
            if self.walk.observer.cancelled() {
                return Err(Cancelled.into());
            }
        }
        Ok(())
    }

    fn do_job(&self, job: Job, buffer: &mut Vec<u8>) -> Result<()> {
        let out = self.walk.out;
        match job {
            Job::Scan(dir) => {
                let found = self.walk.scan(&dir, buffer)?;
                self.jobs.update(|jobs| {
                    jobs.readers.extend(found.readers);
                    // `take` returns the last directory first, so the reverse order keeps the order
                    // of names.
                    jobs.dirs.extend(found.dirs.into_iter().rev());
                });
                self.walk.done(&dir)
            }
            Job::Read(reader) => {
                let next = reader.step(out, self.buffers);
                self.follow(next)
            }
            Job::Batch(batch) => match batch.run(out, self.buffers) {
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
                self.jobs.update(|jobs| {
                    jobs.batches.extend(batch);
                    jobs.readers.extend(reader);
                });
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

    /// Checks whether a large file changed while it was read, and reads it again if it did.
    fn finished(&self, f: Finished) -> Result<()> {
        let Finished {
            reader,
            content,
            size,
            chunker,
        } = f;
        let now = reader.look();
        let unchanged = now.as_ref().is_ok_and(|now| now.same(&reader.stat));
        // If two attempts read the same content, the file had this content between them, although
        // its times have changed.
        let same_twice = reader.previous.as_ref() == Some(&content);
        if !unchanged && !same_twice && reader.attempt < ATTEMPTS {
            let (dir, slot) = (Arc::clone(reader.place().0), reader.place().1);
            match reader.again(content) {
                Ok(reader) => {
                    self.jobs.update(|jobs| jobs.readers.push(Box::new(reader)));
                    return Ok(());
                }
                Err(e) => {
                    self.walk.drop_file(&dir, slot, &e);
                    return self.walk.done(&dir);
                }
            }
        }
        let (dir, slot) = reader.place();
        let node = Node::File {
            size,
            chunker,
            content,
        };
        self.walk.put_file(
            dir,
            slot,
            node,
            &reader.stat,
            unchanged || same_twice,
            unchanged,
        );
        self.walk.observer.advance(1, 0);
        self.walk.done(dir)
    }
}
