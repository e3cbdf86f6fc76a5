//! Archives: tar streams with everything that a version keeps of a file, and the images of container engines.
//!
//! In: members of the model, bytes. Out: bytes, members. Invariants: the same members give the same bytes, no length
//! that stands in an archive is believed before it was compared with what comes, and nothing is written to a disk here.

pub mod acl;
pub mod image;
pub mod member;
pub mod ordered;
pub mod reader;
pub mod records;
pub mod sparse;
pub mod writer;

use std::io;

use crate::error::{Failure, Kind};

/// An archive cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// It is no archive, or was changed, or ends too early.
    #[error("the archive is damaged{}: {why}", at(entry))]
    Damaged {
        /// The entry that was being read, for people; empty where it is none.
        entry: String,
        /// What is wrong.
        why: String,
    },
    /// It holds what no version may hold, or what would lead out of it.
    #[error("`{entry}` is refused: {why}")]
    Refused {
        /// The entry, for people.
        entry: String,
        /// Why.
        why: String,
        /// What to do about it.
        hint: Option<&'static str>,
    },
    /// It cannot be read at all.
    #[error("cannot read the archive")]
    Io(#[source] io::Error),
}

fn at(entry: &str) -> String {
    if entry.is_empty() { String::new() } else { format!(" at `{entry}`") }
}

impl ArchiveError {
    /// Damage at an entry.
    pub fn damaged(entry: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Damaged { entry: entry.into(), why: why.into() }
    }

    /// A refusal without a hint.
    pub fn refused(entry: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Refused { entry: entry.into(), why: why.into(), hint: None }
    }

    /// What a failed read means. Bytes that are no compressed data, or too few, are damage.
    pub fn reading(entry: &str, e: io::Error) -> Self {
        match e.kind() {
            io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput => Self::damaged(entry, e.to_string()),
            io::ErrorKind::UnexpectedEof => Self::damaged(entry, "it ends too early"),
            _ => Self::Io(e),
        }
    }
}

impl Failure for ArchiveError {
    fn kind(&self) -> Kind {
        match self {
            Self::Damaged { .. } => Kind::Integrity,
            Self::Refused { .. } => Kind::Usage,
            Self::Io(e) => Kind::of_io(e),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Refused { hint, .. } => hint.map(str::to_owned),
            _ => None,
        }
    }
}
