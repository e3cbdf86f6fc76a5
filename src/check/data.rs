//! Reads the data of packs: selects the packs, reads them with several threads up to a deadline,
//! and lists the lost objects.
//!
//! Packs in which an earlier check has found damage come first, then those that were checked least
//! recently. Checks are recorded, so that repeated short runs check everything. Packs that other
//! parts of the check suspect are always read.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::findings::{Findings, is_damage};
use super::pack_reader::{BadWhy, PackOutcome, PackReader};
use super::places::PackInfo;
use super::report::{DamagedPack, DataChecked};
use super::rows::Rows;
use crate::error::{Result, with_causes};
use crate::format::pack::PackKind;
use crate::format::segment::{IndexRow, ObjectLocation, PackName};
use crate::index::catalogue::segments::PackCheck;
use crate::model::id::ObjectKind;
use crate::observe::Observer;
use crate::repo::Repo;
use crate::repo::packs::read_table;
use crate::work::fan_out;

/// Number of rows of damaged packs that are examined together.
const BATCH: usize = 200_000;
/// Interval at which checked packs are recorded.
const RECORD_EVERY: Duration = Duration::from_secs(5);

/// The part of the data to read.
#[derive(Clone, Copy, Debug)]
pub(super) struct DataOrder {
    /// Amount to read, in millionths of all bytes; `None` reads only suspect packs and, with
    /// `recorded`, those that are recorded as damaged.
    pub(super) share: Option<u32>,
    /// Time at which reading stops.
    pub(super) deadline: Option<Instant>,
    /// Number of threads.
    pub(super) jobs: usize,
    /// Current time in seconds since 1970; `None` means that checks are not recorded.
    pub(super) now: Option<i64>,
    /// Whether to read the packs that are recorded as damaged.
    pub(super) recorded: bool,
}

/// The check of the packs' data, with everything it needs.
pub(super) struct DataCheck<'a> {
    pub(super) repo: &'a Repo,
    pub(super) findings: &'a Findings<'a>,
    pub(super) observer: &'a dyn Observer,
    pub(super) order: DataOrder,
}

/// State that the threads share.
#[derive(Default)]
struct Shared {
    next: AtomicUsize,
    out_of_time: AtomicBool,
    done: Mutex<Done>,
}

#[derive(Default)]
struct Done {
    clean: Vec<PackName>,
    bad: BTreeMap<PackName, PackOutcome>,
    packs: u64,
    bytes: u64,
    plain_bytes: u64,
    recorded: Option<Instant>,
}

