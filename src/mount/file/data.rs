//! The bytes of one file: the version's bytes, with the written blocks over them.
//!
//! Below `kept`, a byte comes from the version unless its block is in `local`; the upper file holds
//! all bytes of a local block. Everything from `kept` on is in the upper file. A write therefore
//! fetches at most the rest of its first and of its last block. While a snapshot runs, its blocks
//! are preserved: see `frozen`.

use std::fs::File;
use std::io;
use std::ops::{Deref, DerefMut, Range};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::{Mutex, MutexGuard, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::base::{AllocatedBytes, BaseFile};
use super::block::{BLOCK, blocks_of};
use super::checked::CheckedFile;
use super::checksums::BlockSums;
use super::frozen::FrozenFile;
use super::ranges::RangeRun;
use super::readahead::ReadPattern;
use super::state::{FileFacts, FileState, UpperStatus};
use super::upper_files::UpperFiles;
use crate::error::Result;
use crate::model::entry::{Chunker, Content};
use crate::mount::errno::{Errno, FsResult};
use crate::mount::lower::LowerLayer;
use crate::sys::allocated::allocated_bytes;
use crate::sys::io_error::IoError;

mod copies;
mod durable;
mod passthrough;
mod space;
mod verified;

/// Largest file size: the kernel uses signed offsets.
const SIZE_MAX: u64 = i64::MAX as u64;

/// A file of a mount.
#[derive(Debug)]
pub struct FileData {
    ino: u64,
    space: Arc<UpperFiles>,
    state: RwLock<LiveState>,
    /// Held while bytes or the length change.
    change_lock: Mutex<()>,
    /// Set when written bytes may not be on disk.
    unsynced: AtomicBool,
    /// Counts changes of the upper file, because each change can alter the space that the file
    /// takes.
    change_count: AtomicU64,
    /// A value of [`Self::change_count`], and the allocated bytes of the upper file at that value.
    /// Each reply with attributes contains these bytes, and querying the underlying file system
    /// each time made `stat` 1.2 times slower.
    cached_space: Mutex<Option<(u64, u64)>>,
    /// Held during a sync, so that a second caller does not return before the bytes are on disk.
    sync_lock: Mutex<()>,
    /// Set when the length of the upper file may not be on disk. The overlay database must not
    /// record the file before it is synced.
    length_unsynced: AtomicBool,
    /// Set when the overlay database has outdated facts about the file.
    store_outdated: AtomicBool,
    /// Set when the mount has switched to a version without this file. Only open handles still use
    /// the file.
    retired: AtomicBool,
    read_pattern: Mutex<ReadPattern>,
    /// Open handles with which the kernel writes to the upper file directly (passthrough).
    kernel_writers: AtomicU64,
    /// Set once the kernel has been allowed to write to the upper file directly, because a mapping
    /// can still write after the last handle is closed.
    was_written_by_kernel: AtomicBool,
    /// Set when the overlay database has a seal of the upper file. The seal is removed before the
    /// file changes.
    sealed: AtomicBool,
    /// Open handles with which the kernel only reads the upper file directly.
    kernel_readers: AtomicU64,
    /// Set when the kernel may have cached bytes since the file was opened.
    kernel_cached: AtomicBool,
}

/// The current state of a file, and the frozen state that a running snapshot reads.
#[derive(Debug)]
struct LiveState {
    state: FileState,
    frozen: Option<Arc<FrozenFile>>,
}

impl Deref for LiveState {
    type Target = FileState;

    fn deref(&self) -> &FileState {
        &self.state
    }
}

impl DerefMut for LiveState {
    fn deref_mut(&mut self) -> &mut FileState {
        &mut self.state
    }
}

/// A part of a file, by its source.
enum Piece {
    Upper(Range<u64>),
    Base(Arc<BaseFile>, Range<u64>),
}

/// The parts of a range, and everything that is needed to read them.
struct LocatedRange {
    pieces: Vec<Piece>,
    upper: Option<Arc<File>>,
    sums: Arc<BlockSums>,
    size: u64,
}

fn pieces(state: &FileState, offset: u64, len: usize) -> Vec<Piece> {
    let end = offset.saturating_add(len as u64).min(state.size);
    let mut out = Vec::new();
    let mut at = offset;
    while at < end {
        match &state.base {
            Some(base) if at < state.kept => {
                let RangeRun {
                    inside: local,
                    end: until,
                } = state
                    .local
                    .run(&(at / BLOCK..end.min(state.kept).div_ceil(BLOCK)));
                let until = (until * BLOCK).min(end).min(state.kept);
                out.push(if local {
                    Piece::Upper(at..until)
                } else {
                    Piece::Base(Arc::clone(base), at..until)
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

impl FileData {
    /// Creates a file in the given state.
    pub fn new(ino: u64, space: Arc<UpperFiles>, state: FileState) -> Self {
        let (unsynced, length_unsynced) = (AtomicBool::new(false), AtomicBool::new(false));
        Self {
            ino,
            space,
            state: RwLock::new(LiveState {
                state,
                frozen: None,
            }),
            change_lock: Mutex::default(),
            unsynced,
            change_count: AtomicU64::new(0),
            cached_space: Mutex::default(),
            sync_lock: Mutex::default(),
            length_unsynced,
            store_outdated: AtomicBool::new(false),
            retired: AtomicBool::new(false),
            read_pattern: Mutex::default(),
            kernel_writers: AtomicU64::new(0),
            was_written_by_kernel: AtomicBool::new(false),
            sealed: AtomicBool::new(false),
            kernel_readers: AtomicU64::new(0),
            kernel_cached: AtomicBool::new(false),
        }
    }

    fn read_state(&self) -> RwLockReadGuard<'_, LiveState> {
        self.state.read()
    }

    fn write_state(&self) -> RwLockWriteGuard<'_, LiveState> {
        self.state.write()
    }

    fn exclusive(&self) -> MutexGuard<'_, ()> {
        self.change_lock.lock()
    }

    /// Locks the file for a change, and updates the length, which the kernel may have changed.
    fn begin_change(&self) -> MutexGuard<'_, ()> {
        let exclusive = self.exclusive();
        self.refresh_exclusive();
        exclusive
    }

    /// Returns the length in bytes.
    pub fn size(&self) -> u64 {
        self.read_state().size
    }

    /// Returns the allocated bytes of the upper file, plus those of the version for blocks that the
    /// upper file lacks.
    pub fn allocated(&self) -> AllocatedBytes {
        let (upper, has_upper, base, kept, local) = {
            let state = self.read_state();
            let local = if state.is_complete() {
                state.kept
            } else {
                (state.local.total() * BLOCK).min(state.kept)
            };
            (
                state.upper.clone(),
                state.has_upper,
                state.base.clone(),
                state.kept,
                local,
            )
        };
        let change_count = self.change_count.load(Ordering::Acquire);
        let known = *self.cached_space.lock();
        let more = match known {
            // Direct writes of the kernel do not change the count, but `NameTable::attr` calls
            // `refresh_from_kernel` first, which caches the bytes again.
            Some((at, bytes)) if at == change_count => bytes,
            _ => {
                let found = match upper {
                    Some(upper) => allocated_bytes(&*upper),
                    None if has_upper => {
                        std::fs::metadata(self.space.path(self.ino)).map(|meta| meta.blocks() * 512)
                    }
                    None => Err(io::ErrorKind::NotFound.into()),
                };
                found.map_or(0, |bytes| self.cache_space(change_count, bytes))
            }
        };
        match base {
            Some(base) if local < kept => AllocatedBytes::of(&base.content, kept, local, more),
            _ => AllocatedBytes::Bytes(more),
        }
    }

    /// Caches the allocated bytes of the upper file for a value of the change count. Returns the
    /// bytes.
    fn cache_space(&self, change_count: u64, bytes: u64) -> u64 {
        *self.cached_space.lock() = Some((change_count, bytes));
        bytes
    }

    /// Notes a change of the upper file: its bytes may not be on disk, and its space may differ.
    fn note_change(&self) {
        self.change_count.fetch_add(1, Ordering::AcqRel);
        self.unsynced.store(true, Ordering::Release);
    }

    /// Returns the facts that the overlay database stores.
    pub fn facts(&self) -> FileFacts {
        let state = self.read_state();
        FileFacts {
            base: state.base.clone(),
            kept: state.kept,
            size: state.size,
            has_upper: state.has_upper,
            // The data of a running snapshot is not in a version yet, so the file still counts as
            // changed.
            changed: state.changed || state.frozen.is_some(),
            // Bytes that are not on disk yet can be lost in a crash, so the row must not call the
            // file complete.
            complete: state.has_upper
                && state.is_complete()
                && !self.unsynced.load(Ordering::Acquire),
        }
    }

    /// Returns whether no byte is missing from the upper file.
    pub fn is_complete(&self) -> bool {
        self.read_state().is_complete()
    }

    /// Returns whether the file is identical to this file of a version.
    pub fn matches_entry(&self, size: u64, chunker: Chunker, content: &Content) -> bool {
        let state = self.read_state();
        let whole = !state.changed
            && state.frozen.is_none()
            && state.damage.is_none()
            && state.dirty.is_empty();
        let same =
            |base: &BaseFile| (base.size, base.chunker, &base.content) == (size, chunker, content);
        whole && state.kept == size && state.size == size && state.base.as_deref().is_some_and(same)
    }

    /// Makes the file read-only after the mount has switched to a version without it. Open handles
    /// can still read it.
    pub fn retire(&self) {
        self.retired.store(true, Ordering::Release);
    }

    /// Notes that the kernel may cache bytes of the file.
    pub fn note_kernel_cached(&self) {
        if !self.kernel_cached.load(Ordering::Relaxed) {
            self.kernel_cached.store(true, Ordering::Relaxed);
        }
    }

    /// Returns whether the kernel may have cached bytes since the file was opened.
    pub fn is_kernel_cached(&self) -> bool {
        self.kernel_cached.load(Ordering::Relaxed)
    }

    /// Returns whether the content differs from the last commit.
    pub fn is_changed(&self) -> bool {
        self.read_state().changed
    }

    /// Returns whether there is an upper file, and why it is unusable if it is damaged.
    pub fn upper_status(&self) -> UpperStatus {
        let state = self.read_state();
        UpperStatus {
            exists: state.has_upper,
            damage: state.damage.as_ref().map(ToString::to_string),
        }
    }

    /// Returns the inode number.
    pub fn ino(&self) -> u64 {
        self.ino
    }

    /// Returns whether a read needs chunks of the version.
    pub fn needs_base(&self, offset: u64, len: usize) -> bool {
        pieces(&self.read_state(), offset, len).iter().any(
            |p| matches!(p, Piece::Base(base, _) if !matches!(base.content, Content::Inline(_))),
        )
    }

    /// Finds the sources of a range, and opens the upper file if there is a usable one.
    fn locate(&self, offset: u64, len: usize) -> io::Result<LocatedRange> {
        let seen = |state: &FileState, upper| LocatedRange {
            pieces: pieces(state, offset, len),
            upper,
            sums: Arc::clone(&state.sums),
            size: state.size,
        };
        {
            let state = self.read_state();
            if state.upper.is_some() || !state.has_upper || state.damage.is_some() {
                return Ok(seen(
                    &state,
                    state.upper.clone().filter(|_| state.damage.is_none()),
                ));
            }
        }
        // Opening needs the state lock for writing, so the state has to be read again afterwards.
        self.open_upper()?;
        let state = self.read_state();
        Ok(seen(&state, state.upper.clone()))
    }

    /// Fills `out` from `offset` on. Returns the number of bytes, which is less than the length of
    /// `out` only at the end of the file.
    pub fn read(&self, lower: &LowerLayer, offset: u64, out: &mut [u8]) -> Result<usize> {
        let seen = self
            .locate(offset, out.len())
            .map_err(|e| self.io_error("open", e))?;
        let mut done = 0;
        for piece in &seen.pieces {
            let (Piece::Upper(range) | Piece::Base(_, range)) = &piece;
            let len = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
            let slot = &mut out[done..done + len];
            match (piece, &seen.upper) {
                (Piece::Upper(range), Some(file)) => {
                    let written = CheckedFile {
                        file,
                        sums: &seen.sums,
                        size: seen.size,
                    };
                    // A damaged block that is only a copy can be read from the version instead.
                    if let Err(e) = self.read_verified(&written, range.start, slot) {
                        self.read_from_version(lower, range, slot).ok_or(e)??;
                    }
                }
                (Piece::Upper(_), None) => match self.damage_error(&self.read_state()) {
                    Some(e) => return Err(e.into()),
                    // The file was only extended, so the range is a hole.
                    None => slot.fill(0),
                },
                (Piece::Base(base, range), _) => lower.read(&base.content, range.start, slot)?,
            }
            done += len;
        }
        Ok(done)
    }

    /// Reads a damaged range of the upper file from the version instead, and no longer uses the
    /// range of the upper file. Returns `None` if the range is not a copy of the version.
    fn read_from_version(
        &self,
        lower: &LowerLayer,
        range: &Range<u64>,
        out: &mut [u8],
    ) -> Option<Result<()>> {
        // Keep writers out, because a block that is written at the same time must not be read from
        // the version.
        let _exclusive = self.exclusive();
        let base = {
            let mut state = self.write_state();
            if !Self::is_copy(&state, range) {
                return None;
            }
            state.local.remove(blocks_of(range));
            state.base.clone()?
        };
        Some(lower.read(&base.content, range.start, out))
    }

    fn io_error(&self, what: &'static str, source: io::Error) -> crate::error::Error {
        IoError::new(what, self.space.path(self.ino), source).into()
    }

    /// Opens the upper file, or creates it.
    fn open_upper(&self) -> io::Result<Arc<File>> {
        if let Some(upper) = &self.read_state().upper {
            return Ok(Arc::clone(upper));
        }
        let mut state = self.write_state();
        if let Some(upper) = &state.upper {
            return Ok(Arc::clone(upper));
        }
        let file = if state.has_upper {
            self.space.open(self.ino)?
        } else {
            let file = self.space.create(self.ino)?;
            // The next mount takes the length of the file from its upper file.
            if state.size > 0 {
                file.set_len(state.size)?;
            }
            file
        };
        let file = Arc::new(file);
        if !state.has_upper {
            state.has_upper = true;
            self.note_change();
            self.length_unsynced.store(true, Ordering::Release);
            self.store_outdated.store(true, Ordering::Release);
        }
        state.upper = Some(Arc::clone(&file));
        Ok(file)
    }

    /// Closes the upper file until it is needed again.
    pub fn close_upper(&self) {
        let change_count = self.change_count.load(Ordering::Acquire);
        let upper = self.write_state().upper.take();
        // Query the allocated bytes now, because a query by path costs more later.
        if let Some(bytes) = upper.and_then(|upper| allocated_bytes(&*upper).ok()) {
            self.cache_space(change_count, bytes);
        }
    }

    /// Opens the upper file for a change, unless the file is retired or damaged.
    fn open_for_write(&self) -> FsResult<Arc<File>> {
        if self.retired.load(Ordering::Acquire) {
            return Err(Errno::STALE);
        }
        if self.read_state().damage.is_some() {
            return Err(Errno::IO);
        }
        Ok(self.open_upper()?)
    }

    /// Returns whether the facts in the overlay database are outdated, and resets the flag.
    pub fn take_store_outdated(&self) -> bool {
        self.store_outdated.swap(false, Ordering::AcqRel)
    }

    fn mark_changed(&self, state: &mut FileState) {
        if !std::mem::replace(&mut state.changed, true) {
            self.store_outdated.store(true, Ordering::Release);
        }
    }

    /// Writes bytes. After a failure, such as a full disk, the file holds the old bytes and perhaps
    /// some of the new ones.
    pub fn write(&self, lower: &LowerLayer, offset: u64, bytes: &[u8]) -> FsResult<()> {
        let end = offset
            .checked_add(bytes.len() as u64)
            .filter(|end| *end <= SIZE_MAX)
            .ok_or(Errno::FBIG)?;
        let _exclusive = self.begin_change();
        self.space.ensure_space()?;
        let upper = self.open_for_write()?;
        let range = offset..end;
        // The order matters: preserve the old bytes for a running snapshot, verify the blocks that
        // remain in part, complete them from the version, and only then overwrite.
        self.save_for_snapshot(&range)?;
        self.verify_edges(&upper, &range)?;
        self.fetch_edges(lower, &upper, &range)?;
        self.note_change();
        if let Err(e) = upper.write_all_at(bytes, offset) {
            self.after_failed_write(&upper, &range);
            return Err(e.into());
        }
        self.note_written(&upper, &range);
        self.note_sums(&upper, &range, Some(bytes));
        let mut state = self.write_state();
        state.size = state.size.max(end);
        Ok(())
    }

    /// Notes that an unknown part of a range was written.
    fn after_failed_write(&self, upper: &File, range: &Range<u64>) {
        self.truncate_to_size(upper);
        let mut state = self.write_state();
        state.sums.forget(&blocks_of(range));
        self.mark_changed(&mut state);
        // Blocks that the upper file already held may have changed, so they count as written.
        // Blocks that it did not hold count as not written.
        let mut at = range.start / BLOCK;
        let end = range.end.div_ceil(BLOCK);
        while at < end {
            let RangeRun {
                inside: local,
                end: until,
            } = state.local.run(&(at..end));
            if local {
                state.mark_written(&(at * BLOCK..until * BLOCK));
            }
            at = until;
        }
        if let Some(frozen) = &state.frozen {
            frozen.note_written(blocks_of(range));
        }
        self.note_change();
    }

    /// Truncates the upper file to the length of the file, because the bytes after it must be zeros
    /// when the file grows.
    fn truncate_to_size(&self, upper: &File) {
        let size = self.read_state().size;
        if upper.metadata().is_ok_and(|m| m.len() > size) {
            let _ = upper.set_len(size);
            self.change_count.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// Notes that the upper file holds a range.
    fn note_written(&self, upper: &File, range: &Range<u64>) {
        let mut state = self.write_state();
        self.mark_changed(&mut state);
        if let Some(frozen) = &state.frozen {
            frozen.note_written(blocks_of(range));
        }
        state.mark_written(range);
        // Mark the file as unsynced again: a sync that started before the write does not include
        // its bytes.
        self.note_change();
        self.update_quota(upper, &mut state);
    }

    fn update_quota(&self, upper: &File, state: &mut FileState) {
        if self.space.limit_bytes().is_some()
            && let Ok(now) = allocated_bytes(upper)
        {
            self.space
                .recount(std::mem::replace(&mut state.counted_bytes, now), now);
        }
    }

    /// Returns whether a write needs chunks of the version.
    pub fn needs_edges(&self, offset: u64, len: usize) -> bool {
        let state = self.read_state();
        let range = offset..offset.saturating_add(len as u64);
        state
            .base
            .as_ref()
            .is_some_and(|b| !matches!(b.content, Content::Inline(_)))
            && state.edges(&range).any(|_| true)
    }

    /// Completes the first and the last block of a range in the upper file with bytes of the
    /// version.
    fn fetch_edges(&self, lower: &LowerLayer, upper: &File, range: &Range<u64>) -> FsResult<()> {
        let (base, edges) = {
            let state = self.read_state();
            let Some(base) = state.base.clone() else {
                return Ok(());
            };
            (base, state.edges(range).collect::<Vec<_>>())
        };
        let fill = |span: Range<u64>| -> FsResult<()> {
            let mut bytes = vec![0; usize::try_from(span.end - span.start).unwrap_or(0)];
            lower
                .read(&base.content, span.start, &mut bytes)
                .map_err(|e| Errno::from(&e))?;
            Ok(upper.write_all_at(&bytes, span.start)?)
        };
        let filled = edges.into_iter().try_for_each(fill);
        // A failed write may have changed a part of a block.
        if filled.is_err() {
            self.read_state().sums.forget(&blocks_of(range));
        }
        filled
    }

    /// Saves the bytes of a range that a running snapshot needs, before they change.
    fn save_for_snapshot(&self, range: &Range<u64>) -> FsResult<()> {
        let frozen = self.read_state().frozen.clone();
        Ok(frozen.map_or(Ok(()), |frozen| frozen.save_before_change(range))?)
    }

    /// Leaves the upper file to the running snapshot, if there is one, and continues with an empty
    /// one.
    fn leave_upper_to_snapshot(&self) -> FsResult<()> {
        // A truncation to zero would otherwise copy the complete file to the side file.
        let Some(frozen) = self.read_state().frozen.clone() else {
            return Ok(());
        };
        frozen.keep_upper()?;
        let file = self.space.replace(self.ino)?;
        let mut state = self.write_state();
        state.upper = Some(Arc::new(file));
        self.change_count.fetch_add(1, Ordering::AcqRel);
        state.sums = Arc::new(if state.sums.is_disabled() {
            BlockSums::disabled()
        } else {
            BlockSums::default()
        });
        Ok(())
    }

    /// Replaces a damaged upper file by an empty one. The file is about to be truncated to zero, so
    /// it needs none of the damaged bytes.
    fn replace_damaged(&self) -> FsResult<()> {
        if self.read_state().damage.is_none() {
            return Ok(());
        }
        let file = self.space.create(self.ino)?;
        let mut state = self.write_state();
        file.set_len(state.size)?;
        state.upper = Some(Arc::new(file));
        self.change_count.fetch_add(1, Ordering::AcqRel);
        state.sums = Arc::new(if state.sums.is_disabled() {
            BlockSums::disabled()
        } else {
            BlockSums::default()
        });
        state.damage = None;
        Ok(())
    }
}
