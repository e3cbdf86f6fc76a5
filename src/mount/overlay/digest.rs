//! A checksum of all tables, computed when a mount ends cleanly, because SQLite detects a damaged
//! page only by chance.

use rusqlite::Connection;
use rusqlite::types::ValueRef;

use crate::codec::sum::xxh64;

/// All tables in the order of their keys, without the facts that each mount rewrites.
const ALL: [&str; 6] = [
    "SELECT * FROM meta WHERE key NOT IN ('clean', 'digest', 'at') ORDER BY key",
    "SELECT * FROM inode ORDER BY ino",
    "SELECT * FROM name ORDER BY parent, name",
    "SELECT * FROM block ORDER BY ino, part",
    "SELECT * FROM seal ORDER BY ino",
    "SELECT * FROM sum ORDER BY ino, part",
];

pub(super) fn digest(c: &Connection) -> rusqlite::Result<Vec<u8>> {
    let mut sum = 0;
    let mut bytes = Vec::new();
    for query in ALL {
        let mut all = c.prepare(query)?;
        let columns = all.column_count();
        let mut rows = all.query([])?;
        // The query marks the start of a table, so that a row cannot move to the next table
        // unnoticed.
        sum = xxh64(query.as_bytes(), sum);
        while let Some(row) = rows.next()? {
            bytes.clear();
            for column in 0..columns {
                let mut put = |kind: u8, value: &[u8]| {
                    // Type and length separate the values of a row.
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
