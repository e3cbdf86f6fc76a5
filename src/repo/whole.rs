//! Checks whether every object of a version has a copy that stays, given another version that is
//! known to be whole.
//!
//! Only what differs from the other version is read: equal subtrees are part of both. A copy stays
//! if its pack is neither dead nor planned to be; the base of a delta must have such a copy too.

use std::collections::{HashMap, HashSet};

use super::Repo;
use crate::error::{Kind, Result};
use crate::format::object::ListNode;
use crate::format::pack::PackKind;
use crate::model::entry::{Content, Entry, Node};
use crate::model::id::{Id, ObjectKind};
use crate::model::tree::TreeBody;

/// An object without a copy that stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lacking {
    pub kind: ObjectKind,
    pub id: Id,
}

/// The copies of an object that count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CopyDemand {
    /// Copies that are not in dead packs.
    Exists,
    /// Of those, copies that are not in planned packs.
    Stays,
    /// Of those, copies that are not known to be damaged. Only a commit, which stores the objects
    /// again, demands this: for other users, a damaged object must not look like a deleted one.
    Reliable,
}

/// The result of a check: the first object that lacks a copy.
pub(super) type Wholeness = std::result::Result<(), Lacking>;

/// Checks versions. Trees that were found whole are not read again.
pub(super) struct WholeCheck<'r> {
    repo: &'r Repo,
    whole: HashSet<Id>,
    lacking: Option<Lacking>,
    demand: CopyDemand,
    /// Whether objects may be missing because they were never fetched.
    is_partial: bool,
}

impl Repo {
    /// Returns whether every object of a directory has a copy that stays: its nodes, and the lists
    /// and chunks of its files, but not those of its subdirectories. `is_root` includes the table
    /// of hard links.
    pub fn is_directory_whole(&self, tree: &Id, is_root: bool) -> Result<bool> {
        let mut check = WholeCheck {
            demand: CopyDemand::Reliable,
            ..WholeCheck::new(self)
        };
        match check.directory(tree, is_root) {
            Err(e) if e.kind() == Kind::Integrity => Ok(false),
            done => done.map(|()| check.lacking.is_none()),
        }
    }

    /// Returns the versions with an object that is damaged or has no copy that counts, according to
    /// the gc log as the repository last read it.
    pub fn versions_without_data(&self, versions: &[Id], demand: CopyDemand) -> Result<Vec<Id>> {
        let mut check = WholeCheck {
            demand,
            ..WholeCheck::new(self)
        };
        let mut without = Vec::new();
        for id in versions {
            match check.version(id, None) {
                // Damage is not the trace of an earlier gc.
                Err(e) if e.kind() == Kind::Integrity && demand != CopyDemand::Exists => {
                    without.push(*id);
                }
                checked => without.extend(checked?.err().map(|_| *id)),
            }
        }
        Ok(without)
    }
}

impl<'r> WholeCheck<'r> {
    /// Prepares a check against the gc log as the repository read it last.
    pub(super) fn new(repo: &'r Repo) -> Self {
        let is_partial = Repo::partial(repo.path()).is_some();
        Self {
            repo,
            whole: HashSet::new(),
            lacking: None,
            demand: CopyDemand::Stays,
            is_partial,
        }
    }

    /// Checks the commit object of a version.
    pub(super) fn commit(&mut self, commit: &Id) -> Result<Wholeness> {
        self.has(ObjectKind::Commit, commit)?;
        Ok(self.result())
    }

    /// Checks the objects of a version that are not part of the tree `beside`.
    pub(super) fn version(&mut self, commit: &Id, beside: Option<&Id>) -> Result<Wholeness> {
        if !self.has(ObjectKind::Commit, commit)? {
            return Ok(self.result());
        }
        match self.repo.commit_cached(commit) {
            Err(e) if e.kind() == Kind::Integrity && self.is_partial => Ok(Ok(())),
            commit => self.tree(&commit?.tree, beside),
        }
    }

    /// Checks the objects of the root of a version that are not part of the root `beside`.
    pub(super) fn tree(&mut self, tree: &Id, beside: Option<&Id>) -> Result<Wholeness> {
        let links = |tree: &Id| Ok::<_, crate::error::Error>(self.repo.root_info(tree)?.links);
        match self.root(tree, beside, links) {
            // A node that cannot be read has no copy that stays.
            Err(e)
                if e.kind() == Kind::Integrity && (self.lacking.is_some() || self.is_partial) => {}
            done => done?,
        }
        Ok(self.result())
    }

    fn directory(&mut self, tree: &Id, is_root: bool) -> Result<()> {
        for entry in self.checked_entries(*tree)?.unwrap_or_default() {
            if let Node::File { content, .. } = &entry.node {
                self.content(content, None)?;
            }
            if self.lacking.is_some() {
                return Ok(());
            }
        }
        match self.repo.root_info(tree).map(|root| root.links) {
            Ok(Some(links)) if is_root => self.content(&links, None),
            _ => Ok(()),
        }
    }

    fn root(
        &mut self,
        tree: &Id,
        beside: Option<&Id>,
        links: impl Fn(&Id) -> Result<Option<Content>>,
    ) -> Result<()> {
        self.directories(*tree, beside.copied())?;
        // Equal trees have equal tables of links.
        if self.lacking.is_none()
            && Some(tree) != beside
            && let Some(content) = links(tree)?
        {
            let old = beside.map(links).transpose()?.flatten();
            self.content(&content, old.as_ref())?;
        }
        Ok(())
    }

    fn result(&mut self) -> Wholeness {
        self.lacking.take().map_or(Ok(()), Err)
    }

