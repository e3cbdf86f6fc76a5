//! The attacker's tests: hostile remotes, repositories of other users, forged objects, other users of the machine.
//!
//! Each file plays one attacker of `docs/security.md` and checks that the attack fails and is reported.

// One `mod` line per attacker.

mod command_lines;
mod content;
mod forge;
mod mounts;
mod names;
mod ownership;
mod people;
mod privacy;
mod trust;
mod unprivileged;
