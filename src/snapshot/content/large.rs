//! Stores large files in batches of chunks: one thread reads and chunks a file, and any thread can
//! hash and store a batch.
//!
//! Memory is bounded, because the reader waits while `AHEAD` batches of its file are being
//! processed. Batches are completed in any order, and extents are assembled in file order.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use parking_lot::Mutex;

use crate::codec::chunk::{Piece, cut};
use crate::codec::cut::{BLOCK, CHUNK_MAX};
use crate::codec::sniff;
use crate::error::Result;
use crate::model::entry::{Chunker, Content, Extent};
use crate::model::id::{Id, ObjectKind};
use crate::snapshot::content::frame::{Class, Gather, Packer};
use crate::snapshot::content::list::ListBuilder;
use crate::snapshot::output::Output;
use crate::snapshot::walk::dir::Dir;
use crate::snapshot::walk::entries::{Stat, open_file, stat_at};
use crate::sys::uncached::IoMode;

/// Number of bytes that a reader reads per step.
pub(in crate::snapshot) const STEP: usize = 1 << 20;
/// Limit on the batches of one file that are being processed.
const AHEAD: usize = 6;
/// Number of attempts to read a file that changes; afterwards, the file is stored as read and
/// flagged.
pub const ATTEMPTS: u32 = 3;

/// Buffers for reuse: a new buffer costs a page fault per page.
#[derive(Default)]
pub struct Buffers(Mutex<Vec<Vec<u8>>>);

impl Buffers {
    fn take(&self) -> Vec<u8> {
        let used = self.0.lock().pop();
        // A step follows the rest of the previous one, which is shorter than a chunk and a block.
        used.unwrap_or_else(|| vec![0; STEP + CHUNK_MAX + BLOCK])
    }

    fn give(&self, buffer: Vec<u8>) {
        let mut pool = self.0.lock();
        if pool.len() < 16 {
            pool.push(buffer);
        }
    }
}

/// The previous version of a file.
#[derive(Clone, Debug)]
pub struct OldFile {
    /// Length in bytes.
    pub size: u64,
    pub content: Content,
}

/// A file that is being read.
pub struct LargeFile {
    /// Directory that waits for the file.
    pub dir: Arc<Dir>,
    /// Slot of the file in the directory.
    pub slot: usize,
    /// Chunker of the file.
    pub chunker: Chunker,
    state: Mutex<State>,
    /// Old offset minus new offset of the last chunk that the old version also has.
    shift: AtomicI64,
}

struct State {
    under_way: usize,
    waiting: Option<Box<Reader>>,
    next: u64,
    done: BTreeMap<u64, Vec<Extent>>,
    builder: ListBuilder,
    end: Option<Box<Reader>>,
}

/// The reader of a file.
pub struct Reader {
    name: Vec<u8>,
    fd: Option<(OwnedFd, IoMode)>,
    /// Stat before the file was read.
    pub stat: Stat,
    file: Option<Arc<LargeFile>>,
    dir: Arc<Dir>,
    slot: usize,
    old: Option<OldFile>,
    cursor: Option<OldCursor>,
    buffer: Vec<u8>,
    held: usize,
    pos: u64,
    seq: u64,
    /// Number of the attempt, from 1.
    pub attempt: u32,
    /// Content that the previous attempt has read.
    pub previous: Option<Content>,
}

/// Chunks of a part of a file, to be hashed and stored.
pub struct Batch {
    file: Arc<LargeFile>,
    seq: u64,
    offset: u64,
    buffer: Vec<u8>,
    pieces: Vec<Piece>,
    holes_before: u64,
    old: Vec<(u64, u64, Id)>,
}

/// The result of one step.
pub enum Next {
    /// A batch to store, and the reader, unless the reader waits in its file.
    Batch(Option<Batch>, Option<Box<Reader>>),
    /// The file is complete.
    Finished(Finished),
    /// Nothing to do.
    Nothing,
}

/// A file that was read to its end.
pub struct Finished {
    /// Reader, for a final check of the file.
    pub reader: Box<Reader>,
    pub content: Content,
    /// Number of bytes that were read.
    pub size: u64,
    /// Chunker that was used.
    pub chunker: Chunker,
}

impl Reader {
    /// Creates a reader of the file `name` in `dir`. The reader uses the descriptor of `dir` until
    /// it opens the file.
    pub fn new(stat: Stat, dir: Arc<Dir>, slot: usize, name: &[u8], old: Option<OldFile>) -> Self {
        Self {
            name: name.to_vec(),
            fd: None,
            stat,
            file: None,
            dir,
            slot,
            old,
            cursor: None,
            buffer: Vec::new(),
            held: 0,
            pos: 0,
            seq: 0,
            attempt: 1,
            previous: None,
        }
    }

