//! Restores a version into a new or empty directory, on any number of threads.

mod done;
pub(super) mod engine;
mod files;
pub(super) mod item;
pub(super) mod links;
pub(super) mod node;
pub mod report;
pub mod whole;
