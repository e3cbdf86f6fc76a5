//! Where objects lie: open index segments of each kind and the rows of this run that no segment holds yet; beside it the SQLite catalogue.
//!
//! All of it is derived from packs and refs and can be rebuilt. An [`Index`] is used from many threads; a lookup of an absent id costs one
//! cache miss per segment, one of a present id a small read. Who writes a segment makes it durable before it is added here.

use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::error::{Failure, Kind};
use crate::format::pack::PackKind;
use crate::format::segment::{self, PackName, Row, SegmentName};
use crate::model::id::Id;
use pending::Pending;
use segment_reader::SegmentReader;
use std::path::PathBuf;
use std::sync::Arc;

pub mod catalogue;
mod pending;
pub mod segment_reader;
pub mod segment_writer;
pub mod sqlite;

/// So many segments of one tier are merged into one.
pub const MERGE_AT: usize = 8;
/// Segments with fewer rows are all of the lowest tier; every next tier begins at eight times as many.
pub const TIER_ROWS: u64 = 4096;

/// Why an index segment cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The system refused.
    #[error("cannot access index segment `{}`", path.display())]
    Io {
        /// The file, or the directory for a new one.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The content is wrong.
    #[error("cannot use index segment `{}`", path.display())]
    Segment {
        /// The file.
        path: PathBuf,
        /// Why.
        source: segment::Error,
    },
}

impl Failure for Error {
    fn kind(&self) -> Kind {
        match self {
            // A segment that was listed and is gone is damage, not a wrong name from the user.
            Self::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => Kind::Integrity,
            Self::Io { source, .. } => Kind::of_io(source),
            Self::Segment { source, .. } => source.kind(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Io { .. } => None,
            Self::Segment { source, .. } => source.hint(),
        }
    }
}

/// The open segments of one kind, newest first, and its rows in memory.
#[derive(Debug, Default)]
struct Shelf {
    segments: RwLock<Vec<Arc<SegmentReader>>>,
    memory: RwLock<Memory>,
}

#[derive(Debug, Default)]
struct Memory {
    pending: Pending,
    /// Taken by the caller, whose segment is not added yet.
    taken: Vec<Pending>,
}

impl Memory {
    fn tables(&self) -> impl Iterator<Item = &Pending> {
        std::iter::once(&self.pending).chain(&self.taken)
    }
}

/// Finds the places of objects.
///
/// A damaged segment hides nothing that another one holds. What is found nowhere may be in the damaged one: then the
/// answer is its error, never "absent".
#[derive(Debug, Default)]
pub struct Index {
    shelves: [Shelf; 3],
    /// Segments that cannot be opened.
    damaged: Vec<(SegmentName, Error)>,
}

impl Index {
    /// An index of segments that were tried to open, oldest first; those that another one replaces are left out,
    /// damaged ones are set aside.
    pub fn open(
        segments: impl IntoIterator<Item = (SegmentName, Result<SegmentReader, Error>)>,
    ) -> Result<Self, Error> {
        let mut index = Self::default();
        for (name, opened) in segments {
            match opened {
                Ok(reader) => write(&index.shelf(reader.kind()).segments).push(Arc::new(reader)),
                Err(e) => index.set_aside(name, e)?,
            }
        }
        let mut all_replaced: Vec<SegmentName> = Vec::new();
        for shelf in &index.shelves {
            let mut segments = write(&shelf.segments);
            segments.reverse();
            let replaced: Vec<SegmentName> = segments.iter().flat_map(|s| s.replaces()).copied().collect();
            segments.retain(|s| !replaced.contains(s.name()));
            all_replaced.extend(replaced);
        }
        index.damaged.retain(|d| !all_replaced.contains(&d.0));
        Ok(index)
    }

    /// An index of open segments, oldest first.
    pub fn of_segments(segments: impl IntoIterator<Item = Arc<SegmentReader>>) -> Self {
        let index = Self::default();
        for segment in segments {
            write(&index.shelf(segment.kind()).segments).insert(0, segment);
        }
        index
    }

    /// Goes on without a segment if it is damaged; any other error comes back.
    fn set_aside(&mut self, name: SegmentName, error: Error) -> Result<(), Error> {
        if !matches!(error, Error::Segment { source: segment::Error::Damaged(_), .. }) {
            return Err(error);
        }
        self.damaged.push((name, error));
        Ok(())
    }

    /// The segments that cannot be opened, with the reasons.
    pub fn damaged(&self) -> &[(SegmentName, Error)] {
        &self.damaged
    }

    /// One copy of an object, if there is any.
    pub fn lookup(&self, kind: PackKind, id: &Id) -> Result<Option<Row>, Error> {
        let shelf = self.shelf(kind);
        if let Some(row) = read(&shelf.memory).tables().find_map(|t| t.rows_of(id).min()) {
            return Ok(Some(row));
        }
        let mut failed = None;
        for segment in read(&shelf.segments).iter() {
            match segment.lookup(id) {
                Ok(Some(row)) => return Ok(Some(row)),
                Ok(None) => {}
                Err(e) => failed = Some(e),
            }
        }
        self.absent(failed).map(|()| None)
    }

    /// What is found nowhere is absent only if every segment could be asked.
    fn absent(&self, failed: Option<Error>) -> Result<(), Error> {
        match (failed, self.damaged.first()) {
            (Some(e), _) => Err(e),
            (None, Some((_, Error::Segment { path, source }))) => {
                Err(Error::Segment { path: path.clone(), source: *source })
            }
            _ => Ok(()),
        }
    }

