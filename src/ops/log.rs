//! `log`: lists versions, the newest first, with the refs that name them and with their changes.
//!
//! Versions are reported one by one, so that the first lines of a long history appear immediately.

mod filter;
mod options;

pub use options::{LogError, LogOptions};

use crate::context::Context;
use crate::error::{Kind, Result};
use crate::format::refentry::RefEntry;
use crate::model::commit::Commit;
use crate::model::id::Id;
use crate::model::refname::{RefKind, RefName};
use crate::model::revision::{Revision, RevisionQuery, RevisionRange};
use crate::observe::Observer;
use crate::query::describe::{DescribedVersion, VersionChanges, VersionDescriber, VersionInfo};
use crate::query::forgotten::VersionData;
use crate::query::history::{HistoryWalk, ancestors};
use crate::query::resolve::{RangeEnds, Resolver};
use crate::repo::Repo;
use crate::repo::refs::{report_damaged, value_of};
use filter::LogFilter;
use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;

/// One update of a ref.
#[derive(Clone, Debug)]
pub struct RefUpdate {
    pub name: RefName,
    /// The number N of `name@{N}`.
    pub number: usize,
    /// The entry of the ref log.
    pub entry: RefEntry,
    /// The version that the update set, if it can still be read.
    pub version: Option<VersionInfo>,
}

/// The totals of a listing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogReport {
    /// The number of reported versions.
    pub shown: usize,
}

