//! A repository: opening, creating and reading it, and storing packs, segments and refs.
//!
//! The files of this module import each other in one direction only: the keys and the marker, then
//! the store of a remote repository, the state directory, the locator of objects and the frames of
//! packs, then the handle [`Repo`]. The remaining files add operations to the handle.

pub mod cached_store;
pub mod content;
mod error;
pub mod fetch;
pub mod frames;
pub mod gclog;
pub mod gcwatch;
mod handle;
mod heal;
pub mod layout;
mod lazy;
pub mod leases;
pub mod local_trash;
mod locator;
pub mod log;
pub mod marker;
pub mod names;
mod noted;
pub mod objects;
mod outage;
pub mod packs;
mod presence;
mod read_ahead;
pub mod refs;
pub mod restore;
mod segments;
pub mod sink;
pub mod state;
pub mod trashlog;
pub mod volatile;
pub mod whole;
pub mod worktree;
pub mod writer;
pub mod writers;

pub use error::RepoError;
pub use handle::{LocalRepo, OpenLazySource, OpenOptions, Repo};
