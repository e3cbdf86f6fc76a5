//! Remote branches as they were last seen: `refs/remotes/REMOTE/BRANCH`.

use crate::context::Context;
use crate::error::{Failure, Kind, Result};
use crate::model::refname::{RefKind, RefName};
use crate::refs::moves::RefMoveError;
use crate::repo::refs::{Move, value_of};
use crate::repo::writer::{NewValue, WriteSession};

/// Maximum number of attempts to update a tracking ref when other processes win the race.
const ATTEMPTS: usize = 8;

/// A branch and the remote branch with the same name both have versions that the other lacks.
#[derive(Debug, thiserror::Error)]
#[error("cannot fast-forward: `{ours}` and `{theirs}` have diverged")]
pub struct DivergedBranches {
    /// The local branch.
    pub ours: RefName,
    /// The remote branch.
    pub theirs: RefName,
}

impl Failure for DivergedBranches {
    fn kind(&self) -> Kind {
        Kind::Rejected
    }

    fn hint(&self) -> Option<String> {
        let Self { ours, theirs } = self;
        Some(format!(
            "run `dvc log {ours}...{theirs}` to see the versions; to keep both, run `dvc branch {ours}-mine {ours}`, \
             `dvc branch -f {ours} {theirs}`, `dvc checkout {ours}`"
        ))
    }
}

/// A remote without a name has no tracking refs.
#[derive(Debug, thiserror::Error)]
#[error("cannot update tracking branches: the remote `{url}` has no name")]
pub struct UnnamedRemote {
    /// The URL of the remote.
    pub url: String,
}

impl Failure for UnnamedRemote {
    fn kind(&self) -> Kind {
        Kind::Usage
    }

    fn hint(&self) -> Option<String> {
        Some(format!(
            "run `dvc remote add NAME {}` to name the remote",
            self.url
        ))
    }
}

/// Returns the name of the tracking ref of a remote branch.
pub fn tracking(remote: &str, branch: &RefName) -> Result<RefName> {
    Ok(RefName::tracked(&format!("{remote}/{branch}"))?)
}

/// Sets the tracking ref of a remote branch. Returns whether it changed.
pub fn track(
    context: &Context,
    session: &WriteSession<'_>,
    remote: &str,
    branch: &RefName,
    value: NewValue,
    why: &str,
) -> Result<bool> {
    // A remote without a name has no tracking refs.
    let Ok(name) = tracking(remote, branch) else {
        return Ok(false);
    };
    let (refs, new) = (session.repo().refs(), value);
    let value = new.id();
    for _ in 0..ATTEMPTS {
        let tip = match (refs.tip(RefKind::Remote, &name), value) {
            // Replacing a damaged tracking ref loses nothing, because the remote has just reported
            // its value.
            (Err(e), Some(value)) if e.kind() == Kind::Integrity => {
                let how = Move {
                    who: &context.author,
                    why,
                    time: context.moved_at(),
                };
                // If another process has repaired the ref first, the next round reads its value.
                refs.repair(RefKind::Remote, &name, value, &how)?;
                continue;
            }
            (tip, _) => tip?,
        };
        let old = tip.as_ref().and_then(value_of);
        if old == value {
            return Ok(false);
        }
        let how = Move {
            who: &context.author,
            why,
            time: context.moved_at(),
        };
        if session
            .move_ref(RefKind::Remote, &name, old.as_ref(), new, &how)?
            .is_some()
        {
            return Ok(true);
        }
    }
    Err(RefMoveError::Raced {
        kind: RefKind::Remote,
        name,
    }
    .into())
}
