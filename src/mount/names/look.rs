//! Questions: what a name is, what an inode is, what a directory holds.
//!
//! They change nothing but which nodes of the version are known.

use std::sync::Arc;

use super::{Found, Names, Place, Stop};
use crate::model::entry::{Entry, Meta, Node};
use crate::model::id::Id;
use crate::mount::data::Data;
use crate::mount::errno::Errno;
use crate::mount::inode::{Attr, Kind, ROOT, What};
use crate::mount::lower::Dir;
use crate::mount::state::Base;
use crate::mount::view::{lose_trust, loses_trust};

/// One name of a directory.
#[derive(Clone, Debug)]
pub struct Listed {
    /// The name.
    pub name: Vec<u8>,
    /// Its inode.
    pub ino: u64,
    /// Its type.
    pub kind: Kind,
    /// Its position in the directory, the same as long as it is there, whatever else comes and goes.
    pub at: u64,
}

impl Names {
    /// The path of a node; `None` where it has no name.
    pub fn path(&mut self, ino: u64) -> Found<Option<Vec<u8>>> {
        let mut names: Vec<Vec<u8>> = Vec::new();
        let mut at = ino;
        while at != ROOT {
            if let Some(inode) = self.upper.inodes.get(&at) {
                if inode.nlink == 0 {
                    return Ok(None);
                }
                names.push(inode.name.clone());
                at = inode.parent;
            } else {
                let place = self.place(at)?;
                if place.is_retired() {
                    return Ok(None);
                }
                let (dir, index) = self.entry(&place)?;
                names.push(dir[index].name.clone());
                at = place.parent;
            }
        }
        names.reverse();
        Ok(Some(names.join(&b'/')))
    }

    /// What the version has as a file under a number.
    pub fn base_of(&mut self, ino: u64) -> Found<Arc<Base>> {
        let place = self.place(ino)?;
        let (dir, at) = self.entry(&place)?;
        match &dir[at].node {
            Node::File { size, chunker, content } => {
                Ok(Arc::new(Base { content: content.clone(), size: *size, chunker: *chunker }))
            }
            _ => Err(Errno::STALE.into()),
        }
    }

    pub(super) fn tree_number(&mut self, tree: &Id) -> u32 {
        if let Some(n) = self.tree_numbers.get(tree) {
            return *n;
        }
        let n = u32::try_from(self.trees.len()).unwrap_or(u32::MAX);
        self.trees.push(*tree);
        self.tree_numbers.insert(*tree, n);
        n
    }

    pub(super) fn dir(&self, tree: &Id) -> Found<Dir> {
        self.lower.known_dir(tree).ok_or(Stop::Dir(*tree))
    }

    /// The entry of an untouched node.
    pub(super) fn entry(&self, place: &Place) -> Found<(Dir, usize)> {
        let tree = self.trees.get(place.tree as usize).ok_or(Errno::IO)?;
        let (dir, index) = (self.dir(tree)?, place.index as usize);
        if index < dir.len() { Ok((dir, index)) } else { Err(Errno::IO.into()) }
    }

    /// Where an untouched node is.
    pub(super) fn place(&self, ino: u64) -> Found<Place> {
        let known = self.untouched.get(&ino).ok_or(Errno::NOENT)?;
        Ok(known.0)
    }

    /// The version's directory below a directory.
    pub(super) fn tree_of(&mut self, ino: u64) -> Found<Option<Id>> {
        if let Some(inode) = self.upper.inodes.get(&ino) {
            return match &inode.what {
                What::Dir { tree, .. } => Ok(*tree),
                _ => Err(Errno::NOTDIR.into()),
            };
        }
        let place = self.place(ino)?;
        let (dir, at) = self.entry(&place)?;
        match &dir[at].node {
            Node::Dir { tree, .. } => Ok(Some(*tree)),
            _ => Err(Errno::NOTDIR.into()),
        }
    }

    /// Returns the number of a node of the version at its place.
    pub fn number_at(&self, parent: u64, entry: &Entry) -> Found<u64> {
        let version = self.version_of(parent, entry)?;
        Ok(self.upper.number_in(version, parent, &entry.name, entry.link.as_ref()))
    }

