//! Seals of upper files in the tables: lengths, times, and checksums of blocks.

use std::collections::HashMap;

use rusqlite::{Connection, Transaction, params};

use super::{Flush, Store, nat, num};
use crate::error::Result;
use crate::model::entry::Time;
use crate::mount::data::Seal;
use crate::mount::sums::Sums;

pub(super) fn remove(t: &Transaction<'_>, ino: u64) -> rusqlite::Result<()> {
    t.prepare_cached("DELETE FROM seal WHERE ino = ?1")?.execute([num(ino)])?;
    t.prepare_cached("DELETE FROM sum WHERE ino = ?1")?.execute([num(ino)])?;
    Ok(())
}

pub(super) fn put(t: &Transaction<'_>, ino: u64, seal: &Seal) -> rusqlite::Result<()> {
    remove(t, ino)?;
    t.prepare_cached("INSERT INTO seal VALUES (?1, ?2, ?3, ?4, ?5)")?.execute(params![
        num(ino),
        num(seal.size),
        seal.mtime.secs,
        seal.mtime.nanos,
        seal.sums.is_some()
    ])?;
    let mut row = t.prepare_cached("INSERT INTO sum VALUES (?1, ?2, ?3)")?;
    for (part, sums) in seal.sums.iter().flatten() {
        row.execute(params![num(ino), num(*part), sums])?;
    }
    Ok(())
}

/// All seals, by inode.
pub(super) struct Seals(HashMap<u64, (Seal, Sums)>);

impl Seals {
    pub(super) fn read(c: &Connection) -> rusqlite::Result<Self> {
        let mut all = HashMap::new();
        let mut seals = c.prepare("SELECT ino, size, mtime, mtime_nanos, whole FROM seal")?;
        let mut rows = seals.query([])?;
        while let Some(row) = rows.next()? {
            let mtime = Time { secs: row.get(2)?, nanos: row.get(3)? };
            let sums = row.get::<_, bool>(4)?.then(Vec::new);
            all.insert(nat(row, 0)?, (Seal { size: nat(row, 1)?, mtime, sums }, Sums::default()));
        }
        let mut sums = c.prepare("SELECT ino, part, sums FROM sum")?;
        let mut rows = sums.query([])?;
        while let Some(row) = rows.next()? {
            if let Some((_, sums)) = all.get(&nat(row, 0)?) {
                sums.take_row(nat(row, 1)?, row.get_ref(2)?.as_blob()?);
            }
        }
        Ok(Self(all))
    }

    pub(super) fn take(&mut self, ino: u64) -> Option<(Seal, Sums)> {
        self.0.remove(&ino)
    }
}

impl Store {
    /// Forgets the seal of a file that is about to change, durably; `None`: of all files.
    pub fn unseal(&self, ino: Option<u64>) -> Result<()> {
        match ino {
            Some(ino) => self.flush(&Flush { unsealed: vec![ino], ..Flush::default() }),
            None => self.with(|c| {
                let t = c.transaction()?;
                t.execute_batch("DELETE FROM seal; DELETE FROM sum;")?;
                t.commit()
            }),
        }
    }
}
