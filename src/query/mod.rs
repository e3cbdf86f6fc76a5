//! Questions about versions that several operations ask: meaning of a revision, differences, history.

pub mod compare;
pub mod describe;
pub mod history;
pub mod lazy;
pub mod lines;
#[cfg(test)]
pub mod made;
pub mod ranges;
pub mod resolve;
pub mod worktree;
