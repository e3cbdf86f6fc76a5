//! Commits in the catalogue: the encoded objects by id, so that a walk along first parents reads no
//! pack.

use super::{Catalogue, CatalogueResult, signed, unsigned};
use crate::model::commit::Commit;
use crate::model::id::Id;
use rusqlite::{CachedStatement, OptionalExtension, Row};

/// A commit in the catalogue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommitRow {
    pub id: Id,
    pub ordinal: u64,
    pub first_parent: Option<Id>,
    /// Seconds since 1970.
    pub time: i64,
    /// The encoded commit object.
    pub bytes: Vec<u8>,
}

impl CommitRow {
    /// Returns the row for a commit whose encoded object is `bytes`.
    pub fn new(id: &Id, commit: &Commit, bytes: &[u8]) -> Self {
        Self {
            id: *id,
            ordinal: commit.ordinal,
            first_parent: commit.parents.first().copied(),
            time: commit.time.secs,
            bytes: bytes.to_vec(),
        }
    }
}

impl Catalogue {
    /// Returns a commit, if the catalogue contains it.
    pub fn commit(&self, id: &Id) -> CatalogueResult<Option<CommitRow>> {
        self.read(|c| get(&mut c.prepare_cached(BY_ID)?, id))
    }

    /// Returns at most `limit` commits, starting at `tip` and following first parents. Stops at a
    /// commit that the catalogue does not contain. Also stops if the ordinal of a parent is not
    /// smaller than that of its child, because dvc never writes such a commit.
    pub fn first_parents(&self, tip: &Id, limit: usize) -> CatalogueResult<Vec<CommitRow>> {
        self.read(|c| {
            let mut by_id = c.prepare_cached(BY_ID)?;
            let mut chain: Vec<CommitRow> = Vec::new();
            let mut next = Some(*tip);
            while let Some(id) = next.filter(|_| chain.len() < limit) {
                let Some(commit) = get(&mut by_id, &id)? else {
                    break;
                };
                if chain
                    .last()
                    .is_some_and(|last| last.ordinal <= commit.ordinal)
                {
                    break;
                }
                next = commit.first_parent;
                chain.push(commit);
            }
            Ok(chain)
        })
    }

    /// Returns at most `limit` ids between `low` and `high`, inclusive; used to resolve abbreviated
    /// ids.
    pub fn commit_ids_between(
        &self,
        low: &Id,
        high: &Id,
        limit: usize,
    ) -> CatalogueResult<Vec<Id>> {
        self.read(|c| {
            let mut between = c.prepare_cached(
                "SELECT id FROM commits WHERE id BETWEEN ?1 AND ?2 ORDER BY id LIMIT ?3",
            )?;
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            between
                .query_map((low.0, high.0, limit), |r| Ok(Id(r.get(0)?)))?
                .collect()
        })
    }

    /// Adds commits that the catalogue does not contain yet.
    pub fn put_commits(&self, commits: &[CommitRow]) -> CatalogueResult<()> {
        self.write(|c| {
            let mut put =
                c.prepare_cached("INSERT OR IGNORE INTO commits VALUES (?1, ?2, ?3, ?4, ?5)")?;
            for commit in commits {
                put.execute((
                    commit.id.0,
                    signed(commit.ordinal),
                    commit.first_parent.map(|p| p.0),
                    commit.time,
                    commit.bytes.as_slice(),
                ))?;
            }
            Ok(())
        })
    }

    /// Removes commits.
    pub fn remove_commits(&self, ids: &[Id]) -> CatalogueResult<()> {
        self.write(|c| {
            let mut remove = c.prepare_cached("DELETE FROM commits WHERE id = ?1")?;
            ids.iter()
                .try_for_each(|id| remove.execute([id.0]).map(drop))
        })
    }
}

const BY_ID: &str = "SELECT id, ordinal, first_parent, time, bytes FROM commits WHERE id = ?1";

fn get(by_id: &mut CachedStatement<'_>, id: &Id) -> rusqlite::Result<Option<CommitRow>> {
    by_id.query_row([id.0], row).optional()
}

pub(super) fn row(r: &Row<'_>) -> rusqlite::Result<CommitRow> {
    let parent: Option<[u8; 32]> = r.get(2)?;
    Ok(CommitRow {
        id: Id(r.get(0)?),
        ordinal: unsigned(r, 1)?,
        first_parent: parent.map(Id),
        time: r.get(3)?,
        bytes: r.get(4)?,
    })
}
