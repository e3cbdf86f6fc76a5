//! Bytes to values and back, without I/O: marker, pack, frame, objects, ref entries, index segments.
//!
//! Every decoder takes hostile bytes: it never panics, never loops, and allocates nothing by an unchecked length.

pub mod frame;
pub mod marker;
pub mod object;
pub mod pack;
pub mod refentry;
pub mod segment;
pub mod varint;

/// Stored bytes do not mean anything.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} is malformed: {why}")]
pub struct Malformed {
    /// What was being decoded.
    pub what: &'static str,
    /// What is wrong with it.
    pub why: String,
}

impl Malformed {
    /// A malformed `what`.
    pub fn new(what: &'static str, why: impl Into<String>) -> Self {
        Self { what, why: why.into() }
    }
}

impl crate::error::Failure for Malformed {
    fn kind(&self) -> crate::error::Kind {
        crate::error::Kind::Integrity
    }
}
