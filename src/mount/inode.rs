//! What a mount knows of a node, and what it tells of it.

use std::sync::Arc;

use super::data::Data;
use super::space::Space;
use super::state::{Base, State};
use crate::model::entry::{Content, Entry, Meta, Node, Time, Totals};
use crate::model::id::Id;

/// The root directory.
pub const ROOT: u64 = 1;

/// A type of node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A symbolic link.
    Symlink,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
}

impl Kind {
    /// Of a stored node.
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

/// What `stat` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attr {
    /// Inode number.
    pub ino: u64,
    /// Type.
    pub kind: Kind,
    /// Permission bits.
    pub mode: u32,
    /// Names; of a directory, two and one for each directory in it.
    pub nlink: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Major and minor number of a device.
    pub rdev: (u32, u32),
    /// Length in bytes.
    pub size: u64,
    /// Bytes that are no holes.
    pub allocated: Allocated,
    /// Last read, as far as it is counted.
    pub atime: Time,
    /// Last change of content.
    pub mtime: Time,
    /// Last change of anything.
    pub ctime: Time,
}

/// How much of a file is no hole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Allocated {
    /// So many bytes.
    Bytes(u64),
    /// What a chunk list has, whose nodes have to be read for that, as far as it still counts, and more.
    List {
        /// The list.
        list: Id,
        /// Bytes of it at most.
        most: u64,
        /// Bytes that are in the upper file instead.
        less: u64,
        /// Bytes of the upper file.
        more: u64,
    },
}

impl Allocated {
    /// Of the first `kept` bytes of a content, of which `less` are in the upper file instead, with `more` bytes of that.
    pub fn of(content: &Content, kept: u64, less: u64, more: u64) -> Self {
        match content {
            Content::Inline(_) => Self::Bytes(kept.saturating_sub(less) + more),
            Content::Direct(extents) => {
                let data: u64 = extents.iter().filter(|x| x.chunk.is_some()).map(|x| x.len).sum();
                Self::Bytes(data.min(kept).saturating_sub(less) + more)
            }
            Content::List(list) => Self::List { list: *list, most: kept, less, more },
        }
    }

    /// With what the list has.
    pub fn resolved(self, data: u64) -> Self {
        match self {
            Self::List { most, less, more, .. } => Self::Bytes(data.min(most).saturating_sub(less) + more),
            known => known,
        }
    }
}

impl Attr {
    /// Of a node of a version that nobody has changed.
    pub fn of_entry(ino: u64, entry: &Entry) -> Self {
        let meta = &entry.meta;
        let size = match &entry.node {
            Node::File { size, .. } => *size,
            Node::Symlink { target } => target.len() as u64,
            _ => 0,
        };
        let allocated = match &entry.node {
            Node::File { size, content, .. } => Allocated::of(content, *size, 0, 0),
            _ => Allocated::Bytes(0),
        };
        let rdev = match entry.node {
            Node::CharDevice { major, minor } | Node::BlockDevice { major, minor } => (major, minor),
            _ => (0, 0),
        };
        Self {
            ino,
            kind: Kind::of(&entry.node),
            mode: meta.mode,
            nlink: entry.link.map_or(1, |l| l.count),
            uid: meta.uid,
            gid: meta.gid,
            rdev,
            size,
            allocated,
            atime: meta.mtime,
            mtime: meta.mtime,
            ctime: meta.mtime,
        }
    }
}

/// A node that was made or changed in the mount.
#[derive(Clone, Debug)]
pub struct Inode {
    /// Mode, owner, time, attributes.
    pub meta: Meta,
    /// Last read.
    pub atime: Time,
    /// Last change of anything.
    pub ctime: Time,
    /// Names of it; 0 once it is only open.
    pub nlink: u32,
    /// A directory that it has a name in, and that name.
    pub parent: u64,
    /// The name.
    pub name: Vec<u8>,
    /// Whether its owner is the version's, which a mount may show as somebody else.
    pub foreign: bool,
    /// What it is.
    pub what: What,
}

/// What an inode is.
#[derive(Clone, Debug)]
pub enum What {
    /// A regular file.
    File(Arc<Data>),
    /// A directory.
    Dir {
        /// The version's directory below; `None` for one that was made here.
        tree: Option<Id>,
        /// As what it was last committed, itself not counted.
        stored: Option<(Id, Totals)>,
    },
    /// A symbolic link and where it points.
    Symlink(Vec<u8>),
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A character device, major and minor.
    CharDevice(u32, u32),
    /// A block device, major and minor.
    BlockDevice(u32, u32),
}

impl Inode {
    /// A node of a version, about to be changed. `data`: the file, where it is open.
    pub fn of_entry(ino: u64, parent: u64, entry: &Entry, data: Option<Arc<Data>>, space: &Arc<Space>) -> Self {
        let what = match &entry.node {
            Node::File { size, chunker, content } => What::File(data.unwrap_or_else(|| {
                let base = Base { content: content.clone(), size: *size, chunker: *chunker };
                Arc::new(Data::new(ino, Arc::clone(space), State::of(Arc::new(base))))
            })),
            Node::Dir { tree, totals } => What::Dir { tree: Some(*tree), stored: Some((*tree, *totals)) },
            Node::Symlink { target } => What::Symlink(target.clone()),
            Node::Fifo => What::Fifo,
            Node::CharDevice { major, minor } => What::CharDevice(*major, *minor),
            Node::BlockDevice { major, minor } => What::BlockDevice(*major, *minor),
        };
        let (meta, nlink) = (entry.meta.clone(), entry.link.map_or(1, |l| l.count));
        let name = entry.name.clone();
        Self { atime: meta.mtime, ctime: meta.mtime, meta, nlink, parent, name, foreign: true, what }
    }

    /// Its type.
    pub fn kind(&self) -> Kind {
        match self.what {
            What::File(_) => Kind::File,
            What::Dir { .. } => Kind::Dir,
            What::Symlink(_) => Kind::Symlink,
            What::Fifo => Kind::Fifo,
            What::Socket => Kind::Socket,
            What::CharDevice(..) => Kind::CharDevice,
            What::BlockDevice(..) => Kind::BlockDevice,
        }
    }

    /// What `stat` says of it.
    pub fn attr(&self, ino: u64) -> Attr {
        Attr {
            ino,
            kind: self.kind(),
            mode: self.meta.mode,
            nlink: self.nlink,
            uid: self.meta.uid,
            gid: self.meta.gid,
            rdev: match self.what {
                What::CharDevice(major, minor) | What::BlockDevice(major, minor) => (major, minor),
                _ => (0, 0),
            },
            size: match &self.what {
                What::File(data) => data.size(),
                What::Symlink(target) => target.len() as u64,
                _ => 0,
            },
            allocated: match &self.what {
                What::File(data) => data.allocated(),
                _ => Allocated::Bytes(0),
            },
            atime: self.atime,
            mtime: self.meta.mtime,
            ctime: self.ctime,
        }
    }
}
