//! Measures how many bytes of the packs the versions of a repository need, and why. Walks the trees
//! of all versions, and reads the index once.
//!
//! An object that several groups of versions need counts for the first of them. The bytes of a pack
//! are divided by the uncompressed lengths of its objects.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::time::Duration;

use super::deletion::packs_there;
use super::mark::{Walk, versions, visited_set};
use super::reflogs::RefLogs;
use super::roots::{LooseRoot, Roots};
use super::runs::PrefixSets;
use super::tally::Cursor;
use crate::error::{Kind, Result};
use crate::format::frame::CODEC_DELTA;
use crate::format::pack::PackKind;
use crate::format::segment::{IndexRow, PackName};
use crate::index::merged_rows::MergedRows;
use crate::model::entry::Time;
use crate::model::id::Id;
use crate::observe::Observer;
use crate::repo::Repo;
use crate::repo::gclog::GcState;
use crate::repo::trashlog::TrashMention;

/// Number of groups: see [`RepositoryUsage`].
const GROUPS: usize = 4;

/// How long a collector keeps data that branches and tags do not need any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeptTimes {
    pub grace: Duration,
    pub keep_trash: Duration,
    pub keep_log: Duration,
    pub now: Time,
}

/// Versions that need data for the same reason, and the data that no earlier group needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GroupUse {
    pub versions: u64,
    pub bytes: u64,
    /// When the first of the versions stops being kept for this reason, in seconds since 1970.
    pub until: Option<i64>,
}

/// Packs in the same state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PacksUse {
    pub packs: u64,
    pub bytes: u64,
    /// When the first of them reaches the next state, in seconds since 1970.
    pub until: Option<i64>,
}

impl PacksUse {
    fn add(&mut self, bytes: u64, until: Option<i64>) {
        self.packs += 1;
        self.bytes += bytes;
        self.until = self.until.min(until).or(self.until).or(until);
    }
}

/// The use of all packs. The bytes of all fields but `planned` add up to the bytes of all packs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RepositoryUsage {
    /// Versions of branches and tags.
    pub live: GroupUse,
    /// Versions that a branch or tag named recently.
    pub log: GroupUse,
    /// Versions in the trash.
    pub trash: GroupUse,
    /// Versions that only worktrees, overlays, mounts or leases need.
    pub held: GroupUse,
    /// Data that nothing needs, in packs that also have needed data.
    pub unused_bytes: u64,
    /// Packs that nothing needs and that are not dead yet.
    pub unneeded: PacksUse,
    /// Packs of interrupted commands, which no index segment names.
    pub orphans: PacksUse,
    /// Dead packs that are not deleted yet.
    pub dead: PacksUse,
    /// Packs of an unfinished plan. They are also part of another field.
    pub planned: PacksUse,
    /// All packs.
    pub packs: PacksUse,
    /// Whether a collector has recorded since when packs are unneeded.
    pub has_record: bool,
    /// Whether some objects could not be read, so that the numbers are too small.
    pub is_incomplete: bool,
}

/// Measures the use of all packs. `held` are the roots that have no log; temporary files are in
/// `dir`.
pub fn measure(
    repo: &Repo,
    held: Vec<LooseRoot>,
    times: &KeptTimes,
    dir: &Path,
    observer: &dyn Observer,
) -> Result<RepositoryUsage> {
    let state = repo.read_gc_log()?;
    let mut roots = Roots::read(
        repo,
        &RefLogs::default(),
        times.keep_log,
        None,
        times.now,
        &|| Ok(held.clone()),
    )?;
    let trash = repo.forgotten()?;
    let mut usage = RepositoryUsage::default();
    match roots.leave_out_collected(repo, &state, &trash) {
        // Damage ends a collection, but not a report.
        Err(e) if e.kind() == Kind::Integrity => usage.is_incomplete = true,
        done => done?,
    }
    let packs: HashMap<PackName, u64> = packs_there(repo)?.into_iter().collect();
    repo.refresh_index()?;
    let trash_since = since(times.now, times.keep_trash);
    let is_kept = |mention: &TrashMention| {
        mention.time > trash_since && !mention.skips_trash() && !mention.is_without_data()
    };
    let is_forgotten = |id: &Id| trash.contains(id) && !roots.tips.contains(id);

    let visited = visited_set(repo)?;
    let mut seen = HashSet::new();
    let mut sets: Vec<PrefixSets> = Vec::with_capacity(GROUPS);
    let mut add = |group: super::mark::Versions, is_strict: bool| -> Result<u64> {
        let count = group.trees.len() as u64;
        observer.phase("measuring", Some(count), None);
        let mut walk = Walk::lenient(repo, observer, &visited, dir);
        walk.run(group)?;
        usage.is_incomplete |= is_strict && walk.has_failed();
        sets.push(walk.finish()?);
        Ok(count)
    };
    let tips: Vec<Id> = roots.tips.iter().copied().collect();
    let live = add(
        versions(repo, &tips, &is_forgotten, &mut seen, false)?,
        true,
    )?;
    // Previous values that are ancestors of a tip are live.
    let log_until = roots
        .logged
        .iter()
        .filter(|(id, _)| !seen.contains(id))
        .map(|(_, until)| *until)
        .min();
    let log = versions(repo, &roots.refs, &is_forgotten, &mut seen, false)?;
    let log = add(log, false)?;
    let mut until = None;
    let mut in_trash = Vec::new();
    for (id, mention) in trash
        .forgotten()
        .filter(|(id, mention)| seen.contains(id) && is_forgotten(id) && is_kept(mention))
    {
        // An earlier collector with a shorter time may have deleted the data.
        let tree = repo.commit_cached(id)?.tree;
        if repo.live_copy(PackKind::Tree, &tree)?.is_none() {
            continue;
        }
        in_trash.push(*id);
        let end = mention
            .time
            .saturating_add_unsigned(times.keep_trash.as_secs());
        until = Some(until.map_or(end, |other: i64| other.min(end)));
    }
    let in_trash = versions(repo, &in_trash, &|_| false, &mut HashSet::new(), true)?;
    let in_trash = add(in_trash, false)?;
    let mut kept = super::mark::Versions::default();
    let mut held_versions = HashSet::new();
    for root in &held {
        if let Ok(found) = versions(repo, &[root.id], &|_| false, &mut HashSet::new(), true) {
            kept.commits.extend(found.commits);
            kept.trees.extend(found.trees);
            kept.trees
                .extend(root.trees.iter().map(|tree| (root.id, *tree)));
            held_versions.insert(root.id);
        }
    }
    add(kept, false)?;
    usage.live.versions = live;
    usage.log = GroupUse {
        versions: log,
        until: log_until,
        ..GroupUse::default()
    };
    usage.trash = GroupUse {
        versions: in_trash,
        until,
        ..GroupUse::default()
    };
    usage.held.versions = held_versions.len() as u64;
    count(repo, &state, &packs, &sets, times, &mut usage)?;
    Ok(usage)
}

