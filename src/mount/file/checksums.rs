//! Checksums of the blocks of an upper file, so that damage on disk causes an error instead of
//! wrong bytes.
//!
//! A block without a checksum is zeros, unless it is in the set of unknown blocks. After a crash
//! the bytes on disk may be newer than the stored checksums. The blocks of a file that was written
//! after its seal are therefore unknown until they are written again or the mount ends cleanly.
//! Unknown blocks are not verified.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::{Mutex, MutexGuard};

use super::block::BLOCK_BYTES;
use super::ranges::RangeSet;
use crate::codec::sum::xxh64;

/// Number of blocks per group. A group is dropped when all of its blocks are zeros.
const GROUP: usize = 16;
/// Limit on the groups that one process keeps in memory, about 64 MiB. Further blocks stay unknown.
const GROUPS_MAX: usize = 1 << 20;
/// Number of blocks per row of the overlay database.
const ROW: u64 = 1024;

static GROUP_COUNT: AtomicUsize = AtomicUsize::new(0);

/// Checksums of consecutive blocks, as a row of the overlay database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SumRow {
    /// The index of the row.
    pub index: u64,
    /// Four bytes per block, without trailing zeros.
    pub sums: Vec<u8>,
}

/// The checksums of one upper file.
#[derive(Debug, Default)]
pub(in crate::mount) struct BlockSums(Mutex<SumTable>);

#[derive(Debug, Default)]
struct SumTable {
    /// Checksums by group; 0 means a block of zeros.
    groups: HashMap<u64, [u32; GROUP]>,
    /// Blocks without a usable checksum.
    unknown: RangeSet,
    /// Set when the kernel writes to the file directly, because recorded checksums would then be
    /// wrong.
    disabled: bool,
}

/// Returns the checksum of a block. Trailing zeros may be missing from `bytes`.
fn sum_of(bytes: &[u8]) -> u32 {
    if bytes.iter().all(|byte| *byte == 0) {
        return 0;
    }
    let sum = if bytes.len() == BLOCK_BYTES {
        xxh64(bytes, 0)
    } else {
        let mut whole = [0; BLOCK_BYTES];
        whole[..bytes.len()].copy_from_slice(bytes);
        xxh64(&whole, 0)
    };
    // 0 is reserved for blocks of zeros.
    u32::try_from(sum & u64::from(u32::MAX)).unwrap_or(0).max(1)
}

impl SumTable {
    fn place(block: u64) -> (u64, usize) {
        (
            block / GROUP as u64,
            usize::try_from(block % GROUP as u64).unwrap_or(0),
        )
    }

    fn get(&self, block: u64) -> Option<u32> {
        if self.unknown.covers(&(block..block + 1)) {
            return None;
        }
        let (group, at) = Self::place(block);
        Some(self.groups.get(&group).map_or(0, |sums| sums[at]))
    }

    fn put(&mut self, block: u64, sum: u32) {
        if self.disabled {
            return;
        }
        let (group, at) = Self::place(block);
        match self.groups.get_mut(&group) {
            Some(sums) => sums[at] = sum,
            None if sum == 0 => {}
            // Several threads may pass this check at once, because the limit need not be exact.
            None if GROUP_COUNT.load(Ordering::Relaxed) >= GROUPS_MAX => {
                self.unknown.insert(block..block + 1);
                return;
            }
            None => {
                GROUP_COUNT.fetch_add(1, Ordering::Relaxed);
                let mut sums = [0; GROUP];
                sums[at] = sum;
                self.groups.insert(group, sums);
            }
        }
        if !self.unknown.is_empty() {
            self.unknown.remove(block..block + 1);
        }
    }

