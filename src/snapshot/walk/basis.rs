//! Records of directories at the last commit, so that unchanged files are not read again.
//!
//! A record consists of the tree of the directory and a fingerprint of the stat of each entry, in
//! order of names. A fingerprint of 0 never matches: the file changed so recently, or while it was
//! read, that its times prove nothing. The device number is not part of a fingerprint, because each
//! snapshot of a volume has a different one (docs/decisions/0010).

use std::collections::HashSet;

use crate::codec::hash::checksum;
use crate::error::Result;
use crate::format::segment::PackName;
use crate::format::varint;
use crate::model::entry::{Time, Totals};
use crate::model::id::Id;
use crate::repo::Repo;

use crate::snapshot::walk::entries::Stat;

const VERSION: u8 = 2;

/// The record of one directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirRecord {
    /// Tree object of the directory.
    pub tree: Id,
    /// Totals of everything below the directory.
    pub totals: Totals,
    /// Device of the directory.
    pub device: u64,
    /// The latest ctime that the walk saw. If the walk read a snapshot of a volume, the snapshot
    /// was taken at this time or later.
    pub newest: Time,
    /// Fingerprints of the entries in order of names, then of the directory itself.
    pub prints: Vec<u64>,
}

impl DirRecord {
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        out.extend_from_slice(&self.tree.0);
        varint::put(&mut out, self.totals.files);
        varint::put(&mut out, self.totals.dirs);
        varint::put(&mut out, self.totals.bytes);
        out.extend_from_slice(&self.device.to_le_bytes());
        out.extend_from_slice(&self.newest.secs.to_le_bytes());
        out.extend_from_slice(&self.newest.nanos.to_le_bytes());
        for print in &self.prints {
            out.extend_from_slice(&print.to_le_bytes());
        }
        out
    }

    /// Decodes a record. Returns `None` for an invalid one, which is treated like a missing one.
    pub fn decode(mut bytes: &[u8]) -> Option<Self> {
        let (version, rest) = bytes.split_first()?;
        bytes = rest;
        let (tree, rest) = bytes.split_first_chunk::<32>()?;
        bytes = rest;
        let totals = Totals {
            files: varint::take(&mut bytes)?,
            dirs: varint::take(&mut bytes)?,
            bytes: varint::take(&mut bytes)?,
        };
        let (device, rest) = bytes.split_first_chunk()?;
        let (secs, rest) = rest.split_first_chunk()?;
        let (nanos, rest) = rest.split_first_chunk()?;
        let (prints, rest) = rest.as_chunks::<8>();
        (*version == VERSION && rest.is_empty()).then(|| Self {
            tree: Id(*tree),
            totals,
            device: u64::from_le_bytes(*device),
            newest: Time {
                secs: i64::from_le_bytes(*secs),
                nanos: u32::from_le_bytes(*nanos),
            },
            prints: prints.iter().map(|p| u64::from_le_bytes(*p)).collect(),
        })
    }
}

/// Returns the catalogue key of the list of packs that the records of a worktree rely on.
fn fact(worktree: i64) -> String {
    format!("stat-packs-{worktree}")
}

/// Records that the objects of all records of a worktree are in packs that exist now.
pub fn vouch(repo: &Repo, worktree: i64) -> Result<()> {
    let packs: Vec<u8> = repo
        .sound_packs()?
        .into_iter()
        .flat_map(u64::to_be_bytes)
        .collect();
    let (catalogue, fact) = (repo.catalogue()?, fact(worktree));
    if catalogue.meta(&fact)?.is_none_or(|before| before != packs) {
        catalogue.set_meta(&fact, Some(&packs))?;
    }
    Ok(())
}

