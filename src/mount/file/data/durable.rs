//! Making a file durable, sealing it, and freezing it for a snapshot.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::{fs, io};

use super::FileData;
use crate::mount::file::base::BaseFile;
use crate::mount::file::block::BLOCK;
use crate::mount::file::checksums::BlockSums;
use crate::mount::file::frozen::{FrozenChanges, FrozenFile};
use crate::mount::file::seal::{FileSeal, mtime_of, read_unknown_blocks};
use crate::mount::file::state::UnstoredBlocks;

impl FileData {
    /// Makes the written bytes durable. Returns the blocks that the overlay database has to record
    /// now.
    pub fn sync(&self) -> io::Result<UnstoredBlocks> {
        // Take the blocks and reset the flag before the sync, because the sync does not cover
        // blocks that are written while it runs.
        let unstored = {
            let mut state = self.write_state();
            UnstoredBlocks {
                ranges: std::mem::take(&mut state.unstored),
                replace: std::mem::take(&mut state.rewrite_blocks),
            }
        };
        let length_unsynced = self.length_unsynced.swap(false, Ordering::AcqRel);
        if let Err(e) = self.sync_bytes() {
            self.length_unsynced
                .fetch_or(length_unsynced, Ordering::AcqRel);
            self.return_unstored(unstored);
            return Err(e);
        }
        Ok(unstored)
    }

    /// Makes the written bytes durable without a record in the overlay database.
    pub fn sync_bytes(&self) -> io::Result<()> {
        let _one = self.sync_lock.lock();
        // The kernel's direct writes do not set the flag.
        if !self.unsynced.swap(false, Ordering::AcqRel) && !self.is_written_by_kernel() {
            return Ok(());
        }
        let upper = self.read_state().upper.clone();
        // A file that is not open is opened only for the sync, to keep few descriptors open.
        // `fdatasync` is sufficient, because it includes a new length (fdatasync(2)), and the
        // overlay database has the times.
        let synced = match &upper {
            Some(upper) => upper.sync_data(),
            None => self
                .space
                .open(self.ino)
                .and_then(|upper| upper.sync_data()),
        };
        synced.inspect_err(|_| self.unsynced.store(true, Ordering::Release))
    }

    /// Takes back blocks of [`Self::sync`] that could not be recorded.
    pub fn return_unstored(&self, blocks: UnstoredBlocks) {
        let mut state = self.write_state();
        state.unstored.extend(blocks.ranges);
        state.rewrite_blocks |= blocks.replace;
    }

    /// Requires a sync before the overlay database may record the file, if any bytes are unsynced.
    pub fn require_sync_first(&self) {
        if self.unsynced.load(Ordering::Acquire) {
            self.length_unsynced.store(true, Ordering::Release);
        }
    }

    /// Returns whether the file has to be synced before the overlay database may record it, because
    /// a crash could revert its length.
    pub fn must_sync_first(&self) -> bool {
        self.length_unsynced.load(Ordering::Acquire)
    }

    /// Returns whether the overlay database has to record blocks.
    pub fn has_unstored_blocks(&self) -> bool {
        let state = self.read_state();
        !state.unstored.is_empty() || state.rewrite_blocks
    }

    /// Removes the upper file. The inode must have neither names nor open handles.
    pub fn remove_upper(&self) {
        let mut state = self.write_state();
        self.space
            .recount(std::mem::take(&mut state.counted_bytes), 0);
        state.upper = None;
        if std::mem::take(&mut state.has_upper) {
            // If the removal fails, the next mount removes the file as an orphan.
            let _ = fs::remove_file(self.space.path(self.ino));
        }
        self.change_count.fetch_add(1, Ordering::AcqRel);
        (state.sums, state.damage) = (Arc::default(), None);
        state.unstored.clear();
        self.unsynced.store(false, Ordering::Release);
    }

    /// Returns the number of bytes that were written since the last commit.
    pub fn dirty_bytes(&self) -> u64 {
        let state = self.read_state();
        if !state.changed && state.frozen.is_none() {
            return 0;
        }
        state.dirty.total() * BLOCK + state.size.saturating_sub(state.kept)
    }

