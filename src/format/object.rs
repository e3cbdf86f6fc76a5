//! Trees, chunk lists, commits and link tables as deterministic CBOR (RFC 8949 section 4.2) with integer keys.
//!
//! Maps have their keys in ascending order, absent fields are omitted, and lengths are definite.
//! The decoder checks all properties that the rest of the program relies on: valid names, sorted
//! names, and sums of lengths.

mod commit;
mod list;
mod tree;

pub use commit::{decode_commit, encode_commit};
pub use list::{ListNode, decode_list, encode_list};
pub use tree::{decode_links, decode_tree, encode_entry, encode_links, encode_tree};

use minicbor::decode::{Decoder, Error as DecodeError};
use minicbor::encode::{Encoder, Error as EncodeError};

use super::Malformed;
use crate::model::id::Id;

type Enc<'a> = Encoder<&'a mut Vec<u8>>;
type EncResult = Result<(), EncodeError<std::convert::Infallible>>;

/// Runs an encoder on a new buffer.
fn to_vec(f: impl FnOnce(&mut Enc<'_>) -> EncResult) -> Vec<u8> {
    let mut out = Vec::new();
    // The result has no error value, because writing to a `Vec` cannot fail.
    let _ = f(&mut Encoder::new(&mut out));
    out
}

fn bad(what: &'static str) -> impl Fn(DecodeError) -> Malformed {
    move |e| Malformed::new(what, e.to_string())
}

/// Reads a definite array length. The length is not trusted: decoding the items shows how many
/// there are.
fn array_len(d: &mut Decoder<'_>) -> Result<u64, DecodeError> {
    d.array()?.ok_or_else(|| DecodeError::message("indefinite length"))
}

fn map_len(d: &mut Decoder<'_>) -> Result<u64, DecodeError> {
    d.map()?.ok_or_else(|| DecodeError::message("indefinite length"))
}

fn id(d: &mut Decoder<'_>) -> Result<Id, DecodeError> {
    let bytes = d.bytes()?;
    bytes.try_into().map(Id).map_err(|_| DecodeError::message("an id must have 32 bytes"))
}

fn finished(d: &Decoder<'_>, bytes: &[u8]) -> Result<(), DecodeError> {
    if d.position() == bytes.len() { Ok(()) } else { Err(DecodeError::message("trailing bytes")) }
}

fn expect_array(d: &mut Decoder<'_>, len: u64) -> Result<(), DecodeError> {
    if array_len(d)? == len { Ok(()) } else { Err(DecodeError::message("wrong array length")) }
}
