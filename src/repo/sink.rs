//! Stores the new objects of a commit: claims ids so that each object is stored only once, fills
//! packs, and writes index segments.
//!
//! Packs of data and chunk lists become durable first, then packs of trees, then index segments;
//! finally, the caller updates refs. The repository is consistent after each step: a pack that no
//! segment lists is unused until the next commit adds it to the index.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use parking_lot::{Mutex, MutexGuard};

use super::handle::LocalRepo;
use super::layout;
use super::packs::{FinishedPack, NewFrame, PackWriter, read_table, rows_of};
use super::writers::WriterMark;
use crate::error::Result;
use crate::format::frame::CODEC_DELTA;
use crate::format::pack::PackKind;
use crate::format::segment::tables::PackEntry;
use crate::format::segment::{ObjectLocation, PackName};
use crate::index::catalogue::segments::{LoosePack, SegmentRow};
use crate::index::segment_reader::SegmentReader;
use crate::index::segment_writer::{WrittenSegment, merge, write_segment};
use crate::model::id::{Id, ObjectKind};
use crate::observe::Observer;

/// Number of rows in memory at which a segment is written, so that memory is bounded and an
/// interruption loses less work.
const CHECKPOINT_ROWS: usize = 150_000;

/// Stores new objects. Several threads may use it at the same time.
pub struct Sink<'a> {
    repo: LocalRepo<'a>,
    observer: &'a dyn Observer,
    claimed: Mutex<HashSet<Id>>,
    open: [Mutex<Option<PackWriter>>; 3],
    sizes: Mutex<HashMap<PackName, u64>>,
    stored: AtomicU64,
    /// Whether some object was not stored because the remote of a lazy clone has it.
    left_out: AtomicBool,
    _mark: WriterMark,
}

impl<'a> Sink<'a> {
    /// Creates a sink. First adds packs that an interrupted commit has finished to the index.
    pub fn open(repo: LocalRepo<'a>, observer: &'a dyn Observer) -> Result<Self> {
        let sink = Self {
            repo,
            observer,
            claimed: Mutex::default(),
            open: Default::default(),
            sizes: Mutex::default(),
            stored: AtomicU64::new(0),
            left_out: AtomicBool::new(false),
            _mark: repo.mark_writer(),
        };
        sink.index_loose_packs()?;
        // The packs are listed once, before any lookup relies on the list.
        repo.locator.missing_packs()?;
        Ok(sink)
    }

    /// Claims an object. Returns true if the object is stored neither here nor on the remote of a
    /// lazy clone, and no other thread has claimed it; the caller must then store it.
    pub fn claim(&self, kind: ObjectKind, id: &Id) -> Result<bool> {
        if !lock(&self.claimed).insert(*id) {
            return Ok(false);
        }
        let is_stored = self.repo.rely(kind, id)?;
        if is_stored || self.repo.is_at_source(kind, id)? {
            // The mark must be durable before a ref needs an object that only the remote has.
            if !is_stored && !self.left_out.swap(true, Ordering::Relaxed) {
                self.repo.set_partial("")?;
            }
            // Lookups find a stored object, so its claim need not stay in memory.
            lock(&self.claimed).remove(id);
            return Ok(false);
        }
        Ok(true)
    }

    /// Releases all claims. Objects that are already in an open pack may be stored twice, which is
    /// harmless.
    pub fn forget_claims(&self) {
        lock(&self.claimed).clear();
    }

    /// Appends a frame of claimed objects.
    pub fn put(&self, frame: &NewFrame<'_>) -> Result<()> {
        let kind = PackKind::of(frame.kind);
        // A full pack is closed without the lock, so that other threads can fill the next one.
        let full = {
            let mut open = lock(self.slot(kind));
            let pack = match open.as_mut() {
                Some(pack) => pack,
                None => open.insert(PackWriter::create(self.repo.files(), kind)?),
            };
            let stored = pack.append(frame)?;
            self.stored.fetch_add(u64::from(stored), Ordering::Relaxed);
            if pack.bytes() >= layout::PACK_TARGET {
                open.take()
            } else {
                None
            }
        };
        full.map_or(Ok(()), |pack| self.close(pack))
    }

    /// Returns the total stored length of all frames so far, in bytes.
    pub fn stored_bytes(&self) -> u64 {
        self.stored.load(Ordering::Relaxed)
    }

    /// Finishes all packs and writes the index segments. Afterwards, all objects are durable and
    /// indexed.
    pub fn finish(&self) -> Result<()> {
        for kind in [PackKind::Data, PackKind::List, PackKind::Tree] {
            let last = lock(self.slot(kind)).take();
            if let Some(pack) = last {
                self.close(pack)?;
            }
        }
        for kind in layout::SEGMENT_KINDS {
            self.checkpoint(kind, 1)?;
            self.merge_segments(kind)?;
        }
        Ok(())
    }

    fn slot(&self, kind: PackKind) -> &Mutex<Option<PackWriter>> {
        &self.open[usize::from(kind.number())]
    }

    fn close(&self, pack: PackWriter) -> Result<()> {
        self.observer.step("pack");
        // A gc may delete packs with these names at any time.
        let gc = self.repo.gc_state();
        let pack = pack.finish(self.repo.files(), &|name| gc.is_excluded(name))?;
        self.observer.step("pack published");
        // If this process dies before it writes a segment, the next commit finds the pack through
        // this row.
        self.repo.catalogue()?.add_loose_pack(LoosePack {
            name: pack.name,
            kind: pack.kind,
        })?;
        let kind = pack.kind;
        self.add_rows(&pack)?;
        self.checkpoint(kind, CHECKPOINT_ROWS)
    }

