//! The index from object ids to locations in packs: the open index segments of each kind, the rows
//! of this process that no segment contains yet, and the SQLite catalogue.
//!
//! The whole index is derived from packs and refs, and can be rebuilt. Several threads use an
//! [`Index`] at the same time. Looking up an absent id costs one cache miss per segment; looking up
//! a present id costs one small read. A segment must be durable before it is added here.

use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::format::pack::PackKind;
use crate::format::segment::{self, IndexRow, PackName, SegmentName};
use crate::model::id::Id;
use pending::PendingRows;
use segment_reader::SegmentReader;
use std::sync::Arc;

pub mod catalogue;
mod error;
pub mod merged_rows;
mod pending;
pub mod segment_reader;
pub mod segment_writer;
pub mod sqlite;

pub use error::IndexError;

/// Number of segments in a tier at which they are merged into one.
pub const MERGE_AT: usize = 8;
/// Number of rows at which the second tier starts; each further tier starts at eight times as many
/// rows.
pub const TIER_ROWS: u64 = 4096;

/// The open segments of one kind, newest first, and the rows in memory.
#[derive(Debug, Default)]
struct SegmentSet {
    segments: RwLock<Vec<Arc<SegmentReader>>>,
    memory: RwLock<MemoryRows>,
}

#[derive(Debug, Default)]
struct MemoryRows {
    pending: PendingRows,
    /// Rows that the caller is writing to a segment that is not added yet.
    taken: Vec<PendingRows>,
}

impl MemoryRows {
    fn tables(&self) -> impl Iterator<Item = &PendingRows> {
        std::iter::once(&self.pending).chain(&self.taken)
    }
}

/// Finds the locations of objects in packs.
///
/// A damaged segment does not hide objects that another segment contains. If no other segment
/// contains an object, the damaged one may have contained it, so the lookup returns the error of
/// that segment instead of "absent".
#[derive(Debug, Default)]
pub struct Index {
    sets: [SegmentSet; 3],
    /// Segments that cannot be opened.
    damaged: Vec<(SegmentName, IndexError)>,
}

impl Index {
    /// Builds an index from opened segments, oldest first. Omits segments that another one
    /// replaces, and records damaged segments; any other error is returned.
    pub fn open(
        segments: impl IntoIterator<Item = (SegmentName, Result<SegmentReader, IndexError>)>,
    ) -> Result<Self, IndexError> {
        let mut index = Self::default();
        for (name, opened) in segments {
            match opened {
                Ok(reader) => write(&index.set(reader.kind()).segments).push(Arc::new(reader)),
                Err(e) => index.record_damaged(name, e)?,
            }
        }
        let mut all_replaced: Vec<SegmentName> = Vec::new();
        for set in &index.sets {
            let mut segments = write(&set.segments);
            segments.reverse();
            let replaced: Vec<SegmentName> = segments
                .iter()
                .flat_map(|s| s.replaces())
                .copied()
                .collect();
            segments.retain(|s| !replaced.contains(s.name()));
            all_replaced.extend(replaced);
        }
        // Another segment has the rows of a replaced one, so its damage hides nothing.
        index.damaged.retain(|d| !all_replaced.contains(&d.0));
        Ok(index)
    }

    /// Builds an index from open segments, oldest first.
    pub fn of_segments(segments: impl IntoIterator<Item = Arc<SegmentReader>>) -> Self {
        let index = Self::default();
        for segment in segments {
            write(&index.set(segment.kind()).segments).insert(0, segment);
        }
        index
    }

    /// Records a damaged segment. An error with another cause is returned.
    fn record_damaged(&mut self, name: SegmentName, error: IndexError) -> Result<(), IndexError> {
        if !matches!(
            error,
            IndexError::Segment {
                source: segment::SegmentError::Damaged(_),
                ..
            }
        ) {
            return Err(error);
        }
        self.damaged.push((name, error));
        Ok(())
    }

