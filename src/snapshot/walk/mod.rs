//! The walk of a worktree: lists names, finds changed ones, and stores the tree of each directory.

pub mod basis;
pub mod dir;
pub mod entries;
mod finish;
pub mod late;
pub mod links;
pub mod named;
mod pattern;
pub mod rules;
pub mod scan;
pub mod unrestored;
