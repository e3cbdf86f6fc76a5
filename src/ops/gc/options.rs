//! Options of a garbage collection.

use std::collections::BTreeSet;
use std::time::Duration;

use crate::model::id::Id;

/// Options of a garbage collection.
#[derive(Clone, Debug, PartialEq)]
pub struct CollectOptions {
    /// Grace period: how long a pack must have been known as unneeded before it is planned, and how
    /// long a dead pack stays before it is deleted.
    pub grace: Duration,
    /// How long forgotten versions keep all their objects, so that they can be restored.
    pub keep_trash: Duration,
    /// How long everything else stays in the trash: overlays, volumes and files of worktrees.
    pub keep_local_trash: Duration,
    /// Forgotten versions to which `keep_trash` does not apply.
    pub at_once: BTreeSet<Id>,
    /// How long versions that a ref named earlier keep all their objects, so that `undo` can return
    /// to them.
    pub keep_log: Duration,
    /// Unused bytes that may stay, as a share of the bytes of all packs that stay.
    pub max_unused: f64,
    /// Limit on the bytes that are copied; `None` means no limit.
    pub max_repack: Option<u64>,
    /// No copy of a pack begins after this time; `None` means no limit.
    pub max_time: Option<Duration>,
    pub dry_run: bool,
    /// Whether more than half of the bytes of all packs may be marked as dead.
    pub is_confirmed: bool,
}
