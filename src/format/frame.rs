//! A frame: one or more objects that are compressed together. Its header describes the frame, so
//! that a pack can be read without its table of contents.
//!
//! ```text
//! tag      1 byte: low half codec (0 raw, 1 zstd, 2 delta), high half kind (0 chunk, 1 list, 2
//! tree, 3 commit)
//! count    varint, then that many uncompressed lengths as varints
//! base     32 bytes, only in a delta frame (which holds one object)
//! payload  varint length, then the bytes
//! ```

use super::{Malformed, varint};
use crate::model::id::{Id, ObjectKind};

/// The payload is uncompressed.
pub const CODEC_RAW: u8 = 0;
/// The payload is a zstd frame.
pub const CODEC_ZSTD: u8 = 1;
/// The payload is a zstd frame whose raw-content dictionary is the base object.
pub const CODEC_DELTA: u8 = 2;

/// Limit on the uncompressed length of all chunks in a frame. A random read decompresses the whole
/// frame, so small frames keep random reads cheap.
pub const FRAME_PLAIN_MAX: usize = 256 * 1024;
/// Limit on the uncompressed length of a tree, list or commit.
pub const OBJECT_MAX: usize = 16 * 1024 * 1024;

/// The header of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrameHead {
    /// Kind of all objects in the frame.
    pub kind: ObjectKind,
    /// Encoding of the payload: one of the `CODEC_` constants.
    pub codec: u8,
    /// Uncompressed lengths of the objects in order.
    pub lens: Vec<u32>,
    /// Id of the base object, if the frame is a delta.
    pub base: Option<Id>,
    /// Stored length of the payload in bytes.
    pub payload: u32,
}

impl FrameHead {
    /// Returns the uncompressed length of all objects together.
    pub fn plain_len(&self) -> usize {
        self.lens.iter().map(|l| *l as usize).sum()
    }

    /// Appends the encoded header.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.push(self.codec | kind_number(self.kind) << 4);
        varint::put(out, self.lens.len() as u64);
        for len in &self.lens {
            varint::put(out, u64::from(*len));
        }
        if let Some(base) = &self.base {
            out.extend_from_slice(&base.0);
        }
        varint::put(out, u64::from(self.payload));
    }

    /// Decodes a header and removes it from the front of `bytes`.
    pub fn decode(bytes: &mut &[u8]) -> Result<Self, Malformed> {
        let bad = |why: &str| Malformed::new("frame", why);
        let (tag, rest) = bytes.split_first().ok_or_else(|| bad("no bytes"))?;
        *bytes = rest;
        let codec = tag & 15;
        let kind = kind_of_number(tag >> 4).ok_or_else(|| bad("unknown kind"))?;
        if codec > CODEC_DELTA {
            return Err(bad("unknown codec"));
        }
        let most = if kind == ObjectKind::Chunk {
            FRAME_PLAIN_MAX
        } else {
            OBJECT_MAX
        };
        let count = varint::take(bytes).ok_or_else(|| bad("truncated"))?;
        // Each object has at least one byte in the header, so a greater count is invalid.
        if count == 0 || count > most as u64 || count > bytes.len() as u64 {
            return Err(bad("object count out of range"));
        }
        let mut lens = Vec::new();
        let mut total = 0usize;
        for _ in 0..count {
            let len = varint::take(bytes).ok_or_else(|| bad("truncated"))?;
            let len = u32::try_from(len).map_err(|_| bad("length out of range"))?;
            // The limit on the sum bounds the memory for decompression.
            total = total.saturating_add(len as usize);
            if total > most {
                return Err(bad("length out of range"));
            }
            lens.push(len);
        }
        let base = if codec == CODEC_DELTA {
            let (id, rest) = bytes
                .split_first_chunk::<32>()
                .ok_or_else(|| bad("truncated"))?;
            *bytes = rest;
            if lens.len() != 1 {
                return Err(bad("a delta contains several objects"));
            }
            Some(Id(*id))
        } else {
            None
        };
        let payload = varint::take(bytes)
            .and_then(|n| u32::try_from(n).ok())
            .ok_or_else(|| bad("payload length out of range"))?;
        if payload as usize > most + 1024 || (codec == CODEC_RAW && payload as usize != total) {
            return Err(bad("payload length out of range"));
        }
        Ok(Self {
            kind,
            codec,
            lens,
            base,
            payload,
        })
    }
}

/// Returns the number that encodes an object kind in stored data.
pub const fn kind_number(kind: ObjectKind) -> u8 {
    match kind {
        ObjectKind::Chunk => 0,
        ObjectKind::List => 1,
        ObjectKind::Tree => 2,
        ObjectKind::Commit => 3,
    }
}

/// Returns the object kind for a stored number.
pub const fn kind_of_number(n: u8) -> Option<ObjectKind> {
    match n {
        0 => Some(ObjectKind::Chunk),
        1 => Some(ObjectKind::List),
        2 => Some(ObjectKind::Tree),
        3 => Some(ObjectKind::Commit),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip() {
        let head = FrameHead {
            kind: ObjectKind::Chunk,
            codec: 1,
            lens: vec![5, 0, 70_000],
            base: None,
            payload: 999,
        };
        let delta = FrameHead {
            codec: 2,
            lens: vec![65536],
            base: Some(Id([3; 32])),
            ..head.clone()
        };
        for head in [head, delta] {
            let mut bytes = Vec::new();
            head.encode(&mut bytes);
            bytes.extend_from_slice(b"rest");
            let mut s = bytes.as_slice();
            assert_eq!(FrameHead::decode(&mut s), Ok(head));
            assert_eq!(s, b"rest");
        }
    }

    #[test]
    fn hostile_sizes_are_refused() {
        for bytes in [
            // A zstd frame with 2^32 - 1 chunks.
            &[1u8, 0xff, 0xff, 0xff, 0xff, 0x0f][..],
            // One chunk of 2^28 - 1 bytes.
            &[1, 1, 0xff, 0xff, 0xff, 0x7f, 1],
            // The unknown kind 9.
            &[0x91, 1, 1, 1],
            // The unknown codec 3.
            &[3, 1, 1, 1],
        ] {
            assert!(FrameHead::decode(&mut &*bytes).is_err());
        }
    }
}
