//! The options of `log`, and the errors in them.

use crate::error::{Failure, Kind};
use crate::model::revision::RevisionQuery;
use crate::query::describe::ChangeDetail;

/// The options of `log`.
#[derive(Clone, Debug, Default)]
pub struct LogOptions {
    /// The versions and ranges to start from; HEAD if empty.
    pub queries: Vec<RevisionQuery>,
    /// Start from every branch and tag as well, and list versions in the trash.
    pub all: bool,
    /// The maximum number of versions.
    pub max_count: Option<usize>,
    /// The earliest time, in seconds since 1970.
    pub since: Option<i64>,
    /// The latest time, in seconds since 1970.
    pub until: Option<i64>,
    /// A regular expression for the author.
    pub author: Option<String>,
    /// A regular expression for the message.
    pub grep: Option<String>,
    /// Ignore case in patterns.
    pub ignore_case: bool,
    /// Only versions that change one of these paths; all if empty.
    pub paths: Vec<Vec<u8>>,
    /// The oldest version first.
    pub reverse: bool,
    /// The changes of each version to compute.
    pub detail: ChangeDetail,
    /// Fill in [`DescribedVersion::shown_parents`](crate::query::describe::DescribedVersion). The
    /// whole listing is computed before the first version is reported.
    pub graph: bool,
    /// Fill in the addresses of versions, which requires reading the history of all branches.
    pub addresses: bool,
}

/// Errors in the options of `log`.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// A pattern is not a valid regular expression.
    #[error("invalid regular expression `{pattern}`")]
    Pattern {
        /// The pattern as given.
        pattern: String,
        /// The error of the regular expression parser.
        source: regex::Error,
    },
    /// A path is invalid.
    #[error("invalid path `{0}`")]
    BadPath(String),
    /// A query does not name a branch or a tag, so it has no ref log.
    #[error("no ref log for `{0}`: not a branch or a tag")]
    NoRefLog(String),
}

impl Failure for LogError {
    fn kind(&self) -> Kind {
        match self {
            Self::Pattern { .. } | Self::BadPath(_) => Kind::Usage,
            Self::NoRefLog(_) => Kind::NotFound,
        }
    }
}
