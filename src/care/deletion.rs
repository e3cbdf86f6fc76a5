//! The last step of a gc: deletes dead packs, and index segments that others replace. Any process
//! may do this at any time, any number of times.

use std::collections::HashSet;

use super::options::{GcOptions, GcReport};
use super::segments::{self, SegmentsMerged};
use crate::error::{Kind, Result};
use crate::format::packlist::ListedPack;
use crate::format::segment::PackName;
use crate::model::id::parse_hex;
use crate::observe::Observer;
use crate::repo::gclog::GcState;
use crate::repo::{Repo, layout};
use crate::store::local::LocalStore;

/// A pack that exists, with its length if the listing has it.
pub(super) type StoredPack = (PackName, u64);

/// Lists all packs that exist.
pub(super) fn packs_there(repo: &Repo) -> Result<Vec<StoredPack>> {
    let mut all = Vec::new();
    for object in repo.store().list_objects(layout::PACKS)? {
        let mut name = PackName::default();
        let is_pack = object
            .key
            .rsplit('/')
            .next()
            .is_some_and(|hex| parse_hex(hex, &mut name).is_some());
        if is_pack && layout::pack(&name) == object.key {
            all.push((name, object.len));
        }
    }
    Ok(all)
}

/// Deletes dead packs whose grace period is over.
pub(super) struct Deletion<'d> {
    pub(super) repo: &'d Repo,
    pub(super) options: &'d GcOptions,
    pub(super) staging: &'d LocalStore,
    pub(super) observer: &'d dyn Observer,
}

impl Deletion<'_> {
    /// Deletes packs that have been dead for longer than the grace period, after the segments that
    /// list them. Removes the deleted ones from `packs`, the packs that exist.
    pub(super) fn run(
        &self,
        state: &GcState,
        packs: &mut Vec<StoredPack>,
        report: &mut GcReport,
    ) -> Result<()> {
        let until = self
            .options
            .time
            .secs
            .saturating_sub_unsigned(self.options.grace.as_secs());
        let is_due = |row: &ListedPack| {
            i64::try_from(row.since).unwrap_or(i64::MAX) <= until || self.options.grace.is_zero()
        };
        let there: HashSet<PackName> = packs.iter().map(|pack| pack.0).collect();
        let due: Vec<StoredPack> = packs
            .iter()
            .filter(|(name, _)| state.dead.find(name).is_some_and(|row| is_due(&row)))
            .copied()
            .collect();
        let bytes = |state: &GcState, (name, listed): &StoredPack| {
            let row = state.dead.find(name);
            row.map_or(*listed, |row| row.size_bytes.max(*listed))
        };
        if self.options.dry_run {
            report.deleted_packs = due.len() as u64;
            report.deleted_bytes = due.iter().map(|pack| bytes(state, pack)).sum();
            return Ok(());
        }
        // Rows of packs that an earlier run deleted come back if another process merged the
        // segments during that run.
        let due_names: HashSet<PackName> = due.iter().map(|pack| pack.0).collect();
        let is_gone = |name: &PackName| {
            state.is_dead(name) && (due_names.contains(name) || !there.contains(name))
        };
        let merge = || segments::merge(self.repo, state, &is_gone, self.staging, self.observer);
        // Readers ignore rows of dead packs, so on a full disk the packs may be deleted first.
        let merged = match merge() {
            Err(e) if e.kind() == Kind::NoSpace && !due.is_empty() => None,
            merged => Some(merged?),
        };
        let note = |report: &mut GcReport, segments: &SegmentsMerged| {
            report.deleted_segments += segments.deleted;
            report.note(&segments.removal);
        };
        merged.iter().for_each(|segments| note(report, segments));
        if due.is_empty() {
            return Ok(());
        }
        let keys: Vec<String> = due.iter().map(|(name, _)| layout::pack(name)).collect();
        self.observer.step("gc delete");
        let removal = self.repo.store().delete_many(&keys)?;
        self.observer.step("gc deleted");
        if merged.is_none() {
            note(report, &merge()?);
        }
        report.note(&removal);
        report.deferred_packs += removal.deferred as u64;
        report.deleted_packs += (due.len() - removal.refused.min(due.len())) as u64;
        if removal.refused == 0 {
            report.deleted_bytes += due.iter().map(|pack| bytes(state, pack)).sum::<u64>();
            packs.retain(|pack| !due_names.contains(&pack.0));
        } else {
            let before = std::mem::replace(packs, packs_there(self.repo)?);
            let left: HashSet<PackName> = packs.iter().map(|pack| pack.0).collect();
            let gone = before.iter().filter(|pack| !left.contains(&pack.0));
            report.deleted_bytes += gone.map(|pack| bytes(state, pack)).sum::<u64>();
        }
        Ok(())
    }

    /// Counts the dead packs that still exist.
    pub(super) fn count_dead(&self, state: &GcState, packs: &[StoredPack], report: &mut GcReport) {
        for (name, bytes) in packs {
            let Some(row) = state.dead.find(name) else {
                continue;
            };
            report.dead_packs += 1;
            report.dead_bytes += bytes;
            let due = i64::try_from(row.since)
                .ok()
                .map(|since| since.saturating_add_unsigned(self.options.grace.as_secs()));
            report.dead_until = report.dead_until.min(due).or(due);
        }
    }
}
