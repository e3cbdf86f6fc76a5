//! An index segment: an immutable, sorted table from object ids to the locations of their copies.
//! This module encodes and decodes it, without I/O.
//!
//! Layout: head, buckets, fan-out pages, filter pieces, pack table, list of replaced segments,
//! footer of fixed size. The footer determines the position of every section, so that a segment can
//! be written as a stream and read in ranges. Each piece that is read on its own has a checksum,
//! which is keyed by the section and the number of the piece. A decoder checks every length against
//! the size of the input before it uses the length.

use super::pack::PackKind;
use crate::error::{Failure, Kind};
use crate::model::id::Id;
use std::cmp::Ordering;

pub mod bucket;
pub mod fanout;
pub mod filter;
pub mod footer;
pub mod tables;

/// Name of a pack: SHA-256 of its bytes.
pub type PackName = [u8; 32];
/// Name of an index segment: SHA-256 of its bytes.
pub type SegmentName = [u8; 32];

/// The only existing version of the format.
pub const VERSION: u16 = 1;
/// The first eight bytes of a segment.
pub const MAGIC: [u8; 8] = *b"dvc-idx\n";
/// Length in bytes of the head, which precedes the first bucket.
pub const HEAD_BYTES: u64 = 16;
/// Length of a checksum in bytes.
pub const SUM_BYTES: usize = 8;

/// The location of one copy of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectLocation {
    pub pack: PackName,
    /// Offset of the frame in the pack.
    pub offset: u32,
    /// Stored length of the frame in bytes.
    pub stored: u32,
    /// Offset of the object in the decompressed frame.
    pub within: u32,
    /// Uncompressed length of the object in bytes.
    pub len: u32,
    /// Codec of the frame, 0 to 127.
    pub codec: u8,
}

/// One copy of an object, as a segment stores it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IndexRow {
    pub id: Id,
    pub place: ObjectLocation,
    /// Location of the base, if the frame is a delta.
    pub base: Option<ObjectLocation>,
}

impl Ord for IndexRow {
    /// Orders by id, then full copies before deltas, then by location.
    fn cmp(&self, other: &Self) -> Ordering {
        self.id
            .cmp(&other.id)
            // `None`, a complete copy, is smaller than any base.
            .then(self.base.cmp(&other.base))
            .then(self.place.cmp(&other.place))
    }
}

impl PartialOrd for IndexRow {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The error for bytes that are not a valid segment, and for rows that cannot be encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SegmentError {
    #[error("index segment is damaged: {0}")]
    Damaged(&'static str),
    #[error("unsupported version {0} of the index segment format")]
    Version(u16),
    /// The rows violate a rule of the encoder, which is a bug of the caller.
    #[error("cannot encode index rows: {0}")]
    Rows(&'static str),
}

impl Failure for SegmentError {
    fn kind(&self) -> Kind {
        match self {
            Self::Damaged(_) => Kind::Integrity,
            Self::Version(_) => Kind::Usage,
            Self::Rows(_) => Kind::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Version(_) => Some("upgrade dvc".to_owned()),
            Self::Damaged(_) => {
                Some("run `dvc fsck --rebuild` to rebuild the index from the packs".to_owned())
            }
            Self::Rows(_) => None,
        }
    }
}

/// A section of a segment. Each has its own checksum key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentSection {
    Bucket,
    Fanout,
    Filter,
    Packs,
    /// List of replaced segments.
    Replaces,
    Footer,
}

/// Returns the checksum of a piece: a truncated BLAKE3 hash, keyed by the section and the number of
/// the piece, so that a piece is valid only in its own position.
pub fn checksum(section: SegmentSection, index: u64, bytes: &[u8]) -> [u8; SUM_BYTES] {
    // Layout of the key: the text and six zeros, the section (1 byte), the number of the piece (8).
    let mut key = *b"dvc index segment\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    key[23] = match section {
        SegmentSection::Bucket => 1,
        SegmentSection::Fanout => 2,
        SegmentSection::Filter => 3,
        SegmentSection::Packs => 4,
        SegmentSection::Replaces => 5,
        SegmentSection::Footer => 6,
    };
    key[24..].copy_from_slice(&index.to_le_bytes());
    let mut out = [0; SUM_BYTES];
    out.copy_from_slice(&blake3::keyed_hash(&key, bytes).as_bytes()[..SUM_BYTES]);
    out
}

/// Verifies the checksum at the end of `bytes` and returns the content before it.
pub fn checked(section: SegmentSection, index: u64, bytes: &[u8]) -> Result<&[u8], SegmentError> {
    let (content, sum) = bytes
        .split_last_chunk::<SUM_BYTES>()
        .ok_or(SegmentError::Damaged("too short"))?;
    if checksum(section, index, content) == *sum {
        Ok(content)
    } else {
        Err(SegmentError::Damaged("checksum mismatch"))
    }
}

/// Reads `N` bytes at offset `at`.
fn array<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], SegmentError> {
    bytes
        .get(at..)
        .and_then(|rest| rest.first_chunk::<N>())
        .copied()
        .ok_or(SegmentError::Damaged("too short"))
}

/// Returns the encoded head of a segment.
pub fn encode_head(kind: PackKind) -> [u8; 16] {
    let mut out = [0; 16];
    out[..8].copy_from_slice(&MAGIC);
    out[8..10].copy_from_slice(&VERSION.to_le_bytes());
    out[10] = kind.number();
    out
}

/// Decodes the head of a segment and returns the kind of its objects.
pub fn decode_head(bytes: &[u8; 16]) -> Result<PackKind, SegmentError> {
    if bytes[..8] != MAGIC {
        return Err(SegmentError::Damaged("not an index segment"));
    }
    let version = u16::from_le_bytes(array(bytes, 8)?);
    if version != VERSION {
        return Err(SegmentError::Version(version));
    }
    // The head has no checksum, so each of its bytes has a fixed value or is compared with the
    // footer.
    if bytes[11..] != [0; 5] {
        return Err(SegmentError::Damaged("reserved bytes are set"));
    }
    PackKind::from_number(bytes[10]).ok_or(SegmentError::Damaged("unknown kind"))
}

#[cfg(test)]
mod tests;
