//! The integration tests: one binary that runs the real `dvc` and checks its output and the files
//! on disk.
//!
//! `cli/` has a file per command, `compat/` every kind of content and other programs, `damage/`
//! damaged repositories, `forget/` retention, `gc/` garbage collection, `model/` random sequences of
//! operations, `mount/` mounted versions, `mount_live/` mounts in use, `quiesce/` quiesced writers,
//! `release/` packages and installation, `remotes/` remote stores, `repair/` the repair of damage,
//! `security/` attackers, `trash/` the trash, `volumes/` volumes and the Docker plugin,
//! `support/` shared code.

#![allow(clippy::unwrap_used, unreachable_pub)]

mod cli;
mod compat;
mod damage;
mod docs;
mod forget;
mod gc;
mod model;
mod mount;
mod mount_live;
mod quiesce;
mod release;
mod remotes;
mod repair;
mod security;
mod support;
mod trash;
mod volumes;
