//! Conversion between inodes and rows of the overlay database.

use std::sync::Arc;

use rusqlite::Row;

use crate::format::object::{decode_tree, encode_tree};
use crate::model::entry::{Chunker, Content, Entry, Meta, Node, Time, Totals};
use crate::model::id::Id;
use crate::model::tree::{TreeBody, TreeNode};
use crate::mount::file::{
    BLOCK, BaseFile, BlockSums, FileData, FileSeal, FileState, RangeSet, UpperFiles,
};
use crate::mount::names::{Inode, InodeBody, StoredDir};

pub(super) struct InodeRow {
    pub(super) node: Vec<u8>,
    pub(super) kind: u8,
    pub(super) nlink: u32,
    pub(super) parent: u64,
    pub(super) name: Vec<u8>,
    pub(super) has_version_owner: bool,
    pub(super) atime: Time,
    pub(super) ctime: Time,
    pub(super) size: u64,
    pub(super) kept: u64,
    /// Whether there is an upper file.
    pub(super) upper: bool,
    /// Whether the content differs from the last commit.
    pub(super) written: bool,
    /// Whether the upper file holds all bytes.
    pub(super) complete: bool,
    pub(super) changed: bool,
    pub(super) stored: Option<Vec<u8>>,
}

pub(super) fn num(n: u64) -> i64 {
    n.cast_signed()
}

pub(super) fn nat(row: &Row<'_>, at: usize) -> rusqlite::Result<u64> {
    row.get::<_, i64>(at).map(i64::cast_unsigned)
}

const SOCKET: u8 = 1;
/// Kind of a regular file or directory without a counterpart in the version.
const ALONE: u8 = 2;

pub(super) fn row_of(inode: &Inode, changed: bool) -> InodeRow {
    let (mut kind, mut facts, mut stored) = (0, None, None);
    let nothing = Id([0; 32]);
    let node = match &inode.what {
        InodeBody::File(data) => {
            let known = facts.insert(data.facts());
            match &known.base {
                Some(base) => Node::File {
                    size: base.size,
                    chunker: base.chunker,
                    content: base.content.clone(),
                },
                None => {
                    kind = ALONE;
                    Node::File {
                        size: 0,
                        chunker: Chunker::Cdc,
                        content: Content::Inline(Vec::new()),
                    }
                }
            }
        }
        InodeBody::Dir { tree, stored: last } => {
            kind = if tree.is_none() { ALONE } else { 0 };
            stored = last.as_ref().map(|last| last.tree.0.to_vec());
            Node::Dir {
                tree: tree.unwrap_or(nothing),
                totals: last.map_or(Totals::default(), |last| last.totals),
            }
        }
        InodeBody::Symlink(target) => Node::Symlink {
            target: target.clone(),
        },
        InodeBody::Fifo => Node::Fifo,
        InodeBody::Socket => {
            kind = SOCKET;
            Node::Fifo
        }
        InodeBody::CharDevice(major, minor) => Node::CharDevice {
            major: *major,
            minor: *minor,
        },
        InodeBody::BlockDevice(major, minor) => Node::BlockDevice {
            major: *major,
            minor: *minor,
        },
    };
    let entry = Entry {
        // Use a placeholder, because the root has an empty name, which a tree cannot contain. The
        // column `own_name` has the name.
        name: b"-".to_vec(),
        meta: inode.meta.clone(),
        link: None,
        node,
    };
    InodeRow {
        node: encode_tree(&TreeNode {
            root: None,
            body: TreeBody::Leaf(vec![entry]),
        }),
        kind,
        nlink: inode.nlink,
        parent: inode.parent,
        name: inode.name.clone(),
        has_version_owner: inode.has_version_owner,
        atime: inode.atime,
        ctime: inode.ctime,
        size: facts.as_ref().map_or(0, |f| f.size),
        kept: facts.as_ref().map_or(0, |f| f.kept),
        upper: facts.as_ref().is_some_and(|f| f.has_upper),
        written: facts.as_ref().is_some_and(|f| f.changed),
        complete: facts.as_ref().is_some_and(|f| f.complete),
        changed,
        stored,
    }
}

