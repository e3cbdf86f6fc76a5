//! Branches and tags. Each ref is an append-only log of small entries; the newest entry has its
//! value.
//!
//! The compare-and-swap is to create the entry with the next number, which fails if it exists. A
//! damaged newest entry is an error; readers never fall back to the previous entry. A deletion is
//! an entry too, so numbers never start again.

use super::layout;
use super::locator::Locator;
use crate::error::{Error, Failure, Kind, Result, with_causes};
use crate::format::Malformed;
use crate::format::logkey::{seq_key, seq_of_key, unique_seq_key};
use crate::format::refentry::{RefEntry, encode_name};
use crate::model::entry::Time;
use crate::model::id::Id;
use crate::model::refname::{RefKind, RefName};
use crate::observe::{Notice, NoticeLevel, Observer};
use crate::store::Store;
use crate::sys::random::random_hex;

/// An entry whose number is a multiple of this contains the preceding entries, which are then
/// removed.
pub const COMPACT_EVERY: u64 = 128;

/// Gives access to the refs of a repository.
pub struct Refs<'a> {
    store: &'a dyn Store,
    /// The catalogue records the newest number of each log, so that fsck can detect the removal of
    /// a newest entry.
    locator: Option<&'a Locator>,
}

/// Author, reason and time of an update.
#[derive(Clone, Debug)]
pub struct Move<'a> {
    /// Author as `Name <email>`.
    pub who: &'a str,
    /// Reason, such as `commit: nightly`.
    pub why: &'a str,
    pub time: Time,
}

/// A ref that exists, with its value.
#[derive(Clone, Debug)]
pub struct RefTip {
    pub name: RefName,
    pub id: Id,
    /// The newest entry, which contains the value.
    pub entry: RefEntry,
}

/// All refs of a kind, divided into readable and damaged ones.
#[derive(Debug, Default)]
pub struct Readable {
    /// The readable refs, sorted by name.
    pub tips: Vec<RefTip>,
    /// The errors of the damaged refs.
    pub damaged: Vec<Error>,
}

impl Readable {
    /// Returns the readable refs, and reports the damaged ones as notices.
    pub fn or_report(self, observer: &dyn Observer) -> Vec<RefTip> {
        self.damaged
            .iter()
            .for_each(|e| report_damaged(e, observer));
        self.tips
    }
}

/// Reports a damaged ref that the operation leaves out.
pub fn report_damaged(e: &Error, observer: &dyn Observer) {
    let message = format!("skipped a damaged ref: {}", with_causes(e.as_error()));
    observer.notice(Notice {
        level: NoticeLevel::Incomplete,
        path: Vec::new(),
        message,
    });
}

/// The number and the key of an entry in a log.
struct Number {
    seq: u64,
    /// The last component of the key.
    key: String,
}

/// The error for a damaged log of a ref.
#[derive(Debug, thiserror::Error)]
pub enum RefError {
    /// The newest entry is damaged.
    #[error("the newest entry of {} `{name}` is damaged (`{key}`): {why}", kind.name())]
    Damaged {
        kind: RefKind,
        /// Name of the ref, or the name of its directory if the ref's name is unknown.
        name: String,
        /// Key of the entry.
        key: String,
        why: String,
    },
    /// The newest entry has the greatest possible number, which only damage or an attack causes.
    #[error("cannot move {} `{name}`: its newest entry already has the maximum number", kind.name())]
    Last { kind: RefKind, name: String },
    /// An operation on several refs has left out damaged refs, which it has already reported.
    #[error("{count} damaged ref{} skipped", if *count == 1 { " was" } else { "s were" })]
    Some { count: usize },
}

impl Failure for RefError {
    fn kind(&self) -> Kind {
        Kind::Integrity
    }

    fn hint(&self) -> Option<String> {
        let replace = |kind: &RefKind, name: &String| match kind {
            RefKind::Remote | RefKind::Trash => None,
            kind => {
                let word = kind.name();
                Some(format!(
                    "for a local {word}, run `dvc {word} -f {name} REV` to replace the entry"
                ))
            }
        };
        match self {
            Self::Damaged {
                kind, name, key, ..
            } => {
                let copy = format!(
                    "restore `{key}` from a copy of the repository, or delete it to return to the previous entry"
                );
                Some(match replace(kind, name) {
                    Some(replace) => format!("{copy}; {replace}"),
                    None => copy,
                })
            }
            Self::Last { kind, name } => replace(kind, name),
            Self::Some { .. } => Some(
                "run `dvc fsck` to list the damaged refs; dvc-errors(7) says how to repair a ref"
                    .to_owned(),
            ),
        }
    }
}

