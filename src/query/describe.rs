//! Describes versions: the refs that name them, their changes, and their addresses on branches.

use crate::error::{Kind, Result};
use crate::model::commit::Commit;
use crate::model::id::Id;
use crate::model::refname::{RefKind, RefName};
use crate::observe::Observer;
use crate::query::compare::{ChangeVisit, Letter, TreeChange, compare, compare_files};
use crate::query::forgotten::{ForgottenMark, ForgottenVersions, VersionBefore, VersionData};
use crate::query::history::CommitReader;
use crate::query::ranges;
use crate::refs::head::Head;
use crate::repo::Repo;
use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;

/// A version: its id and its commit.
#[derive(Clone, Debug)]
pub struct VersionInfo {
    pub id: Id,
    pub commit: Commit,
}

/// The part of the changes of a version that is computed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ChangeDetail {
    /// No changes.
    #[default]
    None,
    /// Letters and paths.
    Names,
    /// Letters, paths and the changed byte ranges, by chunk lists.
    Ranges,
}

/// A ref that names a version.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RefNaming {
    pub kind: RefKind,
    pub name: RefName,
    /// Whether HEAD is on this ref.
    pub head: bool,
}

/// A path that a version changed.
#[derive(Clone, Debug)]
pub struct MeasuredChange {
    pub change: TreeChange,
    /// With [`ChangeDetail::Ranges`], the differing ranges of the new file.
    pub ranges: Vec<std::ops::Range<u64>>,
}

/// A version with its description.
#[derive(Clone, Debug)]
pub struct DescribedVersion {
    pub id: Id,
    pub commit: Commit,
    /// The refs that name the version, HEAD's branch first.
    pub names: Vec<RefNaming>,
    /// Whether a detached HEAD is on the version.
    pub head: bool,
    /// For a graph: the nearest ancestors in the listing.
    pub shown_parents: Vec<Id>,
    /// `branch@vN`, if the version is on the first-parent line of a branch.
    pub address: Option<String>,
    /// When and why the version was forgotten; `None` if it is not.
    pub forgotten: Option<ForgottenMark>,
}

/// Returns the refs of each version, HEAD's branch first.
pub fn namings(
    repo: &Repo,
    head: &Head,
    observer: &dyn Observer,
) -> Result<HashMap<Id, Vec<RefNaming>>> {
    let mut names: HashMap<Id, Vec<RefNaming>> = HashMap::new();
    for kind in RefKind::ALL {
        for tip in repo.refs().readable(kind)?.or_report(observer) {
            let on = kind == RefKind::Branch && head.branch.as_ref() == Some(&tip.name);
            names.entry(tip.id).or_default().push(RefNaming {
                kind,
                name: tip.name,
                head: on,
            });
        }
    }
    names
        .values_mut()
        .for_each(|list| list.sort_by_key(|n| !n.head));
    Ok(names)
}

/// Describes versions of a repository.
pub struct VersionDescriber<'a> {
    repo: &'a Repo,
    head: &'a Head,
    detail: ChangeDetail,
    paths: &'a [Vec<u8>],
    names: HashMap<Id, Vec<RefNaming>>,
    addresses: HashMap<Id, String>,
    forgotten: ForgottenVersions<'a>,
}

impl<'a> VersionDescriber<'a> {
    /// Creates a describer. Reads the refs and, if requested, the histories of branches.
    pub fn new(
        repo: &'a Repo,
        head: &'a Head,
        detail: ChangeDetail,
        paths: &'a [Vec<u8>],
        addresses: bool,
        observer: &dyn Observer,
    ) -> Result<Self> {
        let addresses = if addresses {
            branch_lines(repo, head)?
        } else {
            HashMap::new()
        };
        let forgotten = ForgottenVersions::read(repo)?;
        Ok(Self {
            repo,
            head,
            detail,
            paths,
            names: namings(repo, head, observer)?,
            addresses,
            forgotten,
        })
    }

