//! Copies packs from one repository to another. A pack is copied whole if most of its bytes or all
//! of its frames are needed; the needed frames of other packs are written into new packs.
//!
//! Many packs are copied at the same time. A pack that has arrived stays even if the copy fails, so
//! that the next run does not send it again.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::Duration;

use parking_lot::Mutex;

use super::cover::Cover;
use super::error::SyncError;
use super::missing::Needed;
use super::packs::{Sent, table_of};
use crate::codec::hash::NameHasher;
use crate::error::{Kind, Result};
use crate::format::frame::FrameHead;
use crate::format::pack::{PackKind, TableFrame};
use crate::format::segment::{ObjectLocation, PackName};
use crate::index::catalogue::segments::LoosePack;
use crate::model::id::to_hex;
use crate::observe::Observer;
use crate::repo::fetch::FetchedFile;
use crate::repo::packs::{FinishedPack, NewFrame, PackTable, PackWriter, rows_of};
use crate::repo::{LocalRepo, Repo, layout};
use crate::store::local::LocalStore;
use crate::store::meter::Meter;
use crate::store::{Store, StoreError};
use crate::work::{Cancelled, fan_out};

/// A pack is copied whole if at least this many tenths of its bytes are needed, or all its frames.
const WHOLE: u64 = 8;
/// Most tables of contents fit into this many bytes at the end of the pack.
const TABLE: u64 = 64 << 10;
/// Interval between two progress reports.
const TICK: Duration = Duration::from_millis(100);

/// The packs and frames to copy.
#[derive(Debug, Default)]
pub struct Plan {
    jobs: Vec<Job>,
    /// Bytes to send, without index segments.
    pub bytes: u64,
    /// Number of packs to send.
    pub packs: u64,
}

#[derive(Debug)]
enum Job {
    Whole {
        kind: PackKind,
        name: PackName,
        bytes: u64,
    },
    Frames {
        kind: PackKind,
        frames: Vec<(PackName, u32)>,
    },
}

/// Copies packs from `source` to `dest`.
pub struct Copier<'a> {
    pub source: &'a Repo,
    pub dest: &'a Repo,
    /// Store for temporary files.
    pub staging: &'a LocalStore,
    /// Counts the bytes that are transferred over the network.
    pub meter: &'a Meter,
    /// Packs that an earlier run may have sent, as names in hex.
    pub earlier: Option<&'a BTreeSet<String>>,
    /// Called for each pack that has arrived.
    pub arrived: Option<&'a (dyn Fn(&PackName) + Sync)>,
    pub observer: &'a dyn Observer,
    /// Allows only one thread at a time to verify a local pack.
    hashing: Mutex<()>,
}

impl<'a> Copier<'a> {
    /// Creates a copier between two repositories, one of which must be local.
    pub fn new(
        source: &'a Repo,
        dest: &'a Repo,
        meter: &'a Meter,
        observer: &'a dyn Observer,
    ) -> Result<Self> {
        let local = dest.as_local().or_else(|| source.as_local());
        let staging = local.map_or_else(|| source.ensure_local(), Ok)?.files();
        let hashing = Mutex::default();
        Ok(Self {
            source,
            dest,
            staging,
            meter,
            earlier: None,
            arrived: None,
            observer,
            hashing,
        })
    }

