//! Access to a remote, and the state of the remote that this machine has recorded.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use super::Context;
use super::remote::Remote;
use crate::error::{Kind, Result};
use crate::format::marker::Marker;
use crate::format::refentry::{RefEntry, encode_name};
use crate::model::refname::RefKind;
use crate::observe::{Notice, NoticeLevel, Observer};
use crate::repo::cached_store::CachedStore;
use crate::repo::marker::decode_marker;
use crate::repo::refs::report_damaged;
use crate::repo::{Repo, layout};
use crate::store::access::Access;
use crate::store::open::open;
use crate::store::{Store, probe};
use crate::sync::error::SyncError;
use crate::sync::state::RemoteState;
use crate::sync::tips::Tips;

/// A remote in use.
pub struct RemoteAccess<'a> {
    pub remote: &'a Remote,
    context: &'a Context,
    store: Arc<CachedStore>,
    /// The recorded state of the remote.
    pub state: RemoteState,
}

impl<'a> RemoteAccess<'a> {
    /// Opens the store of the remote, without a request.
    pub fn new(context: &'a Context, remote: &'a Remote) -> Result<Self> {
        Self::with_state(
            context,
            remote,
            RemoteState::load(&context.repository, &remote.location.to_string())?,
        )
    }

    /// Opens the store of the remote with this state, without a request.
    pub(super) fn with_state(
        context: &'a Context,
        remote: &'a Remote,
        state: RemoteState,
    ) -> Result<Self> {
        let access = Access {
            // The probe has found that the store does not create objects exclusively, so writers
            // need an intent lock.
            guarded: state.exclusive == Some(false),
            ..remote.access.clone()
        };
        let store = open(&remote.location, &access)?;
        let is_dir = remote.location.as_directory().is_some();
        let cache = (!is_dir).then(|| Arc::new(context.cache.blocks()));
        // Objects that the local repository has are read there, because equal keys mean equal
        // bytes.
        let near = Some(context.repository.clone()).filter(|dir| dir.is_dir());
        let store = Arc::new(CachedStore::new(store, cache, near));
        Ok(Self {
            remote,
            context,
            store,
            state,
        })
    }

    /// Returns an access that reads everything from the store itself, without a cache.
    pub(super) fn uncached(self) -> Self {
        let store = Arc::new(CachedStore::new(
            Arc::clone(self.store.direct()),
            None,
            None,
        ));
        Self { store, ..self }
    }

    /// Returns the store of the remote.
    pub fn store(&self) -> &Arc<CachedStore> {
        &self.store
    }

    /// Reads the marker of the repository; `None` if the remote has no repository.
    pub fn marker(&self) -> Result<Option<Marker>> {
        let bytes = self.store.get(layout::MARKER)?;
        let is_here = self.remote.location.as_directory().is_some();
        Ok(bytes
            .map(|bytes| decode_marker(&bytes, is_here, || self.store.place()))
            .transpose()?)
    }

    /// Opens the remote repository with its marker.
    pub fn repo(&self, marker: Marker) -> Result<Repo> {
        let state = self.context.cache.dir.join("far");
        Repo::with_marker(
            Arc::clone(&self.store),
            marker,
            &state,
            self.context.open.clone(),
        )
    }

    /// Opens the remote repository, which must exist.
    pub fn existing(&self) -> Result<Repo> {
        let state = self.context.cache.dir.join("far");
        Repo::open_remote(Arc::clone(&self.store), &state, self.context.open.clone())
    }

    /// Fails if the remote repository is not a copy of the local one.
    pub fn ensure_same(&self, ours: &Marker, theirs: &Marker) -> Result<()> {
        if ours.id == theirs.id {
            return Ok(());
        }
        let (ours, theirs) = (ours.id.clone(), theirs.id.clone());
        Err(SyncError::Foreign {
            place: self.store.place(),
            theirs,
            ours,
        }
        .into())
    }

    /// Checks whether the store supports conditional writes, and records the answer. Does nothing
    /// for a directory, or if the state has the answer and `again` is not set. If the store does
    /// not claim the support, only checks that objects can be removed. If the store claims the
    /// support but does not have it, reopens the store with an intent lock.
    pub fn probe(&mut self, again: bool) -> Result<()> {
        let known = self.state.exclusive.is_some() && !again;
        if known || self.remote.location.as_directory().is_some() {
            return Ok(());
        }
        // Probe the store itself, without the intent lock that an earlier probe may have enabled.
        let access = Access {
            guarded: false,
            ..self.remote.access.clone()
        };
        let plain = open(&self.remote.location, &access)?;
        let claims = plain.abilities().exclusive;
        // A store that does not claim exclusive creation needs no test of it.
        if !claims {
            probe::can_remove(&**self.store.direct())?;
            self.state.exclusive = Some(false);
            return self.save();
        }
        let exclusive = probe::is_exclusive(&*plain)?;
        self.state.exclusive = Some(exclusive);
        self.save()?;
        // The store must be opened again, now with an intent lock.
        if !exclusive {
            *self = Self::with_state(self.context, self.remote, self.state.clone())?;
        }
        Ok(())
    }

