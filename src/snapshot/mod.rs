//! From a directory to a version: walk -> chunk -> dedup -> compress -> pack -> tree -> commit.

pub mod basis;
pub mod commit;
pub mod cutter;
pub mod dir;
pub mod frame;
pub mod graft;
pub mod intake;
pub mod large;
pub mod late;
pub mod links;
pub mod list;
pub mod named;
pub mod output;
pub mod pipeline;
pub mod recut;
pub mod scan;
pub mod tree;
pub mod unrestored;
pub mod walk;