    /// Freezes the current state for a snapshot, until [`Self::thaw`]. The caller must keep writers
    /// out.
    pub fn freeze(&self) -> Arc<FrozenFile> {
        self.refresh_from_kernel();
        let mut state = self.write_state();
        let frozen = Arc::new(FrozenFile::new(
            state.state.clone(),
            self.space.path(self.ino),
        ));
        state.frozen = Some(Arc::clone(&frozen));
        // From now on, the flag says whether the file was changed after the snapshot.
        state.changed = false;
        frozen
    }

    /// Returns whether a running snapshot includes the file.
    pub fn is_frozen(&self) -> bool {
        self.read_state().frozen.is_some()
    }

    /// Ends a freeze. `became` is the stored form of the frozen state; blocks that were written
    /// after the freeze stay dirty. `None` means that nothing was stored.
    pub fn thaw(&self, became: Option<Arc<BaseFile>>) {
        let _exclusive = self.exclusive();
        let mut state = self.write_state();
        let Some(frozen) = state.frozen.take() else {
            return;
        };
        frozen.remove_side_file();
        self.store_outdated.store(true, Ordering::Release);
        let Some(base) = became else {
            state.changed = true;
            return;
        };
        let FrozenChanges {
            written,
            lowest_size,
        } = frozen.changes();
        // Bytes that were cut off since the freeze are zeros if the file has grown again.
        let kept = base.size.min(lowest_size);
        let end = kept.div_ceil(BLOCK);
        // Only the upper file had the bytes after the old base, so it holds these blocks
        // completely.
        let own: Range<u64> = state.kept.div_ceil(BLOCK)..end;
        if state.has_upper && !own.is_empty() {
            state.local.insert(own);
        }
        state.local.remove(end..u64::MAX);
        state.dirty = written;
        state.dirty.remove(end..u64::MAX);
        state.stored = state.dirty.clone();
        state.unstored = state.dirty.iter().collect();
        // The recorded blocks are relative to the old base.
        state.rewrite_blocks = true;
        state.kept = kept;
        state.base = Some(base);
    }

    /// Returns whether the overlay database has a seal of the file.
    pub fn is_sealed(&self) -> bool {
        self.sealed.load(Ordering::Acquire)
    }

    /// Sets whether the overlay database has a seal of the file.
    pub fn set_sealed(&self, sealed: bool) {
        self.sealed.store(sealed, Ordering::Release);
    }

    /// Returns whether all blocks have checksums.
    pub fn has_sums(&self) -> bool {
        let state = self.read_state();
        state
            .sums
            .unknown_blocks(state.size.div_ceil(BLOCK))
            .is_empty()
    }

    /// Creates a seal of the upper file, if the overlay database has none. Reads at most `budget`
    /// bytes to compute missing checksums; without these, the seal has none. The caller must keep
    /// writers out.
    pub fn seal(&self, budget: &mut u64) -> io::Result<Option<FileSeal>> {
        let _exclusive = self.exclusive();
        let (sums, size, own) = {
            let mut state = self.write_state();
            // The mount has ended, so the kernel cannot write to the file any more.
            if state.sums.is_disabled() {
                state.sums = Arc::new(BlockSums::unknown());
            }
            if !state.has_upper || state.damage.is_some() || self.is_sealed() {
                return Ok(None);
            }
            // The next mount reads these blocks from the upper file. Blocks copied from the version
            // are included only if the file is complete.
            let mut own = if state.is_complete() {
                state.local.clone()
            } else {
                state.dirty.clone()
            };
            own.insert(state.kept / BLOCK..state.size.div_ceil(BLOCK).max(state.kept / BLOCK));
            (Arc::clone(&state.sums), state.size, own)
        };
        let file = self.space.open(self.ino)?;
        let known = read_unknown_blocks(&file, &sums, size, &own, budget)?;
        let meta = file.metadata()?;
        // A seal with a different length would make the next mount report the file as damaged.
        let fits = meta.len() == size;
        Ok(fits.then(|| FileSeal {
            size,
            mtime: mtime_of(&meta),
            sums: known.then(|| sums.rows()),
        }))
    }
}
