//! The tree of an archive while its members are read: the names in memory, the content already
//! stored.
//!
//! The last member with a name wins. No member is put below a symbolic link, so links are never
//! followed. In images, a layer removes the paths that it hides from lower layers.

use std::collections::{BTreeMap, HashMap};

use super::error::ImportError;
use crate::archive::ArchiveError;
use crate::error::Result;
use crate::model::entry::{Entry, HardLink, Meta, Node, Time, Totals};
use crate::model::id::Id;
use crate::model::path::{display, join};
use crate::model::tree::{LinkTable, RootInfo};
use crate::snapshot::content::store::store_links;
use crate::snapshot::output::Output;
use crate::snapshot::tree::store_tree;
use crate::snapshot::walk::links::link_of;

/// Estimated bytes of memory per member besides its name: the nodes of maps, and the rest of an
/// entry.
const NAME_BYTES: u64 = 250;

/// The names of an archive.
pub(super) struct ArchiveTree {
    top: ArchiveDir,
    /// The layer that set the metadata of the root.
    top_layer: u32,
    inodes: Vec<ArchiveInode>,
    /// The current layer.
    layer: u32,
    bytes: u64,
    limit: u64,
    members: u64,
}

#[derive(Default)]
struct ArchiveDir {
    /// `None` if the archive has no member for the directory.
    meta: Option<Meta>,
    names: BTreeMap<Vec<u8>, ArchiveChild>,
}

struct ArchiveChild {
    /// The last layer with a member for this name.
    layer: u32,
    kind: ChildKind,
}

enum ChildKind {
    Dir(ArchiveDir),
    Node(usize),
}

/// A file that is not a directory. Hard links share it.
struct ArchiveInode {
    meta: Meta,
    node: Node,
}

/// Returns the metadata of a directory that has no member.
pub(super) fn default_meta() -> Meta {
    Meta {
        mode: 0o755,
        ..Meta::default()
    }
}

/// The metadata of the directories above a path, by path.
pub(super) type ParentMeta = HashMap<Vec<Vec<u8>>, Meta>;

/// A stored entry of the archive.
pub(super) struct StoredPath {
    pub(super) entry: Entry,
    /// The hard links in the entry.
    pub(super) links: LinkTable,
    /// The metadata of the directories above the entry.
    pub(super) above: ParentMeta,
}

impl ArchiveTree {
    /// Creates an empty tree with a limit of memory in bytes.
    pub(super) fn new(limit: u64) -> Self {
        Self {
            top: ArchiveDir::default(),
            top_layer: 0,
            inodes: Vec::new(),
            layer: 0,
            bytes: 0,
            limit,
            members: 0,
        }
    }

    /// Returns the number of members.
    pub(super) const fn members(&self) -> u64 {
        self.members
    }

    /// Returns whether the tree has no names.
    pub(super) fn is_empty(&self) -> bool {
        self.top.names.is_empty()
    }

    /// Returns whether no member was put into the tree.
    pub(super) fn is_untouched(&self) -> bool {
        self.is_empty() && self.top.meta.is_none()
    }

    /// Starts the next layer, which is above all previous layers.
    pub(super) fn next_layer(&mut self) {
        self.layer += 1;
    }

    fn grow(&mut self, bytes: usize) -> Result<()> {
        self.members += 1;
        // Members that are replaced later count, too, because their inodes stay in memory.
        self.bytes = self.bytes.saturating_add(bytes as u64 + NAME_BYTES);
        if self.bytes > self.limit {
            Err(ImportError::TooMany(self.limit).into())
        } else {
            Ok(())
        }
    }

