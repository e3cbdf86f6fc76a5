//! Making, linking, removing and moving names.
//!
//! All directories that are needed are asked for before anything differs.

use std::sync::Arc;

use super::{Found, Names};
use crate::model::entry::{Meta, Time};
use crate::mount::data::Data;
use crate::mount::errno::Errno;
use crate::mount::inode::{Inode, Kind, What};
use crate::mount::space::Space;
use crate::sys::clock::stamp_now;

/// The most names of one inode.
const LINKS_MAX: u32 = 65_000;

/// What a rename does with a name that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rename {
    /// It goes.
    Replace,
    /// Nothing may be there.
    Fresh,
    /// Both change places.
    Exchange,
}

impl Names {
    pub(super) fn put_name(&mut self, parent: u64, name: &[u8], ino: Option<u64>) {
        let names = Arc::make_mut(self.upper.names.entry(parent).or_default());
        if let Some(all) = names.get(name).copied().flatten().and_then(|before| self.hard_links.get_mut(&before)) {
            all.remove(&(parent, name.to_vec()));
        }
        if let Some(all) = ino.and_then(|ino| self.hard_links.get_mut(&ino)) {
            all.insert((parent, name.to_vec()));
        }
        match ino {
            Some(ino) => names.insert(name.to_vec(), Some(ino)),
            None => {
                // What was made here leaves nothing behind.
                let below = match self.upper.inodes.get(&parent).map(|i| &i.what) {
                    Some(What::Dir { tree, .. }) => tree.and_then(|tree| self.lower.known_dir(&tree)),
                    _ => None,
                };
                let made_here =
                    matches!(self.upper.inodes.get(&parent).map(|i| &i.what), Some(What::Dir { tree: None, .. }));
                let is_below = below.map(|dir| dir.binary_search_by(|e| e.name.as_slice().cmp(name)).is_ok());
                match is_below.unwrap_or(!made_here) {
                    true => names.insert(name.to_vec(), None),
                    false => names.remove(name),
                }
            }
        };
        self.pending.names.insert((parent, name.to_vec()));
    }

    /// So many more directories are in one.
    pub(super) fn count_dirs(&mut self, dir: u64, more: i32) -> Found<()> {
        if more != 0 {
            let inode = self.change(dir)?;
            inode.nlink = inode.nlink.saturating_add_signed(more);
        }
        Ok(())
    }

    /// Notes that names of a directory have changed.
    pub(super) fn stamp(&mut self, dir: u64, now: Time) -> Found<()> {
        let inode = self.change(dir)?;
        inode.meta.mtime = now;
        inode.ctime = now;
        Ok(())
    }

    /// Makes a node. `what` gets its number.
    pub fn make(
        &mut self,
        parent: u64,
        name: &[u8],
        meta: Meta,
        what: impl FnOnce(u64, &Arc<Space>) -> What,
    ) -> Found<u64> {
        if self.find(parent, name)?.is_some() {
            return Err(Errno::EXIST.into());
        }
        self.raise(parent)?;
        if self.upper.inodes.get(&parent).is_some_and(|dir| dir.nlink == 0) {
            return Err(Errno::NOENT.into());
        }
        let ino = self.next;
        self.next += 1;
        let (mtime, what) = (meta.mtime, what(ino, &self.space));
        let (own, is_dir) = (name.to_vec(), matches!(what, What::Dir { .. }));
        let nlink = if is_dir { 2 } else { 1 };
        let inode = Inode { meta, atime: mtime, ctime: mtime, nlink, parent, name: own, foreign: false, what };
        self.upper.inodes.insert(ino, Arc::new(inode));
        self.pending.inodes.insert(ino);
        self.changed.insert(ino);
        self.put_name(parent, name, Some(ino));
        self.stamp(parent, mtime)?;
        self.count_dirs(parent, i32::from(is_dir))?;
        Ok(ino)
    }

