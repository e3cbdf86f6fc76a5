//! Checks the state of garbage collection: its log, the pack lists of that log, the log of
//! forgotten versions, and leases.
//!
//! Each of these objects must be complete and under the right key, because garbage collection
//! deletes packs based on them.

use std::collections::{BTreeMap, BTreeSet};

use super::findings::Findings;
use super::report::What;
use crate::codec::hash::NameHasher;
use crate::error::Result;
use crate::format::Malformed;
use crate::format::gclog::{GcEntry, GcStep};
use crate::format::lease::{Lease, is_lease_key};
use crate::format::logkey::{seq_key, seq_of_key, unique_seq_key};
use crate::format::packlist::{LIST_MAX, PackList};
use crate::format::trashlog::TrashEntry;
use crate::model::id::{parse_hex, to_hex};
use crate::model::text::count;
use crate::repo::trashlog::FOLD_EVERY;
use crate::repo::{Repo, layout};
use crate::store::StoreError;

/// Checks the whole state and adds damage to the findings.
pub(super) fn check(repo: &Repo, findings: &Findings<'_>) -> Result<()> {
    // Unknown files are only noted, because a later version of dvc may write them.
    let known = [layout::GC_LOG, layout::PACK_LISTS];
    for listed in repo.store().list(layout::QUARANTINE)? {
        let key = format!("{}/{}", layout::QUARANTINE, listed.name);
        if !known.contains(&key.as_str()) {
            findings.note(format!("unexpected object `{key}`"));
        }
    }
    let log = EntryLog::<GcEntry>::read(repo, findings, layout::GC_LOG)?;
    check_gc_log(&log, findings);
    check_lists(repo, findings, &log)?;
    check_trash_log(
        &EntryLog::read(repo, findings, layout::TRASH_LOG)?,
        findings,
    );
    check_leases(repo, findings)
}

/// A log entry whose key consists of its number and, in some stores, its update id.
trait StoredEntry: Sized {
    const WHAT: What;
    fn decode(bytes: &[u8]) -> Result<Self, Malformed>;
    fn seq(&self) -> u64;
    fn update(&self) -> &str;
}

impl StoredEntry for GcEntry {
    const WHAT: What = What::GcLog;

    fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        Self::decode(bytes)
    }

    fn seq(&self) -> u64 {
        self.seq
    }

    fn update(&self) -> &str {
        &self.update
    }
}

impl StoredEntry for TrashEntry {
    const WHAT: What = What::TrashLog;

    fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        Self::decode(bytes)
    }

    fn seq(&self) -> u64 {
        self.seq
    }

    fn update(&self) -> &str {
        &self.update
    }
}

/// The entries of a log that can be decoded.
struct EntryLog<T> {
    entries: BTreeMap<u64, T>,
    /// Numbers of entries that exist but are damaged.
    damaged: BTreeSet<u64>,
}

impl<T: StoredEntry> EntryLog<T> {
    fn read(repo: &Repo, findings: &Findings<'_>, folder: &str) -> Result<Self> {
        let mut log = Self {
            entries: BTreeMap::new(),
            damaged: BTreeSet::new(),
        };
        for listed in repo.store().list(folder)? {
            let key = format!("{folder}/{}", listed.name);
            // dvc writes keys in lower case. Another spelling would be a second key for the same
            // number.
            let is_entry = !listed.is_dir && listed.name == listed.name.to_ascii_lowercase();
            let Some(seq) = seq_of_key(&listed.name).filter(|_| is_entry) else {
                findings.note(format!("`{key}` is not a log entry"));
                continue;
            };
            // Another process may fold and remove the entry after it was listed.
            let Some(bytes) = repo.store().get(&key)? else {
                continue;
            };
            let entry = T::decode(&bytes).map_err(|e| e.why).and_then(|entry| {
                let names = [
                    seq_key(entry.seq()),
                    unique_seq_key(entry.seq(), entry.update()),
                ];
                if names.contains(&listed.name) {
                    Ok(entry)
                } else {
                    Err(format!(
                        "the key says entry {seq}, but the file contains entry {}",
                        entry.seq()
                    ))
                }
            });
            match entry {
                Ok(entry) => {
                    if log.entries.insert(seq, entry).is_some() {
                        findings.damage(
                            T::WHAT,
                            &key,
                            format!("two entries have the number {seq}"),
                        );
                    }
                }
                Err(why) => {
                    findings.damage(T::WHAT, &key, why);
                    log.damaged.insert(seq);
                }
            }
        }
        Ok(log)
    }
}

/// Checks that all numbers from `first` to the newest one are present.
fn check_numbers(
    findings: &Findings<'_>,
    what: What,
    folder: &str,
    first: u64,
    numbers: &BTreeSet<u64>,
) {
    let mut next = first;
    for number in numbers.range(first..) {
        if *number > next {
            findings.damage(
                what,
                folder,
                format!("{} missing", super::logs::range(next, number - 1)),
            );
        }
        // A forged key may contain the highest number.
        next = number.saturating_add(1);
    }
}

/// Checks the gc log from the newest dead entry on. Earlier entries may be removed at any time.
fn check_gc_log(log: &EntryLog<GcEntry>, findings: &Findings<'_>) {
    let dead = newest_dead(log);
    let numbers = log.entries.keys().chain(&log.damaged).copied().collect();
    check_numbers(
        findings,
        What::GcLog,
        layout::GC_LOG,
        // Entries before the newest dead entry may be removed at any time, so their absence is not
        // damage.
        dead.map_or(1, |entry| entry.seq),
        &numbers,
    );
    let Some(dead) = dead else { return };
    // The plan entry may be removed with the older entries. A gc that was stopped may then create a
    // dead entry at its number, which does not count.
    if dead.seq == 1 {
        let key = format!("{}/{}", layout::GC_LOG, seq_key(dead.seq));
        findings.damage(What::GcLog, key, "no plan entry precedes this dead entry");
    }
}

