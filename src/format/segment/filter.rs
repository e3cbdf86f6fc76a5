//! The filter of a segment: a blocked Bloom filter. Each row sets seven bits in one block of 64
//! bytes.
//!
//! Ids are hashes, so their bytes serve as hash values: bytes 8..16 select the block, bytes 16..24
//! the bits. The filter is stored in pieces of at most 64 KiB with a checksum each, so that a
//! reader loads only the pieces that it needs. Looking up an absent id costs one cache miss,
//! because all bits of a row are in the same block.

use super::{SUM_BYTES, SegmentError, SegmentSection, checked, checksum};
use crate::model::id::Id;

/// Length of a block in bytes.
pub const BLOCK_BYTES: u64 = 64;
/// Number of blocks in a piece; the last piece may be shorter.
pub const PIECE_BLOCKS: u64 = 1024;
const BLOCK: usize = 64;
const PIECE: usize = 64 * 1024;
const BITS_PER_ROW: u64 = 10;
// Seven numbers of nine bits use 63 bits of one word of the id.
const PROBES: u32 = 7;

/// Returns the number of blocks in a filter for `rows` rows.
pub const fn blocks_for(rows: u64) -> u64 {
    let blocks = rows.saturating_mul(BITS_PER_ROW).div_ceil(BLOCK_BYTES * 8);
    // There is at least one block, because `block_of` always names a block.
    if blocks == 0 { 1 } else { blocks }
}

/// Returns the number of the block that belongs to `id` in a filter of `blocks` blocks.
pub fn block_of(id: &Id, blocks: u64) -> u64 {
    // Multiply and shift, because a modulo would be slower.
    let scaled = (u128::from(word(id, 8)) * u128::from(blocks)) >> 64;
    u64::try_from(scaled).unwrap_or(0)
}

/// Returns whether `block` may contain `id`. Returns false if `block` is shorter than a block.
pub fn may_contain(block: &[u8], id: &Id) -> bool {
    let bits = word(id, 16);
    (0..PROBES).all(|n| {
        let (byte, mask) = probe(bits, n);
        block.get(byte).is_some_and(|b| b & mask != 0)
    })
}

/// Returns the offset within the section and the stored length of a piece. `None` if a filter of
/// `blocks` blocks has no such piece.
pub fn piece_range(blocks: u64, piece: u64) -> Option<(u64, u64)> {
    let first = piece.checked_mul(PIECE_BLOCKS)?;
    let count = blocks.checked_sub(first)?.min(PIECE_BLOCKS);
    // A piece ends with its checksum.
    let step = PIECE_BLOCKS * BLOCK_BYTES + 8;
    Some((piece.checked_mul(step)?, count * BLOCK_BYTES + 8)).filter(|_| count > 0)
}

/// Returns the length in bytes of the section of a filter with `blocks` blocks. `None` on overflow.
pub fn section_bytes(blocks: u64) -> Option<u64> {
    blocks
        .checked_mul(BLOCK_BYTES)?
        .checked_add(blocks.div_ceil(PIECE_BLOCKS).checked_mul(8)?)
}

/// Verifies a stored piece and returns its blocks.
pub fn decode_piece(piece: u64, bytes: &[u8]) -> Result<&[u8], SegmentError> {
    let blocks = checked(SegmentSection::Filter, piece, bytes)?;
    if blocks.is_empty() || blocks.len() > PIECE || !blocks.len().is_multiple_of(BLOCK) {
        return Err(SegmentError::Damaged("filter piece has a wrong length"));
    }
    Ok(blocks)
}

/// Builds a filter in memory, with about 10 bits per row.
#[derive(Debug)]
pub struct FilterBuilder {
    bytes: Vec<u8>,
    blocks: u64,
}

impl FilterBuilder {
    /// Returns an empty filter for at most `rows` rows.
    pub fn new(rows: u64) -> Result<Self, SegmentError> {
        let blocks = blocks_for(rows);
        let bytes = usize::try_from(blocks * BLOCK_BYTES)
            .map_err(|_| SegmentError::Rows("too many rows"))?;
        Ok(Self {
            bytes: vec![0; bytes],
            blocks,
        })
    }

    pub fn insert(&mut self, id: &Id) {
        let bits = word(id, 16);
        // The number fits into usize, because `new` has reserved the memory of all blocks.
        let start = usize::try_from(block_of(id, self.blocks)).unwrap_or(0) * BLOCK;
        if let Some(block) = self.bytes.get_mut(start..start + BLOCK) {
            for n in 0..PROBES {
                let (byte, mask) = probe(bits, n);
                block[byte] |= mask;
            }
        }
    }

    /// Returns the number of blocks.
    pub const fn blocks(&self) -> u64 {
        self.blocks
    }

    /// Returns the stored pieces with their checksums, in order.
    pub fn pieces(&self) -> impl Iterator<Item = (&[u8], [u8; SUM_BYTES])> {
        (0u64..)
            .zip(self.bytes.chunks(PIECE))
            .map(|(n, piece)| (piece, checksum(SegmentSection::Filter, n, piece)))
    }
}

fn word(id: &Id, at: usize) -> u64 {
    let mut b = [0; 8];
    b.copy_from_slice(&id.0[at..at + 8]);
    u64::from_le_bytes(b)
}

fn probe(bits: u64, n: u32) -> (usize, u8) {
    // Nine bits of the id select one of the 512 bits of a block.
    let bit = (bits >> (n * 9)) & 511;
    (usize::try_from(bit >> 3).unwrap_or(0), 1 << (bit & 7))
}
