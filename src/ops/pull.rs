//! `pull`: fetches, and moves the current branch forward to what the remote has. Never merges.

use super::Context;
use super::checkout::{CheckoutOptions, CheckoutReport, checkout};
use super::fetch::{FetchOptions, FetchReport, fetch};
use super::head::Head;
use super::history::ancestors;
use super::push::tracking;
use super::reach::Remote;
use super::refmove::RefMoveError;
use super::worktree::WalkOptions;
use crate::error::{Failure, Kind, Result};
use crate::model::id::Id;
use crate::model::refname::{RefKind, RefName};
use crate::model::revision::{Base, Revision};
use crate::observe::Observer;
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
    let fetched = fetch(context, remote, &FetchOptions { dry_run, ..FetchOptions::default() }, observer)?;
    let theirs = tracking(&remote.name, &branch)?;
    let Some(new) = repo.refs().value(RefKind::Remote, &theirs)? else {
        return Err(RefMoveError::Missing { kind: RefKind::Remote, name: theirs }.into());
    };
    let tip = repo.refs().tip(RefKind::Branch, &branch)?;
    let old = tip.as_ref().and_then(value_of);
    let mut report = PullReport { fetched, branch: branch.clone(), old, new, checkout: None };
    match old {
        Some(old) if old == new || ancestors(&repo, &old)?.contains(&new) => {
            report.new = old;
            return Ok(report);
        }
        Some(old) if !ancestors(&repo, &new)?.contains(&old) => {
            return Err(Diverged { ours: branch, theirs }.into());
        }
        _ => {}
    }
    // What would be refused is refused before the branch moves.
    let has_files = head.known && head.base.is_some();
    let to = |base: Base| CheckoutOptions {
        revision: Some(Revision { base, suffixes: Vec::new() }),
        walk: walk.clone(),
        ..CheckoutOptions::default()
    };
    if has_files {
        let look = CheckoutOptions { dry_run: true, ..to(Base::Name(theirs)) };
        checkout(context, &look, observer)?;
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
        report.checkout = Some(checkout(context, &to(Base::Name(branch)), observer)?);
    }
    Ok(report)
}
