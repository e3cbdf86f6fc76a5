//! Hard links: the names of an inode are collected during the walk and resolved at its end.
//!
//! The id of a group derives from its smallest path, so it is known only when all names are known.
//! Directories that contain a changed member wait until then.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use crate::codec::hash::checksum;
use crate::model::entry::{HardLink, Node};
use crate::model::path;
use crate::model::tree::LinkTable;
use crate::snapshot::walk::dir::Dir;
use crate::snapshot::walk::entries::LinkKey;

/// One name of an inode.
struct Member {
    path: Vec<u8>,
    /// Path of the directory if the entry of the last version is kept.
    kept_in: Option<Vec<u8>>,
}

#[derive(Default)]
struct Group {
    members: Vec<Member>,
    /// The node, once a name has been read.
    node: Option<Node>,
    read: bool,
}

/// All inodes with several hard links.
#[derive(Default)]
pub struct Links {
    groups: HashMap<LinkKey, Group>,
    waiting: Vec<Arc<Dir>>,
}

impl Links {
    /// Adds a name whose old entry is kept.
    pub fn kept(&mut self, key: LinkKey, dir: &[u8], name: &[u8]) {
        let member = Member {
            path: path::join(dir, name),
            kept_in: Some(dir.to_vec()),
        };
        self.groups.entry(key).or_default().members.push(member);
    }

    /// Adds a name that changed. Returns true for the first changed name of its inode; the caller
    /// then reads the file.
    pub fn found(&mut self, key: LinkKey, dir: &[u8], name: &[u8]) -> bool {
        let group = self.groups.entry(key).or_default();
        group.members.push(Member {
            path: path::join(dir, name),
            kept_in: None,
        });
        !std::mem::replace(&mut group.read, true)
    }

    /// Sets the node of an inode.
    pub fn settle(&mut self, key: LinkKey, node: Node) {
        self.groups.entry(key).or_default().node = Some(node);
    }

    /// Removes a name that is missing or unreadable.
    pub fn lost(&mut self, key: LinkKey, path: &[u8]) {
        if let Some(group) = self.groups.get_mut(&key) {
            group.members.retain(|m| m.path != path);
        }
    }

    /// Returns the inodes whose first name was lost, with the remaining names.
    pub fn unread(&self) -> Vec<(LinkKey, Vec<Vec<u8>>)> {
        let unread = self
            .groups
            .iter()
            .filter(|(_, g)| g.read && g.node.is_none() && !g.members.is_empty());
        unread
            .map(|(key, g)| (*key, g.members.iter().map(|m| m.path.clone()).collect()))
            .collect()
    }

    /// Adds a directory that waits for the end of the walk.
    pub fn wait(&mut self, dir: Arc<Dir>) {
        self.waiting.push(dir);
    }

    /// Removes and returns the waiting directories.
    pub fn take_waiting(&mut self) -> Vec<Arc<Dir>> {
        std::mem::take(&mut self.waiting)
    }

    /// Returns whether there are no hard links.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// Returns the table of all groups of at least two names.
    pub fn table(&self) -> LinkTable {
        // The groups of a table are ascending (docs/format.md), so that equal versions have equal
        // tables.
        let mut sorted: BTreeMap<[u8; 16], Vec<Vec<u8>>> = BTreeMap::new();
        for group in self.groups.values() {
            if let Some((link, paths)) = group.link() {
                sorted.insert(link.group, paths);
            }
        }
        LinkTable(sorted.into_iter().collect())
    }

    /// Returns the link and the node of an inode.
    pub fn result(&self, key: &LinkKey) -> (Option<HardLink>, Option<Node>) {
        let Some(group) = self.groups.get(key) else {
            return (None, None);
        };
        (group.link().map(|l| l.0), group.node.clone())
    }

    /// Returns the directories whose old entries cannot be kept, because their groups differ from
    /// those of `old`.
    pub fn stale(&self, old: &LinkTable) -> HashSet<Vec<u8>> {
        let known: HashMap<&[u8; 16], &Vec<Vec<u8>>> = old.0.iter().map(|(g, p)| (g, p)).collect();
        let mut out = HashSet::new();
        for group in self.groups.values() {
            let all_kept = group.members.iter().all(|m| m.kept_in.is_some());
            let as_before = || match group.link() {
                Some((link, paths)) => known.get(&link.group) == Some(&&paths),
                // A single name is as before if the old version has no link for it.
                None => !old
                    .0
                    .iter()
                    .any(|(_, paths)| group.members.iter().any(|m| paths.contains(&m.path))),
            };
            if !(all_kept && as_before()) {
                out.extend(group.members.iter().filter_map(|m| m.kept_in.clone()));
            }
        }
        out
    }
}

impl Group {
    fn link(&self) -> Option<(HardLink, Vec<Vec<u8>>)> {
        let mut paths: Vec<Vec<u8>> = self.members.iter().map(|m| m.path.clone()).collect();
        // The smallest path gives the group its id.
        paths.sort();
        Some((link_of(&paths)?, paths))
    }
}

/// Returns the link of the entries with these sorted paths, or `None` for a single path.
pub fn link_of(paths: &[Vec<u8>]) -> Option<HardLink> {
    let first = paths.first().filter(|_| paths.len() > 1)?;
    Some(HardLink {
        group: checksum(&[b"hard link ", first]),
        count: u32::try_from(paths.len()).unwrap_or(u32::MAX),
    })
}

/// Removes names from a table. Returns the paths that were linked to them, with their new links.
pub fn take_out(
    table: &mut LinkTable,
    gone: impl Fn(&[u8]) -> bool,
) -> Vec<(Vec<u8>, Option<HardLink>)> {
    let mut unlinked = Vec::new();
    let mut kept = Vec::with_capacity(table.0.len());
    for (group, mut paths) in std::mem::take(&mut table.0) {
        let before = paths.len();
        paths.retain(|path| !gone(path));
        if paths.len() == before {
            kept.push((group, paths));
            continue;
        }
        let link = link_of(&paths);
        unlinked.extend(paths.iter().map(|path| (path.clone(), link)));
        kept.extend(link.map(|link| (link.group, paths)));
    }
    table.0 = kept;
    unlinked
}
