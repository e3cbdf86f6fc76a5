//! The mount that is the worktree of an operation.

use std::path::PathBuf;

use crate::error::Result;
use crate::model::entry::Totals;
use crate::model::id::Id;
use crate::mount::control::{ControlRequest, MountClient, MountFacts, MountNote, SnapshotInfo};
use crate::observe::Observer;
use crate::repo::Repo;
use crate::sys::mountinfo::Mounted;

/// The mount that contains the worktree of a context.
#[derive(Clone, Debug)]
pub struct InMount {
    /// The directory of control sockets and notes of mounts.
    pub run: PathBuf,
    /// The mount.
    pub mounted: Mounted,
    /// The note of the process that serves the mount.
    pub note: MountNote,
}

/// The current tree of a mount.
pub struct MountTree {
    /// The id of the tree.
    pub tree: Id,
    /// The totals of the tree.
    pub totals: Totals,
    /// The paths of sockets, which are not stored.
    pub skipped: Vec<Vec<u8>>,
}

impl InMount {
    /// Connects to the process that serves the mount.
    pub fn client(&self) -> Result<MountClient<'static>> {
        MountClient::connect(&self.run, &self.mounted)
    }

    /// Requests the facts of the mount.
    pub fn facts(&self) -> Result<MountFacts> {
        self.client()?.request(&ControlRequest::Facts)
    }

    /// Returns the current tree of the mount. Objects that are not in the repository are added to
    /// the memory of `repo`.
    pub fn look(
        &self,
        repo: &Repo,
        exclude: &[String],
        observer: &dyn Observer,
    ) -> Result<MountTree> {
        let cancelled = || observer.cancelled();
        let mut client = self.client()?.cancelled_by(&cancelled);
        // Writes that are still in the kernel would be missing in the snapshot of the daemon.
        client.flush_kernel()?;
        let info: SnapshotInfo = client.request(&ControlRequest::TakeSnapshot {
            store: false,
            exclude: exclude.to_vec(),
            ignored: false,
        })?;
        for (id, bytes) in client.receive_objects(info.objects)? {
            repo.volatile().put(id, bytes);
        }
        let (tree, totals) = tree_of(&info);
        Ok(MountTree {
            tree,
            totals,
            skipped: info.skipped,
        })
    }
}

/// Returns the tree of a snapshot, and its totals.
pub fn tree_of(info: &SnapshotInfo) -> (Id, Totals) {
    let totals = Totals {
        files: info.files,
        dirs: info.dirs,
        bytes: info.bytes,
    };
    // No tree has the zero id, so an invalid answer fails at the first read.
    (Id::parse(&info.tree).unwrap_or(Id([0; 32])), totals)
}