    /// Returns the segments that cannot be opened, with their errors.
    pub fn damaged(&self) -> &[(SegmentName, IndexError)] {
        &self.damaged
    }

    /// Returns a copy of an object, or `None` if there is none.
    pub fn lookup(&self, kind: PackKind, id: &Id) -> Result<Option<IndexRow>, IndexError> {
        let set = self.set(kind);
        // Memory comes first, because `add_segment` removes rows from memory only after it has
        // added the segment. The smallest row is a complete copy, if there is one.
        if let Some(row) = read(&set.memory).tables().find_map(|t| t.rows_of(id).min()) {
            return Ok(Some(row));
        }
        let mut failed = None;
        for segment in read(&set.segments).iter() {
            match segment.lookup(id) {
                Ok(Some(row)) => return Ok(Some(row)),
                Ok(None) => {}
                Err(e) => failed = Some(e),
            }
        }
        self.ensure_absent(failed).map(|()| None)
    }

    /// Fails if some segment could not be searched, because that segment may contain the object.
    fn ensure_absent(&self, failed: Option<IndexError>) -> Result<(), IndexError> {
        match (failed, self.damaged.first()) {
            (Some(e), _) => Err(e),
            (None, Some((_, IndexError::Segment { path, source }))) => Err(IndexError::Segment {
                path: path.clone(),
                source: *source,
            }),
            _ => Ok(()),
        }
    }

    /// Returns all copies of an object, full copies before deltas.
    pub fn lookup_all(&self, kind: PackKind, id: &Id) -> Result<Vec<IndexRow>, IndexError> {
        let set = self.set(kind);
        let mut rows: Vec<IndexRow> = read(&set.memory)
            .tables()
            .flat_map(|t| t.rows_of(id))
            .collect();
        let mut failed = None;
        for segment in read(&set.segments).iter() {
            failed = segment.lookup_all(id, &mut rows).err().or(failed);
        }
        if rows.is_empty() {
            self.ensure_absent(failed)?;
        }
        // Until `add_segment` removes rows from memory, the same row is in memory and in a segment.
        rows.sort_unstable();
        rows.dedup();
        Ok(rows)
    }

    /// Returns at most `limit` ids between `low` and `high`, inclusive; used to resolve abbreviated
    /// ids. Searches only segments.
    pub fn ids_between(
        &self,
        kind: PackKind,
        low: &Id,
        high: &Id,
        limit: usize,
    ) -> Result<Vec<Id>, IndexError> {
        let mut ids = std::collections::BTreeSet::new();
        for segment in self.segments(kind) {
            for row in segment.iter_from(low) {
                let id = row?.id;
                if id > *high {
                    break;
                }
                if id >= *low {
                    ids.insert(id);
                }
                // Keep only the smallest ids, so that memory is bounded.
                if ids.len() > limit {
                    ids.pop_last();
                }
            }
        }
        Ok(ids.into_iter().collect())
    }

    /// Adds a row to memory. Returns true if memory had no row with this id. A second copy at
    /// another location is kept, too.
    pub fn insert(&self, kind: PackKind, row: &IndexRow) -> bool {
        let mut memory = write(&self.set(kind).memory);
        let new = !memory.tables().any(|t| t.contains(&row.id));
        memory.pending.insert(row);
        new
    }

    /// Adds all rows of a pack under one lock, so that a segment gets either all or none of them.
    pub fn insert_all(&self, kind: PackKind, rows: &[IndexRow]) {
        let mut memory = write(&self.set(kind).memory);
        for row in rows {
            memory.pending.insert(row);
        }
    }

    /// Returns the number of rows in memory that were not taken for a segment.
    pub fn pending(&self, kind: PackKind) -> usize {
        read(&self.set(kind).memory).pending.len()
    }

    /// Takes the pending rows for a new segment and returns them sorted. Lookups still find them in
    /// memory until that segment is added.
    pub fn take_pending(&self, kind: PackKind) -> Vec<IndexRow> {
        let mut memory = write(&self.set(kind).memory);
        let table = std::mem::take(&mut memory.pending);
        let rows = table.sorted();
        if !rows.is_empty() {
            memory.taken.push(table);
        }
        rows
    }

