//! Archives: tar streams that contain everything that a commit stores about a file, and container
//! images.
//!
//! Converts between archive members and bytes. Invariants: equal members encode to equal bytes,
//! every length in an archive is checked against the bytes that follow, and this module writes
//! nothing to disk.

pub mod acl;
pub mod image;
pub mod member;
pub mod reader;
pub mod records;
pub mod sparse;
pub mod writer;

use std::io;

use crate::error::{Failure, Kind};

/// The error for an archive that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The bytes are not an archive, or are changed or truncated.
    #[error("the archive is damaged{position}: {why}")]
    Damaged {
        /// Position of the damage, for example " at `a/b`"; empty if no entry was read.
        position: String,
        why: String,
    },
    /// The entry is not allowed in a commit, or its path leads out of the tree.
    #[error("cannot import `{entry}`: {why}")]
    Refused {
        /// The entry in printable form.
        entry: String,
        why: String,
        hint: Option<&'static str>,
    },
    #[error("cannot read the archive{position}")]
    Io {
        /// The position, as in `Damaged`.
        position: String,
        source: io::Error,
    },
}

fn position(preposition: &str, entry: &str) -> String {
    if entry.is_empty() {
        String::new()
    } else {
        format!(" {preposition} `{entry}`")
    }
}

impl ArchiveError {
    /// Returns an error for damage at an entry.
    pub fn damaged(entry: impl AsRef<str>, why: impl Into<String>) -> Self {
        Self::Damaged {
            position: position("at", entry.as_ref()),
            why: why.into(),
        }
    }

    /// Returns an error for damage at an entry or after it, where the next entry is not known yet.
    pub fn damaged_after(entry: &str, why: impl Into<String>) -> Self {
        Self::Damaged {
            position: position("at or after", entry),
            why: why.into(),
        }
    }

    /// Returns an error without a hint for an entry that is not allowed.
    pub fn refused(entry: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Refused {
            entry: entry.into(),
            why: why.into(),
            hint: None,
        }
    }

    /// Converts an error of reading. Data that cannot be decompressed and a truncated stream are
    /// damage.
    pub fn reading(entry: &str, e: io::Error) -> Self {
        match e.kind() {
            io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => {
                Self::damaged(entry, e.to_string())
            }
            io::ErrorKind::UnexpectedEof => Self::damaged(entry, "truncated"),
            _ => Self::Io {
                position: position("at", entry),
                source: e,
            },
        }
    }
}

impl Failure for ArchiveError {
    fn kind(&self) -> Kind {
        match self {
            Self::Damaged { .. } => Kind::Integrity,
            Self::Refused { .. } => Kind::Usage,
            Self::Io { source, .. } => Kind::of_io(source),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Refused { hint, .. } => hint.map(str::to_owned),
            _ => None,
        }
    }
}
