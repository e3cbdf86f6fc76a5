//! The bytes of one file: those of its version, and over them what was written, in blocks.
//!
//! Up to `kept` the file is the version's, but for the blocks in `local`, which the upper file holds whole; behind that
//! all is the upper file's. So a write fetches at most the rest of its first and last block. While a version is being
//! made, what it takes is preserved: see `frozen`.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};
use rustix::fs::FallocateFlags;

use super::errno::{Answer, Errno};
use super::inode::Allocated;
use super::lower::Lower;
use super::space::Space;
use super::state::{BLOCK, Base, Facts, State, blocks};
use super::sums::Sums;
use crate::model::entry::{Chunker, Content};
use crate::sys::io_error::IoError;

mod checked;
mod kept;
mod kernel;
mod seal;

pub(super) use checked::Written;
pub use seal::{Seal, Spare};

/// No file is longer; the kernel counts in signed numbers.
const SIZE_MAX: u64 = i64::MAX as u64;

/// A file of a mount.
#[derive(Debug)]
pub struct Data {
    ino: u64,
    space: Arc<Space>,
    state: RwLock<State>,
    /// Held by whoever changes bytes.
    writing: Mutex<()>,
    /// Something was written that is not known to be on disk.
    unsynced: AtomicBool,
    /// Counts changes of the upper file, because each can change the space that it takes.
    touches: AtomicU64,
    /// Bytes that the upper file took at a count of [`Self::touches`]: every answer with attributes states them, and asking
    /// the file system below each time made `stat` 1.2 times slower.
    taken: Mutex<Option<(u64, u64)>>,
    /// Held by whoever brings it there, so that nobody takes it for there before.
    syncing: Mutex<()>,
    /// The length of the upper file is not known to be on disk, so nothing may rely on it.
    unsettled: AtomicBool,
    /// The store knows something else of it.
    news: AtomicBool,
    /// It is of a version that is not shown any more.
    dead: AtomicBool,
    /// How it is read.
    reading: Mutex<kernel::Reading>,
    /// Open files by which the kernel writes to the upper file by itself.
    direct_writers: AtomicU64,
    /// Whether the kernel has ever written to the upper file by itself: a mapping can do so after the file is closed.
    was_handed_over: AtomicBool,
    /// The store has checksums of it as it is on disk; they go before anything of it changes.
    sealed: AtomicBool,
    /// Open files by which it only reads that by itself.
    direct_readers: AtomicU64,
    /// The kernel was given bytes to keep since the file is open.
    cached: AtomicBool,
}

/// A stretch of a file and where it is.
enum Piece {
    Upper(Range<u64>),
    Base(Arc<Base>, Range<u64>),
}

/// What a range is made of, and what is needed to read it.
struct Seen {
    pieces: Vec<Piece>,
    upper: Option<Arc<File>>,
    sums: Arc<Sums>,
    size: u64,
}

fn pieces(state: &State, offset: u64, len: usize) -> Vec<Piece> {
    let end = offset.saturating_add(len as u64).min(state.size);
    let mut out = Vec::new();
    let mut at = offset;
    while at < end {
        match &state.base {
            Some(base) if at < state.kept => {
                let (local, until) = state.local.run(&(at / BLOCK..end.min(state.kept).div_ceil(BLOCK)));
                let until = (until * BLOCK).min(end).min(state.kept);
                out.push(match local {
                    true => Piece::Upper(at..until),
                    false => Piece::Base(Arc::clone(base), at..until),
                });
                at = until;
            }
            _ => {
                out.push(Piece::Upper(at..end));
                at = end;
            }
        }
    }
    out
}

impl Data {
    /// A file in a state.
    pub fn new(ino: u64, space: Arc<Space>, state: State) -> Self {
        let (unsynced, unsettled) = (AtomicBool::new(false), AtomicBool::new(false));
        Self {
            ino,
            space,
            state: RwLock::new(state),
            writing: Mutex::default(),
            unsynced,
            touches: AtomicU64::new(0),
            taken: Mutex::default(),
            syncing: Mutex::default(),
            unsettled,
            news: AtomicBool::new(false),
            dead: AtomicBool::new(false),
            reading: Mutex::default(),
            direct_writers: AtomicU64::new(0),
            was_handed_over: AtomicBool::new(false),
            sealed: AtomicBool::new(false),
            direct_readers: AtomicU64::new(0),
            cached: AtomicBool::new(false),
        }
    }

