//! An index segment: an immutable, sorted table from object id to the places of its copies. Bytes to model and back, no I/O.
//!
//! Layout: head, buckets, fan-out pages, filter pieces, pack table, list of replaced segments, footer of fixed size.
//! The footer says where everything lies, so that a segment is written as a stream and read by ranges. Each piece that can be read alone
//! has a checksum keyed by what it is and where it stands. No decoder trusts a length before it is checked against the size of the input.

use super::pack::PackKind;
use crate::error::{Failure, Kind};
use crate::model::id::Id;
use std::cmp::Ordering;

pub mod bucket;
pub mod fanout;
pub mod filter;
pub mod footer;
pub mod tables;

/// The name of a pack: SHA-256 of its bytes.
pub type PackName = [u8; 32];
/// The name of an index segment: SHA-256 of its bytes.
pub type SegmentName = [u8; 32];

/// The only version of the format so far.
pub const VERSION: u16 = 1;
/// The first eight bytes of a segment.
pub const MAGIC: [u8; 8] = *b"dvc-idx\n";
/// The length of what stands before the first bucket.
pub const HEAD_BYTES: u64 = 16;
/// The length of a checksum.
pub const SUM_BYTES: usize = 8;

/// Where one copy of an object lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// The pack.
    pub pack: PackName,
    /// First byte of the frame in the pack.
    pub offset: u32,
    /// Length of the frame as stored.
    pub stored: u32,
    /// First byte of the object in the plain frame.
    pub within: u32,
    /// Length of the object.
    pub len: u32,
    /// How the frame is compressed, 0..=127.
    pub codec: u8,
}

/// One copy of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Row {
    /// The object.
    pub id: Id,
    /// Where the copy lies.
    pub place: Place,
    /// For a delta frame, where its base lies.
    pub base: Option<Place>,
}

impl Ord for Row {
    /// By id, then whole copies before deltas, then by place.
    fn cmp(&self, other: &Self) -> Ordering {
        self.id.cmp(&other.id).then(self.base.cmp(&other.base)).then(self.place.cmp(&other.place))
    }
}

impl PartialOrd for Row {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Why bytes are not a segment, or rows cannot become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The bytes are damaged, or nobody's segment.
    #[error("index segment is damaged: {0}")]
    Damaged(&'static str),
    /// A later program wrote it.
    #[error("index segment has format version {0}, which this program does not know")]
    Version(u16),
    /// The rows given to an encoder break its rules: a bug of the caller.
    #[error("rows cannot be written: {0}")]
    Rows(&'static str),
}

impl Failure for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Damaged(_) => Kind::Integrity,
            Self::Version(_) => Kind::Usage,
            Self::Rows(_) => Kind::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Version(_) => Some("use a newer dvc".to_owned()),
            Self::Damaged(_) => Some("`dvc fsck --rebuild` writes the index again from the packs".to_owned()),
            Self::Rows(_) => None,
        }
    }
}

/// The part of a segment that a checksum covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    /// One bucket of rows.
    Bucket,
    /// One page of the fan-out.
    Fanout,
    /// One piece of the filter.
    Filter,
    /// The pack table.
    Packs,
    /// The list of replaced segments.
    Replaces,
    /// The footer.
    Footer,
}

/// The checksum of piece `index` of a section: BLAKE3 keyed by both, truncated.
pub fn checksum(section: Section, index: u64, bytes: &[u8]) -> [u8; SUM_BYTES] {
    let mut key = *b"dvc index segment\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    key[23] = match section {
        Section::Bucket => 1,
        Section::Fanout => 2,
        Section::Filter => 3,
        Section::Packs => 4,
        Section::Replaces => 5,
        Section::Footer => 6,
    };
    key[24..].copy_from_slice(&index.to_le_bytes());
    let mut out = [0; SUM_BYTES];
    out.copy_from_slice(&blake3::keyed_hash(&key, bytes).as_bytes()[..SUM_BYTES]);
    out
}

/// Splits `bytes` into content and checksum, and checks it.
pub fn checked(section: Section, index: u64, bytes: &[u8]) -> Result<&[u8], Error> {
    let (content, sum) = bytes.split_last_chunk::<SUM_BYTES>().ok_or(Error::Damaged("too short"))?;
    if checksum(section, index, content) == *sum { Ok(content) } else { Err(Error::Damaged("wrong checksum")) }
}

/// Reads `N` bytes at `at`.
fn array<const N: usize>(bytes: &[u8], at: usize) -> Result<[u8; N], Error> {
    bytes.get(at..).and_then(|rest| rest.first_chunk::<N>()).copied().ok_or(Error::Damaged("too short"))
}

/// The first 16 bytes of a segment.
pub fn encode_head(kind: PackKind) -> [u8; 16] {
    let mut out = [0; 16];
    out[..8].copy_from_slice(&MAGIC);
    out[8..10].copy_from_slice(&VERSION.to_le_bytes());
    out[10] = kind.number();
    out
}

/// Checks the first 16 bytes of a segment.
pub fn decode_head(bytes: &[u8; 16]) -> Result<PackKind, Error> {
    if bytes[..8] != MAGIC {
        return Err(Error::Damaged("not an index segment"));
    }
    let version = u16::from_le_bytes(array(bytes, 8)?);
    if version != VERSION {
        return Err(Error::Version(version));
    }
    if bytes[11..] != [0; 5] {
        return Err(Error::Damaged("reserved bytes are set"));
    }
    PackKind::from_number(bytes[10]).ok_or(Error::Damaged("unknown kind"))
}

#[cfg(test)]
mod tests;
