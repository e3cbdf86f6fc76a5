//! Looks up directories of a version by path. Lookups in path order are cheap, because the
//! directories on the last path are kept.

use super::source::Source;
use crate::error::Result;
use crate::model::entry::{Entry, Meta, Node, Totals};
use crate::model::id::Id;
use crate::model::path::split;
use crate::model::tree::RootInfo;

/// A directory of a version.
pub(super) struct Found<'l> {
    pub(super) meta: &'l Meta,
    pub(super) tree: Id,
    pub(super) totals: Totals,
    pub(super) entries: &'l [Entry],
}

/// A lookup with the state of the last path.
pub(super) struct Lookup<'a> {
    source: &'a dyn Source,
    tree: Id,
    pub(super) info: RootInfo,
    root: Vec<Entry>,
    /// The directories on the last path: index among the entries of the parent, and entries.
    way: Vec<(usize, Vec<Entry>)>,
}

impl<'a> Lookup<'a> {
    /// Creates a lookup in the version with this root.
    pub(super) fn new(source: &'a dyn Source, tree: &Id) -> Result<Self> {
        let (info, root) = source.root(tree)?;
        Ok(Self {
            source,
            tree: *tree,
            info,
            root,
            way: Vec::new(),
        })
    }

    /// Returns the entries of the root.
    pub(super) fn root(&self) -> &[Entry] {
        &self.root
    }

    fn entries(&self, depth: usize) -> &[Entry] {
        depth
            .checked_sub(1)
            .and_then(|d| self.way.get(d))
            .map_or(&self.root, |w| &w.1)
    }

    fn at(&self, depth: usize, name: &[u8]) -> Option<usize> {
        self.entries(depth)
            .binary_search_by(|e| e.name.as_slice().cmp(name))
            .ok()
    }

    /// Returns the directory at `path`, or `None` if the version has no directory there.
    pub(super) fn dir(&mut self, path: &[u8]) -> Result<Option<Found<'_>>> {
        let Some(names) = split(path) else {
            return Ok(None);
        };
        for (depth, name) in names.iter().enumerate() {
            let Some(at) = self.at(depth, name) else {
                return Ok(None);
            };
            if self.way.get(depth).is_some_and(|w| w.0 == at) {
                continue;
            }
            // From here on, the path differs from the last one.
            self.way.truncate(depth);
            let Some(Node::Dir { tree, .. }) = self.entries(depth).get(at).map(|e| &e.node) else {
                return Ok(None);
            };
            let entries = self.source.entries(tree)?;
            self.way.push((at, entries));
        }
        self.way.truncate(names.len());
        let entries = self.entries(names.len());
        let Some(above) = names.len().checked_sub(1) else {
            let totals = self.info.totals;
            return Ok(Some(Found {
                meta: &self.info.meta,
                tree: self.tree,
                totals,
                entries,
            }));
        };
        let entry = self
            .way
            .get(above)
            .and_then(|w| self.entries(above).get(w.0));
        Ok(entry.and_then(|e| match &e.node {
            Node::Dir { tree, totals } => Some(Found {
                meta: &e.meta,
                tree: *tree,
                totals: *totals,
                entries,
            }),
            _ => None,
        }))
    }

    /// Returns the entry at `path`.
    pub(super) fn entry(&mut self, path: &[u8]) -> Result<Option<Entry>> {
        let slash = path.iter().rposition(|b| *b == b'/');
        let (dir, name) = slash.map_or((&path[..0], path), |at| (&path[..at], &path[at + 1..]));
        let Some(found) = self.dir(dir)? else {
            return Ok(None);
        };
        let at = found
            .entries
            .binary_search_by(|e| e.name.as_slice().cmp(name))
            .ok();
        Ok(at.and_then(|at| found.entries.get(at)).cloned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkout::memory::Memory;

    #[test]
    fn paths_in_any_order() {
        let mut m = Memory::default();
        let deep = m.file("deep", b"1");
        let c = m.dir("c", vec![deep]);
        let b = m.dir("b", vec![c]);
        let file = m.file("file", b"2");
        let a = m.dir("a", vec![b, file]);
        let d = m.dir("d", vec![]);
        let tree = m.tree(vec![a, d]);
        let mut lookup = Lookup::new(&m, &tree).unwrap();
        for (path, count) in [
            ("a/b/c", 1),
            ("a", 2),
            ("", 2),
            ("d", 0),
            ("a/b", 1),
            ("a/b/c", 1),
        ] {
            assert_eq!(
                lookup.dir(path.as_bytes()).unwrap().unwrap().entries.len(),
                count,
                "{path}"
            );
        }
        assert!(lookup.dir(b"a/file").unwrap().is_none());
        assert!(lookup.dir(b"x").unwrap().is_none());
        assert_eq!(lookup.entry(b"a/b/c/deep").unwrap().unwrap().name, b"deep");
        assert!(lookup.entry(b"a/file").unwrap().is_some());
        assert!(lookup.entry(b"d").unwrap().is_some());
        assert!(lookup.entry(b"a/file/x").unwrap().is_none());
    }
}
