//! HEAD: the branch of a worktree, and the version that its files came from.

use crate::context::{Context, InMount};
use crate::error::{Failure, Kind, Result};
use crate::model::id::Id;
use crate::model::refname::{RefKind, RefName};
use crate::model::revision::Revision;
use crate::repo::Repo;

/// HEAD has never moved to another branch.
#[derive(Debug, thiserror::Error)]
#[error("no previous branch: this worktree was never on another branch")]
pub struct NoPrevious;

impl Failure for NoPrevious {
    fn kind(&self) -> Kind {
        Kind::NotFound
    }

    fn hint(&self) -> Option<String> {
        Some("name a branch; run `dvc branch` to list the branches".to_owned())
    }
}

/// The state of the worktree of a [`Context`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The branch; `None` is a detached HEAD.
    pub branch: Option<RefName>,
    /// The version that the files came from or were committed as.
    pub base: Option<Id>,
    /// Whether the worktree was ever used with this repository. If not, HEAD is the default branch.
    pub known: bool,
}

impl Head {
    /// Reads HEAD of the worktree or the mount of `context`.
    pub fn read(context: &Context, repo: &Repo) -> Result<Self> {
        if let Some(mount) = &context.mount {
            return Self::of_mount(mount);
        }
        match repo.worktree(&context.worktree)?.state()? {
            Some(state) => Ok(Self {
                branch: state.branch.as_deref().map(RefName::new).transpose()?,
                base: state.base.as_deref().and_then(Id::parse),
                known: true,
            }),
            // A worktree that was never used is on the default branch.
            None => {
                let branch = Some(RefName::new(&repo.marker().default_branch)?);
                Ok(Self {
                    branch,
                    base: None,
                    known: false,
                })
            }
        }
    }

    /// Returns the HEAD of a mount.
    pub fn of_mount(mount: &InMount) -> Result<Self> {
        let facts = mount.facts()?;
        Ok(Self {
            branch: facts.branch.as_deref().map(RefName::new).transpose()?,
            base: facts.version.as_deref().and_then(Id::parse),
            known: true,
        })
    }

    /// Returns the branch or version that HEAD was before its last move to another branch.
    pub fn previous(context: &Context) -> Result<Revision> {
        // A mount does not record the previous branch.
        let state = match &context.mount {
            Some(_) => None,
            None => context.repo()?.worktree(&context.worktree)?.state()?,
        };
        match state.and_then(|state| state.previous) {
            Some(text) => Ok(Revision::parse(&text)?),
            None => Err(NoPrevious.into()),
        }
    }

    /// Returns the current version: the tip of the branch, or the version of a detached HEAD.
    /// `None` on an unborn branch.
    pub fn version(&self, repo: &Repo) -> Result<Option<Id>> {
        match &self.branch {
            Some(branch) => repo.refs().value(RefKind::Branch, branch),
            None => Ok(self.base),
        }
    }
}
