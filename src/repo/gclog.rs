//! The log that decides every garbage collection: which packs may be deleted (`plan`), and which
//! are dead (`dead`).
//!
//! A writer reads the log before it relies on objects and again before it moves a ref;
//! `docs/format.md` has the bytes, and `tests/model` checks the protocol. A dead entry exists only
//! directly after its plan, and its list contains all packs that were ever marked as dead, so
//! everything before the newest dead entry may be removed.

use std::io::Write;
use std::sync::Arc;

use super::layout;
use super::log::{Appended, EntryKey, Log, LogEntry, LogError};
use crate::codec::hash::NameHasher;
use crate::error::{Error, Kind, Result, with_causes};
use crate::format::Malformed;
use crate::format::gclog::{GcEntry, GcStep};
use crate::format::logkey::seq_key;
use crate::format::packlist::{LIST_MAX, ListedPack, PackList, PackListWriter};
use crate::format::segment::PackName;
use crate::store::local::LocalStore;
use crate::store::{Store, StoreError};
use crate::sys::io_error::IoError;

impl LogEntry for GcEntry {
    fn seq(&self) -> u64 {
        self.seq
    }

    fn update_id(&self) -> &str {
        &self.update
    }

    fn folded_ids(&self) -> impl Iterator<Item = &str> {
        std::iter::empty()
    }

    fn encode(&self) -> Vec<u8> {
        Self::encode(self)
    }

    fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        Self::decode(bytes)
    }
}

/// The content of the gc log at one moment.
#[derive(Clone, Debug, Default)]
pub struct GcState {
    /// Number of the newest entry; 0 if there is none.
    pub number: u64,
    /// Packs of the newest entry if that entry is a plan.
    pub planned: Arc<PackList>,
    /// Dead packs.
    pub dead: Arc<PackList>,
    /// Number of the newest dead entry; 0 if there is none.
    pub dead_number: u64,
    /// Time of that entry in seconds since 1970.
    pub dead_time: i64,
    /// Whether the newest entry is a plan with packs.
    pub has_plan: bool,
    /// Why the packs of that plan are unknown; `None` if they are known.
    pub plan_damage: Option<String>,
}

impl GcState {
    /// Returns whether a pack is dead, so that its index rows do not count.
    pub fn is_dead(&self, pack: &PackName) -> bool {
        self.dead.find(pack).is_some()
    }

    /// Returns whether a writer must not rely on a pack.
    pub fn is_excluded(&self, pack: &PackName) -> bool {
        self.dead.find(pack).is_some() || self.planned.find(pack).is_some()
    }

    /// Returns whether no pack is dead or planned.
    pub fn is_empty(&self) -> bool {
        self.dead.is_empty() && self.planned.is_empty()
    }

    /// Returns whether everything that a writer looked up under `self` is still kept under `now`.
    pub const fn is_settled(&self, now: &Self) -> bool {
        self.number == now.number && !now.has_plan
    }
}

/// The gc log of a repository.
pub struct GcLog<'s> {
    store: &'s dyn Store,
    log: Log<'s>,
}

impl<'s> GcLog<'s> {
    /// Returns the log in a store.
    pub const fn new(store: &'s dyn Store) -> Self {
        Self {
            store,
            log: Log::new(store, layout::GC_LOG),
        }
    }

    /// Reads the log. If no gc has ever run, this costs one listing. Lists that `known` contains
    /// are not read again.
    pub fn read(&self, known: &GcState) -> Result<GcState> {
        let state = self.read_to_void(known)?;
        match &state.plan_damage {
            None => Ok(state),
            Some(detail) => Err(LogError::Damaged {
                key: format!("{}/{}", layout::GC_LOG, seq_key(state.number)),
                detail: detail.clone(),
            }
            .into()),
        }
    }

    /// Reads the log for a gc, which voids a plan whose list is damaged.
    pub fn read_to_void(&self, known: &GcState) -> Result<GcState> {
        // An entry that another process folds between the listing and the read is a reason to list
        // again.
        loop {
            if let Some(state) = self.read_once(known)? {
                return Ok(state);
            }
        }
    }

    fn read_once(&self, known: &GcState) -> Result<Option<GcState>> {
        let keys = self.log.keys()?;
        let mut state = GcState::default();
        let Some(newest) = keys.first() else {
            return Ok(Some(state));
        };
        // Entries never change and numbers never restart, so an equal number means an equal log.
        if newest.seq == known.number {
            return Ok(Some(known.clone()));
        }
        for key in &keys {
            let Some(entry) = self.log.read::<GcEntry>(key)? else {
                return Ok(None);
            };
            let is_newest = state.number == 0;
            state.number = state.number.max(entry.seq);
            match entry.what {
                GcStep::Plan if is_newest => {
                    state.has_plan = entry.list.is_some();
                    match self.list(&entry) {
                        Ok(Some(list)) => state.planned = Arc::new(list),
                        Ok(None) => return Ok(None),
                        Err(e) if e.kind() == Kind::Integrity => {
                            state.plan_damage = Some(with_causes(e.as_error()));
                        }
                        Err(e) => return Err(e),
                    }
                }
                // A plan that another entry follows is void.
                GcStep::Plan => {}
                GcStep::Dead => {
                    state.dead_number = entry.seq;
                    state.dead_time = entry.time;
                    state.dead = match known.dead_number == entry.seq {
                        true => Arc::clone(&known.dead),
                        false => {
                            let Some(list) = self.list(&entry)? else {
                                return Ok(None);
                            };
                            Arc::new(list)
                        }
                    };
                    // The newest dead list contains the packs of all earlier ones.
                    break;
                }
            }
        }
        Ok(Some(state))
    }

