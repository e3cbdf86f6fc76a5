//! The threads of a walk: each takes whatever work is nearest to being done, so that memory stays bounded and all
//! cores stay busy.
//!
//! Batches of chunks first, then the next piece of a large file, then the next directory, depth first.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use super::cutter::{Piece, cut};
use super::dir::Dir;
use super::frame::{Class, Gather, Packer};
use super::large::{ATTEMPTS, Batch, Buffers, Finished, Next, OldFile, ReadError, Reader};
use super::late::read_unread;
use super::list::ListBuilder;
use super::output::Output;
use super::scan::{SMALL_MAX, Walk};
use super::walk::{Stat, stat_at};
use crate::codec::cut::{BLOCK, CHUNK_MAX};
use crate::codec::sniff;
use crate::error::{Error, Failure, Kind, Result};
use crate::format::object::encode_links;
use crate::model::entry::{Chunker, Content, Extent, Node};
use crate::model::id::ObjectKind;
use crate::model::tree::LinkTable;
use crate::observe::Observer;
use crate::store::once::Once;

/// Files up to this size in bytes stand in their directory's tree object.
pub const INLINE_MAX: u64 = 256;
/// Below this a delta saves less than its own bookkeeping.
const DELTA_MIN: usize = 1024;

/// The walk was told to stop.
#[derive(Debug, thiserror::Error)]
#[error("stopped")]
pub struct Stopped;

impl Failure for Stopped {
    fn kind(&self) -> Kind {
        Kind::Cancelled
    }
    fn hint(&self) -> Option<String> {
        Some("run the command again; what was stored so far is not stored twice".to_owned())
    }
}

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

thread_local! {
    static SMALL: std::cell::RefCell<Gather> = std::cell::RefCell::new(Gather::new(ObjectKind::Chunk));
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
    let queue = pool.queue.into_inner().unwrap_or_else(PoisonError::into_inner);
    queue.error.map_or(Ok(()), Err)
}

/// Finishes the directories that waited for all hard links to be known; `root` is the directory of the version.
pub fn settle_links(walk: &Walk<'_>, root: &std::path::Path) -> Result<()> {
    read_unread(walk, root)?;
    let waiting = walk.links.lock().unwrap_or_else(PoisonError::into_inner).take_waiting();
    waiting.iter().try_for_each(|dir| walk.done(dir))
}

enum Job {
    Batch(Batch),
    Read(Box<Reader>),
    Scan(Arc<Dir>),
}

impl Pool<'_, '_> {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
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
                Ok(()) if self.walk.observer.cancelled() => self.fail(Stopped.into()),
                Ok(()) => {
                    self.lock().busy -= 1;
                    self.wake.notify_all();
                }
                Err(e) => self.fail(e),
            }
        }
        // What this thread gathered goes out when there is nothing more to come.
        let rest = SMALL.with_borrow_mut(Gather::take);
        if let Some(sink) = self.walk.out.sink()
            && self.lock().error.is_none()
            && let Err(e) = Packer::with(|p| p.chunks(sink, Class::Plain, &rest))
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
            queue = self.wake.wait(queue).unwrap_or_else(PoisonError::into_inner);
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

/// A thread died of a bug.
#[derive(Debug, thiserror::Error)]
#[error("a thread that stored files panicked")]
pub(super) struct Panicked;

impl Failure for Panicked {
    fn kind(&self) -> Kind {
        Kind::Internal
    }
}

