//! Counts how much of each pack is needed: merges the marked ids with the index as sorted streams.
//!
//! In: the sets of a mark, the index, and the packs that do not count. Out: one row for each pack,
//! the copy that stays of each object that is stored several times, and the bases of needed deltas.

use std::collections::{HashMap, HashSet};

use super::mark::Marked;
use super::runs::{PrefixIter, PrefixSets};
use crate::error::Result;
use crate::format::frame::CODEC_DELTA;
use crate::format::pack::PackKind;
use crate::format::segment::{IndexRow, ObjectLocation, PackName};
use crate::index::merged_rows::MergedRows;
use crate::model::id::Id;
use crate::repo::Repo;

/// Limit on the number of copies in memory, for objects with several copies. A copy takes at most
/// 48 bytes. Beyond this number every copy counts as needed, so that gc keeps too much rather than
/// use too much memory.
const COPIES_MAX: usize = 2 << 20;

/// How much of one pack is needed, by uncompressed length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PackTally {
    pub(super) name: PackName,
    pub(super) kind: PackKind,
    /// Length of the file in bytes.
    pub(super) file_bytes: u64,
    pub(super) rows: u64,
    pub(super) needed_rows: u64,
    /// Total uncompressed length of all objects.
    pub(super) object_bytes: u64,
    /// Total uncompressed length of the objects whose copy in this pack is needed.
    pub(super) needed_bytes: u64,
    /// Frames that are needed as bases of deltas in any pack; a base that is needed itself counts
    /// too.
    pub(super) base_frames: u64,
}

impl PackTally {
    /// Returns the share of the pack that nothing needs, between 0 and 1. Bases count as needed
    /// only if their objects are.
    pub(super) fn unused_share(&self) -> f64 {
        if self.object_bytes == 0 {
            1.0
        } else {
            self.unused_object_bytes() as f64 / self.object_bytes as f64
        }
    }

    /// Returns an estimate of the bytes of the file that nothing needs.
    pub(super) fn unused_bytes(&self) -> u64 {
        if self.object_bytes == 0 {
            return self.file_bytes;
        }
        let product = u128::from(self.file_bytes) * u128::from(self.unused_object_bytes());
        u64::try_from(product / u128::from(self.object_bytes)).unwrap_or(self.file_bytes)
    }

    fn unused_object_bytes(&self) -> u64 {
        self.object_bytes.saturating_sub(self.needed_bytes)
    }
}

/// The place of a frame: number of a pack in a [`Tally`], offset in the pack.
pub(super) type FramePlace = (u32, u32);

/// The place of a base: its frame, and its offset in the decompressed frame.
pub(super) type BasePlace = (FramePlace, u32);

/// The state of all packs.
pub(super) struct Tally<'m> {
    /// Sorted by kind and name; a position is the number of a pack.
    pub(super) packs: Vec<PackTally>,
    numbers: HashMap<(u8, PackName), u32>,
    /// For each object with several copies, the frame with the copy that stays. The keys are longer
    /// than the prefixes of the sets, because two objects must never share one copy.
    chosen: HashMap<(u8, u128), FramePlace>,
    /// The base of each needed delta, sorted; a base appears once for each of its deltas.
    bases: Vec<BasePlace>,
    /// Objects that refs need and that have no copy.
    pub(super) missing: u64,
    marked: &'m Marked,
}

/// One copy of an object that has several.
struct Copy {
    half: u128,
    place: FramePlace,
    base: Option<BasePlace>,
    len: u32,
}

impl<'m> Tally<'m> {
    /// Counts the needed objects of each pack. Rows in packs for which `counts` returns false are
    /// ignored.
    pub(super) fn new(
        repo: &Repo,
        marked: &'m Marked,
        counts: &dyn Fn(&PackName) -> bool,
    ) -> Result<Self> {
        let mut tally = Self {
            packs: Vec::new(),
            numbers: HashMap::new(),
            chosen: HashMap::new(),
            bases: Vec::new(),
            missing: 0,
            marked,
        };
        for kind in PackKind::ALL {
            tally.add_packs(repo, kind, counts)?;
            tally.add_rows(repo, kind)?;
        }
        tally.bases.sort_unstable();
        for same in tally.bases.chunk_by(|a, b| a.0 == b.0) {
            if let Some(pack) = same
                .first()
                .and_then(|(place, _)| tally.packs.get_mut(place.0 as usize))
            {
                pack.base_frames += 1;
            }
        }
        Ok(tally)
    }

