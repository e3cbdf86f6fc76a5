//! Crash tests: a process dies at each durable step of an operation, or the disk forgets what was not synced, then
//! everything promised is verified.
//!
//! The child is this very program, called again for one scenario; it dies by SIGKILL, so nothing is cleaned up.

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