    /// One more name of an inode.
    pub fn link(&mut self, ino: u64, parent: u64, name: &[u8]) -> Found<()> {
        if self.find(parent, name)?.is_some() {
            return Err(Errno::EXIST.into());
        }
        self.raise(ino)?;
        self.raise(parent)?;
        // Its own name is written down, so that all of them are found.
        let own = self.upper.inodes.get(&ino).map(|inode| (inode.parent, inode.name.clone())).ok_or(Errno::NOENT)?;
        self.raise(own.0)?;
        self.hard_links.entry(ino).or_default();
        if self.find(own.0, &own.1)? == Some(ino) {
            self.put_name(own.0, &own.1, Some(ino));
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
        self.put_name(parent, name, Some(ino));
        self.stamp(parent, now)
    }

    /// Removes a name. Returns a file that is gone for good.
    pub fn remove(&mut self, parent: u64, name: &[u8], dir: bool) -> Found<Option<Arc<Data>>> {
        let ino = self.find(parent, name)?.ok_or(Errno::NOENT)?;
        let is_dir = self.attr(ino)?.kind == Kind::Dir;
        match (dir, is_dir) {
            (true, false) => return Err(Errno::NOTDIR.into()),
            (false, true) => return Err(Errno::ISDIR.into()),
            (true, true) if !self.is_empty(ino)? => return Err(Errno::NOTEMPTY.into()),
            _ => {}
        }
        self.raise(ino)?;
        self.raise(parent)?;
        let now = stamp_now();
        self.put_name(parent, name, None);
        self.stamp(parent, now)?;
        self.count_dirs(parent, -i32::from(is_dir))?;
        self.drop_name(ino, is_dir, (parent, name), now)
    }

    /// A name of an inode besides one that goes: one that is written down, or one of the version's that the kernel knows.
    fn other_name(&mut self, ino: u64, gone: (u64, &[u8])) -> Option<(u64, Vec<u8>)> {
        let is_other = |at: &&(u64, Vec<u8>)| (at.0, at.1.as_slice()) != gone;
        if let Some(found) = self.hard_links.get(&ino).into_iter().flatten().find(is_other) {
            return Some(found.clone());
        }
        let aliases = self.aliases.get(&ino)?.clone();
        aliases
            .into_iter()
            .filter(|at| is_other(&at))
            .find(|at| matches!(self.find(at.0, &at.1), Ok(Some(n)) if n == ino))
    }

    /// One name less.
    pub(super) fn drop_name(
        &mut self,
        ino: u64,
        is_dir: bool,
        gone: (u64, &[u8]),
        now: Time,
    ) -> Found<Option<Arc<Data>>> {
        let inode = self.change(ino)?;
        inode.nlink = if is_dir { 0 } else { inode.nlink.saturating_sub(1) };
        inode.ctime = now;
        if inode.nlink > 0 && (inode.parent, inode.name.as_slice()) == gone {
            // It is known by another of its names from now on.
            let other = self.other_name(ino, gone);
            if let (Some((parent, name)), Ok(inode)) = (other, self.change(ino)) {
                (inode.parent, inode.name) = (parent, name);
            }
        }
        Ok(self.purge(ino))
    }

    /// Moves a name. Returns a file that was replaced and is gone for good.
    pub fn rename(&mut self, from: (u64, &[u8]), to: (u64, &[u8]), how: Rename) -> Found<Option<Arc<Data>>> {
        let ino = self.find(from.0, from.1)?.ok_or(Errno::NOENT)?;
        let there = self.find(to.0, to.1)?;
        let is_dir = self.attr(ino)?.kind == Kind::Dir;
        self.raise(from.0)?;
        self.raise(to.0)?;
        self.raise(ino)?;
        if let Some(other) = there {
            if how == Rename::Fresh {
                return Err(Errno::EXIST.into());
            }
            if other == ino && how != Rename::Exchange {
                return Ok(None);
            }
            let other_is_dir = self.attr(other)?.kind == Kind::Dir;
            if how == Rename::Replace {
                match (is_dir, other_is_dir) {
                    (true, false) => return Err(Errno::NOTDIR.into()),
                    (false, true) => return Err(Errno::ISDIR.into()),
                    (true, true) if !self.is_empty(other)? => return Err(Errno::NOTEMPTY.into()),
                    _ => {}
                }
            }
            self.raise(other)?;
        } else if how == Rename::Exchange {
            return Err(Errno::NOENT.into());
        }
        let now = stamp_now();
        let gone = match (how, there) {
            (Rename::Exchange, Some(other)) => {
                self.put_name(from.0, from.1, Some(other));
                let inode = self.change(other)?;
                (inode.parent, inode.name) = (from.0, from.1.to_vec());
                inode.ctime = now;
                let came = i32::from(inode.kind() == Kind::Dir);
                self.count_dirs(from.0, came)?;
                self.count_dirs(to.0, -came)?;
                None
            }
            (_, Some(other)) => {
                let other_is_dir = self.attr(other)?.kind == Kind::Dir;
                self.put_name(from.0, from.1, None);
                self.count_dirs(to.0, -i32::from(other_is_dir))?;
                self.drop_name(other, other_is_dir, to, now)?
            }
            (_, None) => {
                self.put_name(from.0, from.1, None);
                None
            }
        };
        self.put_name(to.0, to.1, Some(ino));
        let inode = self.change(ino)?;
        (inode.parent, inode.name) = (to.0, to.1.to_vec());
        inode.ctime = now;
        self.stamp(from.0, now)?;
        self.stamp(to.0, now)?;
        self.count_dirs(from.0, -i32::from(is_dir))?;
        self.count_dirs(to.0, i32::from(is_dir))?;
        Ok(gone)
    }
}
