//! Crash tests: a process dies at each durable step of an operation, or the disk loses data that
//! was not synced. Then the tests verify everything that was acknowledged.
//!
//! The child process is this same program, started again for one scenario. It dies by SIGKILL, so
//! that it cannot clean up.

#![allow(clippy::unwrap_used, unreachable_pub)]

mod campaign;
mod care;
mod checkout;
mod child;
mod into;
mod kill;
#[path = "../it/support/known.rs"]
#[allow(dead_code)]
mod known;
mod power;
mod remotes;
mod stage;
mod steps;
mod traced;
