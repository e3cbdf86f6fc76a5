//! What a repository remembers of a worktree: its HEAD, the version that it was checked out from, interrupted work.
//!
//! Lies in `worktrees/<hash of the canonical path>/` beside the catalogue, so that nothing is ever written into a
//! source. It is not derived from anything else, so it is written like everything that must not be lost.

use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Repo, layout};
use crate::codec::hash::checksum;
use crate::error::Result;
use crate::format::Malformed;
use crate::model::id::{Id, to_hex};
use crate::model::refname::RefName;
use crate::store::StoreError;

/// The state of one worktree.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorktreeState {
    /// Its canonical path, for people.
    pub path: String,
    /// The branch that HEAD names; `None` is a detached HEAD.
    pub branch: Option<String>,
    /// The version that the files came from or were committed as, hex.
    pub base: Option<String>,
}

/// One worktree of a repository.
pub struct Worktree {
    root: PathBuf,
    dir: PathBuf,
}

impl Repo {
    /// The state of the worktree whose canonical path is `root`.
    pub fn worktree(&self, root: &Path) -> Result<Worktree> {
        let key = to_hex(&checksum(&[root.as_os_str().as_bytes()])[..8]);
        Ok(Worktree { root: root.to_path_buf(), dir: self.state_dir()?.join(layout::WORKTREES).join(key) })
    }

    /// All worktrees that were ever used with this repository.
    pub fn worktrees(&self) -> Result<Vec<WorktreeState>> {
        let dir = self.state_dir()?.join(layout::WORKTREES);
        let mut all = Vec::new();
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            if let Some(state) = read_state(&entry.path().join("state.json"))? {
                all.push(state);
            }
        }
        all.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(all)
    }
}

impl Worktree {
    /// The directory that is compared and committed.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder for state of this worktree; may not exist yet.
    pub fn state_dir(&self) -> &Path {
        &self.dir
    }

    /// What is remembered; `None` if it was never used.
    pub fn state(&self) -> Result<Option<WorktreeState>> {
        read_state(&self.dir.join("state.json"))
    }

    /// The key of its stat cache.
    pub fn stat_key(&self) -> &[u8] {
        self.root.as_os_str().as_bytes()
    }

    /// Remembers, durably.
    pub fn save(&self, branch: Option<&RefName>, base: Option<&Id>) -> Result<()> {
        let state = WorktreeState {
            path: self.root.to_string_lossy().into_owned(),
            branch: branch.map(|b| b.as_str().to_owned()),
            base: base.map(ToString::to_string),
        };
        if self.state().ok().flatten().as_ref() == Some(&state) {
            return Ok(());
        }
        let text = serde_json::to_vec_pretty(&state).unwrap_or_default();
        self.write_file("state.json", &text)
    }

    /// Writes a file of this worktree's state so that a crash leaves the old or the new one.
    pub fn write_file(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let write = || -> std::io::Result<()> {
            fs::create_dir_all(&self.dir)?;
            let mut file = tempfile::NamedTempFile::new_in(&self.dir)?;
            file.write_all(bytes)?;
            file.as_file().sync_all()?;
            file.persist(self.dir.join(name)).map_err(|e| e.error)?;
            fs::File::open(&self.dir)?.sync_all()
        };
        write().map_err(|source| {
            let key = format!("{}/{name}", layout::WORKTREES);
            StoreError::Io { what: "write", key, source }.into()
        })
    }
}

fn read_state(path: &Path) -> Result<Option<WorktreeState>> {
    match fs::read(path) {
        Ok(bytes) => {
            let bad = |e: serde_json::Error| Malformed::new("worktree state", e.to_string());
            Ok(Some(serde_json::from_slice(&bytes).map_err(bad)?))
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(StoreError::Io { what: "read", key: path.display().to_string(), source }.into()),
    }
}
