//! Kinds and hints of SQLite errors. Many error codes of SQLite hide the errno, so this module
//! examines the file again to find out which error the system reports.
//!
//! In: a database file and the error. Out: the kind of failure.

use std::fs::OpenOptions;
use std::io;
use std::path::Path;

use rusqlite::ErrorCode;
use rusqlite::ffi::{SQLITE_IOERR_NOMEM, SQLITE_IOERR_SHMSIZE};

use crate::error::Kind;

/// If fewer bytes are free, a failed write is attributed to a full disk.
const FULL: u64 = 1 << 20;

/// Returns the kind of an error that SQLite has returned for the database at `path`.
pub fn kind(path: &Path, e: &rusqlite::Error) -> Kind {
    use rusqlite::Error::{FromSqlConversionFailure, IntegralValueOutOfRange, InvalidColumnType};
    match e.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => Kind::NoSpace,
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Kind::Busy,
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => Kind::Denied,
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Kind::Integrity,
        Some(ErrorCode::OutOfMemory) => Kind::System,
        Some(ErrorCode::OperationInterrupted) => Kind::Cancelled,
        // SQLite extends the shared memory by writing zeros, so this code means a full disk.
        Some(ErrorCode::SystemIoFailure) if extended(e) == Some(SQLITE_IOERR_SHMSIZE) => {
            Kind::NoSpace
        }
        Some(ErrorCode::SystemIoFailure) if extended(e) == Some(SQLITE_IOERR_NOMEM) => Kind::System,
        Some(ErrorCode::SystemIoFailure) => of_place(path).unwrap_or(Kind::System),
        Some(ErrorCode::CannotOpen) => of_place(path).unwrap_or(Kind::Denied),
        // A missing table, a value of the wrong type or a violated constraint is damage, because
        // the program's own statements do not cause these errors.
        Some(_) => Kind::Integrity,
        None => match e {
            InvalidColumnType(..) | FromSqlConversionFailure(..) | IntegralValueOutOfRange(..) => {
                Kind::Integrity
            }
            _ => Kind::Internal,
        },
    }
}

/// Returns the hint for an error, based on its kind and its code.
pub fn hint(path: &Path, e: &rusqlite::Error) -> Option<String> {
    match (kind(path, e), e.sqlite_error_code()?) {
        (Kind::NoSpace, _) => Some("free some space and run the command again".to_owned()),
        (Kind::System, ErrorCode::CannotOpen) => {
            Some("raise the limit on open files (`ulimit -n`), or lower `--jobs`".to_owned())
        }
        (Kind::System, ErrorCode::SystemIoFailure) => {
            Some("check the kernel log (`dmesg`) for disk errors".to_owned())
        }
        (Kind::Busy, _) => {
            Some("run the command again when the other process has finished".to_owned())
        }
        (Kind::Denied, _) => {
            let dir = path.parent().unwrap_or(path).display();
            Some(format!(
                "check the owner and the mode of `{dir}`, and whether its file system is writable"
            ))
        }
        _ => None,
    }
}

fn extended(e: &rusqlite::Error) -> Option<i32> {
    e.sqlite_error().map(|e| e.extended_code)
}

/// Returns the kind of the error that the system reports for the file now, or `None` if it reports
/// no error.
fn of_place(path: &Path) -> Option<Kind> {
    let dir = path
        .parent()
        // The parent of a name without a slash is the empty path.
        .filter(|dir| !dir.as_os_str().is_empty())
        .unwrap_or_else(|| Path::new("."));
    if rustix::fs::statvfs(dir).is_ok_and(|disk| disk.f_bavail.saturating_mul(disk.f_frsize) < FULL)
    {
        return Some(Kind::NoSpace);
    }
    match OpenOptions::new().read(true).write(true).open(path) {
        Ok(_) => None,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {
            // SQLite must create the file, which needs a writable directory.
            match rustix::fs::access(dir, rustix::fs::Access::WRITE_OK) {
                Ok(()) => None,
                Err(e) => Some(Kind::of_io(&e.into())),
            }
        }
        Err(e) => Some(Kind::of_io(&e)),
    }
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;

    #[test]
    fn the_reason_is_the_systems() {
        let dir = tempfile::tempdir().unwrap();
        let of = |path: &Path| {
            kind(
                path,
                &Connection::open(path)
                    .and_then(|c| c.execute_batch("CREATE TABLE a(b)"))
                    .unwrap_err(),
            )
        };
        assert_eq!(of(&dir.path().join("none/a.db")), Kind::NotFound);
        std::fs::write(dir.path().join("file"), "x").unwrap();
        // A component of the path is a file (ENOTDIR), and below the database is a directory
        // (EISDIR): SQLite reports both only as "cannot open".
        assert_eq!(of(&dir.path().join("file/a.db")), Kind::Usage);
        std::fs::create_dir(dir.path().join("dir.db")).unwrap();
        assert_eq!(of(&dir.path().join("dir.db")), Kind::Usage);
        std::fs::write(
            dir.path().join("text.db"),
            "this is no database, and long enough to be looked at".repeat(40),
        )
        .unwrap();
        assert_eq!(of(&dir.path().join("text.db")), Kind::Integrity);
    }
}
