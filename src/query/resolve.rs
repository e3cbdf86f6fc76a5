//! From revisions to ids: what a name, a selector and each suffix stand for in a repository.
//!
//! Refs win over abbreviated ids. What can be meant in two ways is an error that names both.

use crate::context::Context;
use crate::error::{Failure, Kind, Result};
use crate::format::pack::PackKind;
use crate::model::commit::Commit;
use crate::model::id::{Id, ObjectKind};
use crate::model::path::{display, split};
use crate::model::refname::{RefKind, RefName};
use crate::model::revision::{Revision, RevisionBase, RevisionSpec, Selector, Suffix, hex_prefix};
use crate::model::suggest::nearest;
use crate::model::when::{Edge, When};
use crate::query::history::Commits;
use crate::refs::head::Head;
use crate::repo::Repo;
use crate::repo::refs::value_of;

/// Candidates that an error names at most.
const SHOWN_MAX: usize = 8;

/// `branch@latest` is the branch's tip, unless the branch has a tag of that name.
const LATEST: &str = "latest";

/// A revision stands for nothing, or for more than one thing.
#[derive(Debug, thiserror::Error)]
pub enum ResolveError {
    /// No branch, tag or id.
    #[error("there is no branch, tag or version `{name}`")]
    Unknown {
        /// What was asked for.
        name: String,
        /// What may have been meant.
        near: Option<String>,
    },
    /// More than one thing.
    #[error("`{text}` is ambiguous: {}", candidates.join(", "))]
    Ambiguous {
        /// What was asked for.
        text: String,
        /// What it may be.
        candidates: Vec<String>,
    },
    /// The branch has no version yet.
    #[error("branch `{branch}` has no version yet")]
    Unborn {
        /// Its name.
        branch: String,
    },
    /// A selector that no version of the branch fits.
    #[error("`{branch}` has no version `{selector}`")]
    NoSuchVersion {
        /// The branch.
        branch: String,
        /// The selector.
        selector: String,
        /// The ordinal of its tip.
        tip: u64,
    },
    /// A step that leads nowhere.
    #[error("`{revision}` does not exist: {why}")]
    NoStep {
        /// The revision up to that step.
        revision: String,
        /// Why.
        why: String,
    },
    /// A path that the version does not hold, or that cannot be one.
    #[error("`{path}` is not in `{revision}`")]
    NoPath {
        /// The version.
        revision: String,
        /// The path.
        path: String,
    },
    /// A path that neither of two sides holds.
    #[error("there is neither {old} nor {new}")]
    Nowhere {
        /// The old side, as it was written.
        old: String,
        /// The new side.
        new: String,
    },
    /// A path where only a version makes sense.
    #[error("`{0}` names a path, but a whole version is wanted")]
    WithPath(String),
    /// A repository where only a version of the current one makes sense.
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
            Self::Unknown { near: Some(near), .. } => Some(format!("did you mean `{near}`?")),
            Self::Unknown { .. } => {
                Some("`dvc branch` and `dvc tag` list what there is; a path stands after `--`".to_owned())
            }
            Self::Ambiguous { .. } => Some("write more digits, or the full name".to_owned()),
            Self::Unborn { .. } => Some("`dvc commit` makes the first".to_owned()),
            Self::NoSuchVersion { branch, tip, .. } => Some(format!("`{branch}` has v1 to v{tip}")),
            Self::OtherRepository(_) => Some("name the repository with `--repo`".to_owned()),
            Self::WithPath(_) => Some("`dvc log REV -- PATH` lists the versions that change a path".to_owned()),
            Self::NoStep { .. } | Self::NoPath { .. } | Self::Nowhere { .. } => None,
        }
    }
}

/// A version and a path in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The version.
    pub version: Id,
    /// The names of the path; empty is the root.
    pub path: Vec<Vec<u8>>,
}

