//! Repository to repository: what the other side lacks, copying it, and moving refs, in an order that leaves both
//! sides sound at every instant.
//!
//! Packs first, then index segments (those of trees last, so that a commit that can be found has all it needs), then refs.

pub mod copy;
pub mod cover;
pub mod error;
pub mod missing;
pub mod state;
pub mod tips;
