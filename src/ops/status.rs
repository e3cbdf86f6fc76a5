//! `status`: compares the worktree with its base version.

use std::ops::ControlFlow;

use crate::checkout::patch::journal::{Interrupted, Journal};
use crate::context::Context;
use crate::error::{Error, Result};
use crate::model::id::Id;
use crate::model::refname::{RefKind, RefName};
use crate::observe::Observer;
use crate::query::compare::{TreeChange, compare};
use crate::query::describe::VersionInfo;
use crate::query::history::HistoryWalk;
use crate::query::worktree::{UnstablePaths, WalkOptions, look};
use crate::refs::head::Head;
use crate::refs::tracking::tracking;
use crate::repo::Repo;
use crate::sync::state::RemoteState;

/// The options of `status`.
#[derive(Clone, Debug, Default)]
pub struct StatusOptions {
    /// The files that the walk leaves out.
    pub walk: WalkOptions,
    /// Only these paths; all if empty.
    pub paths: Vec<Vec<u8>>,
}

/// The result of `status`.
#[derive(Debug)]
pub struct StatusReport {
    pub head: Head,
    /// The base version of the worktree.
    pub base: Option<VersionInfo>,
    /// The tip of HEAD's branch, if it is not the base.
    pub moved_tip: Option<VersionInfo>,
    /// The comparison of the branch with the same branch of a remote.
    pub upstream: Option<Upstream>,
    /// The differences, sorted by path.
    pub changes: Vec<TreeChange>,
    /// An interrupted checkout, with its half-written files.
    pub interrupted: Option<Interrupted>,
}

/// The branch of a remote that a branch is compared with.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// The name, such as `origin/AMCC`.
    pub name: RefName,
    /// The number of local versions that the remote branch does not have.
    pub ahead: usize,
    /// The number of remote versions that the local branch does not have.
    pub behind: usize,
    /// The time of the last access to the remote, in seconds since 1970.
    pub reached: Option<i64>,
}

/// Compares a branch with the same branch of `origin`, or of the only remote. `None` if there is no
/// such branch.
fn upstream(
    context: &Context,
    repo: &Repo,
    branch: &RefName,
    tip: Option<Id>,
) -> Result<Option<Upstream>> {
    let only = || {
        context
            .remotes
            .first()
            .filter(|_| context.remotes.len() == 1)
    };
    let Some(remote) = context.remote("origin").or_else(only) else {
        return Ok(None);
    };
    let name = tracking(&remote.name, branch)?;
    let (Some(theirs), Some(ours)) = (repo.refs().value(RefKind::Remote, &name)?, tip) else {
        return Ok(None);
    };
    let (mut ahead, mut behind) = (0, 0);
    if ours != theirs {
        ahead = HistoryWalk::new(repo, &[ours], &[theirs])?.count();
        behind = HistoryWalk::new(repo, &[theirs], &[ours])?.count();
    }
    // Ignore an unreadable state, because a push or fetch reports it.
    let reached = RemoteState::load(&context.repository, &remote.location.to_string())
        .ok()
        .and_then(|s| s.reached);
    Ok(Some(Upstream {
        name,
        ahead,
        behind,
        reached,
    }))
}

/// Compares the worktree with its base version, and the branch with its remote branch.
pub fn status(
    context: &Context,
    options: &StatusOptions,
    observer: &dyn Observer,
) -> Result<StatusReport> {
    let repo = context.repo()?;
    let head = Head::read(context, &repo)?;
    let tip = match &head.branch {
        Some(branch) => repo.refs().value(RefKind::Branch, branch)?,
        None => None,
    };
    // Without a recorded version, the worktree is compared with the tip of its branch.
    let base = head.base.or(tip);
    let with_commit = |id: Option<Id>| {
        id.map(|id| {
            Ok::<_, Error>(VersionInfo {
                id,
                commit: repo.commit_cached(&id)?,
            })
        })
        .transpose()
    };
    let moved_tip = with_commit(tip.filter(|t| Some(*t) != base))?;
    let base = with_commit(base)?;
    let last = base.as_ref().map(|b| b.commit.counts);
    observer.phase("status", last.map(|c| c.files), last.map(|c| c.bytes));
    let snap = look(context, &repo, &options.walk, observer)?;
    let mut unstable = UnstablePaths::new(&snap);
    let mut changes = Vec::new();
    compare(
        &repo,
        base.as_ref().map(|b| &b.commit.tree),
        Some(&snap.tree),
        &options.paths,
        &mut |change| {
            changes.extend(unstable.take(change));
            Ok(ControlFlow::Continue(()))
        },
    )?;
    changes.extend(unstable.rest(&options.paths));
    let interrupted = Journal::read(repo.worktree(&context.worktree)?.state_dir())?;
    if let Some(interrupted) = &interrupted {
        // The next checkout removes these temporary files.
        changes.retain(|c| !interrupted.is_leftover(&c.path));
    }
    let upstream = match &head.branch {
        Some(branch) => upstream(context, &repo, branch, tip)?,
        None => None,
    };
    Ok(StatusReport {
        head,
        base,
        moved_tip,
        upstream,
        changes,
        interrupted,
    })
}
