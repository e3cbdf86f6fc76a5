//! Opens the repository of an operation, and the remote that has its missing objects.

use std::sync::Arc;
use std::time::Duration;

use super::Context;
use super::remote::Remote;
use super::remote_access::RemoteAccess;
use crate::error::{Kind, Result};
use crate::repo::{OpenLazySource, Repo};
use crate::sync::error::SyncError;
use crate::sync::state::RemoteState;

/// Time after which a failed request for an intact copy is not retried.
const HEAL_PATIENCE: Duration = Duration::from_secs(10);

impl Context {
    /// Opens the local or remote repository, with its lazy source and the remotes that can heal
    /// damage.
    pub fn repo(&self) -> Result<Repo> {
        if let Some(remote) = &self.remote_repository {
            return self.open_remote(remote);
        }
        let mut open = self.open.clone();
        if let Some(lazy) = self.lazy_source().cloned() {
            let context = self.clone();
            open.lazy_source = Some(Arc::new(move || match context.open_remote(&lazy) {
                Err(e) if e.kind() == Kind::NoRepository => Err(SyncError::NotThere {
                    place: lazy.location.to_string(),
                }
                .into()),
                opened => opened,
            }));
        }
        if open.heal {
            open.heal_sources = self
                .remotes
                .iter()
                .map(|remote| self.heal_source(remote))
                .collect();
        }
        Repo::open(&self.repository, open)
    }

    /// Returns the function that opens a remote, from which reads get intact copies of damaged
    /// objects.
    fn heal_source(&self, remote: &Remote) -> Arc<OpenLazySource> {
        let (context, mut remote) = (self.clone(), remote.clone());
        // A reader waits for the object, and the error of the damaged copy says enough.
        remote.access.patience = Some(
            remote
                .access
                .patience
                .map_or(HEAL_PATIENCE, |p| p.min(HEAL_PATIENCE)),
        );
        Arc::new(move || context.open_remote(&remote))
    }

    /// Opens a remote repository without the cache and without the packs of the local repository,
    /// to find out what the remote has.
    pub fn open_uncached(&self, remote: &Remote) -> Result<Repo> {
        let state =
            RemoteState::load(&self.repository, &remote.location.to_string()).unwrap_or_default();
        RemoteAccess::with_state(self, remote, state)?
            .uncached()
            .existing()
    }

    /// Opens a remote repository for reading.
    pub fn open_remote(&self, remote: &Remote) -> Result<Repo> {
        let state = match RemoteState::load(&self.repository, &remote.location.to_string()) {
            // Another user's state of the remote may be unreadable. Reading does not need it,
            // because it relies on the ids of objects.
            Err(e) if e.kind() == Kind::Denied => RemoteState::default(),
            state => state?,
        };
        RemoteAccess::with_state(self, remote, state)?.existing()
    }
}
