//! Restores versions from the trash.

use super::error::ForgetError;
use super::lines::BranchLines;
use super::target::{Target, directory_of};
use crate::context::Context;
use crate::error::Result;
use crate::format::trashlog::TrashEntry;
use crate::model::id::Id;
use crate::model::revision::RevisionQuery;
use crate::observe::Observer;
use crate::query::forgotten::forgotten_error;
use crate::query::history::HistoryWalk;
use crate::query::resolve::Resolver;
use crate::repo::Repo;
use crate::repo::trashlog::{FORGET_NOW, TrashLog, TrashState};
use crate::repo::whole::CopyDemand;

/// Prefix of the reasons of entries that `forget` writes.
const FORGET: &str = "forget: ";
/// Prefix of the reasons of entries that restore versions.
const UNDO: &str = "undo: ";

/// Options of a restoration of versions.
#[derive(Clone, Debug, Default)]
pub struct RestoreOptions {
    /// The versions; those of the last forget if empty.
    pub queries: Vec<RevisionQuery>,
    pub dry_run: bool,
}

/// The result of a restoration of versions.
#[derive(Clone, Debug, Default)]
pub struct RestoreReport {
    /// The versions with their names.
    pub restored: Vec<(Id, String)>,
    /// Versions that stay forgotten, because a gc has collected their data.
    pub collected: Vec<(Id, String)>,
    /// The reason of the entry that was undone.
    pub why: String,
}

/// The last forget that is not undone.
#[derive(Clone, Debug)]
pub(in crate::ops) struct LastForget {
    pub(in crate::ops) versions: Vec<Id>,
    pub(in crate::ops) why: String,
    pub(in crate::ops) who: String,
    /// Seconds since 1970, and nanoseconds.
    pub(in crate::ops) time: (i64, u32),
}

/// Returns the last forget of which a version is still forgotten.
pub(in crate::ops) fn last_forget(repo: &Repo) -> Result<Option<LastForget>> {
    let history = TrashLog::new(repo.store()).read_entries()?;
    let is_forget = |entry: &&TrashEntry| {
        [FORGET, FORGET_NOW]
            .iter()
            .any(|start| entry.why.starts_with(start))
    };
    // Returns whether the version is still forgotten, and this entry is the last one that forgot
    // it.
    let is_last = |entry: &TrashEntry, id: &Id| {
        history
            .state
            .mention(id)
            .is_some_and(|last| last.time == entry.time && last.why == entry.why)
    };
    let mut entries = history.entries.iter().rev().filter(is_forget);
    let Some(last) = entries.find(|entry| entry.forget.iter().any(|id| is_last(entry, id))) else {
        return Ok(None);
    };
    // One command may have written several entries.
    let same = |entry: &&TrashEntry| {
        is_forget(entry)
            && (entry.time, entry.nanos, &entry.who) == (last.time, last.nanos, &last.who)
    };
    let mut versions = Vec::new();
    for entry in history.entries.iter().filter(same) {
        versions.extend(entry.forget.iter().filter(|id| is_last(entry, id)));
    }
    let (why, who) = (last.why.clone(), last.who.clone());
    Ok(Some(LastForget {
        versions,
        why,
        who,
        time: (last.time, last.nanos),
    }))
}

/// Restores versions from the trash. Fails if none of them still has its data.
pub fn restore(
    context: &Context,
    options: &RestoreOptions,
    observer: &dyn Observer,
) -> Result<RestoreReport> {
    let there = directory_of(context);
    let context = there.as_ref().unwrap_or(context);
    let target = Target::open(context, !options.dry_run)?;
    let repo = &target.repo;
    let trash = repo.forgotten()?;
    let mut lines = BranchLines::read(repo)?;
    let (versions, why) = match options.queries.is_empty() {
        true => {
            let last = last_forget(repo)?.ok_or(ForgetError::NothingToUndo)?;
            (last.versions, last.why)
        }
        false => (
            named(&target, options, &lines, &trash)?,
            "forget".to_owned(),
        ),
    };
    let how_why = format!("{UNDO}{why}");
    observer.step("restore");
    let (restored, lacking, is_planned) = if options.dry_run {
        let gc = repo.read_gc_log()?;
        let lacking = repo.versions_without_data(&versions, CopyDemand::Stays)?;
        (
            versions
                .iter()
                .copied()
                .filter(|id| !lacking.contains(id))
                .collect(),
            lacking,
            gc.has_plan,
        )
    } else {
        let done = repo.restore_versions(&versions, &target.how(&how_why))?;
        (done.restored, done.lacking, done.is_planned)
    };
    observer.step("restored");
    if let (true, Some(first)) = (restored.is_empty(), lacking.first()) {
        return Err(match trash.mention(first) {
            _ if is_planned => ForgetError::Planned(lines.name(first)).into(),
            Some(mention) => forgotten_error(context, repo, first, mention, &trash)?.into(),
            None => ForgetError::NotInTrash(lines.name(first)).into(),
        });
    }
    let named = |ids: Vec<Id>, lines: &mut BranchLines| -> Result<Vec<(Id, String)>> {
        let mut all = Vec::with_capacity(ids.len());
        for id in ids {
            all.push((lines.version(repo, &id)?.ordinal, id, lines.name(&id)));
        }
        all.sort_unstable_by_key(|version| std::cmp::Reverse(version.0));
        Ok(all.into_iter().map(|(_, id, name)| (id, name)).collect())
    };
    Ok(RestoreReport {
        restored: named(restored, &mut lines)?,
        collected: named(lacking, &mut lines)?,
        why,
    })
}

/// Returns the versions that the user named, which must be in the trash. Of a range, versions that
/// are not in the trash are left out.
fn named(
    target: &Target<'_>,
    options: &RestoreOptions,
    lines: &BranchLines,
    trash: &TrashState,
) -> Result<Vec<Id>> {
    let resolver = Resolver::new(&target.repo, target.context)?;
    let mut versions = Vec::new();
    for query in &options.queries {
        match query {
            RevisionQuery::One(spec) => {
                let id = resolver.whole(spec)?;
                if !trash.contains(&id) {
                    return Err(ForgetError::NotInTrash(lines.name(&id)).into());
                }
                versions.push(id);
            }
            RevisionQuery::Range(range) => {
                let ends = resolver.range(range)?;
                for version in HistoryWalk::new(&target.repo, &[ends.to], &[ends.from])? {
                    versions.extend(Some(version?.0).filter(|id| trash.contains(id)));
                }
            }
        }
    }
    versions.sort_unstable();
    versions.dedup();
    Ok(versions)
}
