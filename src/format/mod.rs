//! Encoding and decoding of stored data: marker, packs, frames, objects, index segments, entries of
//! logs, lists of packs, leases. No I/O.
//!
//! Every decoder accepts hostile input: a decoder never panics, always terminates, and never
//! allocates memory for an unchecked length.

pub mod frame;
pub mod gclog;
pub mod lease;
pub mod logkey;
pub mod marker;
pub mod object;
pub mod pack;
pub mod packlist;
pub mod refentry;
pub mod segment;
pub mod text;
pub mod trashlog;
pub mod varint;

/// The error for stored bytes that cannot be decoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid {what}: {why}")]
pub struct Malformed {
    /// Kind of the data, for messages.
    pub what: &'static str,
    /// The rule that the data breaks.
    pub why: String,
}

impl Malformed {
    pub fn new(what: &'static str, why: impl Into<String>) -> Self {
        Self { what, why: why.into() }
    }
}

impl crate::error::Failure for Malformed {
    fn kind(&self) -> crate::error::Kind {
        crate::error::Kind::Integrity
    }
}
