//! Repairs the logs of refs. The entries between intact ones follow from their neighbours. The
//! value of a newest entry comes from a remote that has the same ref, and never from the entry
//! before, unless the user accepts an older value.

use std::collections::{BTreeMap, HashSet};

use super::report::{RepairedRef, UnrepairedRef};
use super::{Repair, RepairSources, Target};
use crate::check::findings::{Findings, is_damage};
use crate::check::logs::Log;
use crate::error::Result;
use crate::format::logkey::{seq_key, seq_of_key, unique_seq_key};
use crate::format::refentry::{RefEntry, encode_name};
use crate::model::id::{Id, ObjectKind};
use crate::model::refname::{RefKind, RefName};
use crate::observe::Silent;
use crate::repo::refs::{Refs, value_of};
use crate::repo::{Repo, layout};
use crate::sys::io_error::IoError;
use crate::sys::random::random_hex;

/// Limit on the missing entries of a log; only an attacker can create a log with more.
const MISSING_MAX: u64 = 100_000;
/// Limit on the commits that are compared to find out which of two is older.
const COMMITS_MAX: usize = 1_000_000;

/// A value for a ref whose newest entry is lost.
struct Candidate {
    name: String,
    id: Id,
    /// Time of the entry with this value.
    time: (i64, u32),
    source: String,
}

impl Repair {
    /// Repairs the logs of all refs.
    pub(super) fn restore_refs(
        &mut self,
        target: &Target<'_>,
        sources: &RepairSources<'_>,
    ) -> Result<()> {
        let seen = target
            .repo
            .catalogue()
            .ok()
            .and_then(|c| c.seen_refs().ok())
            .unwrap_or_default();
        let seen: BTreeMap<String, u64> = seen.into_iter().collect();
        for kind in RefKind::STORED {
            let dir = layout::refs(kind);
            let listed = target
                .repo
                .store()
                .list(&dir)?
                .into_iter()
                .filter(|l| l.is_dir)
                .map(|l| l.name);
            let mut segments: HashSet<String> = listed.collect();
            // A log that is missing completely is known only from the catalogue.
            segments.extend(
                seen.keys()
                    .filter_map(|key| Some(key.strip_prefix(&dir)?.strip_prefix('/')?.to_owned())),
            );
            let mut segments: Vec<String> = segments.into_iter().collect();
            segments.sort_unstable();
            for segment in segments {
                target.ensure_not_cancelled()?;
                let key = format!("{dir}/{segment}");
                let known = seen.get(&key).copied().unwrap_or(0);
                // The check has already reported the findings of this log.
                let log = Log::read(target.repo, &Findings::new(&Silent), kind, &segment, key)?;
                self.restore_log(target, sources, log, known)?;
            }
        }
        Ok(())
    }

