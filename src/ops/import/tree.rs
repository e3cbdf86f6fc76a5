//! The tree of an archive while it comes: names in memory, contents already stored.
//!
//! The last member of a name wins. A member is never put below one that is no directory, so that no link is ever
//! followed. In images, what a layer hides is taken out of those below it.

use std::collections::{BTreeMap, HashMap};

use super::ImportError;
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

/// What a name takes in memory besides its bytes: the nodes of maps and the rest of an entry.
const NAME_BYTES: u64 = 250;

/// All names.
pub(super) struct Tree {
    top: Dir,
    /// The layer that told of the top itself.
    top_layer: u32,
    inodes: Vec<Inode>,
    /// The layer that is coming.
    layer: u32,
    bytes: u64,
    limit: u64,
    members: u64,
}

#[derive(Default)]
struct Dir {
    /// `None` where only what lies in it was told.
    meta: Option<Meta>,
    names: BTreeMap<Vec<u8>, Child>,
}

struct Child {
    /// The layer that told of it last.
    layer: u32,
    what: What,
}

enum What {
    Dir(Dir),
    Node(usize),
}

/// What is no directory; several names may have it.
struct Inode {
    meta: Meta,
    node: Node,
}

/// What a directory has of which nothing was told.
pub(super) fn made_up() -> Meta {
    Meta { mode: 0o755, ..Meta::default() }
}

/// The metadata of directories above a path, by their names.
pub(super) type Above = HashMap<Vec<Vec<u8>>, Meta>;

impl Tree {
    /// An empty one that may take so many bytes.
    pub(super) fn new(limit: u64) -> Self {
        Self { top: Dir::default(), top_layer: 0, inodes: Vec::new(), layer: 0, bytes: 0, limit, members: 0 }
    }

    /// How many members it was made of.
    pub(super) const fn members(&self) -> u64 {
        self.members
    }

    /// Whether there is no name in it.
    pub(super) fn is_empty(&self) -> bool {
        self.top.names.is_empty()
    }

    /// Whether nothing told of it at all.
    pub(super) fn is_nothing(&self) -> bool {
        self.is_empty() && self.top.meta.is_none()
    }

    /// What comes now lies above all that came.
    pub(super) fn next_layer(&mut self) {
        self.layer += 1;
    }

    fn grow(&mut self, bytes: usize) -> Result<()> {
        self.members += 1;
        self.bytes = self.bytes.saturating_add(bytes as u64 + NAME_BYTES);
        if self.bytes > self.limit { Err(ImportError::TooMany(self.limit).into()) } else { Ok(()) }
    }

    /// The directory that a path lies in, made if it was not told of yet, and the last name; `None` for the top.
    fn parent<'t, 'n>(&'t mut self, names: &'n [Vec<u8>]) -> Result<Option<(&'t mut Dir, &'n Vec<u8>)>, ArchiveError> {
        let Some((last, above)) = names.split_last() else { return Ok(None) };
        let layer = self.layer;
        let mut dir = &mut self.top;
        for (depth, name) in above.iter().enumerate() {
            let new = || Child { layer, what: What::Dir(Dir::default()) };
            let child = dir.names.entry(name.clone()).or_insert_with(new);
            child.layer = layer;
            dir = match &mut child.what {
                What::Dir(below) => below,
                What::Node(at) => {
                    let what = match self.inodes.get(*at).map(|inode| &inode.node) {
                        Some(Node::Symlink { .. }) => "a symbolic link",
                        _ => "no directory",
                    };
                    let upper = display(&names[..=depth].join(&b'/'));
                    let why = format!("it lies below `{upper}`, which is {what}");
                    return Err(ArchiveError::refused(display(&names.join(&b'/')), why));
                }
            };
        }
        Ok(Some((dir, last)))
    }

