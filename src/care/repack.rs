//! Copies the needed part of packs into new packs, and makes the new packs findable.
//!
//! Frames are copied as they are stored, in the order of their pack, so that neighbours stay
//! together. A frame of which too much is unneeded is compressed again from its needed objects.
//! Every object is verified before it is copied, so that gc never multiplies damage. The old packs
//! stay; the gc log marks them as dead later.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Instant;

use rayon::iter::{IntoParallelRefIterator as _, ParallelIterator as _};

use super::plan::{Plan, UsedFrame, table_of};
use super::tally::{BasePlace, Tally};
use crate::codec::compress::{CompressionProfile, Compressor};
use crate::error::{Kind, Result};
use crate::format::frame::{CODEC_DELTA, CODEC_RAW, CODEC_ZSTD, FRAME_PLAIN_MAX, FrameHead};
use crate::format::pack::{PackKind, TableFrame};
use crate::format::segment::tables::PackEntry;
use crate::format::segment::{IndexRow, ObjectLocation, PackName};
use crate::index::merged_rows::MergedRows;
use crate::index::segment_writer::write_segment;
use crate::model::id::{Id, ObjectKind};
use crate::observe::Observer;
use crate::repo::frames::Plain;
use crate::repo::packs::{FinishedPack, NewFrame, PackWriter, rows_of};
use crate::repo::{Repo, layout};
use crate::store::local::LocalStore;
use crate::work::Cancelled;

/// Number of frames that are read and verified together.
const BATCH: usize = 64;
/// Number of pending rows at which an index segment is written, so that memory stays bounded.
const SEGMENT_ROWS: usize = 250_000;

/// The packs and segments that were written.
#[derive(Debug, Default)]
pub(super) struct Repacked {
    /// New packs with their lengths in bytes.
    pub(super) packs: BTreeMap<PackName, u64>,
    /// Index segments that were written.
    pub(super) segments: u64,
    /// Numbers of the packs that were not copied, because the time limit was reached or because
    /// they are damaged.
    pub(super) left: Vec<u32>,
    /// Number of the damaged packs among them.
    pub(super) damaged: u64,
}

/// Copies the frames that a plan names. New files are created in `staging`; no copy of a pack
/// begins after `until`.
pub(super) fn repack(
    repo: &Repo,
    tally: &Tally<'_>,
    plan: &Plan,
    staging: &LocalStore,
    until: Option<Instant>,
    observer: &dyn Observer,
) -> Result<Repacked> {
    let mut repacker = Repacker {
        repo,
        tally,
        staging,
        observer,
        given_up: plan.given_up().collect(),
        open: Default::default(),
        gathered: Default::default(),
        full: Vec::new(),
        base_ids: HashMap::new(),
        moved: HashMap::new(),
        pending: Default::default(),
        sizes: HashMap::new(),
        done: Repacked::default(),
    };
    observer.phase(
        "repacking",
        Some(plan.copied.len() as u64),
        Some(plan.copied_bytes),
    );
    // Copy deltas after all other frames, because the row of a delta names the new place of its
    // base.
    for is_delta in [false, true] {
        for (number, used) in &plan.copied {
            if !is_delta && until.is_some_and(|until| Instant::now() >= until) {
                repacker.given_up.remove(number);
                repacker.done.left.push(*number);
            }
            if repacker.done.left.contains(number) {
                continue;
            }
            match repacker.pack(*number, &used.frames, is_delta) {
                // A damaged pack stays as it is; frames that were already copied are only
                // duplicates.
                Err(e) if e.kind() == Kind::Integrity => {
                    repacker.given_up.remove(number);
                    repacker.done.left.push(*number);
                    repacker.done.damaged += 1;
                    continue;
                }
                done => done?,
            }
            if is_delta {
                observer.advance(1, used.copied_bytes());
            }
        }
        if is_delta {
            repacker.deltas_of_moved_bases()?;
        }
        repacker.close_all()?;
    }
    Ok(repacker.done)
}

struct Repacker<'a> {
    repo: &'a Repo,
    tally: &'a Tally<'a>,
    staging: &'a LocalStore,
    observer: &'a dyn Observer,
    /// Numbers of the packs that are dropped or copied.
    given_up: BTreeSet<u32>,
    open: [Option<PackWriter>; 3],
    /// Needed objects of frames that are copied in part, by kind of object.
    gathered: BTreeMap<ObjectKind, Gathered>,
    /// Gathered objects that fill a frame.
    full: Vec<(ObjectKind, Gathered)>,
    /// The ids of the copied bases.
    base_ids: HashMap<BasePlace, Id>,
    /// The new locations of the copied bases; `None` until the new pack is closed.
    moved: HashMap<Id, Option<ObjectLocation>>,
    /// Rows that no segment contains yet.
    pending: [Vec<IndexRow>; 3],
    sizes: HashMap<PackName, u64>,
    done: Repacked,
}

