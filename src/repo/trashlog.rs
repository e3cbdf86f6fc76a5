//! The trash log: which versions are forgotten. The last mention of a version counts, so a later
//! entry can undo a forget until a gc has deleted the data of the version.

use std::collections::{BTreeSet, HashMap};

use parking_lot::Mutex;

use super::layout;
use super::log::{Appended, EntryKey, Log, LogEntry};
use super::refs::Move;
use crate::error::{Kind, Result};
use crate::format::Malformed;
use crate::format::trashlog::{IDS_MAX, TRASH_KIND, TrashEntry};
use crate::model::id::Id;
use crate::store::Store;
use crate::sys::random::random_hex;

/// An entry whose number is a multiple of this contains the preceding entries, unless they name too
/// many versions.
pub const FOLD_EVERY: u64 = 128;

impl LogEntry for TrashEntry {
    fn seq(&self) -> u64 {
        self.seq
    }

    fn update_id(&self) -> &str {
        &self.update
    }

    fn folded_ids(&self) -> impl Iterator<Item = &str> {
        self.older.iter().map(|older| older.update.as_str())
    }

    fn encode(&self) -> Vec<u8> {
        Self::encode(self)
    }

    fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        Self::decode(bytes)
    }
}

/// The reason of an entry for versions that a fetch or a push has copied without their data.
pub const COPIED_WITHOUT_DATA: &str = "fetched without";
/// The start of the reason of an entry for versions whose data need not stay in the trash.
pub const FORGET_NOW: &str = "forget --now: ";

/// The last mention of a version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrashMention {
    pub is_forgotten: bool,
    /// Seconds since 1970.
    pub time: i64,
    pub who: String,
    /// Why, as the command that wrote the entry stated it.
    pub why: String,
}

impl TrashMention {
    /// Returns whether data of the version was missing when the entry was written.
    pub fn is_without_data(&self) -> bool {
        self.why == COPIED_WITHOUT_DATA
    }

    /// Returns whether any gc may delete the data of the version, however new the entry is. The gc
    /// of the command that wrote the entry leaves data in packs that are mostly needed.
    pub fn skips_trash(&self) -> bool {
        self.why.starts_with(FORGET_NOW)
    }
}

/// The content of the trash log at one moment.
#[derive(Clone, Debug, Default)]
pub struct TrashState {
    /// Number of the newest entry; 0 if there is none.
    pub number: u64,
    mentions: HashMap<Id, TrashMention>,
}

impl TrashState {
    /// Returns whether a version is forgotten: its data is in the trash, or already collected.
    pub fn contains(&self, id: &Id) -> bool {
        self.mentions
            .get(id)
            .is_some_and(|mention| mention.is_forgotten)
    }

    /// Returns when and why a version was forgotten; `None` if the version is not forgotten.
    pub fn mention(&self, id: &Id) -> Option<&TrashMention> {
        self.mentions.get(id).filter(|mention| mention.is_forgotten)
    }

    /// Returns all forgotten versions in any order, see [`Self::contains`].
    pub fn forgotten(&self) -> impl Iterator<Item = (&Id, &TrashMention)> {
        self.mentions
            .iter()
            .filter(|(_, mention)| mention.is_forgotten)
    }

    fn of(entries: &[TrashEntry]) -> Self {
        let mut state = Self {
            number: entries.last().map_or(0, |entry| entry.seq),
            ..Self::default()
        };
        entries.iter().for_each(|entry| state.add(entry));
        state
    }

    fn add(&mut self, entry: &TrashEntry) {
        for (ids, is_forgotten) in [(&entry.forget, true), (&entry.restore, false)] {
            for id in ids {
                let (who, why) = (entry.who.clone(), entry.why.clone());
                let mention = TrashMention {
                    is_forgotten,
                    time: entry.time,
                    who,
                    why,
                };
                self.mentions.insert(*id, mention);
            }
        }
    }
}

/// The trash log with its entries.
#[derive(Clone, Debug, Default)]
pub struct TrashHistory {
    pub state: TrashState,
    /// Oldest first.
    pub entries: Vec<TrashEntry>,
}

/// The trash log of a repository.
pub struct TrashLog<'s> {
    log: Log<'s>,
    /// Entries that were read, by the last component of their keys.
    known: Mutex<HashMap<String, TrashEntry>>,
}

impl<'s> TrashLog<'s> {
    /// Returns the log in a store.
    pub fn new(store: &'s dyn Store) -> Self {
        Self {
            log: Log::new(store, layout::TRASH_LOG),
            known: Mutex::default(),
        }
    }

    /// Reads the complete log.
    pub fn read(&self) -> Result<TrashState> {
        Ok(self.read_entries()?.state)
    }

    /// Reads the complete log with its entries.
    pub fn read_entries(&self) -> Result<TrashHistory> {
        loop {
            if let Some(entries) = self.entries()? {
                return Ok(TrashHistory {
                    state: TrashState::of(&entries),
                    entries,
                });
            }
        }
    }

