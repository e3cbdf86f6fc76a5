//! Operations on names: lookup, create, link, remove, rename and list.

use std::sync::Arc;

use super::acl;
use super::listing::DirListing;
use super::shared::{Caller, View};
use crate::model::entry::Meta;
use crate::mount::errno::{Errno, FsResult};
use crate::mount::file::{AllocatedBytes, FileData, FileState, UpperFiles};
use crate::mount::names::{
    EntryRef, InodeBody, LookupStop, NameTable, NodeAttr, NodeKind, RenameMode, position,
};
use crate::sys::clock::stamp_now;

const SETGID: u32 = 0o2000;
/// Limit on the changed directories whose listings are cached.
const KEPT: usize = 8;

/// A node to create.
#[derive(Clone, Copy, Debug)]
pub enum NewNode<'n> {
    /// An empty file.
    File,
    /// An empty directory.
    Dir,
    /// A symbolic link with this target.
    Symlink(&'n [u8]),
    /// A pipe, a socket, or a device with its major and minor number.
    Special(NodeKind, u32, u32),
}

impl NewNode<'_> {
    fn node(self, ino: u64, space: &Arc<UpperFiles>) -> InodeBody {
        match self {
            Self::File => InodeBody::File(Arc::new(FileData::new(
                ino,
                Arc::clone(space),
                FileState::empty(),
            ))),
            Self::Dir => InodeBody::Dir {
                tree: None,
                stored: None,
            },
            Self::Symlink(target) => InodeBody::Symlink(target.to_vec()),
            Self::Special(NodeKind::CharDevice, major, minor) => {
                InodeBody::CharDevice(major, minor)
            }
            Self::Special(NodeKind::BlockDevice, major, minor) => {
                InodeBody::BlockDevice(major, minor)
            }
            Self::Special(NodeKind::Socket, ..) => InodeBody::Socket,
            Self::Special(..) => InodeBody::Fifo,
        }
    }
}

impl View {
    /// Returns the attributes of an inode.
    pub fn attr(&self, ino: u64) -> FsResult<NodeAttr> {
        self.query(|n| n.attr(ino).map(|attr| self.as_shown(n, attr)))
            .map(|attr| self.with_allocated(attr))
    }

    /// Looks up a name. The kernel then holds a reference to the inode. Returns `None` if the name
    /// does not exist.
    pub fn lookup(&self, parent: u64, name: &[u8]) -> FsResult<Option<NodeAttr>> {
        self.query(|n| {
            let ino = match name {
                b"." => Some(parent),
                b".." => Some(n.parent(parent)?),
                _ => n.find(parent, name)?,
            };
            let Some(ino) = ino else { return Ok(None) };
            let attr = n.attr(ino)?;
            n.add_lookup(ino);
            Ok(Some(self.as_shown(n, attr)))
        })
        .map(|found| found.map(|attr| self.with_allocated(attr)))
    }

    /// Releases references of the kernel to an inode.
    pub fn forget(&self, ino: u64, times: u64) {
        let mut names = self.names();
        let gone = names.forget(ino, times);
        let pending = names.has_pending();
        drop(names);
        self.drop_file(gone);
        if pending {
            self.dirty.raise();
        }
    }

    /// Returns the target of a symbolic link.
    pub fn readlink(&self, ino: u64) -> FsResult<Vec<u8>> {
        self.query(|n| {
            Ok(n.with_meta(ino, |_, target| target.map(<[u8]>::to_vec))?
                .ok_or(Errno::INVAL)?)
        })
    }

    /// Returns the metadata of a new node. The node inherits the group of a directory with the
    /// set-group-ID bit, and the default ACL of its directory.
    fn fresh(
        &self,
        names: &mut NameTable,
        parent: u64,
        caller: Caller,
        mode: u32,
        what: NewNode<'_>,
    ) -> Result<Meta, LookupStop> {
        let dir = matches!(what, NewNode::Dir);
        let above = names.attr(parent)?;
        let mut meta = Meta {
            mode: mode & 0o7777,
            uid: caller.uid,
            gid: caller.gid,
            mtime: stamp_now(),
            xattrs: Vec::new(),
        };
        if above.mode & SETGID != 0 {
            meta.gid = self.as_shown(names, above).gid;
            if dir {
                meta.mode |= SETGID;
            }
        }
        if !matches!(what, NewNode::Symlink(_)) {
            match names.with_meta(parent, |above, _| acl::default_of(above))? {
                Some(list) => acl::inherit(&mut meta, list, dir),
                None => meta.mode &= !caller.umask,
            }
        }
        Ok(meta)
    }

    /// Creates a node and returns its attributes. The kernel then holds a reference to the inode.
    pub fn make(
        &self,
        caller: Caller,
        parent: u64,
        name: &[u8],
        mode: u32,
        what: NewNode<'_>,
    ) -> FsResult<NodeAttr> {
        let _barrier = self.begin_change()?;
        self.query(|n| {
            let meta = self.fresh(n, parent, caller, mode, what)?;
            let ino = n.make(parent, name, meta, |ino, space| what.node(ino, space))?;
            n.add_lookup(ino);
            n.attr(ino)
        })
    }

    /// Adds a hard link.
    pub fn link(&self, ino: u64, parent: u64, name: &[u8]) -> FsResult<NodeAttr> {
        let _barrier = self.begin_change()?;
        self.query(|n| {
            n.link(ino, parent, name)?;
            n.add_lookup(ino);
            n.attr(ino).map(|attr| self.as_shown(n, attr))
        })
        .map(|attr| self.with_allocated(attr))
    }