/// Reads a small file whole, and again if it changed meanwhile. Returns what it is now if it has become a large one.
pub fn small_file(
    walk: &Walk<'_>,
    dir: &Arc<Dir>,
    slot: usize,
    file: &OwnedFd,
    stat: Stat,
    old: Option<&OldFile>,
    buffer: &mut Vec<u8>,
) -> Result<Option<Stat>> {
    let mut stat = stat;
    let size = |stat: &Stat| usize::try_from(stat.size).unwrap_or(usize::MAX);
    let give_up = |e: io::Error| {
        walk.drop_file(dir, slot, &e);
        Ok(None)
    };
    let mut len = match read_whole(file, size(&stat), buffer) {
        Ok(len) => len,
        Err(e) => return give_up(e),
    };
    let (mut stable, mut fresh) = (false, true);
    let mut second = Vec::new();
    for attempt in 0..=ATTEMPTS {
        let now = match stat_at(file.as_fd(), b"") {
            Ok(now) => now,
            Err(e) => return give_up(e),
        };
        if now.same(&stat) {
            stable = true;
            break;
        }
        fresh = false;
        if attempt == ATTEMPTS {
            break;
        }
        if now.size > SMALL_MAX {
            return Ok(Some(now));
        }
        match read_whole(file, size(&now), &mut second) {
            // Appended to, or touched: this is what it held between both reads.
            Ok(n) if n >= len && second[..len] == buffer[..len] => {
                stable = true;
                break;
            }
            Ok(n) => {
                std::mem::swap(buffer, &mut second);
                (len, stat) = (n, now);
            }
            Err(e) => return give_up(e),
        }
    }
    let bytes = &buffer[..len];
    let head = &bytes[..len.min(sniff::HEAD)];
    let chunker =
        if len as u64 > INLINE_MAX { walk.out.repo().cutting().choose(head, len as u64) } else { Chunker::Cdc };
    let content = store_bytes(walk.out, bytes, chunker, old)?;
    walk.put_file(dir, slot, Node::File { size: len as u64, chunker, content }, &stat, stable, fresh);
    walk.observer.advance(1, len as u64);
    Ok(None)
}

fn read_whole(file: &OwnedFd, limit: usize, buffer: &mut Vec<u8>) -> io::Result<usize> {
    if buffer.len() < limit + 1 {
        buffer.resize((limit + 1).next_power_of_two().max(CHUNK_MAX), 0);
    }
    let (mut len, mut once) = (0, Once::whole());
    while len < limit {
        match once.read_at(file, &mut buffer[len..limit], len as u64)? {
            0 => break,
            n => len += n,
        }
    }
    Ok(len)
}

/// Stores bytes that are in memory as a file's content.
pub fn store_bytes(out: &Output<'_>, bytes: &[u8], chunker: Chunker, old: Option<&OldFile>) -> Result<Content> {
    if bytes.len() as u64 <= INLINE_MAX {
        return Ok(Content::Inline(bytes.to_vec()));
    }
    let mut pieces = Vec::new();
    cut(out.repo().cutting(), chunker, bytes, 0, true, &mut pieces);
    let mut list = ListBuilder::default();
    let mut at = 0u64;
    for piece in pieces {
        let extent = store_piece(out, bytes, piece, chunker, old, at)?;
        at += extent.len;
        list.push(extent, out)?;
    }
    list.finish(out)
}

pub(super) fn store_piece(
    out: &Output<'_>,
    buffer: &[u8],
    piece: Piece,
    chunker: Chunker,
    old: Option<&OldFile>,
    at: u64,
) -> Result<Extent> {
    Ok(match piece {
        Piece::Hole(len) => Extent { len, chunk: None },
        Piece::Chunk(range) => {
            let chunk = &buffer[range];
            let id = out.repo().ids().id(ObjectKind::Chunk, chunk);
            if out.claim_chunk(&id, chunk.len())? {
                store_chunk(out, id, chunk, chunker, old, at)?;
            }
            Extent { len: chunk.len() as u64, chunk: Some(id) }
        }
    })
}

fn store_chunk(
    out: &Output<'_>,
    id: crate::model::id::Id,
    chunk: &[u8],
    chunker: Chunker,
    old: Option<&OldFile>,
    at: u64,
) -> Result<()> {
    // What cannot be read of the old version is no base.
    let base = old.filter(|_| out.sink().is_some() && chunk.len() >= DELTA_MIN).and_then(|old| {
        let (_, mut extents) = out.repo().extents_at(&old.content, at.min(old.size.saturating_sub(1))).ok()?;
        extents.next()?.ok()?.chunk
    });
    store_claimed(out, id, chunk, chunker, base)
}