    /// Returns whether an object has a copy that meets the demand, or needs none because this
    /// repository never had the object. Otherwise notes the object.
    fn has(&mut self, kind: ObjectKind, id: &Id) -> Result<bool> {
        let has_copy = match self.demand {
            CopyDemand::Exists => self.repo.live_copy(PackKind::of(kind), id)?.is_some(),
            CopyDemand::Stays => self.repo.rely_on_kind(PackKind::of(kind), id)?,
            CopyDemand::Reliable => self.repo.rely(kind, id)?,
        };
        if has_copy || self.repo.volatile().has(id) || self.repo.is_at_source(kind, id)? {
            return Ok(true);
        }
        // An object that a partial clone never fetched is not lacking, but an object whose copies a
        // gc may delete is.
        if self.is_partial && !self.repo.has(kind, id)? {
            return Ok(true);
        }
        self.lacking.get_or_insert(Lacking { kind, id: *id });
        Ok(false)
    }

    fn directories(&mut self, tree: Id, beside: Option<Id>) -> Result<()> {
        let mut todo = vec![(tree, beside)];
        while let Some((tree, beside)) = todo.pop() {
            if Some(tree) == beside || self.whole.contains(&tree) {
                continue;
            }
            let old = match beside {
                Some(old) => self.entries(old)?,
                None => HashMap::new(),
            };
            let Some(new) = self.checked_entries(tree)? else {
                return Ok(());
            };
            for entry in new {
                let before = old.get(&entry.name).map(|old| &old.node);
                match (&entry.node, before) {
                    // An equal node is part of the version that is known to be whole.
                    (new, Some(old)) if new == old => {}
                    (Node::Dir { tree, .. }, Some(Node::Dir { tree: old, .. })) => {
                        todo.push((*tree, Some(*old)))
                    }
                    (Node::Dir { tree, .. }, _) => todo.push((*tree, None)),
                    (Node::File { content, .. }, Some(Node::File { content: old, .. })) => {
                        self.content(content, Some(old))?;
                    }
                    (Node::File { content, .. }, _) => self.content(content, None)?,
                    _ => {}
                }
                if self.lacking.is_some() {
                    return Ok(());
                }
            }
            // Beside another tree, only the difference is known to be whole.
            if beside.is_none() {
                self.whole.insert(tree);
            }
        }
        Ok(())
    }

    /// Checks each node of a directory, and returns all its entries; `None` if a node lacks a copy.
    fn checked_entries(&mut self, tree: Id) -> Result<Option<Vec<Entry>>> {
        let (mut all, mut nodes) = (Vec::new(), vec![tree]);
        while let Some(id) = nodes.pop() {
            if !self.has(ObjectKind::Tree, &id)? {
                return Ok(None);
            }
            match self.repo.tree_node(&id)?.body {
                TreeBody::Leaf(entries) => all.extend(entries),
                TreeBody::Inner(children) => nodes.extend(children.iter().map(|child| child.id)),
            }
        }
        Ok(Some(all))
    }

    fn entries(&self, tree: Id) -> Result<HashMap<Vec<u8>, Entry>> {
        Ok(self
            .repo
            .entries(&tree)?
            .into_iter()
            .map(|entry| (entry.name.clone(), entry))
            .collect())
    }

    fn content(&mut self, new: &Content, old: Option<&Content>) -> Result<()> {
        if Some(new) == old {
            return Ok(());
        }
        match new {
            Content::Inline(_) => Ok(()),
            Content::Direct(extents) => {
                for id in extents.iter().filter_map(|extent| extent.chunk) {
                    if !self.has(ObjectKind::Chunk, &id)? {
                        return Ok(());
                    }
                }
                Ok(())
            }
            Content::List(root) => {
                // Nodes of the old list are known to be whole, so only the other nodes are read.
                let known = match old {
                    Some(Content::List(old)) => self.list_nodes(old)?,
                    _ => HashSet::new(),
                };
                self.list(*root, &known)
            }
        }
    }

    /// Returns the ids of all nodes of a list. Reads at most one leaf per inner node.
    fn list_nodes(&self, root: &Id) -> Result<HashSet<Id>> {
        let mut known = HashSet::from([*root]);
        let mut todo = vec![*root];
        while let Some(id) = todo.pop() {
            if let ListNode::Inner(children) = self.repo.list_node(&id)? {
                let first = children
                    .first()
                    .map(|child| self.repo.list_node(&child.1))
                    .transpose()?;
                // All children of a node have the same depth, so the first one shows whether
                // reading the others is useless.
                let are_leaves = matches!(first, Some(ListNode::Leaf(_)));
                for (_, child) in children {
                    if known.insert(child) && !are_leaves {
                        todo.push(child);
                    }
                }
            }
        }
        Ok(known)
    }

    fn list(&mut self, root: Id, known: &HashSet<Id>) -> Result<()> {
        let mut todo = vec![root];
        while let Some(id) = todo.pop() {
            if known.contains(&id) || self.whole.contains(&id) {
                continue;
            }
            if !self.has(ObjectKind::List, &id)? {
                return Ok(());
            }
            match self.repo.list_node(&id)? {
                ListNode::Inner(children) => todo.extend(children.iter().map(|child| child.1)),
                ListNode::Leaf(extents) => {
                    for chunk in extents.iter().filter_map(|extent| extent.chunk) {
                        if !self.has(ObjectKind::Chunk, &chunk)? {
                            return Ok(());
                        }
                    }
                    self.whole.insert(id);
                }
            }
        }
        Ok(())
    }
}
