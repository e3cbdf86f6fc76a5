//! Garbage collection: mark, plan, repack, fence, give up, delete. Any other process may commit,
//! push, mount or read meanwhile, and every process may stop at any step.
//!
//! The order of the steps is the protocol of `docs/format.md` that `tests/model` checks. A pack is
//! deleted only if a dead entry of the gc log lists it, and an index segment only if other segments
//! replace it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::fresh::{FreshWalk, Kept};
use super::mark::{self, Marked};
use super::plan::{self, Plan, PlanLimits};
use super::repack::{Repacked, repack};
use super::roots::{LooseRoot, LooseRoots, Roots};
use super::tally::Tally;
use crate::error::{Failure, Kind, Result};
use crate::format::gclog::{GC_KIND, GcEntry, GcStep};
use crate::format::pack::PackKind;
use crate::format::packlist::{ListReason, ListedPack};
use crate::format::segment::PackName;
use crate::model::entry::Time;
use crate::model::id::{Id, parse_hex};
use crate::model::refname::RefKind;
use crate::model::text;
use crate::observe::Observer;
use crate::repo::gclog::{GcLog, GcState};
use crate::repo::log::Appended;
use crate::repo::refs::Move;
use crate::repo::trashlog::{TrashLog, TrashMention, TrashState};
use crate::repo::whole::CopyDemand;
use crate::repo::{Repo, layout};
use crate::store::local::{LocalStore, make_root};
use crate::sys::clock;
use crate::sys::io_error::IoError;
use crate::sys::random::random_hex;
use crate::work::{Cancelled, fan_out};

/// Maximum number of fences that are written at the same time.
const FENCES: usize = 16;

/// Options of a gc.
#[derive(Clone, Debug)]
pub struct GcOptions {
    /// Grace period: how long a pack must have been known as unneeded before it is planned, and how
    /// long a dead pack stays before it is deleted.
    pub grace: Duration,
    /// How long forgotten versions keep all their objects, so that they can be restored.
    pub keep_trash: Duration,
    /// Forgotten versions to which `keep_trash` does not apply.
    pub at_once: BTreeSet<Id>,
    /// How long versions that a ref named earlier keep all their objects, so that `undo` can return
    /// to them.
    pub keep_log: Duration,
    pub limits: PlanLimits,
    /// No copy of a pack begins after this moment. Packs that were copied before stay useful.
    pub until: Option<Instant>,
    /// Time to wait after the fences, for stores whose listings lag behind their writes.
    pub settle: Duration,
    pub dry_run: bool,
    /// Fails instead of planning more than half of the bytes of all packs.
    pub is_cautious: bool,
    /// Author of the log entries that this run writes.
    pub who: String,
    /// The time of this run.
    pub time: Time,
}

/// The result of a gc.
#[derive(Clone, Debug, Default)]
pub struct GcReport {
    pub whole_versions: u64,
    pub forgotten_versions: u64,
    /// Packs that nothing needs and that are planned, with their bytes.
    pub dropped_packs: u64,
    pub dropped_bytes: u64,
    /// Packs whose needed part was copied into new ones, and an estimate of the copied bytes.
    pub copied_packs: u64,
    pub copied_bytes: u64,
    /// New packs with their bytes.
    pub new_packs: u64,
    pub new_bytes: u64,
    /// Packs that nothing needs, but that have been known as such for less than the grace period.
    pub waiting_packs: u64,
    pub waiting_bytes: u64,
    /// When the first of the waiting packs may be planned, in seconds since 1970.
    pub waiting_until: Option<i64>,
    /// Estimate of the unused bytes in packs that stay.
    pub unused_bytes: u64,
    /// Bytes of all packs that stay.
    pub kept_bytes: u64,
    /// Dead packs that were deleted, with their bytes.
    pub deleted_packs: u64,
    pub deleted_bytes: u64,
    /// Dead packs that still exist, with their bytes, and when the first of them is due.
    pub dead_packs: u64,
    pub dead_bytes: u64,
    pub dead_until: Option<i64>,
    /// Index segments that were deleted because others replace them.
    pub deleted_segments: u64,
    /// Objects that could not be deleted.
    pub undeleted: u64,
    /// Roots without a log of which objects are missing.
    pub incomplete: Vec<LooseRoot>,
    /// Whether the time limit ended the run before everything was done.
    pub is_partial: bool,
}

