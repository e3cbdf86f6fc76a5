//! Writes index segments for packs that have arrived. A segment of the source is copied unchanged
//! if all its packs are at the destination; the remaining packs get new segments.
//!
//! Segments of trees are written last, so that a reader that finds a commit finds all its objects.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::packs::{Sent, first_object};
use crate::error::{Kind, Result};
use crate::format::frame::CODEC_DELTA;
use crate::format::pack::{PackKind, TableFrame};
use crate::format::segment::tables::PackEntry;
use crate::format::segment::{IndexRow, ObjectLocation, PackName, SegmentName};
use crate::index::catalogue::segments::SegmentRow;
use crate::index::segment_reader::SegmentReader;
use crate::index::segment_writer::write_segment;
use crate::model::id::Id;
use crate::observe::Observer;
use crate::repo::packs::{read_table, rows_of};
use crate::repo::{LocalRepo, Repo, layout};
use crate::store::local::LocalStore;
use crate::sys::io_error::IoError;

/// Approximate limit on the rows of a new segment, which bounds the memory.
const ROWS: usize = 250_000;

/// Writes index segments for copied packs.
pub struct Cover<'a> {
    pub source: &'a Repo,
    pub dest: &'a Repo,
    /// Store for temporary files.
    pub staging: &'a LocalStore,
    pub observer: &'a dyn Observer,
}

