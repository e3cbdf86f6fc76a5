//! The file system operations of a mount, independent of FUSE.

mod acl;
mod dirty;
mod files;
mod flush;
mod listing;
mod metadata;
mod namespace;
mod shared;
mod snapshot;
mod switch;

pub use dirty::DirtySignal;
pub use metadata::{AttrChanges, SetTime};
pub use namespace::{DirItem, NewNode};
pub use shared::{
    BackingFile, Caller, CreatedFile, FileOwner, InodeCallback, LogFn, OpenedFile, SpaceInfo, View,
    ViewCounters, ViewOptions, ViewState, without_waiting,
};
pub use snapshot::{MountSnapshot, SnapshotTree};
pub use switch::{OpenWriter, SwitchOutcome, SwitchRequest};
