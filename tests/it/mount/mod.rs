//! Tests of mounted versions with the real binary and real FUSE, compared with ordinary
//! directories.
//!
//! `harness.rs` mounts and cleans up, `posix/` has a test for each property that programs rely on,
//! `commit.rs` compares commits in a mount with commits of ordinary directories, `model/` runs
//! random sequences of operations, and `conformance.rs` runs external test suites.

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
