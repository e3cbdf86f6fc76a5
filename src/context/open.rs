//! Opens the repository of an operation, and the remote that has its missing objects.

use std::sync::Arc;

use super::Context;
use super::remote::Remote;
use super::remote_access::RemoteAccess;
use crate::error::{Kind, Result};
use crate::repo::Repo;
use crate::sync::error::SyncError;
use crate::sync::state::RemoteState;

impl Context {
    /// Opens the repository.
    pub fn repo(&self) -> Result<Repo> {
        if let Some(remote) = &self.remote_repository {
            return self.open_remote(remote);
        }
        let mut open = self.open.clone();
        if let Some(lazy) = self.lazy_source().cloned() {
            let context = self.clone();
            open.lazy_source = Some(Arc::new(move || match context.open_remote(&lazy) {
                Err(e) if e.kind() == Kind::NoRepository => {
                    Err(SyncError::NotThere { place: lazy.location.to_string() }.into())
                }
                opened => opened,
            }));
        }
        Repo::open(&self.repository, open)
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
