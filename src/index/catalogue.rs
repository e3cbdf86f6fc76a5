//! The catalogue: one SQLite file with what would be slow to ask of packs and refs again and again.
//!
//! Everything in it is derived. A file that is no database, is damaged, or has another schema is made anew and starts empty; the caller
//! compares it with the repository. Writes are one transaction per call. Methods take `&self` and may be called from many threads.

use parking_lot::{Mutex, MutexGuard};

use super::sqlite;
use crate::error::{Failure, Kind};
use crate::sys::create;
use rusqlite::{Connection, ErrorCode, OptionalExtension};
use std::path::{Path, PathBuf};
use std::time::Duration;

mod check;
pub mod commits;
mod schema;
pub mod segments;
mod stat;

/// So often a catalogue that somebody else is making is opened again.
const BUSY_TRIES: u32 = 100;
/// So long after each attempt.
const BUSY_PAUSE: Duration = Duration::from_millis(20);

/// Why the catalogue cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// SQLite refused.
    #[error("cannot use catalogue `{}`", path.display())]
    Sqlite {
        /// The file.
        path: PathBuf,
        /// Why.
        source: rusqlite::Error,
    },
    /// The file cannot be created.
    #[error("cannot create catalogue `{}`", path.display())]
    Replace {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl Failure for Error {
    fn kind(&self) -> Kind {
        match self {
            Self::Replace { source, .. } => Kind::of_io(source),
            Self::Sqlite { path, source } => match sqlite::kind(path, source) {
                // The program has all its statements, so what they do not find is not as it was written.
                Kind::Internal => Kind::Integrity,
                kind => kind,
            },
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            _ if self.kind() == Kind::Integrity => Some("`dvc fsck --rebuild` makes it anew".to_owned()),
            Self::Sqlite { path, source } => sqlite::hint(path, source),
            Self::Replace { .. } => None,
        }
    }
}

/// The result of a catalogue method.
pub type Result<T> = std::result::Result<T, Error>;

/// An open catalogue.
#[derive(Debug)]
pub struct Catalogue {
    path: PathBuf,
    connection: Mutex<Connection>,
    was_damaged: bool,
}

impl Catalogue {
    /// Opens the catalogue, making it where it is missing, damaged or of another schema. The directory must be writable.
    pub fn open(path: &Path) -> Result<Self> {
        create::empty(path).map_err(|source| Error::Replace { path: path.to_owned(), source })?;
        let mut lock = None;
        let mut opened = schema::open(path);
        // SQLite does not wait for those who make the same file at the same moment where that could be a deadlock.
        for _ in 0..BUSY_TRIES {
            match &opened {
                Err(e) if e.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => std::thread::sleep(BUSY_PAUSE),
                Err(e) if is_damage(e) && lock.is_none() => {
                    let held = schema::lock(path).map_err(|source| Error::Replace { path: path.to_owned(), source })?;
                    lock = Some(held);
                }
                _ => break,
            }
            opened = if lock.is_some() { schema::replace(path) } else { schema::open(path) };
        }
        let was_damaged = lock.is_some();
        if let Some(lock) = lock {
            schema::unlock(path, lock);
        }
        let connection = opened.map_err(|source| Error::Sqlite { path: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned(), connection: Mutex::new(connection), was_damaged })
    }

    /// A catalogue that is gone with the value. It fills memory first and a deleted file of the temporary directory then.
    pub fn temporary() -> Result<Self> {
        let path = PathBuf::from("(temporary)");
        match schema::temporary() {
            Ok(connection) => Ok(Self { path, connection: Mutex::new(connection), was_damaged: false }),
            Err(source) => Err(Error::Sqlite { path, source }),
        }
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Forgets everything.
    pub fn clear(&self) -> Result<()> {
        self.write(schema::clear)
    }

    /// Closes the catalogue and empties its log. Dropping does the same without saying what went wrong.
    pub fn close(self) -> Result<()> {
        let Self { path, connection, .. } = self;
        let connection = connection.into_inner();
        // Fails to empty the log, without an error, while another process reads: then that one does it.
        let emptied = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        emptied.and_then(|()| connection.close().map_err(|(_, e)| e)).map_err(|source| Error::Sqlite { path, source })
    }

    /// The value of a key.
    pub fn meta(&self, key: &str) -> Result<Option<Vec<u8>>> {
        self.read(|c| {
            c.prepare_cached("SELECT value FROM meta WHERE key = ?1")?.query_row([key], |r| r.get(0)).optional()
        })
    }

    /// Sets or, with `None`, removes a key.
    pub fn set_meta(&self, key: &str, value: Option<&[u8]>) -> Result<()> {
        self.write(|c| {
            match value {
                Some(value) => {
                    c.prepare_cached("INSERT OR REPLACE INTO meta VALUES (?1, ?2)")?.execute((key, value))?
                }
                None => c.prepare_cached("DELETE FROM meta WHERE key = ?1")?.execute([key])?,
            };
            Ok(())
        })
    }

    /// Remembers that the log of a ref, such as `refs/heads/main`, has reached a number.
    pub fn see_ref(&self, log: &str, seq: u64) -> Result<()> {
        self.write(|c| {
            // Blobs of one length compare like big-endian numbers.
            let mut put = c.prepare_cached(
                "INSERT INTO meta VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = max(value, excluded.value)",
            )?;
            put.execute((format!("{SEEN}{log}"), seq.to_be_bytes())).map(drop)
        })
    }

    /// The last number that was seen of each ref's log.
    pub fn seen_refs(&self) -> Result<Vec<(String, u64)>> {
        self.read(|c| {
            let mut all =
                c.prepare_cached("SELECT substr(key, 6), value FROM meta WHERE key GLOB 'seen *' ORDER BY key")?;
            all.query_map([], |r| Ok((r.get(0)?, u64::from_be_bytes(r.get(1)?))))?.collect()
        })
    }

    fn lock(&self) -> MutexGuard<'_, Connection> {
        self.connection.lock()
    }

    fn wrap(&self, source: rusqlite::Error) -> Error {
        Error::Sqlite { path: self.path.clone(), source }
    }

    /// Reads in one snapshot.
    fn read<T>(&self, f: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T> {
        let lock = self.lock();
        let snapshot = lock.unchecked_transaction().map_err(|e| self.wrap(e))?;
        f(&snapshot).map_err(|e| self.wrap(e))
    }

    /// Writes in one transaction.
    fn write<T>(&self, f: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T> {
        let mut lock = self.lock();
        let done = lock.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).and_then(|t| {
            let value = f(&t)?;
            t.commit()?;
            Ok(value)
        });
        done.map_err(|e| self.wrap(e))
    }
}

fn is_damage(e: &rusqlite::Error) -> bool {
    matches!(e.sqlite_error_code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

/// SQLite has signed numbers only; sizes and counts never come near the limit.
fn signed(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn unsigned(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let n: i64 = row.get(column)?;
    u64::try_from(n).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(column, n))
}

/// Before the log's folder in the keys of what was seen of refs.
const SEEN: &str = "seen ";
const BUSY: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests;
