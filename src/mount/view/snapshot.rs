//! Snapshots: at one moment, while the write barrier keeps changes out, names are copied and
//! changed files are frozen.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::shared::View;
use crate::error::Result;
use crate::model::entry::Totals;
use crate::model::id::Id;
use crate::mount::error::MountError;
use crate::mount::file::{BaseFile, FrozenFile};
use crate::mount::names::{DirResult, UpperTree};

/// The state of a mount at one moment.
pub struct MountSnapshot {
    pub(in crate::mount) upper: UpperTree,
    pub(in crate::mount) changed: HashSet<u64>,
    pub(in crate::mount) files: HashMap<u64, Arc<FrozenFile>>,
}

/// The stored form of a snapshot.
pub struct SnapshotTree {
    /// The tree of the root.
    pub tree: Id,
    /// Counts of everything below the root.
    pub totals: Totals,
    /// Re-chunked files by inode number.
    pub(in crate::mount) files: HashMap<u64, Arc<BaseFile>>,
    /// Rebuilt directories.
    pub(in crate::mount) dirs: Vec<DirResult>,
    /// Changed inodes that the tree does not contain.
    pub(in crate::mount) left: HashSet<u64>,
}

impl View {
    /// Takes a snapshot, and preserves its state until [`Self::end_snapshot`]. A snapshot to
    /// `commit` is refused while the kernel may write to a file directly.
    pub fn begin_snapshot(&self, commit: bool) -> Result<MountSnapshot> {
        let _barrier = self.write_barrier.write();
        if commit && let Some((ino, user)) = self.kernel_writer() {
            let file = self.shown_path(ino);
            return Err(MountError::PassthroughWriter { file, user }.into());
        }
        let mut names = self.names();
        let changed = names.begin_commit();
        let upper = names.upper().clone();
        let mut files = HashMap::new();
        for (ino, inode) in &upper.inodes {
            if let Some(data) = inode
                .data()
                .filter(|data| inode.nlink > 0 && data.is_changed())
            {
                files.insert(*ino, data.freeze());
            }
        }
        Ok(MountSnapshot {
            upper,
            changed,
            files,
        })
    }

    /// Ends a snapshot. `taken` is its stored form, or `None` if it was not committed.
    pub fn end_snapshot(&self, snapshot: &MountSnapshot, taken: Option<&SnapshotTree>) {
        let _barrier = self.write_barrier.write();
        for ino in snapshot.files.keys() {
            if let Some(data) = snapshot
                .upper
                .inodes
                .get(ino)
                .and_then(|inode| inode.data())
            {
                data.thaw(taken.and_then(|taken| taken.files.get(ino)).cloned());
                data.take_store_outdated();
                self.note_unsynced(data);
            }
        }
        let mut names = self.names();
        if let Some(taken) = taken {
            names.set_stored_dirs(&taken.dirs);
        }
        // If the snapshot was not committed, all its inodes stay changed. Otherwise only those stay
        // changed that the tree does not contain, for example because an ignore rule excludes them.
        let left = snapshot
            .changed
            .iter()
            .filter(|ino| taken.is_none_or(|t| t.left.contains(ino)));
        names.end_commit(left.copied());
        names.mark_unstored(snapshot.files.keys().copied());
        self.dirty.raise();
    }
}
