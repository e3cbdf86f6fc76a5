//! An inode that the mount has created or changed.

use std::sync::Arc;

use super::attr::{NodeAttr, NodeKind};
use crate::model::entry::{Entry, Meta, Node, Time, Totals};
use crate::model::id::Id;
use crate::mount::file::{AllocatedBytes, BaseFile, FileData, FileState, UpperFiles};

/// An inode that the mount has created or changed.
#[derive(Clone, Debug)]
pub struct Inode {
    /// Mode, owner, modification time and xattrs.
    pub meta: Meta,
    /// Time of the last recorded read.
    pub atime: Time,
    /// Time of the last change of the content or the metadata.
    pub ctime: Time,
    /// Number of hard links; 0 if the inode has no name any more, but is still in use.
    pub nlink: u32,
    /// A directory in which the inode has a name.
    pub parent: u64,
    /// The name in that directory.
    pub name: Vec<u8>,
    /// Whether the owner is still that of the version. Only then does `--map-owner` apply.
    pub has_version_owner: bool,
    /// The type-specific part.
    pub what: InodeBody,
}

/// The type-specific part of an inode.
#[derive(Clone, Debug)]
pub enum InodeBody {
    /// A regular file.
    File(Arc<FileData>),
    /// A directory.
    Dir {
        /// The tree of the version, or `None` for a directory that the mount has created.
        tree: Option<Id>,
        /// The directory as the last snapshot stored it.
        stored: Option<StoredDir>,
    },
    /// A symbolic link with its target.
    Symlink(Vec<u8>),
    /// A named pipe.
    Fifo,
    Socket,
    /// A character device with its major and minor number.
    CharDevice(u32, u32),
    /// A block device with its major and minor number.
    BlockDevice(u32, u32),
}

/// A directory as a version or a snapshot has stored it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredDir {
    /// The tree of the directory.
    pub tree: Id,
    /// Counts of everything below the directory, without the directory itself.
    pub totals: Totals,
}

impl Inode {
    /// Creates an inode from a node of the version that is about to change. `data` is the file if
    /// it is already open. The caller sets `nlink` of a directory.
    pub fn of_entry(
        ino: u64,
        parent: u64,
        entry: &Entry,
        data: Option<Arc<FileData>>,
        space: &Arc<UpperFiles>,
    ) -> Self {
        let what = match &entry.node {
            Node::File {
                size,
                chunker,
                content,
            } => InodeBody::File(data.unwrap_or_else(|| {
                let base = BaseFile {
                    content: content.clone(),
                    size: *size,
                    chunker: *chunker,
                };
                Arc::new(FileData::new(
                    ino,
                    Arc::clone(space),
                    FileState::of(Arc::new(base)),
                ))
            })),
            Node::Dir { tree, totals } => InodeBody::Dir {
                tree: Some(*tree),
                stored: Some(StoredDir {
                    tree: *tree,
                    totals: *totals,
                }),
            },
            Node::Symlink { target } => InodeBody::Symlink(target.clone()),
            Node::Fifo => InodeBody::Fifo,
            Node::CharDevice { major, minor } => InodeBody::CharDevice(*major, *minor),
            Node::BlockDevice { major, minor } => InodeBody::BlockDevice(*major, *minor),
        };
        let (meta, nlink) = (entry.meta.clone(), entry.link.map_or(1, |l| l.count));
        let name = entry.name.clone();
        Self {
            atime: meta.mtime,
            ctime: meta.mtime,
            meta,
            nlink,
            parent,
            name,
            has_version_owner: true,
            what,
        }
    }

    /// Returns the bytes of a regular file.
    pub fn data(&self) -> Option<&Arc<FileData>> {
        match &self.what {
            InodeBody::File(data) => Some(data),
            _ => None,
        }
    }

    /// Returns the type of the node.
    pub fn kind(&self) -> NodeKind {
        match self.what {
            InodeBody::File(_) => NodeKind::File,
            InodeBody::Dir { .. } => NodeKind::Dir,
            InodeBody::Symlink(_) => NodeKind::Symlink,
            InodeBody::Fifo => NodeKind::Fifo,
            InodeBody::Socket => NodeKind::Socket,
            InodeBody::CharDevice(..) => NodeKind::CharDevice,
            InodeBody::BlockDevice(..) => NodeKind::BlockDevice,
        }
    }

    /// Returns the attributes, as `stat` returns them.
    pub fn attr(&self, ino: u64) -> NodeAttr {
        NodeAttr {
            ino,
            kind: self.kind(),
            mode: self.meta.mode,
            nlink: self.nlink,
            uid: self.meta.uid,
            gid: self.meta.gid,
            rdev: match self.what {
                InodeBody::CharDevice(major, minor) | InodeBody::BlockDevice(major, minor) => {
                    (major, minor)
                }
                _ => (0, 0),
            },
            size: match &self.what {
                InodeBody::File(data) => data.size(),
                InodeBody::Symlink(target) => target.len() as u64,
                _ => 0,
            },
            allocated: match &self.what {
                InodeBody::File(data) => data.allocated(),
                _ => AllocatedBytes::Bytes(0),
            },
            atime: self.atime,
            mtime: self.meta.mtime,
            ctime: self.ctime,
        }
    }
}
