//! Mounts and their statistics in JSON.

use dvc::mount::control::{MountFacts, MountNote};
use dvc::ops::mount::MountState;
use serde::Serialize;
use std::borrow::Cow;

/// A mount in JSON.
#[derive(Serialize)]
pub(crate) struct JsonMount<'a> {
    mount_point: Cow<'a, str>,
    /// Missing if the process that serves the mount is unknown.
    #[serde(flatten)]
    process: Option<JsonMountProcess<'a>>,
    /// Missing in the report of a new mount.
    #[serde(flatten)]
    state: Option<JsonMountState<'a>>,
}

#[derive(Serialize)]
struct JsonMountProcess<'a> {
    pid: u32,
    revision: &'a str,
    overlay: Option<&'a str>,
    repository: Cow<'a, str>,
    read_only: bool,
    mode: &'a str,
}

#[derive(Serialize)]
struct JsonMountState<'a> {
    alive: bool,
    health: &'static str,
    owner_uid: Option<u32>,
    version: Option<&'a str>,
    branch: Option<&'a str>,
    /// `null` if no process answers.
    stats: Option<JsonMountStats>,
}

/// The statistics of a mount in JSON.
#[derive(Serialize)]
pub(crate) struct JsonMountStats {
    changed_files: u64,
    dirty_bytes: u64,
    overlay_bytes: u64,
    spare_bytes: u64,
    cached_inodes: u64,
    open_files: u64,
    reads: u64,
    read_bytes: u64,
    writes: u64,
    written_bytes: u64,
    fetched_bytes: u64,
    requests: u64,
    hydrated_bytes: u64,
    failed_operations: u64,
}

impl<'a> JsonMount<'a> {
    /// Returns the report of a new mount.
    pub(crate) fn started(note: &'a MountNote) -> Self {
        Self {
            mount_point: note.at.to_string_lossy(),
            process: Some(JsonMountProcess::new(note)),
            state: None,
        }
    }

    /// Returns a listed mount.
    pub(crate) fn listed(state: &'a MountState) -> Self {
        let facts = state.facts();
        Self {
            mount_point: state.mounted.at.to_string_lossy(),
            process: state.note.as_ref().map(JsonMountProcess::new),
            state: Some(JsonMountState {
                alive: facts.is_some(),
                health: state.health.name(),
                owner_uid: state.mounted.owner(),
                version: facts.and_then(|facts| facts.version.as_deref()),
                branch: facts.and_then(|facts| facts.branch.as_deref()),
                stats: facts.map(JsonMountStats::new),
            }),
        }
    }
}

impl<'a> JsonMountProcess<'a> {
    fn new(note: &'a MountNote) -> Self {
        Self {
            pid: note.process.pid,
            revision: &note.revision,
            overlay: note.overlay.as_deref(),
            repository: note.repository.to_string_lossy(),
            read_only: note.read_only,
            mode: &note.mode,
        }
    }
}

impl JsonMountStats {
    /// Returns the statistics that a mount reports.
    pub(crate) fn new(facts: &MountFacts) -> Self {
        Self {
            changed_files: facts.changed,
            dirty_bytes: facts.dirty_bytes,
            overlay_bytes: facts.overlay_bytes,
            spare_bytes: facts.spare_bytes,
            cached_inodes: facts.known,
            open_files: facts.open,
            reads: facts.reads,
            read_bytes: facts.read_bytes,
            writes: facts.writes,
            written_bytes: facts.written_bytes,
            fetched_bytes: facts.fetched_bytes,
            requests: facts.requests,
            hydrated_bytes: facts.hydrated_bytes,
            failed_operations: facts.failed,
        }
    }
}
