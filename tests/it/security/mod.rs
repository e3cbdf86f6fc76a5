//! Attacks: hostile remotes, repositories of other users, forged objects, and other users of the
//! machine.
//!
//! Each file takes the role of one attacker of `docs/security.md` and checks that the attack fails
//! and is reported.

mod command_lines;
mod content;
mod forge;
mod mounts;
mod names;
mod ownership;
pub mod people;
mod privacy;
mod refs;
mod sizes;
mod trust;
mod unprivileged;
