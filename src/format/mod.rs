//! Encoding and decoding of stored data: marker, packs, frames, objects, index segments, log
//! entries, lists of packs, leases. This module does no I/O.
//!
//! Every decoder accepts hostile input: it never panics, always terminates, and never allocates
//! memory according to an unverified length.

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
    /// Kind of data, for messages.
    pub what: &'static str,
    /// The rule that the data violates.
    pub why: String,
}

impl Malformed {
    pub fn new(what: &'static str, why: impl Into<String>) -> Self {
        Self {
            what,
            why: why.into(),
        }
    }
}

impl crate::error::Failure for Malformed {
    fn kind(&self) -> crate::error::Kind {
        crate::error::Kind::Integrity
    }
}
