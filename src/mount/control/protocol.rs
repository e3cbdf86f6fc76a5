//! Requests of the control socket and their replies.

use serde::{Deserialize, Serialize};

/// The state of a mount.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
pub struct MountFacts {
    /// The version that the mount is based on; `None` if the mount shows several versions.
    pub version: Option<String>,
    /// The branch of the mount.
    pub branch: Option<String>,
    /// The tree of the last snapshot that was stored for a commit, whether confirmed or not.
    pub snapshot: Option<String>,
    /// Number of inodes that differ from the last commit.
    pub changed: u64,
    /// Number of bytes that were written since the last commit.
    pub dirty_bytes: u64,
    /// Bytes of the upper files on disk.
    pub overlay_bytes: u64,
    /// Bytes of the upper files that were only copied from the version. The next mount frees them,
    /// except for small amounts per file.
    #[serde(default)]
    pub spare_bytes: u64,
    /// Number of inodes in memory.
    pub known: u64,
    /// Number of open inodes.
    pub open: u64,
    /// Number of read requests.
    pub reads: u64,
    /// Bytes that were read.
    pub read_bytes: u64,
    /// Number of write requests.
    pub writes: u64,
    /// Bytes that were written.
    pub written_bytes: u64,
    /// Bytes that were received from the remote.
    pub fetched_bytes: u64,
    /// Number of requests to the remote.
    pub requests: u64,
    /// Bytes that hydration has copied to the overlay.
    pub hydrated_bytes: u64,
    /// Number of requests that failed because data could not be read or written.
    pub failed: u64,
}

/// A request to the process of a mount.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case")]
pub enum ControlRequest {
    /// Does nothing. A reply shows that the process works.
    Ping,
    /// Returns [`MountFacts`].
    Facts,
    /// Takes a snapshot for the next [`ControlRequest::TakeSnapshot`] on the same connection.
    /// Changes after the reply are not part of it.
    BeginSnapshot {
        /// As in [`ControlRequest::TakeSnapshot`].
        store: bool,
    },
    /// Returns the tree of a snapshot as [`SnapshotInfo`]. With `store`, the new objects are stored
    /// for a commit, which the client has to confirm with [`ControlRequest::EndSnapshot`] on the
    /// same connection. Otherwise, the new objects follow the reply.
    TakeSnapshot {
        /// Whether objects are stored.
        store: bool,
        /// Patterns of files to leave out.
        exclude: Vec<String>,
        /// Whether the tree also has the files that the ignore files of the mount leave out.
        ignored: bool,
    },
    /// Confirms that a snapshot has become a version.
    EndSnapshot {
        /// Id of the version.
        version: String,
        /// The new branch of the mount.
        branch: Option<String>,
        /// Whether the version contains the complete snapshot.
        whole: bool,
    },
    /// Switches the mount to another version.
    Switch {
        /// Id of the version.
        version: String,
        /// The new branch of the mount.
        branch: Option<String>,
        /// Whether to discard uncommitted changes. The client has moved them to the trash.
        force: bool,
        /// Number of the gc log before the client chose the version; `None` if it is unknown.
        #[serde(default)]
        gc_number: Option<u64>,
    },
    /// Returns the paths of files that are open for writing. The client flushes these files before
    /// a snapshot.
    Writers,
    /// Unmounts, so that the process flushes and exits.
    Stop {
        /// Whether to remove the overlay.
        discard: bool,
        /// Whether to delete the overlay instead of moving it to the trash.
        #[serde(default)]
        no_trash: bool,
    },
}

/// The reply to [`ControlRequest::TakeSnapshot`].
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct SnapshotInfo {
    /// Id of the tree.
    pub tree: String,
    /// Number of files in the tree.
    pub files: u64,
    /// Number of directories in the tree.
    pub dirs: u64,
    /// Total length of all files in bytes.
    pub bytes: u64,
    /// Uncompressed bytes of the new chunks.
    pub new_bytes: u64,
    /// Bytes that the new chunks take in packs.
    pub stored_bytes: u64,
    /// Paths that were left out, such as sockets.
    pub skipped: Vec<Vec<u8>>,
    /// Number of objects that follow the reply.
    pub objects: u64,
}

/// The reply to a request.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ControlReply<T> {
    /// The result.
    Done(T),
    /// The daemon could not serve the request.
    Failed {
        /// Name of the error kind.
        kind: String,
        message: String,
        /// An imperative phrase that says how to fix the error.
        hint: Option<String>,
    },
}