    /// Every copy of an object, whole copies first.
    pub fn lookup_all(&self, kind: PackKind, id: &Id) -> Result<Vec<Row>, Error> {
        let shelf = self.shelf(kind);
        let mut rows: Vec<Row> = read(&shelf.memory).tables().flat_map(|t| t.rows_of(id)).collect();
        let mut failed = None;
        for segment in read(&shelf.segments).iter() {
            failed = segment.lookup_all(id, &mut rows).err().or(failed);
        }
        if rows.is_empty() {
            self.absent(failed)?;
        }
        rows.sort_unstable();
        rows.dedup();
        Ok(rows)
    }

    /// The stored ids from `low` to `high`, both included, at most `limit`: for abbreviated ids.
    pub fn ids_between(&self, kind: PackKind, low: &Id, high: &Id, limit: usize) -> Result<Vec<Id>, Error> {
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
                if ids.len() > limit {
                    ids.pop_last();
                }
            }
        }
        Ok(ids.into_iter().collect())
    }

    /// Adds a row of this run; true if no row of this run had the id. A second copy at another place is kept as well.
    pub fn insert(&self, kind: PackKind, row: &Row) -> bool {
        let mut memory = write(&self.shelf(kind).memory);
        let new = !memory.tables().any(|t| t.contains(&row.id));
        memory.pending.insert(row);
        new
    }

    /// Adds all rows of a pack at once, so that no segment gets only a part of them.
    pub fn insert_all(&self, kind: PackKind, rows: &[Row]) {
        let mut memory = write(&self.shelf(kind).memory);
        for row in rows {
            memory.pending.insert(row);
        }
    }

    /// How many rows wait to be taken.
    pub fn pending(&self, kind: PackKind) -> usize {
        read(&self.shelf(kind).memory).pending.len()
    }

    /// Takes the waiting rows, sorted, for a new segment; lookups still find them here until that segment is added.
    pub fn take_pending(&self, kind: PackKind) -> Vec<Row> {
        let mut memory = write(&self.shelf(kind).memory);
        let table = std::mem::take(&mut memory.pending);
        let rows = table.sorted();
        if !rows.is_empty() {
            memory.taken.push(table);
        }
        rows
    }

    /// Adds a segment, drops those that it replaces, and forgets the taken rows that it holds.
    pub fn add_segment(&self, new: SegmentReader) {
        let shelf = self.shelf(new.kind());
        let new = Arc::new(new);
        let mut segments = write(&shelf.segments);
        segments.retain(|s| !new.replaces().contains(s.name()) && s.name() != new.name());
        segments.insert(0, Arc::clone(&new));
        drop(segments);
        let mut memory = write(&shelf.memory);
        let mut left = Vec::new();
        for table in std::mem::take(&mut memory.taken) {
            if !holds(&new, &table) {
                left.push(table);
            }
        }
        memory.taken = left;
    }

    /// The open segments of a kind, newest first.
    pub fn segments(&self, kind: PackKind) -> Vec<Arc<SegmentReader>> {
        read(&self.shelf(kind).segments).clone()
    }

    /// The length of a pack in bytes, if a segment of the kind speaks of it.
    pub fn pack_bytes(&self, kind: PackKind, name: &PackName) -> Option<u64> {
        read(&self.shelf(kind).segments).iter().find_map(|s| s.pack_bytes(name))
    }

    /// The segments that should be merged into one now; empty if none. Lowest tier first; a tier is full with [`MERGE_AT`] segments.
    pub fn merge_plan(&self, kind: PackKind) -> Vec<Arc<SegmentReader>> {
        let segments = read(&self.shelf(kind).segments);
        let rows: Vec<u64> = segments.iter().map(|s| s.rows()).collect();
        merge_plan(&rows).into_iter().filter_map(|n| segments.get(n).cloned()).collect()
    }

    const fn shelf(&self, kind: PackKind) -> &Shelf {
        match kind {
            PackKind::Data => &self.shelves[0],
            PackKind::List => &self.shelves[1],
            PackKind::Tree => &self.shelves[2],
        }
    }
}

/// Whether the segment holds every row of `table`; ends at the first that is missing. When in doubt, no.
fn holds(segment: &SegmentReader, table: &Pending) -> bool {
    let mut copies = Vec::new();
    table.rows().all(|row| {
        copies.clear();
        segment.lookup_all(&row.id, &mut copies).is_ok() && copies.contains(&row)
    })
}

/// Which of the segments with so many rows to merge. When a tier is full, what that makes may fill the next one, so it is taken along.
fn merge_plan(rows: &[u64]) -> Vec<usize> {
    let top = rows.iter().map(|r| tier(*r)).max().unwrap_or(0);
    let mut plan: Vec<usize> = Vec::new();
    for at in 0..=top {
        let mut members: Vec<usize> =
            (0..rows.len()).filter(|n| rows.get(*n).is_some_and(|r| tier(*r) == at)).collect();
        let merged: u64 = plan.iter().filter_map(|n| rows.get(*n)).sum();
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

/// A poisoned lock is of no matter: no thread leaves these tables half changed.
fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read()
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write()
}

#[cfg(test)]
mod tests;
