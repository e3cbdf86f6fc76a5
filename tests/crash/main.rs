//! Crash tests: a child process dies at each durable step of an operation, then everything promised is verified.
//!
//! The child is this very program, called again for one scenario; it dies by SIGKILL, so nothing is cleaned up.

#![allow(clippy::unwrap_used, missing_docs, unreachable_pub)]

mod checkout;
mod child;