/// Resolves revisions for one worktree and one moment.
pub struct Resolver<'a> {
    repo: &'a Repo,
    context: &'a Context,
    head: Head,
}

impl<'a> Resolver<'a> {
    /// Reads HEAD.
    pub fn new(repo: &'a Repo, context: &'a Context) -> Result<Self> {
        Ok(Self { repo, context, head: Head::read(context, repo)? })
    }

    /// HEAD as it was read.
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// The version that a revision stands for.
    pub fn revision(&self, revision: &Revision) -> Result<Id> {
        let mut id = None;
        for (n, suffix) in revision.suffixes.iter().enumerate() {
            let so_far = || {
                let suffixes = revision.suffixes.iter().take(n + 1).copied().collect();
                Revision { base: revision.base.clone(), suffixes }.to_string()
            };
            id = Some(match (suffix, id) {
                (Suffix::Update(updates), None) => self.update(&revision.base, *updates, so_far)?,
                (Suffix::Update(_), Some(_)) => {
                    return Err(no_step(so_far(), "only a branch or a tag has updates"));
                }
                (step, id) => {
                    let from = id.map_or_else(|| self.base(&revision.base), Ok)?;
                    self.step(from, *step, so_far)?
                }
            });
        }
        id.map_or_else(|| self.base(&revision.base), Ok)
    }

    /// The version and the path of `rev[:path]`; whether the path exists is not looked at.
    pub fn spec(&self, spec: &RevisionSpec) -> Result<Target> {
        if spec.url.is_some() {
            return Err(ResolveError::OtherRepository(spec.to_string()).into());
        }
        let version = self.revision(&spec.revision)?;
        let path = spec.path.as_deref().unwrap_or_default();
        let path = split(path)
            .ok_or_else(|| ResolveError::NoPath { revision: spec.revision.to_string(), path: display(path) })?;
        Ok(Target { version, path })
    }

    /// The version of a revision that must not name a path.
    pub fn whole(&self, spec: &RevisionSpec) -> Result<Id> {
        match spec.path {
            Some(_) => Err(ResolveError::WithPath(spec.to_string()).into()),
            None => Ok(self.spec(spec)?.version),
        }
    }

    /// The branch that a revision names, if it is exactly a branch: where `checkout` moves HEAD to.
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

    /// The ref that a revision names, if it is exactly a ref: whose log is meant.
    pub fn ref_of(&self, revision: &Revision) -> Result<Option<(RefKind, RefName)>> {
        if revision.suffixes.is_empty() { self.base_ref(&revision.base) } else { Ok(None) }
    }

    /// A ref that exists or did once.
    fn base_ref(&self, base: &RevisionBase) -> Result<Option<(RefKind, RefName)>> {
        match base {
            RevisionBase::Head => Ok(self.head.branch.clone().map(|branch| (RefKind::Branch, branch))),
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
            RevisionBase::Scoped(branch, Selector::Name(tag)) => match branch.as_ref().or(self.head.branch.as_ref()) {
                Some(branch) => {
                    let tag = RefName::scoped(branch, tag.as_str())?;
                    let exists = self.repo.refs().tip(RefKind::Tag, &tag)?.is_some();
                    Ok(exists.then_some((RefKind::Tag, tag)))
                }
                None => Ok(None),
            },
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
            (None, Some(branch)) => Err(ResolveError::Unborn { branch: branch.to_string() }.into()),
            (None, None) => Err(no_step("@".to_owned(), "the worktree has no version yet")),
        }
    }

