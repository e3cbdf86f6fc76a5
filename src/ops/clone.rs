//! `clone`: makes a copy of a repository, with a worktree.

use std::path::PathBuf;

use super::checkout::{CheckoutOptions, CheckoutReport, checkout};
use super::fetch::{FetchOptions, FetchReport, fetch};
use crate::context::Context;
use crate::context::Remote;
use crate::context::remote_access::RemoteAccess;
use crate::error::{Failure, Kind, Result};
use crate::model::id::Id;
use crate::model::refname::{RefKind, RefName};
use crate::model::revision::Revision;
use crate::observe::Observer;
use crate::query::history::ancestors;
use crate::refs::moves::RefMoveError;
use crate::repo::refs::{Move, value_of};
use crate::repo::{Repo, RepoError};
use crate::store::Store;

/// The options of `clone`.
#[derive(Clone, Debug, Default)]
pub struct CloneOptions {
    /// The branch of the new worktree. `None` means the remote's default branch, or its only
    /// branch.
    pub branch: Option<RefName>,
    /// The version to check out instead of the tip of the branch.
    pub revision: Option<Revision>,
    /// The number of versions of each branch whose data is fetched now. Older data is fetched when
    /// it is read.
    pub depth: Option<usize>,
    /// Leave the worktree empty.
    pub no_checkout: bool,
}

/// The result of `clone`.
#[derive(Debug)]
pub struct CloneReport {
    /// The path of the new repository.
    pub repository: PathBuf,
    /// The fetched objects and refs.
    pub fetched: FetchReport,
    /// The branch of the worktree; `None` if the remote has no branch or HEAD is detached.
    pub branch: Option<RefName>,
    pub version: Option<Id>,
    /// The checkout, if there was one.
    pub checkout: Option<CheckoutReport>,
}

/// The marker file of an unfinished clone, in the state directory of its worktree. It exists from
/// just before the branch is created until the clone is finished.
const NOTE: &str = "clone";

/// Returns whether a clone into the repository and worktree of `context` was interrupted after its
/// fetch.
pub fn is_unfinished(context: &Context) -> bool {
    let repo = Repo::open(&context.repository, context.open.clone());
    repo.is_ok_and(|repo| is_noted(&repo, context))
}

fn is_noted(repo: &Repo, context: &Context) -> bool {
    repo.worktree(&context.worktree)
        .is_ok_and(|worktree| worktree.state_dir().join(NOTE).exists())
}

/// The requested branch does not exist, or the default branch does not exist and cannot be guessed.
#[derive(Debug, thiserror::Error)]
#[error("cannot choose the branch to check out: `{url}` has no default branch `{default}`, and {}", if branches.is_empty() { "no other branch".to_owned() } else { format!("several others: {}", branches.join(", ")) })]
pub struct NoBranch {
    url: String,
    default: String,
    branches: Vec<String>,
}

impl Failure for NoBranch {
    fn kind(&self) -> Kind {
        Kind::NotFound
    }

    fn hint(&self) -> Option<String> {
        Some(
            "the clone itself is complete; run `dvc checkout -b BRANCH origin/BRANCH` in it to check out a branch"
                .to_owned(),
        )
    }
}

