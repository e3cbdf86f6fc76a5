//! Moves refs for `branch`, `tag` and `undo`.
//!
//! A move names the expected old value. If another process wins the race, the move fails; it is not
//! retried with the new value.

use crate::context::Context;
use crate::error::{Failure, Kind, Result};
use crate::format::refentry::RefEntry;
use crate::model::id::Id;
use crate::model::refname::{RefKind, RefName};
use crate::observe::Observer;
use crate::repo::Repo;
use crate::repo::refs::{Move, value_of};
use std::collections::BTreeSet;

/// The prefix of the reasons that a rename writes into ref logs.
pub const RENAME_REASON: &str = "branch: renamed ";

/// A ref that was moved, or would be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MovedRef {
    pub kind: RefKind,
    pub name: RefName,
    /// The old version; `None` if the ref was created.
    pub old: Option<Id>,
    /// The new version; `None` if the ref was deleted.
    pub new: Option<Id>,
}

/// Errors of moving refs.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the names of the fields explain them")]
pub enum RefMoveError {
    #[error("the {} `{name}` already exists", kind.name())]
    Exists { kind: RefKind, name: RefName },
    #[error("no {} `{name}`", kind.name())]
    Missing { kind: RefKind, name: RefName },
    /// Another process won the race.
    #[error("cannot move the {} `{name}`: another process moved it at the same time", kind.name())]
    Raced { kind: RefKind, name: RefName },
    /// A worktree is on the branch.
    #[error("cannot delete branch `{name}`: it is the current branch of `{worktree}`")]
    Current { name: RefName, worktree: String },
    /// A tag of the current branch, but HEAD is detached.
    #[error("cannot resolve `@{0}`: HEAD is detached, so there is no current branch")]
    NoBranch(String),
    /// An operation on the current branch, but HEAD is detached.
    #[error("cannot {0}: HEAD is detached, so there is no current branch")]
    Detached(&'static str),
    /// `undo` without a name, but HEAD is detached.
    #[error("cannot undo: HEAD is detached, so there is no current branch")]
    NoBranchToUndo,
    /// No change is left to undo.
    #[error("no change to undo{}", name.as_ref().map(|n| format!(" for `{n}`")).unwrap_or_default())]
    NothingToUndo { name: Option<String> },
}

impl Failure for RefMoveError {
    fn kind(&self) -> Kind {
        match self {
            Self::Exists { .. } | Self::Raced { .. } | Self::Current { .. } => Kind::Rejected,
            Self::Missing { .. } | Self::NothingToUndo { .. } => Kind::NotFound,
            Self::NoBranch(_) | Self::Detached(_) | Self::NoBranchToUndo => Kind::Usage,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Exists { kind, name } => Some(format!(
                "run `dvc {word} -f {name} REV` to move the {word}",
                word = kind.name()
            )),
            Self::Raced { .. } => {
                Some("check the new version and run the command again".to_owned())
            }
            Self::Missing {
                kind: RefKind::Tag, ..
            } => Some("run `dvc tag` to list the tags".to_owned()),
            Self::Missing { .. } => Some("run `dvc branch --all` to list the branches".to_owned()),
            Self::Detached(_) => Some("run `dvc checkout BRANCH` first".to_owned()),
            Self::NoBranchToUndo => Some("name the branch or tag: `dvc undo NAME`".to_owned()),
            Self::Current { .. } => {
                Some("check out another branch in that worktree first".to_owned())
            }
            _ => None,
        }
    }
}

/// Moves refs of one repository, and lists the moves.
pub struct Mover<'a> {
    context: &'a Context,
    repo: &'a Repo,
    observer: &'a dyn Observer,
    dry_run: bool,
    /// The moves so far.
    pub moves: Vec<MovedRef>,
}

impl<'a> Mover<'a> {
    /// Prepares moves in a repository. `dry_run` moves nothing.
    pub fn new(
        context: &'a Context,
        repo: &'a Repo,
        observer: &'a dyn Observer,
        dry_run: bool,
    ) -> Self {
        Self {
            context,
            repo,
            observer,
            dry_run,
            moves: Vec::new(),
        }
    }

