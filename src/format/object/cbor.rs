//! The parts of the CBOR encoding that all kinds of objects share.

use minicbor::decode::{Decoder, Error as DecodeError};
use minicbor::encode::{Encoder, Error as EncodeError};

use crate::format::Malformed;
use crate::model::id::Id;

pub(super) type Enc<'a> = Encoder<&'a mut Vec<u8>>;
pub(super) type EncResult = Result<(), EncodeError<std::convert::Infallible>>;

/// Encodes into a new buffer.
pub(super) fn to_vec(f: impl FnOnce(&mut Enc<'_>) -> EncResult) -> Vec<u8> {
    let mut out = Vec::new();
    // Ignore the result, because writing to a `Vec` cannot fail.
    let _ = f(&mut Encoder::new(&mut out));
    out
}

pub(super) fn bad(what: &'static str) -> impl Fn(DecodeError) -> Malformed {
    move |e| Malformed::new(what, e.to_string())
}

/// Reads a definite array length. The length is not trusted, so do not allocate memory for it:
/// decoding the items shows how many there are.
pub(super) fn array_len(d: &mut Decoder<'_>) -> Result<u64, DecodeError> {
    d.array()?
        // An indefinite length would be a second encoding of the same object, with a different id.
        .ok_or_else(|| DecodeError::message("indefinite length"))
}

pub(super) fn map_len(d: &mut Decoder<'_>) -> Result<u64, DecodeError> {
    d.map()?
        .ok_or_else(|| DecodeError::message("indefinite length"))
}

pub(super) fn id(d: &mut Decoder<'_>) -> Result<Id, DecodeError> {
    let bytes = d.bytes()?;
    bytes
        .try_into()
        .map(Id)
        .map_err(|_| DecodeError::message("an id must have 32 bytes"))
}

pub(super) fn finished(d: &Decoder<'_>, bytes: &[u8]) -> Result<(), DecodeError> {
    // Bytes after the object would give the same content another id.
    if d.position() == bytes.len() {
        Ok(())
    } else {
        Err(DecodeError::message("trailing bytes"))
    }
}

pub(super) fn expect_array(d: &mut Decoder<'_>, len: u64) -> Result<(), DecodeError> {
    if array_len(d)? == len {
        Ok(())
    } else {
        Err(DecodeError::message("wrong array length"))
    }
}