    /// Returns the number of a pack, which is its position in `packs`; `None` if the tally does not
    /// have the pack.
    pub(super) fn number(&self, kind: PackKind, name: &PackName) -> Option<u32> {
        self.numbers.get(&(kind.number(), *name)).copied()
    }

    /// Returns whether the copy of an object at a place is needed: a version needs the object, and
    /// this copy stays.
    pub(super) fn is_needed(&self, kind: PackKind, id: &Id, place: FramePlace) -> Result<bool> {
        let set = usize::from(kind.number());
        if !self.marked.needed[set].contains(id)? && !self.marked.held[set].contains(id)? {
            return Ok(false);
        }
        let chosen = self.chosen.get(&(kind.number(), half(id)));
        Ok(chosen.is_none_or(|chosen| *chosen == place))
    }

    /// Returns whether a version needs an object of which a copy in a different place was chosen.
    pub(super) fn is_chosen_elsewhere(&self, kind: PackKind, id: &Id, place: FramePlace) -> bool {
        self.chosen
            .get(&(kind.number(), half(id)))
            .is_some_and(|chosen| *chosen != place)
    }

    /// Returns the number of needed deltas of a base.
    pub(super) fn deltas_of(&self, base: BasePlace) -> usize {
        let end = self.bases.partition_point(|other| *other <= base);
        end - self.bases.partition_point(|other| *other < base)
    }

    /// Returns the place of the frame at a location.
    pub(super) fn place(&self, kind: PackKind, location: &ObjectLocation) -> Option<FramePlace> {
        Some((self.number(kind, &location.pack)?, location.offset))
    }

    /// Returns the place of a base at a location.
    pub(super) fn base_place(&self, location: &ObjectLocation) -> Option<BasePlace> {
        Some((self.place(PackKind::Data, location)?, location.within))
    }

    fn add_packs(
        &mut self,
        repo: &Repo,
        kind: PackKind,
        counts: &dyn Fn(&PackName) -> bool,
    ) -> Result<()> {
        let mut sizes: HashMap<PackName, u64> = HashMap::new();
        for segment in repo.index()?.segments(kind) {
            for pack in segment.packs().iter().filter(|pack| counts(&pack.name)) {
                let size = sizes.entry(pack.name).or_default();
                *size = pack.size_bytes.max(*size);
            }
        }
        let mut packs: Vec<(PackName, u64)> = sizes.into_iter().collect();
        packs.sort_unstable();
        for (name, file_bytes) in packs {
            let number = u32::try_from(self.packs.len()).unwrap_or(u32::MAX);
            self.numbers.insert((kind.number(), name), number);
            self.packs.push(PackTally {
                name,
                kind,
                file_bytes,
                rows: 0,
                needed_rows: 0,
                object_bytes: 0,
                needed_bytes: 0,
                base_frames: 0,
            });
        }
        Ok(())
    }

    fn add_rows(&mut self, repo: &Repo, kind: PackKind) -> Result<()> {
        let set = usize::from(kind.number());
        let mut needed = Cursor::new(&self.marked.needed, set)?;
        let mut held = Cursor::new(&self.marked.held, set)?;
        let mut several: Vec<Copy> = Vec::new();
        let mut last: Option<IndexRow> = None;
        let mut group: Vec<IndexRow> = Vec::new();
        let mut rows = MergedRows::new(&repo.index()?.segments(kind))?;
        loop {
            let row = rows.next().transpose()?;
            if row.is_some() && row == last {
                continue;
            }
            last = row;
            if let Some(row) = row
                && group.first().is_none_or(|first| first.id == row.id)
            {
                group.push(row);
                continue;
            }
            if let Some(first) = group.first() {
                let prefix = first.id.prefix();
                // Advance both cursors, even if the first one finds the prefix.
                let (is_needed, is_held) = (needed.reach(prefix)?, held.reach(prefix)?);
                let has_copy = self.add_object(kind, &group, is_needed || is_held, &mut several);
                if has_copy {
                    needed.found(prefix);
                }
            }
            group.clear();
            match row {
                Some(row) => group.push(row),
                None => break,
            }
        }
        self.missing += needed.finish()?;
        self.choose(kind, &several);
        Ok(())
    }