/// Calls `each` for each listed version, until it breaks.
pub fn log(
    context: &Context,
    options: &LogOptions,
    observer: &dyn Observer,
    each: &mut dyn FnMut(DescribedVersion, &VersionChanges<'_>) -> ControlFlow<()>,
) -> Result<LogReport> {
    let repo = context.repo()?;
    let resolver = Resolver::new(&repo, context)?;
    let filter = LogFilter::new(options)?;
    let (tips, hidden) = starts(&repo, &resolver, options, observer)?;
    let describe = VersionDescriber::new(
        &repo,
        resolver.head(),
        options.detail,
        &options.paths,
        options.addresses,
        observer,
    )?;
    let limit = options.max_count.unwrap_or(usize::MAX);
    let mut report = LogReport::default();
    let mut kept = Vec::new();
    let mut hidden_parents = Vec::new();
    let mut walk = HistoryWalk::new(&repo, &tips, &hidden)?;
    while report.shown < limit && !observer.cancelled() {
        let Some(version) = walk.next() else { break };
        let (id, commit) = version?;
        // A version in the trash is listed only if a ref or the user names it.
        let is_shown = options.all || tips.contains(&id) || describe.is_named(&id);
        let is_hidden =
            !is_shown && describe.forgotten().data(&id, &commit)? == VersionData::InTrash;
        if is_hidden || !filter.takes(&repo, &describe, &id, &commit)? {
            if options.graph {
                hidden_parents.push((id, commit.parents));
            }
            continue;
        }
        report.shown += 1;
        if options.reverse || options.graph {
            hidden_parents.push((id, commit.parents.clone()));
            kept.push((id, commit));
        } else {
            let changes = describe.changes(&id, &commit)?;
            if each(describe.version(id, commit)?, &changes).is_break() {
                return Ok(report);
            }
        }
    }
    let nearest = if options.graph {
        nearest_shown(&hidden_parents, &kept)
    } else {
        HashMap::new()
    };
    if options.reverse {
        kept.reverse();
    }
    for (id, commit) in kept {
        let changes = describe.changes(&id, &commit)?;
        let mut version = describe.version(id, commit)?;
        version.shown_parents = parents_shown(&version.commit, &nearest);
        if each(version, &changes).is_break() {
            break;
        }
    }
    Ok(report)
}

/// Maps each walked version to the nearest shown versions among itself and its ancestors. In
/// `walked`, children come before their parents.
fn nearest_shown(walked: &[(Id, Vec<Id>)], shown: &[(Id, Commit)]) -> HashMap<Id, Vec<Id>> {
    let shown: HashSet<Id> = shown.iter().map(|(id, _)| *id).collect();
    let mut nearest: HashMap<Id, Vec<Id>> = HashMap::new();
    // The reverse order reaches parents first, so their nearest versions are known.
    for (id, parents) in walked.iter().rev() {
        let mut list = vec![*id];
        if !shown.contains(id) {
            list = parents
                .iter()
                .filter_map(|p| nearest.get(p))
                .flatten()
                .copied()
                .collect();
            let mut seen = HashSet::new();
            list.retain(|id| seen.insert(*id));
        }
        nearest.insert(*id, list);
    }
    nearest
}

fn parents_shown(commit: &Commit, nearest: &HashMap<Id, Vec<Id>>) -> Vec<Id> {
    let mut seen = HashSet::new();
    let all = commit
        .parents
        .iter()
        .filter_map(|p| nearest.get(p))
        .flatten()
        .copied();
    all.filter(|id| seen.insert(*id)).collect()
}

/// Lists the updates of one ref, the newest first. The ref is the one that the only query names, or
/// HEAD's branch if there is no query.
pub fn updates(
    context: &Context,
    options: &LogOptions,
    each: &mut dyn FnMut(RefUpdate) -> ControlFlow<()>,
) -> Result<()> {
    let repo = context.repo()?;
    let resolver = Resolver::new(&repo, context)?;
    let revision = match options.queries.as_slice() {
        [] => Revision::HEAD,
        [RevisionQuery::One(spec)] if spec.path.is_none() => spec.revision.clone(),
        [query, ..] => return Err(LogError::NoRefLog(query.to_string()).into()),
    };
    let Some((kind, name)) = resolver.ref_of(&revision)? else {
        return Err(LogError::NoRefLog(revision.to_string()).into());
    };
    let filter = LogFilter::new(options)?;
    let mut shown = 0;
    for (number, entry) in repo.refs().log(kind, &name)?.into_iter().enumerate() {
        let in_time = options.since.is_none_or(|s| entry.time >= s)
            && options.until.is_none_or(|u| entry.time <= u);
        let fits = in_time
            && filter.matches(&filter.author, &entry.who)
            && filter.matches(&filter.grep, &entry.why);
        if !fits || shown >= options.max_count.unwrap_or(usize::MAX) {
            continue;
        }
        shown += 1;
        let version = value_of(&entry).and_then(|id| {
            // A version that was deleted is shown without its number.
            repo.commit_cached(&id)
                .ok()
                .map(|commit| VersionInfo { id, commit })
        });
        if each(RefUpdate {
            name: name.clone(),
            number,
            entry,
            version,
        })
        .is_break()
        {
            break;
        }
    }
    Ok(())
}

/// Returns the versions to start from, and those to leave out with their ancestors.
fn starts(
    repo: &Repo,
    resolver: &Resolver<'_>,
    options: &LogOptions,
    observer: &dyn Observer,
) -> Result<(Vec<Id>, Vec<Id>)> {
    let (mut tips, mut hidden) = (Vec::new(), Vec::new());
    for query in &options.queries {
        match query {
            RevisionQuery::One(spec) => tips.push(resolver.whole(spec)?),
            RevisionQuery::Range(range) => {
                add_range(repo, resolver, range, &mut tips, &mut hidden)?
            }
        }
    }
    if options.all {
        for kind in RefKind::ALL {
            // Do not report unreadable refs here, because describing the versions reports them.
            for tip in repo.refs().readable(kind)?.tips {
                match repo.commit_cached(&tip.id) {
                    Ok(_) => tips.push(tip.id),
                    Err(e) if e.kind() == Kind::Integrity => report_damaged(&e, observer),
                    Err(e) => return Err(e),
                }
            }
        }
    } else if options.queries.is_empty() {
        tips.push(resolver.revision(&Revision::HEAD)?);
    }
    // Several refs often point to one version.
    let mut seen = HashSet::new();
    tips.retain(|id| seen.insert(*id));
    Ok((tips, hidden))
}

fn add_range(
    repo: &Repo,
    resolver: &Resolver<'_>,
    range: &RevisionRange,
    tips: &mut Vec<Id>,
    hidden: &mut Vec<Id>,
) -> Result<()> {
    let RangeEnds { from, to } = resolver.range(range)?;
    tips.push(to);
    if range.symmetric {
        tips.push(from);
        let left = ancestors(repo, &from)?;
        hidden.extend(
            ancestors(repo, &to)?
                .into_iter()
                .filter(|id| left.contains(id)),
        );
    } else {
        hidden.push(from);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
