//! Care for a repository: checking all of it, naming damage and what it reaches, making derived state anew.
//!
//! In: an open repository. Out: reports; nothing that packs and refs say is ever changed here.

mod data;
mod findings;
pub mod fsck;
mod logs;
mod pack_reader;
mod places;
mod reach;
pub mod rebuild;
pub mod report;
mod rows;
mod salvage;
mod walk;
