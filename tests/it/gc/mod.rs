//! Garbage collection: what it deletes, what it keeps, and that commits and mounts beside it lose
//! nothing.
//!
//! `cli.rs` runs the real `dvc`, `mounted.rs` collects under a mount, `races.rs` stops one
//! operation at each of its steps and runs the other one there. `leases.rs` has the versions that
//! processes and other repositories use, `roots.rs` the roots without a log, `status.rs` the
//! description of what is kept.

mod cli;
mod leases;
mod mounted;
mod races;
mod roots;
mod status;
