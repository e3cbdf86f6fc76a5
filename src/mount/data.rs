//! The bytes of one file: those of its version, and over them what was written, in blocks.
//!
//! Up to `kept` the file is the version's, but for the blocks in `local`, which the upper file holds whole; behind that
//! all is the upper file's. So a write fetches at most the rest of its first and last block. While a version is being
//! made, what it takes is preserved: see `frozen`.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use rustix::fs::{FallocateFlags, Timespec, Timestamps};

use super::errno::{Answer, Errno};
use super::frozen::Frozen;
use super::lower::Lower;
use super::ranges::Ranges;
use crate::model::entry::{Chunker, Content, Time};

/// What is noted of writes is noted in blocks of so many bytes.
pub const BLOCK: u64 = 4096;
/// No file is longer; the kernel counts in signed numbers.
const SIZE_MAX: u64 = i64::MAX as u64;

/// The file of a version that a file of a mount is made of.
#[derive(Debug, PartialEq, Eq)]
pub struct Base {
    /// Its bytes.
    pub content: Content,
    /// Their number.
    pub size: u64,
    /// How it was cut.
    pub chunker: Chunker,
}

/// Where upper files lie, and how much they may take.
#[derive(Debug)]
pub struct Space {
    dir: PathBuf,
    used_bytes: AtomicU64,
    limit_bytes: Option<u64>,
}

impl Space {
    /// Upper files in `dir`.
    pub fn new(dir: PathBuf, limit_bytes: Option<u64>) -> Self {
        Self { dir, used_bytes: AtomicU64::new(0), limit_bytes }
    }

    /// Where the upper file of an inode is.
    pub fn path(&self, ino: u64) -> PathBuf {
        self.dir.join(format!("{:02x}", ino & 0xff)).join(format!("{ino:x}"))
    }

    /// The directory of all.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Bytes that upper files take, as far as they were counted.
    pub fn used_bytes(&self) -> u64 {
        self.used_bytes.load(Ordering::Relaxed)
    }

    /// The most that they may take.
    pub fn limit_bytes(&self) -> Option<u64> {
        self.limit_bytes
    }

    /// Counts what an upper file takes.
    pub fn count(&self, before: u64, now: u64) {
        if now >= before {
            self.used_bytes.fetch_add(now - before, Ordering::Relaxed);
        } else {
            let less = before - now;
            let _ =
                self.used_bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| Some(n.saturating_sub(less)));
        }
    }

    fn check(&self) -> Answer<()> {
        match self.limit_bytes {
            Some(limit) if self.used_bytes() >= limit => Err(Errno::NOSPC),
            _ => Ok(()),
        }
    }

    fn open(&self, ino: u64, create: bool) -> io::Result<File> {
        let path = self.path(ino);
        let open = |path: &Path| OpenOptions::new().read(true).write(true).create(create).truncate(false).open(path);
        match open(&path) {
            Err(e) if create && e.kind() == io::ErrorKind::NotFound => {
                fs::create_dir_all(path.parent().unwrap_or(&self.dir))?;
                open(&path)
            }
            file => file,
        }
    }
}

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
    /// The length of the upper file is not known to be on disk, so nothing may rely on it.
    unsettled: AtomicBool,
    /// The store does not know yet that there is an upper file.
    untold: AtomicBool,
    /// How it is read.
    reading: Mutex<Reading>,
    /// Open files by which the kernel writes to the upper file by itself.
    direct_writers: AtomicU64,
}

/// How a file is read: in order or not.
#[derive(Debug, Default)]
struct Reading {
    /// Where the next read in order would begin.
    next: u64,
    /// Up to where was asked for ahead.
    until: u64,
    /// How much is asked for ahead.
    window: u64,
}

/// Written blocks of a file that the store has to note.
#[derive(Debug, Default)]
pub struct Blocks {
    /// The blocks.
    pub ranges: Vec<Range<u64>>,
    /// Whether they are all.
    pub anew: bool,
}

/// What the store keeps of a file, its blocks not counted.
pub struct Facts {
    /// The version's file.
    pub base: Option<Arc<Base>>,
    /// Bytes of it that still count.
    pub kept: u64,
    /// Length now.
    pub size: u64,
    /// Whether there is an upper file.
    pub has_upper: bool,
    /// Whether it differs from the last commit.
    pub changed: bool,
    /// Whether all bytes are in the upper file.
    pub complete: bool,
}

