//! Checksums of the blocks of an upper file, so that damage on disk is an error and never a wrong byte.
//!
//! In: blocks as they are written. Out: whether a block that is read is still the one that was written. A block that was
//! never written is zeros. After a crash the bytes on disk may be newer than any checksum, so the blocks of a file that was
//! written since its seal are not known, and are not judged, until they are written again or the mount ends in order.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::{Mutex, MutexGuard};

use super::ranges::Ranges;
use super::state::BLOCK;
use crate::codec::sum::xxh64;

/// Blocks of a group, which is kept as long as one of its blocks is not zeros.
const GROUP: usize = 16;
/// Groups that a process holds at most, some 64 MiB; further blocks are not known.
const GROUPS_MAX: usize = 1 << 20;
/// The bytes of a block.
pub(super) const BLOCK_BYTES: usize = 4096;
/// Blocks of a row of the store.
const ROW: u64 = 1024;

static HELD: AtomicUsize = AtomicUsize::new(0);

/// The checksums of a file.
#[derive(Debug, Default)]
pub(super) struct Sums(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    /// Checksums by group; 0 is a block of zeros.
    groups: HashMap<u64, [u32; GROUP]>,
    /// Blocks of which nothing is known.
    unknown: Ranges,
    /// The kernel writes to the file by itself, so nothing that is noted holds.
    blind: bool,
}

/// The checksum of a block, of which trailing zeros may be left out.
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
    // The low half is as good as any other; 0 stands for zeros.
    u32::try_from(sum & u64::from(u32::MAX)).unwrap_or(0).max(1)
}

impl Known {
    fn place(block: u64) -> (u64, usize) {
        (block / GROUP as u64, usize::try_from(block % GROUP as u64).unwrap_or(0))
    }

    fn get(&self, block: u64) -> Option<u32> {
        if self.unknown.covers(&(block..block + 1)) {
            return None;
        }
        let (group, at) = Self::place(block);
        Some(self.groups.get(&group).map_or(0, |sums| sums[at]))
    }

    fn put(&mut self, block: u64, sum: u32) {
        if self.blind {
            return;
        }
        let (group, at) = Self::place(block);
        match self.groups.get_mut(&group) {
            Some(sums) => sums[at] = sum,
            None if sum == 0 => {}
            None if HELD.load(Ordering::Relaxed) >= GROUPS_MAX => {
                self.unknown.insert(block..block + 1);
                return;
            }
            None => {
                HELD.fetch_add(1, Ordering::Relaxed);
                let mut sums = [0; GROUP];
                sums[at] = sum;
                self.groups.insert(group, sums);
            }
        }
        if !self.unknown.is_empty() {
            self.unknown.remove(block..block + 1);
        }
    }

    /// Makes blocks zeros, or not known.
    fn wipe(&mut self, blocks: &Range<u64>, known: bool) {
        if self.blind {
            return;
        }
        let all = blocks.start / GROUP as u64..blocks.end.div_ceil(GROUP as u64);
        let touched: Vec<u64> = if (all.end - all.start) > self.groups.len() as u64 {
            self.groups.keys().copied().filter(|group| all.contains(group)).collect()
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
                    HELD.fetch_sub(1, Ordering::Relaxed);
                }
            }
        }
        match known {
            true => self.unknown.remove(blocks.clone()),
            false => drop(self.unknown.insert(blocks.clone())),
        }
    }
}

impl Drop for Known {
    fn drop(&mut self) {
        HELD.fetch_sub(self.groups.len(), Ordering::Relaxed);
    }
}

impl Sums {
    /// Of a file of which nothing is known.
    pub(super) fn unknown() -> Self {
        let sums = Self::default();
        sums.forget(&(0..u64::MAX));
        sums
    }

    /// Of a file that the kernel writes to by itself: nothing is ever known of it, also when the kernel has closed it, since
    /// programs may still have it mapped.
    pub(super) fn blind() -> Self {
        let sums = Self::unknown();
        sums.blindfold();
        sums
    }

    /// Forgets everything, and whatever is noted from now on.
    pub(super) fn blindfold(&self) {
        self.forget(&(0..u64::MAX));
        self.lock().blind = true;
    }

    /// Whether the kernel writes to the file by itself, or did.
    pub(super) fn is_blind(&self) -> bool {
        self.lock().blind
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock()
    }

    /// Notes what blocks hold now: whole blocks from `block` on, the last of which may end with the file.
    pub(super) fn note(&self, block: u64, bytes: &[u8]) {
        let sums: Vec<u32> = bytes.chunks(BLOCK_BYTES).map(sum_of).collect();
        let mut known = self.lock();
        for (block, sum) in (block..).zip(sums) {
            known.put(block, sum);
        }
    }