/// The error for a gc that must not continue.
#[derive(Debug, thiserror::Error)]
pub enum GcError {
    #[error("cannot collect garbage: {} missing; nothing was deleted", text::count(*count, "needed object"))]
    Missing { count: u64 },
    #[error("cannot collect garbage: cannot read {}; nothing was deleted", text::count(*count, "index segment"))]
    DamagedIndex { count: u64 },
    #[error("refusing to collect garbage: the run would free {freed} of {all} bytes")]
    TooMuch { freed: u64, all: u64 },
    #[error("cannot collect garbage: another garbage collection won the race")]
    Raced,
}

impl Failure for GcError {
    fn kind(&self) -> Kind {
        match self {
            Self::Missing { .. } | Self::DamagedIndex { .. } => Kind::Integrity,
            Self::TooMuch { .. } => Kind::Rejected,
            Self::Raced => Kind::Busy,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Missing { .. } => {
                "run `dvc fsck` to list the missing objects, and `dvc fsck --repair` to restore them".to_owned()
            }
            Self::DamagedIndex { .. } => "run `dvc fsck --rebuild` to rebuild the index".to_owned(),
            Self::TooMuch { .. } => {
                "run `dvc gc -n` to see what is not needed, then `dvc gc -y`".to_owned()
            }
            Self::Raced => "run the command again when the other garbage collection has ended".to_owned(),
        })
    }
}

/// Collects one repository. `loose` reads the roots that have no log; new files are created in
/// `staging`.
pub fn collect(
    repo: &Repo,
    loose: &LooseRoots<'_>,
    options: &GcOptions,
    staging: &LocalStore,
    observer: &dyn Observer,
) -> Result<GcReport> {
    let mut gc = Gc {
        repo,
        options,
        staging,
        observer,
        gone: HashSet::new(),
        report: GcReport::default(),
    };
    if !options.dry_run {
        super::leftovers::remove(staging);
    }
    gc.run(loose)?;
    if !options.dry_run {
        gc.delete_due()?;
    }
    gc.count_dead()?;
    Ok(gc.report)
}

struct Gc<'g> {
    repo: &'g Repo,
    options: &'g GcOptions,
    staging: &'g LocalStore,
    observer: &'g dyn Observer,
    /// Versions in the trash of which data is missing, see [`Self::versions_gone`].
    gone: HashSet<Id>,
    report: GcReport,
}