impl Cover<'_> {
    /// Writes the segments for all copied packs. Returns the number of segments.
    pub fn run(&self, sent: &[Sent]) -> Result<u64> {
        let mut written = 0;
        // The base of a delta in a new pack may be in another new pack.
        let mut moved: HashMap<Id, ObjectLocation> = HashMap::new();
        for pack in sent {
            for frame in pack
                .frames
                .iter()
                .flatten()
                // The base of a delta is never a delta itself.
                .filter(|f| f.codec != CODEC_DELTA)
            {
                let mut rows = Vec::new();
                rows_of(frame, &pack.name, None, &mut rows)?;
                moved.extend(rows.into_iter().map(|row| (row.id, row.place)));
            }
        }
        for kind in [PackKind::Data, PackKind::List, PackKind::Tree] {
            let of_kind: Vec<&Sent> = sent.iter().filter(|s| s.kind == kind).collect();
            if !of_kind.is_empty() {
                written += self.kind(kind, &of_kind, &moved)?;
            }
        }
        Ok(written)
    }

    fn kind(
        &self,
        kind: PackKind,
        sent: &[&Sent],
        moved: &HashMap<Id, ObjectLocation>,
    ) -> Result<u64> {
        let (index, gc) = (self.dest.index()?, self.dest.gc_state());
        let mut there: HashSet<PackName> = sent.iter().map(|s| s.name).collect();
        // A segment can be copied unchanged only if none of its packs is missing or dead at the
        // destination.
        for segment in index.segments(kind) {
            there.extend(
                segment
                    .packs()
                    .iter()
                    .map(|p| p.name)
                    .filter(|name| !gc.is_excluded(name)),
            );
        }
        let mut firsts: HashMap<PackName, Id> = HashMap::new();
        for pack in sent.iter().filter(|s| s.frames.is_none()) {
            let table = read_table(self.local_side(), &pack.name)?;
            firsts.extend(first_object(&table.frames).map(|id| (pack.name, id)));
        }
        let mut left: BTreeSet<PackName> = sent.iter().map(|s| s.name).collect();
        let mut written = 0;
        for segment in self.source.index()?.segments(kind) {
            let covers = self.covered(&segment, &firsts, &left)?;
            let fits = segment.file_bytes() <= self.dest.store().abilities().object_max;
            // A segment with packs that the destination lacks would list objects that do not exist
            // there.
            if !fits
                || covers.is_empty()
                || !segment.packs().iter().all(|p| there.contains(&p.name))
            {
                continue;
            }
            match self.copy_segment(&segment) {
                // If a gc has deleted the segment in the meantime, its packs get a segment of their
                // own.
                Err(e)
                    if matches!(e.kind(), Kind::Integrity | Kind::NotFound)
                        && self
                            .source
                            .store()
                            .len(&layout::segment(segment.name()))?
                            .is_none() =>
                {
                    continue;
                }
                copied => copied?,
            }
            written += 1;
            covers.iter().for_each(|pack| {
                left.remove(pack);
            });
        }
        let mut rows: Vec<IndexRow> = Vec::new();
        for pack in sent.iter().filter(|s| left.contains(&s.name)) {
            let table;
            let frames: &[TableFrame] = match &pack.frames {
                Some(frames) => frames,
                None => {
                    table = read_table(self.local_side(), &pack.name)?.frames;
                    &table
                }
            };
            for frame in frames {
                match &frame.base {
                    None => rows_of(frame, &pack.name, None, &mut rows)?,
                    // A delta is useless without its base, so this frame was not one of the needed
                    // ones.
                    Some(base) => {
                        if let Some(place) = self.base_place(kind, base, moved, &there)? {
                            rows_of(frame, &pack.name, Some(place), &mut rows)?;
                        }
                    }
                }
            }
            // A row takes at most about 120 bytes.
            let most = usize::try_from(self.dest.store().abilities().object_max / 120)
                .unwrap_or(ROWS)
                .min(ROWS);
            if rows.len() >= most {
                self.write(kind, std::mem::take(&mut rows), sent)?;
                written += 1;
            }
        }
        if !rows.is_empty() {
            self.write(kind, rows, sent)?;
            written += 1;
        }
        Ok(written)
    }

    /// Returns the local one of the two stores. Both have the packs, and reading tables is faster
    /// locally.
    fn local_side(&self) -> &dyn crate::store::Store {
        if self.dest.as_local().is_some() {
            self.dest.store()
        } else {
            self.source.store()
        }
    }

    /// Returns the packs of `left` whose rows are in a segment. All rows of one pack are in the
    /// same segment.
    fn covered(
        &self,
        segment: &Arc<SegmentReader>,
        firsts: &HashMap<PackName, Id>,
        left: &BTreeSet<PackName>,
    ) -> Result<Vec<PackName>> {
        let mut covers = Vec::new();
        for pack in segment.packs().iter().filter(|p| left.contains(&p.name)) {
            let Some(first) = firsts.get(&pack.name) else {
                continue;
            };
            let mut rows = Vec::new();
            segment.lookup_all(first, &mut rows)?;
            if rows.iter().any(|row| row.place.pack == pack.name) {
                covers.push(pack.name);
            }
        }
        Ok(covers)
    }

    fn base_place(
        &self,
        kind: PackKind,
        base: &Id,
        moved: &HashMap<Id, ObjectLocation>,
        there: &HashSet<PackName>,
    ) -> Result<Option<ObjectLocation>> {
        if let Some(place) = moved.get(base) {
            return Ok(Some(*place));
        }
        let whole =
            |row: &IndexRow| row.place.codec != CODEC_DELTA && there.contains(&row.place.pack);
        let of_source = self
            .source
            .index()?
            .lookup_all(kind, base)?
            .into_iter()
            .find(whole);
        if let Some(row) = of_source {
            return Ok(Some(row.place));
        }
        let of_dest = self.dest.reliable_copies(kind, base)?.into_iter();
        Ok(of_dest
            .map(|row| row.place)
            .find(|place| place.codec != CODEC_DELTA))
    }

    fn write(&self, kind: PackKind, mut rows: Vec<IndexRow>, sent: &[&Sent]) -> Result<()> {
        rows.sort_unstable();
        rows.dedup();
        let mut names: Vec<PackName> = rows.iter().map(|r| r.place.pack).collect();
        names.extend(rows.iter().filter_map(|r| r.base.map(|b| b.pack)));
        names.sort_unstable();
        names.dedup();
        let sent: HashMap<PackName, u64> = sent.iter().map(|s| (s.name, s.bytes)).collect();
        let size = |name: &PackName| -> Result<u64> {
            let known = sent.get(name).copied();
            let known = known
                .or(self.dest.index()?.pack_bytes(kind, name))
                .or(self.source.index()?.pack_bytes(kind, name));
            Ok(known.unwrap_or(0))
        };
        let packs = names.iter().map(|name| {
            Ok(PackEntry {
                name: *name,
                size_bytes: size(name)?,
            })
        });
        let packs = packs.collect::<Result<Vec<_>>>()?;
        let written = write_segment(&self.staging.staging()?, kind, &rows, &packs, &[])?;
        self.observer.step("segment");
        match self.dest.as_local().map(LocalRepo::files) {
            Some(local) => {
                let reader = SegmentReader::open(written.name, written.file.path())?;
                local.publish(written.file, &layout::segment(&written.name))?;
                self.register(reader)?;
            }
            None => self
                .dest
                .store()
                .put(written.file.path(), &layout::segment(&written.name))?,
        }
        self.observer.step("segment published");
        Ok(())
    }

    fn copy_segment(&self, segment: &SegmentReader) -> Result<()> {
        let (name, key) = (*segment.name(), layout::segment(segment.name()));
        self.observer.step("segment");
        if let Some(source) = self.source.as_local() {
            self.dest.store().put(&source.files().path(&key), &key)?;
        } else {
            let dest = self.dest.ensure_local()?.files();
            let staged = dest.stage()?;
            let io = |source| IoError::new("write", &key, source);
            let mut at = 0;
            while at < segment.file_bytes() {
                let len =
                    usize::try_from((segment.file_bytes() - at).min(4 << 20)).unwrap_or(usize::MAX);
                let bytes = self.source.store().read_at(&key, at, len)?;
                std::io::Write::write_all(&mut staged.as_file(), &bytes).map_err(io)?;
                at += len as u64;
            }
            let reader = Arc::new(SegmentReader::open(name, staged.path())?);
            reader.verify()?;
            dest.publish(staged, &key)?;
            self.register(SegmentReader::open(name, &dest.path(&key))?)?;
        }
        self.observer.step("segment published");
        Ok(())
    }

    fn register(&self, segment: SegmentReader) -> Result<()> {
        let name: SegmentName = *segment.name();
        let (kind, rows, file_bytes) = (segment.kind(), segment.rows(), segment.file_bytes());
        let row = SegmentRow {
            name,
            kind,
            file_bytes,
            rows,
            replaced_by: None,
        };
        let packs: Vec<PackName> = segment.packs().iter().map(|p| p.name).collect();
        self.dest
            .catalogue()?
            .add_segment(&row, segment.replaces(), &packs)?;
        self.dest.index()?.add_segment(segment);
        Ok(())
    }
}
