//! The rows that no segment contains yet, in a compact table with about 100 bytes per row.

use crate::format::segment::{IndexRow, ObjectLocation, PackName};
use crate::model::id::Id;
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

const NONE: u32 = u32::MAX;

/// Hashes an id by taking its last eight bytes, because an id is already a hash.
#[derive(Clone, Copy, Debug, Default)]
struct PassThroughHasher(u64);

impl Hasher for PassThroughHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        if let Some(b) = bytes.last_chunk::<8>() {
            self.0 ^= u64::from_le_bytes(*b);
        }
    }

    // The length of an id is always the same.
    fn write_usize(&mut self, _len: usize) {}
}

#[derive(Clone, Copy, Debug)]
struct Packed {
    pack: u32,
    offset: u32,
    stored: u32,
    within: u32,
    len: u32,
    codec: u8,
}

#[derive(Clone, Copy, Debug)]
struct Slot {
    place: Packed,
    base: u32,
    next: u32,
}

/// A table of rows in memory. Each id has a chain of slots, one slot per copy.
#[derive(Debug, Default)]
pub(super) struct PendingRows {
    packs: Vec<PackName>,
    pack_numbers: HashMap<PackName, u32>,
    first: HashMap<Id, u32, BuildHasherDefault<PassThroughHasher>>,
    slots: Vec<Slot>,
    bases: Vec<Packed>,
}

impl PendingRows {
    /// Adds a row. Returns false if the table already contains it, or is full.
    pub(super) fn insert(&mut self, row: &IndexRow) -> bool {
        let first = self.first.get(&row.id).copied().unwrap_or(NONE);
        if self.chain(first).any(|slot| self.row(row.id, slot) == *row) {
            return false;
        }
        let Some(at) = u32::try_from(self.slots.len())
            .ok()
            .filter(|at| *at != NONE)
        else {
            return false;
        };
        let base = row.base.as_ref().map_or(NONE, |b| {
            let packed = self.pack(b);
            self.bases.push(packed);
            // No overflow: there are at most as many bases as slots.
            u32::try_from(self.bases.len() - 1).unwrap_or(NONE)
        });
        let place = self.pack(&row.place);
        self.slots.push(Slot {
            place,
            base,
            next: first,
        });
        self.first.insert(row.id, at);
        true
    }

    pub(super) fn contains(&self, id: &Id) -> bool {
        self.first.contains_key(id)
    }

    /// Returns all rows of an object.
    pub(super) fn rows_of<'a>(&'a self, id: &Id) -> impl Iterator<Item = IndexRow> + use<'a> {
        let id = *id;
        self.chain(self.first.get(&id).copied().unwrap_or(NONE))
            .map(move |slot| self.row(id, slot))
    }

    /// Returns all rows in arbitrary order.
    pub(super) fn rows(&self) -> impl Iterator<Item = IndexRow> {
        self.first
            .iter()
            .flat_map(|(id, first)| self.chain(*first).map(|slot| self.row(*id, slot)))
    }

    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    /// Returns all rows in sorted order.
    pub(super) fn sorted(&self) -> Vec<IndexRow> {
        let mut rows: Vec<IndexRow> = Vec::with_capacity(self.slots.len());
        rows.extend(self.rows());
        rows.sort_unstable();
        rows
    }

    fn chain(&self, first: u32) -> impl Iterator<Item = &Slot> {
        let slot = |at: u32| self.slots.get(usize::try_from(at).ok()?);
        std::iter::successors(slot(first), move |s| slot(s.next))
    }

    fn row(&self, id: Id, slot: &Slot) -> IndexRow {
        let base = usize::try_from(slot.base)
            .ok()
            .and_then(|n| self.bases.get(n));
        IndexRow {
            id,
            place: self.place(&slot.place),
            base: base.map(|b| self.place(b)),
        }
    }

    fn place(&self, p: &Packed) -> ObjectLocation {
        let pack = usize::try_from(p.pack)
            .ok()
            .and_then(|n| self.packs.get(n))
            .copied()
            .unwrap_or_default();
        ObjectLocation {
            pack,
            offset: p.offset,
            stored: p.stored,
            within: p.within,
            len: p.len,
            codec: p.codec,
        }
    }

    fn pack(&mut self, p: &ObjectLocation) -> Packed {
        let pack = *self.pack_numbers.entry(p.pack).or_insert_with(|| {
            self.packs.push(p.pack);
            // No overflow in practice: there are at most twice as many packs as slots, and 2^31
            // slots would take about 200 GB.
            u32::try_from(self.packs.len() - 1).unwrap_or(NONE)
        });
        Packed {
            pack,
            offset: p.offset,
            stored: p.stored,
            within: p.within,
            len: p.len,
            codec: p.codec,
        }
    }
}
