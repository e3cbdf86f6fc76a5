//! Packs that are copied, and their tables.

use super::error::SyncError;
use crate::error::{Kind, Result};
use crate::format::pack::{PackKind, TableFrame};
use crate::format::segment::PackName;
use crate::model::id::Id;
use crate::repo::packs::{PackTable, read_table};
use crate::repo::{Repo, layout};

/// A pack that has arrived at the destination.
pub struct Sent {
    pub name: PackName,
    pub kind: PackKind,
    pub bytes: u64,
    /// Frames of a pack that the copy created. `None` for a pack that was copied whole, whose own
    /// table lists its frames.
    pub frames: Option<Vec<TableFrame>>,
}

/// Reads the table of contents of a pack. The error names the pack.
pub(super) fn table_of(repo: &Repo, name: &PackName) -> Result<PackTable> {
    let key = layout::pack(name);
    match read_table(repo.store(), name) {
        Err(e) if e.kind() == Kind::Integrity => {
            let place = repo.store().place();
            if repo.store().len(&key)?.is_none() {
                return Err(SyncError::NoPack { place, pack: *name }.into());
            }
            // The next run must not read the damaged bytes from the cache again.
            repo.remote_store()
                .iter()
                .for_each(|remote| remote.forget(&key));
            Err(SyncError::Damaged { place, pack: *name }.into())
        }
        table => table,
    }
}

/// Returns the first object of a pack, which is the key to find the pack in a segment.
pub(super) fn first_object(frames: &[TableFrame]) -> Option<Id> {
    frames.first().and_then(|f| f.objects.first()).map(|o| o.0)
}