    /// Removes a name. `dir` is whether the caller expects a directory.
    pub fn remove(&self, parent: u64, name: &[u8], dir: bool) -> FsResult<()> {
        let _barrier = self.begin_change()?;
        let gone = self.query(|n| n.remove(parent, name, dir))?;
        self.drop_file(gone);
        Ok(())
    }

    /// Renames a node.
    pub fn rename(&self, from: EntryRef<'_>, to: EntryRef<'_>, how: RenameMode) -> FsResult<()> {
        let _barrier = self.begin_change()?;
        if how == RenameMode::Replace {
            // A file that replaces another one must be as durable as the old one, so its bytes are
            // synced before the new name is.
            let moved = self.query(|n| {
                let (Some(ino), Some(_)) =
                    (n.find(from.parent, from.name)?, n.find(to.parent, to.name)?)
                else {
                    return Ok(None);
                };
                Ok(n.upper()
                    .inodes
                    .get(&ino)
                    .and_then(|inode| inode.data().cloned()))
            })?;
            moved.inspect(|data| data.require_sync_first());
        }
        let gone = self.query(|n| n.rename(from, to, how))?;
        self.drop_file(gone);
        Ok(())
    }
}

/// An entry of a listing.
pub struct DirItem<'i> {
    pub name: &'i [u8],
    /// Inode number.
    pub ino: u64,
    /// Type of the node.
    pub kind: NodeKind,
    /// The attributes, if requested. `.` and `..` have none.
    pub attr: Option<NodeAttr>,
    /// Position from which to continue after the entry.
    pub next: u64,
}

impl View {
    /// Returns the names of a directory for a listing that continues at a position.
    fn listing(&self, ino: u64, from: u64) -> FsResult<Arc<DirListing>> {
        let kept = || self.listings.lock();
        // A listing that starts again must show the current names.
        if from > 0
            && let Some((_, listing)) = kept().iter().find(|(of, _)| *of == ino)
        {
            return Ok(Arc::clone(listing));
        }
        let listing = self.query(|n| match n.unchanged_dir(ino)? {
            Some(dir) => Ok(Arc::new(DirListing::Plain(dir))),
            None => Ok(Arc::new(DirListing::Merged(
                n.list(ino)?,
                n.lower_dir(ino)?,
            ))),
        })?;
        let mut kept = kept();
        kept.retain(|(of, _)| *of != ino);
        if matches!(*listing, DirListing::Merged(..)) {
            if kept.len() == KEPT {
                kept.pop_front();
            }
            kept.push_back((ino, Arc::clone(&listing)));
        }
        Ok(listing)
    }

    /// Forgets all cached listings.
    pub(super) fn clear_listings(&self) {
        self.listings.lock().clear();
    }

    /// Passes the entries after the position `from` to `take`, until `take` returns false. With
    /// `attrs`, the kernel then holds a reference to the inode of each entry that was taken.
    pub fn list(
        &self,
        ino: u64,
        from: u64,
        attrs: bool,
        take: &mut dyn FnMut(DirItem<'_>) -> bool,
    ) -> FsResult<()> {
        let listing = self.listing(ino, from)?;
        let mut at = from;
        for (n, name) in [b".".as_slice(), b".."]
            .into_iter()
            .enumerate()
            .skip(usize::try_from(at.min(2)).unwrap_or(2))
        {
            let number = if n == 0 {
                ino
            } else {
                // A retired directory has no parent any more.
                self.names().parent(ino).unwrap_or(ino)
            };
            if !take(DirItem {
                name,
                ino: number,
                kind: NodeKind::Dir,
                attr: None,
                next: n as u64 + 1,
            }) {
                return Ok(());
            }
            at = n as u64 + 1;
        }
        let mut names = self.names();
        for index in listing.behind(at)..listing.len() {
            let (name, number, mut kind, next) = match &*listing {
                DirListing::Plain(dir) => {
                    let entry = &dir[index];
                    let number = match names.ino_at(ino, entry) {
                        Ok(number) => number,
                        Err(LookupStop::Errno(e)) => return Err(e),
                        // Unreachable: the listing keeps the directory in memory.
                        Err(LookupStop::Unread(_)) => return Err(Errno::IO),
                    };
                    (
                        &entry.name,
                        number,
                        NodeKind::of(&entry.node),
                        position(index),
                    )
                }
                DirListing::Merged(all, _) => (
                    &all[index].name,
                    all[index].ino,
                    all[index].kind,
                    all[index].at,
                ),
            };
            let mut attr = None;
            if attrs {
                // With attributes, the kernel caches the entry as existing, so it must exist in the
                // name table.
                let known = match names.find(ino, name) {
                    Ok(Some(found)) if found == number => names.attr(number),
                    Ok(_) => continue,
                    Err(e) => Err(e),
                };
                match known {
                    Ok(mut known) => {
                        kind = known.kind;
                        // Use only known chunk lists: reading those of a thousand files would be
                        // slow, and few of their attributes are used.
                        if let AllocatedBytes::List { list, .. } = known.allocated
                            && let Some(data) = self.lower.known_allocated(&list)
                        {
                            known.allocated = known.allocated.resolved(data);
                        }
                        attr = Some(self.as_shown(&names, known));
                    }
                    // Skip a name that was removed in the meantime.
                    Err(LookupStop::Errno(Errno::NOENT | Errno::STALE)) => continue,
                    Err(LookupStop::Errno(e)) => return Err(e),
                    Err(LookupStop::Unread(_)) => return Err(Errno::IO),
                }
            }
            if !take(DirItem {
                name,
                ino: number,
                kind,
                attr,
                next,
            }) {
                return Ok(());
            }
            if attrs {
                names.add_lookup(number);
            }
        }
        Ok(())
    }
}
