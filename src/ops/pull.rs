//! `pull`: fetches, and moves the current branch forward to what the remote has. Never merges.

use super::checkout::{CheckoutOptions, CheckoutReport, checkout};
use super::fetch::{FetchOptions, FetchReport, fetch};
use super::push::tracking;
use crate::context::Context;
use crate::context::Remote;
use crate::error::{Failure, Kind, Result};
use crate::model::id::{Id, ObjectKind};
use crate::model::refname::{RefKind, RefName};
use crate::model::revision::{Revision, RevisionBase};
use crate::observe::Observer;
use crate::query::history::ancestors;
use crate::query::lazy;
use crate::query::worktree::WalkOptions;
use crate::refs::head::Head;
use crate::refs::moves::RefMoveError;
use crate::repo::refs::{Move, value_of};

/// What was pulled.
#[derive(Debug)]
pub struct PullReport {
    /// What was fetched.
    pub fetched: FetchReport,
    /// The branch.
    pub branch: RefName,
    /// Its version before.
    pub old: Option<Id>,
    /// Its version now.
    pub new: Id,
    /// What was done to the worktree, where it has files of the branch.
    pub checkout: Option<CheckoutReport>,
}

/// Both sides have versions that the other does not have.
#[derive(Debug, thiserror::Error)]
#[error("`{ours}` and `{theirs}` have both moved on")]
pub struct Diverged {
    /// The branch here.
    pub ours: RefName,
    /// The remote's.
    pub theirs: RefName,
}

impl Failure for Diverged {
    fn kind(&self) -> Kind {
        Kind::Rejected
    }

    fn hint(&self) -> Option<String> {
        let Self { ours, theirs } = self;
        Some(format!(
            "`dvc log {ours}...{theirs}` shows them; to keep both: `dvc branch {ours}-mine {ours}`, \
             `dvc branch -f {ours} {theirs}`, `dvc checkout {ours}`"
        ))
    }
}

/// A URL has no branches that could be told from those here.
#[derive(Debug, thiserror::Error)]
#[error("`{url}` has no name here")]
pub struct NoName {
    pub(super) url: String,
}

impl Failure for NoName {
    fn kind(&self) -> Kind {
        Kind::Usage
    }

    fn hint(&self) -> Option<String> {
        Some(format!("`dvc remote add NAME {}` gives it one", self.url))
    }
}

/// Pulls the current branch.
pub fn pull(
    context: &Context,
    remote: &Remote,
    walk: &WalkOptions,
    dry_run: bool,
    observer: &dyn Observer,
) -> Result<PullReport> {
    let repo = context.repo()?;
    let head = Head::read(context, &repo)?;
    let Some(branch) = head.branch.clone() else {
        return Err(RefMoveError::NoBranch("pull".to_owned()).into());
    };
    let theirs = tracking(&remote.name, &branch).map_err(|_| NoName { url: remote.name.clone() })?;
    let fetched = fetch(context, remote, &FetchOptions { dry_run, ..FetchOptions::default() }, observer)?;
    // A dry run has moved nothing.
    let moved = fetched.refs.iter().find(|r| r.kind == RefKind::Remote && r.name == theirs).and_then(|r| r.new);
    let Some(new) = moved.map_or_else(|| repo.refs().value(RefKind::Remote, &theirs), |new| Ok(Some(new)))? else {
        return Err(RefMoveError::Missing { kind: RefKind::Remote, name: theirs }.into());
    };
    let tip = repo.refs().tip(RefKind::Branch, &branch)?;
    let old = tip.as_ref().and_then(value_of);
    let mut report = PullReport { fetched, branch: branch.clone(), old, new, checkout: None };
    if dry_run && !repo.has(ObjectKind::Commit, &new)? {
        // What it is like is not known before it is here.
        return Ok(report);
    }
    let has_files = head.known && head.base.is_some();
    let to = |base: RevisionBase| CheckoutOptions {
        revision: Some(Revision { base, suffixes: Vec::new() }),
        walk: walk.clone(),
        ..CheckoutOptions::default()
    };
    match old {
        Some(old) if old == new || ancestors(&repo, &old)?.contains(&new) => {
            report.new = old;
            // A pull before this one may have ended before its checkout.
            if has_files && !dry_run && head.base != Some(old) {
                report.checkout = Some(checkout(context, &to(RevisionBase::Name(branch)), observer)?);
            }
            return Ok(report);
        }
        Some(old) if !ancestors(&repo, &new)?.contains(&old) => {
            return Err(Diverged { ours: branch, theirs }.into());
        }
        _ => {}
    }
    // What would be refused, or cannot be had, is so before the branch moves.
    if has_files {
        let look = checkout(context, &CheckoutOptions { dry_run: true, ..to(RevisionBase::Name(theirs)) }, observer)?;
        if !dry_run {
            lazy::bring_changes(context, &repo, &look.planned, observer)?;
        }
    }
    if dry_run {
        return Ok(report);
    }
    let how = Move { who: &context.author, why: "pull", time: context.moved_at() };
    observer.step("ref");
    if repo.refs().update(RefKind::Branch, &branch, tip.as_ref(), Some(new), &how)?.is_none() {
        return Err(RefMoveError::Raced { kind: RefKind::Branch, name: branch }.into());
    }
    observer.step("ref moved");
    if has_files {
        report.checkout = Some(checkout(context, &to(RevisionBase::Name(branch)), observer)?);
    }
    Ok(report)
}
