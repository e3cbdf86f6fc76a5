//! Looking at an overlay that is not mounted, without changing anything of it.

use std::fmt::Write;
use std::fs::File;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use parking_lot::Mutex;
use rusqlite::{Connection, OpenFlags};

use super::{CLEAN, FILE, StateError, Store, VERSION, YES, ensure_not_lost};
use crate::error::Result;
use crate::sys::io_error::IoError;

impl Store {
    /// Whether somebody has the tables of the overlay in `dir` open to write.
    pub fn is_locked(dir: &Path) -> Result<bool> {
        let io = |source| IoError::new("open", dir, source);
        let lock = match File::open(dir.join("lock")) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(false),
            lock => lock.map_err(io)?,
        };
        match rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockShared) {
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(true),
            Err(e) => Err(io(e.into()).into()),
            Ok(()) => Ok(false),
        }
    }

    /// The tables of the overlay in `dir` as they were left, for questions only; `None` where nothing was kept yet. As long
    /// as it is looked at it cannot be mounted.
    pub fn look(dir: &Path, name: &str) -> Result<Option<Self>> {
        let io = |source| IoError::new("open", dir, source);
        let lock = match File::open(dir.join("lock")) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
            lock => lock.map_err(io)?,
        };
        match rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockShared) {
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(StateError::InUse { name: name.to_owned() }.into()),
            Err(e) => return Err(io(e.into()).into()),
            Ok(()) => {}
        }
        let path = dir.join(FILE);
        ensure_not_lost(dir, name)?;
        if !path.try_exists().map_err(io)? {
            return Ok(None);
        }
        let connection = read_only(&path).map_err(|source| StateError::Sqlite { path: path.clone(), source })?;
        let (connection, wrote) = (Mutex::new(connection), AtomicBool::new(false));
        let mut store = Self { path, connection, clean: false, wrote, reserve: None, _lock: lock };
        let tables = "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'meta')";
        if !store.with(|c| c.query_row(tables, [], |row| row.get(0)))? {
            return Ok(None);
        }
        match store.meta("format")? {
            None => Ok(None),
            Some(v) if v == VERSION.to_string().as_bytes() => {
                store.clean = store.meta(CLEAN)?.is_some_and(|value| value == YES);
                store.ensure_whole()?;
                Ok(Some(store))
            }
            Some(v) => Err(store.damaged(format!("it is of version {}", String::from_utf8_lossy(&v)))),
        }
    }
}

/// The tables for questions only.
pub(super) fn read_only(path: &Path) -> rusqlite::Result<Connection> {
    // SQLite would make a log where there is none; what a crash left is read with its log.
    let has_log = path.with_extension("db-wal").exists();
    let uri = format!("file:{}{}", escaped(path), if has_log { "" } else { "?immutable=1" });
    Connection::open_with_flags(
        uri,
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )
}

/// A path as part of a URI.
fn escaped(path: &Path) -> String {
    path.as_os_str().as_bytes().iter().fold(String::new(), |mut out, byte| {
        match byte {
            b'/' | b'-' | b'.' | b'_' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => out.push(char::from(*byte)),
            _ => drop(write!(out, "%{byte:02X}")),
        }
        out
    })
}