    fn version_of(&self, parent: u64, entry: &Entry) -> Found<u64> {
        match entry.link {
            Some(_) if self.upper.several => self.version_above(parent),
            _ => Ok(0),
        }
    }

    /// Notes the numbers that a node would have had if they were not taken.
    fn note_chain(&mut self, parent: u64, entry: &Entry, ino: u64) -> Found<()> {
        if !self.upper.retired.is_empty() {
            let version = self.version_of(parent, entry)?;
            let place = (version, parent, entry.name.as_slice(), entry.link.as_ref());
            let chain: Vec<u64> = self.upper.taken_numbers(place).collect();
            if !chain.is_empty() {
                self.chains.insert(ino, chain);
            }
        }
        Ok(())
    }

    /// Returns the directory of the version that a directory is in, in a mount of several versions: the first one on the
    /// way up whose name stands in a tree that was made in memory for this mount.
    fn version_above(&self, dir: u64) -> Found<u64> {
        let mut at = dir;
        while at != ROOT {
            let place = self.place(at)?;
            let tree = self.trees.get(place.tree as usize).ok_or(Errno::IO)?;
            if self.lower.repo().volatile().has(tree) {
                return Ok(at);
            }
            at = place.parent;
        }
        Ok(ROOT)
    }

    /// The number of a node of the version at its place; the node is known then.
    pub(super) fn number(&mut self, parent: u64, tree: &Id, index: usize, entry: &Entry) -> Found<u64> {
        let place = Place { parent, tree: self.tree_number(tree), index: u32::try_from(index).unwrap_or(u32::MAX) };
        let ino = self.number_at(parent, entry)?;
        self.note_chain(parent, entry, ino)?;
        if entry.link.is_some() {
            self.aliases.entry(ino).or_default().insert((parent, entry.name.clone()));
        }
        if self.upper.inodes.contains_key(&ino) {
            return Ok(ino);
        }
        let known = self.untouched.entry(ino).or_insert((place, 0));
        // Two names of one file are the same number. Should two files be, then the second is not shown.
        if known.0 == place || entry.link.is_some() { Ok(ino) } else { Err(Errno::IO.into()) }
    }

    /// The inode of a name.
    pub fn find(&mut self, parent: u64, name: &[u8]) -> Found<Option<u64>> {
        if name.len() > 255 {
            return Err(Errno::NAMETOOLONG.into());
        }
        if let Some(over) = self.upper.names.get(&parent).and_then(|names| names.get(name)) {
            return Ok(*over);
        }
        let Some(tree) = self.tree_of(parent)? else { return Ok(None) };
        let dir = self.dir(&tree)?;
        match dir.binary_search_by(|e| e.name.as_slice().cmp(name)) {
            Ok(at) => self.number(parent, &tree, at, &dir[at]).map(Some),
            Err(_) => Ok(None),
        }
    }

    /// What `stat` says of an inode.
    pub fn attr(&mut self, ino: u64) -> Found<Attr> {
        if let Some(What::File(data)) = self.upper.inodes.get(&ino).map(|inode| &inode.what)
            && data.is_handed_over()
        {
            // Every answer passes here: an old length would be believed by the kernel.
            let data = Arc::clone(data);
            self.catch_up(&data)?;
        }
        if let Some(inode) = self.upper.inodes.get(&ino) {
            return Ok(inode.attr(ino));
        }
        let place = self.place(ino)?;
        let (dir, at) = self.entry(&place)?;
        let mut attr = Attr::of_entry(ino, &dir[at]);
        if place.is_retired() {
            attr.nlink = 0;
        }
        if let Node::Dir { tree, totals } = &dir[at].node {
            // One that was not read yet has at most so many.
            let most = u32::try_from(totals.dirs).unwrap_or(u32::MAX - 2);
            attr.nlink = 2 + self.lower.known_dir(tree).map_or(most, |d| d.subdirs);
        }
        Ok(attr)
    }

    /// Takes over what the kernel did to a file that it writes to by itself. True if that was trusted as it was before: it
    /// is not any more, and the kernel has to be told.
    pub fn catch_up(&mut self, data: &Data) -> Found<bool> {
        let Some(mtime) = data.catch_up() else { return Ok(false) };
        let inode = self.times(data.ino())?;
        if inode.meta.mtime == mtime {
            return Ok(false);
        }
        inode.meta.mtime = mtime;
        inode.ctime = inode.ctime.max(mtime);
        let distrusted = loses_trust(&inode.meta, false);
        if distrusted {
            lose_trust(&mut self.change(data.ino())?.meta, false);
        }
        Ok(distrusted)
    }

