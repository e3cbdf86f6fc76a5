//! Checks the logs of all refs: every entry is intact, belongs to its log and follows the previous
//! entry, and no entry is missing.
//!
//! Returns the versions of all entries. Old entries count too, because `undo` can return to them.

use std::collections::BTreeMap;

use super::findings::Findings;
use super::report::{Checked, What};
use crate::error::Result;
use crate::format::logkey::{seq_key, seq_of_key};
use crate::format::refentry::{RefEntry, encode_name};
use crate::model::id::Id;
use crate::model::refname::{RefKind, RefName};
use crate::repo::{Repo, layout};

/// Attempts to read a log while other processes fold it.
const ATTEMPTS: usize = 10;

/// A version that a ref has or had.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Root {
    pub(super) kind: RefKind,
    pub(super) name: String,
    pub(super) id: Id,
    /// Whether this is the current value of the ref.
    pub(super) current: bool,
}

/// Checks all logs. Returns the versions of their entries, current ones first.
pub(super) fn check(
    repo: &Repo,
    findings: &Findings<'_>,
    checked: &mut Checked,
) -> Result<Vec<Root>> {
    // Read the record before the logs, because another process may move a ref at any time.
    let seen = repo
        .catalogue()
        .ok()
        .and_then(|c| c.seen_refs().ok())
        .unwrap_or_default();
    // A gc keeps the previous values of refs for some time only. `gc_state` reports a damaged
    // gc log.
    let gc = repo.read_gc_log().unwrap_or_default();
    let collected = if gc.dead_number > 0 {
        gc.dead_time
    } else {
        i64::MIN
    };
    let mut roots = Vec::new();
    let mut last = BTreeMap::new();
    for listed in repo.store().list("refs")? {
        if !RefKind::STORED.iter().any(|k| k.dir() == listed.name) {
            findings.note(format!("unexpected object `refs/{}`", listed.name));
        }
    }
    for kind in RefKind::STORED {
        let dir = layout::refs(kind);
        for listed in repo.store().list(&dir)? {
            let log = format!("{dir}/{}", listed.name);
            if !listed.is_dir {
                findings.note(format!("`{log}` is not a ref log"));
                continue;
            }
            let log = Log::read(repo, findings, kind, &listed.name, log)?;
            if log.last > 0 {
                checked.refs += 1;
                checked.entries += log.entries.len() as u64;
                log.check(findings);
                log.roots(&mut roots, collected);
                last.insert(log.key, log.last);
            }
        }
    }
    compare_with_seen(repo, findings, seen, &last);
    // Current versions come first, so that an affected version is named after a current ref.
    roots.sort_by_key(|r| !r.current);
    Ok(roots)
}

/// Compares the logs with the numbers that the catalogue has recorded, because only the record
/// shows that the newest entry of a log was removed. Then updates the record.
fn compare_with_seen(
    repo: &Repo,
    findings: &Findings<'_>,
    seen: Vec<(String, u64)>,
    last: &BTreeMap<String, u64>,
) {
    for (log, seen) in seen {
        let there = last.get(&log).copied().unwrap_or(0);
        if there < seen {
            let what = format!("{} missing at the end of the log", range(there + 1, seen));
            findings.damage(What::Ref, log, what);
        }
    }
    let Ok(catalogue) = repo.catalogue() else {
        return;
    };
    for (log, seq) in last {
        // Ignore the error, because only the next check uses the record.
        let _ = catalogue.see_ref(log, *seq);
    }
}

pub(super) fn range(from: u64, to: u64) -> String {
    if from == to {
        format!("entry {from} is")
    } else {
        format!("entries {from} to {to} are")
    }
}

/// A file in the directory of a log.
struct LogFile {
    key: String,
    /// Number of the entry; `None` if the file is not an entry, which is not read.
    seq: Option<u64>,
    bytes: Vec<u8>,
}

/// Reads all entries of a log.
fn log_files(repo: &Repo, log: &str) -> Result<Vec<LogFile>> {
    let mut attempts = 0;
    'again: loop {
        attempts += 1;
        let mut files = Vec::new();
        for listed in repo.store().list(log)? {
            let key = format!("{log}/{}", listed.name);
            // dvc writes keys in lower case, and another spelling would be a second key for the
            // same number.
            let is_entry = !listed.is_dir && listed.name == listed.name.to_ascii_lowercase();
            let seq = seq_of_key(&listed.name).filter(|_| is_entry);
            let bytes = match seq {
                Some(_) => repo.store().get(&key)?,
                None => None,
            };
            // Another process has folded the entry into a newer one since the listing, and the
            // newer one is missing in the listing.
            if seq.is_some() && bytes.is_none() && attempts < ATTEMPTS {
                continue 'again;
            }
            files.push(LogFile {
                key,
                seq,
                bytes: bytes.unwrap_or_default(),
            });
        }
        return Ok(files);
    }
}

