//! Checksums of the blocks in the upper file: reads verify them, and writes record them.

use std::fs::File;
use std::ops::Range;
use std::sync::Arc;

use super::FileData;
use crate::error::Result;
use crate::mount::errno::{Errno, FsResult};
use crate::mount::error::MountError;
use crate::mount::file::block::{BLOCK, BLOCK_BYTES, blocks_of, edge_blocks, whole_blocks};
use crate::mount::file::checked::CheckedFile;
use crate::mount::file::state::FileState;

impl FileData {
    /// Fills `out` from the upper file and verifies the checksums.
    pub(super) fn read_verified(
        &self,
        written: &CheckedFile<'_>,
        offset: u64,
        out: &mut [u8],
    ) -> Result<()> {
        match written.read(offset, out) {
            Ok(None) => return Ok(()),
            Ok(Some(_)) => {}
            Err(e) => return Err(self.io_error("read", e)),
        }
        // A concurrent write may have written its bytes but not yet their checksums, so read again
        // while no write is in progress.
        let _exclusive = self.exclusive();
        match written.read(offset, out) {
            Ok(None) => Ok(()),
            Ok(Some(block)) => Err(self.wrong_block_error(block)),
            Err(e) => Err(self.io_error("read", e)),
        }
    }

    pub(super) fn wrong_block_error(&self, block: u64) -> crate::error::Error {
        let why = format!("checksum mismatch in the block at offset {}", block * BLOCK);
        MountError::Upper {
            path: self.space.path(self.ino),
            why,
        }
        .into()
    }

    /// Returns the error if the upper file as a whole is damaged.
    pub(super) fn damage_error(&self, state: &FileState) -> Option<MountError> {
        let why = state.damage.as_ref()?.to_string();
        Some(MountError::Upper {
            path: self.space.path(self.ino),
            why,
        })
    }

    /// Returns whether all blocks of a range are unmodified copies of the version's blocks.
    pub(super) fn is_copy(state: &FileState, range: &Range<u64>) -> bool {
        let blocks = blocks_of(range);
        range.end <= state.kept && state.base.is_some() && state.dirty.missing(&blocks) == [blocks]
    }

    /// Fails if a block that is about to be partly overwritten does not match its checksum, because
    /// the new checksum would hide the damage.
    pub(super) fn verify_edges(&self, upper: &File, range: &Range<u64>) -> FsResult<()> {
        let (sums, size, edges) = {
            let state = self.read_state();
            let own = |block: &u64| {
                *block * BLOCK >= state.kept || state.local.covers(&(*block..*block + 1))
            };
            let edges: Vec<u64> = edge_blocks(range, state.size.max(range.end))
                .into_iter()
                .filter(own)
                .collect();
            (Arc::clone(&state.sums), state.size, edges)
        };
        let written = CheckedFile {
            file: upper,
            sums: &sums,
            size,
        };
        for block in edges {
            let mut bytes = [0; BLOCK_BYTES];
            if written.read(block * BLOCK, &mut bytes)?.is_some() {
                return Err(Errno::IO);
            }
        }
        Ok(())
    }

    /// Records the checksums of a range after `bytes` were written to it, or zeros if `None`.
    pub(super) fn note_sums(&self, upper: &File, range: &Range<u64>, bytes: Option<&[u8]>) {
        let (sums, size) = {
            let state = self.read_state();
            (Arc::clone(&state.sums), state.size.max(range.end))
        };
        let whole = whole_blocks(range, size);
        if !whole.is_empty() {
            match bytes {
                Some(bytes) => {
                    let from =
                        usize::try_from(whole.start * BLOCK - range.start).unwrap_or(usize::MAX);
                    let end = usize::try_from((whole.end * BLOCK).min(range.end) - range.start)
                        .unwrap_or(usize::MAX);
                    sums.record(whole.start, &bytes[from..end]);
                }
                None => sums.record_zeros(&whole),
            }
        }
        let written = CheckedFile {
            file: upper,
            sums: &sums,
            size,
        };
        // The rest of such a block is not in `bytes`, so the block is read again for its checksum.
        edge_blocks(range, size)
            .into_iter()
            .for_each(|block| written.record_again(block));
    }

    /// Records that the file was truncated, perhaps in the middle of a block.
    pub(super) fn note_truncated(&self, upper: &File, size: u64) {
        let sums = Arc::clone(&self.read_state().sums);
        sums.record_zeros(&(size.div_ceil(BLOCK)..u64::MAX));
        if !size.is_multiple_of(BLOCK) {
            CheckedFile {
                file: upper,
                sums: &sums,
                size,
            }
            .record_again(size / BLOCK);
        }
    }
}