    /// Counts all copies of one object; returns whether there is any.
    fn add_object(
        &mut self,
        kind: PackKind,
        copies: &[IndexRow],
        is_needed: bool,
        several: &mut Vec<Copy>,
    ) -> bool {
        let mut found: Vec<Copy> = Vec::with_capacity(copies.len().min(4));
        for row in copies {
            let Some(place) = self.place(kind, &row.place) else {
                continue;
            };
            if let Some(pack) = self.packs.get_mut(place.0 as usize) {
                pack.rows += 1;
                pack.object_bytes += u64::from(row.place.len);
            }
            let base = row.base.as_ref().map(|base| self.base_place(base));
            // A delta whose base does not count is not a copy.
            if row.place.codec == CODEC_DELTA && !matches!(base, Some(Some(_))) {
                continue;
            }
            found.push(Copy {
                half: half(&row.id),
                place,
                base: base.flatten(),
                len: row.place.len,
            });
        }
        if !is_needed {
            return !found.is_empty();
        }
        let whole = found.iter().any(|copy| copy.base.is_none());
        found.retain(|copy| !whole || copy.base.is_none());
        match found.as_slice() {
            [] => false,
            [only] => {
                self.keep(only);
                // The other copies, which are deltas or have no base, are not needed.
                if copies.len() > 1 && self.chosen.len() < COPIES_MAX {
                    self.chosen.insert((kind.number(), only.half), only.place);
                }
                true
            }
            all if several.len() + all.len() > COPIES_MAX => {
                all.iter().for_each(|copy| self.keep(copy));
                true
            }
            _ => {
                several.append(&mut found);
                true
            }
        }
    }

    fn keep(&mut self, copy: &Copy) {
        if let Some(pack) = self.packs.get_mut(copy.place.0 as usize) {
            pack.needed_rows += 1;
            pack.needed_bytes += u64::from(copy.len);
        }
        self.bases.extend(copy.base);
    }

    /// Chooses one copy of each object that has several: the one in the pack with the largest
    /// needed part, so that other packs become empty.
    fn choose(&mut self, kind: PackKind, several: &[Copy]) {
        let needed: Vec<u64> = self.packs.iter().map(|pack| pack.needed_bytes).collect();
        for copies in several.chunk_by(|a, b| a.half == b.half) {
            let best = copies.iter().max_by_key(|copy| {
                (
                    needed.get(copy.place.0 as usize).copied().unwrap_or(0),
                    std::cmp::Reverse(copy.place),
                )
            });
            if let Some(copy) = best {
                self.chosen.insert((kind.number(), copy.half), copy.place);
                self.keep(copy);
            }
        }
    }

    /// Returns the names of all packs of the tally.
    pub(super) fn names(&self) -> HashSet<PackName> {
        self.packs.iter().map(|pack| pack.name).collect()
    }
}

/// Returns the first half of an id.
fn half(id: &Id) -> u128 {
    id.0.first_chunk::<16>()
        .map_or(0, |half| u128::from_be_bytes(*half))
}

/// Walks a set of prefixes in step with the rows of the index.
pub(super) struct Cursor {
    iter: PrefixIter,
    current: Option<u64>,
    /// Whether the current prefix has a copy.
    is_found: bool,
    missing: u64,
}

impl Cursor {
    pub(super) fn new(sets: &PrefixSets, set: usize) -> Result<Self> {
        let mut iter = sets[set].iter()?;
        let current = iter.next().transpose()?;
        Ok(Self {
            iter,
            current,
            is_found: false,
            missing: 0,
        })
    }

    /// Moves to the first prefix that is not smaller; returns whether it is the given one.
    pub(super) fn reach(&mut self, prefix: u64) -> Result<bool> {
        while self.current.is_some_and(|current| current < prefix) {
            self.step()?;
        }
        Ok(self.current == Some(prefix))
    }

    fn found(&mut self, prefix: u64) {
        self.is_found |= self.current == Some(prefix);
    }

    fn step(&mut self) -> Result<()> {
        self.missing += u64::from(self.current.is_some() && !self.is_found);
        self.current = self.iter.next().transpose()?;
        self.is_found = false;
        Ok(())
    }

    /// Reads to the end; returns the number of prefixes without a copy.
    fn finish(&mut self) -> Result<u64> {
        while self.current.is_some() {
            self.step()?;
        }
        Ok(self.missing)
    }
}
