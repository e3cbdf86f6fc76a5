//! Operations that change names: create, link, remove and rename.
//!
//! An operation looks up all directories that it needs before it changes anything, because a lookup
//! can fail with [`LookupStop::Unread`] and the caller then repeats the operation.

use std::sync::Arc;

use super::attr::NodeKind;
use super::entry::{EntryName, EntryRef};
use super::inode::{Inode, InodeBody};
use super::table::{Lookup, NameTable};
use crate::model::entry::{Meta, Time};
use crate::mount::errno::Errno;
use crate::mount::file::{FileData, UpperFiles};
use crate::sys::clock::stamp_now;

/// Largest number of hard links of an inode, as in ext4.
const LINKS_MAX: u32 = 65_000;

/// How a rename treats an existing target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RenameMode {
    /// The target is replaced.
    Replace,
    /// The target must not exist.
    NoReplace,
    /// Source and target are exchanged.
    Exchange,
}

impl NameTable {
    pub(super) fn set_name(&mut self, parent: u64, name: &[u8], ino: Option<u64>) {
        let names = Arc::make_mut(self.upper.names.entry(parent).or_default());
        if let Some(all) = names
            .get(name)
            .copied()
            .flatten()
            .and_then(|before| self.hard_links.get_mut(&before))
        {
            all.remove(&EntryRef::new(parent, name).to_owned());
        }
        if let Some(all) = ino.and_then(|ino| self.hard_links.get_mut(&ino)) {
            all.insert(EntryRef::new(parent, name).to_owned());
        }
        match ino {
            Some(ino) => names.insert(name.to_vec(), Some(ino)),
            None => {
                // A name that the version lacks needs no record of its removal.
                let below = match self.upper.inodes.get(&parent).map(|i| &i.what) {
                    Some(InodeBody::Dir { tree, .. }) => {
                        tree.and_then(|tree| self.lower.known_dir(&tree))
                    }
                    _ => None,
                };
                let made_here = matches!(
                    self.upper.inodes.get(&parent).map(|i| &i.what),
                    Some(InodeBody::Dir { tree: None, .. })
                );
                let is_below = below.map(|dir| {
                    dir.binary_search_by(|e| e.name.as_slice().cmp(name))
                        .is_ok()
                });
                // If the directory of the version is not in memory, the version may have the name.
                if is_below.unwrap_or(!made_here) {
                    names.insert(name.to_vec(), None)
                } else {
                    names.remove(name)
                }
            }
        };
        self.pending
            .names
            .insert(EntryRef::new(parent, name).to_owned());
    }

    /// Adds `more` to the number of subdirectories of a directory.
    pub(super) fn add_subdirs(&mut self, dir: u64, more: i32) -> Lookup<()> {
        if more != 0 {
            let inode = self.change(dir)?;
            inode.nlink = inode.nlink.saturating_add_signed(more);
        }
        Ok(())
    }

    /// Sets the modification and change time of a directory after one of its names has changed.
    pub(super) fn touch_dir(&mut self, dir: u64, now: Time) -> Lookup<()> {
        let inode = self.change(dir)?;
        inode.meta.mtime = now;
        inode.ctime = now;
        Ok(())
    }

    /// Creates a node. `what` receives the inode number and returns the body. Returns the inode
    /// number.
    pub fn make(
        &mut self,
        parent: u64,
        name: &[u8],
        meta: Meta,
        what: impl FnOnce(u64, &Arc<UpperFiles>) -> InodeBody,
    ) -> Lookup<u64> {
        if self.find(parent, name)?.is_some() {
            return Err(Errno::EXIST.into());
        }
        self.copy_up(parent)?;
        // The directory was removed, but can still be the working directory of a process.
        if self
            .upper
            .inodes
            .get(&parent)
            .is_some_and(|dir| dir.nlink == 0)
        {
            return Err(Errno::NOENT.into());
        }
        let ino = self.next_ino;
        self.next_ino += 1;
        let (mtime, what) = (meta.mtime, what(ino, &self.space));
        let (own, is_dir) = (name.to_vec(), matches!(what, InodeBody::Dir { .. }));
        let nlink = if is_dir { 2 } else { 1 };
        let inode = Inode {
            meta,
            atime: mtime,
            ctime: mtime,
            nlink,
            parent,
            name: own,
            has_version_owner: false,
            what,
        };
        self.upper.inodes.insert(ino, Arc::new(inode));
        self.pending.inodes.insert(ino);
        self.changed.insert(ino);
        self.set_name(parent, name, Some(ino));
        self.touch_dir(parent, mtime)?;
        self.add_subdirs(parent, i32::from(is_dir))?;
        Ok(ino)
    }

    /// Adds a hard link.
    pub fn link(&mut self, ino: u64, parent: u64, name: &[u8]) -> Lookup<()> {
        if self.find(parent, name)?.is_some() {
            return Err(Errno::EXIST.into());
        }
        self.copy_up(ino)?;
        self.copy_up(parent)?;
        // Record the first name too, so that `hard_links` has all names of the inode.
        let own = self.upper.inodes.get(&ino).ok_or(Errno::NOENT)?;
        let own = EntryRef::new(own.parent, &own.name).to_owned();
        self.copy_up(own.parent)?;
        self.hard_links.entry(ino).or_default();
        if self.find(own.parent, &own.name)? == Some(ino) {
            self.set_name(own.parent, &own.name, Some(ino));
        }
        let inode = self.change(ino)?;
        match inode.nlink {
            0 => return Err(Errno::NOENT.into()),
            LINKS_MAX.. => return Err(Errno::MLINK.into()),
            _ => {}
        }
        inode.nlink += 1;
        let now = stamp_now();
        inode.ctime = now;
        self.set_name(parent, name, Some(ino));
        self.touch_dir(parent, now)
    }