/// The log of a ref.
pub(super) struct Log {
    pub(super) kind: RefKind,
    /// Encoded name of the ref.
    pub(super) segment: String,
    /// Key of the log.
    pub(super) key: String,
    /// Number of the newest entry.
    pub(super) last: u64,
    /// Intact entries.
    pub(super) entries: BTreeMap<u64, RefEntry>,
    /// Numbers of damaged entries.
    pub(super) damaged: Vec<u64>,
}

impl Log {
    pub(super) fn read(
        repo: &Repo,
        findings: &Findings<'_>,
        kind: RefKind,
        segment: &str,
        key: String,
    ) -> Result<Self> {
        let mut log = Self {
            kind,
            segment: segment.to_owned(),
            key,
            last: 0,
            entries: BTreeMap::new(),
            damaged: Vec::new(),
        };
        for LogFile {
            key: file,
            seq,
            bytes,
        } in log_files(repo, &log.key)?
        {
            let Some(seq) = seq else {
                findings.note(format!("`{file}` is not a log entry"));
                continue;
            };
            // The number counts even if the entry is damaged, because the entry exists.
            log.last = log.last.max(seq);
            let entry = RefEntry::decode(&bytes)
                .map_err(|e| e.why)
                .and_then(|e| log.placed(e, seq));
            match entry {
                Ok(mut entry) => {
                    let older = std::mem::take(&mut entry.older);
                    // A folded entry may still exist as a file, but both must be equal.
                    for e in older.into_iter().chain([entry]) {
                        let seq = e.seq;
                        if log
                            .entries
                            .insert(seq, e.clone())
                            .is_some_and(|known| known != e)
                        {
                            findings.damage(
                                What::Ref,
                                &file,
                                format!("the folded copy of entry {seq} differs from that entry"),
                            );
                        }
                    }
                }
                Err(why) => {
                    findings.damage(What::Ref, &file, why);
                    log.damaged.push(seq);
                }
            }
        }
        Ok(log)
    }

    /// Returns the entry, or a description of the damage if the entry or one that is folded into it
    /// does not belong to this log.
    fn placed(&self, entry: RefEntry, seq: u64) -> Result<RefEntry, String> {
        let here = |e: &RefEntry| e.kind == self.kind.dir() && encode_name(&e.name) == self.segment;
        // A copied entry would set a ref to the value of another ref, although its checksum is
        // right.
        if !here(&entry) || entry.seq != seq {
            let RefEntry {
                kind, name, seq, ..
            } = &entry;
            return Err(format!(
                "belongs to another log: contains entry {seq} of `{name}` in `{kind}`"
            ));
        }
        RefName::parse_stored(&entry.name).map_err(|e| e.to_string())?;
        // Folded entries are listed from the newest to the oldest.
        let mut above = seq;
        for older in &entry.older {
            if !here(older) || older.seq >= above || older.seq == 0 || !older.older.is_empty() {
                return Err(
                    "contains folded entries of another log or in the wrong order".to_owned(),
                );
            }
            above = older.seq;
        }
        for e in entry.older.iter().chain([&entry]) {
            if e.old.iter().chain(&e.new).any(|v| Id::parse(v).is_none()) {
                return Err("contains an invalid version id".to_owned());
            }
        }
        Ok(entry)
    }

    /// Checks that the numbers have no gaps, and that the old value of each entry is the new value
    /// of the previous one.
    fn check(&self, findings: &Findings<'_>) {
        let there = |n: &u64| self.entries.contains_key(n) || self.damaged.contains(n);
        let mut next = 1;
        let mut known: Vec<u64> = self.entries.keys().chain(&self.damaged).copied().collect();
        known.sort_unstable();
        for n in known {
            if n > next {
                findings.damage(
                    What::Ref,
                    &self.key,
                    format!("{} missing", range(next, n - 1)),
                );
            }
            // A forged key may contain the highest number.
            next = n.saturating_add(1);
        }
        for (n, entry) in &self.entries {
            let before = match n.checked_sub(1).and_then(|b| self.entries.get(&b)) {
                Some(before) => before.new.as_ref(),
                // The loop above has reported a missing entry, and `read` a damaged one.
                None if *n > 1 => continue,
                None => None,
            };
            if entry.old.as_ref() != before && (*n == 1 || there(&(n - 1))) {
                let why =
                    "the old value differs from the new value of the previous entry".to_owned();
                findings.damage(What::Ref, format!("{}/{}", self.key, seq_key(*n)), why);
            }
        }
    }

    /// Adds the current value, and older values whose entries are not older than `collected`, the
    /// time of the last garbage collection in seconds since 1970.
    fn roots(&self, roots: &mut Vec<Root>, collected: i64) {
        for (n, entry) in self.entries.iter().rev() {
            // An entry without a new value deletes the ref, so there is no version to check.
            let Some(id) = entry.new.as_deref().and_then(Id::parse) else {
                continue;
            };
            let root = Root {
                kind: self.kind,
                name: entry.name.clone(),
                id,
                current: *n == self.last,
            };
            // The newest value is needed in any case. Older values may have been deleted by the gc.
            roots.extend(Some(root).filter(|root| root.current || entry.time > collected));
        }
    }
}
