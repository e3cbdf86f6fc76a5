//! Nodes of a chunk list: a leaf is `{0: [len, id or null, ...]}`, an inner node is `{1: [len, id,
//! ...]}`.

use minicbor::decode::{Decoder, Error as DecodeError};

use super::cbor::{Enc, EncResult, array_len, bad, finished, id, map_len, to_vec};
use crate::format::Malformed;
use crate::model::entry::Extent;
use crate::model::id::Id;

/// Limit on the items of a node. Writers put at most 1024 items into a node; the limit protects the
/// memory, because a decoded extent is many times larger than its encoded bytes.
const ITEMS_MAX: u64 = 8192;

/// A node of a chunk list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListNode {
    /// Extents in the order of the file.
    Leaf(Vec<Extent>),
    /// Child nodes, each with the number of bytes below it.
    Inner(Vec<(u64, Id)>),
}

/// Encodes a node.
pub fn encode_list(node: &ListNode) -> Vec<u8> {
    to_vec(|e| {
        e.map(1)?;
        match node {
            ListNode::Leaf(extents) => {
                e.u8(0)?;
                put_extents(e, extents)
            }
            ListNode::Inner(children) => {
                e.u8(1)?.array(children.len() as u64 * 2)?;
                for (len, id) in children {
                    e.u64(*len)?.bytes(&id.0)?;
                }
                Ok(())
            }
        }
    })
}

/// Decodes a node.
pub fn decode_list(bytes: &[u8]) -> Result<ListNode, Malformed> {
    let read = || {
        let mut d = Decoder::new(bytes);
        if map_len(&mut d)? != 1 {
            return Err(DecodeError::message("unknown fields"));
        }
        let node = match d.u8()? {
            0 => ListNode::Leaf(extents(&mut d)?),
            1 => {
                let n = array_len(&mut d)?;
                // The number of items is checked before they are decoded, because it bounds the
                // memory.
                if n == 0 || n % 2 != 0 || n > ITEMS_MAX * 2 {
                    return Err(DecodeError::message("wrong array length"));
                }
                let mut children = Vec::new();
                let mut total = 0u64;
                for _ in 0..n / 2 {
                    let len = d.u64()?;
                    total = add(total, len)?;
                    children.push((len, id(&mut d)?));
                }
                ListNode::Inner(children)
            }
            _ => return Err(DecodeError::message("unknown node")),
        };
        finished(&d, bytes)?;
        Ok(node)
    };
    read().map_err(bad("chunk list"))
}

pub(super) fn put_extents(e: &mut Enc<'_>, extents: &[Extent]) -> EncResult {
    e.array(extents.len() as u64 * 2)?;
    for x in extents {
        e.u64(x.len)?;
        match &x.chunk {
            Some(id) => e.bytes(&id.0)?,
            None => e.null()?,
        };
    }
    Ok(())
}

pub(super) fn extents(d: &mut Decoder<'_>) -> Result<Vec<Extent>, DecodeError> {
    let n = array_len(d)?;
    if n % 2 != 0 || n > ITEMS_MAX * 2 {
        return Err(DecodeError::message("wrong array length"));
    }
    let mut out = Vec::new();
    let mut total = 0u64;
    for _ in 0..n / 2 {
        let len = d.u64()?;
        total = add(total, len)?;
        let chunk = if d.datatype()? == minicbor::data::Type::Null {
            d.null()?;
            None
        } else {
            Some(id(d)?)
        };
        // No frame can contain a longer chunk, and readers allocate the length of a chunk.
        if chunk.is_some() && len > crate::format::frame::FRAME_PLAIN_MAX as u64 {
            return Err(DecodeError::message("chunk too long"));
        }
        out.push(Extent { len, chunk });
    }
    Ok(out)
}

fn add(total: u64, len: u64) -> Result<u64, DecodeError> {
    // Readers rely on each extent to make progress.
    if len == 0 {
        return Err(DecodeError::message("empty extent"));
    }
    total
        .checked_add(len)
        .ok_or_else(|| DecodeError::message("lengths overflow"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip() {
        let leaf = ListNode::Leaf(vec![
            Extent {
                len: 65536,
                chunk: Some(Id([1; 32])),
            },
            Extent {
                // Only a hole may be longer than a chunk.
                len: 1 << 40,
                chunk: None,
            },
        ]);
        let inner = ListNode::Inner(vec![(1 << 41, Id([2; 32])), (5, Id([3; 32]))]);
        for node in [leaf, inner] {
            let bytes = encode_list(&node);
            assert_eq!(decode_list(&bytes), Ok(node));
            for i in 0..bytes.len() {
                assert!(decode_list(&bytes[..i]).is_err());
            }
        }
    }

    #[test]
    fn hostile_lengths() {
        let zero = encode_list(&ListNode::Leaf(vec![Extent {
            len: 0,
            chunk: None,
        }]));
        assert!(decode_list(&zero).is_err());
        let over = encode_list(&ListNode::Inner(vec![
            // The sum of the lengths overflows.
            (u64::MAX, Id([2; 32])),
            (5, Id([3; 32])),
        ]));
        assert!(decode_list(&over).is_err());
        assert!(
            decode_list(&[
                // A leaf that claims an array of 2^64 - 2 items.
                0xa1, 0, 0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xfe
            ])
            .is_err()
        );
    }
}