    /// Repairs one log, unless more than [`MISSING_MAX`] entries are missing. `seen` is the number
    /// of the newest entry that this machine has seen.
    fn restore_log(
        &mut self,
        target: &Target<'_>,
        sources: &RepairSources<'_>,
        mut log: Log,
        seen: u64,
    ) -> Result<()> {
        let newest = log.last.max(seen);
        if newest == 0 {
            return Ok(());
        }
        let before = log.entries.last_key_value().map(|(_, entry)| entry.clone());
        if newest - log.entries.len() as u64 > MISSING_MAX {
            self.report.unrepaired_refs.push(UnrepairedRef {
                log: log.key.clone(),
                previous: before.as_ref().and_then(value_of),
            });
            return Ok(());
        }
        let bad: Vec<u64> = (1..=newest)
            .filter(|n| !log.entries.contains_key(n))
            .collect();
        let mut value = None;
        // The newest entry is the current value, so only this one cannot follow from its
        // neighbours.
        if bad.last() == Some(&newest) {
            let previous = before.as_ref().and_then(value_of);
            let chosen = match choose(target, sources, &log, before.as_ref())? {
                None if target.accept_older => before
                    .as_ref()
                    .map(|entry| (entry.name.clone(), previous, "log".into())),
                chosen => chosen.map(|c| (c.name, Some(c.id), c.source)),
            };
            match &chosen {
                Some((name, id, source)) => self.report.refs.push(RepairedRef {
                    kind: log.kind,
                    name: name.clone(),
                    id: *id,
                    source: source.clone(),
                }),
                None => self.report.unrepaired_refs.push(UnrepairedRef {
                    log: log.key.clone(),
                    previous,
                }),
            }
            value = chosen;
        }
        // Go from old to new, because the old value of an entry is the new value of the entry
        // before.
        for seq in bad {
            let next = log
                .entries
                .range(seq..)
                .next()
                .map(|(_, entry)| (entry.name.clone(), entry.old.clone()));
            let (name, new, why) = match (next, &value) {
                (Some((name, old)), _) => (
                    name,
                    old,
                    "repair: from the neighbouring entries".to_owned(),
                ),
                (None, Some((name, id, source))) => (
                    name.clone(),
                    id.map(|id| id.to_string()),
                    format!("repair: from {source}"),
                ),
                (None, None) => break,
            };
            let entry = RefEntry {
                kind: log.kind.dir().to_owned(),
                name,
                seq,
                old: log
                    .entries
                    .get(&(seq - 1))
                    .and_then(|entry| entry.new.clone()),
                new,
                update: random_hex()?,
                time: target.time.secs,
                nanos: target.time.nanos,
                who: target.who.to_owned(),
                why,
                older: Vec::new(),
            };
            if !target.dry_run {
                write(target, &log, &entry, seq == newest)?;
            }
            if seq < newest {
                self.report.entries += 1;
            }
            // The next round of this loop needs this entry as its predecessor.
            log.entries.insert(seq, entry);
        }
        Ok(())
    }
}

/// Stores an entry in place of a damaged or missing one.
fn write(target: &Target<'_>, log: &Log, entry: &RefEntry, is_tip: bool) -> Result<()> {
    let store = target.repo.store();
    // Without exclusive creation, two writers may use one number, so the key contains the update
    // id.
    let key_of = |seq: u64| match store.abilities().exclusive {
        true => format!("{}/{}", log.key, seq_key(seq)),
        false => format!("{}/{}", log.key, unique_seq_key(seq, &entry.update)),
    };
    let key = key_of(entry.seq);
    let there = store
        .list(&log.key)?
        .into_iter()
        .filter(|l| seq_of_key(&l.name) == Some(entry.seq));
    let damaged: Vec<String> = there.map(|l| format!("{}/{}", log.key, l.name)).collect();
    target.observer.step("ref");
    match target.repo.as_local() {
        Some(local) if damaged.contains(&key) => {
            // Replace the entry by one rename, so that readers see the damaged or the new entry,
            // and never the one before it.
            let staged = local.files().stage()?;
            let written = std::io::Write::write_all(&mut staged.as_file(), &entry.encode());
            written.map_err(|e| IoError::new("write", &key, e))?;
            local.files().publish(staged, &key)?;
        }
        _ => {
            if is_tip && !damaged.is_empty() {
                // Without this entry, readers would see the entry before the damaged one for a
                // moment.
                let above = RefEntry {
                    seq: entry.seq + 1,
                    old: entry.new.clone(),
                    ..entry.clone()
                };
                store.create(&key_of(above.seq), &above.encode())?;
            }
            damaged.iter().try_for_each(|key| store.delete(key))?;
            // If another process has created the entry in the meantime, its entry counts.
            store.create(&key, &entry.encode())?;
        }
    }
    target.observer.step("ref written");
    Ok(())
}

/// Returns the newest value of a ref at the sources and in tracking refs, among those whose version
/// the repository has and that are newer than the newest intact entry.
fn choose(
    target: &Target<'_>,
    sources: &RepairSources<'_>,
    log: &Log,
    before: Option<&RefEntry>,
) -> Result<Option<Candidate>> {
    let mut all = Vec::new();
    // A remote-tracking ref shows the last known value of the branch.
    if log.kind == RefKind::Branch {
        tracked(target.repo, log, &mut all)?;
    }
    for source in &sources.repos {
        // When a remote is repaired, the local repository tracks its branches too.
        let is_local = source.repo.as_local().is_some() && target.repo.as_local().is_none();
        if is_local && log.kind == RefKind::Branch {
            tracked(&source.repo, log, &mut all)?;
        }
        // A source that does not respond or is damaged contributes nothing.
        all.extend(at_source(&source.repo, &source.name, log).ok().flatten());
    }
    let mut usable = Vec::new();
    for candidate in all {
        // The ref must not point to a version that does not exist here.
        if target.repo.knows(ObjectKind::Commit, &candidate.id)?
            && is_newer(target.repo, &candidate, before)?
        {
            usable.push(candidate);
        }
    }
    Ok(usable.into_iter().max_by_key(|candidate| candidate.time))
}

