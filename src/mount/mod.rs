//! Versions as lazy, writable file systems: attaching them to the tree of directories, and finding them there.

pub mod attach;
pub mod mountinfo;
