//! A pack: header, frames, table of contents, footer. The name of a pack is the SHA-256 of all its
//! bytes.
//!
//! ```text
//! header   "DVCPACK" version(1) kind(1) 0(1) sealed-key-length(2, LE) salt(4), then the sealed key (none yet)
//! frames   see frame.rs
//! table    zstd: per frame: tag, count, per object id(32) + length; base(32) if delta; stored length of the frame
//! footer   table offset(8) table stored length(4) table uncompressed length(4) frames(4)
//! checksum(16) "DVCTOC1\n"
//! ```
//! Numbers are little endian. The checksum is the first 16 bytes of the BLAKE3 hash of the header,
//! the stored table and the other footer fields.

use super::frame::{self, CODEC_DELTA, OBJECT_MAX};
use super::{Malformed, varint};
use crate::model::id::{Id, ObjectKind};

const MAGIC: &[u8; 7] = b"DVCPACK";
const END: &[u8; 8] = b"DVCTOC1\n";
/// Length of the fixed part of the header in bytes.
pub const HEADER_LEN: usize = 16;
/// Length of the footer in bytes.
pub const FOOTER_LEN: usize = 44;
/// Limit on the uncompressed length of a table of contents.
pub const TABLE_MAX: u32 = 256 * 1024 * 1024;

/// Limit on the ratio of the uncompressed table to the frames: an object takes at most 48 bytes in
/// the table and at least one byte in the header of its frame.
const TABLE_TO_FRAMES: u64 = 64;

/// The kind of objects in a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PackKind {
    /// Chunks of files.
    Data,
    /// Nodes of chunk lists.
    List,
    /// Trees and commits.
    Tree,
}

impl PackKind {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Data, Self::List, Self::Tree];

    /// Returns the kind of pack that stores objects of this kind.
    pub const fn of(kind: ObjectKind) -> Self {
        match kind {
            ObjectKind::Chunk => Self::Data,
            ObjectKind::List => Self::List,
            ObjectKind::Tree | ObjectKind::Commit => Self::Tree,
        }
    }

    /// Returns the number that encodes the kind in stored data.
    pub const fn number(self) -> u8 {
        match self {
            Self::Data => 0,
            Self::List => 1,
            Self::Tree => 2,
        }
    }

    /// Returns the kind for a stored number.
    pub const fn from_number(n: u8) -> Option<Self> {
        match n {
            0 => Some(Self::Data),
            1 => Some(Self::List),
            2 => Some(Self::Tree),
            _ => None,
        }
    }

    /// Returns the name of the kind for messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Data => "data",
            Self::List => "list",
            Self::Tree => "tree",
        }
    }
}

/// Header bytes that only change the name of a pack. A pack needs a salt only if garbage collection
/// already knows the name that it would have without one.
pub type PackSalt = [u8; 4];

/// The header of a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackHeader {
    pub kind: PackKind,
    pub salt: PackSalt,
}

impl PackHeader {
    /// Offset of the first frame of an unencrypted pack.
    pub const FIRST_FRAME: u64 = HEADER_LEN as u64;

    /// Returns the header of a pack without salt.
    pub const fn unsalted(kind: PackKind) -> Self {
        Self { kind, salt: [0; 4] }
    }

    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let mut h = [0u8; HEADER_LEN];
        h[..7].copy_from_slice(MAGIC);
        h[7] = 1;
        h[8] = self.kind.number();
        // The flags (byte 9) and the length of the sealed key (10 and 11) are reserved for
        // encryption and stay zero.
        h[12..].copy_from_slice(&self.salt);
        h
    }

    /// Decodes the header of an unencrypted pack, with any salt.
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let bad = |why: &str| Malformed::new("pack header", why);
        let h = bytes
            .first_chunk::<HEADER_LEN>()
            .ok_or_else(|| bad("truncated"))?;
        if &h[..7] != MAGIC {
            return Err(bad("not a pack"));
        }
        if h[7] != 1 {
            return Err(Malformed::new(
                "pack header",
                format!("unsupported version {}", h[7]),
            ));
        }
        let kind = PackKind::from_number(h[8]).ok_or_else(|| bad("unknown kind"))?;
        if h[9] != 0 {
            return Err(bad("unknown flags"));
        }
        if h[10..12] != [0, 0] {
            return Err(bad("encrypted packs are not supported"));
        }
        let mut salt = [0; 4];
        salt.copy_from_slice(&h[12..]);
        Ok(Self { kind, salt })
    }
}

