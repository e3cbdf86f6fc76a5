//! Reading the data: which packs are read, by how many threads, until when, and what their damage costs.
//!
//! Packs that were damaged or not read for the longest come first, and what was read is remembered, so that runs of a
//! short time get through everything one after the other. Packs that the rest of the check suspects are always read.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::findings::{Findings, is_damage};
use super::pack_reader::{BadWhy, PackOutcome, PackReader};
use super::places::PackInfo;
use super::report::{DataChecked, What};
use super::rows::Rows;
use crate::error::{Result, with_causes};
use crate::format::pack::PackKind;
use crate::format::segment::{IndexRow, PackName};
use crate::index::catalogue::segments::PackCheck;
use crate::model::id::ObjectKind;
use crate::observe::Observer;
use crate::repo::packs::read_table;
use crate::repo::{Repo, layout};
use crate::work::fan_out;

/// Rows of damaged packs that are looked at together.
const BATCH: usize = 200_000;
/// How often what was read is remembered.
const REMEMBER_EVERY: Duration = Duration::from_secs(5);

/// What of the data to read.
#[derive(Clone, Copy, Debug)]
pub(super) struct DataOrder {
    /// Millionths of all bytes; `None` reads suspected packs only.
    pub(super) share: Option<u32>,
    /// When to stop.
    pub(super) deadline: Option<Instant>,
    /// Threads.
    pub(super) jobs: usize,
    /// The present, seconds since 1970; `None` remembers nothing.
    pub(super) now: Option<i64>,
}

/// Reads.
pub(super) struct DataCheck<'a> {
    pub(super) repo: &'a Repo,
    pub(super) findings: &'a Findings<'a>,
    pub(super) observer: &'a dyn Observer,
    pub(super) order: DataOrder,
}

/// What the threads share.
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
    remembered: Option<Instant>,
}

