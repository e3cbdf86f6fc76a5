//! What is told of a version besides what it says itself: refs that name it, what it changed, its address on a branch.

use crate::error::{Kind, Result};
use crate::model::commit::Commit;
use crate::model::id::Id;
use crate::model::refname::{RefKind, RefName};
use crate::observe::Observer;
use crate::query::compare::{Change, Letter, Visit, compare, compare_files};
use crate::query::history::Commits;
use crate::query::ranges;
use crate::refs::head::Head;
use crate::repo::Repo;
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
    /// For a graph: its nearest ancestors in this listing.
    pub shown_parents: Vec<Id>,
    /// `branch@vN`, if it is on the first-parent line of a branch.
    pub address: Option<String>,
}

/// Every ref by the version that it names, HEAD's branch first.
pub fn namings(repo: &Repo, head: &Head, observer: &dyn Observer) -> Result<HashMap<Id, Vec<Naming>>> {
    let mut names: HashMap<Id, Vec<Naming>> = HashMap::new();
    for kind in RefKind::ALL {
        for tip in repo.refs().readable(kind)?.or_report(observer) {
            let on = kind == RefKind::Branch && head.branch.as_ref() == Some(&tip.name);
            names.entry(tip.id).or_default().push(Naming { kind, name: tip.name, head: on });
        }
    }
    names.values_mut().for_each(|list| list.sort_by_key(|n| !n.head));
    Ok(names)
}

/// Adds to a commit what else is told of a version.
pub struct Describe<'a> {
    repo: &'a Repo,
    head: &'a Head,
    detail: Detail,
    paths: &'a [Vec<u8>],
    names: HashMap<Id, Vec<Naming>>,
    addresses: HashMap<Id, String>,
}

impl<'a> Describe<'a> {
    /// Reads the refs and, if wanted, the branches' histories.
    pub fn new(
        repo: &'a Repo,
        head: &'a Head,
        detail: Detail,
        paths: &'a [Vec<u8>],
        addresses: bool,
        observer: &dyn Observer,
    ) -> Result<Self> {
        let addresses = if addresses { branch_lines(repo, head)? } else { HashMap::new() };
        Ok(Self { repo, head, detail, paths, names: namings(repo, head, observer)?, addresses })
    }

    /// Describes one version.
    pub fn version(&self, id: Id, commit: Commit) -> Version {
        Version {
            id,
            names: self.names.get(&id).cloned().unwrap_or_default(),
            head: self.head.branch.is_none() && self.head.base == Some(id),
            shown_parents: Vec::new(),
            address: self.addresses.get(&id).cloned(),
            commit,
        }
    }

    /// What a version changed.
    pub fn changes(&self, commit: &Commit) -> Result<Changes<'a>> {
        let parent = commit.parents.first().filter(|_| self.detail != Detail::None);
        let before = parent.map(|p| self.repo.commit_cached(p)).transpose()?.map(|c| c.tree);
        Ok(Changes { repo: self.repo, tree: commit.tree, before, detail: self.detail, paths: self.paths })
    }
}

/// What a version changed since its first parent. The paths are worked out when they are asked for, one by one,
/// because all of them together may not fit into memory.
pub struct Changes<'a> {
    repo: &'a Repo,
    tree: Id,
    before: Option<Id>,
    detail: Detail,
    paths: &'a [Vec<u8>],
}

impl Changes<'_> {
    /// What is told of each change.
    pub fn detail(&self) -> Detail {
        self.detail
    }

    /// Hands over every path that changed, sorted by directory and name. `each` ends it by breaking.
    pub fn each(&self, each: &mut dyn FnMut(Changed) -> ControlFlow<()>) -> Result<()> {
        self.visit(&compare, each)
    }

    /// Like [`Changes::each`], without directories.
    pub fn each_file(&self, each: &mut dyn FnMut(Changed) -> ControlFlow<()>) -> Result<()> {
        self.visit(&compare_files, each)
    }

    fn visit(&self, compare: &Compare<'_>, each: &mut dyn FnMut(Changed) -> ControlFlow<()>) -> Result<()> {
        if self.detail == Detail::None {
            return Ok(());
        }
        compare(self.repo, self.before.as_ref(), Some(&self.tree), self.paths, &mut |change| {
            Ok(each(measured(self.repo, change, self.detail)?))
        })
    }
}

/// One of the comparisons of two trees.
type Compare<'c> = dyn Fn(&Repo, Option<&Id>, Option<&Id>, &[Vec<u8>], &mut Visit<'_>) -> Result<()> + 'c;

/// `branch@vN` of all versions on branches, HEAD's branch first. Where a tag took that name it is `branch@#N`.
fn branch_lines(repo: &Repo, head: &Head) -> Result<HashMap<Id, String>> {
    let mut tips = repo.refs().readable(RefKind::Branch)?.tips;
    tips.sort_by_key(|tip| head.branch.as_ref() != Some(&tip.name));
    let tags = repo.refs().readable(RefKind::Tag)?.tips;
    let tags: HashSet<String> = tags.into_iter().map(|t| t.name.to_string()).collect();
    let mut lines: HashMap<Id, String> = HashMap::new();
    for tip in tips {
        for version in Commits::new(repo).first_parents(tip.id) {
            let (id, commit) = match version {
                // The versions of other branches have their addresses all the same.
                Err(e) if e.kind() == Kind::Integrity => break,
                version => version?,
            };
            if lines.contains_key(&id) {
                break;
            }
            let plain = format!("{}@v{}", tip.name, commit.ordinal);
            let address = if tags.contains(&plain) { format!("{}@#{}", tip.name, commit.ordinal) } else { plain };
            lines.insert(id, address);
        }
    }
    Ok(lines)
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
