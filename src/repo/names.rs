//! Reads the directories of versions. The entries of a directory form a search tree; one node per
//! level is kept in memory.
//!
//! Invariant: names are unique and in order, and every leaf that is read adds names. Therefore the
//! time for reading a forged tree is proportional to the number of its names.

use super::frames::ObjectError;
use super::handle::Repo;
use crate::error::Result;
use crate::model::entry::{Entry, Node};
use crate::model::id::{Id, ObjectKind};
use crate::model::tree::{RootInfo, TreeBody, TreeChild, TreeNode};

/// Limit on the depth of a search tree. Only a forged tree is deeper.
const DEPTH_MAX: usize = 64;

/// Iterates over the entries of a directory in order.
pub struct Names<'a> {
    repo: &'a Repo,
    tree: Id,
    /// The remaining children of each inner node on the current path.
    inner: Vec<std::vec::IntoIter<TreeChild>>,
    leaf: std::vec::IntoIter<Entry>,
    /// The last name of the previous leaf.
    last: Option<Vec<u8>>,
}

impl Repo {
    /// Iterates over the entries of a directory.
    pub fn names(&self, tree: &Id) -> Result<Names<'_>> {
        let node = self.tree_node(tree)?;
        Ok(Names::new(self, *tree, node))
    }

    /// Returns the properties of the root of a version, and an iterator over its entries.
    pub fn root_names(&self, tree: &Id) -> Result<(RootInfo, Names<'_>)> {
        let mut node = self.tree_node(tree)?;
        let info = node.root.take().ok_or_else(|| not_root(tree))?;
        Ok((info, Names::new(self, *tree, node)))
    }

    /// Returns all entries of a directory, sorted by name.
    pub fn entries(&self, tree: &Id) -> Result<Vec<Entry>> {
        self.names(tree)?.all()
    }

    /// Returns the properties and all entries of the root of a version.
    pub fn root(&self, tree: &Id) -> Result<(RootInfo, Vec<Entry>)> {
        let (info, names) = self.root_names(tree)?;
        Ok((info, names.all()?))
    }

    /// Returns the properties of the root of a version.
    pub fn root_info(&self, tree: &Id) -> Result<RootInfo> {
        self.tree_node(tree)?.root.ok_or_else(|| not_root(tree))
    }

    /// Returns the entry with a name, or `None`. Reads only the nodes on the path to the entry.
    pub fn entry(&self, tree: &Id, name: &[u8]) -> Result<Option<Entry>> {
        let mut node = self.tree_node(tree)?;
        for _ in 0..DEPTH_MAX {
            match node.body {
                TreeBody::Leaf(mut entries) => {
                    let found = entries.binary_search_by(|e| e.name.as_slice().cmp(name));
                    return Ok(found.ok().map(|at| entries.swap_remove(at)));
                }
                TreeBody::Inner(children) => {
                    // The last child that does not begin after the name is the only one that can
                    // contain the name.
                    let after = children.partition_point(|c| c.first.as_slice() <= name);
                    let Some(child) = after.checked_sub(1).and_then(|at| children.get(at)) else {
                        return Ok(None);
                    };
                    node = self.tree_node(&child.id)?;
                }
            }
        }
        Err(too_deep(tree))
    }

    /// Returns the entry at a path below a tree, or `None` if it does not exist. The root itself
    /// has no entry, so the path must not be empty.
    pub fn find(&self, tree: &Id, path: &[Vec<u8>]) -> Result<Option<Entry>> {
        let mut dir = *tree;
        let mut names = path.iter().peekable();
        while let Some(name) = names.next() {
            let Some(entry) = self.entry(&dir, name)? else {
                return Ok(None);
            };
            if names.peek().is_none() {
                return Ok(Some(entry));
            }
            let Node::Dir { tree, .. } = entry.node else {
                return Ok(None);
            };
            dir = tree;
        }
        Ok(None)
    }
}

impl<'a> Names<'a> {
    /// Iterates over entries that are already in memory, in order.
    pub fn these(repo: &'a Repo, entries: Vec<Entry>) -> Self {
        Self {
            repo,
            tree: Id([0; 32]),
            inner: Vec::new(),
            leaf: entries.into_iter(),
            last: None,
        }
    }

    fn new(repo: &'a Repo, tree: Id, node: TreeNode) -> Self {
        let (inner, leaf) = match node.body {
            TreeBody::Leaf(entries) => (Vec::new(), entries),
            TreeBody::Inner(children) => (vec![children.into_iter()], Vec::new()),
        };
        let last = leaf
            .last()
            .map(|e| e.name.clone())
            .filter(|_| !inner.is_empty());
        Self {
            repo,
            tree,
            inner,
            leaf: leaf.into_iter(),
            last,
        }
    }

    /// Returns all remaining entries.
    fn all(mut self) -> Result<Vec<Entry>> {
        let mut all: Vec<Entry> = self.leaf.by_ref().collect();
        while let Some(leaf) = self.next_leaf() {
            all.extend(leaf?);
        }
        Ok(all)
    }

    /// Returns the next leaf of the search tree, after checking that it fits its parent and its
    /// predecessor.
    fn next_leaf(&mut self) -> Option<Result<Vec<Entry>>> {
        loop {
            let Some(child) = self.inner.last_mut()?.next() else {
                self.inner.pop();
                continue;
            };
            let read = self.read(&child);
            if read.is_err() {
                // End the iteration after an error.
                self.inner.clear();
            }
            match read {
                Ok(TreeBody::Inner(children)) => self.inner.push(children.into_iter()),
                Ok(TreeBody::Leaf(entries)) => {
                    self.last = entries.last().map(|e| e.name.clone());
                    return Some(Ok(entries));
                }
                Err(e) => return Some(Err(e)),
            }
        }
    }

    fn read(&self, child: &TreeChild) -> Result<TreeBody> {
        let malformed = |id, why| Err(ObjectError::malformed(ObjectKind::Tree, id, why));
        if self.inner.len() > DEPTH_MAX {
            return Err(too_deep(&self.tree));
        }
        let body = self.repo.tree_node(&child.id)?.body;
        let first = match &body {
            TreeBody::Leaf(entries) => entries.first().map(|e| &e.name),
            TreeBody::Inner(children) => children.first().map(|c| &c.first),
        };
        // A forged tree could otherwise repeat names and take any amount of time.
        if first != Some(&child.first) {
            return malformed(
                &child.id,
                "the first name differs from the name in the parent node",
            );
        }
        if self.last.as_ref().is_some_and(|last| *last >= child.first) {
            return malformed(&self.tree, "names out of order");
        }
        Ok(body)
    }
}

impl Iterator for Names<'_> {
    type Item = Result<Entry>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(entry) = self.leaf.next() {
                return Some(Ok(entry));
            }
            match self.next_leaf()? {
                Ok(leaf) => self.leaf = leaf.into_iter(),
                Err(e) => return Some(Err(e)),
            }
        }
    }
}

fn not_root(tree: &Id) -> crate::error::Error {
    ObjectError::malformed(ObjectKind::Tree, tree, "not the root of a version")
}

fn too_deep(tree: &Id) -> crate::error::Error {
    ObjectError::malformed(ObjectKind::Tree, tree, "nested too deeply")
}
