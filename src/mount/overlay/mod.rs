//! The database of an overlay.

mod connection;
mod db;
mod digest;
mod error;
mod inode_row;
mod reserve;
mod rows;
mod salvage;
mod seals;

pub use db::OverlayDb;
pub use error::OverlayDbError;
pub use rows::{
    BlockChange, Fact, FlushRows, GIVEN, InodeChange, LoadedOverlay, NameChange, NameTarget,
    RETIRED, SealChange,
};
pub use salvage::{SalvagedFile, salvaged_files};
