//! The process that serves one mount: it opens the overlay, attaches the mount, serves it, and
//! answers requests on the control socket.
//!
//! The process holds the lock of the overlay. Data that a program has synced is on disk, no matter
//! how the process ends. Before a clean exit, the process flushes everything.

mod background;
mod discard;
mod fetched;
mod launch;
mod lease;
mod process;
mod requests;
mod resume;
mod service;
mod setup;
mod spare;
mod versions;
mod waiting;

pub use discard::{delete_overlay, discard_overlay};
pub use fetched::fetched;
pub use launch::{DaemonLog, DaemonStart, report_mounted, start_daemon};
pub use lease::{LeaseSetup, OpenSourceFn, SourceSetup};
pub use process::{MountDaemon, no_mount_at};
pub use resume::{
    OverlayBase, OverlayRoots, OverlayUse, is_still_served, overlay_base, overlay_roots,
    overlay_use,
};
pub use setup::{FollowFn, MountSetup, OverlayDir, Prefetch, VersionTree};
pub use spare::free_overlay;
pub use waiting::wait_while_ending;
