//! The two small tables of a segment: the packs to which its rows refer, and the segments that it
//! replaces.
//!
//! The packs are sorted by name and unique. Therefore the numbers of two packs compare like their
//! names, and equal rows have the same encoding.

use super::{PackName, SUM_BYTES, SegmentError, SegmentName, SegmentSection, checked, checksum};

/// A pack to which the rows of a segment refer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PackEntry {
    pub name: PackName,
    /// Length of the pack in bytes.
    pub size_bytes: u64,
}

const ENTRY: usize = 40;
/// Length of a stored pack entry in bytes.
pub const PACK_BYTES: u64 = 40;
/// Length of a stored segment name in bytes.
pub const NAME_BYTES: u64 = 32;

/// The packs of a segment. The number of a pack is its position in the table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PackTable {
    entries: Vec<PackEntry>,
}

impl PackTable {
    /// Builds a table from packs in any order; duplicates are removed.
    pub fn new(mut entries: Vec<PackEntry>) -> Result<Self, SegmentError> {
        entries.sort_unstable();
        // The name is the hash of the content, so packs with the same name have the same length,
        // too.
        entries.dedup_by_key(|e| e.name);
        // Rows store the number of a pack in 32 bits.
        if u32::try_from(entries.len()).is_err() {
            return Err(SegmentError::Rows("too many packs"));
        }
        Ok(Self { entries })
    }

    /// Returns the packs sorted by name.
    pub fn entries(&self) -> &[PackEntry] {
        &self.entries
    }

    /// Returns the number of a pack, or `None` if it is not in the table.
    pub fn number(&self, name: &PackName) -> Option<u32> {
        u32::try_from(self.entries.binary_search_by(|e| e.name.cmp(name)).ok()?).ok()
    }

    /// Returns the pack with this number.
    pub fn get(&self, number: u32) -> Option<&PackEntry> {
        self.entries.get(usize::try_from(number).ok()?)
    }

    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.entries.len() * ENTRY + SUM_BYTES);
        for e in &self.entries {
            out.extend_from_slice(&e.name);
            out.extend_from_slice(&e.size_bytes.to_le_bytes());
        }
        let sum = checksum(SegmentSection::Packs, 0, &out);
        out.extend_from_slice(&sum);
        out
    }

    pub fn decode(bytes: &[u8]) -> Result<Self, SegmentError> {
        let (stored, rest) = checked(SegmentSection::Packs, 0, bytes)?.as_chunks::<ENTRY>();
        let mut entries = Vec::with_capacity(stored.len());
        for e in stored {
            let (mut name, mut size) = ([0; 32], [0; 8]);
            name.copy_from_slice(&e[..32]);
            size.copy_from_slice(&e[32..]);
            entries.push(PackEntry {
                name,
                size_bytes: u64::from_le_bytes(size),
            });
        }
        if !rest.is_empty() || !entries.is_sorted_by(|a, b| a.name < b.name) {
            return Err(SegmentError::Damaged("pack table is not sorted"));
        }
        Ok(Self { entries })
    }
}

/// Encodes the list of replaced segments.
pub fn encode_replaces(names: &[SegmentName]) -> Vec<u8> {
    let mut out = names.concat();
    let sum = checksum(SegmentSection::Replaces, 0, &out);
    out.extend_from_slice(&sum);
    out
}

/// Decodes the list of replaced segments.
pub fn decode_replaces(bytes: &[u8]) -> Result<Vec<SegmentName>, SegmentError> {
    let (names, rest) = checked(SegmentSection::Replaces, 0, bytes)?.as_chunks::<32>();
    if rest.is_empty() {
        Ok(names.to_vec())
    } else {
        Err(SegmentError::Damaged(
            "list of replaced segments has a wrong length",
        ))
    }
}
