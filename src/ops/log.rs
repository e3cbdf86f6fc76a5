//! `log`: versions newest first, filtered, with the refs that name them and, if wanted, what each changed.
//!
//! Versions are handed over one by one, so that a long history is on the screen at once.

use super::Context;
use super::compare::{Change, Letter, compare};
use super::head::Head;
use super::history::{Walk, ancestors};
use super::ranges;
use super::resolve::Resolver;
use crate::error::{Failure, Kind, Result};
use crate::format::refentry::RefEntry;
use crate::model::commit::Commit;
use crate::model::id::Id;
use crate::model::path::split;
use crate::model::refname::{RefKind, RefName};
use crate::model::revision::{Query, Range, Revision};
use crate::observe::Observer;
use crate::repo::Repo;
use crate::repo::refs::value_of;
use regex::Regex;
use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;

/// What is told about the changes of a version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Detail {
    /// Nothing.
    #[default]
    None,
    /// Letters and paths.
    Names,
    /// And how many bytes of each file, by its chunk list.
    Ranges,
}

/// Which versions to list, and how.
#[derive(Clone, Debug, Default)]
pub struct LogOptions {
    /// Where to start; HEAD if empty.
    pub queries: Vec<Query>,
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
}

/// A ref that names a version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Naming {
    /// What it is.
    pub kind: RefKind,
    /// Its name.
    pub name: RefName,
    /// Whether HEAD is on it.
    pub head: bool,
}

/// A path that a version changed.
#[derive(Clone, Debug)]
pub struct Changed {
    /// What happened.
    pub change: Change,
    /// With [`Detail::Ranges`], the ranges of the new file that differ.
    pub ranges: Vec<std::ops::Range<u64>>,
}

/// One version.
#[derive(Clone, Debug)]
pub struct Version {
    /// Its id.
    pub id: Id,
    /// What it says.
    pub commit: Commit,
    /// Refs that name it, HEAD's branch first.
    pub names: Vec<Naming>,
    /// Whether a detached HEAD is on it.
    pub head: bool,
    /// What it changed since its first parent.
    pub changes: Vec<Changed>,
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
    each: &mut dyn FnMut(Version) -> ControlFlow<()>,
) -> Result<LogReport> {
    let repo = context.repo()?;
    let resolver = Resolver::new(&repo, context)?;
    let filter = Filter::new(options)?;
    let (tips, hidden) = starts(&repo, &resolver, options)?;
    let names = namings(&repo, resolver.head())?;
    let mut report = LogReport::default();
    let mut kept = Vec::new();
    for version in Walk::new(&repo, &tips, &hidden)? {
        let (id, commit) = version?;
        if observer.cancelled() || (report.shown >= options.max_count.unwrap_or(usize::MAX)) {
            break;
        }
        if !filter.takes(&repo, &commit)? {
            continue;
        }
        report.shown += 1;
        if options.reverse {
            kept.push((id, commit));
            continue;
        }
        if each(describe(&repo, resolver.head(), &names, options, id, commit)?).is_break() {
            return Ok(report);
        }
    }
    for (id, commit) in kept.into_iter().rev() {
        if each(describe(&repo, resolver.head(), &names, options, id, commit)?).is_break() {
            break;
        }
    }
    Ok(report)
}

