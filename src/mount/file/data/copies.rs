//! Blocks in the upper file that were copied from the version: hydration creates them, a commit
//! leaves them, and the next mount frees them. Also contains the read-ahead.

use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::FileData;
use crate::mount::file::base::{BaseFile, BaseRange, SpareCopies};
use crate::mount::file::block::{BLOCK, blocks_of};
use crate::mount::file::ranges::RangeRun;
use crate::mount::file::state::FileState;

impl FileData {
    /// Returns the next range from `offset` on that the upper file lacks, at most `len` bytes.
    pub fn next_missing(&self, offset: u64, len: u64) -> Option<BaseRange> {
        let state = self.read_state();
        let base = state.base.clone()?;
        let RangeRun {
            inside: local,
            end: until,
        } = state
            .local
            .run(&(offset / BLOCK..state.kept.div_ceil(BLOCK).max(offset / BLOCK)));
        let start = if local {
            until * BLOCK
        } else {
            offset - offset % BLOCK
        };
        let RangeRun { end, .. } = state
            .local
            .run(&(start / BLOCK..state.kept.div_ceil(BLOCK).max(start / BLOCK)));
        let range = start..(end * BLOCK).min(start.saturating_add(len)).min(state.kept);
        (range.start < range.end).then_some(BaseRange { base, range })
    }

    /// Writes bytes of the version to the upper file, except to blocks that the file already holds
    /// or for which only a part is given. Does nothing if the file is damaged or no longer based on
    /// `base`.
    pub fn fill(&self, base: &Arc<BaseFile>, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let _exclusive = self.exclusive();
        // A commit may have replaced the base while the bytes were fetched without a lock.
        let same = |state: &FileState| {
            state.damage.is_none()
                && state
                    .base
                    .as_ref()
                    .is_some_and(|now| Arc::ptr_eq(now, base))
        };
        let (still, kept) = {
            let state = self.read_state();
            let wanted = offset / BLOCK..(offset + bytes.len() as u64).div_ceil(BLOCK);
            if !same(&state) {
                (Vec::new(), 0)
            } else {
                (state.local.missing(&wanted), state.kept)
            }
        };
        for part in still {
            let (from, to) = (
                part.start * BLOCK,
                (part.end * BLOCK)
                    .min(kept)
                    .min(offset + bytes.len() as u64),
            );
            // Skip a block if only a part of it was fetched.
            if from < to && (to.is_multiple_of(BLOCK) || to == kept) {
                let index = |n: u64| usize::try_from(n - offset).unwrap_or(usize::MAX);
                let (upper, range) = (self.open_upper()?, from..to);
                let done = upper.write_all_at(&bytes[index(from)..index(to)], from);
                if done.is_err() {
                    self.read_state().sums.forget(&blocks_of(&range));
                }
                done?;
                self.note_sums(&upper, &range, Some(&bytes[index(from)..index(to)]));
                self.note_change();
                // Mark the blocks as local last, because readers do not wait for the exclusive
                // lock.
                self.write_state()
                    .local
                    .insert(part.start..to.div_ceil(BLOCK));
            }
        }
        Ok(())
    }

    /// Notes a read. Returns the range to fetch next if the file is read sequentially.
    pub fn next_read_ahead(&self, offset: u64, len: u64) -> Option<BaseRange> {
        let mut base = None;
        let kept = || {
            let state = self.read_state();
            base = state.base.clone();
            base.as_ref().map(|_| state.kept)
        };
        let range = self.read_pattern.lock().note_read(offset, len, kept)?;
        Some(BaseRange { base: base?, range })
    }

    /// Returns the number of bytes of the version that the upper file lacks, in whole blocks.
    pub fn missing_bytes(&self) -> u64 {
        let state = self.read_state();
        let blocks = state.kept.div_ceil(BLOCK);
        (blocks - state.local.total().min(blocks)) * BLOCK
    }

    /// Returns the number of bytes that both the upper file and the version have.
    pub fn spare_bytes(&self) -> u64 {
        self.read_state().spare_bytes()
    }

    /// Returns how much of the upper file is only a copy of the version.
    pub fn copies(&self) -> SpareCopies {
        /// Freeing fewer bytes than this is not worth the work.
        const LEAST: u64 = 64 << 10;
        let state = self.read_state();
        let Some(base) = state
            .base
            .as_ref()
            .filter(|_| state.has_upper && state.damage.is_none())
        else {
            return SpareCopies::Nothing;
        };
        // No block differs, and no byte follows the kept part of the base.
        let is_copy = state.dirty.is_empty() && !state.changed && state.kept == state.size;
        if is_copy && state.size == base.size {
            return SpareCopies::All(Arc::clone(base));
        }
        let own = state.dirty.total() * BLOCK + state.size.saturating_sub(state.kept);
        if state.counted_bytes > own + LEAST {
            SpareCopies::Blocks
        } else {
            SpareCopies::Nothing
        }
    }

    /// Makes reads of copied blocks use the version from now on. The caller has to record this in
    /// the overlay database before [`Self::free_copies`].
    pub fn disown_copies(&self) {
        let mut state = self.write_state();
        state.local = state.dirty.clone();
    }

    /// Frees the space of blocks that the version has.
    pub fn free_copies(&self) -> io::Result<()> {
        let _exclusive = self.exclusive();
        let (sums, spare) = {
            let state = self.read_state();
            (
                Arc::clone(&state.sums),
                state.local.missing(&(0..state.kept / BLOCK)),
            )
        };
        let upper = self.open_upper()?;
        for blocks in spare {
            let range = blocks.start * BLOCK..blocks.end * BLOCK;
            let flags =
                rustix::fs::FallocateFlags::PUNCH_HOLE | rustix::fs::FallocateFlags::KEEP_SIZE;
            rustix::fs::fallocate(&*upper, flags, range.start, range.end - range.start)?;
            sums.record_zeros(&blocks);
        }
        self.change_count.fetch_add(1, Ordering::AcqRel);
        self.update_quota(&upper, &mut self.write_state());
        self.write_state().upper = None;
        Ok(())
    }
}
