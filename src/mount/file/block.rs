//! The unit of change tracking: blocks of 4096 bytes, the page size of the kernel's cache.

use std::ops::Range;

/// Length of a block in bytes.
pub const BLOCK: u64 = 4096;
/// [`BLOCK`] as the length of a buffer.
pub(in crate::mount) const BLOCK_BYTES: usize = 4096;

/// Returns the blocks that a range of bytes touches.
pub(in crate::mount) fn blocks_of(range: &Range<u64>) -> Range<u64> {
    range.start / BLOCK..range.end.div_ceil(BLOCK)
}

/// Returns the blocks that a range of bytes covers completely, in a file of `size` bytes. The last
/// block of the file counts as complete.
pub(super) fn whole_blocks(range: &Range<u64>, size: u64) -> Range<u64> {
    let start = range.start.div_ceil(BLOCK);
    let end = if range.end >= size {
        range.end.div_ceil(BLOCK)
    } else {
        range.end / BLOCK
    };
    start..end.max(start)
}

/// Returns the blocks that a range of bytes touches but does not cover, in a file of `size` bytes.
pub(super) fn edge_blocks(range: &Range<u64>, size: u64) -> Vec<u64> {
    let (touched, whole) = (blocks_of(range), whole_blocks(range, size));
    if range.is_empty() {
        return Vec::new();
    }
    if whole.is_empty() {
        return touched.collect();
    }
    (touched.start..whole.start)
        .chain(whole.end..touched.end)
        .collect()
}
