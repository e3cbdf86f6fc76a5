//! What a repository remembers of a remote: whether it decides races, when it was last reached, what its refs were,
//! and what an unfinished push has already sent.
//!
//! A JSON file per remote in `remotes/`; losing it costs time, nothing else.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::codec::hash::checksum;
use crate::error::Result;
use crate::model::id::to_hex;
use crate::store::StoreError;

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
    /// What is remembered of the remote at `url`; nothing where there is no file, or a damaged one.
    pub fn load(repository: &Path, url: &str) -> Self {
        let bytes = std::fs::read(file(repository, url)).unwrap_or_default();
        serde_json::from_slice(&bytes).unwrap_or_default()
    }

    /// Remembers.
    pub fn save(&self, repository: &Path, url: &str) -> Result<()> {
        let path = file(repository, url);
        let dir = repository.join(REMOTES);
        let write = || -> std::io::Result<()> {
            std::fs::create_dir_all(&dir)?;
            let staged = tempfile::NamedTempFile::new_in(&dir)?;
            std::fs::write(staged.path(), serde_json::to_vec(self).unwrap_or_default())?;
            staged.persist(&path)?;
            Ok(())
        };
        write().map_err(|source| StoreError::Io { what: "write", key: path.display().to_string(), source }.into())
    }
}
