//! Checkout in place: makes a worktree into another version and touches only what differs.

pub mod apply;
pub mod journal;
mod large;
pub mod part;
pub mod plan;
mod remove;
mod small;

#[cfg(test)]
mod tests;