    /// Reads the list of an entry; `None` if another process removed the list with its entry.
    fn list(&self, entry: &GcEntry) -> Result<Option<PackList>> {
        let Some(name) = &entry.list else {
            return Ok(Some(PackList::default()));
        };
        let key = layout::pack_list(name);
        let mut bytes = Vec::new();
        let read = self.store.read_from(&key, 0, &mut |piece| {
            bytes.extend_from_slice(piece);
            if bytes.len() as u64 > LIST_MAX {
                Err(StoreError::Missing { key: key.clone() })
            } else {
                Ok(())
            }
        });
        match read {
            Err(StoreError::Missing { .. })
                if !self.log.keys()?.iter().any(|key| key.seq == entry.seq) =>
            {
                return Ok(None);
            }
            read => read?,
        }
        // A store could serve another list with the same sums, and packs that are not dead would be
        // taken for dead.
        if NameHasher::of(&bytes) != *name {
            return Err(Malformed::new("list of packs", "checksum mismatch").into());
        }
        let list = PackList::decode(bytes)?;
        if list.len() as u64 != entry.count || list.sum_bytes() != entry.bytes {
            return Err(Malformed::new("list of packs", "not the list that the log names").into());
        }
        Ok(Some(list))
    }

    /// Stores a list under its name, and creates an entry that refers to it at exactly the number
    /// of `entry`. An entry without packs has no list.
    pub fn append(
        &self,
        entry: GcEntry,
        rows: &[ListedPack],
        staging: &LocalStore,
    ) -> Result<Appended> {
        if rows.is_empty() {
            // An empty plan cancels the previous plan.
            let is_counted = self.log.append(&entry)? == Appended::Counts;
            return Ok(if is_counted && self.counts(&entry, rows)? {
                Appended::Counts
            } else {
                Appended::Lost
            });
        }
        let mut list = PackListWriter::default();
        rows.iter().try_for_each(|row| list.push(row))?;
        let (count, sum_bytes) = (list.count(), list.sum_bytes());
        // A plan without packs has no list. Store the list first, because an entry must never name a
        // list that does not exist.
        let name = match count {
            0 => None,
            _ => Some(self.store_list(&list.finish(), staging)?),
        };
        let entry = GcEntry {
            list: name,
            count,
            bytes: sum_bytes,
            ..entry
        };
        // An entry that is created may still not count, because folding frees numbers.
        if self.log.append(&entry)? == Appended::Lost || !self.counts(&entry, rows)? {
            return Ok(Appended::Lost);
        }
        Ok(Appended::Counts)
    }

    /// Stores a list; returns its name. The name is the hash of the list, so an equal list of another
    /// gc is the same file.
    fn store_list(&self, bytes: &[u8], staging: &LocalStore) -> Result<PackName> {
        let name = NameHasher::of(bytes);
        let file = staging.stage()?;
        file.as_file()
            .write_all(bytes)
            .map_err(|e| IoError::new("write", layout::PACK_LISTS, e))?;
        self.store.put(file.path(), &layout::pack_list(&name))?;
        Ok(name)
    }

    /// Returns whether an entry that was just created took effect. A plan takes effect only if it
    /// is the newest entry; otherwise this function removes it.
    ///
    /// A dead entry is never removed here, because another gc may have read it and may treat its
    /// packs as dead. If folding had freed its number, the entry counts only if the newest dead
    /// entry lists all its packs.
    fn counts(&self, entry: &GcEntry, rows: &[ListedPack]) -> Result<bool> {
        // No entry is newer, so the newest one is the one that was created.
        let newest = self.log.keys()?.first().map(|key| key.seq);
        if newest == Some(entry.seq) {
            return Ok(true);
        }
        // An empty known state forces a complete read.
        let now = self.read_to_void(&GcState::default())?;
        match entry.what {
            GcStep::Dead => Ok(now.dead_number <= entry.seq
                || rows.iter().all(|row| now.dead.find(&row.name).is_some())),
            GcStep::Plan if now.number == entry.seq => Ok(true),
            GcStep::Plan => {
                let is_exclusive = self.store.abilities().exclusive;
                let is_own = |key: &EntryKey| {
                    // Without exclusive creation, another process may have created an entry with
                    // the same number.
                    key.seq == entry.seq && (is_exclusive || key.name.contains(&entry.update))
                };
                self.log.remove(
                    &self
                        .log
                        .keys()?
                        .into_iter()
                        .filter(is_own)
                        .collect::<Vec<_>>(),
                )?;
                Ok(false)
            }
        }
    }

    /// Removes entries and lists that the newest dead entry replaces.
    pub fn fold(&self) -> Result<()> {
        let keys = self.log.keys()?;
        let mut dead = None;
        for key in &keys {
            if let Some(entry) = self.log.read::<GcEntry>(key)?
                && entry.what == GcStep::Dead
            {
                dead = Some(entry);
                break;
            }
        }
        let Some(dead) = dead else { return Ok(()) };
        let old: Vec<EntryKey> = keys.into_iter().filter(|key| key.seq < dead.seq).collect();
        let mut lists = Vec::new();
        for key in &old {
            // A damaged entry before the newest dead one has no meaning any more.
            if let Ok(Some(entry)) = self.log.read::<GcEntry>(key) {
                lists.extend(entry.list);
            }
        }
        // Remove the entries before their lists, because a reader that finds an entry needs its
        // list.
        self.log.remove(&old)?;
        // A list is named by its content, so an old entry and the dead entry may share one.
        lists
            .iter()
            .filter(|name| Some(**name) != dead.list)
            .try_for_each(|name| Ok::<_, Error>(self.store.delete(&layout::pack_list(name))?))?;
        Ok(())
    }
}