    /// Marks blocks as zeros if `known`, and as unknown otherwise.
    fn wipe(&mut self, blocks: &Range<u64>, known: bool) {
        if self.disabled {
            return;
        }
        let all = blocks.start / GROUP as u64..blocks.end.div_ceil(GROUP as u64);
        // A truncation wipes the blocks up to `u64::MAX`, so visit only the groups that exist.
        let touched: Vec<u64> = if (all.end - all.start) > self.groups.len() as u64 {
            self.groups
                .keys()
                .copied()
                .filter(|group| all.contains(group))
                .collect()
        } else {
            all.collect()
        };
        for group in touched {
            let first = group * GROUP as u64;
            if let Some(sums) = self.groups.get_mut(&group) {
                for (block, sum) in (first..).zip(sums.iter_mut()) {
                    *sum = if blocks.contains(&block) { 0 } else { *sum };
                }
                if sums.iter().all(|sum| *sum == 0) {
                    self.groups.remove(&group);
                    GROUP_COUNT.fetch_sub(1, Ordering::Relaxed);
                }
            }
        }
        if known {
            self.unknown.remove(blocks.clone());
        } else {
            self.unknown.insert(blocks.clone());
        }
    }
}

impl Drop for SumTable {
    fn drop(&mut self) {
        GROUP_COUNT.fetch_sub(self.groups.len(), Ordering::Relaxed);
    }
}

impl BlockSums {
    /// Returns checksums with all blocks unknown.
    pub(in crate::mount) fn unknown() -> Self {
        let sums = Self::default();
        sums.forget(&(0..u64::MAX));
        sums
    }

    /// Returns the checksums of a file in passthrough mode. The checksums stay unknown even after
    /// the kernel has closed the file, because a program may still have the file mapped.
    pub(in crate::mount) fn disabled() -> Self {
        let sums = Self::unknown();
        sums.disable();
        sums
    }

    /// Forgets all checksums and records no new ones.
    pub(in crate::mount) fn disable(&self) {
        self.forget(&(0..u64::MAX));
        self.lock().disabled = true;
    }

    /// Returns whether checksums are disabled because of passthrough.
    pub(in crate::mount) fn is_disabled(&self) -> bool {
        self.lock().disabled
    }

