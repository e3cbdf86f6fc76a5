//! Reads of an upper file that verify its checksums.

use std::fs::File;
use std::io;

use super::block::{BLOCK, BLOCK_BYTES, blocks_of, edge_blocks, whole_blocks};
use super::checksums::BlockSums;
use super::sparse::read_or_zeros;

/// An open upper file with its checksums and its length.
pub(super) struct CheckedFile<'w> {
    pub(super) file: &'w File,
    pub(super) sums: &'w BlockSums,
    pub(super) size: u64,
}

impl CheckedFile<'_> {
    /// Fills `out` from `offset` on. Returns a block whose checksum does not match, if there is
    /// one; the content of `out` is then undefined.
    pub(super) fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<Option<u64>> {
        read_or_zeros(self.file, out, offset)?;
        let range = offset..offset + out.len() as u64;
        if !self.sums.knows_any(&blocks_of(&range)) {
            return Ok(None);
        }
        let whole = whole_blocks(&range, self.size);
        if !whole.is_empty() {
            let index = |n: u64| usize::try_from(n - offset).unwrap_or(usize::MAX);
            let end = (whole.end * BLOCK).min(range.end);
            let wrong = self
                .sums
                .first_mismatch(whole.start, &out[index(whole.start * BLOCK)..index(end)]);
            if wrong.is_some() {
                return Ok(wrong);
            }
        }
        // A checksum covers a complete block, so a partly requested block is read completely.
        for block in edge_blocks(&range, self.size) {
            let mut bytes = [0; BLOCK_BYTES];
            read_or_zeros(self.file, &mut bytes, block * BLOCK)?;
            if let Some(wrong) = self.sums.first_mismatch(block, &bytes) {
                return Ok(Some(wrong));
            }
            let part = range.start.max(block * BLOCK)..range.end.min((block + 1) * BLOCK);
            let index = |n: u64, from: u64| usize::try_from(n - from).unwrap_or(usize::MAX);
            let from = &bytes[index(part.start, block * BLOCK)..index(part.end, block * BLOCK)];
            out[index(part.start, offset)..index(part.end, offset)].copy_from_slice(from);
        }
        Ok(None)
    }

    /// Records the checksum of a block that was partly overwritten.
    pub(super) fn record_again(&self, block: u64) {
        let mut bytes = [0; BLOCK_BYTES];
        match read_or_zeros(self.file, &mut bytes, block * BLOCK) {
            Ok(()) => self.sums.record(block, &bytes),
            // The old checksum is wrong now, and the new one cannot be computed.
            Err(_) => self.sums.forget(&(block..block + 1)),
        }
    }
}
