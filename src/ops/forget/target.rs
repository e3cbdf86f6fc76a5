//! The repository whose versions are forgotten: the local one, or a remote one.

use crate::context::Context;
use crate::context::remote_access::RemoteAccess;
use crate::error::Result;
use crate::ops::gc::directory_context;
use crate::repo::Repo;
use crate::repo::refs::Move;

/// The repository whose versions are forgotten.
pub(super) struct Target<'a> {
    pub(super) context: &'a Context,
    pub(super) repo: Repo,
}

/// Returns the context of the remote repository if it is a directory of this machine, whose worktrees
/// and mounts protect versions, too.
pub(super) fn directory_of(context: &Context) -> Option<Context> {
    directory_context(context, context.remote_repository.as_ref()?)
}

impl<'a> Target<'a> {
    /// Opens the local repository, or the remote one of the context for writing.
    pub(super) fn open(context: &'a Context, writes: bool) -> Result<Self> {
        let repo = match &context.remote_repository {
            Some(remote) if writes => {
                let mut access = RemoteAccess::new(context, remote)?;
                access.existing()?;
                access.probe(false)?;
                // Open the repository again, because the probe may have added an intent lock to the
                // store.
                access.existing()?
            }
            _ => context.repo()?,
        };
        Ok(Self { context, repo })
    }

    pub(super) fn how<'h>(&'h self, why: &'h str) -> Move<'h> {
        Move {
            who: &self.context.author,
            why,
            time: self.context.moved_at(),
        }
    }
}
