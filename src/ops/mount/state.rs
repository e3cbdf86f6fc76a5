//! The mounts of this machine, and their state.

use std::path::Path;

use crate::error::Result;
use crate::mount::control::{MountFacts, MountNote, note};
use crate::mount::daemon::no_mount_at;
use crate::mount::health::{MountHealth, health};
use crate::sys::io_error::IoError;
use crate::sys::mountinfo;
use crate::sys::mountinfo::Mounted;

/// A mount of this machine.
#[derive(Debug)]
pub struct MountState {
    /// The entry in the mount table.
    pub mounted: Mounted,
    /// The note of the process that serves the mount.
    pub note: Option<MountNote>,
    /// The health of that process.
    pub health: MountHealth,
}

impl MountState {
    /// Returns the status of the mount; `None` if no process answers.
    pub fn facts(&self) -> Option<&MountFacts> {
        match &self.health {
            MountHealth::Served(facts) => Some(facts),
            _ => None,
        }
    }
}

/// Returns all mounts of dvc, with their state.
pub fn mounts(run: &Path) -> Result<Vec<MountState>> {
    let ours = mountinfo::ours().map_err(IoError::at("read", Path::new(mountinfo::TABLE)))?;
    let all = health(run, &ours);
    let state = |(mounted, health)| MountState {
        note: note(run, &mounted),
        health,
        mounted,
    };
    Ok(ours.into_iter().zip(all).map(state).collect())
}

/// Returns the mount of dvc at a path. Fails if there is none.
pub(in crate::ops) fn mounted_at(at: &Path) -> Result<Mounted> {
    let all = mountinfo::ours().map_err(IoError::at("read", Path::new(mountinfo::TABLE)))?;
    all.into_iter()
        // Among several mounts at one path, the last one covers the others.
        .rev()
        .find(|m| m.at == *at)
        .ok_or_else(|| no_mount_at(at))
}
