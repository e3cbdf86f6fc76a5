//! Resolves revisions to versions.
//!
//! Refs take precedence over abbreviated ids. An ambiguous revision is an error that names the
//! candidates.

use crate::context::Context;
use crate::error::{Failure, Kind, Result};
use crate::format::pack::PackKind;
use crate::model::commit::Commit;
use crate::model::id::{Id, ObjectKind};
use crate::model::path::{display, split};
use crate::model::refname::{RefKind, RefName};
use crate::model::revision::{
    Revision, RevisionBase, RevisionRange, RevisionSpec, Selector, Suffix, hex_prefix,
};
use crate::model::suggest::nearest;
use crate::model::when::{Edge, When};
use crate::query::history::CommitReader;
use crate::refs::head::Head;
use crate::repo::Repo;
use crate::repo::refs::value_of;

/// The maximum number of candidates in an error.
const SHOWN_MAX: usize = 8;

/// `branch@latest` is the tip of the branch, unless the branch has a tag with this name.
const LATEST: &str = "latest";

/// A revision that cannot be resolved.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// No branch, tag or version has this name.
    #[error("no branch, tag or version named `{name}`")]
    Unknown {
        /// The name as given.
        name: String,
        /// The most similar name.
        near: Option<String>,
    },
    /// The revision is ambiguous.
    #[error("`{text}` is ambiguous: {}", candidates.join(", "))]
    Ambiguous {
        /// The name as given.
        text: String,
        candidates: Vec<String>,
    },
    /// The branch has no versions yet.
    #[error("branch `{branch}` has no versions yet")]
    Unborn {
        /// The name of the branch.
        branch: String,
    },
    /// No version of the branch matches the selector.
    #[error("`{branch}` has no version `{selector}`")]
    NoSuchVersion {
        branch: String,
        selector: String,
        /// The ordinal of the tip.
        tip: u64,
    },
    /// The version to which a suffix leads does not exist.
    #[error("cannot resolve `{revision}`: {why}")]
    NoStep {
        /// The revision up to the suffix.
        revision: String,
        why: String,
    },
    /// A path is not in the version, or invalid.
    #[error("`{path}` is not in `{revision}`")]
    NoPath {
        /// The revision as given.
        revision: String,
        path: String,
    },
    /// A path is in neither of two sides.
    #[error("neither {old} nor {new} exists")]
    Nowhere {
        /// The old side as given.
        old: String,
        /// The new side as given.
        new: String,
    },
    /// A revision with a path, where only a version is allowed.
    #[error("`{0}` names a path; expected a version without a path")]
    WithPath(String),
    /// A revision with the URL of a repository, where only a version of the current one is allowed.
    #[error("`{0}` names another repository")]
    OtherRepository(String),
}

impl Failure for ResolveError {
    fn kind(&self) -> Kind {
        match self {
            Self::WithPath(_) | Self::OtherRepository(_) => Kind::Usage,
            _ => Kind::NotFound,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Unknown {
                near: Some(near), ..
            } => Some(format!("did you mean `{near}`?")),
            Self::Unknown { .. } => Some(
                "run `dvc branch` or `dvc tag` to list the names; write paths after `--`"
                    .to_owned(),
            ),
            Self::Ambiguous { .. } => {
                Some("use more digits of the id, or the full name".to_owned())
            }
            Self::Unborn { .. } => Some("run `dvc commit` to make the first version".to_owned()),
            Self::NoSuchVersion { branch, tip, .. } => {
                Some(format!("use one of v1 to v{tip} of `{branch}`"))
            }
            Self::OtherRepository(_) => Some("select the repository with `--repo`".to_owned()),
            Self::WithPath(_) => {
                Some("run `dvc log REV -- PATH` to list the versions that change a path".to_owned())
            }
            Self::NoStep { .. } | Self::NoPath { .. } | Self::Nowhere { .. } => None,
        }
    }
}

/// A version and a path in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResolvedSpec {
    pub version: Id,
    /// The names of the path; empty for the root.
    pub path: Vec<Vec<u8>>,
}

/// The versions of a range as written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RangeEnds {
    pub from: Id,
    pub to: Id,
}

/// Resolves revisions for one worktree, with the HEAD that was read at its creation.
pub struct Resolver<'a> {
    repo: &'a Repo,
    context: &'a Context,
    head: Head,
}

