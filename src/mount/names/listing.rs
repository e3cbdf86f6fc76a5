//! Listings of directories: the names of the version with the changes of the mount.

use super::attr::NodeKind;
use super::table::{Lookup, NameTable};
use crate::mount::lower::SharedDir;

/// A name in a listing.
#[derive(Clone, Debug)]
pub struct ListedName {
    pub name: Vec<u8>,
    /// Inode number.
    pub ino: u64,
    /// Type of the node.
    pub kind: NodeKind,
    /// Position in the directory. It stays the same while the name exists, even if other names
    /// come and go, because programs continue a listing from a position.
    pub at: u64,
}

impl NameTable {
    /// Returns the directory of the version if the mount has changed none of its names, so that a
    /// listing needs no copy of them.
    pub fn unchanged_dir(&mut self, ino: u64) -> Lookup<Option<SharedDir>> {
        if self
            .upper
            .names
            .get(&ino)
            .is_some_and(|names| !names.is_empty())
        {
            return Ok(None);
        }
        let Some(tree) = self.tree_of(ino)? else {
            return Ok(None);
        };
        self.dir(&tree).map(Some)
    }

    /// Returns the directory of the version that a directory of the mount is based on, if any.
    pub fn lower_dir(&mut self, ino: u64) -> Lookup<Option<SharedDir>> {
        let tree = self.tree_of(ino)?;
        tree.map(|tree| self.dir(&tree)).transpose()
    }

    /// Returns all names of a directory in the order of their positions: names that the version
    /// has, in its order, then all others.
    pub fn list(&mut self, ino: u64) -> Lookup<Vec<ListedName>> {
        let tree = self.tree_of(ino)?;
        let dir = tree.as_ref().map(|tree| self.dir(tree)).transpose()?;
        let over = self.upper.names.get(&ino).cloned().unwrap_or_default();
        let mut out = Vec::new();
        if let Some(dir) = &dir {
            for (index, entry) in dir.iter().enumerate() {
                if !over.contains_key(&entry.name) {
                    let number = self.ino_at(ino, entry)?;
                    let (kind, at) = (NodeKind::of(&entry.node), position(index));
                    out.push(ListedName {
                        name: entry.name.clone(),
                        ino: number,
                        kind,
                        at,
                    });
                }
            }
        }
        for (name, number) in over.iter() {
            if let Some(number) = number
                && let Some(inode) = self.upper.inodes.get(number)
            {
                let of_version = dir
                    .as_ref()
                    .and_then(|dir| dir.binary_search_by(|e| e.name.cmp(name)).ok());
                // A name that the version lacks has no index. The hash of the name is stable, and
                // larger than any index.
                let at = of_version.map_or_else(|| self.upper.ino_of(ino, name, None), position);
                out.push(ListedName {
                    name: name.clone(),
                    ino: *number,
                    kind: inode.kind(),
                    at,
                });
            }
        }
        // The hashes of two new names may be equal, so the name decides then.
        out.sort_unstable_by(|a, b| (a.at, &a.name).cmp(&(b.at, &b.name)));
        Ok(out)
    }

    /// Returns whether a directory has no names.
    pub fn is_empty_dir(&mut self, ino: u64) -> Lookup<bool> {
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

/// Returns the position that follows an entry of the version. Positions 1 and 2 follow `.` and
/// `..`.
pub fn position(index: usize) -> u64 {
    index as u64 + 3
}