/// The description of a frame in the table of contents.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableFrame {
    /// Kind of all objects in the frame.
    pub kind: ObjectKind,
    /// Encoding of the payload: one of the `CODEC_` constants.
    pub codec: u8,
    /// Offset of the frame in the pack.
    pub offset: u64,
    /// Length of header and payload in bytes.
    pub stored: u32,
    /// Ids and uncompressed lengths of the objects in order.
    pub objects: Vec<(Id, u32)>,
    /// Id of the base object, if the frame is a delta.
    pub base: Option<Id>,
}

/// Appends a frame to the uncompressed table. The offset is not stored, because it is the end of
/// the previous frame.
pub fn put_table_frame(out: &mut Vec<u8>, f: &TableFrame) {
    out.push(f.codec | frame::kind_number(f.kind) << 4);
    varint::put(out, f.objects.len() as u64);
    for (id, len) in &f.objects {
        out.extend_from_slice(&id.0);
        varint::put(out, u64::from(*len));
    }
    if let Some(base) = &f.base {
        out.extend_from_slice(&base.0);
    }
    varint::put(out, u64::from(f.stored));
}

/// Decodes the uncompressed table. `first` is the offset of the first frame.
pub fn decode_table(mut bytes: &[u8], first: u64) -> Result<Vec<TableFrame>, Malformed> {
    let bad = |why: &str| Malformed::new("pack table", why);
    let mut frames = Vec::new();
    let mut offset = first;
    while let Some((tag, rest)) = bytes.split_first() {
        bytes = rest;
        let kind = frame::kind_of_number(tag >> 4).ok_or_else(|| bad("unknown kind"))?;
        let codec = tag & 15;
        if codec > CODEC_DELTA {
            return Err(bad("unknown codec"));
        }
        let count = varint::take(&mut bytes).ok_or_else(|| bad("truncated"))?;
        // An object takes at least 33 bytes: its id and one byte of its length.
        if count == 0 || count > (bytes.len() / 33) as u64 {
            return Err(bad("object count out of range"));
        }
        let mut objects = Vec::new();
        for _ in 0..count {
            let (id, rest) = bytes
                .split_first_chunk::<32>()
                .ok_or_else(|| bad("truncated"))?;
            bytes = rest;
            let len = varint::take(&mut bytes).and_then(|n| u32::try_from(n).ok());
            let len = len
                .filter(|n| *n as usize <= OBJECT_MAX)
                .ok_or_else(|| bad("length out of range"))?;
            objects.push((Id(*id), len));
        }
        let base = if codec == CODEC_DELTA {
            let (id, rest) = bytes
                .split_first_chunk::<32>()
                .ok_or_else(|| bad("truncated"))?;
            bytes = rest;
            Some(Id(*id))
        } else {
            None
        };
        let stored = varint::take(&mut bytes)
            .and_then(|n| u32::try_from(n).ok())
            .ok_or_else(|| bad("truncated"))?;
        // The header of a frame has at least one byte per object, so a frame with more objects than
        // bytes is invalid. Without this check, a few bytes could claim any number of objects.
        if u64::from(stored) < count + 3 {
            return Err(bad("a frame has more objects than bytes"));
        }
        frames.push(TableFrame {
            kind,
            codec,
            offset,
            stored,
            objects,
            base,
        });
        offset = offset
            .checked_add(u64::from(stored))
            .ok_or_else(|| bad("offset out of range"))?;
    }
    Ok(frames)
}

/// The footer of a pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackFooter {
    pub table_offset: u64,
    /// Stored length of the table in bytes.
    pub table_stored: u32,
    /// Uncompressed length of the table in bytes.
    pub table_plain: u32,
    /// Number of frames.
    pub frames: u32,
    /// Checksum of the header, the table and the fields above.
    pub checksum: [u8; 16],
}

impl PackFooter {
    /// Returns the encoded fields that the checksum covers.
    pub fn fields(&self) -> [u8; 20] {
        let mut b = [0u8; 20];
        b[..8].copy_from_slice(&self.table_offset.to_le_bytes());
        b[8..12].copy_from_slice(&self.table_stored.to_le_bytes());
        b[12..16].copy_from_slice(&self.table_plain.to_le_bytes());
        b[16..].copy_from_slice(&self.frames.to_le_bytes());
        b
    }

