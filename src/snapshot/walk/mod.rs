//! The walk of a worktree: which names there are, which of them changed, and the tree of each directory.

pub mod basis;
pub mod dir;
pub mod entries;
pub mod late;
pub mod links;
pub mod named;
mod pattern;
pub mod rules;
pub mod scan;
pub mod unrestored;
