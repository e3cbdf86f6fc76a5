//! The repository of a container: a lazy copy of the remote's, or a new one.

use crate::codec::cut::ChunkerConfig;
use crate::context::remote_access::RemoteAccess;
use crate::context::{Context, Remote};
use crate::error::Result;
use crate::model::id::Id;
use crate::model::refname::{RefKind, RefName};
use crate::refs::moves::RefMoveError;
use crate::repo::refs::Move;
use crate::repo::{Repo, RepoError};

/// The origin of a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RepositoryOrigin {
    /// The repository existed.
    Here,
    /// The repository is a new copy of the remote's.
    Copied,
    /// The repository is new.
    Made,
}

/// Ensures that there is a repository: a copy of the remote's without refs and data, or a new one
/// if `first_branch` allows it.
pub(in crate::ops) fn prepare(
    context: &Context,
    remote: Option<&Remote>,
    first_branch: Option<&RefName>,
) -> Result<RepositoryOrigin> {
    if Repo::is_at(&context.repository) {
        return Ok(RepositoryOrigin::Here);
    }
    let marker = match remote {
        Some(remote) => RemoteAccess::new(context, remote)?.marker()?,
        None => None,
    };
    if let Some(marker) = marker {
        Repo::create_copy(&context.repository, &marker, context.open.clone())?;
        return Ok(RepositoryOrigin::Copied);
    }
    let place = || {
        remote.map_or_else(
            || context.repository.clone(),
            |remote| remote.location.to_string().into(),
        )
    };
    let first_branch = first_branch.ok_or_else(|| RepoError::None { path: place() })?;
    match Repo::create(
        &context.repository,
        first_branch,
        &ChunkerConfig::default(),
        context.open.clone(),
    ) {
        // Another process has created the repository in the meantime.
        Err(_) if Repo::is_at(&context.repository) => Ok(RepositoryOrigin::Here),
        made => made.map(|_| RepositoryOrigin::Made),
    }
}

/// Makes the remote of a new copy lazy, so that only requested objects are fetched.
pub(in crate::ops) fn settled(
    context: &Context,
    remote: Option<&Remote>,
    found: RepositoryOrigin,
) -> (Context, Option<Remote>) {
    let (mut context, mut remote) = (context.clone(), remote.cloned());
    if let (RepositoryOrigin::Copied, Some(remote)) = (found, &mut remote) {
        remote.lazy = true;
        context.remotes.retain(|other| other.name != remote.name);
        context.remotes.push(remote.clone());
    }
    (context, remote)
}

/// Moves a local branch forward to a version.
pub(in crate::ops) fn advance(
    context: &Context,
    repo: &Repo,
    branch: &RefName,
    to: Id,
    why: &str,
) -> Result<()> {
    let how = Move {
        who: &context.author,
        why,
        time: context.moved_at(),
    };
    let old = repo.refs().value(RefKind::Branch, branch)?;
    match repo.move_ref(RefKind::Branch, branch, old.as_ref(), Some(to), &how)? {
        Some(_) => Ok(()),
        None => Err(RefMoveError::Raced {
            kind: RefKind::Branch,
            name: branch.clone(),
        }
        .into()),
    }
}

/// Returns the named branch, or the default branch.
pub(in crate::ops) fn branch_of(repo: &Repo, named: Option<&RefName>) -> Result<RefName> {
    named.map_or_else(
        || Ok(RefName::new(&repo.marker().default_branch)?),
        |named| Ok(named.clone()),
    )
}