fn since(now: Time, kept: Duration) -> i64 {
    now.secs.saturating_sub_unsigned(kept.as_secs())
}

/// The objects of one pack by uncompressed length.
#[derive(Default)]
struct PackShares {
    object_bytes: u64,
    /// Bytes of objects that each group needs.
    needed: [u64; GROUPS],
}

fn count(
    repo: &Repo,
    state: &GcState,
    there: &HashMap<PackName, u64>,
    sets: &[PrefixSets],
    times: &KeptTimes,
    usage: &mut RepositoryUsage,
) -> Result<()> {
    let mut shares: HashMap<PackName, PackShares> = HashMap::new();
    for kind in PackKind::ALL {
        for segment in repo.index()?.segments(kind) {
            for pack in segment.packs() {
                if there.contains_key(&pack.name) && !state.is_dead(&pack.name) {
                    shares.entry(pack.name).or_default();
                }
            }
        }
        share(repo, kind, sets, &mut shares)?;
    }
    let recorded = repo
        .catalogue()
        .and_then(|catalogue| Ok(catalogue.recorded_unused_packs()?))
        .unwrap_or_default();
    let grace = times.grace.as_secs();
    for (name, &bytes) in there {
        usage.packs.add(bytes, None);
        if state.planned.find(name).is_some() {
            usage.planned.add(bytes, None);
        }
        if let Some(row) = state.dead.find(name) {
            let since = i64::try_from(row.since).unwrap_or(i64::MAX);
            usage
                .dead
                .add(bytes, Some(since.saturating_add_unsigned(grace)));
            continue;
        }
        let due = recorded
            .get(name)
            .map(|since| since.saturating_add_unsigned(grace));
        let Some(share) = shares.get(name) else {
            usage.has_record |= due.is_some();
            usage.orphans.add(bytes, due);
            continue;
        };
        let needed: u64 = share.needed.iter().sum();
        if needed == 0 {
            usage.has_record |= due.is_some();
            usage.unneeded.add(bytes, due);
            continue;
        }
        let part = |part: u64| {
            let product = u128::from(bytes) * u128::from(part);
            u64::try_from(product / u128::from(share.object_bytes.max(1))).unwrap_or(bytes)
        };
        let groups = [
            &mut usage.live,
            &mut usage.log,
            &mut usage.trash,
            &mut usage.held,
        ];
        let mut rest = bytes;
        for (group, needed) in groups.into_iter().zip(share.needed) {
            let bytes = part(needed).min(rest);
            group.bytes += bytes;
            rest -= bytes;
        }
        // Because of rounding, some bytes of a completely needed pack are left over. They do not
        // count as unused.
        if needed == share.object_bytes {
            usage.live.bytes += rest;
        } else {
            usage.unused_bytes += rest;
        }
    }
    Ok(())
}

/// Adds the rows of one kind to the packs that have the first copy of each needed object.
fn share(
    repo: &Repo,
    kind: PackKind,
    sets: &[PrefixSets],
    shares: &mut HashMap<PackName, PackShares>,
) -> Result<()> {
    let number = usize::from(kind.number());
    let mut cursors = sets
        .iter()
        .map(|sets| Cursor::new(sets, number))
        .collect::<Result<Vec<_>>>()?;
    let mut last: Option<IndexRow> = None;
    let mut counted: Option<Id> = None;
    for row in MergedRows::new(&repo.index()?.segments(kind))? {
        let row = row?;
        if last.replace(row) == Some(row) {
            continue;
        }
        let is_copy = row.place.codec != CODEC_DELTA
            || row.base.is_some_and(|base| shares.contains_key(&base.pack));
        let Some(share) = shares.get_mut(&row.place.pack) else {
            continue;
        };
        share.object_bytes += u64::from(row.place.len);
        let prefix = row.id.prefix();
        let mut group = None;
        for (n, cursor) in cursors.iter_mut().enumerate() {
            // Advance every cursor, even after one has found the prefix.
            if cursor.reach(prefix)? && group.is_none() {
                group = Some(n);
            }
        }
        if is_copy
            && counted != Some(row.id)
            && let Some(needed) = group.and_then(|group| share.needed.get_mut(group))
        {
            *needed += u64::from(row.place.len);
            counted = Some(row.id);
        }
    }
    Ok(())
}
