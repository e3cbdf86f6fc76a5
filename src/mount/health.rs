//! The health of mounts: served, stuck, dead, or of another user. Each check has a time limit, no
//! matter what state the serving process is in.

use std::path::Path;

use super::attach::is_dead;
use super::control::{ControlError, ControlRequest, MountClient, MountFacts, PING_TIMEOUT};
use crate::error::{Error, Result};
use crate::sys::mountinfo;
use crate::sys::mountinfo::Mounted;
use crate::work::fan_out;

/// The health of a mount.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MountHealth {
    /// The process answers.
    Served(Box<MountFacts>),
    /// The process does not answer.
    Silent {
        pid: u32,
        /// Whether the process is stopped.
        stopped: bool,
    },
    /// The user with this id has mounted the file system, and only that user can query its process.
    OtherUser(u32),
    /// The mount is not dead, but its process cannot be queried, for example because the run
    /// directory has no note of it.
    Unknown,
    /// No process serves the mount.
    Dead,
}

impl MountHealth {
    /// Returns the name for JSON output.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Served(_) => "served",
            Self::Silent { .. } => "silent",
            Self::OtherUser(_) => "other-user",
            Self::Unknown => "unknown",
            Self::Dead => "dead",
        }
    }
}

/// Returns the health of each mount, in order. Checks all mounts at the same time.
pub fn health(run: &Path, mounted: &[Mounted]) -> Vec<MountHealth> {
    let asked = fan_out::together(mounted.len(), |n| health_of(run, &mounted[n]));
    asked
        .into_iter()
        .map(|health| health.unwrap_or(MountHealth::Unknown))
        .collect()
}

fn health_of(run: &Path, mounted: &Mounted) -> MountHealth {
    let asked = MountClient::connect(run, mounted).and_then(|mut client| {
        client.set_timeout(PING_TIMEOUT);
        client.request::<MountFacts>(&ControlRequest::Facts)
    });
    let e = match asked {
        Ok(facts) => return MountHealth::Served(Box::new(facts)),
        Err(e) => e,
    };
    match e.as_error().downcast_ref::<ControlError>() {
        Some(ControlError::Stuck { pid, stopped, .. }) => MountHealth::Silent {
            pid: *pid,
            stopped: *stopped,
        },
        // A missing note or a broken connection proves nothing about the mount. Only a request to
        // the file system shows that no process serves it.
        _ if is_dead(&mounted.at) => MountHealth::Dead,
        Some(ControlError::OtherUser { owner, .. }) => MountHealth::OtherUser(*owner),
        _ => MountHealth::Unknown,
    }
}

/// Fails if a path is in a mount whose process does not answer, because any access to the path
/// would block.
pub fn ensure_answers(run: &Path, path: &Path) -> Result<()> {
    let Some(mounted) = mountinfo::containing(path)
        .ok()
        .flatten()
        .filter(Mounted::is_ours)
    else {
        return Ok(());
    };
    match MountClient::connect(run, &mounted) {
        Err(e)
            if matches!(
                e.as_error().downcast_ref(),
                Some(ControlError::Stuck { .. })
            ) =>
        {
            Err(e)
        }
        _ => Ok(()),
    }
}

/// Returns why the mount that contains a path is unusable for this process. Returns `None` if it is
/// usable, or if there is no mount.
pub fn why_not(run: &Path, path: &Path) -> Option<Error> {
    let mounted = mountinfo::containing(path)
        .ok()
        .flatten()
        .filter(Mounted::is_ours)?;
    MountClient::connect(run, &mounted).err()
}