impl InodeRow {
    pub(super) fn inode(
        self,
        ino: u64,
        space: &Arc<UpperFiles>,
        dirty: RangeSet,
        clean: bool,
        seal: Option<(FileSeal, BlockSums)>,
    ) -> Option<Inode> {
        let TreeBody::Leaf(mut entries) = decode_tree(&self.node).ok()?.body else {
            return None;
        };
        let entry = entries.pop()?;
        let what = match entry.node {
            Node::File {
                size,
                chunker,
                content,
            } => {
                let base = (self.kind != ALONE).then(|| {
                    Arc::new(BaseFile {
                        content,
                        size,
                        chunker,
                    })
                });
                let untouched =
                    |base: Option<Arc<BaseFile>>| base.map_or_else(FileState::empty, FileState::of);
                // An upper file is made durable before its row is written, and removed only after
                // its row has been removed. A missing file is therefore damage.
                let found = match self.upper.then(|| std::fs::metadata(space.path(ino))) {
                    None => None,
                    Some(Err(e)) if e.kind() == std::io::ErrorKind::NotFound => {
                        Some(Err("missing".to_owned()))
                    }
                    Some(Err(e)) => Some(Err(e.to_string())),
                    Some(Ok(meta)) => {
                        match seal.as_ref().and_then(|(seal, _)| seal.mismatch(&meta)) {
                            Some(why) => Some(Err(why)),
                            None => Some(Ok(meta)),
                        }
                    }
                };
                let copies = |base: &BaseFile| {
                    dirty.is_empty()
                        && !self.written
                        && self.size == base.size
                        && self.kept == base.size
                };
                let is_sealed = seal.is_some() && self.upper;
                let state = match found {
                    None => untouched(base),
                    // Nothing is lost if the upper file had only blocks copied from the version.
                    Some(Err(_)) if base.as_deref().is_some_and(copies) => {
                        let data = FileData::new(ino, Arc::clone(space), untouched(base));
                        return Some(self.with(entry.meta, InodeBody::File(Arc::new(data))));
                    }
                    Some(Err(why)) => {
                        let size = seal.as_ref().map_or(self.size, |(seal, _)| seal.size);
                        let mut state =
                            FileState::with_upper(base, self.kept.min(size), size, dirty, true);
                        state.damage = Some(why.into());
                        state
                    }
                    Some(Ok(meta)) => {
                        let now = meta.len();
                        let kept = self.kept.min(now);
                        let mut dirty = dirty;
                        dirty.remove(kept.div_ceil(BLOCK)..u64::MAX);
                        // After a crash, the length may be newer than the row, which says that the
                        // file was written.
                        let written = self.written || now != self.size || !dirty.is_empty();
                        let mut state = FileState::with_upper(base, kept, now, dirty, written);
                        state.counted_bytes = std::os::unix::fs::MetadataExt::blocks(&meta) * 512;
                        let known =
                            seal.and_then(|(seal, sums)| seal.sums.is_some().then_some(sums));
                        state.sums = Arc::new(known.unwrap_or_else(BlockSums::unknown));
                        // After a crash the upper file may hold written blocks that are not
                        // recorded as dirty. If the file counted as complete, these blocks would be
                        // taken for copies of the version's blocks, and a commit would leave them
                        // out.
                        if self.complete && clean {
                            state.with_all_local()
                        } else {
                            state
                        }
                    }
                };
                let data = FileData::new(ino, Arc::clone(space), state);
                data.set_sealed(is_sealed);
                InodeBody::File(Arc::new(data))
            }
            Node::Dir { tree, totals } => {
                let id = self
                    .stored
                    .as_deref()
                    .and_then(|s| <[u8; 32]>::try_from(s).ok())
                    .map(Id);
                InodeBody::Dir {
                    tree: (self.kind != ALONE).then_some(tree),
                    stored: id.map(|tree| StoredDir { tree, totals }),
                }
            }
            Node::Symlink { target } => InodeBody::Symlink(target),
            Node::Fifo if self.kind == SOCKET => InodeBody::Socket,
            Node::Fifo => InodeBody::Fifo,
            Node::CharDevice { major, minor } => InodeBody::CharDevice(major, minor),
            Node::BlockDevice { major, minor } => InodeBody::BlockDevice(major, minor),
        };
        Some(self.with(entry.meta, what))
    }

    fn with(self, meta: Meta, what: InodeBody) -> Inode {
        Inode {
            meta,
            atime: self.atime,
            ctime: self.ctime,
            nlink: self.nlink,
            parent: self.parent,
            name: self.name,
            has_version_owner: self.has_version_owner,
            what,
        }
    }
}
