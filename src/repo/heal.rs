//! Reads objects from the remotes of a local repository if the local copies are damaged.
//!
//! Only verified bytes are returned. The repository itself is not changed, but the damage is noted
//! in its catalogue, so that the next commit or repair stores the object again.

use tempfile::NamedTempFile;

use super::fetch::FetchedFile;
use super::frames::Plain;
use super::handle::{LazySource, LocalRepo, Repo};
use super::layout;
use crate::error::{Error, Kind, Result};
use crate::format::segment::PackName;
use crate::model::id::{Id, ObjectKind};

impl Repo {
    /// Returns the verified bytes of an object whose local copies are unreadable, if a remote has
    /// the object. `why` is the error of the local copies.
    pub(super) fn read_from_remotes(
        &self,
        kind: ObjectKind,
        id: &Id,
        why: &Error,
    ) -> Option<Plain> {
        if !self.options.heal || why.kind() != Kind::Integrity {
            return None;
        }
        // The note comes before the search, so that the damage is known even if no remote responds.
        self.note_damage(&[(kind, *id)]);
        for source in self.heal_sources() {
            match source.0.stored_object(kind, id) {
                Ok(Some(plain)) => {
                    self.report_healed(source.0);
                    return Some(plain);
                }
                Ok(None) => {}
                // Try the other remotes even if this one does not respond or is damaged too.
                Err(e) => _ = source.1.outage.record(&e),
            }
        }
        None
    }

    /// Fetches a pack whose local file is damaged from a remote that has the same pack. `None` if
    /// no remote has an intact copy, or if healing is off.
    pub fn pack_from_remotes(&self, name: &PackName, limit: u64) -> Result<Option<NamedTempFile>> {
        let Some(local) = self
            .as_local()
            .filter(|_| self.options.heal)
            .map(LocalRepo::files)
        else {
            return Ok(None);
        };
        for (source, _) in self.heal_sources() {
            // After any error of a remote, try the next one.
            if let Ok(FetchedFile::Verified(file)) =
                source.fetch_named(&layout::pack(name), name, limit, local, &|| false)
            {
                self.report_healed(source);
                return Ok(Some(file));
            }
        }
        Ok(None)
    }

    /// Returns the remotes that respond and have the same repository id.
    fn heal_sources(&self) -> impl Iterator<Item = (&Self, &LazySource)> {
        let opened = self.options.heal_sources.iter().zip(&self.heal);
        opened.filter_map(|(open, source)| {
            Some((source.get(&**open, &self.marker().id).ok()?, source))
        })
    }

    fn report_healed(&self, source: &Self) {
        if let Some(complain) = &self.options.complain {
            let place = source.store().place();
            complain(&format!(
                "read damaged objects from `{place}` instead; run `dvc fsck --repair` to repair them"
            ));
        }
    }
}
