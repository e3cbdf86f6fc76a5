//! `status`: what differs between the worktree and the version that it came from.

use std::ops::ControlFlow;

use super::push::tracking;
use crate::checkout::patch::journal::{Interrupted, Journal};
use crate::context::Context;
use crate::error::Result;
use crate::model::commit::Commit;
use crate::model::id::Id;
use crate::model::refname::{RefKind, RefName};
use crate::observe::Observer;
use crate::query::compare::{Change, compare};
use crate::query::history::Walk;
use crate::query::worktree::{Unstable, WalkOptions, look};
use crate::refs::head::Head;
use crate::repo::Repo;
use crate::sync::state::RemoteState;

/// What to look at.
#[derive(Clone, Debug, Default)]
pub struct StatusOptions {
    /// What the walk leaves out.
    pub walk: WalkOptions,
    /// Only these paths; all if empty.
    pub paths: Vec<Vec<u8>>,
}

/// How the worktree stands.
#[derive(Debug)]
pub struct StatusReport {
    /// HEAD.
    pub head: Head,
    /// The version that it is compared with.
    pub base: Option<(Id, Commit)>,
    /// The tip of HEAD's branch, where it is another version.
    pub moved_tip: Option<(Id, Commit)>,
    /// How the branch stands to the same branch of a remote.
    pub upstream: Option<Upstream>,
    /// What differs, in order of paths.
    pub changes: Vec<Change>,
    /// A checkout that did not end; it names the files that are half-written.
    pub interrupted: Option<Interrupted>,
}

/// The branch of a remote that a branch is compared with.
#[derive(Clone, Debug)]
pub struct Upstream {
    /// Its name, `origin/AMCC`.
    pub name: RefName,
    /// Versions here that it does not have.
    pub ahead: usize,
    /// Versions there that are not in the branch here.
    pub behind: usize,
    /// When the remote was last reached, seconds since 1970.
    pub reached: Option<i64>,
}

/// How a branch stands to `origin`'s, or to that of the only remote.
fn upstream(context: &Context, repo: &Repo, branch: &RefName, tip: Option<Id>) -> Result<Option<Upstream>> {
    let only = || context.remotes.first().filter(|_| context.remotes.len() == 1);
    let Some(remote) = context.remote("origin").or_else(only) else { return Ok(None) };
    let name = tracking(&remote.name, branch)?;
    let (Some(theirs), Some(ours)) = (repo.refs().value(RefKind::Remote, &name)?, tip) else { return Ok(None) };
    let (mut ahead, mut behind) = (0, 0);
    if ours != theirs {
        ahead = Walk::new(repo, &[ours], &[theirs])?.count();
        behind = Walk::new(repo, &[theirs], &[ours])?.count();
    }
    // Only shown here: a push or fetch reports a state that cannot be read.
    let reached = RemoteState::load(&context.repository, &remote.location.to_string()).ok().and_then(|s| s.reached);
    Ok(Some(Upstream { name, ahead, behind, reached }))
}

/// Compares the worktree with the version that it came from.
pub fn status(context: &Context, options: &StatusOptions, observer: &dyn Observer) -> Result<StatusReport> {
    let repo = context.repo()?;
    let head = Head::read(context, &repo)?;
    let tip = match &head.branch {
        Some(branch) => repo.refs().value(RefKind::Branch, branch)?,
        None => None,
    };
    let base = head.base.or(tip);
    let with_commit =
        |id: Option<Id>| id.map(|id| Ok::<_, crate::error::Error>((id, repo.commit_cached(&id)?))).transpose();
    let moved_tip = with_commit(tip.filter(|t| Some(*t) != base))?;
    let base = with_commit(base)?;
    let last = base.as_ref().map(|b| b.1.counts);
    observer.phase("status", last.map(|c| c.files), last.map(|c| c.bytes));
    let snap = look(context, &repo, &options.walk, observer)?;
    let mut unstable = Unstable::new(&snap);
    let mut changes = Vec::new();
    compare(&repo, base.as_ref().map(|b| &b.1.tree), Some(&snap.tree), &options.paths, &mut |change| {
        changes.extend(unstable.told(change));
        Ok(ControlFlow::Continue(()))
    })?;
    changes.extend(unstable.rest(&options.paths));
    let interrupted = Journal::read(repo.worktree(&context.worktree)?.state_dir())?;
    if let Some(interrupted) = &interrupted {
        changes.retain(|c| !interrupted.is_leftover(&c.path));
    }
    let upstream = match &head.branch {
        Some(branch) => upstream(context, &repo, branch, tip)?,
        None => None,
    };
    Ok(StatusReport { head, base, moved_tip, upstream, changes, interrupted })
}
