//! Remotes: opening one, and what is remembered of it.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use super::{Context, Remote};
use crate::cache::BlockCache;
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

/// A remote that is being used.
pub struct Reach<'a> {
    /// The remote.
    pub remote: &'a Remote,
    context: &'a Context,
    store: Arc<CachedStore>,
    /// What is remembered of it.
    pub state: RemoteState,
}

impl<'a> Reach<'a> {
    /// Prepares to use it; no request is sent.
    pub fn new(context: &'a Context, remote: &'a Remote) -> Result<Self> {
        Self::knowing(context, remote, RemoteState::load(&context.repository, &remote.location.to_string())?)
    }

    /// Prepares to use it by what is known of it, which need not be written down anywhere.
    pub(super) fn knowing(context: &'a Context, remote: &'a Remote, state: RemoteState) -> Result<Self> {
        let access = Access { guarded: state.exclusive == Some(false), ..remote.access.clone() };
        let store = open(&remote.location, &access)?;
        let is_dir = remote.location.as_directory().is_some();
        let cache =
            (!is_dir).then(|| Arc::new(BlockCache::new(context.cache.dir.join("blocks"), context.cache.limit_bytes)));
        let near = Some(context.repository.clone()).filter(|dir| dir.is_dir());
        let store = Arc::new(CachedStore::new(store, cache, near));
        Ok(Self { remote, context, store, state })
    }

    /// Its objects by key.
    pub fn store(&self) -> &Arc<CachedStore> {
        &self.store
    }

    /// What its marker says; `None` where no repository is.
    pub fn marker(&self) -> Result<Option<Marker>> {
        let bytes = self.store.get(layout::MARKER)?;
        let is_here = self.remote.location.as_directory().is_some();
        Ok(bytes.map(|bytes| decode_marker(&bytes, is_here, || self.store.place())).transpose()?)
    }

    /// The repository there, by its marker.
    pub fn repo(&self, marker: Marker) -> Result<Repo> {
        let state = self.context.cache.dir.join("far");
        Repo::with_marker(Arc::clone(&self.store), marker, &state, self.context.open.clone())
    }

    /// The repository there, which must be one.
    pub fn existing(&self) -> Result<Repo> {
        let state = self.context.cache.dir.join("far");
        Repo::open_remote(Arc::clone(&self.store), &state, self.context.open.clone())
    }

    /// That the repository there is a copy of this one.
    pub fn same(&self, ours: &Marker, theirs: &Marker) -> Result<()> {
        if ours.id == theirs.id {
            return Ok(());
        }
        let (ours, theirs) = (ours.id.clone(), theirs.id.clone());
        Err(SyncError::Foreign { place: self.store.place(), theirs, ours }.into())
    }

    /// Finds out whether the store decides races, where nobody knows yet; the answer is remembered. A store that
    /// turns out not to is opened again, guarded.
    pub fn probe(&mut self, again: bool) -> Result<()> {
        let known = self.state.exclusive.is_some() && !again;
        if known || self.remote.location.as_directory().is_some() {
            return Ok(());
        }
        let access = Access { guarded: false, ..self.remote.access.clone() };
        let plain = open(&self.remote.location, &access)?;
        let claims = plain.abilities().exclusive;
        if !claims {
            probe::can_remove(&**self.store.direct())?;
            self.state.exclusive = Some(false);
            return self.save();
        }
        let exclusive = probe::is_exclusive(&*plain)?;
        self.state.exclusive = Some(exclusive);
        self.save()?;
        if !exclusive {
            *self = Self::knowing(self.context, self.remote, self.state.clone())?;
        }
        Ok(())
    }

    /// Notes that it was reached, and its refs; says so where they have gone back.
    pub fn reached(&mut self, tips: &Tips, observer: &dyn Observer) -> bool {
        let mut went_back = false;
        let mut there = HashSet::new();
        for e in tips.damaged.values() {
            report_damaged(e, observer);
        }
        let is_damaged = |key: &str| tips.damaged.contains_key(&format!("refs/{}", encoded_key(key)));
        for ((kind, name), entry) in tips.iter() {
            let key = seen_key(*kind, name.as_str());
            there.insert(key.clone());
            if let Some((seq, update)) = self.state.seen.get(&key)
                && (entry.seq < *seq || entry.seq == *seq && entry.update != *update && !holds(entry, update))
            {
                went_back = true;
                let message = format!(
                    "{} `{name}` of {} was at update {seq} and is at {} now: it was restored to an older state, or somebody changed its log",
                    kind.name(),
                    self.remote.name,
                    entry.seq
                );
                observer.notice(Notice { level: NoticeLevel::Incomplete, path: Vec::new(), message });
            }
            self.state.seen.insert(key, (entry.seq, entry.update.clone()));
        }
        for (key, (seq, _)) in &self.state.seen {
            if *seq > 0 && !there.contains(key) && !is_damaged(key) {
                went_back = true;
                let message =
                    format!("the log of `{key}` of {} is gone: it was restored to an older state", self.remote.name);
                observer.notice(Notice { level: NoticeLevel::Incomplete, path: Vec::new(), message });
            }
        }
        self.state.seen.retain(|key, _| there.contains(key) || is_damaged(key));
        self.state.reached = Some(self.context.now_secs());
        went_back
    }

    /// Remembers one ref as it is there now.
    pub fn seen(&mut self, kind: RefKind, entry: &RefEntry) {
        self.state.seen.insert(seen_key(kind, &entry.name), (entry.seq, entry.update.clone()));
    }

    /// Remembers that the user knows of one ref as it is there now.
    pub fn shown(&mut self, kind: RefKind, entry: &RefEntry) {
        self.state.shown.insert(seen_key(kind, &entry.name), (entry.seq, entry.update.clone()));
    }

    /// Writes down what is remembered, where there is a place for it.
    pub fn save(&self) -> Result<()> {
        if !Repo::is_at(&self.context.repository) {
            return Ok(());
        }
        match self.state.save(&self.context.repository, &self.remote.location.to_string()) {
            // A repository that is only read remembers nothing. In any other, what was known of the remote must not stay
            // behind unnoticed.
            Err(e) if e.kind() == Kind::Denied && is_read_only(&self.context.repository) => Ok(()),
            saved => saved,
        }
    }
}

/// Under which a ref is remembered.
pub fn seen_key(kind: RefKind, name: &str) -> String {
    format!("{}/{name}", kind.dir())
}

fn is_read_only(dir: &Path) -> bool {
    rustix::fs::access(dir, rustix::fs::Access::WRITE_OK).is_err()
}

/// The folder of a ref below `refs/`, of the key under which it is remembered.
fn encoded_key(key: &str) -> String {
    key.split_once('/').map_or_else(String::new, |(kind, name)| format!("{kind}/{}", encode_name(name)))
}

fn holds(entry: &RefEntry, update: &str) -> bool {
    entry.older.iter().any(|older| older.update == update)
}
