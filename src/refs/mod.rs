//! Refs on behalf of a user: HEAD of a worktree, and moving branches and tags.

pub mod head;
pub mod moves;
