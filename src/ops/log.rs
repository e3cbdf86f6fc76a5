//! `log`: versions newest first, filtered, with the refs that name them and, if wanted, what each changed.
//!
//! Versions are handed over one by one, so that a long history is on the screen at once.

mod filter;

use crate::context::Context;
use crate::error::{Failure, Kind, Result};
use crate::format::refentry::RefEntry;
use crate::model::commit::Commit;
use crate::model::id::Id;
use crate::model::refname::{RefKind, RefName};
use crate::model::revision::{Revision, RevisionQuery, RevisionRange};
use crate::observe::Observer;
use crate::query::describe::{Changes, Describe, Detail, Version};
use crate::query::history::{Walk, ancestors};
use crate::query::resolve::Resolver;
use crate::repo::Repo;
use crate::repo::refs::{report_damaged, value_of};
use filter::Filter;
use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;

/// Which versions to list, and how.
#[derive(Clone, Debug, Default)]
pub struct LogOptions {
    /// Where to start; HEAD if empty.
    pub queries: Vec<RevisionQuery>,
    /// Start from every branch and tag as well.
    pub all: bool,
    /// At most that many.
    pub max_count: Option<usize>,
    /// Not older, seconds since 1970.
    pub since: Option<i64>,
    /// Not younger, seconds since 1970.
    pub until: Option<i64>,
    /// A regular expression for the author.
    pub author: Option<String>,
    /// A regular expression for the message.
    pub grep: Option<String>,
    /// Patterns match without regard to case.
    pub ignore_case: bool,
    /// Only versions that change one of these paths; empty is all.
    pub paths: Vec<Vec<u8>>,
    /// Oldest first.
    pub reverse: bool,
    /// What each changed.
    pub detail: Detail,
    /// Fill [`Version::shown_parents`]; the whole listing is made before the first version is handed over.
    pub graph: bool,
    /// Fill [`Version::address`]; reads the whole history of the branches.
    pub addresses: bool,
}

/// One update of a ref, newest first.
#[derive(Clone, Debug)]
pub struct Update {
    /// Its ref.
    pub name: RefName,
    /// N of `name@{N}`.
    pub number: usize,
    /// What the log says.
    pub entry: RefEntry,
    /// The version that it set, where it still can be read.
    pub version: Option<(Id, Commit)>,
}

/// How the listing ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogReport {
    /// Versions that were handed over.
    pub shown: usize,
}

/// A listing that cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// A pattern is no regular expression.
    #[error("`{pattern}` is not a regular expression")]
    Pattern {
        /// As given.
        pattern: String,
        /// Why.
        source: regex::Error,
    },
    /// A path that cannot be one.
    #[error("`{0}` is not a path in a version")]
    BadPath(String),
    /// The ref log is of one branch or tag.
    #[error("`{0}` is not a branch or a tag, so it has no ref log")]
    NoRefLog(String),
}

impl Failure for LogError {
    fn kind(&self) -> Kind {
        match self {
            Self::Pattern { .. } | Self::BadPath(_) => Kind::Usage,
            Self::NoRefLog(_) => Kind::NotFound,
        }
    }
}

/// Lists versions. `each` ends the listing by breaking.
pub fn log(
    context: &Context,
    options: &LogOptions,
    observer: &dyn Observer,
    each: &mut dyn FnMut(Version, &Changes<'_>) -> ControlFlow<()>,
) -> Result<LogReport> {
    let repo = context.repo()?;
    let resolver = Resolver::new(&repo, context)?;
    let filter = Filter::new(options)?;
    let (tips, hidden) = starts(&repo, &resolver, options, observer)?;
    let describe = Describe::new(&repo, resolver.head(), options.detail, &options.paths, options.addresses, observer)?;
    let limit = options.max_count.unwrap_or(usize::MAX);
    let mut report = LogReport::default();
    let mut kept = Vec::new();
    let mut hidden_parents = Vec::new();
    let mut walk = Walk::new(&repo, &tips, &hidden)?;
    while report.shown < limit && !observer.cancelled() {
        let Some(version) = walk.next() else { break };
        let (id, commit) = version?;
        if !filter.takes(&repo, &commit)? {
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
            let changes = describe.changes(&commit)?;
            if each(describe.version(id, commit), &changes).is_break() {
                return Ok(report);
            }
        }
    }
    let nearest = if options.graph { nearest_shown(&hidden_parents, &kept) } else { HashMap::new() };
    if options.reverse {
        kept.reverse();
    }
    for (id, commit) in kept {
        let changes = describe.changes(&commit)?;
        let mut version = describe.version(id, commit);
        version.shown_parents = parents_shown(&version.commit, &nearest);
        if each(version, &changes).is_break() {
            break;
        }
    }
    Ok(report)
}

/// For every walked version, the nearest of itself and its ancestors that are shown. `walked` has children first.
fn nearest_shown(walked: &[(Id, Vec<Id>)], shown: &[(Id, Commit)]) -> HashMap<Id, Vec<Id>> {
    let shown: HashSet<Id> = shown.iter().map(|(id, _)| *id).collect();
    let mut nearest: HashMap<Id, Vec<Id>> = HashMap::new();
    for (id, parents) in walked.iter().rev() {
        let mut list = vec![*id];
        if !shown.contains(id) {
            list = parents.iter().filter_map(|p| nearest.get(p)).flatten().copied().collect();
            let mut seen = HashSet::new();
            list.retain(|id| seen.insert(*id));
        }
        nearest.insert(*id, list);
    }
    nearest
}

fn parents_shown(commit: &Commit, nearest: &HashMap<Id, Vec<Id>>) -> Vec<Id> {
    let mut seen = HashSet::new();
    let all = commit.parents.iter().filter_map(|p| nearest.get(p)).flatten().copied();
    all.filter(|id| seen.insert(*id)).collect()
}

/// Lists the updates of one ref, newest first: HEAD's branch, or the ref that the only revision names.
pub fn updates(context: &Context, options: &LogOptions, each: &mut dyn FnMut(Update) -> ControlFlow<()>) -> Result<()> {
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
    let filter = Filter::new(options)?;
    let mut shown = 0;
    for (number, entry) in repo.refs().log(kind, &name)?.into_iter().enumerate() {
        let in_time = options.since.is_none_or(|s| entry.time >= s) && options.until.is_none_or(|u| entry.time <= u);
        let fits = in_time && filter.says(&filter.author, &entry.who) && filter.says(&filter.grep, &entry.why);
        if !fits || shown >= options.max_count.unwrap_or(usize::MAX) {
            continue;
        }
        shown += 1;
        let version = value_of(&entry).and_then(|id| repo.commit_cached(&id).ok().map(|c| (id, c)));
        if each(Update { name: name.clone(), number, entry, version }).is_break() {
            break;
        }
    }
    Ok(())
}

/// Which versions to walk from, and which to leave out with their ancestors.
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
            RevisionQuery::Range(range) => add_range(repo, resolver, range, &mut tips, &mut hidden)?,
        }
    }
    if options.all {
        for kind in RefKind::ALL {
            // Those that cannot be read are named where refs are described.
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
    let (from, to) = (resolver.revision(&range.from)?, resolver.revision(&range.to)?);
    tips.push(to);
    if range.symmetric {
        tips.push(from);
        let left = ancestors(repo, &from)?;
        hidden.extend(ancestors(repo, &to)?.into_iter().filter(|id| left.contains(id)));
    } else {
        hidden.push(from);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