/// Adds the values of the tracking refs of a branch.
fn tracked(repo: &Repo, log: &Log, all: &mut Vec<Candidate>) -> Result<()> {
    for tip in repo.refs().readable(RefKind::Remote)?.tips {
        let name = tip.name.as_str();
        // The name of a remote may contain slashes.
        let branch = name
            .match_indices('/')
            .map(|(at, _)| &name[at + 1..])
            .find(|b| encode_name(b) == log.segment);
        if let Some(branch) = branch {
            let (source, time) = (name.to_owned(), (tip.entry.time, tip.entry.nanos));
            all.push(Candidate {
                name: branch.to_owned(),
                id: tip.id,
                time,
                source,
            });
        }
    }
    Ok(())
}

/// Returns the value of the same ref at a source.
fn at_source(repo: &Repo, source: &str, log: &Log) -> Result<Option<Candidate>> {
    let known = log.entries.values().next().map(|entry| entry.name.clone());
    let refs = Refs::of(repo.store());
    let (kind, prefix) = match log.kind {
        RefKind::Remote => (RefKind::Branch, format!("{source}/")),
        RefKind::Trash => return Ok(None),
        kind => (kind, String::new()),
    };
    let entry = match known.as_deref().map(|name| name.strip_prefix(&prefix)) {
        Some(None) => return Ok(None),
        Some(Some(name)) => refs.tip(kind, &RefName::parse_stored(name)?)?,
        None => {
            let is_it = |name: &str| encode_name(&format!("{prefix}{name}")) == log.segment;
            refs.readable(kind)?
                .tips
                .into_iter()
                .map(|tip| tip.entry)
                .find(|entry| is_it(&entry.name))
        }
    };
    Ok(entry.and_then(|entry| {
        let (id, time) = (value_of(&entry)?, (entry.time, entry.nanos));
        Some(Candidate {
            name: format!("{prefix}{}", entry.name),
            id,
            time,
            source: source.to_owned(),
        })
    }))
}

/// Returns whether a value is newer than the newest intact entry: its version is not an ancestor of
/// the version of the entry, and is either a descendant or was set at the same time or later.
fn is_newer(repo: &Repo, candidate: &Candidate, before: Option<&RefEntry>) -> Result<bool> {
    let Some(previous) = before else {
        return Ok(true);
    };
    let Some(id) = value_of(previous) else {
        return Ok(candidate.time >= (previous.time, previous.nanos));
    };
    // An equal or older value would hide that the lost entry had changed the ref.
    if id == candidate.id || leads_to(repo, &id, &candidate.id)? {
        return Ok(false);
    }
    Ok(candidate.time >= (previous.time, previous.nanos) || leads_to(repo, &candidate.id, &id)?)
}

/// Returns whether `old` is an ancestor of `new`; true if that is unknown.
fn leads_to(repo: &Repo, new: &Id, old: &Id) -> Result<bool> {
    let read = |id: &Id| match repo.commit(id) {
        Ok(commit) => Ok(Some(commit)),
        Err(e) if is_damage(&e) => Ok(None),
        Err(e) => Err(e),
    };
    let Some(oldest) = read(old)?.map(|commit| commit.ordinal) else {
        return Ok(true);
    };
    let (mut todo, mut seen) = (vec![*new], HashSet::new());
    while let Some(id) = todo.pop() {
        if id == *old || seen.len() > COMMITS_MAX {
            return Ok(true);
        }
        if !seen.insert(id) {
            continue;
        }
        match read(&id)? {
            None => return Ok(true),
            // An ancestor has a smaller ordinal, so this line cannot lead to `old` any more.
            Some(commit) if commit.ordinal > oldest => todo.extend(commit.parents),
            Some(_) => {}
        }
    }
    Ok(false)
}
