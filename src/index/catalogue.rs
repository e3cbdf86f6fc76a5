//! The catalogue: an SQLite file with derived data that would be slow to read from packs and refs
//! each time.
//!
//! All content can be derived again. If the file is not a database, is damaged, or has a different
//! schema, opening recreates it empty; the caller then compares the catalogue with the repository.
//! Each call writes in one transaction. All methods take `&self`, and several threads may call them
//! at the same time.

use parking_lot::{Mutex, MutexGuard};

use super::sqlite;
use crate::error::{Failure, Kind};
use crate::sys::create;
use rusqlite::{Connection, ErrorCode, OptionalExtension};
use std::path::{Path, PathBuf};
use std::time::Duration;

mod check;
pub mod commits;
mod damage;
mod leases;
mod schema;
pub mod segments;
mod stat;

/// The path of a catalogue without a file.
const TEMPORARY: &str = "(temporary)";
/// Number of attempts to open a catalogue that another process is creating.
const BUSY_TRIES: u32 = 100;
/// Pause after each attempt.
const BUSY_PAUSE: Duration = Duration::from_millis(20);

/// The error for a catalogue that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CatalogueError {
    #[error("cannot access the catalogue `{}`", path.display())]
    Sqlite {
        path: PathBuf,
        source: rusqlite::Error,
    },
    #[error("cannot create the catalogue `{}`", path.display())]
    Replace {
        path: PathBuf,
        source: std::io::Error,
    },
}

impl Failure for CatalogueError {
    fn kind(&self) -> Kind {
        match self {
            Self::Replace { source, .. } => Kind::of_io(source),
            Self::Sqlite { path, source } => match sqlite::kind(path, source) {
                // The statements are part of the program, so a failing statement means that the
                // program did not write the content of the file.
                Kind::Internal => Kind::Integrity,
                kind => kind,
            },
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            _ if self.kind() == Kind::Integrity => {
                Some("run `dvc fsck --rebuild` to recreate the catalogue".to_owned())
            }
            Self::Sqlite { path, source } => sqlite::hint(path, source),
            Self::Replace { .. } => None,
        }
    }
}

/// The result of a catalogue method.
pub type CatalogueResult<T> = Result<T, CatalogueError>;

/// An open catalogue.
#[derive(Debug)]
pub struct Catalogue {
    path: PathBuf,
    connection: Mutex<Connection>,
    was_damaged: bool,
}

impl Catalogue {
    /// Opens the catalogue. Creates the file if it is missing, damaged or has a different schema.
    /// The directory must be writable.
    pub fn open(path: &Path) -> CatalogueResult<Self> {
        // SQLite would create the file with its own mode, and not with the owner and mode that
        // files inherit from the directory of a shared repository (docs/decisions/0009).
        create::empty(path).map_err(|source| CatalogueError::Replace {
            path: path.to_owned(),
            source,
        })?;
        let mut lock = None;
        let mut opened = schema::open(path);
        // If waiting could deadlock with a process that is creating the same file, SQLite returns
        // `SQLITE_BUSY` immediately, so retry here.
        for _ in 0..BUSY_TRIES {
            match &opened {
                Err(e) if e.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => {
                    std::thread::sleep(BUSY_PAUSE)
                }
                Err(e) if schema::is_damage(e) && lock.is_none() => {
                    let acquired =
                        schema::lock(path).map_err(|source| CatalogueError::Replace {
                            path: path.to_owned(),
                            source,
                        })?;
                    lock = Some(acquired);
                }
                _ => break,
            }
            opened = if lock.is_some() {
                schema::replace(path)
            } else {
                schema::open(path)
            };
        }
        let was_damaged = lock.is_some();
        if let Some(lock) = lock {
            schema::unlock(path, lock);
        }
        let connection = opened.map_err(|source| CatalogueError::Sqlite {
            path: path.to_owned(),
            source,
        })?;
        Ok(Self {
            path: path.to_owned(),
            connection: Mutex::new(connection),
            was_damaged,
        })
    }

    /// Returns a catalogue that exists as long as the value. SQLite keeps the content in memory and
    /// moves it to an unlinked temporary file when it grows.
    pub fn temporary() -> CatalogueResult<Self> {
        let path = PathBuf::from(TEMPORARY);
        match schema::temporary() {
            Ok(connection) => Ok(Self {
                path,
                connection: Mutex::new(connection),
                was_damaged: false,
            }),
            Err(source) => Err(CatalogueError::Sqlite { path, source }),
        }
    }