impl DataCheck<'_> {
    /// Reads the suspect and the selected packs, and reports damaged packs and lost objects.
    /// Returns `None` if the order has no share.
    pub(super) fn run(&self, packs: &[PackInfo]) -> Result<Option<DataChecked>> {
        // Suspects come from the checks of the index and of the versions, so both must be complete
        // by now.
        let suspects = self.findings.take_suspects();
        let chosen = self.choose(packs, &suspects);
        let total = chosen.iter().filter_map(|p| p.bytes).sum();
        self.observer
            .phase("read packs", Some(chosen.len() as u64), Some(total));
        let shared = Shared::default();
        // More threads than packs would only use memory, because each thread has its own buffers.
        let threads = self.order.jobs.clamp(1, chosen.len().max(1));
        fan_out::run(threads, || self.work(&chosen, &suspects, &shared))?;
        let out_of_time = shared.out_of_time.load(Ordering::Relaxed);
        let done = shared.done.into_inner();
        let read = done.packs;
        let (bytes, plain_bytes) = (done.bytes, done.plain_bytes);
        self.record(&done.clean, true);
        let bad = done
            .bad
            .iter()
            .filter(|(_, o)| damage_of(o).is_some())
            .map(|(name, _)| *name);
        self.record(&bad.collect::<Vec<_>>(), false);
        self.judge(packs, suspects, done)?;
        Ok(self.order.share.map(|_| DataChecked {
            packs: read,
            bytes,
            plain_bytes,
            of_packs: packs.len() as u64,
            of_bytes: packs.iter().filter_map(|p| p.bytes).sum(),
            out_of_time,
        }))
    }

    /// Returns the packs to read: suspect ones first, then those in which an earlier check has
    /// found damage. If a share of the data is requested, the least recently checked of the other
    /// packs follow until their lengths reach the share.
    fn choose(
        &self,
        packs: &[PackInfo],
        suspects: &BTreeMap<PackName, Option<String>>,
    ) -> Vec<PackInfo> {
        // Without the catalogue, all packs count as never checked.
        let checks = self
            .repo
            .catalogue()
            .ok()
            .and_then(|c| c.pack_checks().ok())
            .unwrap_or_default();
        // Suspect packs are read even without a share, because only their data shows which objects
        // are lost.
        let mut first: HashSet<PackName> = suspects.keys().copied().collect();
        if self.order.recorded {
            first.extend(checks.iter().filter(|c| !c.ok).map(|c| c.pack));
            first.extend(self.repo.noted_packs().unwrap_or_default());
        }
        // Skip missing packs, which have no length.
        let (mut chosen, mut rest): (Vec<PackInfo>, Vec<PackInfo>) = packs
            .iter()
            .filter(|p| p.bytes.is_some())
            .partition(|p| first.contains(&p.name));
        chosen.sort_by_key(|p| (!suspects.contains_key(&p.name), p.name));
        let Some(share) = self.order.share else {
            return chosen;
        };
        let last: HashMap<PackName, (bool, i64)> = checks
            .iter()
            .map(|c| (c.pack, (c.ok, c.checked_at)))
            .collect();
        // False sorts before true, so packs that were never checked, or were damaged, come first.
        rest.sort_by_key(|p| {
            (
                last.get(&p.name).copied().unwrap_or((false, i64::MIN)),
                p.name,
            )
        });
        // The number of bytes times a million exceeds 64 bits.
        let all: u128 = packs.iter().filter_map(|p| p.bytes).map(u128::from).sum();
        let wanted = (all * u128::from(share)).div_ceil(1_000_000);
        let mut so_far = 0u128;
        for pack in rest {
            if so_far >= wanted {
                break;
            }
            so_far += u128::from(pack.bytes.unwrap_or(0));
            chosen.push(pack);
        }
        chosen
    }

    fn work(
        &self,
        chosen: &[PackInfo],
        suspects: &BTreeMap<PackName, Option<String>>,
        shared: &Shared,
    ) -> Result<()> {
        // One reader per thread reuses its buffers for all packs.
        let mut reader = PackReader::new(self.repo);
        loop {
            let number = shared.next.fetch_add(1, Ordering::Relaxed);
            let Some(pack) = chosen.get(number) else {
                return Ok(());
            };
            // Read all suspect packs, and one more pack, even after the deadline, so that every run
            // makes progress.
            let in_time = number <= suspects.len();
            let late = || !in_time && self.order.deadline.is_some_and(|d| Instant::now() >= d);
            let stop = |bytes| {
                self.observer.advance(0, bytes);
                self.observer.cancelled() || late()
            };
            let table = match pack
                .sound
                .then(|| read_table(self.repo.store(), &pack.name))
            {
                // An error of the store, such as a lost connection, says nothing about the pack.
                Some(Err(e)) if !is_damage(&e) => return Err(e),
                table => table.and_then(Result::ok),
            };
            // The packs of a remote repository are copied to a temporary file, which exists as long
            // as `file`.
            let file = self.repo.pack_file(&pack.name)?;
            let outcome = if stop(0) {
                None
            } else {
                reader.read(file.path(), &pack.name, table.as_ref(), &stop)
            };
            let Some(outcome) = outcome else {
                shared.out_of_time.store(true, Ordering::Relaxed);
                return Ok(());
            };
            self.observer.advance(1, 0);
            // The record below is written under this lock, so only one thread writes at a time.
            let mut done = shared.done.lock();
            done.packs += 1;
            done.bytes += outcome.bytes;
            done.plain_bytes += outcome.plain_bytes;
            // A delta whose base is unreadable is intact itself, so the fault belongs to the pack
            // of the base.
            let whole = outcome.name_matches
                && table.is_some()
                && outcome.bad.iter().all(|b| matches!(b.why, BadWhy::Base));
            if whole {
                done.clean.push(pack.name);
            }
            if !whole || !outcome.bad.is_empty() {
                done.bad.insert(pack.name, outcome);
            }
            // Record regularly, so that an interrupted check of many terabytes continues where it
            // stopped.
            let now = Instant::now();
            if *done.recorded.get_or_insert(now) + RECORD_EVERY < now {
                done.recorded = Some(now);
                self.record(&done.clean, true);
            }
        }
    }

    fn record(&self, packs: &[PackName], ok: bool) {
        let (Some(now), Ok(catalogue)) = (self.order.now, self.repo.catalogue()) else {
            return;
        };
        let checks: Vec<_> = packs
            .iter()
            .map(|p| PackCheck {
                pack: *p,
                checked_at: now,
                ok,
            })
            .collect();
        // Ignore the error, because a pack without a record is only checked again sooner.
        let _ = catalogue.put_pack_checks(&checks);
    }

    /// Reports each damaged pack, after determining which of its objects have no other copy.
    fn judge(
        &self,
        packs: &[PackInfo],
        suspects: BTreeMap<PackName, Option<String>>,
        done: Done,
    ) -> Result<()> {
        // Without a sound table or a complete read, the ids in a pack are known from the index
        // only.
        let by_rows: BTreeSet<PackName> = packs
            .iter()
            .filter(|p| {
                let unread = done.bad.get(&p.name).is_some_and(|o| o.failed.is_some());
                unread || !p.sound && suspects.contains_key(&p.name)
            })
            .map(|p| p.name)
            .collect();
        // The walk from the refs may already have recorded the object as lost. Count it for this
        // pack, too.
        let frames = done
            .bad
            .iter()
            .flat_map(|(pack, outcome)| outcome.bad.iter().map(|bad| (*pack, bad.offset)));
        let mut lost = self.lost_rows(&by_rows, &frames.collect())?;
        for (pack, outcome) in &done.bad {
            for bad in &outcome.bad {
                for id in &bad.ids {
                    // Another pack may contain a second copy, so only a failed read proves that the
                    // object is lost.
                    if !self.is_readable(bad.kind, id)? {
                        self.findings.lose(bad.kind, id);
                        lost.entry(*pack).or_default().insert(id.prefix());
                    }
                }
            }
        }
        let bad = done
            .bad
            .iter()
            .filter(|(_, o)| damage_of(o).is_some())
            .map(|(name, _)| name);
        // A suspect pack is reported even if its data is intact, because another part of the check
        // failed to read it.
        let named: BTreeSet<PackName> = suspects.keys().chain(bad).copied().collect();
        for pack in named {
            let lost_objects = lost.get(&pack).map_or(0, |ids| ids.len() as u64);
            let outcome = done.bad.get(&pack);
            let mut why: Vec<String> = suspects.get(&pack).cloned().flatten().into_iter().collect();
            why.extend(outcome.and_then(damage_of));
            match (lost.get(&pack).map(BTreeSet::len), why.is_empty()) {
                (Some(1), _) => why.push("1 object is lost".to_owned()),
                (Some(n), _) => why.push(format!("{n} objects are lost")),
                (None, true) => why.push(
                    "an object in this pack was unreadable at first, but is readable now"
                        .to_owned(),
                ),
                (None, false) => why.push("no object is lost".to_owned()),
            }
            self.findings.damaged_pack(
                DamagedPack {
                    name: pack,
                    lost_objects,
                },
                why.join("; "),
            );
        }
        Ok(())
    }

    /// Tries to read every object that the index locates in packs without a usable table of
    /// contents, and every delta whose base is in such a pack or in a damaged frame.
    fn lost_rows(
        &self,
        packs: &BTreeSet<PackName>,
        frames: &HashSet<(PackName, u64)>,
    ) -> Result<BTreeMap<PackName, BTreeSet<u64>>> {
        let mut lost = BTreeMap::new();
        if packs.is_empty() && frames.is_empty() {
            return Ok(lost);
        }
        let is_damaged = |place: &ObjectLocation| {
            packs.contains(&place.pack) || frames.contains(&(place.pack, place.offset.into()))
        };
        for kind in PackKind::ALL {
            let mut rows = Rows::of(self.repo.index()?, kind)
                .filter(|r| {
                    packs.contains(&r.place.pack) || r.base.as_ref().is_some_and(is_damaged)
                })
                .peekable();
            while rows.peek().is_some() {
                let mut batch: Vec<IndexRow> = rows.by_ref().take(BATCH).collect();
                // Read in the order of the packs, so that each frame is decompressed once.
                batch.sort_unstable_by_key(|r| (r.place.pack, r.place.offset, r.place.within));
                for row in batch {
                    if self.observer.cancelled() {
                        return Ok(lost);
                    }
                    // Trees and commits share packs, and an id matches only one of the two kinds.
                    let kinds = ObjectKind::ALL
                        .into_iter()
                        .filter(|k| PackKind::of(*k) == kind);
                    // A row does not contain the kind of its object, so both kinds are tried.
                    let mut had = false;
                    let mut object = ObjectKind::Chunk;
                    for candidate in kinds {
                        had = had || self.is_readable(candidate, &row.id)?;
                        object = candidate;
                    }
                    if !had {
                        self.findings.lose(object, &row.id);
                        lost.entry(row.place.pack)
                            .or_default()
                            .insert(row.id.prefix());
                    }
                }
            }
        }
        Ok(lost)
    }

    fn is_readable(&self, kind: ObjectKind, id: &crate::model::id::Id) -> Result<bool> {
        match self.repo.object(kind, id) {
            Ok(_) => Ok(true),
            Err(e) if is_damage(&e) => Ok(false),
            Err(e) => Err(e),
        }
    }
}

/// Returns a description of the damage that was found in a pack. `None` if the pack itself is
/// intact, even if the base of a delta in another pack is unreadable.
fn damage_of(outcome: &PackOutcome) -> Option<String> {
    if let Some(e) = &outcome.failed {
        return Some(format!("unreadable: {}", with_causes(e)));
    }
    let mut bad = outcome.bad.iter().filter_map(|b| match &b.why {
        BadWhy::Frame(why) => Some((b.offset, why)),
        BadWhy::Base => None,
    });
    match bad.next() {
        Some((offset, why)) => {
            let (bad, all) = (1 + bad.count(), outcome.frames);
            Some(format!(
                "{bad} of {all} frames are damaged, the first at byte {offset}: {why}"
            ))
        }
        None if !outcome.name_matches => Some("the checksum does not match the name".to_owned()),
        None => None,
    }
}
