//! The tables of the catalogue, and functions that open and recreate the file.

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::sys::create;

/// Version of the schema. A file with a different version is emptied.
const VERSION: i64 = 2;

/// Suffix of the lock file, which is in the same directory as the database.
const LOCK: &str = ".lock";

/// Time that SQLite waits for a lock of another process.
const BUSY: Duration = Duration::from_secs(30);

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
CREATE TABLE unused_packs (name BLOB PRIMARY KEY, first_seen INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE damaged_objects (kind INTEGER NOT NULL, id BLOB NOT NULL, PRIMARY KEY (kind, id)) WITHOUT ROWID;
";

/// Opens the file. Recreates its tables if its version differs.
pub(super) fn open(path: &Path) -> rusqlite::Result<Connection> {
    let connection = connect(path)?;
    prepare(&connection)?;
    Ok(connection)
}

/// Opens a temporary database that only this connection can access.
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

/// Recreates the tables of an open database if its version differs.
pub(super) fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    if version(connection)? != VERSION {
        // The journal mode cannot be changed within a transaction.
        connection.execute_batch("PRAGMA journal_mode = WAL; BEGIN IMMEDIATE")?;
        // Another process may have created the tables in the meantime.
        if version(connection)? != VERSION {
            drop_all(connection)?;
            connection.execute_batch(TABLES)?;
            connection.pragma_update(None, "user_version", VERSION)?;
        }
        connection.execute_batch("COMMIT")?;
    }
    // The catalogue can be rebuilt, so it may lose the last transactions in a power failure.
    connection.execute_batch(
        // A negative cache size is in KiB: 8 MB of pages.
        "PRAGMA synchronous = NORMAL; PRAGMA temp_store = MEMORY; PRAGMA cache_size = -8000",
    )
}

/// Drops all tables and recreates them, within the caller's transaction.
pub(super) fn clear(connection: &Connection) -> rusqlite::Result<()> {
    drop_all(connection)?;
    connection.execute_batch(TABLES)
}

pub(super) fn version(connection: &Connection) -> rusqlite::Result<i64> {
    connection.query_row("PRAGMA user_version", [], |r| r.get(0))
}

fn drop_all(connection: &Connection) -> rusqlite::Result<()> {
    let mut tables = connection.prepare(
        "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'",
    )?;
    let names = tables
        .query_map([], |r| r.get::<_, String>(0))?
        .collect::<rusqlite::Result<Vec<_>>>()?;
    // A later version may have tables with any names, so the names are quoted.
    for name in names {
        connection.execute_batch(&format!("DROP TABLE \"{}\"", name.replace('"', "\"\"")))?;
    }
    Ok(())
}

/// Recreates a damaged file in place, unless another process has done so. The file keeps its inode,
/// because processes that have it open would lose SQLite's locks if the file were removed. The
/// caller holds the lock of [`lock`].
pub(super) fn replace(path: &Path) -> rusqlite::Result<Connection> {
    match open(path) {
        Err(e) if is_damage(&e) => reset(&connect(path)?)?,
        other => return other,
    }
    open(path)
}

/// Locks the recreation of the file, so that of several processes only the first one recreates it.
pub(super) fn lock(path: &Path) -> io::Result<File> {
    let lock = create::open(&beside(path, LOCK), File::options().write(true))?;
    lock.lock()?;
    Ok(lock)
}

/// Removes the lock file. Ignores errors, because a leftover lock file is harmless.
pub(super) fn unlock(path: &Path, lock: File) {
    // Remove the file before the lock is released. A process that waits for the lock then finds the
    // catalogue repaired.
    drop(fs::remove_file(beside(path, LOCK)));
    drop(lock);
}

/// Empties a file with any kind of damage, and creates the tables.
pub(super) fn reset(connection: &Connection) -> rusqlite::Result<()> {
    // Read the schema first, so that the database stays in WAL mode after the reset (SQLite
    // documentation of SQLITE_DBCONFIG_RESET_DATABASE).
    let _ = version(connection);
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_RESET_DATABASE, true)?;
    let done = connection.execute_batch("VACUUM");
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_RESET_DATABASE, false)?;
    done?;
    prepare(connection)
}

/// Returns whether an error means that the content of the file is damaged.
pub(super) fn is_damage(e: &rusqlite::Error) -> bool {
    matches!(
        e.sqlite_error_code(),
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
    )
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}