impl<'a> Resolver<'a> {
    /// Creates a resolver, and reads HEAD.
    pub fn new(repo: &'a Repo, context: &'a Context) -> Result<Self> {
        Ok(Self {
            repo,
            context,
            head: Head::read(context, repo)?,
        })
    }

    /// Returns the branch that commits of a mount of `revision` go to, if the revision names one.
    pub fn commit_branch(&self, revision: &Revision) -> Result<Option<RefName>> {
        let base = Revision {
            base: revision.base.clone(),
            suffixes: Vec::new(),
        };
        if let Some(branch) = self.branch_of(&base)? {
            return Ok(Some(branch));
        }
        match &revision.base {
            RevisionBase::Scoped(Some(branch), _)
                if self.repo.refs().value(RefKind::Branch, branch)?.is_some() =>
            {
                Ok(Some(branch.clone()))
            }
            RevisionBase::Scoped(None, _) => Ok(self.head.branch.clone()),
            _ => Ok(None),
        }
    }

    /// Returns HEAD as it was read.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// Returns the repository in which revisions are looked up.
    pub fn repo(&self) -> &'a Repo {
        self.repo
    }

    /// Returns the version of a revision.
    pub fn revision(&self, revision: &Revision) -> Result<Id> {
        let mut id = None;
        for (n, suffix) in revision.suffixes.iter().enumerate() {
            let so_far = || {
                let suffixes = revision.suffixes.iter().take(n + 1).copied().collect();
                Revision {
                    base: revision.base.clone(),
                    suffixes,
                }
                .to_string()
            };
            id = Some(match (suffix, id) {
                (Suffix::Update(updates), None) => self.update(&revision.base, *updates, so_far)?,
                (Suffix::Update(_), Some(_)) => {
                    return Err(no_step(so_far(), "only a branch or a tag has a ref log"));
                }
                (step, id) => {
                    let from = id.map_or_else(|| self.base(&revision.base), Ok)?;
                    self.step(from, *step, so_far)?
                }
            });
        }
        id.map_or_else(|| self.base(&revision.base), Ok)
    }

    /// Returns the version and the path of `rev[:path]`, without a check whether the path exists.
    pub fn spec(&self, spec: &RevisionSpec) -> Result<ResolvedSpec> {
        if spec.url.is_some() {
            return Err(ResolveError::OtherRepository(spec.to_string()).into());
        }
        let version = self.revision(&spec.revision)?;
        let path = spec.path.as_deref().unwrap_or_default();
        let path = split(path).ok_or_else(|| ResolveError::NoPath {
            revision: spec.revision.to_string(),
            path: display(path),
        })?;
        Ok(ResolvedSpec { version, path })
    }

    /// Returns the version of a revision that must not name a path.
    pub fn whole(&self, spec: &RevisionSpec) -> Result<Id> {
        match spec.path {
            Some(_) => Err(ResolveError::WithPath(spec.to_string()).into()),
            None => Ok(self.spec(spec)?.version),
        }
    }

    /// Returns the versions of a range. `main@v5..v9` is short for `main@v5..main@v9`.
    pub fn range(&self, range: &RevisionRange) -> Result<RangeEnds> {
        let to = match (&range.from.base, &range.to.base) {
            (RevisionBase::Scoped(branch, _), RevisionBase::Name(name))
                if Selector::Name(name.clone()).ordinal().is_some() && self.is_unknown(name)? =>
            {
                let base = RevisionBase::Scoped(branch.clone(), Selector::Name(name.clone()));
                Revision {
                    base,
                    suffixes: range.to.suffixes.clone(),
                }
            }
            _ => range.to.clone(),
        };
        Ok(RangeEnds {
            from: self.revision(&range.from)?,
            to: self.revision(&to)?,
        })
    }

    /// Returns whether no ref has a name.
    fn is_unknown(&self, name: &RefName) -> Result<bool> {
        for kind in RefKind::ALL {
            if self.repo.refs().value(kind, name)?.is_some() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Returns the branch of a revision that is exactly a branch: `checkout` moves HEAD to it.
    pub fn branch_of(&self, revision: &Revision) -> Result<Option<RefName>> {
        if !revision.suffixes.is_empty() {
            return Ok(None);
        }
        match &revision.base {
            RevisionBase::Head => Ok(self.head.branch.clone()),
            RevisionBase::Name(name) => {
                for name in full_name(name, RefKind::Branch).iter().chain([name]) {
                    if self.repo.refs().value(RefKind::Branch, name)?.is_some() {
                        return Ok(Some(name.clone()));
                    }
                }
                Ok(None)
            }
            RevisionBase::Scoped(..) => Ok(None),
        }
    }

    /// Returns the ref of a revision that is exactly a ref, for its log.
    pub fn ref_of(&self, revision: &Revision) -> Result<Option<(RefKind, RefName)>> {
        if revision.suffixes.is_empty() {
            self.base_ref(&revision.base)
        } else {
            Ok(None)
        }
    }

    /// Returns the ref that a base names, if it exists or has existed.
    fn base_ref(&self, base: &RevisionBase) -> Result<Option<(RefKind, RefName)>> {
        match base {
            RevisionBase::Head => Ok(self
                .head
                .branch
                .clone()
                .map(|branch| (RefKind::Branch, branch))),
            RevisionBase::Name(name) => {
                for kind in RefKind::ALL {
                    for name in full_name(name, kind).iter().chain([name]) {
                        if self.repo.refs().tip(kind, name)?.is_some() {
                            return Ok(Some((kind, name.clone())));
                        }
                    }
                }
                Err(self.unknown(name))
            }
            RevisionBase::Scoped(branch, Selector::Name(tag)) => {
                match branch.as_ref().or(self.head.branch.as_ref()) {
                    Some(branch) => {
                        let tag = RefName::scoped(branch, tag.as_str())?;
                        let exists = self.repo.refs().tip(RefKind::Tag, &tag)?.is_some();
                        Ok(exists.then_some((RefKind::Tag, tag)))
                    }
                    None => Ok(None),
                }
            }
            RevisionBase::Scoped(_, Selector::Ordinal(_)) => Ok(None),
        }
    }

    fn base(&self, base: &RevisionBase) -> Result<Id> {
        match base {
            RevisionBase::Head => self.current(),
            RevisionBase::Name(name) => self.name(name),
            RevisionBase::Scoped(branch, selector) => self.scoped(branch.as_ref(), selector),
        }
    }

    fn current(&self) -> Result<Id> {
        match (self.head.version(self.repo)?, &self.head.branch) {
            (Some(id), _) => Ok(id),
            (None, Some(branch)) => Err(ResolveError::Unborn {
                branch: branch.to_string(),
            }
            .into()),
            (None, None) => Err(no_step("@".to_owned(), "the worktree has no version yet")),
        }
    }

    /// Resolves a name: refs of any kind first, then abbreviated ids.
    fn name(&self, name: &RefName) -> Result<Id> {
        let mut found: Vec<(RefKind, Id)> = Vec::new();
        for kind in RefKind::ALL {
            for name in full_name(name, kind).iter().chain([name]) {
                found.extend(self.repo.refs().value(kind, name)?.map(|id| (kind, id)));
            }
        }
        match found.as_slice() {
            // Several refs of one version are not ambiguous.
            [(_, id), rest @ ..] if rest.iter().all(|(_, other)| other == id) => Ok(*id),
            [] => match hex_prefix(name) {
                Some(hex) => self
                    .abbreviated(hex)?
                    .map_or_else(|| Err(self.unknown(name)), Ok),
                None => Err(self.unknown(name)),
            },
            many => {
                let full =
                    |kind: RefKind, id: &Id| format!("refs/{}/{name} ({})", kind.dir(), id.short());
                let candidates = many.iter().map(|(kind, id)| full(*kind, id)).collect();
                Err(ResolveError::Ambiguous {
                    text: name.to_string(),
                    candidates,
                }
                .into())
            }
        }
    }

    fn unknown(&self, name: &RefName) -> crate::error::Error {
        // A new branch has no ref until its first commit.
        if self.head.branch.as_ref() == Some(name) {
            return ResolveError::Unborn {
                branch: name.to_string(),
            }
            .into();
        }
        let refs = self.repo.refs();
        let known = RefKind::ALL
            .iter()
            // The suggestion is optional, so an error of the refs is ignored.
            .filter_map(|kind| refs.readable(*kind).ok())
            .flat_map(|all| all.tips);
        let known: Vec<String> = known.map(|tip| tip.name.to_string()).collect();
        let near = nearest(name.as_str(), known.iter().map(String::as_str)).map(str::to_owned);
        ResolveError::Unknown {
            name: name.to_string(),
            near,
        }
        .into()
    }

    /// Returns the version whose id starts with `hex`, or `None`. Fails if there are several.
    fn abbreviated(&self, hex: &str) -> Result<Option<Id>> {
        // The first and the last id that begin with `hex`.
        let filled = |fill: &str| {
            Id::parse(&format!(
                "{hex}{}",
                fill.repeat(64_usize.saturating_sub(hex.len()))
            ))
        };
        let (Some(low), Some(high)) = (filled("0"), filled("f")) else {
            return Ok(None);
        };
        // The index of commits contains trees too, so read enough ids to see past them.
        let ids =
            self.repo
                .index()?
                .ids_between(PackKind::of(ObjectKind::Commit), &low, &high, 4096)?;
        let versions: Vec<Id> = ids
            .into_iter()
            // Trees are in the same index, and only a commit can be read as one.
            .filter(|id| self.repo.commit_cached(id).is_ok())
            .collect();
        self.only(hex, versions)
    }

    fn only(&self, text: &str, versions: Vec<Id>) -> Result<Option<Id>> {
        match versions.as_slice() {
            [] => Ok(None),
            [id] => Ok(Some(*id)),
            many => {
                // The candidates are shown with more digits than the user has written, so that they
                // differ.
                let longer = (text.len() + 4).clamp(8, 64);
                let candidates = many
                    .iter()
                    .take(SHOWN_MAX)
                    .map(|id| id.to_string()[..longer].to_owned())
                    .collect();
                Err(ResolveError::Ambiguous {
                    text: text.to_owned(),
                    candidates,
                }
                .into())
            }
        }
    }

    /// Resolves `branch@sel`. In this order, `sel` is a tag of the branch, `latest`, an ordinal, an
    /// abbreviated id, or a date.
    fn scoped(&self, branch: Option<&RefName>, selector: &Selector) -> Result<Id> {
        let (branch, tip) = match branch.or(self.head.branch.as_ref()) {
            Some(name) => (name.clone(), self.repo.refs().value(RefKind::Branch, name)?),
            None => {
                return Err(no_step(
                    format!("@{selector}"),
                    "HEAD is detached, so there is no current branch",
                ));
            }
        };
        // A tag of the branch takes precedence over ordinals, ids and dates.
        if let Selector::Name(tag) = selector
            && let Some(id) = self
                .repo
                .refs()
                .value(RefKind::Tag, &RefName::scoped(&branch, tag.as_str())?)?
        {
            return Ok(id);
        }
        let tip = match tip {
            Some(tip) => tip,
            None => self.remote_tip(&branch, selector)?,
        };
        if matches!(selector, Selector::Name(name) if name.as_str() == LATEST) {
            return Ok(tip);
        }
        let found = match (selector.ordinal(), selector) {
            (Some(ordinal), _) => self
                // Ordinals decrease along the line, so the search ends at the first one that is not
                // greater.
                .along(tip, |c| c.ordinal <= ordinal)?
                .filter(|(_, c)| c.ordinal == ordinal),
            (None, Selector::Name(text)) => match self.on_branch(tip, text)? {
                Some(found) => Some(found),
                None => match text.as_str().parse::<When>() {
                    Ok(when @ When::Day(_)) => self.not_newer_than(tip, &when)?,
                    _ => None,
                },
            },
            (None, Selector::Ordinal(_)) => None,
        };
        match found {
            Some((id, _)) => Ok(id),
            None => {
                let tip = self.repo.commit_cached(&tip)?.ordinal;
                let (branch, selector) = (branch.to_string(), selector.to_string());
                Err(ResolveError::NoSuchVersion {
                    branch,
                    selector,
                    tip,
                }
                .into())
            }
        }
    }

    /// Returns the tip of a remote branch.
    fn remote_tip(&self, name: &RefName, selector: &Selector) -> Result<Id> {
        match self.repo.refs().value(RefKind::Remote, name)? {
            Some(id) => Ok(id),
            None if self.repo.refs().value(RefKind::Tag, name)?.is_some() => Err(no_step(
                format!("{name}@{selector}"),
                &format!("`{name}` is a tag, not a branch"),
            )),
            None => Err(self.unknown(name)),
        }
    }

    /// Returns the version of the branch whose id starts with `text`, or `None`. Fails if there are
    /// several.
    fn on_branch(&self, tip: Id, text: &RefName) -> Result<Option<(Id, Commit)>> {
        let Some(hex) = hex_prefix(text).map(str::to_ascii_lowercase) else {
            return Ok(None);
        };
        let mut found = Vec::new();
        for version in CommitReader::new(self.repo).first_parents(tip) {
            let (id, commit) = version?;
            if id.to_string().starts_with(&hex) {
                found.push((id, commit));
            }
        }
        self.only(&hex, found.iter().map(|(id, _)| *id).collect())?;
        Ok(found.pop())
    }

    /// Returns the first matching version along first parents.
    fn along(&self, tip: Id, fits: impl Fn(&Commit) -> bool) -> Result<Option<(Id, Commit)>> {
        for version in CommitReader::new(self.repo).first_parents(tip) {
            let (id, commit) = version?;
            if fits(&commit) {
                return Ok(Some((id, commit)));
            }
        }
        Ok(None)
    }

    /// Returns the newest version that is not newer than a time. Times are compared in whole
    /// seconds, as they are displayed.
    fn not_newer_than(&self, tip: Id, when: &When) -> Result<Option<(Id, Commit)>> {
        let limit = when.resolve(&self.context.now, Edge::End)?.secs;
        self.along(tip, |c| c.time.secs <= limit)
    }

    fn step(&self, from: Id, step: Suffix, so_far: impl Fn() -> String) -> Result<Id> {
        match step {
            Suffix::Ancestor(count) => {
                let mut commits = CommitReader::new(self.repo);
                let mut line = commits.first_parents(from);
                match line.nth(usize::try_from(count).unwrap_or(usize::MAX)) {
                    Some(version) => Ok(version?.0),
                    None => Err(no_step(
                        so_far(),
                        "the version does not have that many ancestors",
                    )),
                }
            }
            // As in git, `^0` is the version itself.
            Suffix::Parent(0) => Ok(from),
            Suffix::Parent(n) => {
                let parents = self.repo.commit_cached(&from)?.parents;
                let parent = usize::try_from(n).ok().and_then(|n| parents.get(n - 1));
                parent
                    .copied()
                    .ok_or_else(|| no_step(so_far(), &format!("the version has no parent {n}")))
            }
            Suffix::At(when) => match self.not_newer_than(from, &when)? {
                Some((id, _)) => Ok(id),
                None => Err(no_step(
                    so_far(),
                    "the first version is newer than this time",
                )),
            },
            Suffix::Update(_) => Err(no_step(so_far(), "only a branch or a tag has a ref log")),
        }
    }

    /// Returns the value of a ref before a number of updates.
    fn update(&self, base: &RevisionBase, updates: u64, so_far: impl Fn() -> String) -> Result<Id> {
        let Some((kind, name)) = self.base_ref(base)? else {
            return Err(no_step(so_far(), "only a branch or a tag has a ref log"));
        };
        let log = self.repo.refs().log(kind, &name)?;
        let entry = usize::try_from(updates).ok().and_then(|n| log.get(n));
        match entry.map(value_of) {
            Some(Some(id)) => Ok(id),
            Some(None) => Err(no_step(
                so_far(),
                "the ref did not exist at that time, because it was deleted",
            )),
            None => Err(no_step(
                so_far(),
                &match log.len() {
                    1 => format!("the ref log of `{name}` has only 1 entry"),
                    n => format!("the ref log of `{name}` has only {n} entries"),
                },
            )),
        }
    }
}

/// Returns NAME of `refs/heads/NAME`, `refs/tags/NAME` or `refs/remotes/NAME`, because a name may
/// be both a branch and a tag.
fn full_name(text: &RefName, kind: RefKind) -> Option<RefName> {
    let name = text
        .as_str()
        .strip_prefix("refs/")?
        .strip_prefix(kind.dir())?
        .strip_prefix('/')?;
    RefName::tracked(name).ok()
}

fn no_step(revision: String, why: &str) -> crate::error::Error {
    ResolveError::NoStep {
        revision,
        why: why.to_owned(),
    }
    .into()
}

#[cfg(test)]
mod tests;