impl<'a> Refs<'a> {
    pub(super) fn new(store: &'a dyn Store, locator: Option<&'a Locator>) -> Self {
        Self { store, locator }
    }

    /// Returns the refs in a store that has no catalogue.
    pub fn of(store: &'a dyn Store) -> Self {
        Self::new(store, None)
    }

    /// Returns the newest entry of a ref, which may be a deletion. `None` if the ref has never
    /// existed.
    pub fn tip(&self, kind: RefKind, name: &RefName) -> Result<Option<RefEntry>> {
        self.newest(&layout::ref_log(kind, name), |number| {
            self.entry(kind, name, number)
        })
    }

    /// Reads the newest entry of a log. If another writer has folded the entry into a newer one
    /// since the listing, reads the newer one.
    fn newest<T>(&self, log: &str, read: impl Fn(&Number) -> Result<T>) -> Result<Option<T>> {
        let mut before: Option<String> = None;
        loop {
            let Some(number) = self.numbers(log)?.into_iter().next() else {
                return Ok(None);
            };
            match read(&number) {
                // The first failure may be a race with a fold. The same key twice is real damage.
                Err(e) if e.kind() == Kind::Integrity && before.as_ref() != Some(&number.key) => {
                    before = Some(number.key);
                }
                read => return read.map(Some),
            }
        }
    }

    /// Returns the value of a ref, or `None` if the ref does not exist.
    pub fn value(&self, kind: RefKind, name: &RefName) -> Result<Option<Id>> {
        Ok(self.tip(kind, name)?.and_then(|e| value_of(&e)))
    }

    /// Returns all readable refs of a kind, and the errors of the damaged ones, because a damaged
    /// ref must not prevent work on other refs.
    pub fn readable(&self, kind: RefKind) -> Result<Readable> {
        let mut readable = Readable::default();
        for (_, tip) in self.list_checked(kind)? {
            match tip {
                Ok(tip) => readable.tips.extend(tip),
                Err(e) if e.kind() == Kind::Integrity => readable.damaged.push(e),
                Err(e) => return Err(e),
            }
        }
        readable.tips.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(readable)
    }

    /// Returns all existing refs of a kind, sorted by name. Fails if any of them is damaged.
    pub fn list(&self, kind: RefKind) -> Result<Vec<RefTip>> {
        let mut tips = Vec::new();
        for (_, tip) in self.list_checked(kind)? {
            if let Some(tip) = tip? {
                tips.push(tip);
            }
        }
        tips.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(tips)
    }

    /// Returns the result for each log of a kind separately, so that the caller can continue after
    /// damage. `None` is a deleted ref.
    pub fn list_checked(&self, kind: RefKind) -> Result<Vec<(String, Result<Option<RefTip>>)>> {
        let dir = layout::refs(kind);
        let mut all = Vec::new();
        for listed in self.store.list(&dir)? {
            if listed.is_dir {
                let log = format!("{dir}/{}", listed.name);
                all.push((log.clone(), self.tip_of_log(kind, &listed.name, &log)));
            }
        }
        Ok(all)
    }

    fn tip_of_log(&self, kind: RefKind, segment: &str, log: &str) -> Result<Option<RefTip>> {
        let Some((name, entry)) = self.newest_of_log(kind, segment, log)? else {
            return Ok(None);
        };
        Ok(value_of(&entry).map(|id| RefTip { name, id, entry }))
    }

    fn newest_of_log(
        &self,
        kind: RefKind,
        segment: &str,
        log: &str,
    ) -> Result<Option<(RefName, RefEntry)>> {
        self.newest(log, |number| {
            self.read_newest(kind, segment, &format!("{log}/{}", number.key), number.seq)
        })
    }

    /// Returns an entry that was the newest one of its log in a listing, or the current newest
    /// entry if that one was folded since.
    pub fn newest_at(
        &self,
        kind: RefKind,
        log: &str,
        key: &str,
    ) -> Result<Option<(RefName, RefEntry)>> {
        let segment = log.rsplit('/').next().unwrap_or(log);
        let Some(seq) = seq_of_key(key) else {
            return Ok(None);
        };
        match self.read_newest(kind, segment, &format!("{log}/{key}"), seq) {
            // The key is a hint of the caller and may be outdated, so the log is listed again.
            Err(e) if e.kind() == Kind::Integrity => self.newest_of_log(kind, segment, log),
            read => read.map(Some),
        }
    }