    /// Starts reading the file again from its start. The second attempt reads no further than the
    /// first, because a file that only grows then has the same content.
    pub fn again(self, previous: Content) -> io::Result<Self> {
        let mut stat = self.look()?;
        if self.attempt == 1 {
            stat.size = stat.size.min(self.stat.size);
        }
        let mut next = Self::new(stat, self.dir, self.slot, &self.name, self.old);
        next.fd = self.fd;
        next.attempt = self.attempt + 1;
        next.previous = Some(previous);
        Ok(next)
    }

    /// Returns the directory and the slot that wait for this file.
    pub fn place(&self) -> (&Arc<Dir>, usize) {
        (&self.dir, self.slot)
    }

    /// Returns the current stat of the file.
    pub fn look(&self) -> io::Result<Stat> {
        match &self.fd {
            Some((fd, _)) => stat_at(fd.as_fd(), b""),
            None => Err(io::Error::other("the file is not open")),
        }
    }

    /// Opens the file, if it is still the file that was listed.
    fn open(&mut self) -> Result<(), ReadError> {
        if self.fd.is_some() {
            return Ok(());
        }
        let open = || -> io::Result<OwnedFd> {
            let dir = self
                .dir
                .fd()
                .ok_or_else(|| io::Error::other("the directory is closed"))?;
            let fd = open_file(dir.as_fd(), &self.name)?;
            let now = stat_at(fd.as_fd(), b"")?;
            // The name may lead to another file by now.
            if (now.dev, now.ino) == (self.stat.dev, self.stat.ino) {
                Ok(fd)
            } else {
                Err(io::ErrorKind::NotFound.into())
            }
        };
        let opened = open();
        // Release the directory also after an error, because its descriptor would stay open.
        self.dir.release();
        let fd = opened.map_err(|e| self.failed(e))?;
        let once = IoMode::in_pieces(&fd);
        self.fd = Some((fd, once));
        Ok(())
    }

    fn failed(&self, e: io::Error) -> ReadError {
        ReadError::File(Arc::clone(&self.dir), self.slot, e)
    }

    /// Reads the next part of the file and divides it into chunks.
    pub fn step(
        mut self: Box<Self>,
        out: &Output<'_>,
        buffers: &Buffers,
    ) -> Result<Next, ReadError> {
        self.open()?;
        if self.buffer.is_empty() {
            self.buffer = buffers.take();
        }
        let mut holes_before = 0;
        // The first bytes are read even in a hole, because they determine the chunker.
        if self.held == 0 && self.file.is_some() {
            holes_before = self.skip_hole()?;
        }
        let offset = self.pos - self.held as u64;
        self.fill()?;
        let file = match &self.file {
            Some(file) => Arc::clone(file),
            None => {
                let file = Arc::new(self.begin(out));
                self.file = Some(Arc::clone(&file));
                file
            }
        };
        let last = self.pos >= self.stat.size;
        let mut pieces = Vec::new();
        let used = cut(
            out.repo().chunker(),
            file.chunker,
            &self.buffer[..self.held],
            offset,
            last,
            &mut pieces,
        );
        let batch = if pieces.is_empty() && holes_before == 0 {
            None
        } else {
            // The batch takes the buffer, so the bytes after the last boundary move to another one.
            let mut rest = buffers.take();
            let left = self.held - used;
            rest[..left].copy_from_slice(&self.buffer[used..self.held]);
            self.held = left;
            let buffer = std::mem::replace(&mut self.buffer, rest);
            let shift = file.shift.load(Ordering::Relaxed);
            let old = match &mut self.cursor {
                // An unreadable old version is not used as a base for deltas.
                Some(cursor) => cursor
                    .window(out, offset, used as u64, shift)
                    .unwrap_or_default(),
                None => Vec::new(),
            };
            let seq = self.seq;
            self.seq += 1;
            Some(Batch {
                file: Arc::clone(&file),
                seq,
                offset,
                buffer,
                pieces,
                holes_before,
                old,
            })
        };
        let mut state = file.lock();
        state.under_way += usize::from(batch.is_some());
        if last && self.held == 0 {
            buffers.give(std::mem::take(&mut self.buffer));
            // The thread that completes the last batch finishes the file.
            state.end = Some(self);
            if state.under_way == 0 {
                return finish(&file, state, out);
            }
            return Ok(Next::Batch(batch, None));
        }
        if state.under_way >= AHEAD {
            // The next thread that completes a batch of the file continues the reader.
            state.waiting = Some(self);
            return Ok(Next::Batch(batch, None));
        }
        drop(state);
        Ok(Next::Batch(batch, Some(self)))
    }

