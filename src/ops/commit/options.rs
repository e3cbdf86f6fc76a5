//! The options of `commit`.

use std::io::Read;

use crate::error::Result;
use crate::model::commit::Timestamp;
use crate::model::refname::RefName;
use crate::query::worktree::WalkOptions;
use crate::quiesce::Quiesce;

/// The options of `commit`.
#[derive(Clone, Default)]
pub struct CommitOptions {
    pub message: String,
    /// The branch. `None` is HEAD's branch.
    pub branch: Option<RefName>,
    /// Tags for the new version.
    pub tags: Vec<RefName>,
    /// `Key: value` pairs that the commit records.
    pub trailers: Vec<(String, String)>,
    /// The time of the version. `None` is now.
    pub time: Option<Timestamp>,
    /// The files that the walk leaves out.
    pub walk: WalkOptions,
    /// Commit even if nothing changed or the source is empty.
    pub allow_empty: bool,
    /// Only these paths below the worktree, as raw bytes; all if empty.
    pub paths: Vec<Vec<u8>>,
    /// How writers are quiesced while the source is read.
    pub quiesce: Option<Quiesce>,
    /// The action if a database runs in the source and is not quiesced.
    pub running_database: RunningDatabase,
    /// Only report what would be done. Nothing is quiesced then.
    pub dry_run: bool,
}

/// The action of a commit if a database runs in the committed directory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RunningDatabase {
    /// Make the version, and warn.
    #[default]
    Warn,
    /// Make no version.
    Refuse,
    /// Make the version without a warning.
    Ignore,
}

/// A stream to commit as one file.
pub struct StreamOptions<'s> {
    /// The path of the file in the tree, as raw bytes.
    pub name: Vec<u8>,
    /// Keep the other files of the previous version.
    pub add: bool,
    /// The bytes.
    pub input: &'s mut (dyn Read + Send),
    /// Called at the end of the stream. An error means that the stream is incomplete and must not
    /// be committed.
    pub check: &'s mut dyn FnMut() -> Result<()>,
}
