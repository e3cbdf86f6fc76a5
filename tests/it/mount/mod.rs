//! Versions mounted as file systems: the real binary, real FUSE, against plain directories.
//!
//! `harness.rs` mounts and cleans up, `posix/` has a test for each thing that programs rely on, `commit.rs` compares
//! versions made in a mount with those of plain directories, `model/` runs random sequences, `conformance.rs` others'
//! suites.

mod commit;
mod conformance;
mod dry_run;
pub mod harness;
mod hydrate;
mod life;
mod mapping;
mod model;
mod moved;
mod overlays;
mod posix;
mod privileges;
