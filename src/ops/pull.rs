//! `pull`: fetches, and fast-forwards the current branch to the remote branch. It never merges.

use super::checkout::{CheckoutOptions, CheckoutReport, checkout};
use super::fetch::{FetchOptions, FetchReport, fetch};
use crate::context::Context;
use crate::context::Remote;
use crate::error::Result;
use crate::model::id::{Id, ObjectKind};
use crate::model::refname::{RefKind, RefName};
use crate::model::revision::{Revision, RevisionBase};
use crate::observe::Observer;
use crate::query::history::ancestors;
use crate::query::lazy;
use crate::query::worktree::WalkOptions;
use crate::refs::head::Head;
use crate::refs::moves::RefMoveError;
use crate::refs::tracking::{DivergedBranches, UnnamedRemote, tracking};
use crate::repo::refs::Move;

/// The result of `pull`.
#[derive(Debug)]
pub struct PullReport {
    /// The fetched objects and refs.
    pub fetched: FetchReport,
    pub branch: RefName,
    /// The previous version of the branch.
    pub old: Option<Id>,
    /// The new version of the branch.
    pub new: Id,
    /// The checkout, if the worktree has files of the branch.
    pub checkout: Option<CheckoutReport>,
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
        return Err(RefMoveError::Detached("pull").into());
    };
    let theirs = tracking(&remote.name, &branch).map_err(|_| UnnamedRemote {
        url: remote.name.clone(),
    })?;
    let fetched = fetch(
        context,
        remote,
        &FetchOptions {
            dry_run,
            ..FetchOptions::default()
        },
        observer,
    )?;
    // A dry run does not move the tracking ref, so look at the report first.
    let moved = fetched
        .refs
        .iter()
        .find(|r| r.kind == RefKind::Remote && r.name == theirs)
        .and_then(|r| r.new);
    let Some(new) = moved.map_or_else(
        || repo.refs().value(RefKind::Remote, &theirs),
        |new| Ok(Some(new)),
    )?
    else {
        return Err(RefMoveError::Missing {
            kind: RefKind::Remote,
            name: theirs,
        }
        .into());
    };
    let old = repo.refs().value(RefKind::Branch, &branch)?;
    let mut report = PullReport {
        fetched,
        branch: branch.clone(),
        old,
        new,
        checkout: None,
    };
    if dry_run && !repo.has(ObjectKind::Commit, &new)? {
        // The new version was not fetched, so it cannot be compared.
        return Ok(report);
    }
    let has_files = head.known && head.base.is_some();
    let to = |base: RevisionBase| CheckoutOptions {
        revision: Some(Revision {
            base,
            suffixes: Vec::new(),
        }),
        walk: walk.clone(),
        ..CheckoutOptions::default()
    };
    match old {
        Some(old) if old == new || ancestors(&repo, &old)?.contains(&new) => {
            report.new = old;
            // An earlier pull may have died between moving the branch and its checkout.
            if has_files && !dry_run && head.base != Some(old) {
                report.checkout = Some(checkout(
                    context,
                    &to(RevisionBase::Name(branch)),
                    observer,
                )?);
            }
            return Ok(report);
        }
        Some(old) if !ancestors(&repo, &new)?.contains(&old) => {
            return Err(DivergedBranches {
                ours: branch,
                theirs,
            }
            .into());
        }
        _ => {}
    }
    // Detect refusals and unreachable data before the branch moves.
    if has_files {
        let look = checkout(
            context,
            &CheckoutOptions {
                dry_run: true,
                ..to(RevisionBase::Name(theirs))
            },
            observer,
        )?;
        if !dry_run {
            lazy::fetch_changes(context, &repo, &look.planned, observer)?;
        }
    }
    if dry_run {
        return Ok(report);
    }
    let how = Move {
        who: &context.author,
        why: "pull",
        time: context.moved_at(),
    };
    observer.step("ref");
    if repo
        .move_ref(RefKind::Branch, &branch, old.as_ref(), Some(new), &how)?
        .is_none()
    {
        return Err(RefMoveError::Raced {
            kind: RefKind::Branch,
            name: branch,
        }
        .into());
    }
    observer.step("ref moved");
    if has_files {
        report.checkout = Some(checkout(
            context,
            &to(RevisionBase::Name(branch)),
            observer,
        )?);
    }
    Ok(report)
}