    /// Returns whether the content is lost with this value.
    pub fn is_temporary(&self) -> bool {
        self.path == Path::new(TEMPORARY)
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes all content.
    pub fn clear(&self) -> CatalogueResult<()> {
        self.write(schema::clear)
    }

    /// Closes the catalogue and truncates its write-ahead log. Dropping the value does the same but
    /// ignores errors.
    pub fn close(self) -> CatalogueResult<()> {
        let Self {
            path, connection, ..
        } = self;
        let connection = connection.into_inner();
        // If a reader prevents the truncation, the last process that closes the file truncates the
        // log.
        let emptied = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        emptied
            .and_then(|()| connection.close().map_err(|(_, e)| e))
            .map_err(|source| CatalogueError::Sqlite { path, source })
    }

    /// Returns the value of a key in the table `meta`.
    pub fn meta(&self, key: &str) -> CatalogueResult<Option<Vec<u8>>> {
        self.read(|c| {
            c.prepare_cached("SELECT value FROM meta WHERE key = ?1")?
                .query_row([key], |r| r.get(0))
                .optional()
        })
    }

    /// Sets the value of a key in the table `meta`, or removes the key if `value` is `None`.
    pub fn set_meta(&self, key: &str, value: Option<&[u8]>) -> CatalogueResult<()> {
        self.write(|c| {
            match value {
                Some(value) => c
                    .prepare_cached("INSERT OR REPLACE INTO meta VALUES (?1, ?2)")?
                    .execute((key, value))?,
                None => c
                    .prepare_cached("DELETE FROM meta WHERE key = ?1")?
                    .execute([key])?,
            };
            Ok(())
        })
    }

    /// Records that the log of a ref, such as `refs/heads/main`, has reached `seq`. Never lowers
    /// the number.
    pub fn see_ref(&self, log: &str, seq: u64) -> CatalogueResult<()> {
        self.write(|c| {
            // Blobs of equal length compare like big-endian numbers.
            let mut put = c.prepare_cached(
                "INSERT INTO meta VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = max(value, excluded.value)",
            )?;
            put.execute((format!("{SEEN}{log}"), seq.to_be_bytes())).map(drop)
        })
    }

    /// Returns the highest recorded number of each ref log.
    pub fn seen_refs(&self) -> CatalogueResult<Vec<(String, u64)>> {
        self.read(|c| {
            let mut all = c.prepare_cached(
                // SQL counts characters from 1, and `SEEN` has five characters.
                "SELECT substr(key, 6), value FROM meta WHERE key GLOB 'seen *' ORDER BY key",
            )?;
            all.query_map([], |r| Ok((r.get(0)?, u64::from_be_bytes(r.get(1)?))))?
                .collect()
        })
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock()
    }

    fn wrap(&self, source: rusqlite::Error) -> CatalogueError {
        CatalogueError::Sqlite {
            path: self.path.clone(),
            source,
        }
    }

    /// Runs `f` in one read transaction.
    fn read<T>(&self, f: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> CatalogueResult<T> {
        let lock = self.lock();
        // One transaction sees one state of the file. The lock ensures that the connection has no
        // other transaction.
        let snapshot = lock.unchecked_transaction().map_err(|e| self.wrap(e))?;
        f(&snapshot).map_err(|e| self.wrap(e))
    }

    /// Rewrites the file without its free pages, if they take more than a third of it. Other
    /// processes wait meanwhile, so a large file stays as it is.
    pub fn shrink(&self) -> CatalogueResult<()> {
        let lock = self.lock();
        let number = |name: &str| lock.query_row(&format!("PRAGMA {name}"), [], |r| unsigned(r, 0));
        let shrunk = || {
            let (all, free) = (number("page_count")?, number("freelist_count")?);
            let used_bytes = all.saturating_sub(free) * number("page_size")?;
            if free < FREE_PAGES_MIN || free < all / 3 || used_bytes > SHRUNK_MAX {
                return Ok(());
            }
            lock.execute_batch("VACUUM; PRAGMA wal_checkpoint(TRUNCATE)")
        };
        shrunk().map_err(|e| self.wrap(e))
    }

    /// Runs `f` in one write transaction.
    fn write<T>(&self, f: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> CatalogueResult<T> {
        let mut lock = self.lock();
        let done = lock
            // A transaction that reads before it writes fails with `SQLITE_BUSY`, without waiting,
            // if another process has written in between. `Immediate` waits at the start.
            .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)
            .and_then(|t| {
                let value = f(&t)?;
                t.commit()?;
                Ok(value)
            });
        done.map_err(|e| self.wrap(e))
    }
}

/// Converts to SQLite's signed numbers; sizes and counts never reach the limit.
fn signed(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn unsigned(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let n: i64 = row.get(column)?;
    u64::try_from(n).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, n))
}

/// Number of free pages below which the file is not rewritten.
const FREE_PAGES_MIN: u64 = 128;
/// Limit on the bytes that a rewrite copies, so that it takes only a moment.
const SHRUNK_MAX: u64 = 64 << 20;

/// Prefix of the keys that record the last number of a ref log.
const SEEN: &str = "seen ";

#[cfg(test)]
mod tests;
