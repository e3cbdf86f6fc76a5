//! Checkout in place: changes a worktree into another version by touching only the differences.

pub mod apply;
pub mod change;
pub mod journal;
mod large;
pub mod part;
pub mod plan;
mod remove;
mod small;

#[cfg(test)]
mod tests;