    /// Reads the newest entry of the log in the directory `segment`, and checks that it belongs
    /// there.
    fn read_newest(
        &self,
        kind: RefKind,
        segment: &str,
        key: &str,
        seq: u64,
    ) -> Result<(RefName, RefEntry)> {
        let damaged = |why: String| RefError::Damaged {
            kind,
            name: segment.to_owned(),
            key: key.to_owned(),
            why,
        };
        let entry = self.read(key)?.map_err(|e| damaged(e.to_string()))?;
        // Without this check, a remote could return the entry of another ref.
        if encode_name(&entry.name) != segment || entry.seq != seq || entry.kind != kind.dir() {
            return Err(damaged("the entry belongs to another ref".to_owned()).into());
        }
        let name = RefName::parse_stored(&entry.name).map_err(|e| damaged(e.to_string()))?;
        Ok((name, entry))
    }

    /// Returns the names of all refs of a kind with a readable log, including deleted refs.
    pub fn names(&self, kind: RefKind) -> Result<Vec<RefName>> {
        let dir = layout::refs(kind);
        let mut names = Vec::new();
        for listed in self.store.list(&dir)?.into_iter().filter(|l| l.is_dir) {
            match self.newest_of_log(kind, &listed.name, &format!("{dir}/{}", listed.name)) {
                Ok(newest) => names.extend(newest.map(|(name, _)| name)),
                Err(e) if e.kind() == Kind::Integrity => {}
                Err(e) => return Err(e),
            }
        }
        Ok(names)
    }

    /// Returns the names of all refs of a kind, also of deleted ones. A damaged log is an error.
    pub fn all_names(&self, kind: RefKind) -> Result<Vec<RefName>> {
        let dir = layout::refs(kind);
        let mut names = Vec::new();
        for listed in self.store.list(&dir)?.into_iter().filter(|l| l.is_dir) {
            let newest =
                self.newest_of_log(kind, &listed.name, &format!("{dir}/{}", listed.name))?;
            names.extend(newest.map(|(name, _)| name));
        }
        Ok(names)
    }

    /// Returns the newest entry of a ref that the caller will move. A ref without a log gets a
    /// first entry without a value, so that a gc can fence its log.
    pub fn tip_to_move(&self, kind: RefKind, name: &RefName, how: &Move<'_>) -> Result<RefEntry> {
        loop {
            if let Some(tip) = self.tip(kind, name)? {
                return Ok(tip);
            }
            // Another process may create the log at the same time, so a failure leads to another
            // read.
            if let Some(entry) =
                self.update(kind, name, None, None, &Move { why: "new", ..*how })?
            {
                return Ok(entry);
            }
        }
    }

    /// Appends an entry that repeats the value of a ref. A writer that has already read the tip
    /// then loses the race and updates nothing. `tip` is the newest entry that the caller has read.
    /// Returns the new entry; `None` if the log no longer exists.
    pub fn fence(
        &self,
        kind: RefKind,
        name: &RefName,
        tip: RefEntry,
        how: &Move<'_>,
    ) -> Result<Option<RefEntry>> {
        let mut tip = Some(tip);
        while let Some(newest) = tip {
            if let Some(entry) = self.update(kind, name, Some(&newest), value_of(&newest), how)? {
                return Ok(Some(entry));
            }
            tip = self.tip(kind, name)?;
        }
        Ok(None)
    }

    /// Reads the entry `seq` of the log in the directory `segment`, and checks that it belongs
    /// there. `key` is its whole key.
    pub fn entry_at(
        &self,
        kind: RefKind,
        segment: &str,
        key: &str,
        seq: u64,
    ) -> Result<(RefName, RefEntry)> {
        self.read_newest(kind, segment, key, seq)
    }

