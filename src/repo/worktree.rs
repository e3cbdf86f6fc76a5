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
use crate::error::{Failure, Kind, Result};
use crate::format::marker::{checked_line, line_checksum};
use crate::model::id::{Id, to_hex};
use crate::model::refname::RefName;
use crate::store::StoreError;
use crate::store::local::make_durable;

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
    /// What HEAD was before it moved to another branch: a branch, or an id in hex. `checkout -` goes back there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<String>,
}

/// The file of a worktree's state: a JSON object and, on the next line, its BLAKE3 hash in hex.
pub const STATE: &str = "state";

/// The state of a worktree cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the state of the worktree in `{}` is damaged: {why}", path.display())]
pub struct WorktreeError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong.
    pub why: String,
}

impl Failure for WorktreeError {
    fn kind(&self) -> Kind {
        Kind::Integrity
    }

    fn hint(&self) -> Option<String> {
        Some("`dvc fsck --rebuild` puts it aside; the worktree is then on the default branch".to_owned())
    }
}

/// One worktree of a repository.
pub struct Worktree {
    root: PathBuf,
    dir: PathBuf,
}

impl Repo {
    /// The state of the worktree whose canonical path is `root`.
    pub fn worktree(&self, root: &Path) -> Result<Worktree> {
        Ok(Worktree { root: root.to_path_buf(), dir: self.state_dir()?.join(folder(root)) })
    }

    /// All worktrees that were ever used with this repository.
    pub fn worktrees(&self) -> Result<Vec<WorktreeState>> {
        let states = self.worktree_states()?.into_iter().map(|(_, state)| state);
        let mut all = states.collect::<Result<Vec<_>>>()?;
        all.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(all)
    }

    /// The states of all worktrees with their folders' keys; for fsck, which goes on after damage.
    pub fn worktree_states(&self) -> Result<Vec<(String, Result<WorktreeState>)>> {
        let dir = self.state_dir()?.join(layout::WORKTREES);
        let mut all = Vec::new();
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            let key = format!("{}/{}", layout::WORKTREES, entry.file_name().to_string_lossy());
            match read_state(&entry.path().join(STATE)) {
                Ok(None) => {}
                Ok(Some(state)) => all.push((key, Ok(state))),
                Err(e) => all.push((key, Err(e))),
            }
        }
        all.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(all)
    }

    /// Moves the state in the folder `key` out of the way, to `state.damaged`.
    pub fn put_worktree_state_aside(&self, key: &str) -> Result<()> {
        let path = self.state_dir()?.join(key).join(STATE);
        let moved = fs::rename(&path, path.with_extension("damaged"));
        moved.map_err(|source| StoreError::Io { what: "move", key: format!("{key}/{STATE}"), source }.into())
    }
}

impl WorktreeState {
    /// Whether this is the state in the folder `key`. One whose path is not UTF-8 cannot be told.
    pub fn belongs_to(&self, key: &str) -> bool {
        self.path.contains(char::REPLACEMENT_CHARACTER) || key == folder(Path::new(&self.path))
    }
}

/// The key of a worktree's folder.
fn folder(root: &Path) -> String {
    format!("{}/{}", layout::WORKTREES, to_hex(&checksum(&[root.as_os_str().as_bytes()])[..8]))
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
        read_state(&self.dir.join(STATE))
    }

    /// The key of its stat cache.
    pub fn stat_key(&self) -> &[u8] {
        self.root.as_os_str().as_bytes()
    }

    /// Remembers, durably.
    pub fn save(&self, branch: Option<&RefName>, base: Option<&Id>) -> Result<()> {
        let before = self.state().ok().flatten();
        let branch = branch.map(|b| b.as_str().to_owned());
        let moved = before.as_ref().is_some_and(|before| before.branch != branch);
        let previous = before.clone().and_then(|b| if moved { b.branch.or(b.base) } else { b.previous });
        let path = self.root.to_string_lossy().into_owned();
        let state = WorktreeState { path, branch, base: base.map(ToString::to_string), previous };
        if before.as_ref() == Some(&state) {
            return Ok(());
        }
        let line = serde_json::to_string(&state).unwrap_or_default();
        self.write_file(STATE, format!("{line}\n{}\n", line_checksum(&line)).as_bytes())
    }

    /// Writes a file of this worktree's state so that a crash leaves the old or the new one.
    pub fn write_file(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let write = || -> std::io::Result<()> {
            make_durable(&self.dir)?;
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
            let bad = |why: String| WorktreeError { path: path.to_path_buf(), why };
            let line = checked_line(&bytes, "worktree state").map_err(|e| bad(e.why))?;
            Ok(Some(serde_json::from_str(line).map_err(|e| bad(e.to_string()))?))
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(StoreError::Io { what: "read", key: path.display().to_string(), source }.into()),
    }
}