impl DataCheck<'_> {
    /// Reads what was asked for and what is suspected; says what is damaged and notes what is lost by it.
    pub(super) fn run(&self, packs: &[PackInfo]) -> Result<Option<DataChecked>> {
        let suspects = self.findings.take_suspects();
        let chosen = self.choose(packs, &suspects);
        let total = chosen.iter().filter_map(|p| p.bytes).sum();
        self.observer.phase("read packs", Some(chosen.len() as u64), Some(total));
        let shared = Shared::default();
        let threads = self.order.jobs.clamp(1, chosen.len().max(1));
        fan_out::run(threads, || self.work(&chosen, &suspects, &shared))?;
        let out_of_time = shared.out_of_time.load(Ordering::Relaxed);
        let done = shared.done.into_inner();
        let read = done.packs;
        let (bytes, plain_bytes) = (done.bytes, done.plain_bytes);
        self.remember(&done.clean, true);
        let bad = done.bad.iter().filter(|(_, o)| said(o).is_some()).map(|(name, _)| *name);
        self.remember(&bad.collect::<Vec<_>>(), false);
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

    /// The packs to read: suspects first, then those that were bad or not read for the longest.
    fn choose(&self, packs: &[PackInfo], suspects: &BTreeMap<PackName, Option<String>>) -> Vec<PackInfo> {
        let (mut chosen, mut rest): (Vec<PackInfo>, Vec<PackInfo>) =
            packs.iter().filter(|p| p.bytes.is_some()).partition(|p| suspects.contains_key(&p.name));
        let Some(share) = self.order.share else { return chosen };
        let checks = self.repo.catalogue().ok().and_then(|c| c.pack_checks().ok()).unwrap_or_default();
        let last: HashMap<PackName, (bool, i64)> = checks.iter().map(|c| (c.pack, (c.ok, c.checked_at))).collect();
        rest.sort_by_key(|p| (last.get(&p.name).copied().unwrap_or((false, i64::MIN)), p.name));
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

    fn work(&self, chosen: &[PackInfo], suspects: &BTreeMap<PackName, Option<String>>, shared: &Shared) -> Result<()> {
        let mut reader = PackReader::new(self.repo);
        loop {
            let number = shared.next.fetch_add(1, Ordering::Relaxed);
            let Some(pack) = chosen.get(number) else { return Ok(()) };
            // What is suspected is read whatever the time is, and one more, so that every run gets further.
            let in_time = number <= suspects.len();
            let late = || !in_time && self.order.deadline.is_some_and(|d| Instant::now() >= d);
            let stop = |bytes| {
                self.observer.advance(0, bytes);
                self.observer.cancelled() || late()
            };
            let table = match pack.sound.then(|| read_table(self.repo.store(), &pack.name)) {
                Some(Err(e)) if !is_damage(&e) => return Err(e),
                table => table.and_then(Result::ok),
            };
            let file = self.repo.pack_file(&pack.name)?;
            let outcome = if stop(0) { None } else { reader.read(file.path(), &pack.name, table.as_ref(), &stop) };
            let Some(outcome) = outcome else {
                shared.out_of_time.store(true, Ordering::Relaxed);
                return Ok(());
            };
            self.observer.advance(1, 0);
            let mut done = shared.done.lock();
            done.packs += 1;
            done.bytes += outcome.bytes;
            done.plain_bytes += outcome.plain_bytes;
            let whole =
                outcome.name_matches && table.is_some() && outcome.bad.iter().all(|b| matches!(b.why, BadWhy::Base));
            if whole {
                done.clean.push(pack.name);
            }
            if !whole || !outcome.bad.is_empty() {
                done.bad.insert(pack.name, outcome);
            }
            let now = Instant::now();
            if *done.remembered.get_or_insert(now) + REMEMBER_EVERY < now {
                done.remembered = Some(now);
                self.remember(&done.clean, true);
            }
        }
    }

    fn remember(&self, packs: &[PackName], ok: bool) {
        let (Some(now), Ok(catalogue)) = (self.order.now, self.repo.catalogue()) else { return };
        let checks: Vec<_> = packs.iter().map(|p| PackCheck { pack: *p, checked_at: now, ok }).collect();
        // What is not remembered is only read again.
        let _ = catalogue.put_pack_checks(&checks);
    }

    /// Names each damaged pack, after finding out which of its objects no other copy gives back.
    fn judge(&self, packs: &[PackInfo], suspects: BTreeMap<PackName, Option<String>>, done: Done) -> Result<()> {
        let by_rows: BTreeSet<PackName> = packs
            .iter()
            .filter(|p| {
                let unread = done.bad.get(&p.name).is_some_and(|o| o.failed.is_some());
                unread || !p.sound && suspects.contains_key(&p.name)
            })
            .map(|p| p.name)
            .collect();
        // The walk from the refs may have noted an object as lost before; it is lost by this pack all the same.
        let mut lost = self.lost_rows(&by_rows)?;
        for (pack, outcome) in &done.bad {
            for bad in &outcome.bad {
                for id in &bad.ids {
                    if !self.can_be_had(bad.kind, id)? {
                        self.findings.lose(bad.kind, id);
                        lost.entry(*pack).or_default().insert(id.prefix());
                    }
                }
            }
        }
        let bad = done.bad.iter().filter(|(_, o)| said(o).is_some()).map(|(name, _)| name);
        let named: BTreeSet<PackName> = suspects.keys().chain(bad).copied().collect();
        for pack in named {
            let outcome = done.bad.get(&pack);
            let mut why: Vec<String> = suspects.get(&pack).cloned().flatten().into_iter().collect();
            why.extend(outcome.and_then(said));
            match (lost.get(&pack).map(BTreeSet::len), why.is_empty()) {
                (Some(1), _) => why.push("1 object is lost".to_owned()),
                (Some(n), _) => why.push(format!("{n} objects are lost")),
                (None, true) => why.push("an object in it could not be read at first, and can be now".to_owned()),
                (None, false) => why.push("no object is lost by it".to_owned()),
            }
            self.findings.damage(What::Pack, layout::pack(&pack), why.join("; "));
        }
        Ok(())
    }

    /// Tries every object that the index places in packs that cannot be read by their tables.
    fn lost_rows(&self, packs: &BTreeSet<PackName>) -> Result<BTreeMap<PackName, BTreeSet<u64>>> {
        let mut lost = BTreeMap::new();
        if packs.is_empty() {
            return Ok(lost);
        }
        for kind in PackKind::ALL {
            let mut rows = Rows::of(self.repo.index()?, kind).filter(|r| packs.contains(&r.place.pack)).peekable();
            while rows.peek().is_some() {
                let mut batch: Vec<IndexRow> = rows.by_ref().take(BATCH).collect();
                batch.sort_unstable_by_key(|r| (r.place.pack, r.place.offset, r.place.within));
                for row in batch {
                    if self.observer.cancelled() {
                        return Ok(lost);
                    }
                    // Trees and versions share packs; an id is good for one of them only.
                    let kinds = ObjectKind::ALL.into_iter().filter(|k| PackKind::of(*k) == kind);
                    let mut had = false;
                    let mut object = ObjectKind::Chunk;
                    for candidate in kinds {
                        had = had || self.can_be_had(candidate, &row.id)?;
                        object = candidate;
                    }
                    if !had {
                        self.findings.lose(object, &row.id);
                        lost.entry(row.place.pack).or_default().insert(row.id.prefix());
                    }
                }
            }
        }
        Ok(lost)
    }

    fn can_be_had(&self, kind: ObjectKind, id: &crate::model::id::Id) -> Result<bool> {
        match self.repo.object(kind, id) {
            Ok(_) => Ok(true),
            Err(e) if is_damage(&e) => Ok(false),
            Err(e) => Err(e),
        }
    }
}

/// What reading a pack has shown, in words.
fn said(outcome: &PackOutcome) -> Option<String> {
    if let Some(e) = &outcome.failed {
        return Some(format!("it cannot be read: {}", with_causes(e)));
    }
    let mut bad = outcome.bad.iter().filter_map(|b| match &b.why {
        BadWhy::Frame(why) => Some((b.offset, why)),
        BadWhy::Base => None,
    });
    match bad.next() {
        Some((offset, why)) => {
            let (bad, all) = (1 + bad.count(), outcome.frames);
            Some(format!("{bad} of {all} frames are damaged, the first at byte {offset}: {why}"))
        }
        None if !outcome.name_matches => Some("its bytes do not match its name".to_owned()),
        None => None,
    }
}
