//! Reports of complete directories from a restore or a patch, which fill a stat cache.

use rustix::fs::Stat;

use crate::model::entry::Totals;
use crate::model::id::Id;

/// An entry of a directory.
#[derive(Clone)]
pub struct PlacedName {
    pub name: Vec<u8>,
    /// The stat after the last change; `None` if the node may still change or differs from its
    /// version.
    pub stat: Option<Stat>,
    /// Whether the run created or changed the node. If not, the node matched its version before the
    /// run, and still does if `stat` is the same as before.
    pub made: bool,
}

/// Receives complete directories from several threads, children before their parents.
pub trait Placements: Sync {
    /// Called when the directory at `path` (relative to the target) matches `tree`. `names`
    /// contains all entries, sorted.
    fn dir_placed(&self, path: &[u8], tree: &Id, totals: &Totals, names: Vec<PlacedName>);
}
