//! Reads the logs of all refs with few requests: one listing, and each entry once.

use std::collections::{BTreeMap, HashMap};

use parking_lot::Mutex;

use crate::error::{Error, Kind, Result};
use crate::format::logkey::{seq_key, seq_of_key, unique_seq_key};
use crate::format::refentry::RefEntry;
use crate::model::refname::{RefKind, RefName};
use crate::repo::refs::Move;
use crate::repo::{Repo, layout};
use crate::work::fan_out;

/// Number of logs that are fenced at the same time.
const FENCES: usize = 16;

/// The entries of a ref.
#[derive(Clone, Debug)]
pub(super) struct RefLog {
    pub(super) kind: RefKind,
    pub(super) name: RefName,
    /// Newest first, with fences and folded entries; never empty.
    pub(super) entries: Vec<RefEntry>,
}

/// The directory of a log, in a listing.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct LogDir {
    kind: RefKind,
    /// The last component of the directory.
    segment: String,
}

/// The key of an entry, in a listing.
#[derive(Clone, Debug, PartialEq, Eq)]
struct EntryKey {
    seq: u64,
    key: String,
}

/// Reads logs of refs, and remembers the entries, because entries never change.
#[derive(Default)]
pub(super) struct RefLogs {
    known: Mutex<HashMap<String, (RefName, RefEntry)>>,
}

impl RefLogs {
    /// Reads all logs. A damaged log is an error, because the versions that it names would look
    /// unneeded.
    pub(super) fn read(&self, repo: &Repo) -> Result<Vec<RefLog>> {
        let mut before: Option<String> = None;
        loop {
            let dirs = listed(repo)?;
            match self.read_new(repo, &dirs) {
                // Another process may have folded the entry since it was listed.
                Err((key, e)) if e.kind() == Kind::Integrity && before.as_ref() != Some(&key) => {
                    before = Some(key);
                }
                Err((_, e)) => return Err(e),
                Ok(()) => return Ok(self.assemble(dirs)),
            }
        }
    }

    /// Reads the entries that are not known yet. Returns an error with the key of its entry.
    fn read_new(
        &self,
        repo: &Repo,
        dirs: &BTreeMap<LogDir, Vec<EntryKey>>,
    ) -> Result<(), (String, Error)> {
        let known = self.known.lock();
        let new: Vec<(&LogDir, &EntryKey)> = dirs
            .iter()
            .flat_map(|(dir, keys)| keys.iter().map(move |key| (dir, key)))
            .filter(|(_, key)| !known.contains_key(&key.key))
            .collect();
        drop(known);
        let failed = Mutex::new(String::new());
        let threads = repo.store().abilities().in_flight.min(new.len());
        fan_out::for_each(threads, new.into_iter(), |(dir, key)| {
            let read = repo
                .refs()
                .entry_at(dir.kind, &dir.segment, &key.key, key.seq)
                .inspect_err(|_| key.key.clone_into(&mut failed.lock()))?;
            self.known.lock().insert(key.key.clone(), read);
            Ok::<_, Error>(())
        })
        .map_err(|e| (failed.into_inner(), e))
    }

    fn assemble(&self, dirs: BTreeMap<LogDir, Vec<EntryKey>>) -> Vec<RefLog> {
        let known = self.known.lock();
        let mut logs = Vec::new();
        for (dir, keys) in dirs {
            let mut entries: Vec<RefEntry> = Vec::new();
            let mut name = None;
            for key in keys {
                // An entry below a folded one is part of it.
                if entries.last().is_some_and(|newer| newer.seq <= key.seq) {
                    continue;
                }
                let Some((of, entry)) = known.get(&key.key) else {
                    continue;
                };
                name.get_or_insert_with(|| of.clone());
                let mut entry = entry.clone();
                let older = std::mem::take(&mut entry.older);
                entries.push(entry);
                entries.extend(older);
            }
            let kind = dir.kind;
            logs.extend(name.map(|name| RefLog {
                kind,
                name,
                entries,
            }));
        }
        logs
    }

    /// Appends an entry that repeats the value to every log. A writer that read the gc log before
    /// the plan then loses the race when it appends its entry. `check` is called before each
    /// append.
    pub(super) fn fence(
        &self,
        repo: &Repo,
        how: &Move<'_>,
        check: &(dyn Fn() -> Result<()> + Sync),
    ) -> Result<()> {
        let logs = self.read(repo)?;
        let is_exclusive = repo.store().abilities().exclusive;
        fan_out::for_each(FENCES.min(logs.len()), logs.into_iter(), |log| {
            check()?;
            let RefLog {
                kind,
                name,
                entries,
            } = log;
            let Some(tip) = entries.into_iter().next() else {
                return Ok(());
            };
            let Some(fence) = repo.refs().fence(kind, &name, tip, how)? else {
                return Ok(());
            };
            // Do not remember an entry into which others are folded, because the returned value
            // lacks them.
            if fence.seq % crate::repo::refs::COMPACT_EVERY != 0 {
                let own = match is_exclusive {
                    true => seq_key(fence.seq),
                    false => unique_seq_key(fence.seq, &fence.update),
                };
                let key = format!("{}/{own}", layout::ref_log(kind, &name));
                self.known.lock().insert(key, (name, fence));
            }
            Ok::<_, Error>(())
        })
    }
}

/// Lists the entries of all logs, newest first.
fn listed(repo: &Repo) -> Result<BTreeMap<LogDir, Vec<EntryKey>>> {
    let mut dirs: BTreeMap<LogDir, Vec<EntryKey>> = BTreeMap::new();
    for key in repo.store().list_all("refs")? {
        let Some((log, name)) = key.rsplit_once('/') else {
            continue;
        };
        let (Some(seq), Some((dir, segment))) = (seq_of_key(name), log.rsplit_once('/')) else {
            continue;
        };
        let Some(kind) = RefKind::STORED
            .into_iter()
            .find(|kind| layout::refs(*kind) == dir)
        else {
            continue;
        };
        let segment = segment.to_owned();
        dirs.entry(LogDir { kind, segment })
            .or_default()
            .push(EntryKey { seq, key });
    }
    for keys in dirs.values_mut() {
        keys.sort_unstable_by(|a, b| b.seq.cmp(&a.seq).then_with(|| a.key.cmp(&b.key)));
    }
    Ok(dirs)
}