#[derive(Default)]
struct Gathered {
    bytes: Vec<u8>,
    objects: Vec<(Id, u32)>,
}

/// A frame that was read and verified.
enum Prepared {
    /// The frame is copied as it is stored.
    Stored { frame: TableFrame, bytes: Vec<u8> },
    /// Only these objects of the frame are copied.
    Objects {
        kind: ObjectKind,
        objects: Vec<(Id, Plain)>,
    },
    /// Nothing of the frame is copied.
    Skipped,
}

impl Repacker<'_> {
    /// Copies the needed frames of a pack: the deltas if `deltas` is set, otherwise all others.
    fn pack(&mut self, number: u32, used: &[UsedFrame], deltas: bool) -> Result<()> {
        let Some(pack) = self.tally.packs.get(number as usize) else {
            return Ok(());
        };
        if used.is_empty() || deltas && pack.kind != PackKind::Data {
            return Ok(());
        }
        let by_offset: HashMap<u64, &UsedFrame> = used
            .iter()
            .map(|frame| (u64::from(frame.offset), frame))
            .collect();
        let table = table_of(self.repo, pack)?;
        let frames: Vec<(TableFrame, &UsedFrame)> = table
            .frames
            .into_iter()
            .filter(|frame| (frame.codec == CODEC_DELTA) == deltas)
            .filter_map(|frame| {
                Some((by_offset.get(&frame.offset).copied()?, frame))
                    .map(|(used, frame)| (frame, used))
            })
            .collect();
        for frame in used {
            for base in &frame.bases {
                let place = ((number, frame.offset), base.within);
                self.base_ids.insert(place, base.id);
                self.moved.entry(base.id).or_default();
            }
        }
        let key = layout::pack(&pack.name);
        for batch in frames.chunks(BATCH) {
            if self.observer.cancelled() {
                return Err(Cancelled.into());
            }
            if let Some(remote) = self.repo.remote_store() {
                let ranges = batch
                    .iter()
                    .map(|(frame, _)| frame.offset..frame.offset + u64::from(frame.stored));
                remote.fetch_ahead(&[(key.clone(), ranges.collect())])?;
            }
            let repo = self.repo;
            let prepared: Vec<Result<Prepared>> = batch
                .par_iter()
                .map(|(frame, used)| prepare(repo, &pack.name, frame, used))
                .collect();
            for one in prepared {
                self.add(number, one?)?;
            }
            self.append_full()?;
        }
        Ok(())
    }

    fn add(&mut self, number: u32, prepared: Prepared) -> Result<()> {
        match prepared {
            Prepared::Skipped => Ok(()),
            Prepared::Objects { kind, objects } => objects
                .iter()
                .try_for_each(|(id, bytes)| self.gather(kind, *id, bytes)),
            Prepared::Stored { frame, bytes } if frame.codec == CODEC_DELTA => {
                self.add_delta(number, &frame, &bytes)
            }
            Prepared::Stored { frame, bytes } => self.append_stored(&frame, &bytes, None),
        }
    }

    /// Copies a delta if its base stays or moves; otherwise stores its object in full.
    fn add_delta(&mut self, number: u32, frame: &TableFrame, bytes: &[u8]) -> Result<()> {
        let Some((id, _)) = frame.objects.first() else {
            return Ok(());
        };
        let pack = self.tally.packs.get(number as usize).map(|pack| pack.name);
        let rows = self.repo.index()?.lookup_all(PackKind::Data, id)?;
        let row = rows.into_iter().find(|row| {
            Some(row.place.pack) == pack
                && u64::from(row.place.offset) == frame.offset
                && row.base.is_some()
        });
        let base = row
            .and_then(|row| row.base)
            .and_then(|base| self.base_now(&base));
        match (base, frame.base) {
            (Some(location), Some(base)) => {
                self.append_stored(frame, bytes, Some((base, location)))
            }
            _ => match row {
                Some(row) => {
                    let object = self.repo.object_at(ObjectKind::Chunk, &row)?;
                    self.gather(ObjectKind::Chunk, *id, &object)
                }
                None => Ok(()),
            },
        }
    }

    /// Returns the location of a base after this run; `None` if the base is not copied, or if its
    /// new pack has no name yet.
    fn base_now(&self, base: &ObjectLocation) -> Option<ObjectLocation> {
        let place = self.tally.base_place(base)?;
        let (pack, _) = place.0;
        if !self.given_up.contains(&pack) {
            return Some(*base);
        }
        let id = self.base_ids.get(&place)?;
        if let Some(moved) = *self.moved.get(id)? {
            return Some(moved);
        }
        // Another copy of the base stays in its pack. It is read first, because the copy with which
        // the delta was verified is deleted. A remote may have lost a copy that is in the cache here.
        if self.repo.remote_store().is_some() {
            return None;
        }
        let is_usable = |row: &IndexRow| {
            let place = self.tally.place(PackKind::Data, &row.place);
            row.base.is_none()
                && place.is_some_and(|(pack, _)| !self.given_up.contains(&pack))
                && self.repo.object_at(ObjectKind::Chunk, row).is_ok()
        };
        let index = self.repo.index().ok()?;
        let copies = index.lookup_all(PackKind::Data, id).ok()?;
        Some(copies.into_iter().find(is_usable)?.place)
    }

    /// Handles deltas whose bases move or are dropped, in packs that stay: writes a row with the
    /// new location of the base, or stores the object in full.
    fn deltas_of_moved_bases(&mut self) -> Result<()> {
        let has_bases = |n: &u32| {
            self.tally
                .packs
                .get(*n as usize)
                .is_some_and(|pack| pack.base_frames > 0)
        };
        if !self.given_up.iter().any(has_bases) {
            return Ok(());
        }
        let kind = PackKind::Data;
        for row in MergedRows::new(&self.repo.index()?.segments(kind))? {
            let row = row?;
            let Some(base) = row.base else { continue };
            let (Some(place), Some(base_place)) = (
                self.tally.place(kind, &row.place),
                self.tally.place(kind, &base),
            ) else {
                continue;
            };
            if self.given_up.contains(&place.0)
                || !self.given_up.contains(&base_place.0)
                || !self.tally.is_needed(kind, &row.id, place)?
            {
                continue;
            }
            match self.base_now(&base) {
                Some(location) => {
                    let pack = self.tally.packs.get(place.0 as usize);
                    self.sizes
                        .extend(pack.map(|pack| (pack.name, pack.file_bytes)));
                    self.pending[usize::from(kind.number())].push(IndexRow {
                        base: Some(location),
                        ..row
                    });
                    self.write_rows(kind, SEGMENT_ROWS)?;
                }
                None => {
                    let object = self.repo.object_at(ObjectKind::Chunk, &row)?;
                    self.gather(ObjectKind::Chunk, row.id, &object)?;
                }
            }
        }
        Ok(())
    }

    fn gather(&mut self, kind: ObjectKind, id: Id, bytes: &[u8]) -> Result<()> {
        let gathered = self.gathered.entry(kind).or_default();
        if !gathered.bytes.is_empty() && gathered.bytes.len() + bytes.len() > FRAME_PLAIN_MAX {
            let full = std::mem::take(gathered);
            self.full.push((kind, full));
            if self.full.len() >= BATCH {
                self.append_full()?;
            }
        }
        let gathered = self.gathered.entry(kind).or_default();
        gathered.bytes.extend_from_slice(bytes);
        gathered
            .objects
            .push((id, u32::try_from(bytes.len()).unwrap_or(u32::MAX)));
        Ok(())
    }

    /// Compresses the full frames on all threads, and appends them.
    fn append_full(&mut self) -> Result<()> {
        let full = std::mem::take(&mut self.full);
        let packed: Vec<Option<Vec<u8>>> = full
            .par_iter()
            .map_init(Compressor::default, |compressor, (kind, gathered)| {
                let profile = if *kind == ObjectKind::Chunk {
                    CompressionProfile::Normal
                } else {
                    CompressionProfile::High
                };
                let mut packed = Vec::new();
                compressor
                    .compress(profile, &gathered.bytes, &mut packed)
                    .then_some(packed)
            })
            .collect();
        for ((kind, gathered), packed) in full.iter().zip(&packed) {
            let (codec, payload) = match packed {
                Some(packed) => (CODEC_ZSTD, packed),
                None => (CODEC_RAW, &gathered.bytes),
            };
            self.append(&NewFrame {
                kind: *kind,
                codec,
                objects: &gathered.objects,
                base: None,
                payload,
            })?;
        }
        Ok(())
    }

    fn append_stored(
        &mut self,
        frame: &TableFrame,
        bytes: &[u8],
        base: Option<(Id, ObjectLocation)>,
    ) -> Result<()> {
        let mut payload = bytes;
        let head = FrameHead::decode(&mut payload)?;
        self.append(&NewFrame {
            kind: head.kind,
            codec: head.codec,
            objects: &frame.objects,
            base,
            payload,
        })
    }

    /// Appends a frame to the open pack of its kind.
    fn append(&mut self, frame: &NewFrame<'_>) -> Result<()> {
        let kind = PackKind::of(frame.kind);
        let target = layout::PACK_TARGET.min(self.repo.store().abilities().object_max / 4 * 3);
        // Close a full pack before its next frame, not after its last one, so that the caller can
        // record the last frame first.
        if self.open[usize::from(kind.number())]
            .as_ref()
            .is_some_and(|pack| pack.bytes() >= target)
        {
            self.close(kind)?;
        }
        let slot = &mut self.open[usize::from(kind.number())];
        let pack = match slot {
            Some(pack) => pack,
            None => slot.insert(PackWriter::create(self.staging, kind)?),
        };
        pack.append(frame).map(drop)
    }

    fn close(&mut self, kind: PackKind) -> Result<()> {
        let Some(pack) = self.open[usize::from(kind.number())].take() else {
            return Ok(());
        };
        let gc = self.repo.gc_state();
        let (file, pack) = pack.close(&|name| gc.is_excluded(name))?;
        let FinishedPack {
            name, bytes, rows, ..
        } = pack;
        self.observer.step("pack");
        let key = layout::pack(&name);
        match self.repo.as_local() {
            Some(local) => local.files().publish(file, &key)?,
            None => self.repo.store().put(file.path(), &key)?,
        }
        self.observer.step("pack published");
        self.done.packs.insert(name, bytes);
        self.sizes.insert(name, bytes);
        if kind == PackKind::Data {
            for row in rows.iter().filter(|row| row.base.is_none()) {
                if let Some(moved) = self.moved.get_mut(&row.id) {
                    *moved = Some(row.place);
                }
            }
        }
        self.pending[usize::from(kind.number())].extend(rows);
        self.write_rows(kind, SEGMENT_ROWS)
    }

    fn close_all(&mut self) -> Result<()> {
        let rest = std::mem::take(&mut self.gathered).into_iter();
        self.full
            .extend(rest.filter(|(_, gathered)| !gathered.objects.is_empty()));
        self.append_full()?;
        // Write trees and commits last, as all writers do, so that a process that finds a commit
        // also finds all its objects.
        for kind in PackKind::ALL {
            self.close(kind)?;
            self.write_rows(kind, 1)?;
        }
        Ok(())
    }

    /// Writes the pending rows as a segment if there are at least `at_least`.
    fn write_rows(&mut self, kind: PackKind, at_least: usize) -> Result<()> {
        let pending = &mut self.pending[usize::from(kind.number())];
        if pending.len() < at_least {
            return Ok(());
        }
        let mut rows = std::mem::take(pending);
        rows.sort_unstable();
        rows.dedup();
        let index = self.repo.index()?;
        let mut names: Vec<PackName> = rows.iter().map(|row| row.place.pack).collect();
        names.extend(rows.iter().filter_map(|row| row.base.map(|base| base.pack)));
        names.sort_unstable();
        names.dedup();
        let size = |name: &PackName| {
            self.sizes
                .get(name)
                .copied()
                .or_else(|| index.pack_bytes(kind, name))
                .unwrap_or(0)
        };
        let packs: Vec<PackEntry> = names
            .iter()
            .map(|name| PackEntry {
                name: *name,
                size_bytes: size(name),
            })
            .collect();
        let written = write_segment(&self.staging.staging()?, kind, &rows, &packs, &[])?;
        self.repo.add_segment(written, &[], &[], self.observer)?;
        self.done.segments += 1;
        Ok(())
    }
}

/// Reads a frame and verifies all its objects, or the needed ones.
fn prepare(repo: &Repo, pack: &PackName, frame: &TableFrame, used: &UsedFrame) -> Result<Prepared> {
    let mut rows = Vec::new();
    rows_of(frame, pack, None, &mut rows)?;
    if !used.is_copied_whole && frame.codec != CODEC_DELTA {
        let needed = rows
            .iter()
            .filter(|row| used.needed.iter().any(|(id, _)| *id == row.id));
        let objects = needed
            .map(|row| Ok((row.id, repo.object_at(frame.kind, row)?)))
            .collect::<Result<Vec<_>>>()?;
        return Ok(if objects.is_empty() {
            Prepared::Skipped
        } else {
            Prepared::Objects {
                kind: frame.kind,
                objects,
            }
        });
    }
    rows.iter()
        .try_for_each(|row| repo.object_at(frame.kind, row).map(drop))?;
    let bytes = repo
        .store()
        .read_at(&layout::pack(pack), frame.offset, frame.stored as usize)?;
    Ok(Prepared::Stored {
        frame: frame.clone(),
        bytes,
    })
}
