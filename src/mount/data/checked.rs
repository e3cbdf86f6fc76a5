//! Reading an upper file and noting what it holds: a block that is not the one that was written is an error.

use std::fs::File;
use std::io;
use std::ops::Range;

use super::{Data, read_or_zeros};
use crate::error::Result;
use crate::mount::errno::{Answer, Errno};
use crate::mount::error::MountError;
use crate::mount::state::{BLOCK, State, blocks};
use crate::mount::sums::{BLOCK_BYTES, Sums, whole_blocks};

/// What of an upper file is looked at: its checksums, and where it ends.
pub(in crate::mount) struct Written<'w> {
    pub(in crate::mount) file: &'w File,
    pub(in crate::mount) sums: &'w Sums,
    pub(in crate::mount) size: u64,
}

impl Written<'_> {
    /// Fills `out` from `offset` on. Returns the first block that is not what was written; `out` means nothing then.
    pub(in crate::mount) fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<Option<u64>> {
        read_or_zeros(self.file, out, offset)?;
        let range = offset..offset + out.len() as u64;
        if !self.sums.knows(&blocks(&range)) {
            return Ok(None);
        }
        let whole = whole_blocks(&range, self.size);
        if !whole.is_empty() {
            let index = |n: u64| usize::try_from(n - offset).unwrap_or(usize::MAX);
            let end = (whole.end * BLOCK).min(range.end);
            let wrong = self.sums.wrong(whole.start, &out[index(whole.start * BLOCK)..index(end)]);
            if wrong.is_some() {
                return Ok(wrong);
            }
        }
        // Of a block that is asked for in part, all is read: the checksum is of the whole.
        for block in edge_blocks(&range, self.size) {
            let mut bytes = [0; BLOCK_BYTES];
            read_or_zeros(self.file, &mut bytes, block * BLOCK)?;
            if let Some(wrong) = self.sums.wrong(block, &bytes) {
                return Ok(Some(wrong));
            }
            let part = range.start.max(block * BLOCK)..range.end.min((block + 1) * BLOCK);
            let index = |n: u64, from: u64| usize::try_from(n - from).unwrap_or(usize::MAX);
            let from = &bytes[index(part.start, block * BLOCK)..index(part.end, block * BLOCK)];
            out[index(part.start, offset)..index(part.end, offset)].copy_from_slice(from);
        }
        Ok(None)
    }

    /// Notes what a block holds that was written in part.
    fn note_again(&self, block: u64) {
        let mut bytes = [0; BLOCK_BYTES];
        match read_or_zeros(self.file, &mut bytes, block * BLOCK) {
            Ok(()) => self.sums.note(block, &bytes),
            Err(_) => self.sums.forget(&(block..block + 1)),
        }
    }
}

/// The blocks that a range touches without covering them, in a file that ends at `size`.
fn edge_blocks(range: &Range<u64>, size: u64) -> Vec<u64> {
    let (touched, whole) = (blocks(range), whole_blocks(range, size));
    if range.is_empty() {
        return Vec::new();
    }
    if whole.is_empty() {
        return touched.collect();
    }
    (touched.start..whole.start).chain(whole.end..touched.end).collect()
}

impl Data {
    /// Fills `out` from the upper file.
    pub(super) fn read_upper(&self, written: &Written<'_>, offset: u64, out: &mut [u8]) -> Result<()> {
        match written.read(offset, out) {
            Ok(None) => return Ok(()),
            Ok(Some(_)) => {}
            Err(e) => return Err(self.failed("read", e)),
        }
        // A write may be between its bytes and their checksums: without one it is looked at again.
        let _alone = self.alone();
        match written.read(offset, out) {
            Ok(None) => Ok(()),
            Ok(Some(block)) => Err(self.wrong_block(block)),
            Err(e) => Err(self.failed("read", e)),
        }
    }

    fn wrong_block(&self, block: u64) -> crate::error::Error {
        let why = format!("the block at byte {} is not the one that was written", block * BLOCK);
        MountError::Upper { path: self.space.path(self.ino), why }.into()
    }

    /// The error of an upper file that is damaged as a whole.
    pub(super) fn is_lost(&self, state: &State) -> Option<MountError> {
        let why = state.lost.as_ref()?.to_string();
        Some(MountError::Upper { path: self.space.path(self.ino), why })
    }

    /// Whether blocks that were written are the version's too, so that it can be asked instead.
    pub(super) fn is_spare(state: &State, range: &Range<u64>) -> bool {
        let blocks = blocks(range);
        range.end <= state.kept && state.base.is_some() && state.dirty.absent(&blocks) == [blocks]
    }

    /// Fails if blocks that are about to change in part are not what was written: nobody could tell later.
    pub(super) fn check_edges(&self, upper: &File, range: &Range<u64>) -> Answer<()> {
        let (sums, size, edges) = {
            let state = self.get();
            let own = |block: &u64| *block * BLOCK >= state.kept || state.local.covers(&(*block..*block + 1));
            let edges: Vec<u64> = edge_blocks(range, state.size.max(range.end)).into_iter().filter(own).collect();
            (std::sync::Arc::clone(&state.sums), state.size, edges)
        };
        let written = Written { file: upper, sums: &sums, size };
        for block in edges {
            let mut bytes = [0; BLOCK_BYTES];
            if written.read(block * BLOCK, &mut bytes)?.is_some() {
                return Err(Errno::IO);
            }
        }
        Ok(())
    }

    /// Notes the checksums of a range of which `bytes` were written, or zeros.
    pub(super) fn note_sums(&self, upper: &File, range: &Range<u64>, bytes: Option<&[u8]>) {
        let (sums, size) = {
            let state = self.get();
            (std::sync::Arc::clone(&state.sums), state.size.max(range.end))
        };
        let whole = whole_blocks(range, size);
        if !whole.is_empty() {
            match bytes {
                Some(bytes) => {
                    let from = usize::try_from(whole.start * BLOCK - range.start).unwrap_or(usize::MAX);
                    let end = usize::try_from((whole.end * BLOCK).min(range.end) - range.start).unwrap_or(usize::MAX);
                    sums.note(whole.start, &bytes[from..end]);
                }
                None => sums.clear(&whole),
            }
        }
        let written = Written { file: upper, sums: &sums, size };
        edge_blocks(range, size).into_iter().for_each(|block| written.note_again(block));
    }

    /// Notes that the file was cut off, in the middle of a block perhaps.
    pub(super) fn note_cut(&self, upper: &File, size: u64) {
        let sums = std::sync::Arc::clone(&self.get().sums);
        sums.clear(&(size.div_ceil(BLOCK)..u64::MAX));
        if !size.is_multiple_of(BLOCK) {
            Written { file: upper, sums: &sums, size }.note_again(size / BLOCK);
        }
    }
}