    pub fn encode(&self) -> [u8; FOOTER_LEN] {
        let mut b = [0u8; FOOTER_LEN];
        b[..20].copy_from_slice(&self.fields());
        b[20..36].copy_from_slice(&self.checksum);
        b[36..].copy_from_slice(END);
        b
    }

    /// Decodes the footer of a pack whose length is `pack_len` bytes.
    pub fn decode(bytes: &[u8; FOOTER_LEN], pack_len: u64) -> Result<Self, Malformed> {
        let bad = |why: &str| Malformed::new("pack footer", why);
        if &bytes[36..] != END {
            return Err(bad("truncated"));
        }
        let le32 = |at: usize| {
            u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
        };
        let mut offset = [0u8; 8];
        offset.copy_from_slice(&bytes[..8]);
        let mut checksum = [0u8; 16];
        checksum.copy_from_slice(&bytes[20..36]);
        let table_offset = u64::from_le_bytes(offset);
        let footer = Self {
            table_offset,
            table_stored: le32(8),
            table_plain: le32(12),
            frames: le32(16),
            checksum,
        };
        // The table must end at the footer. A pack that was truncated or extended fails here.
        let end = table_offset.checked_add(u64::from(footer.table_stored) + FOOTER_LEN as u64);
        // A reader reserves `table_plain` bytes before it decompresses the table, so a small forged
        // pack must not claim a large table.
        let most = table_offset
            .saturating_mul(TABLE_TO_FRAMES)
            .min(u64::from(TABLE_MAX));
        if end != Some(pack_len) || u64::from(footer.table_plain) > most {
            return Err(bad("table out of range"));
        }
        Ok(footer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header() {
        let header = PackHeader::unsalted(PackKind::List);
        assert_eq!(header.encode(), *b"DVCPACK\x01\x01\0\0\0\0\0\0\0");
        assert_eq!(PackHeader::decode(&header.encode()), Ok(header));
        let salted = PackHeader {
            salt: [1, 0, 0xff, 4],
            ..header
        };
        assert_eq!(salted.encode()[..12], header.encode()[..12]);
        assert_eq!(salted.encode()[12..], [1, 0, 0xff, 4]);
        assert_eq!(PackHeader::decode(&salted.encode()), Ok(salted));
        assert!(PackHeader::decode(&salted.encode()[..15]).is_err());
        for (at, value, why) in [
            // One byte of each field: version, kind, flags, length of the sealed key, and magic.
            (7, 9, "version 9"),
            (8, 3, "kind"),
            (9, 1, "flags"),
            (10, 88, "encrypted"),
            (0, 0, "pack"),
        ] {
            let mut h = salted.encode();
            h[at] = value;
            assert!(
                PackHeader::decode(&h).unwrap_err().why.contains(why),
                "{why}"
            );
        }
    }

    #[test]
    fn table() {
        let frames = vec![
            TableFrame {
                kind: ObjectKind::Chunk,
                codec: 1,
                offset: 16,
                stored: 500,
                objects: vec![(Id([1; 32]), 10), (Id([2; 32]), 65536)],
                base: None,
            },
            TableFrame {
                kind: ObjectKind::Chunk,
                codec: 2,
                offset: 516,
                stored: 80,
                objects: vec![(Id([3; 32]), 65536)],
                base: Some(Id([2; 32])),
            },
        ];
        let mut plain = Vec::new();
        frames.iter().for_each(|f| put_table_frame(&mut plain, f));
        let frame = frames[0].clone();
        assert_eq!(decode_table(&plain, 16), Ok(frames));
        assert!(decode_table(&plain[..plain.len() - 1], 16).is_err());
        // A header of two objects has at least five bytes: tag, count, two lengths, length of the
        // payload.
        let short = TableFrame { stored: 4, ..frame };
        plain.clear();
        put_table_frame(&mut plain, &short);
        assert!(
            decode_table(&plain, 16).is_err(),
            "it is shorter than the header of two objects"
        );
    }

    #[test]
    fn footer() {
        let f = PackFooter {
            table_offset: 1000,
            table_stored: 50,
            table_plain: 90,
            frames: 2,
            checksum: [7; 16],
        };
        // The length of the pack: frames, table and footer.
        assert_eq!(PackFooter::decode(&f.encode(), 1000 + 50 + 44), Ok(f));
        assert!(PackFooter::decode(&f.encode(), 1000).is_err());
        let long = PackFooter {
            table_plain: 1000 * 64 + 1,
            ..f
        };
        assert!(PackFooter::decode(&long.encode(), 1000 + 50 + 44).is_err());
    }
}