/// Returns whether all packs that [`vouch`] has stored still exist and are not known to be damaged,
/// apart from dead packs. Otherwise, the objects of each record must be checked.
pub fn are_vouched(repo: &Repo, worktree: i64) -> Result<bool> {
    let Some(packs) = repo.catalogue()?.meta(&fact(worktree))? else {
        return Ok(false);
    };
    let sound = repo.sound_packs()?;
    let (packs, _) = packs.as_chunks::<8>();
    let mut missing = packs
        .iter()
        .map(|pack| u64::from_be_bytes(*pack))
        .filter(|pack| sound.binary_search(pack).is_err())
        .peekable();
    if missing.peek().is_none() {
        return Ok(true);
    }
    // Dead packs are checked with the complete version.
    let dead: HashSet<u64> = repo
        .gc_state()
        .dead
        .iter()
        .filter_map(|pack| prefix(&pack.name))
        .collect();
    Ok(missing.all(|pack| dead.contains(&pack)))
}

fn prefix(name: &PackName) -> Option<u64> {
    Some(u64::from_be_bytes(*name.first_chunk()?))
}

/// Returns the number of the dead entry of the gc log under which the records of a worktree were
/// checked last.
pub fn dead_seen(repo: &Repo, worktree: i64) -> Result<u64> {
    let stored = repo.catalogue()?.meta(&dead_fact(worktree))?;
    Ok(stored
        .and_then(|raw| Some(u64::from_be_bytes(*raw.first_chunk()?)))
        .unwrap_or(0))
}

/// Stores the number of the dead entry under which all records of a worktree are sound.
pub fn set_dead_seen(repo: &Repo, worktree: i64, number: u64) -> Result<()> {
    Ok(repo
        .catalogue()?
        .set_meta(&dead_fact(worktree), Some(&number.to_be_bytes()))?)
}

fn dead_fact(worktree: i64) -> String {
    format!("stat-dead-{worktree}")
}

impl DirRecord {
    /// Returns whether an entry is unchanged: `then` is its fingerprint in this record, `now` that
    /// of `stat` in a directory on `device`. On another device than the recorded one, the ctime
    /// must also be clearly older than the last walk.
    pub fn confirms(&self, device: u64, stat: &Stat, now: u64, then: u64) -> bool {
        // The device number changes if the last walk read a snapshot of the volume. That snapshot
        // may have been taken in the same tick of the clock as the change, and a later write in the
        // same tick leaves the same times.
        now == then && now != 0 && (device == self.device || is_settled(stat.ctime, self.newest))
    }
}

/// Returns whether every change after `moment` gets a different time than `ctime`.
fn is_settled(ctime: Time, moment: Time) -> bool {
    // Timestamps have a resolution of milliseconds, or of seconds on old file systems.
    let margin = if ctime.nanos == 0 {
        2_000_000_000
    } else {
        50_000_000
    };
    nanos(ctime) + margin < nanos(moment)
}

/// Returns the fingerprint of the stat of an entry; for a directory, `tree` is its stored tree. 0
/// means that the entry always counts as changed.
///
/// `device` is the device of the directory that contains the entry. `before` is the start of the
/// walk: an entry that changed after it, or in the same tick of the clock, may change again without
/// a visible difference.
pub fn fingerprint(name: &[u8], stat: &Stat, tree: Option<&Id>, device: u64, before: Time) -> u64 {
    if !is_settled(stat.ctime, before) {
        return 0;
    }
    // The device must be part of the fingerprint if times have no fractions, because two images of
    // such a file system can have the same inode numbers and times. The same holds for a file
    // system that is mounted on the name.
    let inherited = stat.dev == device && stat.ctime.nanos != 0;
    let mut record = [0u8; 96];
    let words = [
        stat.ino,
        if inherited { 0 } else { stat.dev },
        // The length and the link count of a directory depend on its entries, which have
        // fingerprints of their own.
        if tree.is_some() { 0 } else { stat.size },
        stat.mtime.secs.cast_unsigned(),
        u64::from(stat.mtime.nanos) << 32 | u64::from(stat.ctime.nanos),
        stat.ctime.secs.cast_unsigned(),
        u64::from(stat.mode) << 32 | u64::from(if tree.is_some() { 0 } else { stat.nlink }),
        u64::from(stat.uid) << 32 | u64::from(stat.gid),
        u64::from(stat.rdev.0) << 32 | u64::from(stat.rdev.1),
        u64::from(stat.kind.as_raw_mode()),
        tree.map_or(0, Id::prefix),
    ];
    for (slot, word) in record.chunks_exact_mut(8).zip(words) {
        slot.copy_from_slice(&word.to_le_bytes());
    }
    let sum = checksum(&[&record, name]);
    let mut first = [0u8; 8];
    first.copy_from_slice(&sum[..8]);
    // 0 is reserved for entries that always count as changed.
    u64::from_le_bytes(first).max(1)
}