    /// Returns all entries of a ref that changed its value, newest first.
    pub fn log(&self, kind: RefKind, name: &RefName) -> Result<Vec<RefEntry>> {
        let mut all: Vec<RefEntry> = Vec::new();
        for number in self.numbers(&layout::ref_log(kind, name))? {
            // An entry below a folded one is part of it, so reading it would list it twice.
            if all.last().is_some_and(|l| l.seq <= number.seq) {
                continue;
            }
            let mut entry = self.entry(kind, name, &number)?;
            let older = std::mem::take(&mut entry.older);
            all.push(entry);
            all.extend(older);
        }
        // Fences and first entries repeat the value.
        all.retain(|entry| entry.old != entry.new);
        Ok(all)
    }

    /// Moves a ref from the value in `tip` to `new`; `None` deletes the ref. Returns `None` if
    /// another writer won the race; the caller then reads the tip again and retries.
    pub fn update(
        &self,
        kind: RefKind,
        name: &RefName,
        tip: Option<&RefEntry>,
        new: Option<Id>,
        how: &Move<'_>,
    ) -> Result<Option<RefEntry>> {
        let last = || RefError::Last {
            kind,
            name: name.as_str().to_owned(),
        };
        let seq = tip.map_or(0, |t| t.seq).checked_add(1).ok_or_else(last)?;
        let mut entry = RefEntry {
            kind: kind.dir().to_owned(),
            name: name.as_str().to_owned(),
            seq,
            old: tip.and_then(|t| t.new.clone()),
            new: new.map(|id| id.to_string()),
            update: random_hex()?,
            time: how.time.secs,
            nanos: how.time.nanos,
            who: how.who.to_owned(),
            why: how.why.to_owned(),
            older: Vec::new(),
        };
        let mut folded = Vec::new();
        if seq.is_multiple_of(COMPACT_EVERY) {
            folded = self.singles_before(kind, name, seq)?;
            entry.older = folded.clone();
        }
        let log = layout::ref_log(kind, name);
        // Without exclusive creation, two writers may create the same number, so the key contains
        // the update id.
        let own = match self.store.abilities().exclusive {
            true => seq_key(seq),
            false => unique_seq_key(seq, &entry.update),
        };
        if !self
            .store
            .create(&format!("{log}/{own}"), &entry.encode())?
        {
            return Ok(None);
        }
        if let Some(Ok(catalogue)) = self.locator.map(Locator::catalogue) {
            // Ignore the error, because only fsck uses the record.
            let _ = catalogue.see_ref(&log, seq);
        }
        // The listing follows the creation, so at least one of two writers with the same number
        // sees the other.
        let numbers = self.numbers(&log)?;
        if numbers.iter().any(|n| n.seq == seq && n.key != own) {
            // Two entries have the same number only if a lock was broken. The writer that sees the
            // other entry removes its own.
            self.store.delete(&format!("{log}/{own}"))?;
            return Ok(None);
        }
        if !self.has_taken(kind, name, &numbers, &entry)? {
            self.store.delete(&format!("{log}/{own}"))?;
            return Ok(None);
        }
        // Until this entry counts, the folded entries are the only copy of the history, so they are
        // removed last.
        let old = |n: &&Number| n.seq < seq && folded.iter().any(|f| f.seq == n.seq);
        for folded in numbers.iter().filter(old) {
            match self.store.delete(&format!("{log}/{}", folded.key)) {
                // With credentials that must not delete, the folded entries stay.
                Err(e) if e.kind() == Kind::Denied => break,
                deleted => deleted?,
            }
        }
        entry.older.clear();
        Ok(Some(entry))
    }

    /// Replaces the newest entry of a log by one with the value `new`, if the newest entry is
    /// damaged or has the greatest possible number. Returns whether it has replaced the entry.
    pub fn repair(&self, kind: RefKind, name: &RefName, new: Id, how: &Move<'_>) -> Result<bool> {
        let log = layout::ref_log(kind, name);
        let numbers = self.numbers(&log)?;
        let Some(newest) = numbers.first() else {
            return Ok(false);
        };
        let is_last = newest.seq == u64::MAX;
        match self.entry(kind, name, newest) {
            Ok(_) if !is_last => return Ok(false),
            Err(e) if e.kind() != Kind::Integrity => return Err(e),
            _ => {}
        }
        let before = numbers.iter().find(|n| n.seq < newest.seq);
        let old = before
            .map(|n| self.entry(kind, name, n))
            .transpose()
            .ok()
            .flatten();
        // `update` creates the number after `seq`: that of the damaged entry, or, if there is no
        // greater number, the one after the last sound entry.
        let seq = if is_last {
            before.map_or(0, |n| n.seq)
        } else {
            newest.seq - 1
        };
        // After a crash at this point, the ref has its previous value.
        self.store.delete(&format!("{log}/{}", newest.key))?;
        let tip = RefEntry {
            kind: kind.dir().to_owned(),
            name: name.as_str().to_owned(),
            seq,
            old: None,
            new: old.and_then(|e| e.new),
            update: String::new(),
            time: how.time.secs,
            nanos: how.time.nanos,
            who: how.who.to_owned(),
            why: String::new(),
            older: Vec::new(),
        };
        Ok(self
            .update(kind, name, Some(&tip), Some(new), how)?
            .is_some())
    }

