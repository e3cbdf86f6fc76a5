//! From a file's bytes to stored chunks and the list of them: small files, large files, streams, frames.

pub mod frame;
pub mod large;
pub mod list;
pub mod small;
pub mod store;
pub mod stream;
