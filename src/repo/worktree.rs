//! The state of worktrees: HEAD, the version that was checked out, and incomplete restores.
//!
//! The state is in `worktrees/<hash of the canonical path>/` next to the catalogue, so that dvc
//! never writes into a directory of data. It cannot be derived from other data, so it is written
//! durably.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::handle::Repo;
use super::layout;
use crate::codec::hash::checksum;
use crate::error::{Failure, Kind, Result};
use crate::format::text::{checked_line, line_checksum};
use crate::model::id::{Id, to_hex};
use crate::model::refname::RefName;
use crate::store::local::make_durable;
use crate::sys::create;
use crate::sys::io_error::IoError;

/// The state of one worktree.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorktreeState {
    /// Canonical path, for display.
    pub path: String,
    /// Branch of HEAD; `None` means a detached HEAD.
    pub branch: Option<String>,
    /// Version that was last checked out or committed, in hex.
    pub base: Option<String>,
    /// Previous HEAD: a branch, or an id in hex. `checkout -` returns to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<String>,
}

/// A user who has checked out the worktree without the privileges to restore all properties.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RestoredBy {
    /// Owner of the files that this user has created.
    pub uid: u32,
    /// Group of the files that this user has created.
    pub gid: u32,
    /// Whether owners were not restored; if false, only xattrs and devices were not restored.
    pub owners: bool,
}

/// Name of the file with all [`RestoredBy`], in the same format as the state.
const RESTORED_BY: &str = "restored-by";

/// Name of the file with the state of a worktree: a JSON object and, on the next line, its BLAKE3
/// hash in hex.
pub const STATE: &str = "state";

/// The error for a damaged state of a worktree.
#[derive(Debug, thiserror::Error)]
#[error("the state of the worktree in `{}` is damaged: {why}", path.display())]
pub struct WorktreeError {
    pub path: PathBuf,
    pub why: String,
}

impl Failure for WorktreeError {
    fn kind(&self) -> Kind {
        Kind::Integrity
    }

    fn hint(&self) -> Option<String> {
        Some("run `dvc fsck --rebuild` to discard the state; the worktree is then on the default branch".to_owned())
    }
}

/// A worktree of a repository, whose state may not exist yet.
pub struct Worktree {
    root: PathBuf,
    dir: PathBuf,
}

impl Repo {
    /// Returns the directory that contains the states of all worktrees. Without a usable directory
    /// for local state, returns a path that does not exist.
    fn worktree_dir(&self) -> PathBuf {
        let state = self.locator.state.dir();
        state.map_or_else(|| self.path().join("no-state"), Path::to_path_buf)
    }

    /// Returns the worktree with the canonical path `root`.
    pub fn worktree(&self, root: &Path) -> Result<Worktree> {
        Ok(Worktree {
            root: root.to_path_buf(),
            dir: self.worktree_dir().join(folder(root)),
        })
    }

    /// Returns the states of all worktrees that were used with this repository, sorted by path.
    pub fn worktrees(&self) -> Result<Vec<WorktreeState>> {
        let states = self.worktree_states()?.into_iter().map(|(_, state)| state);
        let mut all = states.collect::<Result<Vec<_>>>()?;
        all.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(all)
    }

    /// Returns the key and the state of each worktree, or the error for a damaged state, so that
    /// the caller can continue after damage.
    pub fn worktree_states(&self) -> Result<Vec<(String, Result<WorktreeState>)>> {
        let dir = self.worktree_dir().join(layout::WORKTREES);
        let mut all = Vec::new();
        let failed = |source| IoError::new("read", &dir, source);
        let entries = match fs::read_dir(&dir) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(all),
            entries => entries.map_err(failed)?,
        };
        for entry in entries {
            let entry = entry.map_err(failed)?;
            let key = format!(
                "{}/{}",
                layout::WORKTREES,
                entry.file_name().to_string_lossy()
            );
            let restored_by = read_checked::<Vec<RestoredBy>>(&entry.path().join(RESTORED_BY));
            match (
                read_checked::<WorktreeState>(&entry.path().join(STATE)),
                restored_by,
            ) {
                (Ok(None), Ok(_)) => {}
                (Ok(Some(state)), Ok(_)) => all.push((key, Ok(state))),
                (Err(e), _) | (_, Err(e)) => all.push((key, Err(e))),
            }
        }
        all.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(all)
    }

    /// Discards the damaged state files under a key: renames each to `NAME.damaged`.
    pub fn discard_worktree_state(&self, key: &str) -> Result<()> {
        let dir = self.state_dir()?.join(key);
        let state = read_checked::<WorktreeState>(&dir.join(STATE)).err();
        let restored_by = read_checked::<Vec<RestoredBy>>(&dir.join(RESTORED_BY)).err();
        for (name, error) in [(STATE, state), (RESTORED_BY, restored_by)] {
            if error.is_some_and(|e| e.kind() == Kind::Integrity) {
                // The file is kept under another name, so that a user can examine its content.
                let moved = fs::rename(dir.join(name), dir.join(name).with_extension("damaged"));
                moved.map_err(|source| IoError::new("move", format!("{key}/{name}"), source))?;
            }
        }
        Ok(())
    }
}