    /// Creates a ref. An existing ref is moved only with `force`.
    pub fn create(
        &mut self,
        kind: RefKind,
        name: &RefName,
        id: Id,
        force: bool,
        why: &str,
    ) -> Result<()> {
        let tip = match self.repo.refs().tip(kind, name) {
            Err(e) if force && e.kind() == Kind::Integrity => {
                return self.repair(kind, name, id, why);
            }
            // No entry can follow the greatest number, so the newest entry is replaced.
            Ok(Some(tip)) if force && tip.seq == u64::MAX => {
                return self.repair(kind, name, id, why);
            }
            tip => tip?,
        };
        match tip.as_ref().and_then(value_of) {
            // The ref has the value already. A further entry would be one more step for `undo`.
            Some(old) if old == id => Ok(()),
            Some(_) if !force => Err(RefMoveError::Exists {
                kind,
                name: name.clone(),
            }
            .into()),
            _ => self.update(kind, name, tip.as_ref(), Some(id), why),
        }
    }

    /// Replaces the newest entry of a ref, if it is damaged or has the greatest possible number.
    fn repair(&mut self, kind: RefKind, name: &RefName, id: Id, why: &str) -> Result<()> {
        if !self.dry_run {
            let why = format!("{why} (repaired)");
            let how = Move {
                who: &self.context.author,
                why: &why,
                time: self.context.moved_at(),
            };
            self.observer.step("ref");
            if !self.repo.refs().repair(kind, name, id, &how)? {
                return Err(RefMoveError::Raced {
                    kind,
                    name: name.clone(),
                }
                .into());
            }
            self.observer.step("ref moved");
        }
        self.moves.push(MovedRef {
            kind,
            name: name.clone(),
            old: None,
            new: Some(id),
        });
        Ok(())
    }

    /// Deletes a ref, which must exist.
    pub fn delete(&mut self, kind: RefKind, name: &RefName, why: &str) -> Result<()> {
        let tip = self.existing(kind, name)?;
        self.update(kind, name, Some(&tip), None, why)
    }

    /// Deletes all of these refs, or none of them if one does not exist.
    pub fn delete_all(
        &mut self,
        kind: RefKind,
        names: &BTreeSet<RefName>,
        why: &str,
    ) -> Result<()> {
        // All names are checked first, so that a wrong name deletes nothing.
        names
            .iter()
            .try_for_each(|name| self.existing(kind, name).map(drop))?;
        names
            .iter()
            .try_for_each(|name| self.delete(kind, name, why))
    }

    /// Returns the newest entry of a ref, which must exist.
    fn existing(&self, kind: RefKind, name: &RefName) -> Result<RefEntry> {
        let tip = self
            .repo
            .refs()
            .tip(kind, name)?
            .filter(|tip| value_of(tip).is_some());
        tip.ok_or_else(|| {
            RefMoveError::Missing {
                kind,
                name: name.clone(),
            }
            .into()
        })
    }

    /// Moves a ref whose newest entry is `tip`.
    pub fn update(
        &mut self,
        kind: RefKind,
        name: &RefName,
        tip: Option<&RefEntry>,
        new: Option<Id>,
        why: &str,
    ) -> Result<()> {
        if !self.dry_run {
            let how = Move {
                who: &self.context.author,
                why,
                time: self.context.moved_at(),
            };
            self.observer.step("ref");
            if self
                .repo
                .move_ref(kind, name, tip.and_then(value_of).as_ref(), new, &how)?
                .is_none()
            {
                return Err(RefMoveError::Raced {
                    kind,
                    name: name.clone(),
                }
                .into());
            }
            self.observer.step("ref moved");
        }
        self.moves.push(MovedRef {
            kind,
            name: name.clone(),
            old: tip.and_then(value_of),
            new,
        });
        Ok(())
    }
}

/// Fails for a tag that is scoped by a missing branch, because no revision would ever find the tag.
pub fn ensure_tag_branch(repo: &Repo, tag: &RefName) -> Result<()> {
    let Some((branch, _)) = tag.scope() else {
        return Ok(());
    };
    let name = RefName::new(branch)?;
    for kind in [RefKind::Branch, RefKind::Remote] {
        if repo.refs().value(kind, &name)?.is_some() {
            return Ok(());
        }
    }
    Err(RefMoveError::Missing {
        kind: RefKind::Branch,
        name,
    }
    .into())
}
