//! Checks a repository, lists damage and the affected versions, rebuilds derived data, and repairs
//! damage from other places.
//!
//! Only a repair changes packs or refs.

mod data;
mod findings;
pub mod fsck;
mod gc_state;
mod logs;
mod pack_reader;
mod places;
mod reach;
pub mod rebuild;
pub mod repair;
pub mod report;
mod rows;
mod salvage;
mod walk;