impl WorktreeState {
    /// Returns whether this state belongs to the directory `key`. Returns true for a path that is
    /// not UTF-8, because the state contains only an approximation of it.
    pub fn belongs_to(&self, key: &str) -> bool {
        self.path.contains(char::REPLACEMENT_CHARACTER) || key == folder(Path::new(&self.path))
    }
}

/// Returns the key of the worktree `root`: the path of its state in the state directory.
fn folder(root: &Path) -> String {
    format!(
        "{}/{}",
        layout::WORKTREES,
        to_hex(&checksum(&[root.as_os_str().as_bytes()])[..8])
    )
}

impl Worktree {
    /// Returns the directory whose content is compared and committed.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Returns the name of the ref with the trash of this worktree: that of its folder.
    pub fn trash_name(&self) -> Result<RefName> {
        let name = self.dir.file_name().unwrap_or_default();
        Ok(RefName::new(&name.to_string_lossy())?)
    }

    /// Returns the directory for the state of this worktree, which may not exist yet.
    pub fn state_dir(&self) -> &Path {
        &self.dir
    }

    /// Returns the state, or `None` if the worktree was never used.
    pub fn state(&self) -> Result<Option<WorktreeState>> {
        read_checked(&self.dir.join(STATE))
    }

    /// Returns the key of this worktree in the stat cache.
    pub fn stat_key(&self) -> &[u8] {
        self.root.as_os_str().as_bytes()
    }

    /// Records the branch and the version of HEAD durably.
    pub fn save(&self, branch: Option<&RefName>, base: Option<&Id>) -> Result<()> {
        let before = self.state().ok().flatten();
        let branch = branch.map(|b| b.as_str().to_owned());
        let moved = before
            .as_ref()
            .is_some_and(|before| before.branch != branch);
        let previous = before.clone().and_then(|b| {
            if moved {
                b.branch.or(b.base)
            } else {
                b.previous
            }
        });
        let path = self.root.to_string_lossy().into_owned();
        let state = WorktreeState {
            path,
            branch,
            base: base.map(ToString::to_string),
            previous,
        };
        // Each write costs an fsync, so an unchanged state is not written again.
        if before.as_ref() == Some(&state) {
            return Ok(());
        }
        self.write_checked(STATE, &state)
    }

    /// Returns the users who have checked out the worktree without the privileges to restore all
    /// properties; empty if all properties were restored.
    pub fn restored_by(&self) -> Result<Vec<RestoredBy>> {
        Ok(read_checked(&self.dir.join(RESTORED_BY))?.unwrap_or_default())
    }

    /// Records a user who has checked out the worktree without the privileges to restore all
    /// properties.
    pub fn add_restored_by(&self, by: RestoredBy) -> Result<()> {
        let mut all = self.restored_by()?;
        if all.contains(&by) {
            return Ok(());
        }
        all.retain(|other| (other.uid, other.gid) != (by.uid, by.gid));
        all.push(by);
        self.write_checked(RESTORED_BY, &all)
    }

    /// Removes the record of such users, because all properties were restored.
    pub fn forget_restored_by(&self) -> Result<()> {
        let path = self.dir.join(RESTORED_BY);
        match fs::remove_file(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
            removed => Ok(removed.map_err(IoError::at("remove", &path))?),
        }
    }

    fn write_checked<T: Serialize>(&self, name: &str, value: &T) -> Result<()> {
        // Serialising strings and numbers cannot fail.
        let line = serde_json::to_string(value).unwrap_or_default();
        self.write_file(
            name,
            format!("{line}\n{}\n", line_checksum(&line)).as_bytes(),
        )
    }

    /// Removes a state file, if it exists.
    pub fn remove_file(&self, name: &str) -> Result<()> {
        match fs::remove_file(self.dir.join(name)) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                let key = format!("{}/{name}", layout::WORKTREES);
                Err(IoError::new("remove", key, source).into())
            }
            _ => Ok(()),
        }
    }

    /// Writes a state file atomically and durably.
    pub fn write_file(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let write = || -> std::io::Result<()> {
            // A crash must not remove the directory, and with it the file.
            make_durable(&self.dir)?;
            create::replace(&self.dir.join(name), bytes)
        };
        write().map_err(|source| {
            let key = format!("{}/{name}", layout::WORKTREES);
            IoError::new("write", key, source).into()
        })
    }
}

fn read_checked<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    match fs::read(path) {
        Ok(bytes) => {
            let bad = |why: String| WorktreeError {
                path: path.to_path_buf(),
                why,
            };
            let line = checked_line(&bytes, "worktree state").map_err(|e| bad(e.why))?;
            Ok(Some(
                serde_json::from_str(line).map_err(|e| bad(e.to_string()))?,
            ))
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(IoError::new("read", path, source).into()),
    }
}