    /// Refs of any kind, then the beginning of an id.
    fn name(&self, name: &RefName) -> Result<Id> {
        let mut found: Vec<(RefKind, Id)> = Vec::new();
        for kind in RefKind::ALL {
            for name in full_name(name, kind).iter().chain([name]) {
                found.extend(self.repo.refs().value(kind, name)?.map(|id| (kind, id)));
            }
        }
        match found.as_slice() {
            [(_, id), rest @ ..] if rest.iter().all(|(_, other)| other == id) => Ok(*id),
            [] => match hex_prefix(name) {
                Some(hex) => self.abbreviated(hex)?.map_or_else(|| Err(self.unknown(name)), Ok),
                None => Err(self.unknown(name)),
            },
            many => {
                let full = |kind: RefKind, id: &Id| format!("refs/{}/{name} ({})", kind.dir(), id.short());
                let candidates = many.iter().map(|(kind, id)| full(*kind, id)).collect();
                Err(ResolveError::Ambiguous { text: name.to_string(), candidates }.into())
            }
        }
    }

    fn unknown(&self, name: &RefName) -> crate::error::Error {
        if self.head.branch.as_ref() == Some(name) {
            return ResolveError::Unborn { branch: name.to_string() }.into();
        }
        let refs = self.repo.refs();
        let known = RefKind::ALL.iter().filter_map(|kind| refs.readable(*kind).ok()).flat_map(|all| all.tips);
        let known: Vec<String> = known.map(|tip| tip.name.to_string()).collect();
        let near = nearest(name.as_str(), known.iter().map(String::as_str)).map(str::to_owned);
        ResolveError::Unknown { name: name.to_string(), near }.into()
    }

    /// The only version whose id begins so.
    fn abbreviated(&self, hex: &str) -> Result<Option<Id>> {
        let filled = |fill: &str| Id::parse(&format!("{hex}{}", fill.repeat(64_usize.saturating_sub(hex.len()))));
        let (Some(low), Some(high)) = (filled("0"), filled("f")) else { return Ok(None) };
        // Trees stand in the same index: enough is asked for to see past them.
        let ids = self.repo.index()?.ids_between(PackKind::of(ObjectKind::Commit), &low, &high, 4096)?;
        let versions: Vec<Id> = ids.into_iter().filter(|id| self.repo.commit_cached(id).is_ok()).collect();
        self.only(hex, versions)
    }

    fn only(&self, text: &str, versions: Vec<Id>) -> Result<Option<Id>> {
        match versions.as_slice() {
            [] => Ok(None),
            [id] => Ok(Some(*id)),
            many => {
                let longer = (text.len() + 4).clamp(8, 64);
                let candidates = many.iter().take(SHOWN_MAX).map(|id| id.to_string()[..longer].to_owned()).collect();
                Err(ResolveError::Ambiguous { text: text.to_owned(), candidates }.into())
            }
        }
    }

    /// `branch@sel`: a tag of the branch, an ordinal, the beginning of an id, a date.
    fn scoped(&self, branch: Option<&RefName>, selector: &Selector) -> Result<Id> {
        let (branch, tip) = match branch.or(self.head.branch.as_ref()) {
            Some(name) => (name.clone(), self.repo.refs().value(RefKind::Branch, name)?),
            None => return Err(no_step(format!("@{selector}"), "the worktree is on no branch")),
        };
        if let Selector::Name(tag) = selector
            && let Some(id) = self.repo.refs().value(RefKind::Tag, &RefName::scoped(&branch, tag.as_str())?)?
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
            (Some(ordinal), _) => self.along(tip, |c| c.ordinal <= ordinal)?.filter(|(_, c)| c.ordinal == ordinal),
            (None, Selector::Name(text)) => match self.on_branch(tip, text)? {
                Some(found) => Some(found),
                None => match text.as_str().parse::<When>() {
                    Ok(when @ When::Day(_)) => self.not_younger(tip, &when)?,
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
                Err(ResolveError::NoSuchVersion { branch, selector, tip }.into())
            }
        }
    }

    /// The tip of what is no branch here: a remote's branch.
    fn remote_tip(&self, name: &RefName, selector: &Selector) -> Result<Id> {
        match self.repo.refs().value(RefKind::Remote, name)? {
            Some(id) => Ok(id),
            None if self.repo.refs().value(RefKind::Tag, name)?.is_some() => {
                Err(no_step(format!("{name}@{selector}"), &format!("`{name}` is a tag, not a branch")))
            }
            None => Err(self.unknown(name)),
        }
    }

