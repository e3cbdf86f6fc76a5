//! Garbage collection: what it deletes, what it keeps, and that commits and mounts beside it lose
//! nothing.
//!
//! `cli.rs` runs the real `dvc`, `mounted.rs` collects under a mount, `races.rs` stops one
//! operation at each of its steps and runs the other one there.

mod cli;
mod mounted;
mod races;
