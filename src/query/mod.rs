//! Queries about versions that several operations need: the meaning of a revision, differences,
//! history.

pub mod compare;
pub mod describe;
pub mod entries;
pub mod forgotten;
pub mod history;
pub mod lazy;
pub mod leftovers;
pub mod lines;
#[cfg(test)]
pub mod made;
pub mod ranges;
pub mod resolve;
pub mod unsaved;
pub mod volumes;
pub mod worktree;