    fn get(&self) -> RwLockReadGuard<'_, State> {
        self.state.read()
    }

    fn set(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write()
    }

    fn alone(&self) -> MutexGuard<'_, ()> {
        self.writing.lock()
    }

    /// The right to change the file, with its length as the kernel may have changed it.
    fn changing(&self) -> MutexGuard<'_, ()> {
        let alone = self.alone();
        self.learn();
        alone
    }

    /// Its length in bytes.
    pub fn size(&self) -> u64 {
        self.get().size
    }

    /// How much of it is no hole: what the upper file takes, and what the version has of the rest.
    pub fn allocated(&self) -> Allocated {
        let (upper, has_upper, base, kept, local) = {
            let state = self.get();
            let local = if state.is_complete() { state.kept } else { (state.local.total() * BLOCK).min(state.kept) };
            (state.upper.clone(), state.has_upper, state.base.clone(), state.kept, local)
        };
        let touches = self.touches.load(Ordering::Acquire);
        let known = *self.taken.lock();
        let more = match known {
            // The kernel's own writes are not counted, but `Names::attr` learns of them, and of the space, before it asks.
            Some((at, bytes)) if at == touches => bytes,
            _ => {
                let found = match upper {
                    Some(upper) => upper.metadata(),
                    None if has_upper => std::fs::metadata(self.space.path(self.ino)),
                    None => Err(io::ErrorKind::NotFound.into()),
                };
                found.map_or(0, |meta| self.note_taken(touches, &meta))
            }
        };
        match base {
            Some(base) if local < kept => Allocated::of(&base.content, kept, local, more),
            _ => Allocated::Bytes(more),
        }
    }

    /// Notes the space that the upper file took at a count of changes; a later change makes the note void. Returns bytes.
    fn note_taken(&self, touches: u64, meta: &std::fs::Metadata) -> u64 {
        let bytes = meta.blocks() * 512;
        *self.taken.lock() = Some((touches, bytes));
        bytes
    }

    /// Notes that the upper file changed: it is not on disk as it is now, and may take another amount of space.
    fn touch(&self) {
        self.touches.fetch_add(1, Ordering::AcqRel);
        self.unsynced.store(true, Ordering::Release);
    }

    /// What the store keeps of it.
    pub fn facts(&self) -> Facts {
        let state = self.get();
        Facts {
            base: state.base.clone(),
            kept: state.kept,
            size: state.size,
            has_upper: state.has_upper,
            // What a version takes that is not made yet is in none.
            changed: state.changed || state.frozen.is_some(),
            complete: state.has_upper && state.is_complete() && !self.unsynced.load(Ordering::Acquire),
        }
    }

    /// Whether all bytes are in the upper file, or there are none of a version.
    pub fn is_complete(&self) -> bool {
        self.get().is_complete()
    }

    /// Whether it is a file of the version just as it is there.
    pub fn is_as_in(&self, size: u64, chunker: Chunker, content: &Content) -> bool {
        let state = self.get();
        let whole = !state.changed && state.frozen.is_none() && state.lost.is_none() && state.dirty.is_empty();
        let same = |base: &Base| (base.size, base.chunker, &base.content) == (size, chunker, content);
        whole && state.kept == size && state.size == size && state.base.as_deref().is_some_and(same)
    }

    /// Keeps what it is for those that have it open: nothing is written to it any more.
    pub fn retire(&self) {
        self.dead.store(true, Ordering::Release);
    }

    /// Notes that the kernel was given bytes to keep.
    pub fn note_cached(&self) {
        if !self.cached.load(Ordering::Relaxed) {
            self.cached.store(true, Ordering::Relaxed);
        }
    }

    /// Whether the kernel was given bytes to keep since the file is open.
    pub fn is_cached(&self) -> bool {
        self.cached.load(Ordering::Relaxed)
    }

    /// Whether it differs from the last commit.
    pub fn is_changed(&self) -> bool {
        self.get().changed
    }

    /// Whether there is an upper file, and why it cannot be used if it is damaged.
    pub fn found(&self) -> (bool, Option<String>) {
        let state = self.get();
        (state.has_upper, state.lost.as_ref().map(ToString::to_string))
    }

    /// The inode.
    pub fn ino(&self) -> u64 {
        self.ino
    }

    /// Whether a read needs bytes of the version that are not in the entry itself.
    pub fn needs_base(&self, offset: u64, len: usize) -> bool {
        pieces(&self.get(), offset, len)
            .iter()
            .any(|p| matches!(p, Piece::Base(base, _) if !matches!(base.content, Content::Inline(_))))
    }

    /// What a range is made of, with the upper file if there is one that can be used.
    fn look(&self, offset: u64, len: usize) -> io::Result<Seen> {
        let seen = |state: &State, upper| Seen {
            pieces: pieces(state, offset, len),
            upper,
            sums: Arc::clone(&state.sums),
            size: state.size,
        };
        {
            let state = self.get();
            if state.upper.is_some() || !state.has_upper || state.lost.is_some() {
                return Ok(seen(&state, state.upper.clone().filter(|_| state.lost.is_none())));
            }
        }
        self.open_upper()?;
        let state = self.get();
        Ok(seen(&state, state.upper.clone()))
    }

    /// Reads up to `out.len()` bytes; fewer only at the end of the file.
    pub fn read(&self, lower: &Lower, offset: u64, out: &mut [u8]) -> crate::error::Result<usize> {
        let seen = self.look(offset, out.len()).map_err(|e| self.failed("open", e))?;
        let mut done = 0;
        for piece in &seen.pieces {
            let (Piece::Upper(range) | Piece::Base(_, range)) = &piece;
            let len = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
            let slot = &mut out[done..done + len];
            match (piece, &seen.upper) {
                (Piece::Upper(range), Some(file)) => {
                    let written = Written { file, sums: &seen.sums, size: seen.size };
                    if let Err(e) = self.read_upper(&written, range.start, slot) {
                        self.read_instead(lower, range, slot).ok_or(e)??;
                    }
                }
                (Piece::Upper(_), None) => match self.is_lost(&self.get()) {
                    Some(e) => return Err(e.into()),
                    // Nothing was written: it was only made longer.
                    None => slot.fill(0),
                },
                (Piece::Base(base, range), _) => lower.read(&base.content, range.start, slot)?,
            }
            done += len;
        }
        Ok(done)
    }

    /// Reads from the version what the upper file only holds a copy of, which is damaged; `None` where that is no copy.
    fn read_instead(&self, lower: &Lower, range: &Range<u64>, out: &mut [u8]) -> Option<crate::error::Result<()>> {
        let _alone = self.alone();
        let base = {
            let mut state = self.set();
            if !Self::is_spare(&state, range) {
                return None;
            }
            state.local.remove(blocks(range));
            state.base.clone()?
        };
        Some(lower.read(&base.content, range.start, out))
    }

    fn failed(&self, what: &'static str, source: io::Error) -> crate::error::Error {
        IoError::new(what, self.space.path(self.ino), source).into()
    }

    /// The upper file, opened or made.
    fn open_upper(&self) -> io::Result<Arc<File>> {
        if let Some(upper) = &self.get().upper {
            return Ok(Arc::clone(upper));
        }
        let mut state = self.set();
        if let Some(upper) = &state.upper {
            return Ok(Arc::clone(upper));
        }
        let file = Arc::new(match state.has_upper {
            true => self.space.open(self.ino)?,
            false => {
                let file = self.space.create(self.ino)?;
                if state.size > 0 {
                    file.set_len(state.size)?;
                }
                file
            }
        });
        if !state.has_upper {
            state.has_upper = true;
            self.touch();
            self.unsettled.store(true, Ordering::Release);
            self.news.store(true, Ordering::Release);
        }
        state.upper = Some(Arc::clone(&file));
        Ok(file)
    }

    /// Closes the upper file until somebody needs it again.
    pub fn close_upper(&self) {
        let touches = self.touches.load(Ordering::Acquire);
        let upper = self.set().upper.take();
        // By its descriptor, which is cheaper than by its path later.
        if let Some(meta) = upper.and_then(|upper| upper.metadata().ok()) {
            self.note_taken(touches, &meta);
        }
    }

    /// The upper file of a file that may be written.
    fn open_to_write(&self) -> Answer<Arc<File>> {
        if self.dead.load(Ordering::Acquire) {
            return Err(Errno::STALE);
        }
        if self.get().lost.is_some() {
            return Err(Errno::IO);
        }
        Ok(self.open_upper()?)
    }

    /// Whether the store knows something else of it; it is taken for told then.
    pub fn take_news(&self) -> bool {
        self.news.swap(false, Ordering::AcqRel)
    }

    fn changes(&self, state: &mut State) {
        if !std::mem::replace(&mut state.changed, true) {
            self.news.store(true, Ordering::Release);
        }
    }

    /// Writes bytes. Only a full disk, a quota or a store that cannot be read make it fail; the file is then as before,
    /// or has some of them.
    pub fn write(&self, lower: &Lower, offset: u64, bytes: &[u8]) -> Answer<()> {
        let end = offset.checked_add(bytes.len() as u64).filter(|end| *end <= SIZE_MAX).ok_or(Errno::FBIG)?;
        let _alone = self.changing();
        self.space.check()?;
        let upper = self.open_to_write()?;
        let range = offset..end;
        self.preserve(&range)?;
        self.check_edges(&upper, &range)?;
        self.fill_edges(lower, &upper, &range)?;
        self.touch();
        if let Err(e) = upper.write_all_at(bytes, offset) {
            self.failed_write(&upper, &range);
            return Err(e.into());
        }
        self.written(&upper, &range);
        self.note_sums(&upper, &range, Some(bytes));
        let mut state = self.set();
        state.size = state.size.max(end);
        Ok(())
    }

    /// After a write of which nobody knows how much was done.
    fn failed_write(&self, upper: &File, range: &Range<u64>) {
        self.cut_off(upper);
        let mut state = self.set();
        state.sums.forget(&blocks(range));
        self.changes(&mut state);
        // Blocks that the upper file had before may be others now; what it did not have counts as not written.
        let mut at = range.start / BLOCK;
        let end = range.end.div_ceil(BLOCK);
        while at < end {
            let (local, until) = state.local.run(&(at..end));
            if local {
                state.mark(&(at * BLOCK..until * BLOCK));
            }
            at = until;
        }
        if let Some(frozen) = &state.frozen {
            frozen.changed(blocks(range));
        }
        self.touch();
    }

    /// What lies behind the end must read as zeros when the file grows.
    fn cut_off(&self, upper: &File) {
        let size = self.get().size;
        if upper.metadata().is_ok_and(|m| m.len() > size) {
            let _ = upper.set_len(size);
            self.touches.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Notes that a range is in the upper file.
    fn written(&self, upper: &File, range: &Range<u64>) {
        let mut state = self.set();
        self.changes(&mut state);
        if let Some(frozen) = &state.frozen {
            frozen.changed(blocks(range));
        }
        state.mark(range);
        // A sync that came before the bytes has not made them durable.
        self.touch();
        self.account(upper, &mut state);
    }

    fn account(&self, upper: &File, state: &mut State) {
        if self.space.limit_bytes().is_some()
            && let Ok(meta) = upper.metadata()
        {
            let now = meta.blocks() * 512;
            self.space.count(std::mem::replace(&mut state.counted, now), now);
        }
    }

    /// Whether a write needs bytes of the version.
    pub fn lacks_edges(&self, offset: u64, len: usize) -> bool {
        let state = self.get();
        let range = offset..offset.saturating_add(len as u64);
        state.base.as_ref().is_some_and(|b| !matches!(b.content, Content::Inline(_)))
            && state.edges(&range).any(|_| true)
    }

    /// Brings the rest of the first and last block of a write into the upper file.
    fn fill_edges(&self, lower: &Lower, upper: &File, range: &Range<u64>) -> Answer<()> {
        let (base, edges) = {
            let state = self.get();
            let Some(base) = state.base.clone() else { return Ok(()) };
            (base, state.edges(range).collect::<Vec<_>>())
        };
        let fill = |span: Range<u64>| -> Answer<()> {
            let mut bytes = vec![0; usize::try_from(span.end - span.start).unwrap_or(0)];
            lower.read(&base.content, span.start, &mut bytes).map_err(|e| Errno::from(&e))?;
            Ok(upper.write_all_at(&bytes, span.start)?)
        };
        let filled = edges.into_iter().try_for_each(fill);
        if filled.is_err() {
            self.get().sums.forget(&blocks(range));
        }
        filled
    }

    /// Saves what a version that is being made needs of a range, before it changes.
    fn preserve(&self, range: &Range<u64>) -> Answer<()> {
        let frozen = self.get().frozen.clone();
        Ok(frozen.map_or(Ok(()), |frozen| frozen.before_change(range))?)
    }

    /// Leaves the upper file to the version that is being made, and takes an empty one.
    fn put_aside(&self) -> Answer<()> {
        let Some(frozen) = self.get().frozen.clone() else { return Ok(()) };
        frozen.keep_upper()?;
        let file = self.space.replace(self.ino)?;
        let mut state = self.set();
        state.upper = Some(Arc::new(file));
        self.touches.fetch_add(1, Ordering::AcqRel);
        state.sums = Arc::new(if state.sums.is_blind() { Sums::blind() } else { Sums::default() });
        Ok(())
    }

    /// Begins a damaged file that is emptied anew: nothing of it is needed any more.
    fn begin_again(&self) -> Answer<()> {
        if self.get().lost.is_none() {
            return Ok(());
        }
        let file = self.space.create(self.ino)?;
        let mut state = self.set();
        file.set_len(state.size)?;
        state.upper = Some(Arc::new(file));
        self.touches.fetch_add(1, Ordering::AcqRel);
        state.sums = Arc::new(if state.sums.is_blind() { Sums::blind() } else { Sums::default() });
        state.lost = None;
        Ok(())
    }

    /// Sets the length.
    pub fn set_size(&self, lower: &Lower, size: u64) -> Answer<()> {
        if size > SIZE_MAX {
            return Err(Errno::FBIG);
        }
        let _alone = self.changing();
        let before = self.get().size;
        if size == before {
            return Ok(());
        }
        if size == 0 {
            self.begin_again()?;
        }
        self.open_to_write()?;
        // What the kernel uses by itself stays the upper file: what it would write to another one were lost.
        if size == 0 && !self.is_shared() {
            self.put_aside()?;
        }
        self.preserve(&(size..before))?;
        let upper = self.open_upper()?;
        if size < before && !size.is_multiple_of(BLOCK) {
            // The block of the new end is cut where the file is: what it held behind is zeros from now on.
            let rest = size..(size.div_ceil(BLOCK) * BLOCK).min(before);
            self.check_edges(&upper, &rest)?;
            self.fill_edges(lower, &upper, &rest)?;
            self.set().mark(&rest);
        }
        self.touch();
        self.unsettled.store(true, Ordering::Release);
        upper.set_len(size)?;
        if size < before {
            self.note_cut(&upper, size);
        }
        let mut state = self.set();
        if let Some(frozen) = &state.frozen {
            frozen.cut(size);
        }
        self.changes(&mut state);
        self.touch();
        self.unsettled.store(true, Ordering::Release);
        self.account(&upper, &mut state);
        state.size = size;
        if size < state.kept {
            state.kept = size;
            self.news.store(true, Ordering::Release);
            let gone = size.div_ceil(BLOCK)..u64::MAX;
            state.local.remove(gone.clone());
            state.dirty.remove(gone.clone());
            state.noted.remove(gone.clone());
            state.fresh.retain(|r| r.start < gone.start);
            state.fresh.iter_mut().for_each(|r| r.end = r.end.min(gone.start));
        }
        Ok(())
    }

    /// Zeros for a range, without space; the length stays.
    pub fn punch(&self, lower: &Lower, range: Range<u64>) -> Answer<()> {
        let _alone = self.changing();
        let size = self.get().size;
        let range = range.start.min(size)..range.end.min(size);
        if range.is_empty() {
            return Ok(());
        }
        let upper = self.open_to_write()?;
        self.preserve(&range)?;
        self.check_edges(&upper, &range)?;
        self.fill_edges(lower, &upper, &range)?;
        self.touch();
        let emptied = empty(&upper, &range);
        if emptied.is_err() {
            self.get().sums.forget(&blocks(&range));
        }
        emptied?;
        self.written(&upper, &range);
        self.note_sums(&upper, &range, None);
        Ok(())
    }

    /// Makes sure that a range has space, as far as it is the upper file's; `grow`: the file reaches to its end then.
    pub fn reserve(&self, range: &Range<u64>, grow: bool) -> Answer<()> {
        let _alone = self.changing();
        self.space.check()?;
        if range.end > SIZE_MAX {
            return Err(Errno::FBIG);
        }
        let upper = self.open_to_write()?;
        let (size, kept) = (self.get().size, self.get().kept);
        let own = range.start.max(kept.div_ceil(BLOCK) * BLOCK)..range.end;
        self.space.check_for(own.end.saturating_sub(own.start.max(size)))?;
        if !own.is_empty() {
            self.touch();
            let flags = if grow { FallocateFlags::empty() } else { FallocateFlags::KEEP_SIZE };
            match rustix::fs::fallocate(&*upper, flags, own.start, own.end - own.start) {
                Err(rustix::io::Errno::OPNOTSUPP) => {}
                Err(e) => {
                    self.cut_off(&upper);
                    return Err(e.into());
                }
                Ok(()) => {}
            }
        }
        if grow && range.end > size {
            upper.set_len(range.end)?;
            let mut state = self.set();
            state.size = range.end;
            self.changes(&mut state);
            self.touch();
        }
        self.account(&upper, &mut self.set());
        Ok(())
    }

    /// The next byte of data, or of a hole, from `offset` on.
    pub fn seek(&self, lower: &Lower, offset: u64, data: bool) -> Answer<u64> {
        self.catch_up();
        let size = self.size();
        if offset >= size {
            return Err(Errno::NXIO);
        }
        let whole = usize::try_from(size - offset).unwrap_or(usize::MAX);
        if self.get().lost.is_some() {
            return Err(Errno::IO);
        }
        let seen = self.look(offset, whole)?;
        for piece in &seen.pieces {
            let (mut at, end) = match piece {
                Piece::Upper(range) | Piece::Base(_, range) => (range.start, range.end),
            };
            while at < end {
                let (hole, until) = match piece {
                    Piece::Base(base, _) => lower.is_hole(&base.content, &(at..end)).map_err(|e| Errno::from(&e))?,
                    Piece::Upper(..) => match &seen.upper {
                        None => (true, end),
                        Some(file) => upper_run(file, at, end)?,
                    },
                };
                if hole != data {
                    return Ok(at);
                }
                at = until;
            }
        }
        if data { Err(Errno::NXIO) } else { Ok(size) }
    }
}

/// Reads from a file that may be shorter: what it does not have is zeros.
pub fn read_or_zeros(file: &File, mut out: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !out.is_empty() {
        match file.read_at(out, offset) {
            Ok(0) => {
                out.fill(0);
                break;
            }
            Ok(n) => {
                out = &mut out[n..];
                offset += n as u64;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Makes a range zeros, without space where the file system can.
fn empty(file: &File, range: &Range<u64>) -> io::Result<()> {
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    match rustix::fs::fallocate(file, flags, range.start, range.end - range.start) {
        Err(rustix::io::Errno::OPNOTSUPP) => zero(file, range),
        done => Ok(done?),
    }
}

fn zero(file: &File, range: &Range<u64>) -> io::Result<()> {
    let zeros = vec![0; 64 << 10];
    let mut at = range.start;
    while at < range.end {
        let n = (range.end - at).min(zeros.len() as u64);
        file.write_all_at(&zeros[..usize::try_from(n).unwrap_or(0)], at)?;
        at += n;
    }
    Ok(())
}

/// Whether a file has a hole at a byte, and where that, or the data there, ends.
fn upper_run(file: &File, at: u64, end: u64) -> Answer<(bool, u64)> {
    match rustix::fs::seek(file, rustix::fs::SeekFrom::Data(at)) {
        Ok(data) if data > at => Ok((true, data.min(end))),
        Ok(_) => Ok((false, rustix::fs::seek(file, rustix::fs::SeekFrom::Hole(at))?.min(end))),
        Err(rustix::io::Errno::NXIO) => Ok((true, end)),
        Err(e) => Err(e.into()),
    }
}
