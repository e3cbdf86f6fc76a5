//! Restores versions from the trash, if no gc has collected their data.

use super::handle::Repo;
use super::log::Appended;
use super::refs::Move;
use super::trashlog::TrashLog;
use super::whole::CopyDemand;
use crate::error::Result;
use crate::model::id::Id;

/// The result of taking versions out of the trash.
#[derive(Clone, Debug, Default)]
pub struct RestoredVersions {
    pub restored: Vec<Id>,
    /// Versions that stay forgotten, because they lack data.
    pub lacking: Vec<Id>,
    /// Whether the lacking versions may have data in packs of the plan of an unfinished gc.
    pub is_planned: bool,
}

impl Repo {
    /// Restores those of the versions that are in the trash and have all their data.
    pub fn restore_versions(&self, versions: &[Id], how: &Move<'_>) -> Result<RestoredVersions> {
        loop {
            // A gc that writes its plan after this moment fences the trash log, so the append
            // fails. The trash log is read after the gc log.
            let gc = self.read_gc_log()?;
            let trash = self.forgotten()?;
            self.refresh_index()?;
            let asked: Vec<Id> = versions
                .iter()
                .copied()
                .filter(|id| trash.contains(id))
                .collect();
            let lacking = self.versions_without_data(&asked, CopyDemand::Stays)?;
            let restored: Vec<Id> = asked
                .into_iter()
                .filter(|id| !lacking.contains(id))
                .collect();
            let log = TrashLog::new(self.store());
            if restored.is_empty()
                || log.append(trash.number, &[], &restored, how)? == Appended::Counts
            {
                return Ok(RestoredVersions {
                    restored,
                    lacking,
                    is_planned: gc.has_plan,
                });
            }
        }
    }
}
