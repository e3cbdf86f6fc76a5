//! The known state of a remote: whether it supports conditional writes, when it was last reached,
//! its refs at that time, and the packs that an unfinished push has sent.
//!
//! The state is a JSON file per remote in `remotes/`. Without the file, an unfinished push sends
//! its packs again, and a rollback of the remote's refs is not noticed.

use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::codec::hash::checksum;
use crate::error::{Failure, Kind, Result};
use crate::model::id::{Id, to_hex};
use crate::repo::leases::RENEWED_AFTER;
use crate::sys::create;
use crate::sys::io_error::IoError;

/// The directory of these files below the repository.
pub const REMOTES: &str = "remotes";

/// The number and the update id of the newest entry of each ref, by `heads/NAME`.
pub type Seen = BTreeMap<String, (u64, String)>;

/// The known state of one remote.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RemoteState {
    /// Whether the store supports conditional writes; `None` if it was not probed.
    pub exclusive: Option<bool>,
    /// Time of the last contact, in seconds since 1970.
    pub reached: Option<i64>,
    /// The refs at the last contact.
    pub seen: Seen,
    /// The refs that a fetch reported last or a push left behind. A lease (`--force-with-lease`)
    /// compares with these.
    pub shown: Seen,
    /// Number of the gc log of the remote before the last fetch read the refs.
    pub gc_number: Option<u64>,
    /// The lease on the remote for the bases of commits that are not pushed.
    pub lease: Option<CloneLease>,
    /// Packs that a push has sent and that no index segment of the remote contains yet.
    pub sent: BTreeSet<String>,
}

/// The lease that a clone has on a remote.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CloneLease {
    /// Key on the remote.
    pub key: String,
    /// Ids of the versions, in hex.
    pub versions: Vec<String>,
    /// Time of creation, in seconds since 1970.
    pub made: i64,
    /// Time of expiry, in seconds since 1970.
    pub until: i64,
}

impl CloneLease {
    /// Returns whether the lease still serves for these versions.
    pub(super) fn serves(&self, versions: &[Id], now: i64) -> bool {
        let age = now.saturating_sub(self.made);
        let is_young = age >= 0 && age.unsigned_abs() < RENEWED_AFTER.as_secs();
        is_young
            && versions
                .iter()
                .map(ToString::to_string)
                .eq(self.versions.iter().cloned())
    }
}

/// Returns the path of the state of a remote. The URL is part of the name, so that a new URL starts
/// with an empty state.
fn file(repository: &Path, url: &str) -> PathBuf {
    repository
        .join(REMOTES)
        .join(to_hex(&checksum(&[url.as_bytes()])))
}

impl RemoteState {
    /// Reads the state of the remote at `url`; the state is empty if there is no file. A file that
    /// cannot be read or parsed is an error, because without the state a remote that vanished or
    /// was rolled back looks like a new one.
    pub fn load(repository: &Path, url: &str) -> Result<Self> {
        let path = file(repository, url);
        let bytes = match std::fs::read(&path) {
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Self::default()),
            bytes => bytes.map_err(|source| StateError::Unreadable {
                path: path.clone(),
                source,
            })?,
        };
        match serde_json::from_slice(&bytes) {
            Ok(state) => Ok(state),
            Err(e) => {
                let why = if bytes.is_empty() {
                    "the file is empty".to_owned()
                } else {
                    e.to_string()
                };
                Err(StateError::Damaged { path, why }.into())
            }
        }
    }

    /// Writes the state durably.
    pub fn save(&self, repository: &Path, url: &str) -> Result<()> {
        let path = file(repository, url);
        // A structure of maps, strings and numbers always serialises.
        let bytes = serde_json::to_vec(self).unwrap_or_default();
        let write = || {
            create::dir_all(&repository.join(REMOTES)).and_then(|()| create::replace(&path, &bytes))
        };
        Ok(write().map_err(IoError::at("write", &path))?)
    }
}

/// The error for a known state that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    #[error("cannot read the saved state of the remote (`{}`)", path.display())]
    Unreadable {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("the saved state of the remote (`{}`) is damaged: {why}", path.display())]
    Damaged { path: PathBuf, why: String },
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
            Self::Unreadable { .. } => {
                "change the owner of the file to the owner of the repository with `chown`"
                    .to_owned()
            }
            Self::Damaged { path, .. } => format!(
                "check that the remote has all expected versions, then remove `{}`; until the next contact, dvc cannot \
                 detect that the remote was restored to an older state",
                path.display()
            ),
        })
    }
}
