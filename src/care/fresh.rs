//! Finds the versions that became visible between a mark and its fences, and the planned packs that
//! these versions need.

use std::collections::HashSet;

use super::mark::Marked;
use super::roots::Roots;
use crate::error::{Kind, Result};
use crate::format::object::ListNode;
use crate::format::pack::PackKind;
use crate::format::segment::PackName;
use crate::model::entry::{Content, Node};
use crate::model::id::{Id, ObjectKind};
use crate::model::tree::TreeBody;
use crate::observe::Observer;
use crate::repo::Repo;
use crate::repo::frames::ObjectError;
use crate::repo::gclog::GcState;
use crate::work::Cancelled;
use parking_lot::Mutex;

/// Determines which copies of an object stay if the packs of a plan are marked as dead.
pub(super) struct Kept<'k> {
    repo: &'k Repo,
    state: GcState,
    given_up: &'k HashSet<PackName>,
}

/// The copies of an object.
struct Copies {
    has_staying: bool,
    /// Packs of the other copies, and of their bases.
    given_up: Vec<PackName>,
}

impl<'k> Kept<'k> {
    /// Prepares the lookups for one plan.
    pub(super) fn new(repo: &'k Repo, given_up: &'k HashSet<PackName>) -> Self {
        Self {
            repo,
            state: repo.gc_state(),
            given_up,
        }
    }

    fn copies(&self, kind: PackKind, id: &Id) -> Result<Copies> {
        let mut copies = Copies {
            has_staying: false,
            given_up: Vec::new(),
        };
        for row in self.repo.index()?.lookup_all(kind, id)? {
            let packs = || std::iter::once(row.place.pack).chain(row.base.map(|base| base.pack));
            if packs().any(|pack| self.state.is_dead(&pack)) {
                continue;
            }
            if packs().any(|pack| self.given_up.contains(&pack)) {
                copies
                    .given_up
                    .extend(packs().filter(|pack| self.given_up.contains(pack)));
            } else {
                copies.has_staying = true;
            }
        }
        Ok(copies)
    }
}

/// Walks the objects that the mark has not visited.
pub(super) struct FreshWalk<'w> {
    repo: &'w Repo,
    kept: &'w Kept<'w>,
    marked: &'w Marked,
    observer: &'w dyn Observer,
    spared: Mutex<HashSet<PackName>>,
}

impl<'w> FreshWalk<'w> {
    pub(super) fn new(
        repo: &'w Repo,
        kept: &'w Kept<'w>,
        marked: &'w Marked,
        observer: &'w dyn Observer,
    ) -> Self {
        Self {
            repo,
            kept,
            marked,
            observer,
            spared: Mutex::default(),
        }
    }

    /// Walks from all roots. Returns the planned packs that contain a needed object without a copy
    /// in a pack that stays.
    pub(super) fn run(
        self,
        roots: &Roots,
        is_forgotten: &dyn Fn(&Id) -> bool,
    ) -> Result<HashSet<PackName>> {
        let is_partial = Repo::partial(self.repo.path()).is_some();
        let mut seen = HashSet::new();
        let mut todo = roots.refs.clone();
        while let Some(id) = todo.pop() {
            if !seen.insert(id) {
                continue;
            }
            let commit = match self.repo.commit_cached(&id) {
                Err(e) if is_partial && e.kind() == Kind::Integrity => continue,
                commit => commit?,
            };
            todo.extend(&commit.parents);
            if !self.marked.commits.contains(&id) {
                self.note(ObjectKind::Commit, &id)?;
            }
            if !is_forgotten(&id) && !self.marked.whole.contains(&id) {
                self.tree(commit.tree)?;
            }
        }
        for root in &roots.loose {
            // A root without a log that lacks objects is not damage: its owner removes it.
            let held = self.repo.commit_cached(&root.id).and_then(|commit| {
                if !self.marked.commits.contains(&root.id) {
                    self.note(ObjectKind::Commit, &root.id)?;
                }
                // The set of visited nodes skips the trees of the mark, unless it has forgotten
                // them.
                std::iter::once(&commit.tree)
                    .chain(&root.trees)
                    .try_for_each(|tree| self.tree(*tree))
            });
            if let Err(e) = held
                && e.kind() != Kind::Integrity
            {
                return Err(e);
            }
        }
        Ok(self.spared.into_inner())
    }

    fn note(&self, kind: ObjectKind, id: &Id) -> Result<()> {
        let copies = self.kept.copies(PackKind::of(kind), id)?;
        if copies.has_staying {
            return Ok(());
        }
        if !copies.given_up.is_empty() {
            self.spared.lock().extend(copies.given_up);
            return Ok(());
        }
        // A lazy clone finds missing objects at its source.
        if Repo::partial(self.repo.path()).is_some() || self.repo.is_lazy() {
            return Ok(());
        }
        Err(ObjectError::Missing { kind, id: *id }.into())
    }

    fn tree(&self, root: Id) -> Result<()> {
        let mut todo = vec![(ObjectKind::Tree, root)];
        while let Some((kind, id)) = todo.pop() {
            if self.observer.cancelled() {
                return Err(Cancelled.into());
            }
            if !self.marked.visited.insert(&id) {
                continue;
            }
            self.note(kind, &id)?;
            if kind == ObjectKind::List {
                match self.repo.list_node(&id)? {
                    ListNode::Leaf(extents) => {
                        extents
                            .iter()
                            .filter_map(|x| x.chunk)
                            .try_for_each(|id| self.note(ObjectKind::Chunk, &id))?;
                    }
                    ListNode::Inner(children) => {
                        todo.extend(children.iter().map(|c| (ObjectKind::List, c.1)))
                    }
                }
                continue;
            }
            let node = self.repo.tree_node(&id)?;
            if let Some(links) = node.root.as_ref().and_then(|root| root.links.as_ref()) {
                self.content(links, &mut todo)?;
            }
            match node.body {
                TreeBody::Inner(children) => {
                    todo.extend(children.iter().map(|c| (ObjectKind::Tree, c.id)))
                }
                TreeBody::Leaf(entries) => {
                    for entry in &entries {
                        match &entry.node {
                            Node::Dir { tree, .. } => todo.push((ObjectKind::Tree, *tree)),
                            Node::File { content, .. } => self.content(content, &mut todo)?,
                            _ => {}
                        }
                    }
                }
            }
        }
        Ok(())
    }

    fn content(&self, content: &Content, todo: &mut Vec<(ObjectKind, Id)>) -> Result<()> {
        match content {
            Content::Inline(_) => Ok(()),
            Content::Direct(extents) => extents
                .iter()
                .filter_map(|x| x.chunk)
                .try_for_each(|id| self.note(ObjectKind::Chunk, &id)),
            Content::List(root) => {
                todo.push((ObjectKind::List, *root));
                Ok(())
            }
        }
    }
}
