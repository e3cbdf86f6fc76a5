//! Helpers for SQLite connections.

use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rusqlite::{Connection, ErrorCode, OpenFlags};

/// Opens the database for reading, if possible without creating a file.
pub(super) fn read_only(path: &Path) -> rusqlite::Result<Connection> {
    // Without `immutable`, SQLite would create a WAL file. A WAL file that a crash has left must be
    // read.
    let has_log = path.with_extension("db-wal").exists();
    let uri = format!(
        "file:{}{}",
        escaped(path),
        if has_log { "" } else { "?immutable=1" }
    );
    Connection::open_with_flags(
        uri,
        OpenFlags::SQLITE_OPEN_READ_ONLY
            | OpenFlags::SQLITE_OPEN_URI
            | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )
}

/// Escapes a path for use in a URI.
fn escaped(path: &Path) -> String {
    path.as_os_str()
        .as_bytes()
        .iter()
        .fold(String::new(), |mut out, byte| {
            match byte {
                b'/' | b'-' | b'.' | b'_' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => {
                    out.push(char::from(*byte))
                }
                _ => drop(write!(out, "%{byte:02X}")),
            }
            out
        })
}

/// Returns whether an operation failed because the disk is full.
pub(super) fn is_full(e: &rusqlite::Error) -> bool {
    /// `SQLITE_IOERR_SHMSIZE`: the shared-memory file could not be extended.
    const SHM_SIZE: i32 = 4874;
    let shm = matches!(e, rusqlite::Error::SqliteFailure(e, _) if e.extended_code == SHM_SIZE);
    shm || e.sqlite_error_code() == Some(ErrorCode::DiskFull)
}
