//! Garbage collection: what it deletes, what it keeps, and that commits and mounts beside it lose
//! nothing.
//!
//! `cli.rs` runs the real `dvc`, `mounted.rs` collects under a mount, `races.rs` stops one
//! operation at each of its steps and runs the other one there. `remotes.rs` collects every kind of
//! remote, `faults.rs` with races and lost responses, `requests.rs` counts requests.

mod cli;
mod faults;
mod mounted;
mod races;
mod remotes;
mod requests;