    /// Adds a segment, drops the segments that it replaces, and removes taken rows from memory.
    /// Rows that were taken together remain until one segment contains all of them.
    pub fn add_segment(&self, new: SegmentReader) {
        let set = self.set(new.kind());
        let new = Arc::new(new);
        let mut segments = write(&set.segments);
        segments.retain(|s| !new.replaces().contains(s.name()) && s.name() != new.name());
        // Insert the segment before the rows are removed, so that a concurrent lookup always finds
        // them.
        segments.insert(0, Arc::clone(&new));
        drop(segments);
        let mut memory = write(&set.memory);
        let mut left = Vec::new();
        for table in std::mem::take(&mut memory.taken) {
            if !holds(&new, &table) {
                left.push(table);
            }
        }
        memory.taken = left;
    }

    /// Drops segments that do not exist any more.
    pub fn drop_segments(&self, is_gone: impl Fn(&SegmentName) -> bool) {
        for set in &self.sets {
            write(&set.segments).retain(|segment| !is_gone(segment.name()));
        }
    }

    /// Returns the open segments of a kind, newest first.
    pub fn segments(&self, kind: PackKind) -> Vec<Arc<SegmentReader>> {
        read(&self.set(kind).segments).clone()
    }

    /// Returns the length of a pack in bytes, or `None` if no segment of this kind lists the pack.
    pub fn pack_bytes(&self, kind: PackKind, name: &PackName) -> Option<u64> {
        read(&self.set(kind).segments)
            .iter()
            .find_map(|s| s.pack_bytes(name))
    }

    /// Returns the segments that should be merged into one; empty if no tier is full. A tier is
    /// full when it has [`MERGE_AT`] segments.
    pub fn merge_plan(&self, kind: PackKind) -> Vec<Arc<SegmentReader>> {
        let segments = read(&self.set(kind).segments);
        let rows: Vec<u64> = segments.iter().map(|s| s.rows()).collect();
        merge_plan(&rows)
            .into_iter()
            .filter_map(|n| segments.get(n).cloned())
            .collect()
    }

    const fn set(&self, kind: PackKind) -> &SegmentSet {
        match kind {
            PackKind::Data => &self.sets[0],
            PackKind::List => &self.sets[1],
            PackKind::Tree => &self.sets[2],
        }
    }
}

/// Returns whether a segment contains every row of `table`. A row that cannot be read counts as
/// missing.
fn holds(segment: &SegmentReader, table: &PendingRows) -> bool {
    let mut copies = Vec::new();
    table.rows().all(|row| {
        copies.clear();
        segment.lookup_all(&row.id, &mut copies).is_ok() && copies.contains(&row)
    })
}

/// Returns the positions of the segments to merge, given the number of rows of each. If the merged
/// segment fills the next tier, that tier joins the same merge.
fn merge_plan(rows: &[u64]) -> Vec<usize> {
    let top = rows.iter().map(|r| tier(*r)).max().unwrap_or(0);
    let mut plan: Vec<usize> = Vec::new();
    for at in 0..=top {
        let mut members: Vec<usize> = (0..rows.len())
            .filter(|n| rows.get(*n).is_some_and(|r| tier(*r) == at))
            .collect();
        let merged: u64 = plan.iter().filter_map(|n| rows.get(*n)).sum();
        // The segment that the lower tiers are merged into counts as a member of its own tier.
        let joins = usize::from(!plan.is_empty() && tier(merged) == at);
        if members.len() + joins >= MERGE_AT {
            plan.append(&mut members);
        }
    }
    plan
}

fn tier(rows: u64) -> u32 {
    let mut tier = 0;
    let mut limit = TIER_ROWS;
    while rows >= limit && tier < 16 {
        limit = limit.saturating_mul(8);
        tier += 1;
    }
    tier
}

fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read()
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write()
}

#[cfg(test)]
mod tests;
