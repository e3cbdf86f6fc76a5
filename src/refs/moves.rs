//! Moving refs on behalf of a user: `branch`, `tag` and `undo` all end here.
//!
//! A move names what it expects to find; if another process was faster it is refused, never repeated blindly.

use crate::context::Context;
use crate::error::{Failure, Kind, Result};
use crate::format::refentry::RefEntry;
use crate::model::id::Id;
use crate::model::refname::{RefKind, RefName};
use crate::observe::Observer;
use crate::repo::Repo;
use crate::repo::refs::{Move, value_of};
use std::collections::BTreeSet;

/// A ref that was moved, or would be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Moved {
    /// What it is.
    pub kind: RefKind,
    /// Its name.
    pub name: RefName,
    /// What it was; `None` if it did not exist.
    pub old: Option<Id>,
    /// What it is now; `None` if it was deleted.
    pub new: Option<Id>,
}

/// A ref cannot be moved.
#[derive(Debug, thiserror::Error)]
pub enum RefMoveError {
    /// There is one already.
    #[error("there is a {} `{name}` already", kind.name())]
    Exists {
        /// What it is.
        kind: RefKind,
        /// Its name.
        name: RefName,
    },
    /// There is none.
    #[error("there is no {} `{name}`", kind.name())]
    Missing {
        /// What it is.
        kind: RefKind,
        /// Its name.
        name: RefName,
    },
    /// Another process was faster.
    #[error("{} `{name}` was moved by somebody else at the same time", kind.name())]
    Raced {
        /// What it is.
        kind: RefKind,
        /// Its name.
        name: RefName,
    },
    /// A worktree is on the branch.
    #[error("branch `{name}` is the current branch of `{worktree}`")]
    Current {
        /// Its name.
        name: RefName,
        /// The worktree.
        worktree: String,
    },
    /// A tag of the current branch, but there is none.
    #[error("the worktree is on no branch, so `@{0}` is a tag of none")]
    NoBranch(String),
    /// `undo` without a name, and no current branch.
    #[error("the worktree is on no branch, so there is no change of one to undo")]
    NoBranchToUndo,
    /// No change is left to take back.
    #[error("there is nothing to undo{}", name.as_ref().map(|n| format!(" for `{n}`")).unwrap_or_default())]
    NothingToUndo {
        /// The ref, if one was named.
        name: Option<String>,
    },
}

impl Failure for RefMoveError {
    fn kind(&self) -> Kind {
        match self {
            Self::Exists { .. } | Self::Raced { .. } | Self::Current { .. } => Kind::Rejected,
            Self::Missing { .. } | Self::NothingToUndo { .. } => Kind::NotFound,
            Self::NoBranch(_) | Self::NoBranchToUndo => Kind::Usage,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Exists { kind, name } => Some(format!("`dvc {} -f {name} REV` moves it", kind.name())),
            Self::Raced { .. } => Some("look at it and run the command again".to_owned()),
            Self::Missing { kind, .. } => Some(format!("run `dvc {}` to list what there is", kind.name())),
            Self::NoBranchToUndo => Some("name the branch or tag: `dvc undo NAME`".to_owned()),
            Self::Current { .. } => Some("check another branch out there first".to_owned()),
            _ => None,
        }
    }
}

/// What a user wants done with refs.
pub struct Mover<'a> {
    context: &'a Context,
    repo: &'a Repo,
    observer: &'a dyn Observer,
    dry_run: bool,
    /// What was done so far.
    pub moves: Vec<Moved>,
}

impl<'a> Mover<'a> {
    /// Prepares moves in one repository; with `dry_run` nothing is moved.
    pub fn new(context: &'a Context, repo: &'a Repo, observer: &'a dyn Observer, dry_run: bool) -> Self {
        Self { context, repo, observer, dry_run, moves: Vec::new() }
    }

    /// Creates a ref; one that exists is moved only with `force`.
    pub fn create(&mut self, kind: RefKind, name: &RefName, id: Id, force: bool, why: &str) -> Result<()> {
        let tip = match self.repo.refs().tip(kind, name) {
            Err(e) if force && e.kind() == Kind::Integrity => return self.repair(kind, name, id, why),
            Ok(Some(tip)) if force && tip.seq == u64::MAX => return self.repair(kind, name, id, why),
            tip => tip?,
        };
        match tip.as_ref().and_then(value_of) {
            Some(old) if old == id => Ok(()),
            Some(_) if !force => Err(RefMoveError::Exists { kind, name: name.clone() }.into()),
            _ => self.update(kind, name, tip.as_ref(), Some(id), why),
        }
    }

    /// Writes the damaged newest entry of a ref again.
    fn repair(&mut self, kind: RefKind, name: &RefName, id: Id, why: &str) -> Result<()> {
        if !self.dry_run {
            let why = format!("{why} (repaired)");
            let how = Move { who: &self.context.author, why: &why, time: self.context.moved_at() };
            self.observer.step("ref");
            if !self.repo.refs().repair(kind, name, id, &how)? {
                return Err(RefMoveError::Raced { kind, name: name.clone() }.into());
            }
            self.observer.step("ref moved");
        }
        self.moves.push(Moved { kind, name: name.clone(), old: None, new: Some(id) });
        Ok(())
    }

    /// Deletes a ref that exists.
    pub fn delete(&mut self, kind: RefKind, name: &RefName, why: &str) -> Result<()> {
        let tip = self.existing(kind, name)?;
        self.update(kind, name, Some(&tip), None, why)
    }

    /// Deletes all of them, or none where one does not exist.
    pub fn delete_all(&mut self, kind: RefKind, names: &BTreeSet<RefName>, why: &str) -> Result<()> {
        names.iter().try_for_each(|name| self.existing(kind, name).map(drop))?;
        names.iter().try_for_each(|name| self.delete(kind, name, why))
    }

    /// What a ref that exists says last.
    fn existing(&self, kind: RefKind, name: &RefName) -> Result<RefEntry> {
        let tip = self.repo.refs().tip(kind, name)?.filter(|tip| value_of(tip).is_some());
        tip.ok_or_else(|| RefMoveError::Missing { kind, name: name.clone() }.into())
    }

    /// Moves a ref from what `tip` said.
    pub fn update(
        &mut self,
        kind: RefKind,
        name: &RefName,
        tip: Option<&RefEntry>,
        new: Option<Id>,
        why: &str,
    ) -> Result<()> {
        if !self.dry_run {
            let how = Move { who: &self.context.author, why, time: self.context.moved_at() };
            self.observer.step("ref");
            if self.repo.refs().update(kind, name, tip, new, &how)?.is_none() {
                return Err(RefMoveError::Raced { kind, name: name.clone() }.into());
            }
            self.observer.step("ref moved");
        }
        self.moves.push(Moved { kind, name: name.clone(), old: tip.and_then(value_of), new });
        Ok(())
    }
}
