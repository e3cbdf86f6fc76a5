//! Control of the process that serves a mount: requests and replies are JSON objects, one per line,
//! on a socket. Some replies are followed by binary objects.
//!
//! Each mount has a socket and a note in the run directory. Both are named after the device number
//! of the mount, so that they can be found from any path inside the mount, even through a bind
//! mount.

mod client;
mod error;
mod note;
mod protocol;
mod socket;

pub use client::{MountClient, PING_TIMEOUT};
pub use error::ControlError;
pub(super) use note::mount_namespace;
pub use note::{MountNote, around, note};
pub use protocol::{ControlReply, ControlRequest, MountFacts, SnapshotInfo};
pub use socket::{ControlConnection, ControlSocket};
