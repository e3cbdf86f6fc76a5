//! The entries of a directory one by one: of a search tree, one node of each level is in memory.
//!
//! Invariant: names come in order, each once, and no node is read that adds none, so that a tree which another program
//! made cannot keep a reader busy for longer than its names are worth.

use super::Repo;
use super::frames::ObjectError;
use crate::error::{Error, Result};
use crate::model::entry::Entry;
use crate::model::id::{Id, ObjectKind};
use crate::model::tree::{RootInfo, TreeBody, TreeChild, TreeNode};

/// No search tree is deeper; a deeper one is hostile.
const DEPTH_MAX: usize = 64;

/// Reads the entries of a directory in order.
pub struct Names<'a> {
    repo: &'a Repo,
    tree: Id,
    /// The children that are left of each inner node on the way down.
    inner: Vec<std::vec::IntoIter<TreeChild>>,
    leaf: std::vec::IntoIter<Entry>,
    /// The last name of the leaf before.
    last: Option<Vec<u8>>,
}

impl Repo {
    /// The entries of a directory, one by one.
    pub fn names(&self, tree: &Id) -> Result<Names<'_>> {
        let node = self.tree_node(tree)?;
        Ok(Names::of(self, *tree, node))
    }

    /// The root of a version: its own metadata, and its entries one by one.
    pub fn root_names(&self, tree: &Id) -> Result<(RootInfo, Names<'_>)> {
        let mut node = self.tree_node(tree)?;
        let not_root = || malformed(tree, "it is not the root of a version");
        let info = node.root.take().ok_or_else(not_root)?;
        Ok((info, Names::of(self, *tree, node)))
    }
}

impl<'a> Names<'a> {
    /// Entries that are in memory already, in order.
    pub fn these(repo: &'a Repo, entries: Vec<Entry>) -> Self {
        Self { repo, tree: Id([0; 32]), inner: Vec::new(), leaf: entries.into_iter(), last: None }
    }

    pub(super) fn of(repo: &'a Repo, tree: Id, node: TreeNode) -> Self {
        let (inner, leaf) = match node.body {
            TreeBody::Leaf(entries) => (Vec::new(), entries),
            TreeBody::Inner(children) => (vec![children.into_iter()], Vec::new()),
        };
        let last = leaf.last().map(|e| e.name.clone()).filter(|_| !inner.is_empty());
        Self { repo, tree, inner, leaf: leaf.into_iter(), last }
    }

    /// All that is left.
    pub(super) fn all(mut self) -> Result<Vec<Entry>> {
        let mut all: Vec<Entry> = self.leaf.by_ref().collect();
        while let Some(leaf) = self.next_leaf() {
            all.extend(leaf?);
        }
        Ok(all)
    }

    /// The next leaf of the search tree, checked against the one before and against what its parent says.
    fn next_leaf(&mut self) -> Option<Result<Vec<Entry>>> {
        loop {
            let Some(child) = self.inner.last_mut()?.next() else {
                self.inner.pop();
                continue;
            };
            let read = self.read(&child);
            if read.is_err() {
                // Nothing comes after an error.
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
        if self.inner.len() > DEPTH_MAX {
            return Err(malformed(&self.tree, "it is nested too deeply"));
        }
        let body = self.repo.tree_node(&child.id)?.body;
        let first = match &body {
            TreeBody::Leaf(entries) => entries.first().map(|e| &e.name),
            TreeBody::Inner(children) => children.first().map(|c| &c.first),
        };
        if first != Some(&child.first) {
            return Err(malformed(&child.id, "it does not begin with the name that its parent says"));
        }
        if self.last.as_ref().is_some_and(|last| *last >= child.first) {
            return Err(malformed(&self.tree, "names out of order"));
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

fn malformed(tree: &Id, why: &str) -> Error {
    ObjectError::Malformed { kind: ObjectKind::Tree, id: *tree, why: why.to_owned() }.into()
}
