//! A version as a lazy, writable file system.
//!
//! The logic stands free of FUSE: `view` answers what a kernel asks, from the version below (`lower`) and what was
//! written over it (`names`, `data`), which `store` keeps. Only `fuse` knows fuser; `attach` brings it into the tree of
//! directories, `mountinfo` finds it there.

pub mod attach;
mod bits;
pub mod control;
pub mod daemon;
pub mod data;
pub mod errno;
pub mod error;
pub mod frozen;
#[cfg(feature = "mount")]
pub mod fuse;
#[cfg(not(feature = "mount"))]
#[path = "fuse_absent.rs"]
pub mod fuse;
pub mod health;
pub mod holders;
pub mod hydrate;
pub mod inode;
pub mod inside;
pub mod lower;
pub mod names;
pub mod profile;
pub mod ranges;
pub mod snapshot;
pub mod space;
pub mod state;
pub mod store;
mod sums;
pub mod users;
pub mod view;