/// What a file is made of.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// The version's file; `None`: all is in the upper file.
    pub base: Option<Arc<Base>>,
    /// Bytes of it that still count.
    pub kept: u64,
    /// Length now.
    pub size: u64,
    /// Blocks below `kept` that the upper file holds.
    pub local: Ranges,
    /// Those of them that were written.
    pub dirty: Ranges,
    /// Written blocks that the store does not know yet.
    fresh: Vec<Range<u64>>,
    /// What it knows of others is old.
    anew: bool,
    /// What of the file went into the upper file or away since the last version.
    pub changed: bool,
    upper: Option<Arc<File>>,
    has_upper: bool,
    counted: u64,
    frozen: Option<Arc<Frozen>>,
}

impl State {
    /// An untouched file.
    pub fn of(base: Arc<Base>) -> Self {
        Self { kept: base.size, size: base.size, base: Some(base), ..Self::default() }
    }

    /// A file as it was put down: with what was written of it.
    pub fn with_upper(base: Option<Arc<Base>>, kept: u64, size: u64, dirty: Ranges, changed: bool) -> Self {
        Self { base, kept, size, local: dirty.clone(), dirty, changed, has_upper: true, ..Self::default() }
    }

    /// A file as it was put down, with all of it in the upper file.
    pub fn with_all(self) -> Self {
        let mut local = Ranges::default();
        local.insert(0..self.kept.div_ceil(BLOCK));
        Self { local, ..self }
    }

    /// A new, empty file.
    pub fn empty() -> Self {
        Self { changed: true, ..Self::default() }
    }

    /// Notes that the upper file holds what was written to the blocks of a range.
    fn mark(&mut self, range: &Range<u64>) {
        let below = blocks(range);
        let below = below.start..below.end.min(self.kept.div_ceil(BLOCK));
        if !below.is_empty() {
            self.local.insert(below.clone());
            let fresh = self.dirty.insert(below);
            self.fresh.extend(fresh);
        }
    }

    /// The rest of the first and of the last block of a range, where the upper file does not hold it.
    fn edges(&self, range: &Range<u64>) -> impl Iterator<Item = Range<u64>> + '_ {
        let first = range.start - range.start % BLOCK..range.start.min(self.kept);
        let last = range.end..(range.end.div_ceil(BLOCK) * BLOCK).min(self.kept);
        let lacks = |at: u64| !self.local.covers(&(at / BLOCK..at / BLOCK + 1));
        [first, last].into_iter().filter(move |r| r.start < r.end && lacks(r.start))
    }

    /// Whether all bytes are in the upper file, or there are none of a version.
    fn is_complete(&self) -> bool {
        self.base.is_none() || self.has_upper && self.local.covers(&(0..self.kept.div_ceil(BLOCK)))
    }
}

/// A stretch of a file and where it is.
enum Piece {
    Upper(Option<Arc<File>>, Range<u64>),
    Base(Arc<Base>, Range<u64>),
}