    /// Returns the forgotten versions of the repository.
    pub fn forgotten(&self) -> &ForgottenVersions<'a> {
        &self.forgotten
    }

    /// Returns whether a ref names a version.
    pub fn is_named(&self, id: &Id) -> bool {
        self.names.contains_key(id)
    }

    /// Describes one version.
    pub fn version(&self, id: Id, commit: Commit) -> Result<DescribedVersion> {
        Ok(DescribedVersion {
            id,
            forgotten: self.forgotten.mark(&id, &commit)?,
            names: self.names.get(&id).cloned().unwrap_or_default(),
            head: self.head.branch.is_none() && self.head.base == Some(id),
            shown_parents: Vec::new(),
            address: self.addresses.get(&id).cloned(),
            commit,
        })
    }

    /// Returns the changes of a version since the nearest older version that has its data; none if
    /// the data of the version itself is collected.
    pub fn changes(&self, id: &Id, commit: &Commit) -> Result<VersionChanges<'a>> {
        let mut detail = self.detail;
        // A version whose data was deleted has nothing to compare.
        if detail != ChangeDetail::None
            && self.forgotten.data(id, commit)? == VersionData::Collected
        {
            detail = ChangeDetail::None;
        }
        let before = if detail == ChangeDetail::None {
            None
        } else {
            self.forgotten.before(commit)?
        };
        Ok(VersionChanges {
            repo: self.repo,
            tree: commit.tree,
            before,
            detail,
            paths: self.paths,
        })
    }
}

/// The changes of a version since the version [`Self::before`]. They are computed one by one on
/// request, because all of them together may not fit into memory.
pub struct VersionChanges<'a> {
    repo: &'a Repo,
    tree: Id,
    before: Option<VersionBefore>,
    detail: ChangeDetail,
    paths: &'a [Vec<u8>],
}

impl VersionChanges<'_> {
    /// Returns the part of the changes that is computed.
    pub fn detail(&self) -> ChangeDetail {
        self.detail
    }

    /// Returns the version with which this one is compared; `None` if no older version has data, or
    /// if no changes were requested.
    pub fn before(&self) -> Option<&Id> {
        self.before.as_ref().map(|before| &before.id)
    }

    /// Calls `each` for every changed path, sorted by directory and name, until it breaks.
    pub fn each(&self, each: &mut dyn FnMut(MeasuredChange) -> ControlFlow<()>) -> Result<()> {
        self.visit(&compare, each)
    }

    /// Like [`VersionChanges::each`], without directories.
    pub fn each_file(&self, each: &mut dyn FnMut(MeasuredChange) -> ControlFlow<()>) -> Result<()> {
        self.visit(&compare_files, each)
    }

    fn visit(
        &self,
        compare: &Compare<'_>,
        each: &mut dyn FnMut(MeasuredChange) -> ControlFlow<()>,
    ) -> Result<()> {
        if self.detail == ChangeDetail::None {
            return Ok(());
        }
        let before = self.before.map(|before| before.tree);
        compare(
            self.repo,
            before.as_ref(),
            Some(&self.tree),
            self.paths,
            &mut |change| Ok(each(measured(self.repo, change, self.detail)?)),
        )
    }
}

/// A comparison of two trees.
type Compare<'c> =
    dyn Fn(&Repo, Option<&Id>, Option<&Id>, &[Vec<u8>], &mut ChangeVisit<'_>) -> Result<()> + 'c;

/// Returns the addresses of all versions on branches, HEAD's branch first: `branch@vN`, or
/// `branch@#N` if a tag has that name.
fn branch_lines(repo: &Repo, head: &Head) -> Result<HashMap<Id, String>> {
    let mut tips = repo.refs().readable(RefKind::Branch)?.tips;
    // The branch that is checked out comes first, so that shared versions are named after it.
    tips.sort_by_key(|tip| head.branch.as_ref() != Some(&tip.name));
    let tags = repo.refs().readable(RefKind::Tag)?.tips;
    let tags: HashSet<String> = tags.into_iter().map(|t| t.name.to_string()).collect();
    let mut lines: HashMap<Id, String> = HashMap::new();
    for tip in tips {
        for version in CommitReader::new(repo).first_parents(tip.id) {
            let (id, commit) = match version {
                // A damaged branch must not hide the addresses of other branches.
                Err(e) if e.kind() == Kind::Integrity => break,
                version => version?,
            };
            // An earlier branch has named the rest of the line.
            if lines.contains_key(&id) {
                break;
            }
            let plain = format!("{}@v{}", tip.name, commit.ordinal);
            // A tag with this name takes precedence in revisions, so the address uses `#`.
            let address = if tags.contains(&plain) {
                format!("{}@#{}", tip.name, commit.ordinal)
            } else {
                plain
            };
            lines.insert(id, address);
        }
    }
    Ok(lines)
}

/// Returns a change, with its ranges if they are requested.
pub fn measured(repo: &Repo, change: TreeChange, detail: ChangeDetail) -> Result<MeasuredChange> {
    let content = matches!(
        change.letter,
        Letter::Added | Letter::Content | Letter::Type
    );
    let ranges = match &change.new {
        Some(new) if detail == ChangeDetail::Ranges && content => {
            ranges::changed(repo, change.old.as_ref().map(|e| &e.node), &new.node)?
        }
        _ => Vec::new(),
    };
    Ok(MeasuredChange { change, ranges })
}
