//! Bytes to bytes: hashing, cutting, choosing a chunker, compressing.

pub mod compress;
pub mod cut;
pub mod hash;
pub mod sniff;
pub mod stream;
pub mod sum;