/// Copies the repository at `remote` to that of `context`. Before the fetch, calls `settle`, which
/// writes the remote into the settings of the copy.
pub fn clone(
    context: &Context,
    remote: &Remote,
    options: &CloneOptions,
    settle: &dyn Fn() -> Result<()>,
    observer: &dyn Observer,
) -> Result<CloneReport> {
    let reach = RemoteAccess::new(context, remote)?;
    let marker = reach.marker()?.ok_or_else(|| RepoError::None {
        path: PathBuf::from(reach.store().place()),
    })?;
    drop(reach);
    // A repository with the same id that has no branches yet, or has the marker file, is an
    // interrupted clone: continue it.
    match Repo::open(&context.repository, context.open.clone()) {
        Ok(begun)
            if begun.marker().id == marker.id
                && (is_noted(&begun, context)
                    || begun.refs().list(RefKind::Branch)?.is_empty()) => {}
        Ok(_) => {
            return Err(RepoError::Exists {
                path: context.repository.clone(),
            }
            .into());
        }
        // There is no repository yet. If the directory cannot be used, `create_copy` reports the
        // reason.
        Err(_) => drop(Repo::create_copy(
            &context.repository,
            &marker,
            context.open.clone(),
        )?),
    }
    settle()?;
    let mut context = context.clone();
    context.remotes.retain(|r| r.name != remote.name);
    context.remotes.push(remote.clone());
    let wanted = FetchOptions {
        depth: options.depth,
        ..FetchOptions::default()
    };
    let fetched = fetch(&context, remote, &wanted, observer)?;
    let repo = context.repo()?;
    let branches: Vec<(RefName, Id)> = branches(&repo, remote)?;
    let default = options
        .branch
        .clone()
        .map_or_else(|| RefName::new(&marker.default_branch), Ok)?;
    let chosen = branches.iter().find(|(name, _)| *name == default);
    let (branch, tip) = match (chosen, branches.as_slice()) {
        (Some(found), _) => found.clone(),
        // Without a default branch, the only branch is meant.
        (None, [only]) if options.branch.is_none() => only.clone(),
        (None, []) if options.branch.is_none() => {
            let repository = context.repository.clone();
            return Ok(CloneReport {
                repository,
                fetched,
                branch: None,
                version: None,
                checkout: None,
            });
        }
        _ => {
            let branches = branches.iter().map(|(name, _)| name.to_string()).collect();
            return Err(NoBranch {
                url: remote.location.to_string(),
                default: default.to_string(),
                branches,
            }
            .into());
        }
    };
    let worktree = repo.worktree(&context.worktree)?;
    worktree.write_file(NOTE, b"")?;
    observer.step("clone noted");
    let begun = repo.refs().tip(RefKind::Branch, &branch)?;
    match begun.as_ref().and_then(value_of) {
        // Do not lose versions that were committed since the interruption.
        Some(old) if old != tip && !ancestors(&repo, &tip)?.contains(&old) => {
            return Err(RepoError::Exists {
                path: context.repository.clone(),
            }
            .into());
        }
        // An interrupted clone has already set the branch.
        Some(old) if old == tip => {}
        old => {
            let how = Move {
                who: &context.author,
                why: "clone",
                time: context.moved_at(),
            };
            if repo
                .move_ref(RefKind::Branch, &branch, old.as_ref(), Some(tip), &how)?
                .is_none()
            {
                return Err(RefMoveError::Raced {
                    kind: RefKind::Branch,
                    name: branch,
                }
                .into());
            }
        }
    }
    // The worktree has no base version until the checkout has written its files.
    if worktree.state()?.is_none() {
        worktree.save(Some(&branch), None)?;
    }
    let mut report = CloneReport {
        repository: context.repository.clone(),
        fetched,
        branch: Some(branch.clone()),
        version: Some(tip),
        checkout: None,
    };
    if !options.no_checkout {
        let base = crate::model::revision::RevisionBase::Name(branch);
        let revision = options.revision.clone().unwrap_or(Revision {
            base,
            suffixes: Vec::new(),
        });
        let options = CheckoutOptions {
            revision: Some(revision),
            ..CheckoutOptions::default()
        };
        let done = checkout(&context, &options, observer)?;
        (report.branch, report.version) = (done.branch.clone(), Some(done.version));
        report.checkout = Some(done);
    }
    observer.step("clone end");
    // The marker goes last. Until then, an interrupted clone can be continued.
    worktree.remove_file(NOTE)?;
    Ok(report)
}

/// Returns the branches of a remote, from the tracking refs of the last fetch.
fn branches(repo: &Repo, remote: &Remote) -> Result<Vec<(RefName, Id)>> {
    let prefix = format!("{}/", remote.name);
    let mut all = Vec::new();
    for tip in repo.refs().readable(RefKind::Remote)?.tips {
        if let Some(name) = tip.name.as_str().strip_prefix(&prefix) {
            all.push((RefName::new(name)?, tip.id));
        }
    }
    Ok(all)
}