fn nanos(t: Time) -> i128 {
    i128::from(t.secs) * 1_000_000_000 + i128::from(t.nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip() {
        let record = DirRecord {
            tree: Id([3; 32]),
            totals: Totals {
                files: 300,
                dirs: 2,
                bytes: 1 << 40,
            },
            device: 7,
            newest: Time {
                secs: -1,
                nanos: 999,
            },
            prints: vec![1, u64::MAX],
        };
        assert_eq!(DirRecord::decode(&record.encode()), Some(record.clone()));
        assert_eq!(DirRecord::decode(&record.encode()[1..]), None);
    }

    fn some_stat() -> Stat {
        let stat = crate::snapshot::walk::entries::stat_at(rustix::fs::CWD, b".").unwrap();
        Stat {
            ctime: Time {
                secs: 1000,
                nanos: 7,
            },
            ..stat
        }
    }

    #[test]
    fn recent_changes_are_never_clean() {
        let mut stat = some_stat();
        let print =
            |name: &[u8], stat: &Stat, before| fingerprint(name, stat, None, stat.dev, before);
        let later = Time {
            secs: stat.ctime.secs + 3,
            nanos: 0,
        };
        assert_ne!(print(b"a", &stat, later), 0);
        assert_ne!(print(b"a", &stat, later), print(b"b", &stat, later));
        assert_eq!(print(b"a", &stat, stat.ctime), 0);
        let before = print(b"a", &stat, later);
        stat.size += 1;
        assert_ne!(before, print(b"a", &stat, later));
    }

    #[test]
    fn the_device_counts_only_where_times_prove_little() {
        let later = Time {
            secs: 2000,
            nanos: 0,
        };
        let there = some_stat();
        let moved = Stat {
            dev: there.dev + 1,
            ..there
        };
        let print = |stat: &Stat, device| fingerprint(b"a", stat, None, device, later);
        assert_eq!(
            print(&there, there.dev),
            print(&moved, moved.dev),
            "the same file system on another device"
        );
        assert_ne!(
            print(&there, there.dev),
            print(&moved, there.dev),
            "another file system is mounted on the name"
        );
        let coarse = |stat: Stat| Stat {
            ctime: Time {
                secs: 1000,
                nanos: 0,
            },
            ..stat
        };
        assert_ne!(
            print(&coarse(there), there.dev),
            print(&coarse(moved), moved.dev)
        );
    }

    #[test]
    fn a_change_in_the_tick_of_a_snapshot_is_seen_on_another_device() {
        let stat = some_stat();
        let record = |newest| DirRecord {
            tree: Id([0; 32]),
            totals: Totals::default(),
            device: stat.dev,
            newest: Time {
                secs: 1000,
                nanos: newest,
            },
            prints: Vec::new(),
        };
        // One snapshot may have been taken in the same clock tick as the last change of the file;
        // the other one is certainly younger.
        let (same_tick, younger) = (record(5_000_000), record(900_000_000));
        assert!(
            same_tick.confirms(stat.dev, &stat, 5, 5) && younger.confirms(stat.dev, &stat, 5, 5)
        );
        assert!(
            !same_tick.confirms(stat.dev + 1, &stat, 5, 5)
                && younger.confirms(stat.dev + 1, &stat, 5, 5)
        );
        assert!(
            !younger.confirms(stat.dev, &stat, 0, 0) && !younger.confirms(stat.dev, &stat, 5, 6)
        );
    }
}
