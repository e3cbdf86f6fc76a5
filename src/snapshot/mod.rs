//! From a directory to a version: walk -> chunk -> dedup -> compress -> pack -> tree -> commit.

pub mod chunk;
pub mod commit;
pub mod content;
pub mod graft;
pub mod output;
pub mod pipeline;
pub mod rechunk;
pub mod tree;
pub mod walk;
