//! The attributes of a node, as `stat` returns them.

use crate::model::entry::{Entry, Node, Time};
use crate::mount::file::AllocatedBytes;

/// Inode number of the root directory.
pub const ROOT_INO: u64 = 1;

/// The type of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeKind {
    File,
    Dir,
    Symlink,
    Fifo,
    Socket,
    CharDevice,
    BlockDevice,
}

impl NodeKind {
    /// Returns the type of a node of a version.
    pub fn of(node: &Node) -> Self {
        match node {
            Node::File { .. } => Self::File,
            Node::Dir { .. } => Self::Dir,
            Node::Symlink { .. } => Self::Symlink,
            Node::Fifo => Self::Fifo,
            Node::CharDevice { .. } => Self::CharDevice,
            Node::BlockDevice { .. } => Self::BlockDevice,
        }
    }
}

/// The attributes of a node, as `stat` returns them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeAttr {
    /// Inode number.
    pub ino: u64,
    /// Type of the node.
    pub kind: NodeKind,
    /// Permission bits.
    pub mode: u32,
    /// Number of hard links; for a directory, two plus the number of its subdirectories.
    pub nlink: u32,
    /// User id of the owner.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Major and minor number of a device.
    pub rdev: (u32, u32),
    /// Length in bytes.
    pub size: u64,
    /// Allocated bytes.
    pub allocated: AllocatedBytes,
    /// Time of the last recorded read.
    pub atime: Time,
    /// Time of the last change of the content.
    pub mtime: Time,
    /// Time of the last change of the content or the metadata.
    pub ctime: Time,
}

impl NodeAttr {
    /// Returns the attributes of an unchanged node of a version. The caller sets `nlink` of a
    /// directory.
    pub fn of_entry(ino: u64, entry: &Entry) -> Self {
        let meta = &entry.meta;
        let size = match &entry.node {
            Node::File { size, .. } => *size,
            Node::Symlink { target } => target.len() as u64,
            _ => 0,
        };
        let allocated = match &entry.node {
            Node::File { size, content, .. } => AllocatedBytes::of(content, *size, 0, 0),
            _ => AllocatedBytes::Bytes(0),
        };
        let rdev = match entry.node {
            Node::CharDevice { major, minor } | Node::BlockDevice { major, minor } => {
                (major, minor)
            }
            _ => (0, 0),
        };
        Self {
            ino,
            kind: NodeKind::of(&entry.node),
            mode: meta.mode,
            nlink: entry.link.map_or(1, |l| l.count),
            uid: meta.uid,
            gid: meta.gid,
            rdev,
            size,
            allocated,
            // A version contains only the modification time.
            atime: meta.mtime,
            mtime: meta.mtime,
            ctime: meta.mtime,
        }
    }
}
