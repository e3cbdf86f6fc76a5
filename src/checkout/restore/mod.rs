//! Restores a version into a new or empty directory, on any number of threads.

mod done;
mod engine;
mod files;
mod links;
mod node;
pub mod whole;