    /// Returns the parent directory of a path, which is created if it is missing, and the last
    /// name; `None` for the root.
    fn parent<'t, 'n>(
        &'t mut self,
        names: &'n [Vec<u8>],
    ) -> Result<Option<(&'t mut ArchiveDir, &'n Vec<u8>)>, ArchiveError> {
        let Some((last, above)) = names.split_last() else {
            return Ok(None);
        };
        let layer = self.layer;
        let mut dir = &mut self.top;
        for (depth, name) in above.iter().enumerate() {
            let new = || ArchiveChild {
                layer,
                kind: ChildKind::Dir(ArchiveDir::default()),
            };
            let child = dir.names.entry(name.clone()).or_insert_with(new);
            // A whiteout of this layer does not hide a directory in which the layer has members.
            child.layer = layer;
            dir = match &mut child.kind {
                ChildKind::Dir(below) => below,
                ChildKind::Node(at) => {
                    let upper = display(&names[..=depth].join(&b'/'));
                    let why = match self.inodes.get(*at).map(|inode| &inode.node) {
                        Some(Node::Symlink { .. }) => {
                            format!("the parent `{upper}` is a symbolic link")
                        }
                        _ => format!("the parent `{upper}` is not a directory"),
                    };
                    return Err(ArchiveError::refused(display(&names.join(&b'/')), why));
                }
            };
        }
        Ok(Some((dir, last)))
    }

    /// Adds a directory. An existing directory keeps its content.
    pub(super) fn put_dir(&mut self, names: &[Vec<u8>], meta: Meta) -> Result<()> {
        self.grow(names.last().map_or(0, Vec::len) + weight(&meta))?;
        let layer = self.layer;
        let Some((dir, name)) = self.parent(names)? else {
            self.top.meta = Some(meta);
            self.top_layer = layer;
            return Ok(());
        };
        let child = dir.names.entry(name.clone()).or_insert(ArchiveChild {
            layer,
            kind: ChildKind::Dir(ArchiveDir::default()),
        });
        child.layer = layer;
        match &mut child.kind {
            ChildKind::Dir(dir) => dir.meta = Some(meta),
            other @ ChildKind::Node(_) => {
                *other = ChildKind::Dir(ArchiveDir {
                    meta: Some(meta),
                    ..ArchiveDir::default()
                })
            }
        }
        Ok(())
    }

    /// Adds a file that is not a directory. It replaces an existing entry.
    pub(super) fn put_node(&mut self, names: &[Vec<u8>], meta: Meta, node: Node) -> Result<()> {
        let inline = match &node {
            Node::File {
                content: crate::model::entry::Content::Inline(bytes),
                ..
            } => bytes.len(),
            Node::Symlink { target } => target.len(),
            _ => 0,
        };
        self.grow(names.last().map_or(0, Vec::len) + inline + weight(&meta))?;
        // `name` may refuse the path, so the inode is added after it.
        let at = self.inodes.len();
        self.name(names, at)?;
        self.inodes.push(ArchiveInode { meta, node });
        Ok(())
    }

    /// Adds a hard link to `target`, which must be the path of an earlier file.
    pub(super) fn put_link(&mut self, names: &[Vec<u8>], target: &[Vec<u8>]) -> Result<()> {
        self.grow(names.last().map_or(0, Vec::len))?;
        let mut dir = Some(&self.top);
        let mut found = None;
        for name in target {
            let child = dir.and_then(|dir| dir.names.get(name));
            (dir, found) = match child.map(|child| &child.kind) {
                Some(ChildKind::Dir(below)) => (Some(below), None),
                Some(ChildKind::Node(at)) => (None, Some(*at)),
                None => (None, None),
            };
        }
        let Some(at) = found else {
            let why = format!(
                "the hard link target `{}` is not an earlier file of the archive",
                display(&target.join(&b'/'))
            );
            return Err(ArchiveError::refused(display(&names.join(&b'/')), why).into());
        };
        if names == target {
            return Ok(());
        }
        self.name(names, at)
    }

    fn name(&mut self, names: &[Vec<u8>], at: usize) -> Result<()> {
        let layer = self.layer;
        match self.parent(names)? {
            None => {
                Err(ArchiveError::refused(".", "the root of the archive is not a directory").into())
            }
            Some((dir, name)) => {
                dir.names.insert(
                    name.clone(),
                    ArchiveChild {
                        layer,
                        kind: ChildKind::Node(at),
                    },
                );
                Ok(())
            }
        }
    }

