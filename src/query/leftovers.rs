//! Distinguishes what interrupted checkouts left in the worktree from what the user has changed
//! since.
//!
//! Content that is in no version counts as left by a checkout only if the checkout may have died
//! while it was writing the file, and the file has nothing that the version does not have.

use std::path::Path;

use crate::checkout::patch::journal::Interrupted;
use crate::checkout::patch::part::is_part_of;
use crate::error::{Kind, Result};
use crate::model::entry::{Entry, Node};
use crate::model::id::Id;
use crate::model::path::{is_within, split};
use crate::query::compare::{Letter, letter};
use crate::repo::Repo;

/// The versions of interrupted checkouts, whose remains may be in the worktree.
pub struct CheckoutLeftovers<'a> {
    repo: &'a Repo,
    worktree: &'a Path,
    interrupted: &'a Interrupted,
    base: Option<Id>,
    target: Id,
    others: Vec<Id>,
}

impl<'a> CheckoutLeftovers<'a> {
    /// Returns the leftovers in a worktree that had the base version of the interrupted checkout.
    pub fn new(repo: &'a Repo, worktree: &'a Path, interrupted: &'a Interrupted) -> Result<Self> {
        let base = interrupted
            .goal
            .base
            .map(|id| repo.commit_cached(&id))
            .transpose()?;
        Ok(Self {
            base: base.map(|commit| commit.tree),
            ..Self::anywhere(repo, worktree, interrupted)?
        })
    }

    /// Returns the leftovers in a worktree with unknown content.
    pub fn anywhere(
        repo: &'a Repo,
        worktree: &'a Path,
        interrupted: &'a Interrupted,
    ) -> Result<Self> {
        let tree = |id: &Id| repo.commit_cached(id).map(|c| c.tree);
        let target = tree(&interrupted.goal.target)?;
        let others = interrupted.others.iter().map(tree).collect::<Result<_>>()?;
        Ok(Self {
            repo,
            worktree,
            interrupted,
            base: None,
            target,
            others,
        })
    }

    /// Returns whether an interrupted checkout may have written the entry `now` at `path`.
    pub fn holds(&self, path: &[u8], now: Option<&Entry>) -> Result<bool> {
        if self.interrupted.is_leftover(path)
            || self.interrupted.half_written.iter().any(|p| p == path)
        {
            return Ok(true);
        }
        let scope = &self.interrupted.goal.scope;
        // The checkout writes nothing outside of its scope.
        if (scope.is_empty() || scope.iter().any(|s| is_within(path, s)))
            && self.may_come_from(&self.target, path, now)?
        {
            return Ok(true);
        }
        for other in &self.others {
            if self.may_come_from(other, path, now)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Returns whether the entry may come from a checkout of the version with the root tree `to`.
    fn may_come_from(&self, to: &Id, path: &[u8], now: Option<&Entry>) -> Result<bool> {
        let names = split(path).unwrap_or_default();
        let (was, is) = (
            self.at(self.base.as_ref(), &names)?,
            self.at(Some(to), &names)?,
        );
        // A checkout does not write paths that are equal in both versions.
        if was == is {
            return Ok(false);
        }
        // The entries of a directory are checked separately.
        let same = |entry: &Entry| {
            now.is_some() && matches!(letter(Some(entry), now), None | Some(Letter::Metadata))
        };
        if was.as_ref().is_some_and(same) || is.as_ref().is_some_and(same) {
            return Ok(true);
        }
        // In a new directory, files are written under their final names.
        let (Some(is), Some(_)) = (is, now) else {
            return Ok(false);
        };
        let in_new = || match is_part_of(self.repo, self.worktree, path, &is) {
            // A checkout writes a file only when its content is local. If the content is not local,
            // no checkout wrote this file.
            Err(e) if e.kind() == Kind::Unreachable => Ok(false),
            other => other,
        };
        if self.interrupted.goal.into {
            return in_new();
        }
        // If the base has no directory at a path above, the checkout made that directory.
        let mut above = names.as_slice();
        while let Some((_, rest)) = above.split_last().filter(|(_, rest)| !rest.is_empty()) {
            above = rest;
            let node = self.at(self.base.as_ref(), above)?.map(|e| e.node);
            if !matches!(node, Some(Node::Dir { .. })) {
                return in_new();
            }
        }
        Ok(false)
    }

    fn at(&self, tree: Option<&Id>, names: &[Vec<u8>]) -> Result<Option<Entry>> {
        tree.map_or(Ok(None), |tree| self.repo.find(tree, names))
    }
}
