//! Hard links: names of one inode are found during the walk and settled at its end.
//!
//! A group is named after its byte-smallest path, so it is known only when all names are. Directories that hold a
//! changed member wait until then.

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
    /// The directory's path if the entry of the last version is used again.
    kept_in: Option<Vec<u8>>,
}

#[derive(Default)]
struct Group {
    members: Vec<Member>,
    /// What the first name that was read turned out to be.
    node: Option<Node>,
    read: bool,
}

/// All inodes with several names.
#[derive(Default)]
pub struct Links {
    groups: HashMap<LinkKey, Group>,
    waiting: Vec<Arc<Dir>>,
}

impl Links {
    /// Notes a name whose old entry is used again.
    pub fn kept(&mut self, key: LinkKey, dir: &[u8], name: &[u8]) {
        let member = Member { path: path::join(dir, name), kept_in: Some(dir.to_vec()) };
        self.groups.entry(key).or_default().members.push(member);
    }

    /// Notes a name that changed. True for the first one of its inode: its caller reads the file.
    pub fn found(&mut self, key: LinkKey, dir: &[u8], name: &[u8]) -> bool {
        let group = self.groups.entry(key).or_default();
        group.members.push(Member { path: path::join(dir, name), kept_in: None });
        !std::mem::replace(&mut group.read, true)
    }

    /// What the inode turned out to be.
    pub fn settle(&mut self, key: LinkKey, node: Node) {
        self.groups.entry(key).or_default().node = Some(node);
    }

    /// One name less: it is gone, or cannot be read.
    pub fn lost(&mut self, key: LinkKey, path: &[u8]) {
        if let Some(group) = self.groups.get_mut(&key) {
            group.members.retain(|m| m.path != path);
        }
    }

    /// Inodes of which the name that was to be read is lost, with the names that are left.
    pub fn unread(&self) -> Vec<(LinkKey, Vec<Vec<u8>>)> {
        let unread = self.groups.iter().filter(|(_, g)| g.read && g.node.is_none() && !g.members.is_empty());
        unread.map(|(key, g)| (*key, g.members.iter().map(|m| m.path.clone()).collect())).collect()
    }

    /// A directory that waits for the end of the walk.
    pub fn wait(&mut self, dir: Arc<Dir>) {
        self.waiting.push(dir);
    }

    /// The directories that wait.
    pub fn take_waiting(&mut self) -> Vec<Arc<Dir>> {
        std::mem::take(&mut self.waiting)
    }

    /// Whether there is anything to settle.
    pub fn is_empty(&self) -> bool {
        self.groups.is_empty()
    }

    /// The table of all groups of at least two names.
    pub fn table(&self) -> LinkTable {
        let mut sorted: BTreeMap<[u8; 16], Vec<Vec<u8>>> = BTreeMap::new();
        for group in self.groups.values() {
            if let Some((link, paths)) = group.link() {
                sorted.insert(link.group, paths);
            }
        }
        LinkTable(sorted.into_iter().collect())
    }

    /// The link and the node of an inode.
    pub fn result(&self, key: &LinkKey) -> (Option<HardLink>, Option<Node>) {
        let Some(group) = self.groups.get(key) else { return (None, None) };
        (group.link().map(|l| l.0), group.node.clone())
    }

    /// Directories whose old entries cannot be used again, since the groups in them differ from those of `old`.
    pub fn stale(&self, old: &LinkTable) -> HashSet<Vec<u8>> {
        let known: HashMap<&[u8; 16], &Vec<Vec<u8>>> = old.0.iter().map(|(g, p)| (g, p)).collect();
        let mut out = HashSet::new();
        for group in self.groups.values() {
            let all_kept = group.members.iter().all(|m| m.kept_in.is_some());
            let as_before = || match group.link() {
                Some((link, paths)) => known.get(&link.group) == Some(&&paths),
                None => !old.0.iter().any(|(_, paths)| group.members.iter().any(|m| paths.contains(&m.path))),
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
        paths.sort();
        Some((link_of(&paths)?, paths))
    }
}

/// What the entries of one file's names say, by its sorted paths; `None` for a single one.
pub fn link_of(paths: &[Vec<u8>]) -> Option<HardLink> {
    let first = paths.first().filter(|_| paths.len() > 1)?;
    Some(HardLink { group: checksum(&[b"hard link ", first]), count: u32::try_from(paths.len()).unwrap_or(u32::MAX) })
}

/// Takes names out of a table. Returns the paths that were linked to them, and what their entries have to say now.
pub fn take_out(table: &mut LinkTable, gone: impl Fn(&[u8]) -> bool) -> Vec<(Vec<u8>, Option<HardLink>)> {
    let mut left_behind = Vec::new();
    let mut kept = Vec::with_capacity(table.0.len());
    for (group, mut paths) in std::mem::take(&mut table.0) {
        let before = paths.len();
        paths.retain(|path| !gone(path));
        if paths.len() == before {
            kept.push((group, paths));
            continue;
        }
        let link = link_of(&paths);
        left_behind.extend(paths.iter().map(|path| (path.clone(), link)));
        kept.extend(link.map(|link| (link.group, paths)));
    }
    table.0 = kept;
    left_behind
}