    /// The version of the branch whose id begins so.
    fn on_branch(&self, tip: Id, text: &RefName) -> Result<Option<(Id, Commit)>> {
        let Some(hex) = hex_prefix(text).map(str::to_ascii_lowercase) else { return Ok(None) };
        let mut found = Vec::new();
        for version in Commits::new(self.repo).first_parents(tip) {
            let (id, commit) = version?;
            if id.to_string().starts_with(&hex) {
                found.push((id, commit));
            }
        }
        self.only(&hex, found.iter().map(|(id, _)| *id).collect())?;
        Ok(found.pop())
    }

    /// The first version along first parents that fits.
    fn along(&self, tip: Id, fits: impl Fn(&Commit) -> bool) -> Result<Option<(Id, Commit)>> {
        for version in Commits::new(self.repo).first_parents(tip) {
            let (id, commit) = version?;
            if fits(&commit) {
                return Ok(Some((id, commit)));
            }
        }
        Ok(None)
    }

    /// The newest version that was made at that time or before; times are compared by whole seconds, as they are shown.
    fn not_younger(&self, tip: Id, when: &When) -> Result<Option<(Id, Commit)>> {
        let limit = when.resolve(&self.context.now, Edge::End)?.secs;
        self.along(tip, |c| c.time.secs <= limit)
    }

    fn step(&self, from: Id, step: Suffix, so_far: impl Fn() -> String) -> Result<Id> {
        match step {
            Suffix::Ancestor(count) => {
                let mut commits = Commits::new(self.repo);
                let mut line = commits.first_parents(from);
                match line.nth(usize::try_from(count).unwrap_or(usize::MAX)) {
                    Some(version) => Ok(version?.0),
                    None => Err(no_step(so_far(), "it goes beyond the first version")),
                }
            }
            Suffix::Parent(0) => Ok(from),
            Suffix::Parent(n) => {
                let parents = self.repo.commit_cached(&from)?.parents;
                let parent = usize::try_from(n).ok().and_then(|n| parents.get(n - 1));
                parent.copied().ok_or_else(|| no_step(so_far(), &format!("it has no parent {n}")))
            }
            Suffix::At(when) => match self.not_younger(from, &when)? {
                Some((id, _)) => Ok(id),
                None => Err(no_step(so_far(), "the first version is younger")),
            },
            Suffix::Update(_) => Err(no_step(so_far(), "only a branch or a tag has updates")),
        }
    }

    /// What a ref was so many updates ago.
    fn update(&self, base: &RevisionBase, updates: u64, so_far: impl Fn() -> String) -> Result<Id> {
        let Some((kind, name)) = self.base_ref(base)? else {
            return Err(no_step(so_far(), "only a branch or a tag has updates"));
        };
        let log = self.repo.refs().log(kind, &name)?;
        let entry = usize::try_from(updates).ok().and_then(|n| log.get(n));
        match entry.map(value_of) {
            Some(Some(id)) => Ok(id),
            Some(None) => Err(no_step(so_far(), "it was deleted then")),
            None => Err(no_step(so_far(), &format!("`{name}` has {} updates", log.len()))),
        }
    }
}

/// NAME of `refs/heads/NAME`, `refs/tags/NAME` or `refs/remotes/NAME`: one name may be both a branch and a tag.
fn full_name(text: &RefName, kind: RefKind) -> Option<RefName> {
    let name = text.as_str().strip_prefix("refs/")?.strip_prefix(kind.dir())?.strip_prefix('/')?;
    RefName::tracked(name).ok()
}

fn no_step(revision: String, why: &str) -> crate::error::Error {
    ResolveError::NoStep { revision, why: why.to_owned() }.into()
}

#[cfg(test)]
mod tests;
