//! The two small tables of a segment: the packs that its rows speak of, and the segments that it replaces.
//!
//! Packs are sorted by name without repeats, so that the number of a pack orders like its name, and equal rows give equal bytes.

use super::{Error, PackName, SUM_BYTES, Section, SegmentName, checked, checksum};

/// A pack that a segment speaks of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PackEntry {
    /// SHA-256 of the pack.
    pub name: PackName,
    /// Its length in bytes.
    pub size_bytes: u64,
}

const ENTRY: usize = 40;
/// Bytes of one stored pack entry.
pub const PACK_BYTES: u64 = 40;
/// Bytes of one stored segment name.
pub const NAME_BYTES: u64 = 32;

/// The packs of a segment; a pack's number is its position.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PackTable {
    entries: Vec<PackEntry>,
}

impl PackTable {
    /// A table of these packs, in any order, repeats allowed.
    pub fn new(mut entries: Vec<PackEntry>) -> Result<Self, Error> {
        entries.sort_unstable();
        entries.dedup_by_key(|e| e.name);
        if u32::try_from(entries.len()).is_err() {
            return Err(Error::Rows("too many packs"));
        }
        Ok(Self { entries })
    }

    /// The packs in order of their names.
    pub fn entries(&self) -> &[PackEntry] {
        &self.entries
    }

    /// The number of a pack.
    pub fn number(&self, name: &PackName) -> Option<u32> {
        u32::try_from(self.entries.binary_search_by(|e| e.name.cmp(name)).ok()?).ok()
    }

    /// The pack with a number.
    pub fn get(&self, number: u32) -> Option<&PackEntry> {
        self.entries.get(usize::try_from(number).ok()?)
    }

    /// The stored form.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.entries.len() * ENTRY + SUM_BYTES);
        for e in &self.entries {
            out.extend_from_slice(&e.name);
            out.extend_from_slice(&e.size_bytes.to_le_bytes());
        }
        let sum = checksum(Section::Packs, 0, &out);
        out.extend_from_slice(&sum);
        out
    }

    /// Decodes the stored form.
    pub fn decode(bytes: &[u8]) -> Result<Self, Error> {
        let (stored, rest) = checked(Section::Packs, 0, bytes)?.as_chunks::<ENTRY>();
        let mut entries = Vec::with_capacity(stored.len());
        for e in stored {
            let (mut name, mut size) = ([0; 32], [0; 8]);
            name.copy_from_slice(&e[..32]);
            size.copy_from_slice(&e[32..]);
            entries.push(PackEntry { name, size_bytes: u64::from_le_bytes(size) });
        }
        if !rest.is_empty() || !entries.is_sorted_by(|a, b| a.name < b.name) {
            return Err(Error::Damaged("pack table is not sorted"));
        }
        Ok(Self { entries })
    }
}

/// The stored form of the list of replaced segments.
pub fn encode_replaces(names: &[SegmentName]) -> Vec<u8> {
    let mut out = names.concat();
    let sum = checksum(Section::Replaces, 0, &out);
    out.extend_from_slice(&sum);
    out
}

/// Decodes the list of replaced segments.
pub fn decode_replaces(bytes: &[u8]) -> Result<Vec<SegmentName>, Error> {
    let (names, rest) = checked(Section::Replaces, 0, bytes)?.as_chunks::<32>();
    if rest.is_empty() {
        Ok(names.to_vec())
    } else {
        Err(Error::Damaged("list of replaced segments of a wrong length"))
    }
}