    /// A directory; what is in it stays.
    pub(super) fn put_dir(&mut self, names: &[Vec<u8>], meta: Meta) -> Result<()> {
        self.grow(names.last().map_or(0, Vec::len) + weight(&meta))?;
        let layer = self.layer;
        let Some((dir, name)) = self.parent(names)? else {
            self.top.meta = Some(meta);
            self.top_layer = layer;
            return Ok(());
        };
        let child = dir.names.entry(name.clone()).or_insert(Child { layer, what: What::Dir(Dir::default()) });
        child.layer = layer;
        match &mut child.what {
            What::Dir(dir) => dir.meta = Some(meta),
            other @ What::Node(_) => *other = What::Dir(Dir { meta: Some(meta), ..Dir::default() }),
        }
        Ok(())
    }

    /// Anything else.
    pub(super) fn put_node(&mut self, names: &[Vec<u8>], meta: Meta, node: Node) -> Result<()> {
        let inline = match &node {
            Node::File { content: crate::model::entry::Content::Inline(bytes), .. } => bytes.len(),
            Node::Symlink { target } => target.len(),
            _ => 0,
        };
        self.grow(names.last().map_or(0, Vec::len) + inline + weight(&meta))?;
        let at = self.inodes.len();
        self.name(names, at)?;
        self.inodes.push(Inode { meta, node });
        Ok(())
    }

    /// One more name of what is at `target`.
    pub(super) fn put_link(&mut self, names: &[Vec<u8>], target: &[Vec<u8>]) -> Result<()> {
        self.grow(names.last().map_or(0, Vec::len))?;
        let mut dir = Some(&self.top);
        let mut found = None;
        for name in target {
            let child = dir.and_then(|dir| dir.names.get(name));
            (dir, found) = match child.map(|child| &child.what) {
                Some(What::Dir(below)) => (Some(below), None),
                Some(What::Node(at)) => (None, Some(*at)),
                None => (None, None),
            };
        }
        let Some(at) = found else {
            let why = format!("it is another name of `{}`, which did not come before it", display(&target.join(&b'/')));
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
            None => Err(ArchiveError::refused(".", "the top of the archive is no directory").into()),
            Some((dir, name)) => {
                dir.names.insert(name.clone(), Child { layer, what: What::Node(at) });
                Ok(())
            }
        }
    }

    /// Hides what lower layers have at a path, or, with `inside`, in it.
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
            match dir.names.get_mut(name).map(|child| &mut child.what) {
                Some(What::Dir(below)) => dir = below,
                _ => return,
            }
        }
        match last {
            None => hide_lower(dir, layer),
            Some(name) => match dir.names.get_mut(name) {
                Some(Child { layer: own, what: What::Dir(below) }) if *own == layer => hide_lower(below, layer),
                Some(child) if child.layer != layer => {
                    dir.names.remove(name);
                }
                _ => {}
            },
        }
    }

    /// Stores all of it as the tree of a version.
    pub(super) fn store(self, out: &Output<'_>) -> Result<(Id, Totals)> {
        let links = Links::of(&self, &[]);
        let table = links.table();
        let entries = entries(&self, &self.top, &mut Vec::new(), &links, out)?;
        let mut totals = Totals::default();
        entries.iter().for_each(|entry| totals.add(entry));
        let meta = self.top.meta.clone().unwrap_or_else(|| newest(&entries));
        let links = if table.0.is_empty() { None } else { Some(store_links(out, &table)?) };
        let tree = store_tree(entries, Some(RootInfo { meta, totals, links }), out)?;
        Ok((tree, totals))
    }

    /// Stores what is at a path: its entry, the hard links in it, and the metadata of directories above it.
    pub(super) fn store_at(&self, names: &[Vec<u8>], out: &Output<'_>) -> Result<Option<(Entry, LinkTable, Above)>> {
        let mut above = Above::new();
        let mut dir = &self.top;
        let Some((last, way)) = names.split_last() else { return Ok(None) };
        above.extend(dir.meta.clone().map(|meta| (Vec::new(), meta)));
        for (depth, name) in way.iter().enumerate() {
            let Some(What::Dir(below)) = dir.names.get(name).map(|child| &child.what) else { return Ok(None) };
            dir = below;
            above.extend(dir.meta.clone().map(|meta| (names[..=depth].to_vec(), meta)));
        }
        let Some(child) = dir.names.get(last) else { return Ok(None) };
        let links = Links::of(self, names);
        let mut path = way.to_vec();
        let entry = entry(self, last, child, &mut path, &links, out)?;
        Ok(Some((entry, links.table(), above)))
    }
}

