//! Crash tests: a process dies at each durable step of an operation, or the disk loses data that
//! was not synced. Then everything that was acknowledged is verified.
//!
//! The child is this same program, started again for one scenario. It dies by SIGKILL, so no
//! cleanup runs in it.

#![allow(clippy::unwrap_used, unreachable_pub)]

mod checkout;
mod child;
mod into;
mod kill;
#[path = "../it/support/known.rs"]
#[allow(dead_code)]
mod known;
mod power;
mod remotes;
mod steps;
