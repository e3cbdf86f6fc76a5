//! What a repository remembers of a remote: whether it decides races, when it was last reached, what its refs were,
//! and what an unfinished push has already sent.
//!
//! A JSON file per remote in `remotes/`. Losing it costs time, and the comparison with what the remote was like before.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::codec::hash::checksum;
use crate::error::{Failure, Kind, Result};
use crate::model::id::to_hex;
use crate::sys::create;
use crate::sys::io_error::IoError;

/// The folder below the repository.
pub const REMOTES: &str = "remotes";

/// Number and update id of the newest entry of each ref, by `heads/NAME`.
pub type Seen = BTreeMap<String, (u64, String)>;

/// What is remembered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RemoteState {
    /// Whether the store decides races; `None` where it was not probed.
    pub exclusive: Option<bool>,
    /// When it was last reached, seconds since 1970.
    pub reached: Option<i64>,
    /// Its refs when it was last reached.
    pub seen: Seen,
    /// Its refs as a fetch has told them, or a push has left them: what a lease is on.
    pub shown: Seen,
    /// Packs that a push has sent and no index segment there names yet.
    pub sent: BTreeSet<String>,
}

/// The file of one remote's state, by its URL so that another URL begins anew.
fn file(repository: &Path, url: &str) -> PathBuf {
    repository.join(REMOTES).join(to_hex(&checksum(&[url.as_bytes()])))
}

impl RemoteState {
    /// Reads what is remembered of the remote at `url`; nothing if there is no file. A file that cannot be read or
    /// understood is an error, because without it a remote that vanished or went back looks like a new one.
    pub fn load(repository: &Path, url: &str) -> Result<Self> {
        let path = file(repository, url);
        let bytes = match std::fs::read(&path) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Self::default()),
            bytes => bytes.map_err(|source| StateError::Unreadable { path: path.clone(), source })?,
        };
        match serde_json::from_slice(&bytes) {
            Ok(state) => Ok(state),
            Err(e) => {
                let why = if bytes.is_empty() { "it is empty".to_owned() } else { e.to_string() };
                Err(StateError::Damaged { path, why }.into())
            }
        }
    }

    /// Remembers, durably.
    pub fn save(&self, repository: &Path, url: &str) -> Result<()> {
        let path = file(repository, url);
        let bytes = serde_json::to_vec(self).unwrap_or_default();
        let write = || create::dir_all(&repository.join(REMOTES)).and_then(|()| create::replace(&path, &bytes));
        Ok(write().map_err(IoError::at("write", &path))?)
    }
}

/// What is remembered of a remote cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// The file cannot be read.
    #[error("cannot read the known state of the remote in `{}`", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file has no valid content.
    #[error("the known state of the remote in `{}` is damaged: {why}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
}

impl Failure for StateError {
    fn kind(&self) -> Kind {
        match self {
            Self::Unreadable { source, .. } => Kind::of_io(source),
            Self::Damaged { .. } => Kind::Integrity,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Unreadable { .. } => "give the file back to the owner of the repository with `chown`".to_owned(),
            Self::Damaged { path, .. } => format!(
                "check that the remote has all versions that it should have, then remove `{}`: dvc cannot notice \
                 that the remote went back until it was reached again",
                path.display()
            ),
        })
    }
}