/// Lists the updates of one ref, newest first: HEAD's branch, or the ref that the only revision names.
pub fn updates(context: &Context, options: &LogOptions, each: &mut dyn FnMut(Update) -> ControlFlow<()>) -> Result<()> {
    let repo = context.repo()?;
    let resolver = Resolver::new(&repo, context)?;
    let revision = match options.queries.as_slice() {
        [] => Revision::HEAD,
        [Query::One(spec)] if spec.path.is_none() => spec.revision.clone(),
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
fn starts(repo: &Repo, resolver: &Resolver<'_>, options: &LogOptions) -> Result<(Vec<Id>, Vec<Id>)> {
    let (mut tips, mut hidden) = (Vec::new(), Vec::new());
    for query in &options.queries {
        match query {
            Query::One(spec) => tips.push(resolver.spec(spec)?.version),
            Query::Range(range) => add_range(repo, resolver, range, &mut tips, &mut hidden)?,
        }
    }
    if options.all {
        for kind in RefKind::ALL {
            tips.extend(repo.refs().list(kind)?.into_iter().map(|tip| tip.id));
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
    range: &Range,
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

/// Every ref by the version that it names, HEAD's branch first.
pub fn namings(repo: &Repo, head: &Head) -> Result<HashMap<Id, Vec<Naming>>> {
    let mut names: HashMap<Id, Vec<Naming>> = HashMap::new();
    for kind in RefKind::ALL {
        for tip in repo.refs().list(kind)? {
            let on = kind == RefKind::Branch && head.branch.as_ref() == Some(&tip.name);
            names.entry(tip.id).or_default().push(Naming { kind, name: tip.name, head: on });
        }
    }
    names.values_mut().for_each(|list| list.sort_by_key(|n| !n.head));
    Ok(names)
}

fn describe(
    repo: &Repo,
    head: &Head,
    names: &HashMap<Id, Vec<Naming>>,
    options: &LogOptions,
    id: Id,
    commit: Commit,
) -> Result<Version> {
    let changes = changes_of(repo, &commit, options.detail, &options.paths)?;
    let detached = head.branch.is_none() && head.base == Some(id);
    Ok(Version { id, names: names.get(&id).cloned().unwrap_or_default(), head: detached, changes, commit })
}

/// What a version changed since its first parent.
pub fn changes_of(repo: &Repo, commit: &Commit, detail: Detail, paths: &[Vec<u8>]) -> Result<Vec<Changed>> {
    let mut changes = Vec::new();
    if detail == Detail::None {
        return Ok(changes);
    }
    let before = commit.parents.first().map(|p| repo.commit_cached(p)).transpose()?.map(|c| c.tree);
    compare(repo, before.as_ref(), Some(&commit.tree), paths, &mut |change| {
        changes.push(measured(repo, change, detail)?);
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(changes)
}

/// The change with its ranges, where they are wanted.
pub fn measured(repo: &Repo, change: Change, detail: Detail) -> Result<Changed> {
    let content = matches!(change.letter, Letter::Added | Letter::Content | Letter::Type);
    let ranges = match &change.new {
        Some(new) if detail == Detail::Ranges && content => {
            ranges::changed(repo, change.old.as_ref().map(|e| &e.node), &new.node)?
        }
        _ => Vec::new(),
    };
    Ok(Changed { change, ranges })
}

struct Filter<'o> {
    options: &'o LogOptions,
    author: Option<Regex>,
    grep: Option<Regex>,
    paths: Vec<Vec<Vec<u8>>>,
}

impl<'o> Filter<'o> {
    fn new(options: &'o LogOptions) -> Result<Self> {
        let pattern = |text: &Option<String>| -> Result<Option<Regex>> {
            let Some(text) = text else { return Ok(None) };
            let built = regex::RegexBuilder::new(text).case_insensitive(options.ignore_case).build();
            Ok(Some(built.map_err(|source| LogError::Pattern { pattern: text.clone(), source })?))
        };
        let path = |p: &Vec<u8>| split(p).ok_or_else(|| LogError::BadPath(crate::model::path::display(p)));
        let paths = options.paths.iter().map(path).collect::<Result<_, _>>()?;
        Ok(Self { options, author: pattern(&options.author)?, grep: pattern(&options.grep)?, paths })
    }

    fn says(&self, pattern: &Option<Regex>, text: &str) -> bool {
        pattern.as_ref().is_none_or(|p| p.is_match(text))
    }

    fn takes(&self, repo: &Repo, commit: &Commit) -> Result<bool> {
        let time = commit.time.secs;
        let fits = self.options.since.is_none_or(|s| time >= s)
            && self.options.until.is_none_or(|u| time <= u)
            && self.says(&self.author, &commit.author)
            && self.says(&self.grep, &commit.message);
        if !fits || self.paths.is_empty() {
            return Ok(fits);
        }
        let before = commit.parents.first().map(|p| repo.commit_cached(p)).transpose()?.map(|c| c.tree);
        if before == Some(commit.tree) {
            return Ok(false);
        }
        for path in &self.paths {
            let old = before.as_ref().map(|tree| repo.find(tree, path)).transpose()?.flatten();
            // The root itself has no entry; it changed, since the trees differ.
            if path.is_empty() || old != repo.find(&commit.tree, path)? {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

#[cfg(test)]
mod tests;
