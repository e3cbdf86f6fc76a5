//! Snapshots of directories as versions: walk, chunk, deduplicate, compress, pack, store trees,
//! commit.

pub mod commit;
pub mod content;
pub mod graft;
pub mod output;
pub mod overwritten;
pub mod pipeline;
pub mod rechunk;
pub mod tree;
pub mod walk;