    /// Notes that blocks are zeros.
    pub(super) fn clear(&self, blocks: &Range<u64>) {
        self.lock().wipe(blocks, true);
    }

    /// Notes that nothing is known of blocks.
    pub(super) fn forget(&self, blocks: &Range<u64>) {
        self.lock().wipe(blocks, false);
    }

    /// Whether anything is known of the blocks of a range.
    pub(super) fn knows(&self, blocks: &Range<u64>) -> bool {
        let known = self.lock();
        known.unknown.is_empty() || !known.unknown.covers(blocks)
    }

    /// The first of the blocks from `block` on that is not what was written; the last one may be cut off at the end.
    pub(super) fn wrong(&self, block: u64, bytes: &[u8]) -> Option<u64> {
        let expected: Vec<Option<u32>> = {
            let known = self.lock();
            (block..).zip(bytes.chunks(BLOCK_BYTES)).map(|(block, _)| known.get(block)).collect()
        };
        let mut all = (block..).zip(bytes.chunks(BLOCK_BYTES)).zip(expected);
        all.find(|((_, bytes), sum)| sum.is_some_and(|sum| sum != sum_of(bytes))).map(|((block, _), _)| block)
    }

    /// Blocks below `end` of which nothing is known.
    pub(super) fn gaps(&self, end: u64) -> Vec<Range<u64>> {
        let known = self.lock();
        known.unknown.iter().map(|r| r.start..r.end.min(end)).filter(|r| !r.is_empty()).collect()
    }

    /// All checksums as rows of the store: the number of a row, and four bytes for each block without trailing zeros.
    pub(super) fn rows(&self) -> Vec<(u64, Vec<u8>)> {
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
        rows.into_iter().collect()
    }

    /// Takes a row of the store.
    pub(super) fn take_row(&self, row: u64, bytes: &[u8]) {
        let mut known = self.lock();
        let (sums, _) = bytes.as_chunks::<4>();
        for (block, sum) in (row.saturating_mul(ROW)..).zip(sums) {
            match u32::from_le_bytes(*sum) {
                0 => {}
                sum => known.put(block, sum),
            }
        }
    }
}

/// The blocks that are whole in a range of bytes of a file that ends at `size`.
pub(super) fn whole_blocks(range: &Range<u64>, size: u64) -> Range<u64> {
    let start = range.start.div_ceil(BLOCK);
    let end = if range.end >= size { range.end.div_ceil(BLOCK) } else { range.end / BLOCK };
    start..end.max(start)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_block_that_ends_with_the_file_is_followed_by_zeros() {
        let sums = Sums::default();
        sums.note(3, &[7; 100]);
        let mut whole = [0; BLOCK_BYTES];
        whole[..100].fill(7);
        assert_eq!(sums.wrong(3, &whole), None);
        whole[100] = 1;
        assert_eq!(sums.wrong(3, &whole), Some(3));
        assert_eq!(sums.wrong(0, &[0; 3 * BLOCK_BYTES]), None);
        sums.forget(&(3..4));
        assert_eq!(sums.wrong(3, &whole), None);
    }

    proptest! {
        #[test]
        fn they_are_those_of_the_bytes(steps in prop::collection::vec((0..4u8, 0..60u64, 1..30u64, any::<u8>()), 0..40)) {
            let sums = Sums::default();
            let mut model: Vec<Option<u8>> = vec![Some(0); 100];
            for (what, at, len, value) in steps {
                for block in at..at + len {
                    model[usize::try_from(block).unwrap()] = match what { 0 => None, 1 => Some(0), _ => Some(value) };
                }
                match what {
                    0 => sums.forget(&(at..at + len)),
                    1 => sums.clear(&(at..at + len)),
                    _ => sums.note(at, &vec![value; usize::try_from(len).unwrap() * BLOCK_BYTES]),
                }
            }
            let stored = Sums::default();
            for (row, bytes) in sums.rows() {
                stored.take_row(row, &bytes);
            }
            for (block, value) in (0..).zip(&model) {
                let expected = [value.unwrap_or(0); BLOCK_BYTES];
                prop_assert_eq!(sums.wrong(block, &expected), None);
                let other = [value.unwrap_or(0) ^ 1; BLOCK_BYTES];
                prop_assert_eq!(sums.wrong(block, &other), value.map(|_| block));
                prop_assert_eq!(stored.wrong(block, &other).is_some() || value.is_none(), true);
            }
        }
    }
}
