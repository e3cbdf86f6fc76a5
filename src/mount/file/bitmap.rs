//! Sets of blocks as the overlay database stores them: one bitmap for each 16 MiB of a file in
//! which the set has any blocks.
//!
//! A database row per bitmap keeps random writes cheap: a row per written range would cost a row
//! for each write.

use std::collections::BTreeMap;
use std::ops::Range;

use super::ranges::RangeSet;

/// Number of blocks per bitmap. A bitmap covers 16 MiB of a file and takes at most 512 bytes.
const PART: u64 = 4096;

/// Returns ranges of blocks as bitmaps, by index.
pub(in crate::mount) fn bitmaps_of(ranges: &[Range<u64>]) -> BTreeMap<u64, Vec<u8>> {
    let mut parts: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
    for range in ranges {
        let mut at = range.start;
        while at < range.end {
            let end = range.end.min((at / PART + 1) * PART);
            set(parts.entry(at / PART).or_default(), at % PART, end - at);
            at = end;
        }
    }
    parts
}

fn set(bits: &mut Vec<u8>, start: u64, count: u64) {
    let (start, end) = (index(start), index(start + count));
    if bits.len() < end.div_ceil(8) {
        bits.resize(end.div_ceil(8), 0);
    }
    let mut at = start;
    while at < end {
        if at.is_multiple_of(8) && at + 8 <= end {
            bits[at / 8] = 0xff;
            at += 8;
        } else {
            bits[at / 8] |= 1 << (at % 8);
            at += 1;
        }
    }
}

/// Returns the union of two bitmaps with the same index.
pub(in crate::mount) fn union(mut bits: Vec<u8>, mut more: Vec<u8>) -> Vec<u8> {
    if bits.len() < more.len() {
        std::mem::swap(&mut bits, &mut more);
    }
    bits.iter_mut().zip(more).for_each(|(a, b)| *a |= b);
    bits
}

/// Adds the blocks of the bitmap with index `part` to `known`.
pub(in crate::mount) fn add_bitmap(part: u64, bits: &[u8], known: &mut RangeSet) {
    let is_set = |at: usize| bits[at / 8] & 1 << (at % 8) != 0;
    let mut at = 0;
    while at < bits.len() * 8 {
        let start = at;
        while at < bits.len() * 8 && is_set(at) {
            at += 1;
        }
        if start < at {
            // The index comes from the overlay database, which may be damaged, so the product must
            // not overflow.
            let first = part.saturating_mul(PART);
            known.insert(first.saturating_add(start as u64)..first.saturating_add(at as u64));
        }
        at += 1;
    }
}

fn index(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::{any, proptest};

    proptest! {
        #[test]
        fn blocks_come_back(
            first in vec((0..40_000u64, 0..9_000u64), 0..20),
            second in vec((0..40_000u64, 0..40u64), 0..200),
            offset in any::<bool>(),
        ) {
            let base = if offset { u64::from(u32::MAX) } else { 0 };
            let ranges = |of: &[(u64, u64)]| of.iter().map(|(at, n)| base + at..base + at + n).collect::<Vec<_>>();
            let (first, second) = (ranges(&first), ranges(&second));
            let mut kept = bitmaps_of(&first);
            for (part, bits) in bitmaps_of(&second) {
                let known = kept.remove(&part).unwrap_or_default();
                kept.insert(part, union(bits, known));
            }
            let mut back = RangeSet::default();
            kept.iter().for_each(|(part, bits)| add_bitmap(*part, bits, &mut back));
            let mut expected = RangeSet::default();
            for range in first.into_iter().chain(second).filter(|r| !r.is_empty()) {
                expected.insert(range);
            }
            assert_eq!(back, expected);
        }
    }
}
