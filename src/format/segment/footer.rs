//! The last 64 bytes of a segment, which determine the position of every section.
//!
//! The sections must fill the file exactly. Therefore no length can point outside of the file or
//! make a reader allocate more memory than the length of the file.

use super::{
    HEAD_BYTES, MAGIC, SegmentError, SegmentSection, VERSION, array, checked, checksum, fanout,
    filter, tables,
};
use crate::format::pack::PackKind;
use std::ops::Range;

/// Length of the footer in bytes.
pub const FOOTER_BYTES: u64 = 64;

/// The footer of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentFooter {
    /// Kind of the objects in the rows.
    pub kind: PackKind,
    /// Number of leading bits of an id that select its bucket.
    pub bits: u8,
    /// Number of rows.
    pub rows: u64,
    /// Total length of all buckets in bytes.
    pub bucket_bytes: u64,
    /// Number of blocks of the filter.
    pub filter_blocks: u64,
    /// Number of packs in the pack table.
    pub packs: u64,
    /// Number of segments that this segment replaces.
    pub replaces: u64,
}

/// Byte ranges of the sections in the file of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SegmentLayout {
    pub buckets: Range<u64>,
    pub fanout: Range<u64>,
    pub filter: Range<u64>,
    /// The pack table with its checksum.
    pub packs: Range<u64>,
    /// The list of replaced segments with its checksum.
    pub replaces: Range<u64>,
    /// Length of the file in bytes.
    pub file_bytes: u64,
}

impl SegmentFooter {
    pub fn encode(&self) -> [u8; 64] {
        let mut out = [0; 64];
        out[..8].copy_from_slice(&MAGIC);
        out[8..10].copy_from_slice(&VERSION.to_le_bytes());
        out[10] = self.kind.number();
        out[11] = self.bits;
        let numbers = [
            self.rows,
            self.bucket_bytes,
            self.filter_blocks,
            self.packs,
            self.replaces,
        ];
        for (slot, number) in out[16..56].chunks_exact_mut(8).zip(numbers) {
            slot.copy_from_slice(&number.to_le_bytes());
        }
        let sum = checksum(SegmentSection::Footer, 0, &out[..56]);
        out[56..].copy_from_slice(&sum);
        out
    }

    /// Decodes the last 64 bytes of a file.
    pub fn decode(bytes: &[u8; 64]) -> Result<Self, SegmentError> {
        if bytes[..8] != MAGIC {
            return Err(SegmentError::Damaged("not an index segment, or truncated"));
        }
        let version = u16::from_le_bytes(array(bytes, 8)?);
        // Verify the checksum before the version is reported, because a damaged version is no
        // version.
        let content = checked(SegmentSection::Footer, 0, bytes)?;
        if version != VERSION {
            return Err(SegmentError::Version(version));
        }
        let number = |at| Ok::<_, SegmentError>(u64::from_le_bytes(array(content, at)?));
        let footer = Self {
            kind: PackKind::from_number(content[10])
                .ok_or(SegmentError::Damaged("unknown kind"))?,
            bits: content[11],
            rows: number(16)?,
            bucket_bytes: number(24)?,
            filter_blocks: number(32)?,
            packs: number(40)?,
            replaces: number(48)?,
        };
        if footer.bits > fanout::MAX_BITS || footer.filter_blocks == 0 || content[12..16] != [0; 4]
        {
            return Err(SegmentError::Damaged("footer out of range"));
        }
        Ok(footer)
    }

    /// Returns the byte ranges of the sections, or `None` if a length overflows.
    pub fn layout(&self) -> Option<SegmentLayout> {
        let section = |from: u64, len: u64| Some(from..from.checked_add(len)?);
        let buckets = section(HEAD_BYTES, self.bucket_bytes)?;
        let fanout = section(buckets.end, fanout::section_bytes(self.bits))?;
        let filter = section(fanout.end, filter::section_bytes(self.filter_blocks)?)?;
        // Each of the two tables ends with its checksum (8 bytes).
        let packs = section(
            filter.end,
            self.packs.checked_mul(tables::PACK_BYTES)?.checked_add(8)?,
        )?;
        let replaces = section(
            packs.end,
            self.replaces
                .checked_mul(tables::NAME_BYTES)?
                .checked_add(8)?,
        )?;
        let file_bytes = replaces.end.checked_add(FOOTER_BYTES)?;
        Some(SegmentLayout {
            buckets,
            fanout,
            filter,
            packs,
            replaces,
            file_bytes,
        })
    }

    /// Returns the byte ranges of the sections. Fails unless they fill a file of `file_bytes` bytes
    /// exactly.
    pub fn layout_in(&self, file_bytes: u64) -> Result<SegmentLayout, SegmentError> {
        self.layout()
            .filter(|l| l.file_bytes == file_bytes)
            .ok_or(SegmentError::Damaged("sections do not cover the file"))
    }
}
