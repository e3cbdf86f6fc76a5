//! Garbage collection: mark, plan, repack, fence, mark packs as dead, delete. Other processes may
//! commit, push, mount or read at the same time, and any process may stop at any step.
//!
//! The order of the steps is the protocol of `docs/format.md` that `tests/model` checks. A pack is
//! deleted only if a dead entry of the gc log lists it, and an index segment only if other segments
//! replace it.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::Path;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::ahead;
use super::deletion::{Deletion, StoredPack, packs_there};
use super::fresh::{FreshWalk, Kept};
use super::mark::{self, Marked};
use super::options::{GcOptions, GcReport};
use super::plan::{self, Plan};
use super::reflogs::RefLogs;
use super::repack::{Repacked, repack};
use super::roots::{LooseRoots, Roots};
use super::tally::Tally;
use super::twins::Twins;
use crate::error::{Error, Failure, Kind, Result, with_causes};
use crate::format::gclog::{GC_KIND, GcEntry, GcStep};
use crate::format::pack::PackKind;
use crate::format::packlist::{ListReason, ListedPack};
use crate::format::segment::PackName;
use crate::model::id::Id;
use crate::model::text;
use crate::observe::{Notice, NoticeLevel, Observer};
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

/// Limit on the packs whose age a run requests from the store.
const AGES_MAX: usize = 1000;
/// Interval at which a wait checks for cancellation.
const TICK: Duration = Duration::from_millis(100);

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
                "run `dvc gc -n` to see what would be deleted, then `dvc gc -y`".to_owned()
            }
            Self::Raced => "run the command again when the other garbage collection has finished".to_owned(),
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
        logs: RefLogs::default(),
        trash: TrashLog::new(repo.store()),
        packs: Vec::new(),
        gone: HashSet::new(),
        report: GcReport::default(),
    };
    if !options.dry_run {
        super::leftovers::remove(staging);
    }
    if gc.run(loose)? {
        let state = repo.read_gc_log_to_void()?;
        gc.delete_due(&state)?;
    }
    let (state, packs) = (repo.gc_state(), std::mem::take(&mut gc.packs));
    let mut report = std::mem::take(&mut gc.report);
    gc.deletion().count_dead(&state, &packs, &mut report);
    Ok(report)
}

