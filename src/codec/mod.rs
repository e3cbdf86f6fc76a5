//! Transformations of bytes: hashing, chunking, detection of page files, compression.

pub mod chunk;
pub mod compress;
pub mod cut;
pub mod hash;
pub mod sniff;
pub mod stream;
pub mod sum;
pub mod zero;