/// Stores a chunk that was claimed: against `base` where that is clearly smaller, else a page alone and others with
/// what this thread gathers.
pub(super) fn store_claimed(
    out: &Output<'_>,
    id: crate::model::id::Id,
    chunk: &[u8],
    chunker: Chunker,
    base: Option<crate::model::id::Id>,
) -> Result<()> {
    let Some(sink) = out.sink() else { return Ok(()) };
    if let Some(base) = base.filter(|_| chunk.len() >= DELTA_MIN)
        && Packer::with(|p| p.delta(sink, out.repo(), &base, id, chunk))?
    {
        return Ok(());
    }
    if matches!(chunker, Chunker::Fixed(_)) {
        let len = u32::try_from(chunk.len()).unwrap_or(u32::MAX);
        return Packer::with(|p| p.whole(sink, Class::Pages, chunk, &[(id, len)]));
    }
    let full = SMALL.with_borrow_mut(|g| g.add(id, chunk));
    full.map_or(Ok(()), |full| Packer::with(|p| p.chunks(sink, Class::Plain, &full)))
}

/// Stores a stream as a file's content: its length in bytes, how it was cut, what it holds.
pub fn store_stream(
    out: &Output<'_>,
    observer: &dyn Observer,
    input: &mut dyn io::Read,
) -> Result<(u64, Chunker, Content)> {
    const STEP: usize = 16 * BLOCK;
    let mut buffer = vec![0u8; STEP + CHUNK_MAX];
    let (mut held, mut offset) = (0, 0u64);
    let mut chunker = None;
    let mut list = ListBuilder::default();
    loop {
        // Up to a multiple of the block size in the stream, so that holes are seen as in a file.
        let start = usize::try_from((offset + held as u64) % BLOCK as u64).unwrap_or(0);
        let mut want = STEP - start;
        while want > 0 {
            match input.read(&mut buffer[held..held + want]) {
                Ok(0) => break,
                Ok(n) => {
                    held += n;
                    want -= n;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(StreamError(e).into()),
            }
        }
        if observer.cancelled() {
            return Err(Stopped.into());
        }
        let last = want > 0;
        if last && offset == 0 && held as u64 <= INLINE_MAX {
            return Ok((held as u64, Chunker::Cdc, Content::Inline(buffer[..held].to_vec())));
        }
        let chunker =
            *chunker.get_or_insert_with(|| out.repo().cutting().choose(&buffer[..held.min(sniff::HEAD)], held as u64));
        let mut pieces = Vec::new();
        let used = cut(out.repo().cutting(), chunker, &buffer[..held], offset, last, &mut pieces);
        for piece in pieces {
            list.push(store_piece(out, &buffer, piece, chunker, None, 0)?, out)?;
        }
        observer.advance(0, used as u64);
        buffer.copy_within(used..held, 0);
        held -= used;
        offset += used as u64;
        if last {
            flush_small(out)?;
            observer.advance(1, 0);
            return Ok((offset, chunker, list.finish(out)?));
        }
    }
}

/// A stream cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the stream")]
pub struct StreamError(#[source] io::Error);

impl Failure for StreamError {
    fn kind(&self) -> Kind {
        Kind::of_io(&self.0)
    }
}

/// Writes out what this thread gathered, for callers that store bytes outside of a walk.
pub fn flush_small(out: &Output<'_>) -> Result<()> {
    let rest = SMALL.with_borrow_mut(Gather::take);
    out.sink().map_or(Ok(()), |sink| Packer::with(|p| p.chunks(sink, Class::Plain, &rest)))
}

/// Stores the table of hard links like a file.
pub fn store_links(out: &Output<'_>, table: &LinkTable) -> Result<Content> {
    let content = store_bytes(out, &encode_links(table), Chunker::Cdc, None)?;
    flush_small(out)?;
    Ok(content)
}
