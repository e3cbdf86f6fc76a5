//! The fan-out of a segment: the positions of the buckets. A page describes up to 512 buckets: the
//! position of its first bucket in the file, then the end of each bucket relative to that position.
//!
//! Each page has a checksum and can be read on its own. A decoded page contains only byte ranges
//! that are ascending, limited in length, and within the file.

use super::{HEAD_BYTES, SegmentError, SegmentSection, array, checked, checksum};
use crate::model::id::Id;
use std::ops::Range;

/// Number of buckets per page; the only page of a small segment has fewer.
pub const PAGE_BUCKETS: u64 = 512;
/// Limit on the length of a bucket in bytes, so that the buckets of a page stay below 4 GiB.
pub const MAX_BUCKET_BYTES: u32 = 4 << 20;
/// Limit on the number of bits that select a bucket.
pub const MAX_BITS: u8 = 27;
// A lookup verifies and scans its whole bucket. Measured: 3.9 us with 64 rows, and 2.5 us with 32
// rows for 0.6 % more bytes.
const TARGET_ROWS: u64 = 32;

/// Returns the number of id bits that select a bucket, at most [`MAX_BITS`]: the smallest number
/// for which a bucket has at most 32 rows on average.
pub fn bits_for(rows: u64) -> u8 {
    let mut bits = 0;
    while bits < MAX_BITS && rows >> bits > TARGET_ROWS {
        bits += 1;
    }
    bits
}

/// Returns the bucket of an id: the number in its first `bits` bits.
pub fn bucket_of(id: &Id, bits: u8) -> u64 {
    // With 0 bits, the shift by 64 overflows, and the only bucket is 0.
    id.prefix().checked_shr(64 - u32::from(bits)).unwrap_or(0)
}

/// Returns the numbers of the buckets that a page describes.
pub fn buckets_of_page(bits: u8, page: u64) -> Range<u64> {
    let all = 1u64 << bits.min(MAX_BITS);
    let first = page.saturating_mul(PAGE_BUCKETS).min(all);
    first..(first + PAGE_BUCKETS).min(all)
}

/// Returns the number of pages.
pub fn page_count(bits: u8) -> u64 {
    (1u64 << bits.min(MAX_BITS)).div_ceil(PAGE_BUCKETS)
}

/// Returns the offset of a page within the section, and its stored length, in bytes.
pub fn page_range(bits: u8, page: u64) -> (u64, u64) {
    let buckets = buckets_of_page(bits, page);
    (
        page.saturating_mul(PAGE_BUCKETS * 4 + 16),
        // Besides the ends, a page has a position (8 bytes) and a checksum (8).
        (buckets.end - buckets.start) * 4 + 16,
    )
}

/// Returns the length of the section in bytes.
pub fn section_bytes(bits: u8) -> u64 {
    (1u64 << bits.min(MAX_BITS)) * 4 + page_count(bits) * 16
}

/// One page of the fan-out.
#[derive(Debug)]
pub struct FanoutPage {
    start: u64,
    ends: Box<[u32]>,
}

impl FanoutPage {
    /// Decodes page `page` of a segment whose buckets end at byte `limit` of the file.
    pub fn decode(bits: u8, page: u64, limit: u64, bytes: &[u8]) -> Result<Self, SegmentError> {
        let content = checked(SegmentSection::Fanout, page, bytes)?;
        let start = u64::from_le_bytes(array(content, 0)?);
        let (ends, rest) = content[8..].as_chunks::<4>();
        let buckets = buckets_of_page(bits, page);
        if !rest.is_empty() || ends.len() as u64 != buckets.end - buckets.start {
            return Err(SegmentError::Damaged("fan-out page has a wrong length"));
        }
        let ends: Box<[u32]> = ends.iter().map(|e| u32::from_le_bytes(*e)).collect();
        // A checksum does not protect against a forged segment, and a reader reserves the length of
        // a bucket before it reads the bucket.
        let mut before = 0;
        for &end in &ends {
            if end
                .checked_sub(before)
                .is_none_or(|len| len > MAX_BUCKET_BYTES)
            {
                return Err(SegmentError::Damaged("fan-out is not ascending"));
            }
            before = end;
        }
        // A bucket outside of the section of buckets would be read from another section, or from
        // beyond the end of the file.
        if start < HEAD_BYTES
            || start
                .checked_add(u64::from(before))
                .is_none_or(|end| end > limit)
        {
            return Err(SegmentError::Damaged("fan-out entry out of range"));
        }
        Ok(Self { start, ends })
    }

    /// Returns the byte range in the file of the `nth` bucket of this page.
    pub fn bucket(&self, nth: u64) -> Option<Range<u64>> {
        let nth = usize::try_from(nth).ok()?;
        let end = *self.ends.get(nth)?;
        let begin = if nth == 0 {
            0
        } else {
            *self.ends.get(nth - 1)?
        };
        Some(self.start + u64::from(begin)..self.start + u64::from(end))
    }

    /// Returns the byte range in the file of all buckets of this page.
    pub fn span(&self) -> Range<u64> {
        self.start..self.start + u64::from(self.ends.last().copied().unwrap_or(0))
    }
}

/// Encodes the section from the lengths of all buckets.
pub fn encode(lengths: &[u32]) -> Vec<u8> {
    let mut out = Vec::with_capacity(lengths.len() * 4 + lengths.len().div_ceil(512) * 16);
    let mut start = HEAD_BYTES;
    for (page, lengths) in (0u64..).zip(lengths.chunks(512)) {
        let from = out.len();
        out.extend_from_slice(&start.to_le_bytes());
        let mut end = 0u32;
        for len in lengths {
            // No overflow: the bucket encoder rejects buckets above `MAX_BUCKET_BYTES`.
            end = end.wrapping_add(*len);
            out.extend_from_slice(&end.to_le_bytes());
        }
        start += u64::from(end);
        let sum = checksum(SegmentSection::Fanout, page, &out[from..]);
        out.extend_from_slice(&sum);
    }
    out
}
