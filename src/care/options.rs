//! The options and the report of a gc.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::plan::PlanLimits;
use super::roots::LooseRoot;
use crate::model::entry::Time;
use crate::model::id::Id;
use crate::store::Removal;

/// Options of a gc.
#[derive(Clone, Debug)]
pub struct GcOptions {
    /// Grace period: how long a pack must have been known as unneeded before it is planned, and how
    /// long a dead pack stays before it is deleted.
    pub grace: Duration,
    /// How long forgotten versions keep all their objects, so that they can be restored.
    pub keep_trash: Duration,
    /// Forgotten versions to which `keep_trash` does not apply.
    pub at_once: BTreeSet<Id>,
    /// In a dry run, files of worktrees that were moved to the trash at this time or earlier do not
    /// count, because a real run removes them from the trash first. In seconds since 1970.
    pub purged_until: Option<i64>,
    /// How long versions that a ref named earlier keep all their objects, so that `undo` can return
    /// to them.
    pub keep_log: Duration,
    pub limits: PlanLimits,
    /// No copy of a pack begins after this moment. Copies that were made before it are still used.
    pub until: Option<Instant>,
    /// Time to wait after the fences, for stores whose listings lag behind their writes.
    pub settle: Duration,
    pub dry_run: bool,
    /// Fails instead of planning more than half of the bytes of all packs.
    pub is_cautious: bool,
    /// Directory for temporary files if the repository has no space.
    pub spare_dir: PathBuf,
    /// Author of the log entries that this run writes.
    pub who: String,
    /// The time of this run.
    pub time: Time,
}

/// The result of a gc.
#[derive(Clone, Debug, Default)]
pub struct GcReport {
    pub whole_versions: u64,
    pub forgotten_versions: u64,
    /// Packs that nothing needs and that are planned, with their bytes.
    pub dropped_packs: u64,
    pub dropped_bytes: u64,
    /// Packs whose needed part was copied into new ones, and an estimate of the copied bytes.
    pub copied_packs: u64,
    pub copied_bytes: u64,
    /// New packs with their bytes.
    pub new_packs: u64,
    pub new_bytes: u64,
    /// Packs that were first seen as unneeded less than the grace period ago.
    pub waiting_packs: u64,
    pub waiting_bytes: u64,
    /// When the first of the waiting packs may be planned, in seconds since 1970.
    pub waiting_until: Option<i64>,
    /// Estimate of the unused bytes in packs that stay.
    pub unused_bytes: u64,
    /// Bytes of all packs that stay.
    pub kept_bytes: u64,
    /// Dead packs that were deleted, with their bytes.
    pub deleted_packs: u64,
    pub deleted_bytes: u64,
    /// Dead packs that still exist, with their bytes, and when the first of them is due.
    pub dead_packs: u64,
    pub dead_bytes: u64,
    pub dead_until: Option<i64>,
    /// Index segments that were deleted because others replace them.
    pub deleted_segments: u64,
    /// Objects that the store refused to delete, and why.
    pub undeleted: u64,
    pub undeleted_because: Option<String>,
    /// Deleted packs whose space the store itself frees later.
    pub deferred_packs: u64,
    /// Roots without a log that lack objects.
    pub incomplete: Vec<LooseRoot>,
    /// Whether the time limit ended the run before everything was done.
    pub is_partial: bool,
    /// Bytes that were freed in overlays.
    pub overlay_bytes: u64,
}

impl GcReport {
    /// Notes the objects that a store refused to delete.
    pub(super) fn note(&mut self, removal: &Removal) {
        self.undeleted += removal.refused as u64;
        if let (None, Some(e)) = (&self.undeleted_because, &removal.reason) {
            self.undeleted_because = Some(crate::error::with_causes(e));
        }
    }
}
