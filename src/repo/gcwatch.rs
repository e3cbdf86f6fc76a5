//! Recognises that a garbage collection has moved or deleted objects while a command copied them.

use super::Repo;
use super::writer::CollectedError;
use crate::error::{Kind, Result, with_causes};

/// The gc logs of repositories, as a command has read them at its start.
pub struct GcWatch<'r> {
    logs: Vec<(&'r Repo, u64)>,
}

impl<'r> GcWatch<'r> {
    /// Watches repositories whose gc logs the caller has just read.
    pub fn begin(repos: impl IntoIterator<Item = &'r Repo>) -> Self {
        Self {
            logs: repos
                .into_iter()
                .map(|repo| (repo, repo.gc_state().number))
                .collect(),
        }
    }

    /// Returns whether one of the logs has moved. On a remote, a gc may also delete packs that an
    /// earlier one marked as dead, which replaces segments of the index.
    pub fn has_moved(&self) -> bool {
        self.logs.iter().any(|(repo, number)| {
            let has_new_index =
                repo.remote_store().is_some() && repo.has_new_index().unwrap_or(false);
            let has_moved = repo
                .read_gc_log()
                .is_ok_and(|state| state.number != *number);
            has_new_index || has_moved
        })
    }

    /// Turns an error about missing data into one that
    /// [`is_collected`](super::writer::is_collected) accepts, if one of the logs has moved. The
    /// caller then starts again.
    pub fn explain<T>(&self, result: Result<T>) -> Result<T> {
        result.map_err(|e| {
            if e.kind() == Kind::Integrity && self.has_moved() {
                CollectedError::Moved {
                    detail: with_causes(e.as_error()),
                }
                .into()
            } else {
                e
            }
        })
    }
}
