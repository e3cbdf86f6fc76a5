//! `dvc`: git for data volumes.
//!
//! The map of the library. A module imports only modules of lower tiers (checked by `tests/architecture.rs`):
//!
//! ```text
//! 0 error   sys
//! 1 model
//! 2 codec   format   observe
//! 3 store   index   cache   archive   docker
//! 4 repo
//! 5 snapshot   checkout   sync   check
//! 6 mount
//! 7 ops
//! 8 serve
//! ```

pub mod archive;
pub mod cache;
pub mod codec;
pub mod docker;
pub mod error;
pub mod format;
pub mod index;
pub mod model;
pub mod mount;
pub mod observe;
pub mod ops;
pub mod checkout;
pub mod repo;
pub mod serve;
pub mod store;
pub mod sync;
pub mod sys;
pub mod check;
pub mod snapshot;