fn newest_dead(log: &EntryLog<GcEntry>) -> Option<&GcEntry> {
    log.entries
        .values()
        .rev()
        .find(|entry| entry.what == GcStep::Dead)
}

/// Checks the lists of the current entries: the newest dead entry, and the newest entry if it is a
/// plan. Notes other files in the directory of lists, and lists to which no entry refers.
fn check_lists(repo: &Repo, findings: &Findings<'_>, log: &EntryLog<GcEntry>) -> Result<()> {
    // Only the newest entry can be a plan in progress. Garbage collection ignores older plans.
    let plan = log
        .entries
        .values()
        .next_back()
        .filter(|entry| entry.what == GcStep::Plan);
    for entry in newest_dead(log).into_iter().chain(plan) {
        let Some(name) = entry.list else { continue };
        if let Some(why) = list_damage(repo, &name, entry)? {
            findings.damage(What::PackList, layout::pack_list(&name), why);
        }
    }
    let named: BTreeSet<String> = log
        .entries
        .values()
        .filter_map(|e| e.list)
        .map(|name| to_hex(&name))
        .collect();
    // A fold removes entries before their lists, so an interrupted fold leaves lists without an
    // entry.
    let mut unnamed = 0;
    for listed in repo.store().list(layout::PACK_LISTS)? {
        let mut name = [0; 32];
        if listed.is_dir
            || parse_hex(&listed.name, &mut name).is_none()
            // `parse_hex` also accepts capital letters, but a name has one spelling only.
            || to_hex(&name) != listed.name
        {
            findings.note(format!(
                "`{}/{}` is not a pack list",
                layout::PACK_LISTS,
                listed.name
            ));
        } else if !named.contains(&listed.name) {
            unnamed += 1;
        }
    }
    if unnamed > 0 {
        findings.note(format!(
            "no entry of `{}` refers to {}",
            layout::GC_LOG,
            count(unnamed, "pack list")
        ));
    }
    Ok(())
}

/// Returns the damage of the list to which an entry refers. `None` if the list is intact.
fn list_damage(repo: &Repo, name: &[u8; 32], entry: &GcEntry) -> Result<Option<String>> {
    let key = layout::pack_list(name);
    let Some(len) = repo.store().len(&key)? else {
        return Ok(Some("the list is missing".to_owned()));
    };
    if len > LIST_MAX {
        return Ok(Some(format!(
            "the list has {len} bytes, more than {LIST_MAX}"
        )));
    }
    let mut bytes = Vec::new();
    let read = repo.store().read_from(&key, 0, &mut |piece| {
        bytes.extend_from_slice(piece);
        // A list that grows while it is read must not use up the memory.
        if bytes.len() as u64 > len {
            Err(StoreError::Missing { key: key.clone() })
        } else {
            Ok(())
        }
    });
    match read {
        Err(StoreError::Missing { .. }) => {
            return Ok(Some("the list changed while it was read".to_owned()));
        }
        read => read?,
    }
    // The name is the checksum of the list, so a gc with a forged list would delete other packs.
    let mut hasher = NameHasher::default();
    hasher.update(&bytes);
    if hasher.finish() != *name {
        return Ok(Some("the checksum does not match the name".to_owned()));
    }
    Ok(match PackList::decode(bytes) {
        Err(e) => Some(e.why),
        Ok(list) if (list.len() as u64, list.sum_bytes()) != (entry.count, entry.bytes) => {
            Some(format!(
                "the number of packs or bytes differs from entry {}",
                entry.seq
            ))
        }
        Ok(_) => None,
    })
}

/// Checks that all entries from number 1 on exist, either as files or folded into a later entry.
fn check_trash_log(log: &EntryLog<TrashEntry>, findings: &Findings<'_>) {
    let mut numbers: BTreeSet<u64> = log.damaged.clone();
    for entry in log.entries.values() {
        numbers.insert(entry.seq);
        for older in &entry.older {
            numbers.insert(older.seq);
            // A folded entry may still exist as a file, but both must be equal.
            if log
                .entries
                .get(&older.seq)
                .is_some_and(|alone| alone != older)
            {
                let key = format!("{}/{}", layout::TRASH_LOG, seq_key(entry.seq));
                findings.damage(
                    What::TrashLog,
                    key,
                    format!(
                        "the folded copy of entry {} differs from that entry",
                        older.seq
                    ),
                );
            }
        }
    }
    // A folding entry leaves out fences that are older than the last `FOLD_EVERY` entries.
    let folding = log.entries.values().filter(|entry| !entry.older.is_empty());
    let folded = folding.map(|entry| entry.seq).max().unwrap_or(0);
    numbers.extend(1..=folded.saturating_sub(FOLD_EVERY));
    check_numbers(findings, What::TrashLog, layout::TRASH_LOG, 1, &numbers);
}

fn check_leases(repo: &Repo, findings: &Findings<'_>) -> Result<()> {
    for listed in repo.store().list(layout::SESSIONS)? {
        if !listed.name.starts_with("lease-") {
            continue;
        }
        let key = format!("{}/{}", layout::SESSIONS, listed.name);
        if listed.is_dir || !is_lease_key(&listed.name) {
            findings.note(format!("`{key}` is not a lease"));
            continue;
        }
        // The process that holds a lease may remove it at any time. An empty one is not written yet.
        let Some(bytes) = repo.lease_bytes(&key)? else {
            continue;
        };
        if !bytes.is_empty()
            && let Err(e) = Lease::decode(&bytes)
        {
            findings.damage(What::Lease, key, e.why);
        }
    }
    Ok(())
}