    /// Removes a path of lower layers, or, with `inside`, only the content of a directory.
    pub(super) fn hide(&mut self, names: &[Vec<u8>], inside: bool) {
        let layer = self.layer;
        if names.is_empty() && !inside && self.top_layer != layer {
            self.top.meta = None;
        }
        let mut dir = &mut self.top;
        let (last, above) = match names.split_last() {
            Some(_) if inside => (None, names),
            Some((last, above)) => (Some(last), above),
            None => (None, names),
        };
        for name in above {
            match dir.names.get_mut(name).map(|child| &mut child.kind) {
                Some(ChildKind::Dir(below)) => dir = below,
                _ => return,
            }
        }
        match last {
            None => hide_lower(dir, layer),
            Some(name) => match dir.names.get_mut(name) {
                // A directory that this layer has, too, keeps only the entries of this layer.
                Some(ArchiveChild {
                    layer: own,
                    kind: ChildKind::Dir(below),
                }) if *own == layer => hide_lower(below, layer),
                Some(child) if child.layer != layer => {
                    dir.names.remove(name);
                }
                _ => {}
            },
        }
    }

    /// Stores the tree of a version.
    pub(super) fn store(self, out: &Output<'_>) -> Result<(Id, Totals)> {
        let links = LinkPaths::of(&self, &[]);
        let table = links.table();
        let entries = entries(&self, &self.top, &mut Vec::new(), &links, out)?;
        let mut totals = Totals::default();
        entries.iter().for_each(|entry| totals.add(entry));
        // An archive may lack the members of directories.
        let meta = self.top.meta.clone().unwrap_or_else(|| newest(&entries));
        let links = if table.0.is_empty() {
            None
        } else {
            Some(store_links(out, &table)?)
        };
        let tree = store_tree(
            entries,
            Some(RootInfo {
                meta,
                totals,
                links,
            }),
            out,
        )?;
        Ok((tree, totals))
    }

    /// Stores the entry at a path; `None` if there is none.
    pub(super) fn store_at(
        &self,
        names: &[Vec<u8>],
        out: &Output<'_>,
    ) -> Result<Option<StoredPath>> {
        let mut above = ParentMeta::new();
        let mut dir = &self.top;
        let Some((last, way)) = names.split_last() else {
            return Ok(None);
        };
        above.extend(dir.meta.clone().map(|meta| (Vec::new(), meta)));
        for (depth, name) in way.iter().enumerate() {
            let Some(ChildKind::Dir(below)) = dir.names.get(name).map(|child| &child.kind) else {
                return Ok(None);
            };
            dir = below;
            above.extend(
                dir.meta
                    .clone()
                    .map(|meta| (names[..=depth].to_vec(), meta)),
            );
        }
        let Some(child) = dir.names.get(last) else {
            return Ok(None);
        };
        let links = LinkPaths::of(self, names);
        let mut path = way.to_vec();
        let entry = entry(self, last, child, &mut path, &links, out)?;
        Ok(Some(StoredPath {
            entry,
            links: links.table(),
            above,
        }))
    }
}

fn weight(meta: &Meta) -> usize {
    meta.xattrs
        .iter()
        // The two vectors of an xattr take 48 bytes.
        .map(|x| x.name.len() + x.value.len() + 48)
        .sum()
}

fn hide_lower(dir: &mut ArchiveDir, layer: u32) {
    // The recursion is bounded, because `MemberPlaces` limits the depth of paths.
    dir.names.retain(|_, child| child.layer == layer);
    for child in dir.names.values_mut() {
        if let ChildKind::Dir(below) = &mut child.kind {
            hide_lower(below, layer);
        }
    }
}

/// The paths of hard links, by inode.
struct LinkPaths(HashMap<usize, Vec<Vec<u8>>>);