    /// Records that the remote was reached, and its refs. Reports damaged refs, and refs that went
    /// back to an older state or are missing. Returns whether there are any of the latter two.
    pub fn record_tips(&mut self, tips: &Tips, observer: &dyn Observer) -> bool {
        let mut went_back = false;
        let mut there = HashSet::new();
        for e in tips.damaged.values() {
            report_damaged(e, observer);
        }
        let is_damaged = |key: &str| {
            tips.damaged
                .contains_key(&format!("refs/{}", encoded_key(key)))
        };
        for ((kind, name), entry) in tips.iter() {
            let key = seen_key(*kind, name.as_str());
            there.insert(key.clone());
            // The same sequence number with a different update id shows that the log was rewritten.
            if let Some((seq, update)) = self.state.seen.get(&key)
                && (entry.seq < *seq
                    || entry.seq == *seq && entry.update != *update && !holds(entry, update))
            {
                went_back = true;
                let change = if entry.seq == *seq {
                    format!("update {seq} is not the one that was seen earlier")
                } else {
                    format!(
                        "update {seq} was seen earlier, but the newest one is now {}",
                        entry.seq
                    )
                };
                let message = format!(
                    "{} `{name}` of {}: {change}; the remote was restored to an older state, or its log was changed",
                    kind.name(),
                    self.remote.name
                );
                observer.notice(Notice {
                    level: NoticeLevel::Incomplete,
                    path: Vec::new(),
                    message,
                });
            }
            // The older state is recorded, too, so that the same rollback is reported only once.
            self.state
                .seen
                .insert(key, (entry.seq, entry.update.clone()));
        }
        for (key, (seq, _)) in &self.state.seen {
            if *seq > 0 && !there.contains(key) && !is_damaged(key) {
                went_back = true;
                let message = format!(
                    "the log of `{key}` is missing from {}: the remote was restored to an older state",
                    self.remote.name
                );
                observer.notice(Notice {
                    level: NoticeLevel::Incomplete,
                    path: Vec::new(),
                    message,
                });
            }
        }
        self.state
            .seen
            .retain(|key, _| there.contains(key) || is_damaged(key));
        self.state.reached = Some(self.context.now_secs());
        went_back
    }

    /// Records the current state of one ref of the remote.
    pub fn seen(&mut self, kind: RefKind, entry: &RefEntry) {
        self.state.seen.insert(
            seen_key(kind, &entry.name),
            (entry.seq, entry.update.clone()),
        );
    }

    /// Records that the user has seen the current state of one ref of the remote.
    pub fn shown(&mut self, kind: RefKind, entry: &RefEntry) {
        self.state.shown.insert(
            seen_key(kind, &entry.name),
            (entry.seq, entry.update.clone()),
        );
    }

    /// Saves the recorded state, if the context has a local repository.
    pub fn save(&self) -> Result<()> {
        // Without a local repository, there is no place for the state.
        if !Repo::is_at(&self.context.repository) {
            return Ok(());
        }
        match self
            .state
            .save(&self.context.repository, &self.remote.location.to_string())
        {
            // A repository that the user can only read keeps no state. In any other, a failure is
            // an error: otherwise outdated state would remain unnoticed.
            Err(e) if e.kind() == Kind::Denied && is_read_only(&self.context.repository) => Ok(()),
            saved => saved,
        }
    }
}

/// Returns the key under which a ref is recorded.
pub fn seen_key(kind: RefKind, name: &str) -> String {
    format!("{}/{name}", kind.dir())
}

fn is_read_only(dir: &Path) -> bool {
    rustix::fs::access(dir, rustix::fs::Access::WRITE_OK).is_err()
}

/// Returns the path of a ref below `refs/` from its key in the recorded state.
fn encoded_key(key: &str) -> String {
    key.split_once('/')
        .map_or_else(String::new, |(kind, name)| {
            format!("{kind}/{}", encode_name(name))
        })
}

fn holds(entry: &RefEntry, update: &str) -> bool {
    entry.older.iter().any(|older| older.update == update)
}
