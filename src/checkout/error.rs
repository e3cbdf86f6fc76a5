//! What can end a restore as a whole; trouble with single files is a notice instead.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;

use rustix::io::Errno;

use crate::error::{Error, Failure, Kind};
use crate::sys::io_error::IoError;

/// A failure of reading a version or of writing files.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The target of a whole restore holds something.
    #[error("`{path}` is not empty")]
    NotEmpty {
        /// The target directory.
        path: String,
    },
    /// A file's extents do not add up to its size.
    #[error("the parts of `{path}` do not add up to its size")]
    Extents {
        /// The file.
        path: String,
    },
    /// What reads our output has gone, or cannot take more.
    #[error("cannot write the output")]
    Output {
        /// Why not; a closed pipe is `BrokenPipe`.
        source: io::Error,
    },
    /// A range was asked for that lies outside of its file.
    #[error("the range begins at {from}, after the end of the file at {size}")]
    Range {
        /// Where the range begins, in bytes.
        from: u64,
        /// The length of the file in bytes.
        size: u64,
    },
    /// The checkout journal cannot be understood.
    #[error("the checkout journal `{path}` is damaged")]
    Journal {
        /// Where it is.
        path: String,
    },
    /// A version contains a name that is reserved for repositories.
    #[error("the version contains `{path}`, but no version may contain a repository")]
    Reserved {
        /// The path in the version.
        path: String,
    },
    /// Another checkout is at work on the same worktree.
    #[error("another checkout is at work on this worktree")]
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
            Self::NotEmpty { .. } => Some("give a new or an empty directory".to_owned()),
            Self::Journal { .. } => Some("`dvc checkout -f` starts over".to_owned()),
            _ => None,
        }
    }
}

/// An I/O error about a path below the target.
pub(super) fn io_error(action: &'static str, path: &[u8], e: impl Into<io::Error>) -> Error {
    IoError::new(action, OsStr::from_bytes(path), e).into()
}

/// Whether an error of the target's file system concerns all files, not only the one at hand.
pub(super) fn concerns_all(e: Errno) -> bool {
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

/// Words for an error of the system in a notice, without its number.
pub(super) fn words(e: Errno) -> String {
    let text = io::Error::from(e).to_string();
    text.split(" (os error").next().unwrap_or(&text).to_lowercase()
}
