//! The length of a file and its allocated ranges: truncation, punched and reserved ranges, and the
//! search for data and holes.

use std::ops::Range;
use std::sync::atomic::Ordering;

use rustix::fs::FallocateFlags;

use super::{FileData, Piece, SIZE_MAX};
use crate::mount::errno::{Errno, FsResult};
use crate::mount::file::block::{BLOCK, blocks_of};
use crate::mount::file::sparse::{hole_run, punch_hole};
use crate::mount::lower::{HoleRun, LowerLayer};

impl FileData {
    /// Sets the length in bytes.
    pub fn set_size(&self, lower: &LowerLayer, size: u64) -> FsResult<()> {
        if size > SIZE_MAX {
            return Err(Errno::FBIG);
        }
        let _exclusive = self.begin_change();
        let before = self.read_state().size;
        if size == before {
            return Ok(());
        }
        if size == 0 {
            self.replace_damaged()?;
        }
        self.open_for_write()?;
        // If the kernel has the upper file open (passthrough), do not replace it: the kernel would
        // write to the old one, and those bytes would be lost.
        if size == 0 && !self.is_open_in_kernel() {
            self.leave_upper_to_snapshot()?;
        }
        self.save_for_snapshot(&(size..before))?;
        let upper = self.open_upper()?;
        if size < before && !size.is_multiple_of(BLOCK) {
            // The rest of the last block must read as zeros from now on, so the upper file has to
            // hold the block.
            let rest = size..(size.div_ceil(BLOCK) * BLOCK).min(before);
            self.verify_edges(&upper, &rest)?;
            self.fetch_edges(lower, &upper, &rest)?;
            self.write_state().mark_written(&rest);
        }
        self.note_change();
        self.length_unsynced.store(true, Ordering::Release);
        upper.set_len(size)?;
        if size < before {
            self.note_truncated(&upper, size);
        }
        let mut state = self.write_state();
        if let Some(frozen) = &state.frozen {
            frozen.note_size(size);
        }
        self.mark_changed(&mut state);
        self.note_change();
        // Set the flags again: a sync may have reset them after they were set above and before the
        // length changed.
        self.length_unsynced.store(true, Ordering::Release);
        self.update_quota(&upper, &mut state);
        state.size = size;
        if size < state.kept {
            state.kept = size;
            self.store_outdated.store(true, Ordering::Release);
            let gone = size.div_ceil(BLOCK)..u64::MAX;
            state.local.remove(gone.clone());
            state.dirty.remove(gone.clone());
            state.stored.remove(gone.clone());
            state.unstored.retain(|r| r.start < gone.start);
            state
                .unstored
                .iter_mut()
                .for_each(|r| r.end = r.end.min(gone.start));
        }
        Ok(())
    }

    /// Replaces a range with zeros and frees its space. The length does not change.
    pub fn punch(&self, lower: &LowerLayer, range: Range<u64>) -> FsResult<()> {
        let _exclusive = self.begin_change();
        let size = self.read_state().size;
        let range = range.start.min(size)..range.end.min(size);
        if range.is_empty() {
            return Ok(());
        }
        let upper = self.open_for_write()?;
        self.save_for_snapshot(&range)?;
        self.verify_edges(&upper, &range)?;
        self.fetch_edges(lower, &upper, &range)?;
        self.note_change();
        let emptied = punch_hole(&upper, &range);
        if emptied.is_err() {
            self.read_state().sums.forget(&blocks_of(&range));
        }
        emptied?;
        self.note_written(&upper, &range);
        self.note_sums(&upper, &range, None);
        Ok(())
    }

    /// Allocates space for the part of a range that only the upper file holds. With `grow`, the
    /// file is extended to the end of the range.
    pub fn reserve(&self, range: &Range<u64>, grow: bool) -> FsResult<()> {
        let _exclusive = self.begin_change();
        self.space.ensure_space()?;
        if range.end > SIZE_MAX {
            return Err(Errno::FBIG);
        }
        let upper = self.open_for_write()?;
        let (size, kept) = (self.read_state().size, self.read_state().kept);
        let own = range.start.max(kept.div_ceil(BLOCK) * BLOCK)..range.end;
        self.space
            .ensure_space_for(own.end.saturating_sub(own.start.max(size)))?;
        if !own.is_empty() {
            self.note_change();
            let flags = if grow {
                FallocateFlags::empty()
            } else {
                FallocateFlags::KEEP_SIZE
            };
            match rustix::fs::fallocate(&*upper, flags, own.start, own.end - own.start) {
                // A file system without `fallocate` cannot reserve space, but the file can still
                // grow.
                Err(rustix::io::Errno::OPNOTSUPP) => {}
                Err(e) => {
                    // `fallocate` may have extended the file before it failed.
                    self.truncate_to_size(&upper);
                    return Err(e.into());
                }
                Ok(()) => {}
            }
        }
        if grow && range.end > size {
            upper.set_len(range.end)?;
            let mut state = self.write_state();
            state.size = range.end;
            self.mark_changed(&mut state);
            self.note_change();
        }
        self.update_quota(&upper, &mut self.write_state());
        Ok(())
    }

    /// Returns the offset of the first data (or hole, if `data` is false) at or after `offset`.
    pub fn seek(&self, lower: &LowerLayer, offset: u64, data: bool) -> FsResult<u64> {
        self.refresh_from_kernel();
        let size = self.size();
        if offset >= size {
            return Err(Errno::NXIO);
        }
        let whole = usize::try_from(size - offset).unwrap_or(usize::MAX);
        if self.read_state().damage.is_some() {
            return Err(Errno::IO);
        }
        let seen = self.locate(offset, whole)?;
        for piece in &seen.pieces {
            let (mut at, end) = match piece {
                Piece::Upper(range) | Piece::Base(_, range) => (range.start, range.end),
            };
            while at < end {
                let HoleRun { hole, end: until } = match piece {
                    Piece::Base(base, _) => lower
                        .hole_run(&base.content, &(at..end))
                        .map_err(|e| Errno::from(&e))?,
                    Piece::Upper(..) => match &seen.upper {
                        None => HoleRun { hole: true, end },
                        Some(file) => hole_run(file, at, end)?,
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