    /// Returns whether a written entry has become part of the log. The entry has not if other
    /// writers had already folded another entry with the same number, which made the key available
    /// again.
    fn has_taken(
        &self,
        kind: RefKind,
        name: &RefName,
        numbers: &[Number],
        entry: &RefEntry,
    ) -> Result<bool> {
        if entry.seq.is_multiple_of(COMPACT_EVERY) {
            // An entry into which others are folded is never folded itself.
            let own = numbers.iter().find(|n| n.seq == entry.seq);
            return own.map_or(Ok(false), |n| {
                Ok(self.entry(kind, name, n)?.update == entry.update)
            });
        }
        // The oldest fold above the entry is the one that had to include it.
        let fold = numbers
            .iter()
            .rev()
            .find(|n| n.seq > entry.seq && n.seq.is_multiple_of(COMPACT_EVERY));
        match fold.or(numbers.first()) {
            None => Ok(false),
            // No other entry has this number, so the key is the one that the caller has created.
            Some(n) if n.seq == entry.seq => Ok(true),
            Some(n) if fold.is_none() => Ok(n.seq > entry.seq),
            Some(fold) => Ok(self
                .entry(kind, name, fold)?
                .older
                .iter()
                .any(|o| o.update == entry.update)),
        }
    }

    /// Returns the entries below the number `seq` that are not folded yet, newest first.
    fn singles_before(&self, kind: RefKind, name: &RefName, seq: u64) -> Result<Vec<RefEntry>> {
        let mut out = Vec::new();
        for n in self.numbers(&layout::ref_log(kind, name))? {
            if n.seq < seq && !n.seq.is_multiple_of(COMPACT_EVERY) {
                out.push(self.entry(kind, name, &n)?);
            } else if n.seq < seq {
                // Entries below the previous fold are part of that fold.
                break;
            }
        }
        Ok(out)
    }

    /// Lists the entries of a log, newest first.
    fn numbers(&self, log: &str) -> Result<Vec<Number>> {
        let listed = self.store.list(log)?.into_iter();
        let mut all: Vec<Number> = listed
            .filter_map(|l| {
                Some(Number {
                    seq: seq_of_key(&l.name)?,
                    key: l.name,
                })
            })
            .collect();
        all.sort_unstable_by(|a, b| b.seq.cmp(&a.seq).then_with(|| a.key.cmp(&b.key)));
        Ok(all)
    }

    fn read(&self, key: &str) -> Result<std::result::Result<RefEntry, Malformed>> {
        // An entry that vanished since the listing counts as damaged; `newest` then lists again.
        let bytes = self.store.get(key)?.unwrap_or_default();
        Ok(RefEntry::decode(&bytes))
    }

    fn entry(&self, kind: RefKind, name: &RefName, number: &Number) -> Result<RefEntry> {
        let key = format!("{}/{}", layout::ref_log(kind, name), number.key);
        let damaged = |key: String, why: String| -> Error {
            RefError::Damaged {
                kind,
                name: name.as_str().to_owned(),
                key,
                why,
            }
            .into()
        };
        match self.read(&key)? {
            Ok(e) if e.name == name.as_str() && e.seq == number.seq && e.kind == kind.dir() => {
                Ok(e)
            }
            Ok(_) => Err(damaged(key, "the entry belongs to another ref".to_owned())),
            Err(e) => Err(damaged(key, e.to_string())),
        }
    }
}