fn weight(meta: &Meta) -> usize {
    meta.xattrs.iter().map(|x| x.name.len() + x.value.len() + 48).sum()
}

fn hide_lower(dir: &mut Dir, layer: u32) {
    dir.names.retain(|_, child| child.layer == layer);
    for child in dir.names.values_mut() {
        if let What::Dir(below) = &mut child.what {
            hide_lower(below, layer);
        }
    }
}

/// Names of what has several.
struct Links(HashMap<usize, Vec<Vec<u8>>>);

impl Links {
    /// Below a path.
    fn of(tree: &Tree, names: &[Vec<u8>]) -> Self {
        let mut counts = vec![0u32; tree.inodes.len()];
        let mut dir = Some(&tree.top);
        for name in names {
            dir = match dir.and_then(|dir| dir.names.get(name)).map(|child| &child.what) {
                Some(What::Dir(below)) => Some(below),
                _ => None,
            };
        }
        let Some(dir) = dir else { return Self(HashMap::new()) };
        each(dir, &names.join(&b'/'), &mut |_, at| counts[at] += 1);
        let mut groups: HashMap<usize, Vec<Vec<u8>>> = HashMap::new();
        each(dir, &names.join(&b'/'), &mut |path, at| {
            if counts[at] > 1 {
                groups.entry(at).or_default().push(path);
            }
        });
        groups.values_mut().for_each(|paths| paths.sort());
        Self(groups)
    }

    fn link(&self, at: usize) -> Option<HardLink> {
        self.0.get(&at).and_then(|paths| link_of(paths))
    }

    fn table(&self) -> LinkTable {
        let mut all: Vec<_> = self.0.values().filter_map(|p| Some((link_of(p)?.group, p.clone()))).collect();
        all.sort();
        LinkTable(all)
    }
}

/// Calls back for each name that is no directory.
fn each(dir: &Dir, path: &[u8], found: &mut dyn FnMut(Vec<u8>, usize)) {
    for (name, child) in &dir.names {
        let path = join(path, name);
        match &child.what {
            What::Dir(below) => each(below, &path, found),
            What::Node(at) => found(path, *at),
        }
    }
}

fn entries(tree: &Tree, dir: &Dir, path: &mut Vec<Vec<u8>>, links: &Links, out: &Output<'_>) -> Result<Vec<Entry>> {
    dir.names.iter().map(|(name, child)| entry(tree, name, child, path, links, out)).collect()
}

fn entry(
    tree: &Tree,
    name: &[u8],
    child: &Child,
    path: &mut Vec<Vec<u8>>,
    links: &Links,
    out: &Output<'_>,
) -> Result<Entry> {
    let name = name.to_vec();
    match &child.what {
        What::Node(at) => {
            let missing = || ArchiveError::damaged(display(&path.join(&b'/')), "it has no content");
            let inode = tree.inodes.get(*at).ok_or_else(missing)?;
            Ok(Entry { name, meta: inode.meta.clone(), link: links.link(*at), node: inode.node.clone() })
        }
        What::Dir(dir) => {
            path.push(name.clone());
            let entries = entries(tree, dir, path, links, out)?;
            path.pop();
            let mut totals = Totals::default();
            entries.iter().for_each(|entry| totals.add(entry));
            let meta = dir.meta.clone().unwrap_or_else(|| newest(&entries));
            let node = Node::Dir { tree: store_tree(entries, None, out)?, totals };
            Ok(Entry { name, meta, link: None, node })
        }
    }
}

/// The metadata of a directory of which nothing was told: its time is that of the newest thing in it, so that it does not
/// depend on when it was imported.
fn newest(entries: &[Entry]) -> Meta {
    let mtime = entries.iter().map(|entry| entry.meta.mtime).max().unwrap_or(Time::default());
    Meta { mtime, ..made_up() }
}

#[cfg(test)]
mod tests;