    /// Returns all entries, oldest first; `None` if another process folded one after it was listed.
    fn entries(&self) -> Result<Option<Vec<TrashEntry>>> {
        let mut all: Vec<TrashEntry> = Vec::new();
        for key in self.log.keys()? {
            // An entry below a folded one is part of it.
            if all.last().is_some_and(|newer| newer.seq <= key.seq) {
                continue;
            }
            let known = self.known.lock().get(&key.name).cloned();
            let read = match known {
                None => self.log.read::<TrashEntry>(&key)?,
                known => known,
            };
            // Another process has folded the entry after it was listed.
            let Some(mut entry) = read else {
                return Ok(None);
            };
            self.known
                .lock()
                .entry(key.name)
                .or_insert_with(|| entry.clone());
            let older = std::mem::take(&mut entry.older);
            all.push(entry);
            all.extend(older);
        }
        // The last mention of a version counts, so the entries must be in the order of their
        // numbers.
        all.reverse();
        Ok(Some(all))
    }

    /// Appends mentions after entry `number`, in as many entries as their length needs. `Lost`
    /// means that another process appended an entry first, so that only a part of the mentions may
    /// be in the log; the caller reads the log again.
    pub fn append(
        &self,
        mut number: u64,
        forget: &[Id],
        restore: &[Id],
        how: &Move<'_>,
    ) -> Result<Appended> {
        // The format requires sorted ids without duplicates.
        let ascending = |ids: &[Id]| {
            ids.iter()
                .copied()
                .collect::<BTreeSet<_>>()
                .into_iter()
                .collect::<Vec<_>>()
        };
        let (forget, restore) = (ascending(forget), ascending(restore));
        // An entry has a maximum length, so a long list is split into several entries.
        let pieces = forget
            .chunks(IDS_MAX)
            .map(|ids| (ids.to_vec(), Vec::new()))
            .chain(
                restore
                    .chunks(IDS_MAX)
                    .map(|ids| (Vec::new(), ids.to_vec())),
            );
        for (forget, restore) in pieces {
            number = self.log.next_number(number)?;
            // Entries before this one already count. The caller reads the log again and repeats the
            // rest.
            if self.put(number, forget, restore, how)? == Appended::Lost {
                return Ok(Appended::Lost);
            }
        }
        Ok(Appended::Counts)
    }

    /// Adds versions that were copied without their data, except those that are forgotten already.
    pub fn enter_without_data(&self, versions: &[Id], how: &Move<'_>) -> Result<()> {
        let how = Move {
            why: COPIED_WITHOUT_DATA,
            ..*how
        };
        loop {
            let state = self.read()?;
            let new: Vec<Id> = versions
                .iter()
                .copied()
                .filter(|id| !state.contains(id))
                .collect();
            if self.append(state.number, &new, &[], &how)? == Appended::Counts {
                return Ok(());
            }
        }
    }

    /// Appends an entry without mentions, so that the next append of a writer that read the log
    /// before loses the race.
    pub fn fence(&self, how: &Move<'_>) -> Result<()> {
        // A log without entries has nothing that a writer could restore.
        while let Some(newest) = self.log.keys()?.first() {
            if self.fence_after(newest.seq, how)? == Appended::Counts {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Appends an entry without mentions after entry `number`. `Lost` means that another process
    /// appended an entry first.
    pub fn fence_after(&self, number: u64, how: &Move<'_>) -> Result<Appended> {
        let number = self.log.next_number(number)?;
        self.put(number, Vec::new(), Vec::new(), how)
    }

    fn put(&self, seq: u64, forget: Vec<Id>, restore: Vec<Id>, how: &Move<'_>) -> Result<Appended> {
        let mut entry = TrashEntry {
            kind: TRASH_KIND.to_owned(),
            seq,
            update: random_hex()?,
            time: how.time.secs,
            nanos: how.time.nanos,
            who: how.who.to_owned(),
            why: how.why.to_owned(),
            forget,
            restore,
            older: Vec::new(),
        };
        let mut folded: Vec<EntryKey> = Vec::new();
        if seq.is_multiple_of(FOLD_EVERY) {
            for key in self.log.keys()?.into_iter().filter(|key| key.seq < seq) {
                if let Some(mut older) = self.log.read::<TrashEntry>(&key)? {
                    let nested = std::mem::take(&mut older.older);
                    entry.older.push(older);
                    entry.older.extend(nested);
                    folded.push(key);
                }
            }
            // The newest fences stay: a frozen writer recognises by the folded ids that its number
            // was freed.
            let is_fence = |older: &TrashEntry| older.forget.is_empty() && older.restore.is_empty();
            entry
                .older
                .retain(|older| !is_fence(older) || older.seq + FOLD_EVERY > seq);
            let ids = |entry: &TrashEntry| entry.forget.len() + entry.restore.len();
            // Fold nothing if the entry would become too long.
            if ids(&entry) + entry.older.iter().map(ids).sum::<usize>() > IDS_MAX {
                entry.older.clear();
                folded.clear();
            }
        }
        let appended = self.log.append(&entry)?;
        // Until this entry counts, the folded entries are the only copy of their mentions.
        if appended == Appended::Counts {
            match self.log.remove(&folded) {
                // With credentials that are not allowed to delete, the folded entries stay.
                Err(e) if e.kind() == Kind::Denied => {}
                removed => removed?,
            }
        }
        Ok(appended)
    }
}