/// Returns the value that an entry gives its ref; `None` if the entry deletes the ref.
pub fn value_of(entry: &RefEntry) -> Option<Id> {
    entry.new.as_deref().and_then(Id::parse)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::local::LocalStore;

    fn entry_key(kind: RefKind, name: &RefName, seq: u64) -> String {
        format!("{}/{}", layout::ref_log(kind, name), seq_key(seq))
    }

    fn how() -> Move<'static> {
        Move {
            who: "w",
            why: "test",
            time: Time { secs: 1, nanos: 0 },
        }
    }

    #[test]
    fn compare_and_swap_and_log() {
        let dir = tempfile::tempdir().unwrap();
        let store = LocalStore::new(dir.path().to_path_buf());
        let refs = Refs::new(&store, None);
        let name = RefName::new("cust/ACME").unwrap();
        let mut tip = None;
        for i in 0..300u32 {
            let mut id = [0; 32];
            id[..4].copy_from_slice(&i.to_be_bytes());
            tip = refs
                .update(RefKind::Branch, &name, tip.as_ref(), Some(Id(id)), &how())
                .unwrap();
            assert!(tip.is_some());
        }
        let log = refs.log(RefKind::Branch, &name).unwrap();
        assert_eq!(log.len(), 300);
        assert!(
            log.windows(2)
                .all(|w| w[0].seq == w[1].seq + 1 && w[0].old == w[1].new)
        );
        let files = store
            .list(&layout::ref_log(RefKind::Branch, &name))
            .unwrap()
            .len();
        // Old entries are folded, so the number of files does not grow with the log.
        assert!(files < 50, "{files}");
        // An update that expects an older entry loses.
        assert!(
            refs.update(
                RefKind::Branch,
                &name,
                log.get(1),
                Some(Id([9; 32])),
                &how()
            )
            .unwrap()
            .is_none()
        );
        assert!(
            refs.update(RefKind::Branch, &name, tip.as_ref(), None, &how())
                .unwrap()
                .is_some()
        );
        assert_eq!(refs.value(RefKind::Branch, &name).unwrap(), None);
        assert!(refs.list(RefKind::Branch).unwrap().is_empty());
    }

    #[test]
    fn a_writer_that_is_overtaken_by_a_fold_has_lost() {
        let store = crate::store::memory::MemoryStore::default();
        let refs = Refs::of(&store);
        let name = RefName::new("main").unwrap();
        let update = |tip: Option<&RefEntry>, n: u8| {
            refs.update(RefKind::Branch, &name, tip, Some(Id([n; 32])), &how())
                .unwrap()
        };
        let (mut tip, mut stale) = (None, vec![None]);
        for n in 1..=COMPACT_EVERY + 2 {
            tip = update(tip.as_ref(), 1);
            assert!(tip.is_some(), "{n}");
            stale.push(tip.clone());
        }
        let keys = || {
            store
                .list_all(&layout::ref_log(RefKind::Branch, &name))
                .unwrap()
        };
        let before = keys();
        // The last one is the current tip.
        stale.pop();
        for (n, tip) in stale.iter().enumerate() {
            assert!(update(tip.as_ref(), 2).is_none(), "{n}");
        }
        // A writer that has lost leaves no entry.
        assert_eq!(keys(), before);
        assert_eq!(
            refs.value(RefKind::Branch, &name).unwrap(),
            Some(Id([1; 32]))
        );
        assert!(update(tip.as_ref(), 3).is_some());
    }

    #[test]
    fn an_entry_that_was_folded_since_it_was_listed() {
        let store = crate::store::memory::MemoryStore::default();
        let refs = Refs::of(&store);
        let name = RefName::new("main").unwrap();
        let mut tip = None;
        for _ in 1..COMPACT_EVERY {
            tip = refs
                .update(
                    RefKind::Branch,
                    &name,
                    tip.as_ref(),
                    Some(Id([1; 32])),
                    &how(),
                )
                .unwrap();
        }
        let log = layout::ref_log(RefKind::Branch, &name);
        let listed = refs.numbers(&log).unwrap().remove(0);
        // This update folds the listed entry.
        refs.update(
            RefKind::Branch,
            &name,
            tip.as_ref(),
            Some(Id([2; 32])),
            &how(),
        )
        .unwrap()
        .unwrap();
        assert_eq!(store.get(&format!("{log}/{}", listed.key)).unwrap(), None);
        let (_, newest) = refs
            .newest_at(RefKind::Branch, &log, &listed.key)
            .unwrap()
            .unwrap();
        assert_eq!(
            (newest.seq, value_of(&newest)),
            (COMPACT_EVERY, Some(Id([2; 32])))
        );
        // Simulate a fold between the two requests of a call.
        let first = std::cell::Cell::new(true);
        let read = |number: &Number| {
            if first.replace(false) {
                refs.entry(RefKind::Branch, &name, &listed)
            } else {
                refs.entry(RefKind::Branch, &name, number)
            }
        };
        assert_eq!(refs.newest(&log, read).unwrap().unwrap().seq, COMPACT_EVERY);
    }

    #[test]
    fn a_damaged_tip_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let store = LocalStore::new(dir.path().to_path_buf());
        let refs = Refs::new(&store, None);
        let name = RefName::new("main").unwrap();
        let first = refs
            .update(RefKind::Branch, &name, None, Some(Id([1; 32])), &how())
            .unwrap();
        refs.update(
            RefKind::Branch,
            &name,
            first.as_ref(),
            Some(Id([2; 32])),
            &how(),
        )
        .unwrap();
        let path = store.path(&entry_key(RefKind::Branch, &name, 2));
        std::fs::write(&path, b"").unwrap();
        assert_eq!(
            refs.value(RefKind::Branch, &name).unwrap_err().kind(),
            Kind::Integrity
        );
        // An entry contains its own number, so a copy in another place is damage.
        std::fs::copy(store.path(&entry_key(RefKind::Branch, &name, 1)), &path).unwrap();
        assert_eq!(
            refs.list(RefKind::Branch).unwrap_err().kind(),
            Kind::Integrity
        );
        let (heads, tags) = (
            store.path(&layout::refs(RefKind::Branch)),
            store.path(&layout::refs(RefKind::Tag)),
        );
        std::fs::remove_file(&path).unwrap();
        assert!(refs.value(RefKind::Branch, &name).unwrap().is_some());
        // An entry also contains the kind of its ref.
        std::fs::rename(heads, tags).unwrap();
        assert_eq!(
            refs.value(RefKind::Tag, &name).unwrap_err().kind(),
            Kind::Integrity
        );
    }

    #[test]
    fn a_damaged_ref_leaves_the_others_alone_and_is_written_again() {
        let store = crate::store::memory::MemoryStore::default();
        let refs = Refs::of(&store);
        let names = ["good", "bad", "last"].map(|name| RefName::new(name).unwrap());
        for name in &names {
            let mut tip = None;
            for n in 1..=3 {
                tip = refs
                    .update(
                        RefKind::Branch,
                        name,
                        tip.as_ref(),
                        Some(Id([n; 32])),
                        &how(),
                    )
                    .unwrap();
            }
        }
        let [good, bad, last] = &names;
        let key = entry_key(RefKind::Branch, bad, 3);
        store.delete(&key).unwrap();
        assert!(store.create(&key, b"damage").unwrap());
        let readable = refs.readable(RefKind::Branch).unwrap();
        assert_eq!(
            readable
                .tips
                .iter()
                .map(|t| t.name.as_str())
                .collect::<Vec<_>>(),
            ["good", "last"]
        );
        assert_eq!(readable.damaged.len(), 1);
        assert!(
            !refs
                .repair(RefKind::Branch, good, Id([9; 32]), &how())
                .unwrap(),
            "nothing is wrong with it"
        );
        assert!(
            refs.repair(RefKind::Branch, bad, Id([9; 32]), &how())
                .unwrap()
        );
        let values: Vec<_> = refs
            .log(RefKind::Branch, bad)
            .unwrap()
            .iter()
            .map(value_of)
            .collect();
        assert_eq!(values, [9, 2, 1].map(|n| Some(Id([n; 32]))));
        // No entry can follow the greatest number.
        let mut entry = refs.tip(RefKind::Branch, last).unwrap().unwrap();
        entry.seq = u64::MAX;
        assert!(
            store
                .create(&entry_key(RefKind::Branch, last, u64::MAX), &entry.encode())
                .unwrap()
        );
        let tip = refs.tip(RefKind::Branch, last).unwrap();
        assert_eq!(
            refs.update(
                RefKind::Branch,
                last,
                tip.as_ref(),
                Some(Id([9; 32])),
                &how()
            )
            .unwrap_err()
            .kind(),
            Kind::Integrity
        );
        assert!(
            refs.repair(RefKind::Branch, last, Id([9; 32]), &how())
                .unwrap()
        );
        assert_eq!(refs.tip(RefKind::Branch, last).unwrap().unwrap().seq, 4);
    }
}
