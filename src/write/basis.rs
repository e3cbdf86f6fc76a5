//! What a directory looked like when it was last committed, so that what did not change is not read again.
//!
//! One record per directory: the tree that it was stored as, and a fingerprint of each name's stat, in order of
//! names. A fingerprint of 0 never matches: the file changed so recently, or while it was read, that its times
//! prove nothing.

use crate::codec::hash::checksum;
use crate::error::Result;
use crate::format::varint;
use crate::model::entry::{Time, Totals};
use crate::model::id::Id;
use crate::repo::Repo;

use super::walk::Stat;

const VERSION: u8 = 1;

/// The record of one directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirRecord {
    /// Its tree object.
    pub tree: Id,
    /// What lies below it.
    pub totals: Totals,
    /// One per name, in order of names.
    pub prints: Vec<u64>,
}

impl DirRecord {
    /// The record's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        out.extend_from_slice(&self.tree.0);
        varint::put(&mut out, self.totals.files);
        varint::put(&mut out, self.totals.dirs);
        varint::put(&mut out, self.totals.bytes);
        for print in &self.prints {
            out.extend_from_slice(&print.to_le_bytes());
        }
        out
    }

    /// Reads a record; one that means nothing is as good as none.
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
        let (prints, rest) = bytes.as_chunks::<8>();
        (*version == VERSION && rest.is_empty()).then(|| Self {
            tree: Id(*tree),
            totals,
            prints: prints.iter().map(|p| u64::from_le_bytes(*p)).collect(),
        })
    }
}

/// The fact of the catalogue that names the packs which a worktree's records rely on.
fn fact(worktree: i64) -> String {
    format!("stat-packs-{worktree}")
}

/// Notes that the objects of all records of a worktree are in packs that are there now.
pub fn vouch(repo: &Repo, worktree: i64) -> Result<()> {
    let packs: Vec<u8> = repo.sound_packs()?.into_iter().flat_map(u64::to_be_bytes).collect();
    let (catalogue, fact) = (repo.catalogue()?, fact(worktree));
    if catalogue.meta(&fact)?.is_none_or(|before| before != packs) {
        catalogue.set_meta(&fact, Some(&packs))?;
    }
    Ok(())
}

/// Whether all packs are there that [`vouch`] found. If one is gone, each record has to be looked at.
pub fn are_vouched(repo: &Repo, worktree: i64) -> Result<bool> {
    let Some(packs) = repo.catalogue()?.meta(&fact(worktree))? else { return Ok(false) };
    let sound = repo.sound_packs()?;
    let (packs, _) = packs.as_chunks::<8>();
    Ok(packs.iter().all(|pack| sound.binary_search(&u64::from_be_bytes(*pack)).is_ok()))
}

/// The fingerprint of a name's stat; for a directory `tree` is what it was stored as. 0: never clean.
///
/// `before` is when the walk began: what changed after it, or in the same tick, may change again unseen.
pub fn fingerprint(name: &[u8], stat: &Stat, tree: Option<&Id>, before: Time) -> u64 {
    // Clocks of file systems tick in milliseconds, of old ones in seconds.
    let margin = if stat.ctime.nanos == 0 { 2_000_000_000 } else { 50_000_000 };
    if nanos(stat.ctime) + margin >= nanos(before) {
        return 0;
    }
    let mut record = [0u8; 96];
    let words = [
        stat.ino,
        stat.dev,
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
            totals: Totals { files: 300, dirs: 2, bytes: 1 << 40 },
            prints: vec![1, u64::MAX],
        };
        assert_eq!(DirRecord::decode(&record.encode()), Some(record.clone()));
        assert_eq!(DirRecord::decode(&record.encode()[1..]), None);
    }

    #[test]
    fn recent_changes_are_never_clean() {
        let mut stat = super::super::walk::stat_at(rustix::fs::CWD, b".").unwrap();
        let later = Time { secs: stat.ctime.secs + 3, nanos: 0 };
        assert_ne!(fingerprint(b"a", &stat, None, later), 0);
        assert_ne!(fingerprint(b"a", &stat, None, later), fingerprint(b"b", &stat, None, later));
        assert_eq!(fingerprint(b"a", &stat, None, stat.ctime), 0);
        let before = fingerprint(b"a", &stat, None, later);
        stat.size += 1;
        assert_ne!(before, fingerprint(b"a", &stat, None, later));
    }
}
