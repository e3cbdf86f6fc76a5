//! Taking over another version: what the kernel knows is found there when it asks for it.

use std::collections::HashSet;
use std::sync::Arc;

use super::{Names, Pending, Upper};
use crate::mount::inode::{Kind, ROOT};

impl Names {
    /// Directories that the kernel knows, with the names in them as far as they are at hand.
    pub fn known_dirs(&mut self) -> Vec<(u64, HashSet<Vec<u8>>)> {
        let known: Vec<u64> = self.untouched.keys().chain(self.upper.inodes.keys()).copied().collect();
        let mut out = Vec::new();
        for ino in known {
            if self.attr(ino).is_ok_and(|attr| attr.kind == Kind::Dir) {
                let names = self.list(ino).unwrap_or_default();
                out.push((ino, names.into_iter().map(|listed| listed.name).collect()));
            }
        }
        out
    }

    /// Shows another version, of which nothing is changed; `upper` holds its root. What the kernel knows is found there
    /// when it asks for it, but, to `retire` them, not open files. Returns that: inodes, each with the directory and the name by which it was known.
    pub fn replace(&mut self, upper: Upper, retire: bool) -> Vec<(u64, u64, Vec<u8>)> {
        let mut known: Vec<(u64, u64, Vec<u8>)> = Vec::new();
        for ino in self.opened.keys().copied().collect::<Vec<_>>() {
            if let Some(attr) = self.attr(ino).ok().filter(|_| retire) {
                self.lingering.insert(ino, attr);
            }
        }
        let mut before = std::mem::take(&mut self.before);
        for (ino, (place, held)) in std::mem::take(&mut self.untouched) {
            if let Ok((dir, at)) = self.entry(&place) {
                before.insert(ino, (place.parent, dir[at].name.clone(), held));
            }
        }
        for (ino, inode) in &self.upper.inodes {
            if let Some(held) = self.held.remove(ino).filter(|_| *ino != ROOT) {
                before.insert(*ino, (inode.parent, inode.name.clone(), held));
            }
        }
        known.extend(before.iter().map(|(ino, (parent, name, _))| (*ino, *parent, name.clone())));
        // A file with several names is noted with one of them, and the kernel may know all.
        for (parent, names) in &self.upper.names {
            known.extend(names.iter().filter_map(|(name, ino)| Some(((*ino)?, *parent, name.clone()))));
        }
        let aliases = std::mem::take(&mut self.aliases).into_iter();
        known.extend(aliases.flat_map(|(ino, all)| all.into_iter().map(move |(parent, name)| (ino, parent, name))));
        self.before = before;
        // What is open stays what it is for whoever has it open: the kernel would keep its old length.
        let open = self.opened.keys().filter(|ino| retire && !is_dir(&self.upper, **ino));
        let retired: HashSet<u64> = self.upper.retired.iter().chain(open).copied().collect();
        self.upper = Upper { retired: Arc::new(retired), key: self.upper.key, ..upper };
        self.held.clear();
        self.hard_links.clear();
        self.pending = Pending::default();
        self.changed.clear();
        self.committing.clear();
        self.trees.clear();
        self.tree_numbers.clear();
        known
    }
}

fn is_dir(upper: &Upper, ino: u64) -> bool {
    upper.inodes.get(&ino).is_some_and(|inode| inode.kind() == Kind::Dir)
}
