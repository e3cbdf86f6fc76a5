//! Seals of upper files in the overlay database.

use std::collections::HashMap;

use rusqlite::{Connection, Transaction, params};

use super::inode_row::{nat, num};
use crate::model::entry::Time;
use crate::mount::file::{BlockSums, FileSeal, SumRow};

pub(super) fn remove(t: &Transaction<'_>, ino: u64) -> rusqlite::Result<()> {
    t.prepare_cached("DELETE FROM seal WHERE ino = ?1")?
        .execute([num(ino)])?;
    t.prepare_cached("DELETE FROM sum WHERE ino = ?1")?
        .execute([num(ino)])?;
    Ok(())
}

pub(super) fn put(t: &Transaction<'_>, ino: u64, seal: &FileSeal) -> rusqlite::Result<()> {
    remove(t, ino)?;
    t.prepare_cached("INSERT INTO seal VALUES (?1, ?2, ?3, ?4, ?5)")?
        .execute(params![
            num(ino),
            num(seal.size),
            seal.mtime.secs,
            seal.mtime.nanos,
            seal.sums.is_some()
        ])?;
    let mut row = t.prepare_cached("INSERT INTO sum VALUES (?1, ?2, ?3)")?;
    for SumRow { index, sums } in seal.sums.iter().flatten() {
        row.execute(params![num(ino), num(*index), sums])?;
    }
    Ok(())
}

/// All seals with their checksums, by inode number.
pub(super) struct StoredSeals(HashMap<u64, (FileSeal, BlockSums)>);

impl StoredSeals {
    pub(super) fn read(c: &Connection) -> rusqlite::Result<Self> {
        let mut all = HashMap::new();
        let mut seals = c.prepare("SELECT ino, size, mtime, mtime_nanos, whole FROM seal")?;
        let mut rows = seals.query([])?;
        while let Some(row) = rows.next()? {
            let mtime = Time {
                secs: row.get(2)?,
                nanos: row.get(3)?,
            };
            // Only the presence of this list matters, because the checksums are in `BlockSums`.
            let sums = row.get::<_, bool>(4)?.then(Vec::new);
            all.insert(
                nat(row, 0)?,
                (
                    FileSeal {
                        size: nat(row, 1)?,
                        mtime,
                        sums,
                    },
                    BlockSums::default(),
                ),
            );
        }
        let mut sums = c.prepare("SELECT ino, part, sums FROM sum")?;
        let mut rows = sums.query([])?;
        while let Some(row) = rows.next()? {
            if let Some((_, sums)) = all.get(&nat(row, 0)?) {
                sums.add_row(nat(row, 1)?, row.get_ref(2)?.as_blob()?);
            }
        }
        Ok(Self(all))
    }

    pub(super) fn take(&mut self, ino: u64) -> Option<(FileSeal, BlockSums)> {
        self.0.remove(&ino)
    }
}