impl LinkPaths {
    /// Collects the hard links below a path.
    fn of(tree: &ArchiveTree, names: &[Vec<u8>]) -> Self {
        let mut counts = vec![0u32; tree.inodes.len()];
        let mut dir = Some(&tree.top);
        for name in names {
            dir = match dir
                .and_then(|dir| dir.names.get(name))
                .map(|child| &child.kind)
            {
                Some(ChildKind::Dir(below)) => Some(below),
                _ => None,
            };
        }
        let Some(dir) = dir else {
            return Self(HashMap::new());
        };
        // Two passes, so that the paths of files with one name are not collected.
        each(dir, &names.join(&b'/'), &mut |_, at| counts[at] += 1);
        let mut groups: HashMap<usize, Vec<Vec<u8>>> = HashMap::new();
        each(dir, &names.join(&b'/'), &mut |path, at| {
            if counts[at] > 1 {
                groups.entry(at).or_default().push(path);
            }
        });
        // The first path names the group, so the paths must have the same order in each import.
        groups.values_mut().for_each(|paths| paths.sort());
        Self(groups)
    }

    fn link(&self, at: usize) -> Option<HardLink> {
        self.0.get(&at).and_then(|paths| link_of(paths))
    }

    fn table(&self) -> LinkTable {
        let mut all: Vec<_> = self
            .0
            .values()
            .filter_map(|p| Some((link_of(p)?.group, p.clone())))
            .collect();
        all.sort();
        LinkTable(all)
    }
}

/// Calls `found` with the path and the inode of each file that is not a directory.
fn each(dir: &ArchiveDir, path: &[u8], found: &mut dyn FnMut(Vec<u8>, usize)) {
    for (name, child) in &dir.names {
        let path = join(path, name);
        match &child.kind {
            ChildKind::Dir(below) => each(below, &path, found),
            ChildKind::Node(at) => found(path, *at),
        }
    }
}

fn entries(
    tree: &ArchiveTree,
    dir: &ArchiveDir,
    path: &mut Vec<Vec<u8>>,
    links: &LinkPaths,
    out: &Output<'_>,
) -> Result<Vec<Entry>> {
    dir.names
        .iter()
        .map(|(name, child)| entry(tree, name, child, path, links, out))
        .collect()
}

fn entry(
    tree: &ArchiveTree,
    name: &[u8],
    child: &ArchiveChild,
    path: &mut Vec<Vec<u8>>,
    links: &LinkPaths,
    out: &Output<'_>,
) -> Result<Entry> {
    let name = name.to_vec();
    match &child.kind {
        ChildKind::Node(at) => {
            let missing =
                || ArchiveError::damaged(display(&path.join(&b'/')), "the content is missing");
            let inode = tree.inodes.get(*at).ok_or_else(missing)?;
            Ok(Entry {
                name,
                meta: inode.meta.clone(),
                link: links.link(*at),
                node: inode.node.clone(),
            })
        }
        ChildKind::Dir(dir) => {
            path.push(name.clone());
            let entries = entries(tree, dir, path, links, out)?;
            path.pop();
            let mut totals = Totals::default();
            entries.iter().for_each(|entry| totals.add(entry));
            let meta = dir.meta.clone().unwrap_or_else(|| newest(&entries));
            let node = Node::Dir {
                tree: store_tree(entries, None, out)?,
                totals,
            };
            Ok(Entry {
                name,
                meta,
                link: None,
                node,
            })
        }
    }
}

/// Returns the metadata of a directory that has no member. Its time is that of its newest entry, so
/// that it does not depend on the time of the import.
fn newest(entries: &[Entry]) -> Meta {
    let mtime = entries
        .iter()
        .map(|entry| entry.meta.mtime)
        .max()
        .unwrap_or(Time::default());
    Meta {
        mtime,
        ..default_meta()
    }
}

#[cfg(test)]
mod tests;
