//! Stores the content of files as chunks and lists of chunks: small files, large files, streams,
//! frames.

pub mod again;
pub mod frame;
pub mod large;
pub mod list;
pub mod small;
pub mod store;
pub mod stream;