struct Gc<'g> {
    repo: &'g Repo,
    options: &'g GcOptions,
    staging: &'g LocalStore,
    observer: &'g dyn Observer,
    logs: RefLogs,
    trash: TrashLog<'g>,
    /// The packs that exist, listed after the roots were read.
    packs: Vec<StoredPack>,
    /// Versions in the trash that lack data, see [`Self::versions_gone`].
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

    fn deletion(&self) -> Deletion<'_> {
        Deletion {
            repo: self.repo,
            options: self.options,
            staging: self.staging,
            observer: self.observer,
        }
    }

    fn delete_due(&mut self, state: &GcState) -> Result<()> {
        let mut report = std::mem::take(&mut self.report);
        let mut packs = std::mem::take(&mut self.packs);
        let deleted = self.deletion().run(state, &mut packs, &mut report);
        (self.report, self.packs) = (report, packs);
        deleted
    }

    fn roots(&self, loose: &LooseRoots<'_>) -> Result<Roots> {
        let GcOptions {
            keep_log,
            purged_until,
            time,
            ..
        } = *self.options;
        Roots::read(self.repo, &self.logs, keep_log, purged_until, time, loose)
    }

    /// Runs all steps before the final deletion. Returns whether anything changed.
    fn run(&mut self, loose: &LooseRoots<'_>) -> Result<bool> {
        // The log comes first, then the refs: a number that was taken since then shows that another
        // gc ran. Packs are listed before the index is read, so that the pack of a new segment
        // never looks unneeded.
        let before = self.repo.read_gc_log_to_void()?;
        let mut roots = self.roots(loose)?;
        let trash = self.trash.read()?;
        self.packs = packs_there(self.repo)?;
        let packs = self.packs.clone();
        self.repo.refresh_index()?;
        let damaged = self.repo.index()?.damaged().len() as u64;
        if damaged > 0 {
            return Err(GcError::DamagedIndex { count: damaged }.into());
        }
        ahead::nodes(self.repo)?;
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
        self.delete_due(&before)?;
        let (mut rows, mut plan) = self.decide(&before, &tally, &packs)?;
        if self.options.dry_run {
            return Ok(false);
        }
        // The tally leaves out dead packs, which do not count as data.
        let all: u64 = tally.packs.iter().map(|pack| pack.file_bytes).sum();
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
        let left = repacked.left.iter();
        let left_bytes: u64 = left
            .filter_map(|number| Some(tally.packs.get(usize::try_from(*number).ok()?)?.file_bytes))
            .sum();
        self.report.kept_bytes += self.report.new_bytes + left_bytes;
        self.name_left(&repacked);
        // The copy of a pack may have the name of a pack that an interrupted run wrote from the same
        // frames.
        rows.retain(|row| {
            !repacked.packs.contains_key(&row.name)
                && (row.reason != ListReason::Copied
                    || plan.copied.keys().any(|n| is_pack(&tally, *n, row)))
        });
        self.keep_unless_others_are_sound(&mut rows, &repacked)?;
        if rows.is_empty() {
            return Ok(!repacked.packs.is_empty());
        }
        self.give_up(&before, rows, loose, &marked)?;
        Ok(true)
    }

    /// Reports why packs were not copied.
    fn name_left(&self, repacked: &Repacked) {
        let notice = |message| {
            self.observer.notice(Notice {
                level: NoticeLevel::Incomplete,
                path: Vec::new(),
                message,
            });
        };
        if repacked.damaged > 0 {
            let packs = text::count(repacked.damaged, "damaged pack");
            notice(format!(
                "{packs} cannot be copied and stay: run `dvc fsck --data`"
            ));
        }
        if repacked.left.len() as u64 > repacked.damaged {
            notice(
                "the time limit ended the run before all packs were copied: run `dvc gc` again"
                    .to_owned(),
            );
        }
    }

    /// Returns whether gc may delete the data of a version.
    fn is_forgotten(&self, trash: &TrashState, protected: &BTreeSet<Id>, id: &Id) -> bool {
        let until = self
            .options
            .time
            .secs
            .saturating_sub_unsigned(self.options.keep_trash.as_secs());
        let is_due = |mention: &TrashMention| {
            mention.time <= until
                || mention.skips_trash()
                || self.options.at_once.contains(id)
                || self.gone.contains(id)
        };
        !protected.contains(id) && trash.mention(id).is_some_and(is_due)
    }

    /// Returns the versions in the trash that lack data: those that an earlier gc with a shorter
    /// `keep_trash` has collected, and those that were copied without data.
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
    fn missing(&self, before: &GcState, count: u64) -> Result<Error> {
        let now = self.repo.read_gc_log_to_void()?;
        Ok(if now.number == before.number {
            GcError::Missing { count }.into()
        } else {
            GcError::Raced.into()
        })
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

    /// Returns when each unneeded pack was first seen as unneeded, in seconds since 1970. Records
    /// new ones, unless this is a dry run. Without a grace period, returns nothing.
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
        let mut seen = match self.options.dry_run {
            true => catalogue.unused_packs(&unneeded, self.options.time.secs)?,
            false => catalogue.see_unused_packs(&unneeded, self.options.time.secs)?,
        };
        // A gc in a container may have no record, so the age of a pack on the remote counts too.
        if self.repo.remote_store().is_some() {
            let grace = self.options.grace;
            let until = self
                .options
                .time
                .secs
                .saturating_sub_unsigned(grace.as_secs());
            let young = unneeded
                .iter()
                .filter(|name| seen.get(*name).is_none_or(|since| *since > until));
            let old = self.packs_older_than(young.copied().take(AGES_MAX).collect(), grace)?;
            seen.extend(old.into_iter().map(|name| (name, until)));
        }
        Ok(seen)
    }

    /// Returns the packs that have been at the store for at least `age`, by the clock of the store.
    fn packs_older_than(&self, packs: Vec<PackName>, age: Duration) -> Result<Vec<PackName>> {
        let store = self.repo.store();
        let old = Mutex::new(Vec::new());
        let threads = store.abilities().in_flight.min(packs.len());
        fan_out::for_each(threads, packs.into_iter(), |name| {
            if store
                .age(&layout::pack(&name))?
                .is_some_and(|there| there >= age)
            {
                old.lock().push(name);
            }
            Ok::<_, Error>(())
        })?;
        Ok(old.into_inner())
    }

    /// Removes from the plan the packs that must stay because another copy is unreadable, see
    /// [`Twins::keep_unless_sound`].
    fn keep_unless_others_are_sound(
        &self,
        rows: &mut Vec<ListedPack>,
        repacked: &Repacked,
    ) -> Result<()> {
        let is_new = |pack: &PackName| repacked.packs.contains_key(pack);
        let of_index = rows.iter().filter(|row| row.reason != ListReason::Orphan);
        let mut planned: HashSet<PackName> = of_index.map(|row| row.name).collect();
        let twins = Twins::find(self.repo, &planned, &is_new)?;
        twins.keep_unless_sound(&mut planned)?;
        rows.retain(|row| row.reason == ListReason::Orphan || planned.contains(&row.name));
        Ok(())
    }

    /// Marks the packs of a plan as dead: writes the plan, fences all logs, spares packs that turn
    /// out to be needed, and writes the dead entry.
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
        self.wait(self.options.settle)?;
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
        match log.fold() {
            // Entries that this user is not allowed to remove do no harm.
            Err(e) if e.kind() == Kind::Denied => {
                self.report.undeleted += 1;
                let because = &mut self.report.undeleted_because;
                because.get_or_insert_with(|| with_causes(e.as_error()));
                Ok(())
            }
            folded => folded,
        }
    }

    fn ensure_not_cancelled(&self) -> Result<()> {
        if self.observer.cancelled() {
            return Err(Cancelled.into());
        }
        Ok(())
    }

    fn wait(&self, time: Duration) -> Result<()> {
        let until = Instant::now() + time;
        loop {
            self.ensure_not_cancelled()?;
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(TICK));
        }
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

    /// Appends a fence to the log of every ref and to the trash log, so that the next append of a
    /// writer that read the gc log before the plan loses the race.
    fn fence(&self, number: u64) -> Result<()> {
        let why = format!("gc: fence {number}");
        self.observer.step("gc fence");
        self.logs
            .fence(self.repo, &self.how(&why), &|| self.ensure_not_cancelled())?;
        self.trash.fence(&self.how(&why))?;
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
        let mut now = self.roots(loose)?;
        let trash = self.trash.read()?;
        self.repo.refresh_index()?;
        now.leave_out_collected(self.repo, before, &trash)?;
        // A writer that found a version without data may have added it to the trash log again.
        let gone = self.versions_gone(before, &trash, &now)?;
        self.gone.extend(gone);
        let is_forgotten = |id: &Id| self.is_forgotten(&trash, &now.tips, id);
        let names: HashSet<PackName> = planned.keys().copied().collect();
        let kept = Kept::new(self.repo, &names);
        let walk = FreshWalk::new(self.repo, &kept, marked, self.observer);
        let mut spared = match walk.run(&now, &is_forgotten) {
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
        if !spared.is_empty() {
            let twins = Twins::find(self.repo, &names, &|_| false)?;
            twins.spare_unsound(&names, &mut spared)?;
        }
        Ok(spared)
    }
}

fn is_pack(tally: &Tally<'_>, number: u32, row: &ListedPack) -> bool {
    tally
        .packs
        .get(number as usize)
        .is_some_and(|pack| pack.name == row.name)
}
