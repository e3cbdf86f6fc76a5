//! Garbage collection: what it deletes, what it keeps, and that concurrent commits and mounts lose
//! nothing.
//!
//! `cli.rs` runs the real `dvc`, `mounted.rs` collects under readers, `races.rs` stops one
//! operation at each of its steps and runs the other one there. `damage.rs` damages the state of
//! collections, and `limits.rs` takes away space, rights and open files. `remotes.rs` collects
//! every kind of remote, `faults.rs` adds races and lost responses, and `requests.rs` counts
//! requests. `leases.rs` tests the versions that processes and other repositories use, `roots.rs`
//! the roots without a log, `status.rs` the report of what is kept. `elsewhere.rs` collects a remote
//! that its own machine uses, `keeps.rs` finds damage before anything is deleted.

mod cli;
mod damage;
mod elsewhere;
mod faults;
mod keeps;
mod leases;
mod limits;
mod mounted;
mod races;
mod remotes;
mod requests;
mod roots;
mod status;