fn blocks(range: &Range<u64>) -> Range<u64> {
    range.start / BLOCK..range.end.div_ceil(BLOCK)
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
            unsettled,
            untold: AtomicBool::new(false),
            reading: Mutex::default(),
            direct_writers: AtomicU64::new(0),
        }
    }

    fn get(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn alone(&self) -> MutexGuard<'_, ()> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its length in bytes.
    pub fn size(&self) -> u64 {
        self.get().size
    }

    /// What the store keeps of it.
    pub fn facts(&self) -> Facts {
        let state = self.get();
        Facts {
            base: state.base.clone(),
            kept: state.kept,
            size: state.size,
            has_upper: state.has_upper,
            changed: state.changed,
            // Only what a crash leaves there may be relied on.
            complete: state.has_upper && state.is_complete() && !self.unsynced.load(Ordering::Acquire),
        }
    }

    /// Whether all bytes are in the upper file, or there are none of a version.
    pub fn is_complete(&self) -> bool {
        self.get().is_complete()
    }

    /// The upper file for the kernel to use by itself, which needs all bytes in it. With `write` all of it is taken for
    /// changed from now on.
    pub fn hand_over(&self, write: bool, mtime: Time) -> io::Result<Arc<File>> {
        let upper = self.open_upper()?;
        let _alone = self.alone();
        if self.direct_writers.load(Ordering::Acquire) == 0 {
            // A later time says that something was written.
            let at = Timespec { tv_sec: mtime.secs, tv_nsec: i64::from(mtime.nanos) };
            rustix::fs::futimens(&*upper, &Timestamps { last_access: at, last_modification: at })?;
        }
        if write {
            self.direct_writers.fetch_add(1, Ordering::AcqRel);
            self.unsynced.store(true, Ordering::Release);
            let mut state = self.set();
            state.changed = true;
            let all = 0..state.kept;
            state.mark(&all);
        }
        Ok(upper)
    }

    /// Ends what [`Self::hand_over`] began for writing.
    pub fn take_back(&self) {
        self.catch_up();
        self.direct_writers.fetch_sub(1, Ordering::AcqRel);
    }

    /// Whether the kernel writes to the upper file by itself.
    pub fn is_handed_over(&self) -> bool {
        self.direct_writers.load(Ordering::Acquire) > 0
    }

    /// Learns the length of an upper file that the kernel writes to; its last change, where that is known.
    pub fn catch_up(&self) -> Option<Time> {
        if !self.is_handed_over() {
            return None;
        }
        let upper = self.open_upper().ok()?;
        let meta = upper.metadata().ok()?;
        self.unsynced.store(true, Ordering::Release);
        let mut state = self.set();
        state.size = meta.len();
        self.account(&upper, &mut state);
        Some(Time { secs: meta.mtime(), nanos: u32::try_from(meta.mtime_nsec()).unwrap_or(0) })
    }

    /// Brings up to so many bytes from `offset` on from the version into the upper file. Returns where to go on; `None`
    /// at the end.
    pub fn hydrate(&self, lower: &Lower, offset: u64, len: u64) -> crate::error::Result<Option<u64>> {
        let (base, absent, end) = {
            let state = self.get();
            let Some(base) = state.base.clone().filter(|_| offset < state.kept) else { return Ok(None) };
            let end = offset.saturating_add(len).min(state.kept);
            (base, state.local.absent(&(offset / BLOCK..end.div_ceil(BLOCK))), end)
        };
        for blocks in absent {
            let span = blocks.start * BLOCK..(blocks.end * BLOCK).min(base.size);
            let mut bytes = vec![0; usize::try_from(span.end - span.start).unwrap_or(0)];
            lower.read(&base.content, span.start, &mut bytes)?;
            let failed = |e| self.failed("write", e);
            let upper = self.open_upper().map_err(failed)?;
            let _alone = self.alone();
            let (still, kept) = {
                let state = self.get();
                (state.local.absent(&blocks), state.kept)
            };
            for part in still {
                let (from, to) = (part.start * BLOCK, (part.end * BLOCK).min(kept));
                if from < to {
                    let index = |n: u64| usize::try_from(n - span.start).unwrap_or(usize::MAX);
                    upper.write_all_at(&bytes[index(from)..index(to)], from).map_err(failed)?;
                    self.unsynced.store(true, Ordering::Release);
                    self.set().local.insert(part);
                }
            }
        }
        Ok(Some(end))
    }

    /// What is to be brought ahead, now that a range is read: more each time as long as the file is read in order.
    pub fn ahead(&self, offset: u64, len: u64) -> Option<(Arc<Base>, Range<u64>)> {
        /// The kernel asks for pieces in any order, but not far from each other.
        const SLACK: u64 = 8 << 20;
        const WINDOW_MIN: u64 = 2 << 20;
        const WINDOW_MAX: u64 = 32 << 20;
        let mut reading = self.reading.lock().unwrap_or_else(PoisonError::into_inner);
        let end = offset.saturating_add(len);
        if offset > reading.next || offset + SLACK < reading.next {
            *reading = Reading { next: end, until: end, window: 0 };
            return None;
        }
        reading.next = reading.next.max(end);
        if reading.until > reading.next + reading.window / 2 {
            return None;
        }
        reading.window = (reading.window * 2).clamp(WINDOW_MIN, WINDOW_MAX);
        let state = self.get();
        let base = state.base.clone()?;
        let range = reading.until.max(reading.next)..(reading.next + reading.window).min(state.kept);
        if range.is_empty() {
            return None;
        }
        reading.until = range.end;
        Some((base, range))
    }

    /// Bytes of the version that only the repository has.
    pub fn absent_bytes(&self) -> u64 {
        let state = self.get();
        let blocks = state.kept.div_ceil(BLOCK);
        (blocks - state.local.total().min(blocks)) * BLOCK
    }

    /// Whether it differs from the last commit.
    pub fn is_changed(&self) -> bool {
        self.get().changed
    }

    /// The inode.
    pub fn ino(&self) -> u64 {
        self.ino
    }

    /// Whether a read needs bytes of the version that are not in the entry itself.
    pub fn needs_base(&self, offset: u64, len: usize) -> bool {
        self.pieces(&self.get(), offset, len)
            .iter()
            .any(|p| matches!(p, Piece::Base(base, _) if !matches!(base.content, Content::Inline(_))))
    }

    fn pieces(&self, state: &State, offset: u64, len: usize) -> Vec<Piece> {
        let end = offset.saturating_add(len as u64).min(state.size);
        let mut out = Vec::new();
        let mut at = offset;
        while at < end {
            match &state.base {
                Some(base) if at < state.kept => {
                    let (local, until) = state.local.run(&(at / BLOCK..end.min(state.kept).div_ceil(BLOCK)));
                    let until = (until * BLOCK).min(end).min(state.kept);
                    out.push(match local {
                        true => Piece::Upper(state.upper.clone(), at..until),
                        false => Piece::Base(Arc::clone(base), at..until),
                    });
                    at = until;
                }
                _ => {
                    out.push(Piece::Upper(state.upper.clone(), at..end));
                    at = end;
                }
            }
        }
        out
    }

    /// Reads up to `out.len()` bytes; fewer only at the end of the file.
    pub fn read(&self, lower: &Lower, offset: u64, out: &mut [u8]) -> crate::error::Result<usize> {
        let pieces = {
            let state = self.get();
            if state.has_upper && state.upper.is_none() {
                drop(state);
                self.open_upper().map_err(|e| self.failed("open", e))?;
                let state = self.get();
                self.pieces(&state, offset, out.len())
            } else {
                self.pieces(&state, offset, out.len())
            }
        };
        let mut done = 0;
        for piece in pieces {
            let (Piece::Upper(_, range) | Piece::Base(_, range)) = &piece;
            let len = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
            let slot = &mut out[done..done + len];
            match &piece {
                Piece::Upper(Some(file), range) => {
                    read_or_zeros(file, slot, range.start).map_err(|e| self.failed("read", e))?;
                }
                Piece::Upper(None, _) => slot.fill(0),
                Piece::Base(base, range) => lower.read(&base.content, range.start, slot)?,
            }
            done += len;
        }
        Ok(done)
    }

    fn failed(&self, what: &'static str, source: io::Error) -> crate::error::Error {
        crate::store::StoreError::Io { what, key: self.space.path(self.ino).display().to_string(), source }.into()
    }

    /// The upper file, opened or made.
    fn open_upper(&self) -> io::Result<Arc<File>> {
        let mut state = self.set();
        if let Some(upper) = &state.upper {
            return Ok(Arc::clone(upper));
        }
        let file = Arc::new(self.space.open(self.ino, true)?);
        if !state.has_upper {
            // Whatever an earlier run left under this number is not of this file.
            file.set_len(0)?;
            file.set_len(state.size)?;
            state.has_upper = true;
            self.unsynced.store(true, Ordering::Release);
            self.unsettled.store(true, Ordering::Release);
            self.untold.store(true, Ordering::Release);
        }
        state.upper = Some(Arc::clone(&file));
        Ok(file)
    }

    /// Closes the upper file until somebody needs it again.
    pub fn close_upper(&self) {
        self.set().upper = None;
    }

    /// Writes bytes. Only a full disk, a quota or a store that cannot be read make it fail; the file is then as before.
    pub fn write(&self, lower: &Lower, offset: u64, bytes: &[u8]) -> Answer<()> {
        let end = offset.checked_add(bytes.len() as u64).filter(|end| *end <= SIZE_MAX).ok_or(Errno::FBIG)?;
        let _alone = self.alone();
        self.space.check()?;
        let upper = self.open_upper()?;
        let range = offset..end;
        self.preserve(&range)?;
        self.fill_edges(lower, &upper, &range)?;
        self.unsynced.store(true, Ordering::Release);
        if let Err(e) = upper.write_all_at(bytes, offset) {
            self.cut_off(&upper);
            return Err(e.into());
        }
        self.written(&upper, &range);
        let mut state = self.set();
        state.size = state.size.max(end);
        Ok(())
    }

    /// What lies behind the end must read as zeros when the file grows.
    fn cut_off(&self, upper: &File) {
        let size = self.get().size;
        if upper.metadata().is_ok_and(|m| m.len() > size) {
            let _ = upper.set_len(size);
        }
    }

    /// Notes that a range is in the upper file.
    fn written(&self, upper: &File, range: &Range<u64>) {
        let mut state = self.set();
        state.changed = true;
        if let Some(frozen) = &state.frozen {
            frozen.changed(blocks(range));
        }
        state.mark(range);
        self.account(upper, &mut state);
    }

    fn account(&self, upper: &File, state: &mut State) {
        if self.space.limit_bytes.is_some()
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
        edges.into_iter().try_for_each(fill)
    }

    /// Saves what a version that is being made needs of a range, before it changes.
    fn preserve(&self, range: &Range<u64>) -> Answer<()> {
        let frozen = self.get().frozen.clone();
        Ok(frozen.map_or(Ok(()), |frozen| frozen.before_change(range))?)
    }

    /// Leaves the upper file to the version that is being made, and takes an empty one.
    fn put_aside(&self) -> Answer<()> {
        let Some(frozen) = self.get().frozen.clone() else { return Ok(()) };
        let path = self.space.path(self.ino);
        let fresh = path.with_extension("new");
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&fresh)?;
        fs::rename(&fresh, &path)?;
        frozen.leave_upper();
        self.set().upper = Some(Arc::new(file));
        Ok(())
    }

    /// Sets the length.
    pub fn set_size(&self, lower: &Lower, size: u64) -> Answer<()> {
        if size > SIZE_MAX {
            return Err(Errno::FBIG);
        }
        let _alone = self.alone();
        let before = self.get().size;
        if size == before {
            return Ok(());
        }
        self.open_upper()?;
        if size == 0 {
            self.put_aside()?;
        }
        self.preserve(&(size..before))?;
        let upper = self.open_upper()?;
        if size < before && !size.is_multiple_of(BLOCK) {
            // The block of the new end is cut where the file is: what it held behind is zeros from now on.
            let rest = size..(size.div_ceil(BLOCK) * BLOCK).min(before);
            self.fill_edges(lower, &upper, &rest)?;
            self.set().mark(&rest);
        }
        self.unsynced.store(true, Ordering::Release);
        self.unsettled.store(true, Ordering::Release);
        upper.set_len(size)?;
        let mut state = self.set();
        if let Some(frozen) = &state.frozen {
            frozen.cut(size);
        }
        state.changed = true;
        state.size = size;
        if size < state.kept {
            state.kept = size;
            let gone = size.div_ceil(BLOCK)..u64::MAX;
            state.local.remove(gone.clone());
            state.dirty.remove(gone.clone());
            state.fresh.retain(|r| r.start < gone.start);
            state.fresh.iter_mut().for_each(|r| r.end = r.end.min(gone.start));
        }
        Ok(())
    }

    /// Zeros for a range, without space; the length stays.
    pub fn punch(&self, lower: &Lower, range: Range<u64>) -> Answer<()> {
        let _alone = self.alone();
        let size = self.get().size;
        let range = range.start.min(size)..range.end.min(size);
        if range.is_empty() {
            return Ok(());
        }
        let upper = self.open_upper()?;
        self.preserve(&range)?;
        self.fill_edges(lower, &upper, &range)?;
        self.unsynced.store(true, Ordering::Release);
        let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        match rustix::fs::fallocate(&*upper, flags, range.start, range.end - range.start) {
            Err(rustix::io::Errno::OPNOTSUPP) => zero(&upper, &range)?,
            done => done?,
        }
        self.written(&upper, &range);
        Ok(())
    }

    /// Makes sure that a range has space, as far as it is the upper file's; `grow`: the file reaches to its end then.
    pub fn reserve(&self, range: &Range<u64>, grow: bool) -> Answer<()> {
        let _alone = self.alone();
        self.space.check()?;
        if range.end > SIZE_MAX {
            return Err(Errno::FBIG);
        }
        let upper = self.open_upper()?;
        let (size, kept) = (self.get().size, self.get().kept);
        let own = range.start.max(kept.div_ceil(BLOCK) * BLOCK)..range.end;
        if !own.is_empty() {
            self.unsynced.store(true, Ordering::Release);
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
            state.changed = true;
        }
        self.account(&upper, &mut self.set());
        Ok(())
    }

    /// The next byte of data, or of a hole, from `offset` on.
    pub fn seek(&self, lower: &Lower, offset: u64, data: bool) -> Answer<u64> {
        let size = self.size();
        if offset >= size {
            return Err(Errno::NXIO);
        }
        let (upper, pieces) = {
            if self.get().has_upper {
                self.open_upper()?;
            }
            let state = self.get();
            let whole = usize::try_from(state.size - offset.min(state.size)).unwrap_or(usize::MAX);
            (state.upper.clone(), self.pieces(&state, offset, whole))
        };
        for piece in pieces {
            let (mut at, end) = match &piece {
                Piece::Upper(_, range) | Piece::Base(_, range) => (range.start, range.end),
            };
            while at < end {
                let (hole, until) = match &piece {
                    Piece::Base(base, _) => lower.is_hole(&base.content, &(at..end)).map_err(|e| Errno::from(&e))?,
                    Piece::Upper(..) => match &upper {
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

    /// Makes what was written durable. Returns the blocks that the store has to note then.
    pub fn sync(&self) -> io::Result<Blocks> {
        let fresh = {
            let mut state = self.set();
            Blocks { ranges: std::mem::take(&mut state.fresh), anew: std::mem::take(&mut state.anew) }
        };
        if self.unsynced.swap(false, Ordering::AcqRel) || self.is_handed_over() {
            let synced = self.open_upper().and_then(|upper| upper.sync_data());
            if let Err(e) = synced {
                self.unsynced.store(true, Ordering::Release);
                self.put_back(fresh);
                return Err(e);
            }
            self.unsettled.store(false, Ordering::Release);
        }
        Ok(fresh)
    }

    /// Gives back blocks of [`Self::sync`] that could not be noted.
    pub fn put_back(&self, blocks: Blocks) {
        let mut state = self.set();
        state.fresh.extend(blocks.ranges);
        state.anew |= blocks.anew;
    }

    /// Whether the store has to be told that there is an upper file now; it is asked for once.
    pub fn take_untold(&self) -> bool {
        self.untold.swap(false, Ordering::AcqRel)
    }

    /// Makes the store wait for the next sync before it notes the file.
    pub fn unsettle(&self) {
        if self.unsynced.load(Ordering::Acquire) {
            self.unsettled.store(true, Ordering::Release);
        }
    }

    /// Whether the store may not note the file before it is synced.
    pub fn is_unsettled(&self) -> bool {
        self.unsettled.load(Ordering::Acquire)
    }

    /// Whether something was written since [`Self::sync`].
    pub fn is_unsynced(&self) -> bool {
        self.unsynced.load(Ordering::Acquire) || !self.get().fresh.is_empty()
    }

    /// Removes the upper file: the inode is gone, or what was written is given up.
    pub fn discard(&self) {
        let _alone = self.alone();
        let mut state = self.set();
        self.space.count(state.counted, 0);
        if state.has_upper {
            let _ = fs::remove_file(self.space.path(self.ino));
        }
        *state = state.base.clone().map_or_else(State::default, State::of);
        self.unsynced.store(false, Ordering::Release);
    }

    /// Bytes that were written since the version.
    pub fn dirty_bytes(&self) -> u64 {
        let state = self.get();
        if !state.changed {
            return 0;
        }
        state.dirty.total() * BLOCK + state.size.saturating_sub(state.kept)
    }

    /// The file as it is at this moment, preserved until it is thawed. Nobody may write meanwhile.
    pub fn freeze(&self) -> Arc<Frozen> {
        let upper = if self.get().has_upper { self.open_upper().ok() } else { None };
        let mut state = self.set();
        let side = self.space.path(self.ino).with_extension("frozen");
        let frozen = Arc::new(Frozen::new(state.clone(), upper, side));
        state.frozen = Some(Arc::clone(&frozen));
        state.changed = false;
        frozen
    }

    /// Makes it the file of another version; nothing of it was written.
    pub fn reset(&self, base: Arc<Base>) {
        *self.set() = State::of(base);
    }

    /// Ends a freeze. `became`: what the frozen state was stored as; its blocks are clean then, but for those written
    /// meanwhile. `None`: nothing was stored, all of it is still to be.
    pub fn thaw(&self, became: Option<Arc<Base>>) {
        let _alone = self.alone();
        let mut state = self.set();
        let Some(frozen) = state.frozen.take() else { return };
        frozen.remove();
        let Some(base) = became else {
            state.changed = true;
            return;
        };
        let (written, low) = frozen.outcome();
        let kept = base.size.min(low);
        let end = kept.div_ceil(BLOCK);
        // What lay behind the old version's part was the upper file's alone, whole blocks of it.
        let own = state.kept.div_ceil(BLOCK)..end;
        if state.has_upper && !own.is_empty() {
            state.local.insert(own);
        }
        state.local.remove(end..u64::MAX);
        state.dirty = written;
        state.dirty.remove(end..u64::MAX);
        state.fresh = state.dirty.iter().collect();
        state.anew = true;
        state.kept = kept;
        state.base = Some(base);
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