    fn add_rows(&self, pack: &FinishedPack) -> Result<()> {
        let index = self.repo.index()?;
        lock(&self.sizes).insert(pack.name, pack.bytes);
        // The rows enter the index before the claims end, so other threads always find the object
        // in one of the two.
        index.insert_all(pack.kind, &pack.rows);
        let mut claimed = lock(&self.claimed);
        for row in &pack.rows {
            claimed.remove(&row.id);
        }
        drop(claimed);
        self.repo.locator.forget_stored(pack.kind, &pack.rows);
        Ok(())
    }

    fn checkpoint(&self, kind: PackKind, at_least: usize) -> Result<()> {
        let index = self.repo.index()?;
        if index.pending(kind) < at_least {
            return Ok(());
        }
        let rows = index.take_pending(kind);
        let Some(_) = rows.first() else { return Ok(()) };
        let mut names: Vec<PackName> = rows.iter().map(|r| r.place.pack).collect();
        names.extend(rows.iter().filter_map(|r| r.base.map(|b| b.pack)));
        names.sort_unstable();
        names.dedup();
        let packs = names
            .iter()
            .map(|n| self.pack_entry(kind, n))
            .collect::<Result<Vec<_>>>()?;
        let staging = self.repo.files().staging()?;
        let written = write_segment(&staging, kind, &rows, &packs, &[])?;
        self.publish(written, &[], &names)
    }

    fn pack_entry(&self, kind: PackKind, name: &PackName) -> Result<PackEntry> {
        let known = lock(&self.sizes).get(name).copied();
        let size = match known.or_else(|| {
            self.repo
                .locator
                .opened_index()
                .and_then(|i| i.pack_bytes(kind, name))
        }) {
            Some(size) => size,
            // A length of 0 means that the length is unknown.
            None => self.repo.store().len(&layout::pack(name))?.unwrap_or(0),
        };
        Ok(PackEntry {
            name: *name,
            size_bytes: size,
        })
    }

    fn merge_segments(&self, kind: PackKind) -> Result<()> {
        let inputs = self.repo.index()?.merge_plan(kind);
        if inputs.len() < 2 {
            return Ok(());
        }
        let staging = self.repo.files().staging()?;
        let written = merge(&staging, kind, &inputs, |_| true)?;
        let replaces: Vec<_> = inputs.iter().map(|s| *s.name()).collect();
        drop(inputs);
        self.publish(written, &replaces, &[])
    }

    fn publish(
        &self,
        written: WrittenSegment,
        replaces: &[PackName],
        packs: &[PackName],
    ) -> Result<()> {
        let WrittenSegment {
            name,
            kind,
            file_bytes,
            rows,
            file,
        } = written;
        let key = layout::segment(&name);
        // Open the segment before it is published, because a rebuild in another process may then
        // replace and remove it.
        let reader = SegmentReader::open(name, file.path())?;
        self.observer.step("segment");
        self.repo.files().publish(file, &key)?;
        self.observer.step("segment published");
        let row = SegmentRow {
            name,
            kind,
            file_bytes,
            rows,
            replaced_by: None,
        };
        self.repo.catalogue()?.add_segment(&row, replaces, packs)?;
        self.repo.index()?.add_segment(reader);
        Ok(())
    }

    /// Adds packs to the index that an interrupted commit has finished without writing a segment
    /// for them.
    fn index_loose_packs(&self) -> Result<()> {
        let catalogue = self.repo.catalogue()?;
        let loose = catalogue.loose_packs()?;
        if loose.is_empty() {
            return Ok(());
        }
        let (index, gc) = (self.repo.index()?, self.repo.gc_state());
        let mut forget = Vec::new();
        for pack in loose {
            if gc.is_excluded(&pack.name) {
                // A plan may be void later; a dead pack is never used again.
                forget.extend(Some(pack.name).filter(|name| gc.is_dead(name)));
                continue;
            }
            if index.pack_bytes(pack.kind, &pack.name).is_some() {
                forget.push(pack.name);
                continue;
            }
            // No segment lists the pack, so no version depends on it and its damage does no harm.
            let Ok(table) = read_table(self.repo.store(), &pack.name) else {
                forget.push(pack.name);
                continue;
            };
            let mut rows = Vec::new();
            for frame in &table.frames {
                let base = frame
                    .base
                    .as_ref()
                    .and_then(|b| self.whole_place(table.kind, b));
                // A delta without a readable base is useless.
                if frame.codec == CODEC_DELTA && base.is_none() {
                    continue;
                }
                rows_of(frame, &pack.name, base, &mut rows)?;
            }
            self.add_rows(&FinishedPack {
                name: pack.name,
                kind: table.kind,
                bytes: table.bytes,
                rows,
            })?;
        }
        catalogue.remove_loose_packs(&forget)?;
        Ok(())
    }

    /// Returns the location of a reliable copy of an object that can be the base of a delta,
    /// because the copy is not a delta itself.
    pub fn whole_place(&self, kind: PackKind, id: &Id) -> Option<ObjectLocation> {
        let copies = self.repo.index().ok()?.lookup_all(kind, id).ok()?;
        let whole = copies
            .into_iter()
            .filter(|row| row.place.codec != CODEC_DELTA);
        whole
            .into_iter()
            .find(|row| self.repo.locator.is_reliable(row).unwrap_or(false))
            .map(|row| row.place)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock()
}
