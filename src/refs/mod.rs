//! Operations on refs for users: HEAD of a worktree, moves of branches and tags, tracking refs.

pub mod head;
pub mod moves;
pub mod tracking;