    /// Removes a name. Returns the file if its last name was removed and it is not in use.
    pub fn remove(&mut self, parent: u64, name: &[u8], dir: bool) -> Lookup<Option<Arc<FileData>>> {
        let ino = self.find(parent, name)?.ok_or(Errno::NOENT)?;
        let is_dir = self.attr(ino)?.kind == NodeKind::Dir;
        match (dir, is_dir) {
            (true, false) => return Err(Errno::NOTDIR.into()),
            (false, true) => return Err(Errno::ISDIR.into()),
            (true, true) if !self.is_empty_dir(ino)? => return Err(Errno::NOTEMPTY.into()),
            _ => {}
        }
        self.copy_up(ino)?;
        self.copy_up(parent)?;
        let now = stamp_now();
        self.set_name(parent, name, None);
        self.touch_dir(parent, now)?;
        self.add_subdirs(parent, -i32::from(is_dir))?;
        self.remove_link(ino, is_dir, EntryRef::new(parent, name), now)
    }

    /// Returns a name of an inode other than `gone`: a recorded one, or one of the version that the
    /// kernel knows.
    fn other_name(&mut self, ino: u64, gone: EntryRef<'_>) -> Option<EntryName> {
        let is_other = |at: &&EntryName| at.as_ref() != gone;
        if let Some(found) = self
            .hard_links
            .get(&ino)
            .into_iter()
            .flatten()
            .find(is_other)
        {
            return Some(found.clone());
        }
        let aliases = self.aliases.get(&ino)?.clone();
        aliases
            .into_iter()
            .filter(|at| is_other(&at))
            .find(|at| matches!(self.find(at.parent, &at.name), Ok(Some(n)) if n == ino))
    }

    /// Removes a hard link from an inode. Returns the file if it was the last one and the file is
    /// not in use.
    pub(super) fn remove_link(
        &mut self,
        ino: u64,
        is_dir: bool,
        gone: EntryRef<'_>,
        now: Time,
    ) -> Lookup<Option<Arc<FileData>>> {
        let inode = self.change(ino)?;
        // A directory has one name. Its other links are its own `.` and those of subdirectories,
        // which do not exist any more.
        inode.nlink = if is_dir {
            0
        } else {
            inode.nlink.saturating_sub(1)
        };
        inode.ctime = now;
        if inode.nlink > 0 && EntryRef::new(inode.parent, &inode.name) == gone {
            // Record another name of the inode, because this one is gone.
            let other = self.other_name(ino, gone);
            if let (Some(other), Ok(inode)) = (other, self.change(ino)) {
                (inode.parent, inode.name) = (other.parent, other.name);
            }
        }
        Ok(self.remove_unused(ino))
    }

    /// Renames a node. Returns a replaced file that had no other name and is not in use.
    pub fn rename(
        &mut self,
        from: EntryRef<'_>,
        to: EntryRef<'_>,
        how: RenameMode,
    ) -> Lookup<Option<Arc<FileData>>> {
        let ino = self.find(from.parent, from.name)?.ok_or(Errno::NOENT)?;
        // The kernel has already refused to move a directory below itself (rename(2), `EINVAL`).
        let there = self.find(to.parent, to.name)?;
        let is_dir = self.attr(ino)?.kind == NodeKind::Dir;
        self.copy_up(from.parent)?;
        self.copy_up(to.parent)?;
        self.copy_up(ino)?;
        if let Some(other) = there {
            if how == RenameMode::NoReplace {
                return Err(Errno::EXIST.into());
            }
            // Renaming a file to another of its hard links does nothing (rename(2)).
            if other == ino && how != RenameMode::Exchange {
                return Ok(None);
            }
            let other_is_dir = self.attr(other)?.kind == NodeKind::Dir;
            if how == RenameMode::Replace {
                match (is_dir, other_is_dir) {
                    (true, false) => return Err(Errno::NOTDIR.into()),
                    (false, true) => return Err(Errno::ISDIR.into()),
                    (true, true) if !self.is_empty_dir(other)? => {
                        return Err(Errno::NOTEMPTY.into());
                    }
                    _ => {}
                }
            }
            self.copy_up(other)?;
        } else if how == RenameMode::Exchange {
            return Err(Errno::NOENT.into());
        }
        let now = stamp_now();
        let gone = match (how, there) {
            (RenameMode::Exchange, Some(other)) => {
                self.set_name(from.parent, from.name, Some(other));
                let inode = self.change(other)?;
                (inode.parent, inode.name) = (from.parent, from.name.to_vec());
                inode.ctime = now;
                // Each directory that moves changes the number of subdirectories of both parents.
                let came = i32::from(inode.kind() == NodeKind::Dir);
                self.add_subdirs(from.parent, came)?;
                self.add_subdirs(to.parent, -came)?;
                None
            }
            (_, Some(other)) => {
                let other_is_dir = self.attr(other)?.kind == NodeKind::Dir;
                self.set_name(from.parent, from.name, None);
                self.add_subdirs(to.parent, -i32::from(other_is_dir))?;
                self.remove_link(other, other_is_dir, to, now)?
            }
            (_, None) => {
                self.set_name(from.parent, from.name, None);
                None
            }
        };
        self.set_name(to.parent, to.name, Some(ino));
        let inode = self.change(ino)?;
        (inode.parent, inode.name) = (to.parent, to.name.to_vec());
        inode.ctime = now;
        self.touch_dir(from.parent, now)?;
        self.touch_dir(to.parent, now)?;
        self.add_subdirs(from.parent, -i32::from(is_dir))?;
        self.add_subdirs(to.parent, i32::from(is_dir))?;
        Ok(gone)
    }
}
