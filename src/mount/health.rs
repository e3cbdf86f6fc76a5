//! Whether mounts can be used from here: served, stuck, another user's, or dead.
//!
//! In: mounts of the table. Out: how they are. Every answer comes within some seconds, whatever state the process that
//! serves a mount is in.

use std::path::Path;

use super::attach::is_dead;
use super::control::{Ask, Client, ControlError, Facts, HELLO};
use crate::error::{Error, Result};
use crate::sys::mountinfo;
use crate::sys::mountinfo::Mounted;
use crate::work::fan_out;

/// How a mount of ours is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// Its process answers.
    Served(Box<Facts>),
    /// Its process does not.
    Silent {
        /// The process.
        pid: u32,
        /// Whether it was stopped.
        stopped: bool,
    },
    /// It is another user's, and that user's process serves it.
    OtherUser(u32),
    /// A process serves it that is not known here.
    Unknown,
    /// No process serves it any more.
    Dead,
}

impl Health {
    /// A stable name of it.
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

/// Asks mounts how they are, all at once, each for some seconds at most.
pub fn health(run: &Path, mounted: &[Mounted]) -> Vec<Health> {
    let asked = fan_out::together(mounted.len(), |n| health_of(run, &mounted[n]));
    asked.into_iter().map(|health| health.unwrap_or(Health::Unknown)).collect()
}

fn health_of(run: &Path, mounted: &Mounted) -> Health {
    let asked = Client::connect(run, mounted).and_then(|mut client| {
        client.hurry(HELLO);
        client.ask::<Facts>(&Ask::Facts)
    });
    let e = match asked {
        Ok(facts) => return Health::Served(Box::new(facts)),
        Err(e) => e,
    };
    match e.as_error().downcast_ref::<ControlError>() {
        Some(ControlError::Stuck { pid, stopped, .. }) => Health::Silent { pid: *pid, stopped: *stopped },
        _ if is_dead(&mounted.at) => Health::Dead,
        Some(ControlError::OtherUser { owner, .. }) => Health::OtherUser(*owner),
        _ => Health::Unknown,
    }
}

/// Fails if a path lies in a mount whose process is known and does not answer: to look at the path would take forever.
pub fn ensure_answers(run: &Path, path: &Path) -> Result<()> {
    let Some(mounted) = mountinfo::containing(path).ok().flatten().filter(Mounted::is_ours) else { return Ok(()) };
    match Client::connect(run, &mounted) {
        Err(e) if matches!(e.as_error().downcast_ref(), Some(ControlError::Stuck { .. })) => Err(e),
        _ => Ok(()),
    }
}

/// Why the mount that a path lies in cannot be used from here; `None` where it can, or there is none.
pub fn why_not(run: &Path, path: &Path) -> Option<Error> {
    let mounted = mountinfo::containing(path).ok().flatten().filter(Mounted::is_ours)?;
    Client::connect(run, &mounted).err()
}
