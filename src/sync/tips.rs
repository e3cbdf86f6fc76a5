//! Reads the refs of a remote repository: one listing, then the newest entry of each log with many
//! concurrent requests.

use std::collections::BTreeMap;
use std::ops::Deref;

use parking_lot::Mutex;

use crate::error::{Error, Kind, Result};
use crate::format::logkey::seq_of_key;
use crate::format::refentry::RefEntry;
use crate::model::id::Id;
use crate::model::refname::{RefKind, RefName};
use crate::repo::layout;
use crate::repo::refs::{Refs, value_of};
use crate::store::Store;
use crate::work::fan_out;

/// The newest entry of each ref, including deleted refs.
#[derive(Debug, Default)]
pub struct Tips {
    tips: BTreeMap<(RefKind, RefName), RefEntry>,
    /// Logs whose newest entry is damaged, with the errors. A damaged ref must not stop work on
    /// other refs.
    pub damaged: BTreeMap<String, Error>,
}

impl Deref for Tips {
    type Target = BTreeMap<(RefKind, RefName), RefEntry>;

    /// Returns the refs that can be read.
    fn deref(&self) -> &Self::Target {
        &self.tips
    }
}

impl Tips {
    /// Returns whether a ref exists but cannot be read.
    pub fn is_damaged(&self, kind: RefKind, name: &RefName) -> bool {
        self.damaged.contains_key(&layout::ref_log(kind, name))
    }
}

/// Reads the newest entries of all branches and tags.
pub fn read(store: &dyn Store) -> Result<Tips> {
    let mut newest: BTreeMap<String, String> = BTreeMap::new();
    let kinds = [RefKind::Branch, RefKind::Tag];
    for key in store.list_all("refs")? {
        let Some((log, name)) = key.rsplit_once('/') else {
            continue;
        };
        // Other programs may leave files here that are not entries.
        if seq_of_key(name).is_none() {
            continue;
        }
        if kinds.iter().any(|k| {
            log.rsplit_once('/')
                .is_some_and(|(dir, _)| dir == layout::refs(*k))
        }) {
            let entry = newest
                .entry(log.to_owned())
                .or_insert_with(|| name.to_owned());
            // Newer entries have smaller keys.
            if name < entry.as_str() {
                name.clone_into(entry);
            }
        }
    }
    let threads = store.abilities().in_flight.min(newest.len());
    let found = Mutex::new(Tips::default());
    fan_out::for_each(threads, newest.into_iter(), |(log, name)| {
        let kind = kinds
            .into_iter()
            .find(|k| log.starts_with(&layout::refs(*k)))
            // Only logs of these kinds were collected above.
            .unwrap_or(RefKind::Branch);
        let newest = Refs::of(store).newest_at(kind, &log, &name);
        let mut found = found.lock();
        match newest {
            Ok(Some((name, entry))) => _ = found.tips.insert((kind, name), entry),
            Ok(None) => {}
            Err(e) if e.kind() == Kind::Integrity => _ = found.damaged.insert(log, e),
            Err(e) => return Err(e),
        }
        Ok(())
    })?;
    Ok(found.into_inner())
}

/// Returns the refs of a kind that exist, with their values.
pub fn values(tips: &Tips, kind: RefKind) -> impl Iterator<Item = (&RefName, Id)> {
    tips.iter()
        .filter(move |((k, _), _)| *k == kind)
        .filter_map(|((_, name), entry)| Some((name, value_of(entry)?)))
}