    /// Selects the chunker from the first bytes, and opens the chunks of the previous version as
    /// bases for deltas.
    fn begin(&mut self, out: &Output<'_>) -> LargeFile {
        let head = &self.buffer[..self.held.min(sniff::HEAD)];
        let chunker = out.repo().chunker().choose(head, self.stat.size);
        self.cursor = match &self.old {
            Some(old) if out.sink().is_some() => Some(OldCursor {
                content: old.content.clone(),
                at: 0,
                window: Vec::new(),
                size: old.size,
            }),
            _ => None,
        };
        LargeFile {
            dir: Arc::clone(&self.dir),
            slot: self.slot,
            chunker,
            state: Mutex::new(State {
                under_way: 0,
                waiting: None,
                next: 0,
                done: BTreeMap::new(),
                builder: ListBuilder::default(),
                end: None,
            }),
            shift: AtomicI64::new(0),
        }
    }

    /// Skips a hole that the file system reports, in whole blocks. Returns its length in bytes.
    fn skip_hole(&mut self) -> Result<u64, ReadError> {
        // A file without holes needs no system call. In others, a hole must begin at a block.
        if self.stat.blocks.saturating_mul(512) >= self.stat.size
            || !self.pos.is_multiple_of(BLOCK as u64)
        {
            return Ok(0);
        }
        let Some((fd, _)) = &self.fd else {
            return Ok(0);
        };
        let data = match rustix::fs::seek(fd, rustix::fs::SeekFrom::Data(self.pos)) {
            Ok(data) => data.min(self.stat.size),
            Err(rustix::io::Errno::NXIO) => self.stat.size,
            // The file system does not report holes, so the zeros are read.
            Err(_) => return Ok(0),
        };
        // A block that contains any data is not a hole, so its zeros are read.
        let to = if data == self.stat.size {
            data
        } else {
            data - data % BLOCK as u64
        };
        let skipped = to.saturating_sub(self.pos);
        self.pos += skipped;
        Ok(skipped)
    }

    /// Reads one step, or less so that the position is a multiple of the block size or the end of
    /// the file.
    fn fill(&mut self) -> Result<(), ReadError> {
        let into = self.pos % BLOCK as u64;
        let want = (STEP as u64 - into).min(self.stat.size.saturating_sub(self.pos));
        let mut want = usize::try_from(want).unwrap_or(STEP);
        while want > 0 {
            let space = &mut self.buffer[self.held..self.held + want];
            let Some((fd, once)) = &mut self.fd else {
                return Ok(());
            };
            match once.read_at(&*fd, space, self.pos) {
                Ok(0) => {
                    // The file has become shorter, so it ends here.
                    self.stat.size = self.pos;
                    return Ok(());
                }
                Ok(n) => {
                    self.held += n;
                    self.pos += n as u64;
                    want -= n;
                }
                Err(e) => return Err(self.failed(e)),
            }
        }
        Ok(())
    }
}

/// The error of a step.
pub enum ReadError {
    /// The file is unreadable; the walk continues.
    File(Arc<Dir>, usize, io::Error),
    /// The repository is unreadable or cannot be written.
    Repository(crate::error::Error),
}

impl<E: Into<crate::error::Error>> From<E> for ReadError {
    fn from(e: E) -> Self {
        Self::Repository(e.into())
    }
}

impl LargeFile {
    fn lock(&self) -> parking_lot::MutexGuard<'_, State> {
        self.state.lock()
    }
}

fn finish(
    file: &Arc<LargeFile>,
    mut state: parking_lot::MutexGuard<'_, State>,
    out: &Output<'_>,
) -> Result<Next, ReadError> {
    let Some(reader) = state.end.take() else {
        return Ok(Next::Nothing);
    };
    let content = std::mem::take(&mut state.builder).finish(out)?;
    let size = reader.stat.size;
    Ok(Next::Finished(Finished {
        reader,
        content,
        size,
        chunker: file.chunker,
    }))
}

