//! Append-only logs of small entries below a directory of a store: the gc log and the trash log.
//!
//! Creating the next number if it is absent is the compare-and-swap, as in the logs of refs. A
//! number never restarts. If the newest entry is damaged, reading fails instead of falling back to
//! the entry before it.

use crate::error::{Failure, Kind, Result};
use crate::format::Malformed;
use crate::format::logkey::{seq_key, seq_of_key, unique_seq_key};
use crate::store::Store;

/// An entry of a log.
pub trait LogEntry: Sized {
    /// Returns the number of the entry.
    fn seq(&self) -> u64;
    /// Returns the random id by which a writer recognises its own entry.
    fn update_id(&self) -> &str;
    /// Returns the ids of the entries that are folded into this one.
    fn folded_ids(&self) -> impl Iterator<Item = &str>;
    /// Encodes the entry.
    fn encode(&self) -> Vec<u8>;
    /// Decodes an entry and checks its values.
    fn decode(bytes: &[u8]) -> Result<Self, Malformed>;
}

/// The error for a log that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("the log entry `{key}` is damaged: {detail}")]
    Damaged { key: String, detail: String },
    #[error("cannot append to `{log}`: its newest entry already has the maximum number")]
    Last { log: String },
}

impl Failure for LogError {
    fn kind(&self) -> Kind {
        Kind::Integrity
    }

    fn hint(&self) -> Option<String> {
        let damaged = match self {
            Self::Damaged { key, .. } => key,
            Self::Last { log } => log,
        };
        Some(format!("restore `{damaged}` from a copy of the repository"))
    }
}

/// The key of an entry as a listing shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EntryKey {
    pub seq: u64,
    /// The last component of the key.
    pub name: String,
}

/// The result of appending an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// The entry is in the log.
    Counts,
    /// Another writer took the number.
    Lost,
}

/// A log in a store.
pub struct Log<'s> {
    store: &'s dyn Store,
    dir: &'static str,
}

impl<'s> Log<'s> {
    /// Returns the log whose entries are directly below `dir`.
    pub const fn new(store: &'s dyn Store, dir: &'static str) -> Self {
        Self { store, dir }
    }

    /// Lists the entries, newest first.
    pub fn keys(&self) -> Result<Vec<EntryKey>> {
        let listed = self.store.list(self.dir)?.into_iter();
        let mut all: Vec<EntryKey> = listed
            .filter_map(|l| {
                Some(EntryKey {
                    seq: seq_of_key(&l.name)?,
                    name: l.name,
                })
            })
            .collect();
        all.sort_unstable_by(|a, b| b.seq.cmp(&a.seq).then_with(|| a.name.cmp(&b.name)));
        Ok(all)
    }

    /// Reads an entry; `None` if another process folded the entry since it was listed.
    pub fn read<E: LogEntry>(&self, key: &EntryKey) -> Result<Option<E>> {
        let full = format!("{}/{}", self.dir, key.name);
        // Another process may have folded the entry after it was listed.
        let Some(bytes) = self.store.get(&full)? else {
            return Ok(None);
        };
        match E::decode(&bytes) {
            // A copy of an entry under another key must not take effect.
            Ok(entry) if entry.seq() == key.seq => Ok(Some(entry)),
            Ok(_) => Err(LogError::Damaged {
                key: full,
                detail: "its number differs from the number in its name".to_owned(),
            }
            .into()),
            Err(e) => Err(LogError::Damaged {
                key: full,
                detail: e.to_string(),
            }
            .into()),
        }
    }

    /// Returns the number that follows `newest`.
    pub fn next_number(&self, newest: u64) -> Result<u64> {
        newest.checked_add(1).ok_or_else(|| {
            LogError::Last {
                log: self.dir.to_owned(),
            }
            .into()
        })
    }

    /// Creates an entry at its number. An entry does not count if the number was taken, or if its
    /// number had been freed by folding.
    pub fn append<E: LogEntry>(&self, entry: &E) -> Result<Appended> {
        let seq = entry.seq();
        // Without exclusive creation, two writers may create the same number, so the key contains
        // the update id.
        let own = match self.store.abilities().exclusive {
            true => seq_key(seq),
            false => unique_seq_key(seq, entry.update_id()),
        };
        let full = format!("{}/{own}", self.dir);
        if !self.store.create(&full, &entry.encode())? {
            return Ok(Appended::Lost);
        }
        let keys = self.keys()?;
        // If an intent lock was lost, another writer may have created an entry with the same
        // number.
        let has_rival = keys.iter().any(|key| key.seq == seq && key.name != own);
        if has_rival || !self.counts(&keys, entry)? {
            // The entry is withdrawn; a reader ignores it until then, for the same reasons.
            self.store.delete(&full)?;
            return Ok(Appended::Lost);
        }
        Ok(Appended::Counts)
    }

    /// Returns whether an entry that was just created took effect. The entry did not if folding had
    /// freed its number: then a newer entry lists ids of folded entries, but not the id of this
    /// entry.
    fn counts<E: LogEntry>(&self, keys: &[EntryKey], entry: &E) -> Result<bool> {
        let mut is_folded = false;
        for key in keys.iter().filter(|key| key.seq > entry.seq()) {
            // A newer entry that has vanished was withdrawn or folded.
            let Some(newer) = self.read::<E>(key)? else {
                continue;
            };
            if newer.folded_ids().any(|id| id == entry.update_id()) {
                return Ok(true);
            }
            // A fold that does not contain this entry was made by a process that had not seen it.
            is_folded |= newer.folded_ids().next().is_some();
        }
        Ok(!is_folded)
    }

    /// Deletes the objects of entries from the store, in the given order, until a deletion fails.
    pub fn remove(&self, keys: &[EntryKey]) -> Result<()> {
        keys.iter()
            .try_for_each(|key| Ok(self.store.delete(&format!("{}/{}", self.dir, key.name))?))
    }
}
