//! `dvc`: git for data volumes.
//!
//! The map of the library. A module imports only modules of lower tiers (checked by
//! `tests/architecture.rs`):
//!
//! ```text
//! 0  error
//! 1  model
//! 2  codec   format   observe   sys   work
//! 3  store   index   cache   archive   docker
//! 4  repo
//! 5  snapshot   checkout   sync   check   care
//! 6  mount   hooks
//! 7  context
//! 8  refs   quiesce
//! 9  query
//! 10 ops
//! 11 serve
//! ```

pub mod archive;
pub mod cache;
pub mod care;
pub mod check;
pub mod checkout;
pub mod codec;
pub mod context;
pub mod docker;
pub mod error;
pub mod format;
pub mod hooks;
pub mod index;
pub mod model;
pub mod mount;
pub mod observe;
pub mod ops;
pub mod query;
pub mod quiesce;
pub mod refs;
pub mod repo;
#[cfg(feature = "docker")]
pub mod serve;
pub mod snapshot;
pub mod store;
pub mod sync;
pub mod sys;
pub mod work;