impl Gc<'_> {
    fn how<'h>(&'h self, why: &'h str) -> Move<'h> {
        Move {
            who: &self.options.who,
            why,
            time: self.options.time,
        }
    }

    fn run(&mut self, loose: &LooseRoots<'_>) -> Result<()> {
        // The log comes first, then the refs: a number that was taken since then shows that another
        // gc was here. Packs are listed before the index is read, so that the pack of a new segment
        // never looks unneeded.
        let before = self.repo.read_gc_log_to_void()?;
        let mut roots = Roots::read(self.repo, self.options.keep_log, self.options.time, loose)?;
        let trash = TrashLog::new(self.repo.store()).read()?;
        let packs = self.packs_there()?;
        self.repo.refresh_index()?;
        let damaged = self.repo.index()?.damaged().len() as u64;
        if damaged > 0 {
            return Err(GcError::DamagedIndex { count: damaged }.into());
        }
        self.gone = self.versions_gone(&before, &trash, &roots)?;
        roots.leave_out_collected(self.repo, &before, &trash)?;
        let is_forgotten = |id: &Id| self.is_forgotten(&trash, &roots.tips, id);
        let dir = self.staging.staging()?;
        let mark = |dir: &Path| mark::mark(self.repo, &roots, &is_forgotten, dir, self.observer);
        let marked = match mark(&dir) {
            // On a full disk, dead packs can still be deleted.
            Err(e) if e.kind() == Kind::NoSpace => {
                let dir = &self.options.spare_dir;
                make_root(dir).map_err(IoError::at("create", dir))?;
                mark(dir)?
            }
            marked => marked?,
        };
        self.report.whole_versions = marked.whole_versions;
        self.report.forgotten_versions = marked.forgotten_versions;
        self.report.incomplete.clone_from(&marked.incomplete);
        let there: HashSet<PackName> = packs.iter().map(|(name, _)| *name).collect();
        let counts = |pack: &PackName| !before.is_dead(pack) && there.contains(pack);
        let tally = Tally::new(self.repo, &marked, &counts)?;
        let is_complete = Repo::partial(self.repo.path()).is_none() && !self.repo.is_lazy();
        if tally.missing > 0 && is_complete {
            return Err(self.missing(&before, tally.missing)?);
        }
        // Dead packs are deleted only after the mark has found a copy of everything outside of
        // them, because the log may have come from another repository.
        self.delete_due()?;
        let (mut rows, mut plan) = self.decide(&before, &tally, &packs)?;
        if self.options.dry_run {
            return Ok(());
        }
        let all: u64 = packs.iter().map(|(_, bytes)| bytes).sum();
        if self.options.is_cautious && plan.freed_bytes > all / 2 {
            return Err(GcError::TooMuch {
                freed: plan.freed_bytes,
                all,
            }
            .into());
        }
        let repacked = repack(
            self.repo,
            &tally,
            &plan,
            self.staging,
            self.options.until,
            self.observer,
        )?;
        self.report.is_partial |= !repacked.left.is_empty();
        repacked
            .left
            .iter()
            .for_each(|number| _ = plan.copied.remove(number));
        self.report.new_packs = repacked.packs.len() as u64;
        self.report.new_bytes = repacked.packs.values().sum();
        // The copy of a pack may have the name of a pack that an interrupted run wrote from the same
        // frames.
        rows.retain(|row| {
            !repacked.packs.contains_key(&row.name)
                && (row.reason != ListReason::Copied
                    || plan.copied.keys().any(|n| is_pack(&tally, *n, row)))
        });
        self.keep_unless_others_are_sound(&mut rows, &repacked)?;
        if rows.is_empty() {
            return Ok(());
        }
        self.give_up(&before, rows, loose, &marked)
    }

    /// Returns whether gc may delete the data of a version.
    fn is_forgotten(&self, trash: &TrashState, protected: &BTreeSet<Id>, id: &Id) -> bool {
        let until = self
            .options
            .time
            .secs
            .saturating_sub_unsigned(self.options.keep_trash.as_secs());
        let is_due = |mention: &TrashMention| {
            mention.time <= until || self.options.at_once.contains(id) || self.gone.contains(id)
        };
        !protected.contains(id) && trash.mention(id).is_some_and(is_due)
    }

    /// Returns the versions in the trash of which data is missing: those that an earlier gc with a
    /// shorter `keep_trash` has collected, and those that were copied without data.
    fn versions_gone(
        &self,
        before: &GcState,
        trash: &TrashState,
        roots: &Roots,
    ) -> Result<HashSet<Id>> {
        let until = self
            .options
            .time
            .secs
            .saturating_sub_unsigned(self.options.keep_trash.as_secs());
        let may_be_gone = |(id, mention): &(&Id, &TrashMention)| {
            let is_suspect = mention.is_without_data() || mention.time <= before.dead_time;
            is_suspect && mention.time > until && !roots.tips.contains(id)
        };
        let suspects: Vec<Id> = trash
            .forgotten()
            .filter(may_be_gone)
            .map(|(id, _)| *id)
            .collect();
        Ok(self
            .repo
            .versions_without_data(&suspects, CopyDemand::Exists)?
            .into_iter()
            .collect())
    }

    /// Returns the error for objects without a copy: [`GcError::Raced`] if the gc log has moved,
    /// because another gc may have collected them.
    fn missing(&self, before: &GcState, count: u64) -> Result<crate::error::Error> {
        let now = self.repo.read_gc_log_to_void()?;
        Ok(if now.number == before.number {
            GcError::Missing { count }.into()
        } else {
            GcError::Raced.into()
        })
    }

    /// Lists all packs that exist, with their lengths if the listing has them.
    fn packs_there(&self) -> Result<Vec<(PackName, u64)>> {
        let store = self.repo.store();
        let mut all = Vec::new();
        for folder in store
            .list(layout::PACKS)?
            .into_iter()
            .filter(|listed| listed.is_dir)
        {
            for listed in store.list(&format!("{}/{}", layout::PACKS, folder.name))? {
                let mut name = PackName::default();
                if parse_hex(&listed.name, &mut name).is_some() {
                    all.push((name, listed.len));
                }
            }
        }
        Ok(all)
    }

    /// Decides what to do with each pack. Returns the plan, and its rows for the gc log.
    fn decide(
        &mut self,
        before: &GcState,
        tally: &Tally<'_>,
        there: &[(PackName, u64)],
    ) -> Result<(Vec<ListedPack>, Plan)> {
        let known = self.first_seen(before, tally, there)?;
        let until = self
            .options
            .time
            .secs
            .saturating_sub_unsigned(self.options.grace.as_secs());
        let is_due = |name: &PackName| known.get(name).is_none_or(|since| *since <= until);
        let plan = plan::plan(self.repo, tally, &self.options.limits, &|pack| {
            is_due(&pack.name)
        })?;
        let mut rows = Vec::new();
        for (numbers, reason) in [
            (plan.dropped.iter().collect::<Vec<_>>(), ListReason::Unused),
            (plan.copied.keys().collect(), ListReason::Copied),
        ] {
            for pack in numbers
                .into_iter()
                .filter_map(|number| tally.packs.get(*number as usize))
            {
                rows.push(ListedPack {
                    name: pack.name,
                    size_bytes: pack.file_bytes,
                    kind: pack.kind,
                    reason,
                    since: 0,
                });
            }
        }
        let named = tally.names();
        for (name, bytes) in there
            .iter()
            .filter(|(name, _)| !named.contains(name) && !before.is_dead(name))
        {
            if is_due(name) {
                let row = ListedPack {
                    name: *name,
                    size_bytes: *bytes,
                    kind: PackKind::Data,
                    reason: ListReason::Orphan,
                    since: 0,
                };
                rows.push(row);
            }
        }
        for (name, bytes) in self.unneeded(before, tally, there) {
            if !is_due(&name) {
                self.report.waiting_packs += 1;
                self.report.waiting_bytes += bytes;
                let due = known
                    .get(&name)
                    .map(|since| since.saturating_add_unsigned(self.options.grace.as_secs()));
                self.report.waiting_until = self.report.waiting_until.min(due).or(due);
            }
        }
        rows.sort_unstable_by_key(|row| row.name);
        let of = |reason| {
            rows.iter()
                .filter(move |row: &&ListedPack| (row.reason == ListReason::Copied) == reason)
        };
        self.report.dropped_packs = of(false).count() as u64;
        self.report.dropped_bytes = of(false).map(|row| row.size_bytes).sum();
        self.report.copied_packs = of(true).count() as u64;
        self.report.copied_bytes = plan.copied_bytes;
        self.report.unused_bytes = plan.unused_bytes;
        let given_up: BTreeSet<u32> = plan.given_up().collect();
        let kept = (0u32..)
            .zip(&tally.packs)
            .filter(|(number, _)| !given_up.contains(number));
        self.report.kept_bytes = kept.map(|(_, pack)| pack.file_bytes).sum();
        Ok((rows, plan))
    }

    /// Returns the packs that nothing needs: those without a needed row, and those that no segment
    /// names.
    fn unneeded(
        &self,
        before: &GcState,
        tally: &Tally<'_>,
        there: &[(PackName, u64)],
    ) -> Vec<(PackName, u64)> {
        let named = tally.names();
        let unused = tally
            .packs
            .iter()
            .filter(|pack| pack.needed_rows == 0 && pack.base_frames == 0);
        let orphans = there
            .iter()
            .filter(|(name, _)| !named.contains(name) && !before.is_dead(name))
            .copied();
        unused
            .map(|pack| (pack.name, pack.file_bytes))
            .chain(orphans)
            .collect()
    }

    /// Returns when each unneeded pack was first known as such, in seconds since 1970. Records new
    /// ones, unless this is a dry run. Without a grace period, returns nothing.
    fn first_seen(
        &self,
        before: &GcState,
        tally: &Tally<'_>,
        there: &[(PackName, u64)],
    ) -> Result<HashMap<PackName, i64>> {
        let unneeded: Vec<PackName> = self
            .unneeded(before, tally, there)
            .into_iter()
            .map(|pack| pack.0)
            .collect();
        if self.options.grace.is_zero() {
            return Ok(HashMap::new());
        }
        let catalogue = self.repo.catalogue()?;
        Ok(match self.options.dry_run {
            true => catalogue.unused_packs(&unneeded, self.options.time.secs)?,
            false => catalogue.see_unused_packs(&unneeded, self.options.time.secs)?,
        })
    }

    /// Removes the packs from the plan that must stay because of unreadable copies, see
    /// [`Kept::packs_with_damaged_twins`].
    fn keep_unless_others_are_sound(
        &self,
        rows: &mut Vec<ListedPack>,
        repacked: &Repacked,
    ) -> Result<()> {
        let is_new = |pack: &PackName| repacked.packs.contains_key(pack);
        // A pack that leaves the plan stays, so its own copies must be read too.
        loop {
            let planned: HashSet<PackName> = rows.iter().map(|row| row.name).collect();
            let kept = Kept::new(self.repo, &planned, &is_new);
            let damaged = kept.packs_with_damaged_twins(
                rows.iter().filter(|row| row.reason != ListReason::Orphan),
            )?;
            if damaged.is_empty() {
                return Ok(());
            }
            rows.retain(|row| !damaged.contains(&row.name));
        }
    }

    /// Gives up the packs of a plan: writes the plan, fences all logs, spares packs that are needed
    /// after all, and writes the dead entry.
    fn give_up(
        &mut self,
        before: &GcState,
        rows: Vec<ListedPack>,
        loose: &LooseRoots<'_>,
        marked: &Marked,
    ) -> Result<()> {
        let log = GcLog::new(self.repo.store());
        let number = before.number.checked_add(1).ok_or(GcError::Raced)?;
        self.observer.step("gc plan");
        if log.append(self.entry(number, GcStep::Plan)?, &rows, self.staging)? == Appended::Lost {
            return Err(GcError::Raced.into());
        }
        self.observer.step("gc planned");
        self.fence(number)?;
        std::thread::sleep(self.options.settle);
        let planned: HashMap<PackName, ListedPack> =
            rows.into_iter().map(|row| (row.name, row)).collect();
        let spared = self.spare(before, &planned, loose, marked)?;
        let since = u64::try_from(clock::now().secs).unwrap_or(0);
        let mut dead: BTreeMap<PackName, ListedPack> =
            before.dead.iter().map(|row| (row.name, row)).collect();
        dead.extend(
            planned
                .into_iter()
                .filter(|(name, _)| !spared.contains(name))
                .map(|(name, row)| (name, ListedPack { since, ..row })),
        );
        let dead: Vec<ListedPack> = dead.into_values().collect();
        self.observer.step("gc dead");
        let next = number.checked_add(1).ok_or(GcError::Raced)?;
        // If every pack is spared and none is dead, a plan without packs cancels the plan.
        let step = if dead.is_empty() {
            GcStep::Plan
        } else {
            GcStep::Dead
        };
        if log.append(self.entry(next, step)?, &dead, self.staging)? == Appended::Lost {
            return Err(GcError::Raced.into());
        }
        self.observer.step("gc given up");
        self.repo.read_gc_log_to_void()?;
        log.fold()
    }

    fn entry(&self, seq: u64, what: GcStep) -> Result<GcEntry> {
        Ok(GcEntry {
            seq,
            kind: GC_KIND.to_owned(),
            update: random_hex()?,
            time: self.options.time.secs,
            nanos: self.options.time.nanos,
            who: self.options.who.clone(),
            what,
            list: None,
            count: 0,
            bytes: 0,
            why: "gc".to_owned(),
        })
    }

    /// Appends an entry that repeats the value to every log of refs and to the trash log, so that a
    /// writer that read the gc log before the plan loses its next append.
    fn fence(&self, number: u64) -> Result<()> {
        let why = format!("gc: fence {number}");
        let refs = self.repo.refs();
        let mut logs = Vec::new();
        for kind in RefKind::STORED {
            logs.extend(refs.all_names(kind)?.into_iter().map(|name| (kind, name)));
        }
        self.observer.step("gc fence");
        fan_out::for_each(FENCES.min(logs.len()), logs.into_iter(), |(kind, name)| {
            if self.observer.cancelled() {
                return Err(Cancelled.into());
            }
            refs.fence(kind, &name, &self.how(&why))
        })?;
        TrashLog::new(self.repo.store()).fence(&self.how(&why))?;
        self.observer.step("gc fenced");
        Ok(())
    }

    /// Returns the packs of the plan that are needed by versions which became visible after the
    /// mark.
    fn spare(
        &mut self,
        before: &GcState,
        planned: &HashMap<PackName, ListedPack>,
        loose: &LooseRoots<'_>,
        marked: &Marked,
    ) -> Result<HashSet<PackName>> {
        let mut now = Roots::read(self.repo, self.options.keep_log, self.options.time, loose)?;
        let trash = TrashLog::new(self.repo.store()).read()?;
        self.repo.refresh_index()?;
        now.leave_out_collected(self.repo, before, &trash)?;
        // A writer may have entered a version again that it found without data.
        let gone = self.versions_gone(before, &trash, &now)?;
        self.gone.extend(gone);
        let is_forgotten = |id: &Id| self.is_forgotten(&trash, &now.tips, id);
        let names: HashSet<PackName> = planned.keys().copied().collect();
        let kept = Kept::new(self.repo, &names, &|_| false);
        let walk = FreshWalk::new(self.repo, &kept, marked, self.observer);
        let spared = match walk.run(&now, &is_forgotten) {
            Err(e) if e.kind() == Kind::Integrity => {
                let now = self.repo.read_gc_log_to_void()?;
                return Err(if now.number == before.number + 1 {
                    e
                } else {
                    GcError::Raced.into()
                });
            }
            spared => spared?,
        };
        kept.with_unsound_twins(spared)
    }

    /// Deletes packs that have been dead for at least the grace period, and index segments that
    /// other segments replace. Any process may call this at any time, and repeatedly.
    fn delete_due(&mut self) -> Result<()> {
        let state = self.repo.read_gc_log_to_void()?;
        let until = self
            .options
            .time
            .secs
            .saturating_sub_unsigned(self.options.grace.as_secs());
        let is_due = |row: &ListedPack| {
            i64::try_from(row.since).unwrap_or(i64::MAX) <= until || self.options.grace.is_zero()
        };
        let packs = self.packs_there()?;
        let there: HashSet<PackName> = packs.iter().map(|pack| pack.0).collect();
        let due: Vec<(PackName, u64)> = packs
            .into_iter()
            .filter(|(name, _)| state.dead.find(name).is_some_and(|row| is_due(&row)))
            .collect();
        if self.options.dry_run {
            self.report.deleted_packs = due.len() as u64;
            self.report.deleted_bytes = due.iter().map(|pack| pack.1).sum();
            return Ok(());
        }
        // Rows of packs that an earlier run has deleted come back if another process merged the
        // segments meanwhile.
        let due_names: HashSet<PackName> = due.iter().map(|pack| pack.0).collect();
        let is_gone = |name: &PackName| {
            state.is_dead(name) && (due_names.contains(name) || !there.contains(name))
        };
        let merge =
            || super::segments::merge(self.repo, &state, &is_gone, self.staging, self.observer);
        // Readers leave out rows of dead packs, so on a full disk the packs may go first.
        let merged = match merge() {
            Err(e) if e.kind() == Kind::NoSpace && !due.is_empty() => None,
            merged => Some(merged?),
        };
        let keys: Vec<String> = due.iter().map(|(name, _)| layout::pack(name)).collect();
        self.observer.step("gc delete");
        let failed = self.repo.store().delete_many(&keys)?;
        self.observer.step("gc deleted");
        let segments = match merged {
            Some(segments) => segments,
            None => merge()?,
        };
        self.report.deleted_segments += segments.deleted;
        self.report.undeleted += segments.undeleted;
        self.report.undeleted += failed as u64;
        self.report.deleted_packs += (due.len() - failed.min(due.len())) as u64;
        self.report.deleted_bytes += due.iter().map(|pack| pack.1).sum::<u64>();
        Ok(())
    }

    fn count_dead(&mut self) -> Result<()> {
        let state = self.repo.read_gc_log_to_void()?;
        for (name, bytes) in self.packs_there()? {
            let Some(row) = state.dead.find(&name) else {
                continue;
            };
            self.report.dead_packs += 1;
            self.report.dead_bytes += bytes;
            let due = i64::try_from(row.since)
                .ok()
                .map(|since| since.saturating_add_unsigned(self.options.grace.as_secs()));
            self.report.dead_until = self.report.dead_until.min(due).or(due);
        }
        Ok(())
    }
}

fn is_pack(tally: &Tally<'_>, number: u32, row: &ListedPack) -> bool {
    tally
        .packs
        .get(number as usize)
        .is_some_and(|pack| pack.name == row.name)
}