    fn lock(&self) -> MutexGuard<'_, SumTable> {
        self.0.lock()
    }

    /// Records the checksums of `bytes`, which start at block `block`. Only the last block may be
    /// incomplete, at the end of the file.
    pub(in crate::mount) fn record(&self, block: u64, bytes: &[u8]) {
        // Compute the checksums before taking the lock, because hashing takes longer than the
        // update.
        let sums: Vec<u32> = bytes.chunks(BLOCK_BYTES).map(sum_of).collect();
        let mut known = self.lock();
        for (block, sum) in (block..).zip(sums) {
            known.put(block, sum);
        }
    }

    /// Records that blocks are zeros.
    pub(in crate::mount) fn record_zeros(&self, blocks: &Range<u64>) {
        self.lock().wipe(blocks, true);
    }

    /// Marks blocks as unknown.
    pub(in crate::mount) fn forget(&self, blocks: &Range<u64>) {
        self.lock().wipe(blocks, false);
    }

    /// Returns whether at least one block of a range is known.
    pub(in crate::mount) fn knows_any(&self, blocks: &Range<u64>) -> bool {
        let known = self.lock();
        known.unknown.is_empty() || !known.unknown.covers(blocks)
    }

    /// Compares `bytes`, which start at block `block`, with the checksums. Returns the first block
    /// whose known checksum does not match, or `None` if there is none. The last block may be
    /// incomplete.
    pub(in crate::mount) fn first_mismatch(&self, block: u64, bytes: &[u8]) -> Option<u64> {
        let expected: Vec<Option<u32>> = {
            let known = self.lock();
            (block..)
                .zip(bytes.chunks(BLOCK_BYTES))
                .map(|(block, _)| known.get(block))
                .collect()
        };
        let mut all = (block..).zip(bytes.chunks(BLOCK_BYTES)).zip(expected);
        all.find(|((_, bytes), sum)| sum.is_some_and(|sum| sum != sum_of(bytes)))
            .map(|((block, _), _)| block)
    }

    /// Returns the unknown blocks below `end`.
    pub(in crate::mount) fn unknown_blocks(&self, end: u64) -> Vec<Range<u64>> {
        let known = self.lock();
        known
            .unknown
            .iter()
            .map(|r| r.start..r.end.min(end))
            .filter(|r| !r.is_empty())
            .collect()
    }

    /// Returns all checksums as rows of the overlay database: the index of the row, and four bytes
    /// per block without trailing zeros.
    pub(in crate::mount) fn rows(&self) -> Vec<SumRow> {
        let known = self.lock();
        let mut rows: std::collections::BTreeMap<u64, Vec<u8>> = std::collections::BTreeMap::new();
        for (group, sums) in &known.groups {
            let first = group * GROUP as u64;
            for (block, sum) in (first..).zip(sums).filter(|(_, sum)| **sum != 0) {
                let bytes = rows.entry(block / ROW).or_default();
                let at = usize::try_from(block % ROW).unwrap_or(0) * 4;
                if bytes.len() < at + 4 {
                    bytes.resize(at + 4, 0);
                }
                bytes[at..at + 4].copy_from_slice(&sum.to_le_bytes());
            }
        }
        rows.into_iter()
            .map(|(index, sums)| SumRow { index, sums })
            .collect()
    }

    /// Adds the checksums in a row of the overlay database.
    pub(in crate::mount) fn add_row(&self, index: u64, bytes: &[u8]) {
        let mut known = self.lock();
        let (sums, _) = bytes.as_chunks::<4>();
        for (block, sum) in (index.saturating_mul(ROW)..).zip(sums) {
            match u32::from_le_bytes(*sum) {
                0 => {}
                sum => known.put(block, sum),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_block_that_ends_with_the_file_is_followed_by_zeros() {
        let sums = BlockSums::default();
        sums.record(3, &[7; 100]);
        let mut whole = [0; BLOCK_BYTES];
        whole[..100].fill(7);
        assert_eq!(sums.first_mismatch(3, &whole), None);
        whole[100] = 1;
        assert_eq!(sums.first_mismatch(3, &whole), Some(3));
        assert_eq!(sums.first_mismatch(0, &[0; 3 * BLOCK_BYTES]), None);
        sums.forget(&(3..4));
        assert_eq!(sums.first_mismatch(3, &whole), None);
    }

    proptest! {
        #[test]
        fn they_are_those_of_the_bytes(steps in prop::collection::vec((0..4u8, 0..60u64, 1..30u64, any::<u8>()), 0..40)) {
            let sums = BlockSums::default();
            let mut model: Vec<Option<u8>> = vec![Some(0); 100];
            for (what, at, len, value) in steps {
                for block in at..at + len {
                    // Step 0 makes blocks unknown, step 1 makes them zeros, and the other steps
                    // record bytes.
                    model[usize::try_from(block).unwrap()] = match what { 0 => None, 1 => Some(0), _ => Some(value) };
                }
                match what {
                    0 => sums.forget(&(at..at + len)),
                    1 => sums.record_zeros(&(at..at + len)),
                    _ => sums.record(at, &vec![value; usize::try_from(len).unwrap() * BLOCK_BYTES]),
                }
            }
            let stored = BlockSums::default();
            for row in sums.rows() {
                stored.add_row(row.index, &row.sums);
            }
            for (block, value) in (0..).zip(&model) {
                let expected = [value.unwrap_or(0); BLOCK_BYTES];
                prop_assert_eq!(sums.first_mismatch(block, &expected), None);
                let other = [value.unwrap_or(0) ^ 1; BLOCK_BYTES];
                prop_assert_eq!(sums.first_mismatch(block, &other), value.map(|_| block));
                prop_assert_eq!(stored.first_mismatch(block, &other).is_some() || value.is_none(), true);
            }
        }
    }
}