    /// Returns the writer of index segments for the copied packs.
    pub const fn cover(&self) -> Cover<'a> {
        Cover {
            source: self.source,
            dest: self.dest,
            staging: self.staging,
            observer: self.observer,
        }
    }

    /// Plans the copy of the needed frames, with the packs of trees last.
    pub fn plan(&self, needed: &[Needed; 3]) -> Result<Plan> {
        let mut plan = Plan::default();
        self.tables_ahead(needed)?;
        let (most, gc) = (
            self.dest.store().abilities().object_max,
            self.dest.gc_state(),
        );
        for kind in [PackKind::Data, PackKind::List, PackKind::Tree] {
            let mut batch: Vec<(PackName, u32)> = Vec::new();
            let mut batch_bytes = 0u64;
            // The rest of the limit is for the table of contents.
            let target = layout::PACK_TARGET.min(most / 4 * 3);
            for (name, frames) in &needed[usize::from(kind.number())] {
                let whole = match self.goes_whole(kind, name, frames)? {
                    None => {
                        let table = self.table(name)?;
                        (frames.len() == table.frames.len()).then_some(table.bytes)
                    }
                    whole => whole,
                };
                // A name that is used up at the destination is never used again, so the frames go
                // into another pack.
                if let Some(bytes) = whole.filter(|bytes| *bytes <= most && !gc.is_excluded(name)) {
                    plan.jobs.push(Job::Whole {
                        kind,
                        name: *name,
                        bytes,
                    });
                    plan.bytes += bytes;
                    plan.packs += 1;
                    continue;
                }
                for (offset, stored) in frames {
                    let stored = u64::from(*stored);
                    if batch_bytes + stored > target && !batch.is_empty() {
                        plan.jobs.push(Job::Frames {
                            kind,
                            frames: std::mem::take(&mut batch),
                        });
                        plan.packs += 1;
                        batch_bytes = 0;
                    }
                    batch.push((*name, *offset));
                    batch_bytes += stored;
                    plan.bytes += stored;
                }
            }
            if !batch.is_empty() {
                plan.jobs.push(Job::Frames {
                    kind,
                    frames: batch,
                });
                plan.packs += 1;
            }
        }
        Ok(plan)
    }

    /// Returns the length of a pack if most of its bytes are needed; `None` for other packs. For
    /// these, the caller looks at the table, because the other bytes of the pack may only be a long
    /// table.
    fn goes_whole(
        &self,
        kind: PackKind,
        name: &PackName,
        frames: &[(u32, u32)],
    ) -> Result<Option<u64>> {
        let used: u64 = frames.iter().map(|frame| u64::from(frame.1)).sum();
        let bytes = self.source.index()?.pack_bytes(kind, name);
        Ok(bytes.filter(|bytes| *bytes > 0 && used * 10 >= bytes * WHOLE))
    }

    /// Fetches the ends of remote packs, which contain their tables, with many concurrent requests
    /// instead of one after the other.
    fn tables_ahead(&self, needed: &[Needed; 3]) -> Result<()> {
        let Some(remote) = self.source.remote_store() else {
            return Ok(());
        };
        let mut ends = Vec::new();
        for kind in PackKind::ALL {
            for (name, frames) in &needed[usize::from(kind.number())] {
                let bytes = self
                    .source
                    .index()?
                    .pack_bytes(kind, name)
                    .filter(|bytes| *bytes > 0);
                let Some(bytes) =
                    bytes.filter(|_| !matches!(self.goes_whole(kind, name, frames), Ok(Some(_))))
                else {
                    continue;
                };
                ends.push((
                    layout::pack(name),
                    vec![0..1, bytes.saturating_sub(TABLE).min(bytes - 1)..bytes],
                ));
            }
        }
        match remote.fetch_ahead(&ends) {
            // Reading the table of the missing pack reports its name.
            Err(StoreError::Missing { .. }) => Ok(()),
            done => Ok(done.map(drop)?),
        }
    }

    /// Copies everything. Returns all packs that have arrived, including those of an earlier run.
    pub fn run(&self, plan: Plan, phase: &'static str) -> Result<Vec<Sent>> {
        self.observer
            .phase(phase, Some(plan.packs), Some(plan.bytes));
        // Packs of trees are sent last, so that a reader of the destination finds no tree before
        // its chunks. A fetch reads trees to learn which chunks they need, so it copies trees in an
        // earlier run and moves refs last.
        let (last, first): (Vec<Job>, Vec<Job>) = plan
            .jobs
            .into_iter()
            .partition(|job| job.kind() == PackKind::Tree);
        let mut sent = self.run_all(first)?;
        sent.extend(self.run_all(last)?);
        Ok(sent)
    }

    fn run_all(&self, jobs: Vec<Job>) -> Result<Vec<Sent>> {
        if jobs.is_empty() {
            return Ok(Vec::new());
        }
        let remote = if self.dest.remote_store().is_some() {
            self.dest
        } else {
            self.source
        };
        let threads = remote
            .store()
            .abilities()
            .in_flight
            .clamp(1, 16)
            .min(jobs.len());
        let progress = Mutex::new(Progress {
            jobs: jobs.into_iter(),
            sent: Vec::new(),
            bytes: 0,
            has_failed: false,
        });
        let mut reported = Reported {
            before: self.moved(),
            bytes: 0,
        };
        let watch = || self.report(&progress, &mut reported);
        let done = fan_out::watched(threads, || self.work(&progress), TICK, watch);
        if !self.receives() {
            self.observer.on_the_way(0);
        }
        done.map(|()| progress.into_inner().sent)
    }

    fn receives(&self) -> bool {
        self.dest.as_local().is_some() && self.source.as_local().is_none()
    }

    /// Returns the number of bytes that the meter has counted in the direction of the copy.
    fn moved(&self) -> u64 {
        if self.receives() {
            self.meter.down.bytes()
        } else {
            self.meter.up.bytes()
        }
    }

    /// Reports progress. Bytes that arrive in a local repository are done; bytes that are sent to a
    /// store are done when the store has acknowledged their pack, and count as in flight until
    /// then.
    fn report(&self, progress: &Mutex<Progress>, reported: &mut Reported) {
        let arrived = progress.lock().bytes;
        let passed = self.moved() - reported.before;
        let done = if self.receives() { passed } else { arrived };
        self.observer.advance(0, done - reported.bytes);
        reported.bytes = done;
        if !self.receives() {
            self.observer.on_the_way(passed.saturating_sub(arrived));
        }
    }

    fn work(&self, progress: &Mutex<Progress>) -> Result<()> {
        loop {
            let Some(job) = progress.lock().next_job() else {
                return Ok(());
            };
            let copied = if self.observer.cancelled() {
                Err(Cancelled.into())
            } else {
                self.copy(&job)
            };
            let mut progress = progress.lock();
            let sent = copied.inspect_err(|_| progress.has_failed = true)?;
            progress.bytes += sent.bytes;
            progress.sent.push(sent);
            self.observer.advance(1, 0);
        }
    }

    fn copy(&self, job: &Job) -> Result<Sent> {
        match job {
            Job::Whole { kind, name, bytes } => {
                self.whole(*kind, name, *bytes)?;
                Ok(Sent {
                    name: *name,
                    kind: *kind,
                    bytes: *bytes,
                    frames: None,
                })
            }
            Job::Frames { kind, frames } => self.frames(*kind, frames),
        }
    }

    fn whole(&self, kind: PackKind, name: &PackName, bytes: u64) -> Result<()> {
        let key = layout::pack(name);
        if self.is_there(name, bytes)? {
            return self.arrive(kind, name);
        }
        match self.source.as_local().map(LocalRepo::files) {
            Some(local) => {
                {
                    // Verify one pack at a time, so that the upload of the first one can start
                    // early.
                    let _one = self.hashing.lock();
                    if let Err(e) = self.ensure_intact(local, name, &key) {
                        // Another remote may have the same pack.
                        let found = match e.kind() {
                            Kind::Integrity => self.source.pack_from_remotes(name, bytes)?,
                            _ => None,
                        };
                        let intact = found.ok_or(e)?;
                        self.observer.step("pack");
                        self.dest.store().put(intact.path(), &key)?;
                        return self.arrive(kind, name);
                    }
                }
                self.observer.step("pack");
                self.dest.store().put(&local.path(&key), &key)?;
            }
            None => self.receive(name, &key, bytes)?,
        }
        self.arrive(kind, name)
    }

    /// Fails if the content of a local pack does not match its name, because a damaged pack must
    /// not become the copy that another user relies on.
    fn ensure_intact(&self, local: &LocalStore, name: &PackName, key: &str) -> Result<()> {
        let mut hasher = NameHasher::default();
        let read = local.read_from(key, 0, &mut |bytes| {
            hasher.update(bytes);
            if self.observer.cancelled() {
                Err(Cancelled.into())
            } else {
                Ok(())
            }
        });
        match read {
            Err(StoreError::Missing { .. }) => {
                return Err(SyncError::NoPack {
                    place: local.place(),
                    pack: *name,
                }
                .into());
            }
            read => read?,
        }
        if hasher.finish() == *name {
            return Ok(());
        }
        Err(SyncError::Damaged {
            place: local.place(),
            pack: *name,
        }
        .into())
    }

    /// Downloads a pack and verifies its name; tries once more after a mismatch. Rejects a response
    /// of more than `bytes` bytes.
    fn receive(&self, name: &PackName, key: &str, bytes: u64) -> Result<()> {
        let place = || self.source.store().place();
        // The bytes may have been damaged on the way.
        for _ in 0..2 {
            match self
                .source
                .fetch_named(key, name, bytes, self.staging, &|| {
                    self.observer.cancelled()
                })? {
                FetchedFile::Verified(staged) => {
                    self.observer.step("pack");
                    return Ok(self.staging.publish(staged, key)?);
                }
                FetchedFile::Missing => {
                    return Err(SyncError::NoPack {
                        place: place(),
                        pack: *name,
                    }
                    .into());
                }
                FetchedFile::Wrong => {}
            }
        }
        Err(SyncError::Damaged {
            place: place(),
            pack: *name,
        }
        .into())
    }

    fn arrive(&self, kind: PackKind, name: &PackName) -> Result<()> {
        if self.dest.as_local().is_some() {
            self.dest
                .catalogue()?
                .add_loose_pack(LoosePack { name: *name, kind })?;
        }
        self.arrived.iter().for_each(|report| report(name));
        self.observer.step("pack published");
        Ok(())
    }

    /// Returns whether an earlier run has already copied a pack.
    fn is_there(&self, name: &PackName, bytes: u64) -> Result<bool> {
        let key = layout::pack(name);
        match self.dest.as_local().map(LocalRepo::files) {
            // A pack that was damaged in the meantime is copied again.
            Some(local) => Ok(
                local.len(&key)? == Some(bytes) && self.ensure_intact(local, name, &key).is_ok()
            ),
            None => {
                let sent = self
                    .earlier
                    .is_some_and(|sent| sent.contains(&to_hex(name)));
                Ok(
                    sent && self.dest.store().len(&key)? == Some(bytes)
                        && self.is_readable(&key)?,
                )
            }
        }
    }

    /// Returns whether a pack of a remote can be read. A registry may report blobs that its garbage
    /// collector has removed.
    fn is_readable(&self, key: &str) -> Result<bool> {
        let (Some(remote), true) = (
            self.dest.remote_store(),
            self.dest.gc_state().dead_number > 0,
        ) else {
            return Ok(true);
        };
        match remote.direct().read_at(key, 0, 1) {
            Err(StoreError::Missing { .. }) => Ok(false),
            read => Ok(read.map(|_| true)?),
        }
    }

    /// Writes stored frames unchanged into a new pack, so that the same frames always result in the
    /// same pack.
    fn frames(&self, kind: PackKind, wanted: &[(PackName, u32)]) -> Result<Sent> {
        let mut pack = PackWriter::create(self.staging, kind)?;
        let mut frames = Vec::new();
        let mut by_pack: BTreeMap<PackName, Vec<u32>> = BTreeMap::new();
        for (name, offset) in wanted {
            by_pack.entry(*name).or_default().push(*offset);
        }
        for (name, offsets) in &by_pack {
            let table = self.table(name)?;
            let wanted: BTreeSet<u64> = offsets.iter().map(|o| u64::from(*o)).collect();
            let of_pack: Vec<&TableFrame> = table
                .frames
                .iter()
                .filter(|f| wanted.contains(&f.offset))
                .collect();
            let key = layout::pack(name);
            // Fetch all frames of the pack at once instead of one request per frame.
            if let Some(remote) = self.source.remote_store() {
                let ranges: Vec<Range<u64>> = of_pack
                    .iter()
                    .map(|f| f.offset..f.offset + u64::from(f.stored))
                    .collect();
                remote.fetch_ahead(&[(key.clone(), ranges)])?;
            }
            for frame in of_pack {
                frames.push(self.frame(&mut pack, name, &key, frame)?);
            }
        }
        // The name of a dead pack is never used again, so such a pack gets a salt
        // (docs/decisions/0012).
        let gc = self.dest.gc_state();
        let (file, FinishedPack { name, bytes, .. }) = pack.close(&|name| gc.is_excluded(name))?;
        if !self.is_there(&name, bytes)? {
            let key = layout::pack(&name);
            self.observer.step("pack");
            match self.dest.as_local() {
                Some(local) => local.files().publish(file, &key)?,
                None => self.dest.store().put(file.path(), &key)?,
            }
            self.arrive(kind, &name)?;
        }
        Ok(Sent {
            name,
            kind,
            bytes,
            frames: Some(frames),
        })
    }

    /// Verifies a stored frame and appends it.
    fn frame(
        &self,
        pack: &mut PackWriter,
        name: &PackName,
        key: &str,
        frame: &TableFrame,
    ) -> Result<TableFrame> {
        let mut rows = Vec::new();
        rows_of(frame, name, None, &mut rows)?;
        let verified = || {
            rows.iter()
                .try_for_each(|row| self.source.object_at(frame.kind, row).map(drop))
        };
        match (verified(), self.source.remote_store()) {
            // The damage may be in the local cache, so fetch the frame again.
            (Err(e), Some(remote)) if e.kind() == Kind::Integrity => {
                remote.forget(key);
                verified()?;
            }
            (verified, _) => verified?,
        }
        let stored = self
            .source
            .store()
            .read_at(key, frame.offset, frame.stored as usize)?;
        let mut payload = stored.as_slice();
        let head = FrameHead::decode(&mut payload)?;
        // A stored frame contains only the id of its base; the location is in the index.
        let unknown = ObjectLocation {
            pack: [0; 32],
            offset: 0,
            stored: 0,
            within: 0,
            len: 0,
            codec: 0,
        };
        let offset = pack.bytes();
        let stored = pack.append(&NewFrame {
            kind: head.kind,
            codec: head.codec,
            objects: &frame.objects,
            base: head.base.map(|base| (base, unknown)),
            payload,
        })?;
        Ok(TableFrame {
            offset,
            stored,
            ..frame.clone()
        })
    }

    fn table(&self, name: &PackName) -> Result<PackTable> {
        table_of(self.source, name)
    }
}

impl Job {
    const fn kind(&self) -> PackKind {
        match self {
            Self::Whole { kind, .. } | Self::Frames { kind, .. } => *kind,
        }
    }
}

struct Progress {
    jobs: std::vec::IntoIter<Job>,
    sent: Vec<Sent>,
    /// Total length of the packs in `sent`.
    bytes: u64,
    has_failed: bool,
}

impl Progress {
    fn next_job(&mut self) -> Option<Job> {
        if self.has_failed {
            None
        } else {
            self.jobs.next()
        }
    }
}

/// Progress that was reported to the observer.
struct Reported {
    /// Bytes that the meter had counted before this copy started.
    before: u64,
    /// Bytes that were reported as done.
    bytes: u64,
}
