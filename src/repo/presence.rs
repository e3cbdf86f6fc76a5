//! Determines whether objects are stored in this repository.
//!
//! A row of the index does not prove that the pack exists. Commits depend on objects that earlier
//! commits have stored, so a commit lists the packs once and uses only rows whose packs exist.

use super::handle::Repo;
use crate::error::Result;
use crate::format::frame::CODEC_DELTA;
use crate::format::pack::PackKind;
use crate::format::segment::IndexRow;
use crate::model::id::{Id, ObjectKind};

impl Repo {
    /// Returns whether the index contains an object. Its pack may be missing.
    pub fn has(&self, kind: ObjectKind, id: &Id) -> Result<bool> {
        Ok(self.index()?.lookup(PackKind::of(kind), id)?.is_some())
    }

    /// Returns whether an object is stored in a pack that exists.
    pub fn has_whole(&self, kind: ObjectKind, id: &Id) -> Result<bool> {
        let (index, table) = (self.index()?, PackKind::of(kind));
        if self.locator.missing_packs()?.is_empty() {
            return Ok(index.lookup(table, id)?.is_some());
        }
        for row in index.lookup_all(table, id)? {
            if self.locator.has_packs_of(&row)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Returns the packs of the index that exist, as the sorted first eight bytes of their names.
    pub fn sound_packs(&self) -> Result<Vec<u64>> {
        let missing = self.locator.missing_packs()?;
        let sound = self.locator.indexed_packs()?.into_iter().filter(|name| !missing.contains(name));
        let mut all: Vec<u64> = sound.filter_map(|name| Some(u64::from_be_bytes(*name.first_chunk()?))).collect();
        all.sort_unstable();
        Ok(all)
    }

    /// Returns the row of a chunk against which a delta of the chunk `id` can be made: that chunk
    /// itself, or its base if it is stored only as a delta. `None` if neither is stored whole.
    pub fn whole_base(&self, id: &Id) -> Result<Option<IndexRow>> {
        let index = self.index()?;
        let copies = index.lookup_all(PackKind::Data, id)?;
        for whole in copies.iter().filter(|r| r.place.codec != CODEC_DELTA) {
            if self.locator.has_packs_of(whole)? {
                return Ok(Some(*whole));
            }
        }
        let Some(delta) = copies.first() else { return Ok(None) };
        if !self.locator.has_packs_of(delta)? {
            return Ok(None);
        }
        let Some(base) = self.frames.base_id(delta)? else { return Ok(None) };
        let bases = index.lookup_all(PackKind::Data, &base)?;
        let is_usable = |r: &IndexRow| r.place.codec != CODEC_DELTA && self.locator.has_packs_of(r).unwrap_or(false);
        Ok(bases.into_iter().find(is_usable))
    }

    /// Returns the id of the base of a stored delta.
    pub fn delta_base(&self, row: &IndexRow) -> Result<Option<Id>> {
        self.frames.base_id(row)
    }
}