impl Batch {
    /// Hashes the chunks and stores the new ones. Returns the number of bytes, and the next work:
    /// the complete file after its last batch, or its waiting reader.
    pub fn run(self, out: &Output<'_>, buffers: &Buffers) -> Result<(u64, Next), ReadError> {
        let class = if matches!(self.file.chunker, Chunker::Fixed(_)) {
            Class::Pages
        } else {
            Class::Plain
        };
        let mut extents = Vec::with_capacity(self.pieces.len() + 1);
        if self.holes_before > 0 {
            extents.push(Extent {
                len: self.holes_before,
                chunk: None,
            });
        }
        let mut gather = Gather::new(ObjectKind::Chunk);
        let mut at = self.offset;
        for piece in &self.pieces {
            let len = match piece {
                Piece::Hole(len) => {
                    extents.push(Extent {
                        len: *len,
                        chunk: None,
                    });
                    *len
                }
                Piece::Chunk(range) => {
                    let bytes = &self.buffer[range.clone()];
                    let id = out.repo().ids().id(ObjectKind::Chunk, bytes);
                    extents.push(Extent {
                        len: bytes.len() as u64,
                        chunk: Some(id),
                    });
                    self.store(out, class, &mut gather, id, bytes, at)?;
                    bytes.len() as u64
                }
            };
            at += len;
        }
        if let Some(sink) = out.sink() {
            Packer::with(|p| p.chunks(sink, class, &gather))?;
        }
        let Self {
            file,
            seq,
            buffer,
            offset,
            holes_before,
            ..
        } = self;
        buffers.give(buffer);
        let mut state = file.lock();
        state.done.insert(seq, extents);
        while let Some(ready) = {
            let next = state.next;
            state.done.remove(&next)
        } {
            for extent in ready {
                state.builder.push(extent, out)?;
            }
            state.next += 1;
        }
        state.under_way -= 1;
        let done = at - offset + holes_before;
        if let Some(reader) = state.waiting.take() {
            return Ok((done, Next::Batch(None, Some(reader))));
        }
        if state.under_way == 0 && state.end.is_some() {
            return Ok((done, finish(&file, state, out)?));
        }
        Ok((done, Next::Nothing))
    }

    fn store(
        &self,
        out: &Output<'_>,
        class: Class,
        gather: &mut Gather,
        id: Id,
        bytes: &[u8],
        at: u64,
    ) -> Result<()> {
        // Bytes that were inserted or removed move all later chunks. The last chunk that both
        // versions have shows by how much.
        if let Some(known) = self.old.iter().find(|o| o.2 == id) {
            let shift = i64::try_from(known.0).unwrap_or(0) - i64::try_from(at).unwrap_or(0);
            self.file.shift.store(shift, Ordering::Relaxed);
        }
        if !out.claim_chunk(&id, bytes.len())? {
            return Ok(());
        }
        let Some(sink) = out.sink() else {
            return Ok(());
        };
        let shift = self.file.shift.load(Ordering::Relaxed);
        if let Some(base) = replaced(
            &self.old,
            at.saturating_add_signed(shift),
            bytes.len() as u64,
        ) && Packer::with(|p| p.delta(sink, out.repo(), &base, id, bytes))?
        {
            return Ok(());
        }
        if class == Class::Pages {
            // Pages are read in random order, so each page gets its own frame.
            let len = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
            return Packer::with(|p| p.whole(sink, class, bytes, &[(id, len)]));
        }
        match gather.add(id, bytes) {
            Some(full) => Packer::with(|p| p.chunks(sink, class, &full)),
            None => Ok(()),
        }
    }
}

/// Returns the old chunk that overlaps most with the range.
pub(in crate::snapshot) fn replaced(old: &[(u64, u64, Id)], at: u64, len: u64) -> Option<Id> {
    let overlap = |o: &(u64, u64, Id)| (o.0 + o.1).min(at + len).saturating_sub(o.0.max(at));
    old.iter()
        .filter(|o| overlap(o) > 0)
        .max_by_key(|o| overlap(o))
        .map(|o| o.2)
}

/// Finds the chunks of the previous version as the new one is read.
struct OldCursor {
    content: Content,
    size: u64,
    at: u64,
    window: Vec<(u64, u64, Id)>,
}

impl OldCursor {
    /// Returns the old chunks around a part of the new file.
    fn window(
        &mut self,
        out: &Output<'_>,
        offset: u64,
        len: u64,
        shift: i64,
    ) -> Result<Vec<(u64, u64, Id)>> {
        // The shift changes within the part if bytes were inserted or removed there.
        const MARGIN: u64 = 512 << 10;
        let from = offset.saturating_add_signed(shift).saturating_sub(MARGIN);
        let to = offset
            .saturating_add(len)
            .saturating_add_signed(shift)
            .saturating_add(MARGIN)
            .min(self.size);
        self.window.retain(|o| o.0 + o.1 > from);
        if self.at < to {
            let (start, mut extents) = out.repo().extents_at(&self.content, self.at)?;
            self.at = start;
            while self.at < to {
                let Some(extent) = extents.next().transpose()? else {
                    break;
                };
                if let Some(id) = extent.chunk
                    && self.at + extent.len > from
                {
                    self.window.push((self.at, extent.len, id));
                }
                self.at += extent.len;
            }
        }
        Ok(self.window.clone())
    }
}
