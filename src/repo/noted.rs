//! Objects of a local repository whose stored copies are known to be damaged. A commit does not
//! rely on their rows in the index, and stores them again when it meets them.
//!
//! The notes are in the catalogue and are only an improvement: errors of the catalogue are ignored.

use std::collections::HashSet;

use parking_lot::RwLock;

use super::handle::Repo;
use super::locator::Locator;
use crate::error::Result;
use crate::format::pack::PackKind;
use crate::format::segment::{IndexRow, PackName};
use crate::model::id::{Id, ObjectKind};

impl Locator {
    fn noted_objects(&self) -> &RwLock<HashSet<(ObjectKind, Id)>> {
        self.noted.get_or_init(|| {
            let read = || self.catalogue().ok()?.damaged_objects().ok();
            // The notes of a remote repository would be of no use, because nothing commits to it.
            let noted = self
                .location
                .as_local()
                .and_then(|_| read())
                .unwrap_or_default();
            RwLock::new(noted.into_iter().collect())
        })
    }

    /// Returns whether all copies of an object that existed when it was noted are damaged.
    pub(super) fn is_noted(&self, kind: ObjectKind, id: &Id) -> bool {
        let noted = self.noted_objects().read();
        !noted.is_empty() && noted.contains(&(kind, *id))
    }

    /// Removes the notes of objects that were stored again.
    pub(super) fn forget_stored(&self, kind: PackKind, rows: &[IndexRow]) {
        // The set is nearly always empty, so this test saves the work for every pack.
        if self.noted_objects().read().is_empty() {
            return;
        }
        let kinds = || {
            ObjectKind::ALL
                .into_iter()
                .filter(|k| PackKind::of(*k) == kind)
        };
        // A row does not contain the kind of its object.
        let stored: Vec<_> = rows
            .iter()
            .flat_map(|row| kinds().map(|k| (k, row.id)))
            .collect();
        let mut noted = self.noted_objects().write();
        let forgotten: Vec<_> = stored
            .into_iter()
            .filter(|object| noted.remove(object))
            .collect();
        // The catalogue writes to the disk, so it is called without the lock.
        drop(noted);
        if let (false, Ok(catalogue)) = (forgotten.is_empty(), self.catalogue()) {
            let _ = catalogue.remove_damaged_objects(&forgotten);
        }
    }
}

impl Repo {
    /// Returns the objects whose stored copies are known to be damaged.
    pub fn noted_damage(&self) -> Vec<(ObjectKind, Id)> {
        self.locator
            .noted_objects()
            .read()
            .iter()
            .copied()
            .collect()
    }

    /// Notes that the stored copies of objects are damaged. Does nothing for a remote repository.
    pub fn note_damage(&self, objects: &[(ObjectKind, Id)]) {
        if self.as_local().is_none() {
            return;
        }
        let mut noted = self.locator.noted_objects().write();
        let new: Vec<_> = objects
            .iter()
            .copied()
            .filter(|object| noted.insert(*object))
            .collect();
        // The catalogue writes to the disk, so it is called without the lock.
        drop(noted);
        if let (false, Ok(catalogue)) = (new.is_empty(), self.catalogue()) {
            let _ = catalogue.add_damaged_objects(&new);
        }
    }

    /// Removes the notes of objects that have an intact copy.
    pub fn forget_damage(&self, objects: &[(ObjectKind, Id)]) {
        let mut noted = self.locator.noted_objects().write();
        let old: Vec<_> = objects
            .iter()
            .copied()
            .filter(|object| noted.remove(object))
            .collect();
        drop(noted);
        if let (false, Ok(catalogue)) = (old.is_empty(), self.catalogue()) {
            let _ = catalogue.remove_damaged_objects(&old);
        }
    }

    /// Opens index segments that other processes have written in the meantime.
    pub fn refresh_segments(&self) -> Result<()> {
        self.locator.refresh().map(drop)
    }

    /// Returns the packs that have copies of objects whose copies are known to be damaged.
    pub fn noted_packs(&self) -> Result<HashSet<PackName>> {
        let mut packs = HashSet::new();
        for (kind, id) in self.noted_damage() {
            let rows = self
                .index()?
                .lookup_all(PackKind::of(kind), &id)
                .unwrap_or_default();
            packs.extend(rows.iter().map(|row| row.place.pack));
        }
        Ok(packs)
    }
}
