//! The list of names of a directory, as a program reads it. The list contains the names that
//! existed when the program began to read, except for those that are removed before it reaches
//! them.
//!
//! The kernel opens directories without a request if it can, which saves one per listing.
//! Directories therefore have no handles, and a position must mean the same for all readers.

use crate::mount::lower::SharedDir;
use crate::mount::names::ListedName;

/// The names of a directory.
pub(super) enum DirListing {
    /// An unchanged directory of the version.
    Plain(SharedDir),
    /// The names of a changed directory, and the directory of the version that it is based on.
    Merged(
        Vec<ListedName>,
        #[expect(dead_code, reason = "held, so that it stays known")] Option<SharedDir>,
    ),
}

impl DirListing {
    pub(super) fn len(&self) -> usize {
        match self {
            Self::Plain(dir) => dir.len(),
            Self::Merged(all, _) => all.len(),
        }
    }

    /// Returns the index of the first name after a position.
    pub(super) fn behind(&self, at: u64) -> usize {
        match self {
            // `position(n)` is `n + 3`, so the next name has the index `at - 2`.
            Self::Plain(..) => usize::try_from(at.saturating_sub(2)).unwrap_or(usize::MAX),
            Self::Merged(all, _) => all.partition_point(|l| l.at <= at),
        }
    }
}
