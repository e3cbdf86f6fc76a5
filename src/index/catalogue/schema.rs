//! The tables of the catalogue, and how the file is opened and recreated.

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::sys::create;

/// Version of the schema. A file with another version is emptied.
const VERSION: i64 = 1;

/// Suffix of the lock file, which is next to the database.
const LOCK: &str = ".lock";

/// How long SQLite waits for the lock of another process.
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
";

/// Opens the file and creates the tables if the version differs.
pub(super) fn open(path: &Path) -> rusqlite::Result<Connection> {
    let connection = connect(path)?;
    prepare(&connection)?;
    Ok(connection)
}

/// Opens a private database of this connection.
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

/// Creates the tables of an open file if the version differs.
pub(super) fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    if version(connection)? != VERSION {
        connection.execute_batch("PRAGMA journal_mode = WAL; BEGIN IMMEDIATE")?;
        // Another process may have created the tables in the meantime.
        if version(connection)? != VERSION {
            drop_all(connection)?;
            connection.execute_batch(TABLES)?;
            connection.pragma_update(None, "user_version", VERSION)?;
        }
        connection.execute_batch("COMMIT")?;
    }
    // The catalogue can be rebuilt, so a power failure may lose the last transactions.
    connection.execute_batch("PRAGMA synchronous = NORMAL; PRAGMA temp_store = MEMORY; PRAGMA cache_size = -8000")
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
    let mut tables =
        connection.prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")?;
    let names = tables.query_map([], |r| r.get::<_, String>(0))?.collect::<rusqlite::Result<Vec<_>>>()?;
    for name in names {
        connection.execute_batch(&format!("DROP TABLE \"{}\"", name.replace('"', "\"\"")))?;
    }
    Ok(())
}

/// Recreates a damaged file in place, unless another process has done so. Other processes that have
/// the file open then keep the same inode and SQLite's locks on it, which they would lose if the
/// file were removed. The caller holds the lock of [`lock`].
pub(super) fn replace(path: &Path) -> rusqlite::Result<Connection> {
    match open(path) {
        Err(e) if is_damage(&e) => reset(&connect(path)?)?,
        other => return other,
    }
    open(path)
}

/// Locks the recreation of the file, so that a second process finds the file that the first one has
/// recreated.
pub(super) fn lock(path: &Path) -> io::Result<File> {
    let lock = create::open(&beside(path, LOCK), File::options().write(true))?;
    lock.lock()?;
    Ok(lock)
}

/// Removes the empty lock file. Errors are ignored, because a leftover lock file does no harm.
pub(super) fn unlock(path: &Path, lock: File) {
    drop(fs::remove_file(beside(path, LOCK)));
    drop(lock);
}

/// Empties a file that may be damaged in any way, and creates the tables.
pub(super) fn reset(connection: &Connection) -> rusqlite::Result<()> {
    // Reading the schema first makes the new file keep its write-ahead log.
    let _ = version(connection);
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_RESET_DATABASE, true)?;
    let done = connection.execute_batch("VACUUM");
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_RESET_DATABASE, false)?;
    done?;
    prepare(connection)
}

/// Returns whether an error means that the content of the file is damaged.
pub(super) fn is_damage(e: &rusqlite::Error) -> bool {
    matches!(e.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}
