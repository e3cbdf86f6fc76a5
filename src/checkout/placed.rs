//! What a restore or a patch tells about each directory that is now as its version says, so that a stat cache can be
//! filled.

use rustix::fs::Stat;

use crate::model::entry::Totals;
use crate::model::id::Id;

/// One name of a directory.
#[derive(Clone)]
pub struct PlacedName {
    /// The name.
    pub name: Vec<u8>,
    /// What the file system says of it after our last change; `None` if it may still change, or is not as its
    /// version says.
    pub stat: Option<Stat>,
    /// Whether we made or changed it. If not, it was found as its version says before the run began, and `stat` is
    /// proof of that only if it is the same as then.
    pub made: bool,
}

/// Hears of directories from several threads, children before their parents.
pub trait Placements: Sync {
    /// The directory at `path` (relative to the target) holds what `tree` says; `names` are sorted and all of it.
    fn dir_placed(&self, path: &[u8], tree: &Id, totals: &Totals, names: Vec<PlacedName>);
}
