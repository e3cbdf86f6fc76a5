//! The stat cache: one opaque value per worktree and directory, which is recorded when a commit
//! reads the directory.
//!
//! A commit trusts these values instead of reading files, so each stored value has a checksum over
//! its path and content. A value with a wrong checksum is treated as missing.

use super::{Catalogue, CatalogueResult};
use crate::codec::hash::checksum;
use rusqlite::{Connection, OptionalExtension};
use std::collections::HashSet;

impl Catalogue {
    /// Returns the number of a worktree; assigns a new number on first use. `key` is usually its
    /// canonical path.
    pub fn worktree(&self, key: &[u8]) -> CatalogueResult<i64> {
        // Read first, because a write waits for other writers.
        let known = self.read(|c| {
            c.prepare_cached("SELECT id FROM worktrees WHERE key = ?1")?
                .query_row([key], |r| r.get(0))
                .optional()
        })?;
        match known {
            Some(id) => Ok(id),
            None => self.write(|c| {
                // Another process may have assigned a number in the meantime.
                c.prepare_cached("INSERT OR IGNORE INTO worktrees (key) VALUES (?1)")?
                    .execute([key])?;
                c.prepare_cached("SELECT id FROM worktrees WHERE key = ?1")?
                    .query_row([key], |r| r.get(0))
            }),
        }
    }

    /// Returns the values of directories, in the order of `paths`. `None` means that no valid value
    /// is stored.
    pub fn stat_dirs<P: AsRef<[u8]>>(
        &self,
        worktree: i64,
        paths: &[P],
    ) -> CatalogueResult<Vec<Option<Vec<u8>>>> {
        self.read(|c| {
            let mut get =
                c.prepare_cached("SELECT value FROM stat_dirs WHERE worktree = ?1 AND path = ?2")?;
            let mut of = |path: &[u8]| {
                let stored = get
                    .query_row((worktree, path), |r| r.get::<_, Vec<u8>>(0))
                    .optional()?;
                Ok(stored.and_then(|s| checked(path, &s).map(<[u8]>::to_vec)))
            };
            paths.iter().map(|p| of(p.as_ref())).collect()
        })
    }

    /// Calls `visit` with the path and value of every directory of a worktree, sorted by path,
    /// until it returns false.
    pub fn each_stat_dir(
        &self,
        worktree: i64,
        mut visit: impl FnMut(&[u8], &[u8]) -> bool,
    ) -> CatalogueResult<()> {
        self.read(|c| {
            let mut all = c.prepare_cached(
                "SELECT path, value FROM stat_dirs WHERE worktree = ?1 ORDER BY worktree, path",
            )?;
            let mut rows = all.query([worktree])?;
            while let Some(row) = rows.next()? {
                let path = row.get_ref(0)?.as_blob()?;
                if let Some(value) = checked(path, row.get_ref(1)?.as_blob()?)
                    && !visit(path, value)
                {
                    break;
                }
            }
            Ok(())
        })
    }

    /// Stores the values of directories, and removes the directories whose value is `None`. The
    /// file is smallest if `dirs` is sorted.
    pub fn put_stat_dirs<P: AsRef<[u8]>, V: AsRef<[u8]>>(
        &self,
        worktree: i64,
        dirs: &[(P, Option<V>)],
    ) -> CatalogueResult<()> {
        self.write(|c| {
            // An update keeps the row in its place. `INSERT OR REPLACE` would delete the row and
            // append a new one, so the file would lose the order of the paths.
            let mut put = c.prepare_cached(
                "INSERT INTO stat_dirs VALUES (?1, ?2, ?3) ON CONFLICT (worktree, path) DO UPDATE SET value = excluded.value",
            )?;
            let mut remove = c.prepare_cached("DELETE FROM stat_dirs WHERE worktree = ?1 AND path = ?2")?;
            for (path, value) in dirs {
                match value {
                    Some(value) => put.execute((worktree, path.as_ref(), sealed(path.as_ref(), value.as_ref())))?,
                    None => remove.execute((worktree, path.as_ref()))?,
                };
            }
            Ok(())
        })
    }

    /// Removes the directories of a worktree that are not in `used`.
    pub fn retain_stat_dirs(&self, worktree: i64, used: &HashSet<&[u8]>) -> CatalogueResult<()> {
        self.write(|c| {
            // All paths are read before the first deletion, because SQLite does not define whether
            // a running SELECT sees changes of the same connection.
            let mut all = c.prepare_cached("SELECT path FROM stat_dirs WHERE worktree = ?1")?;
            let paths = all
                .query_map([worktree], |r| r.get::<_, Vec<u8>>(0))?
                .collect::<rusqlite::Result<Vec<_>>>()?;
            let mut remove =
                c.prepare_cached("DELETE FROM stat_dirs WHERE worktree = ?1 AND path = ?2")?;
            for path in paths.iter().filter(|path| !used.contains(path.as_slice())) {
                remove.execute((worktree, path))?;
            }
            Ok(())
        })
    }

    /// Removes the values of all directories of a worktree.
    pub fn clear_stat(&self, worktree: i64) -> CatalogueResult<()> {
        self.write(|c| {
            c.prepare_cached("DELETE FROM stat_dirs WHERE worktree = ?1")?
                .execute([worktree])
                .map(drop)
        })
    }
}

fn sum(path: &[u8], value: &[u8]) -> [u8; 8] {
    // The length separates path and value, so that no byte can move from one to the other.
    let [sum @ .., _, _, _, _, _, _, _, _] =
        checksum(&[&(path.len() as u64).to_le_bytes(), path, value]);
    sum
}

fn sealed(path: &[u8], value: &[u8]) -> Vec<u8> {
    [value, &sum(path, value)].concat()
}

fn checked<'v>(path: &[u8], stored: &'v [u8]) -> Option<&'v [u8]> {
    let (value, last) = stored.split_last_chunk::<8>()?;
    (sum(path, value) == *last).then_some(value)
}

/// Counts the values whose checksum is wrong.
pub(super) fn damaged(connection: &Connection) -> rusqlite::Result<u64> {
    let mut all = connection.prepare("SELECT path, value FROM stat_dirs")?;
    let mut rows = all.query([])?;
    let mut damaged = 0;
    while let Some(row) = rows.next()? {
        if checked(row.get_ref(0)?.as_blob()?, row.get_ref(1)?.as_blob()?).is_none() {
            damaged += 1;
        }
    }
    Ok(damaged)
}
