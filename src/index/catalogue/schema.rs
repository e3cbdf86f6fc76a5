//! The tables of the catalogue, and how it is opened and made anew.

use super::{BUSY, is_damage};
use rusqlite::Connection;
use rusqlite::config::DbConfig;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use crate::sys::create;

/// Any other number means: not ours to read, start empty.
const VERSION: i64 = 1;

/// After the name of the file in the name of its lock.
const LOCK: &str = ".lock";

const TABLES: &str = "
CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE segments (seq INTEGER PRIMARY KEY, name BLOB NOT NULL UNIQUE, kind INTEGER NOT NULL, size INTEGER NOT NULL,
  rows INTEGER NOT NULL, replaced_by BLOB);
CREATE TABLE commits (id BLOB PRIMARY KEY, ordinal INTEGER NOT NULL, first_parent BLOB, time INTEGER NOT NULL,
  bytes BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE worktrees (id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE);
CREATE TABLE stat_dirs (worktree INTEGER NOT NULL, path BLOB NOT NULL, value BLOB NOT NULL, UNIQUE (worktree, path));
CREATE TABLE fsck_packs (pack BLOB PRIMARY KEY, checked_at INTEGER NOT NULL, ok INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE loose_packs (name BLOB PRIMARY KEY, kind INTEGER NOT NULL) WITHOUT ROWID;
";

/// Opens the file and brings it to the schema.
pub(super) fn open(path: &Path) -> rusqlite::Result<Connection> {
    let connection = connect(path)?;
    prepare(&connection)?;
    Ok(connection)
}

/// A database of this connection alone.
pub(super) fn temporary() -> rusqlite::Result<Connection> {
    let connection = Connection::open("")?;
    prepare(&connection)?;
    Ok(connection)
}

fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY)?;
    connection.set_prepared_statement_cache_capacity(32);
    Ok(connection)
}

/// Brings an open file to the schema.
pub(super) fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    if version(connection)? != VERSION {
        connection.execute_batch("PRAGMA journal_mode = WAL; BEGIN IMMEDIATE")?;
        // Somebody else may have been faster.
        if version(connection)? != VERSION {
            drop_all(connection)?;
            connection.execute_batch(TABLES)?;
            connection.pragma_update(None, "user_version", VERSION)?;
        }
        connection.execute_batch("COMMIT")?;
    }
    connection.execute_batch("PRAGMA synchronous = NORMAL; PRAGMA temp_store = MEMORY; PRAGMA cache_size = -8000")
}

/// Drops every table and makes them again, inside the caller's transaction.
pub(super) fn clear(connection: &Connection) -> rusqlite::Result<()> {
    drop_all(connection)?;
    connection.execute_batch(TABLES)
}

pub(super) fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("PRAGMA user_version", [], |r| r.get(0))
}

fn drop_all(connection: &Connection) -> rusqlite::Result<()> {
    let mut tables =
        connection.prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")?;
    let names = tables.query_map([], |r| r.get::<_, String>(0))?.collect::<rusqlite::Result<Vec<_>>>()?;
    for name in names {
        connection.execute_batch(&format!("DROP TABLE \"{}\"", name.replace('"', "\"\"")))?;
    }
    Ok(())
}

/// Opens a file that was found damaged, and makes it anew in its place if it still is: whoever has it open keeps the same file and SQLite's
/// locks on it, which removing it would not give. The caller holds the lock of [`lock`].
pub(super) fn replace(path: &Path) -> rusqlite::Result<Connection> {
    match open(path) {
        Err(e) if is_damage(&e) => reset(&connect(path)?)?,
        other => return other,
    }
    open(path)
}

/// The lock of those who replace the file: the second finds the first one's good file.
pub(super) fn lock(path: &Path) -> io::Result<File> {
    let lock = create::open(&beside(path, LOCK), File::options().write(true))?;
    lock.lock()?;
    Ok(lock)
}

/// Takes the empty lock file away, as far as that goes.
pub(super) fn unlock(path: &Path, lock: File) {
    drop(fs::remove_file(beside(path, LOCK)));
    drop(lock);
}

/// Empties a file that may be damaged in any way, and brings it to the schema.
pub(super) fn reset(connection: &Connection) -> rusqlite::Result<()> {
    // Reads the schema, so that the new file keeps its write-ahead log.
    let _ = version(connection);
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_RESET_DATABASE, true)?;
    let done = connection.execute_batch("VACUUM");
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_RESET_DATABASE, false)?;
    done?;
    prepare(connection)
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}