    /// Whether an inode's owner is the version's.
    pub fn is_foreign(&self, ino: u64) -> bool {
        self.upper.inodes.get(&ino).is_none_or(|i| i.foreign)
    }

    /// Calls `look` with an inode's attributes and, of a symbolic link, its target.
    pub fn look<T>(&mut self, ino: u64, look: impl FnOnce(&Meta, Option<&[u8]>) -> T) -> Found<T> {
        if let Some(inode) = self.upper.inodes.get(&ino) {
            let target = match &inode.what {
                What::Symlink(target) => Some(target.as_slice()),
                _ => None,
            };
            return Ok(look(&inode.meta, target));
        }
        let place = self.place(ino)?;
        let (dir, at) = self.entry(&place)?;
        let target = match &dir[at].node {
            Node::Symlink { target } => Some(target.as_slice()),
            _ => None,
        };
        Ok(look(&dir[at].meta, target))
    }

    /// The directory above one.
    pub fn parent(&mut self, ino: u64) -> Found<u64> {
        if let Some(inode) = self.upper.inodes.get(&ino) {
            return Ok(inode.parent);
        }
        let place = self.place(ino)?;
        if place.is_retired() { Err(Errno::STALE.into()) } else { Ok(place.parent) }
    }

    /// The version's directory where nothing differs from it, for a listing without copies.
    pub fn plain_dir(&mut self, ino: u64) -> Found<Option<Dir>> {
        if self.upper.names.get(&ino).is_some_and(|names| !names.is_empty()) {
            return Ok(None);
        }
        let Some(tree) = self.tree_of(ino)? else { return Ok(None) };
        self.dir(&tree).map(Some)
    }

    /// The version's directory below a directory.
    pub fn below(&mut self, ino: u64) -> Found<Option<Dir>> {
        let tree = self.tree_of(ino)?;
        tree.map(|tree| self.dir(&tree)).transpose()
    }

    /// All names of a directory, by position: those of the version in its order, then others.
    pub fn list(&mut self, ino: u64) -> Found<Vec<Listed>> {
        let tree = self.tree_of(ino)?;
        let dir = tree.as_ref().map(|tree| self.dir(tree)).transpose()?;
        let over = self.upper.names.get(&ino).cloned().unwrap_or_default();
        let mut out = Vec::new();
        if let Some(dir) = &dir {
            for (index, entry) in dir.iter().enumerate() {
                if !over.contains_key(&entry.name) {
                    let number = self.number_at(ino, entry)?;
                    let (kind, at) = (Kind::of(&entry.node), position(index));
                    out.push(Listed { name: entry.name.clone(), ino: number, kind, at });
                }
            }
        }
        for (name, number) in over.iter() {
            if let Some(number) = number
                && let Some(inode) = self.upper.inodes.get(number)
            {
                let of_version = dir.as_ref().and_then(|dir| dir.binary_search_by(|e| e.name.cmp(name)).ok());
                let at = of_version.map_or_else(|| self.upper.number_of(ino, name, None), position);
                out.push(Listed { name: name.clone(), ino: *number, kind: inode.kind(), at });
            }
        }
        out.sort_unstable_by(|a, b| (a.at, &a.name).cmp(&(b.at, &b.name)));
        Ok(out)
    }

    /// Whether a directory holds nothing.
    pub fn is_empty(&mut self, ino: u64) -> Found<bool> {
        let tree = self.tree_of(ino)?;
        let over = self.upper.names.get(&ino);
        if over.is_some_and(|names| names.values().any(Option::is_some)) {
            return Ok(false);
        }
        let Some(tree) = tree else { return Ok(true) };
        let gone = |name: &Vec<u8>| over.is_some_and(|names| names.contains_key(name));
        Ok(self.dir(&tree)?.iter().all(|e| gone(&e.name)))
    }
}

/// The position of an entry of the version's directory: behind `.` and `..`, of which reading goes on at 1 and 2.
pub fn position(index: usize) -> u64 {
    index as u64 + 3
}
