//! One checksum of all that the tables hold, made at an orderly end: SQLite finds damage of its pages only by chance.

use std::sync::atomic::Ordering;

use rusqlite::Connection;
use rusqlite::types::ValueRef;

use super::{CLEAN, Flush, Store, YES};
use crate::codec::sum::xxh64;
use crate::error::Result;
use crate::mount::data::Seal;

/// The fact that holds it.
const DIGEST: &str = "digest";
/// All tables, in order of their keys. Facts that every mount writes anew are left out.
const ALL: [&str; 6] = [
    "SELECT * FROM meta WHERE key NOT IN ('clean', 'digest', 'at') ORDER BY key",
    "SELECT * FROM inode ORDER BY ino",
    "SELECT * FROM name ORDER BY parent, name",
    "SELECT * FROM block ORDER BY ino, part",
    "SELECT * FROM seal ORDER BY ino",
    "SELECT * FROM sum ORDER BY ino, part",
];

fn digest(c: &Connection) -> rusqlite::Result<Vec<u8>> {
    let mut sum = 0;
    let mut bytes = Vec::new();
    for query in ALL {
        let mut all = c.prepare(query)?;
        let columns = all.column_count();
        let mut rows = all.query([])?;
        sum = xxh64(query.as_bytes(), sum);
        while let Some(row) = rows.next()? {
            bytes.clear();
            for column in 0..columns {
                let mut put = |kind: u8, value: &[u8]| {
                    bytes.push(kind);
                    bytes.extend_from_slice(&(value.len() as u64).to_le_bytes());
                    bytes.extend_from_slice(value);
                };
                match row.get_ref(column)? {
                    ValueRef::Null => put(0, &[]),
                    ValueRef::Integer(n) => put(1, &n.to_le_bytes()),
                    ValueRef::Real(n) => put(2, &n.to_le_bytes()),
                    ValueRef::Text(text) => put(3, text),
                    ValueRef::Blob(blob) => put(4, blob),
                }
            }
            sum = xxh64(&bytes, sum);
        }
    }
    Ok(sum.to_be_bytes().to_vec())
}

impl Store {
    /// Fails if the tables are not as the last mount left them; after a crash nothing tells.
    pub(super) fn ensure_whole(&self) -> Result<()> {
        let Some(expected) = self.meta(DIGEST)?.filter(|_| self.clean) else { return Ok(()) };
        if self.with(|c| digest(c))? == expected {
            return Ok(());
        }
        Err(self.damaged("it is not as the last mount left it"))
    }

    /// Notes that a mount has ended with everything noted, and how its upper files lie on disk.
    pub fn finish(&self, seals: Vec<(u64, Seal)>) -> Result<()> {
        let mut meta = Vec::new();
        if !seals.is_empty() || self.wrote.load(Ordering::Acquire) {
            self.flush(&Flush { seals, ..Flush::default() })?;
            meta.push((DIGEST, self.with(|c| digest(c))?));
        }
        meta.push((CLEAN, YES.to_vec()));
        self.flush(&Flush { meta, ..Flush::default() })
    }
}
