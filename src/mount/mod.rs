//! Mounts: a version as a writable file system that reads data on demand.
//!
//! A request passes through `fuse`, the only module that knows FUSE, to `view`. The view combines
//! the version (`lower`) with the changes of the mount: names and inodes (`names`) and written
//! bytes (`file`), which `overlay` makes durable. `snapshot_tree` turns the changes into a version.
//! `daemon` is the process of a mount; it uses `attach` to mount and `control` to receive commands.

pub mod attach;
pub mod control;
pub mod daemon;
pub mod errno;
pub mod error;
pub mod file;
#[cfg(feature = "mount")]
pub mod fuse;
#[cfg(not(feature = "mount"))]
#[path = "fuse_absent.rs"]
pub mod fuse;
pub mod health;
pub mod hydrate;
pub mod lower;
pub mod names;
pub mod overlay;
pub mod processes;
pub mod profile;
pub mod snapshot_tree;
pub mod view;
