//! Synchronisation of two repositories: finds and copies the missing objects, and moves refs.
//!
//! The order keeps both repositories consistent at every moment: packs first, then index segments
//! (those of trees last, so that a commit that can be found has all its objects), then refs.

pub mod copy;
pub mod cover;
pub mod error;
pub mod lease;
pub mod missing;
pub mod packs;
pub mod state;
pub mod tips;
