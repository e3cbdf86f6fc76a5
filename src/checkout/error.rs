//! Errors that end a whole restore; an error with a single file is reported as a notice instead.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;

use rustix::io::Errno;

use crate::error::{Error, Failure, Kind};
use crate::model::text::count;
use crate::sys::io_error::IoError;

/// Errors of reading a version or of writing its files.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The target of a whole restore is not empty.
    #[error("cannot write a version to `{path}`: the directory is not empty")]
    NotEmpty { path: String },
    /// The extents of a file do not add up to its size.
    #[error("cannot read `{path}`: its chunks do not add up to its size")]
    Extents { path: String },
    /// The reader of the output has closed the pipe, or the output cannot be written.
    #[error("cannot write the file content to the output")]
    Output {
        /// A closed pipe is `BrokenPipe`.
        source: io::Error,
    },
    /// The requested range is outside of the file.
    #[error("cannot read from byte {from}: the file has only {}", count(*size, "byte"))]
    Range {
        /// Start of the range in bytes.
        from: u64,
        /// Length of the file in bytes.
        size: u64,
    },
    /// The checkout journal cannot be parsed.
    #[error("the checkout journal `{path}` is damaged")]
    Journal { path: String },
    /// The version contains a name that is reserved for repositories.
    #[error("refusing to write `{path}`: the name is reserved for repositories")]
    Reserved {
        /// Path in the version.
        path: String,
    },
    /// Another checkout is running on the same worktree.
    #[error("cannot check out: another checkout is running in this worktree")]
    Locked,
}

impl Failure for ReadError {
    fn kind(&self) -> Kind {
        match self {
            Self::Output { source } => Kind::of_io(source),
            Self::NotEmpty { .. } => Kind::Rejected,
            Self::Extents { .. } | Self::Journal { .. } | Self::Reserved { .. } => Kind::Integrity,
            Self::Range { .. } => Kind::Usage,
            Self::Locked => Kind::Busy,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NotEmpty { .. } => Some("specify a new or empty directory".to_owned()),
            Self::Journal { .. } => Some("run `dvc checkout -f` to start over".to_owned()),
            _ => None,
        }
    }
}

/// Returns an I/O error about a path below the target.
pub(super) fn io_error(action: &'static str, path: &[u8], e: impl Into<io::Error>) -> Error {
    IoError::new(action, OsStr::from_bytes(path), e).into()
}

/// Returns whether an error of the file system concerns all files, not only the current one.
pub(super) fn concerns_all(e: Errno) -> bool {
    // As a notice, such an error would be repeated for every file.
    matches!(
        e,
        Errno::NOSPC
            | Errno::DQUOT
            | Errno::ROFS
            | Errno::IO
            | Errno::NOMEM
            | Errno::MFILE
            | Errno::NFILE
            | Errno::BADF
    )
}

/// Returns the text of a system error for a notice, without its number.
pub(super) fn error_text(e: Errno) -> String {
    let text = io::Error::from(e).to_string();
    text.split(" (os error")
        .next()
        .unwrap_or(&text)
        .to_lowercase()
}
