//! Determines whether objects are stored in this repository.
//!
//! A row of the index does not prove that the pack exists. Commits depend on objects that earlier
//! commits have stored, so a commit lists the packs once and uses only rows whose packs exist.

use super::gclog::GcState;
use super::handle::Repo;
use super::trashlog::{TrashLog, TrashState};
use crate::error::{Failure, Kind, Result};
use crate::format::frame::CODEC_DELTA;
use crate::format::pack::PackKind;
use crate::format::segment::{IndexRow, PackName};
use crate::index::segment_reader::SegmentReader;
use crate::index::{Index, IndexError};
use crate::model::id::{Id, ObjectKind};

impl Repo {
    /// Returns whether the index contains an object. Its pack may be missing.
    pub fn has(&self, kind: ObjectKind, id: &Id) -> Result<bool> {
        let row = self.look_up(|index| index.lookup(PackKind::of(kind), id))?;
        Ok(row.is_some())
    }

    /// Asks the index. If a segment cannot be read, because a gc may have deleted it since the index
    /// was opened, asks the refreshed index.
    fn look_up<T>(&self, look: impl Fn(&Index) -> Result<T, IndexError>) -> Result<T> {
        let index = self.index()?;
        match look(index) {
            Err(e) if e.kind() == Kind::Integrity => {
                self.locator.refresh_after_damage()?;
                Ok(look(index)?)
            }
            found => Ok(found?),
        }
    }

    /// Returns whether an object has a copy that a writer may rely on: in a pack that exists and is
    /// neither dead nor planned. The copy must not be known to be damaged.
    pub fn rely(&self, kind: ObjectKind, id: &Id) -> Result<bool> {
        Ok(!self.locator.is_noted(kind, id) && self.rely_on_kind(PackKind::of(kind), id)?)
    }

    /// Like [`Self::rely`], for an object in packs of a kind.
    pub fn rely_on_kind(&self, table: PackKind, id: &Id) -> Result<bool> {
        // Usually there is neither a gc nor a missing pack, and then one lookup is enough.
        if self.locator.is_all_reliable()? {
            return Ok(self.look_up(|index| index.lookup(table, id))?.is_some());
        }
        for row in self.look_up(|index| index.lookup_all(table, id))? {
            if self.locator.is_reliable(&row)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Returns whether a writer may rely on every row of a segment. A segment may outlive its packs:
    /// a process that was stopped adds it after a gc has deleted them.
    pub fn rely_on_segment(&self, segment: &SegmentReader) -> Result<bool> {
        let packs = segment.packs().iter().map(|pack| &pack.name);
        self.locator.are_reliable(packs)
    }

    /// Returns the copies of an object on which a writer may rely.
    pub fn reliable_copies(&self, kind: PackKind, id: &Id) -> Result<Vec<IndexRow>> {
        let mut copies = self.look_up(|index| index.lookup_all(kind, id))?;
        if !self.locator.is_all_reliable()? {
            let mut reliable = Vec::with_capacity(copies.len());
            for row in copies {
                if self.locator.is_reliable(&row)? {
                    reliable.push(row);
                }
            }
            copies = reliable;
        }
        Ok(copies)
    }

    /// Returns a copy of an object that is not in a dead pack, as far as this process has read the
    /// gc log.
    pub fn live_copy(&self, kind: PackKind, id: &Id) -> Result<Option<IndexRow>> {
        let first = self.look_up(|index| index.lookup(kind, id))?;
        if first.is_none_or(|row| !self.is_given_up(&row)) {
            return Ok(first);
        }
        // The first copy is nearly always live, so the other copies are looked up only if needed.
        Ok(self
            .look_up(|index| index.lookup_all(kind, id))?
            .into_iter()
            .find(|row| !self.is_given_up(row)))
    }

    /// Returns whether a copy of an object is in a dead pack, as far as this process has read the
    /// gc log.
    pub fn is_given_up(&self, row: &IndexRow) -> bool {
        self.locator.is_given_up(row)
    }

    /// Returns the gc log as this process read it last.
    pub fn gc_state(&self) -> GcState {
        self.locator.gc_state()
    }

    /// Reads the gc log. From then on, writers do not rely on rows of dead or planned packs.
    pub fn read_gc_log(&self) -> Result<GcState> {
        self.locator.read_gc_log()
    }

    /// Reads the gc log for a gc, which voids a plan whose list is damaged.
    pub fn read_gc_log_to_void(&self) -> Result<GcState> {
        self.locator.read_gc_log_to_void()
    }

    /// Reads which versions are forgotten.
    pub fn forgotten(&self) -> Result<TrashState> {
        TrashLog::new(self.store()).read()
    }

    /// Opens index segments that other processes have written in the meantime.
    pub fn refresh_index(&self) -> Result<()> {
        self.locator.refresh().map(drop)
    }

    /// Like [`Self::refresh_index`]; returns whether the index has changed.
    pub fn has_new_index(&self) -> Result<bool> {
        self.locator.refresh()
    }

    /// Returns the packs of the index that exist and are not known to be damaged, as the sorted
    /// first eight bytes of their names.
    pub fn sound_packs(&self) -> Result<Vec<u64>> {
        let missing = self.locator.missing_packs()?;
        let damaged = self.noted_packs()?;
        let is_sound = |name: &PackName| !missing.contains(name) && !damaged.contains(name);
        let sound = self.locator.indexed_packs()?.into_iter().filter(is_sound);
        let mut all: Vec<u64> = sound
            .filter_map(|name| Some(u64::from_be_bytes(*name.first_chunk()?)))
            .collect();
        all.sort_unstable();
        Ok(all)
    }

    /// Returns the row of a chunk against which a delta of the chunk `id` can be made: that chunk
    /// itself, or its base if it is stored only as a delta. `None` if neither has a reliable copy
    /// that is not a delta.
    pub fn whole_base(&self, id: &Id) -> Result<Option<IndexRow>> {
        if self.locator.is_noted(ObjectKind::Chunk, id) {
            return Ok(None);
        }
        let index = self.index()?;
        let copies = index.lookup_all(PackKind::Data, id)?;
        for whole in copies.iter().filter(|r| r.place.codec != CODEC_DELTA) {
            if self.locator.is_reliable(whole)? {
                return Ok(Some(*whole));
            }
        }
        // Only a delta of the chunk exists. Its base is used instead, because deltas must not form
        // chains.
        let Some(delta) = copies.first() else {
            return Ok(None);
        };
        if !self.locator.is_reliable(delta)? {
            return Ok(None);
        }
        let Some(base) = self
            .frames
            .base_id(delta)?
            .filter(|b| !self.locator.is_noted(ObjectKind::Chunk, b))
        else {
            return Ok(None);
        };
        let bases = index.lookup_all(PackKind::Data, &base)?;
        let is_usable = |r: &IndexRow| {
            // An error only means that the caller stores the chunk without a base.
            r.place.codec != CODEC_DELTA && self.locator.is_reliable(r).unwrap_or(false)
        };
        Ok(bases.into_iter().find(is_usable))
    }

    /// Returns the id of the base of a stored delta.
    pub fn delta_base(&self, row: &IndexRow) -> Result<Option<Id>> {
        self.frames.base_id(row)
    }
}
