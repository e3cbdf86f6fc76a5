//! The items of work of a restore.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use parking_lot::Mutex;

use crate::checkout::content::Pieces;
use crate::checkout::dir::{Dir, Finish};
use crate::checkout::restore::links::Member;
use crate::error::Error;
use crate::model::entry::Entry;

/// Files above this size in bytes are written in ranges.
pub(in crate::checkout) const LARGE: u64 = 16 << 20;
/// Message for a hard link whose first name could not be created.
pub(in crate::checkout) const UNLINKED: &str =
    "not restored, because the target of the hard link was not restored";

/// One item of work.
pub(in crate::checkout) enum Item<'a> {
    /// Create a directory with everything below it.
    Tree { place: Member, finish: Finish },
    /// Create these entries of a directory in order; none is a directory.
    Nodes(Arc<Dir>, std::vec::IntoIter<Entry>),
    /// Create one entry under a temporary name.
    Node(Member, Entry),
    /// Write the next range of a large file.
    Range(Arc<Large>, Pieces<'a>),
}

/// A large file that several threads write.
pub(in crate::checkout) struct Large {
    pub(in crate::checkout) fd: OwnedFd,
    pub(in crate::checkout) place: Member,
    pub(in crate::checkout) entry: Entry,
    /// Whether the file existed before: then holes must be punched, and the file is kept after an
    /// error.
    pub(in crate::checkout) old: bool,
    pub(in crate::checkout) ranges: AtomicUsize,
    pub(in crate::checkout) failed: Mutex<Option<Failed>>,
}

/// The reason why a node could not be created.
pub(in crate::checkout) enum Failed {
    /// The file system returned an error.
    Target(String),
    /// The process lacks a privilege, and the caller records the loss.
    Denied(String),
    /// The version is damaged.
    Source(Error),
}
