//! Walks all objects that are reachable from refs: commits, trees and chunk lists. For chunks,
//! checks only that the index has a row.
//!
//! Several threads read each object once. Visited ids are stored by their first eight bytes: only
//! an attacker can create two objects with the same prefix, and then only the attacker's own second
//! object is not checked.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use rayon::Scope;

use super::findings::{Findings, is_damage};
use super::logs::Root;
use super::report::What;
use crate::error::{Error, Kind, Result, with_causes};
use crate::format::object::ListNode;
use crate::format::pack::PackKind;
use crate::format::segment::IndexRow;
use crate::model::entry::{Content, Extent, Node};
use crate::model::id::{Id, ObjectKind};
use crate::model::path;
use crate::model::tree::TreeBody;
use crate::observe::Observer;
use crate::repo::Repo;
use crate::repo::frames::ObjectError;
use crate::repo::trashlog::TrashState;

/// A visited version.
#[derive(Clone, Copy, Debug)]
pub(super) struct Version {
    pub(super) id: Id,
    pub(super) tree: Id,
    /// Position of the root from which the version was first reached.
    pub(super) root: usize,
    pub(super) ordinal: u64,
}

/// A version whose commit is unreadable.
#[derive(Clone, Copy, Debug)]
pub(super) struct LostVersion {
    pub(super) id: Id,
    pub(super) root: usize,
    /// Ordinal derived from the child commit; `None` if a ref points to the version.
    pub(super) ordinal: Option<u64>,
}

/// The versions that a walk has visited.
#[derive(Debug, Default)]
pub(super) struct Versions {
    pub(super) whole: Vec<Version>,
    pub(super) lost: Vec<LostVersion>,
}

/// The state of a walk, which all threads share.
pub(super) struct Walk<'a> {
    pub(super) repo: &'a Repo,
    pub(super) findings: &'a Findings<'a>,
    pub(super) observer: &'a dyn Observer,
    visited: Mutex<HashSet<u64>>,
    failed: Mutex<Option<Error>>,
    remote: Remote<'a>,
    /// Versions in the trash, of which a gc may have collected data.
    forgotten: TrashState,
    trees: AtomicU64,
    lists: AtomicU64,
    chunks: AtomicU64,
}

/// The remote that has the objects which are not local.
enum Remote<'a> {
    /// The repository is not a lazy clone, so all objects must be local.
    None,
    /// The remote of a lazy clone.
    Available(&'a Repo),
    /// The repository is a lazy clone, but its remote does not respond.
    Unavailable(Error),
}

impl<'a> Remote<'a> {
    fn of(repo: &'a Repo) -> Result<Self> {
        match repo
            .lazy_source()
            .and_then(|source| source.map(|b| b.index().map(|_| b)).transpose())
        {
            Ok(None) => Ok(Self::None),
            Ok(Some(source)) => Ok(Self::Available(source)),
            Err(e) if e.kind() == Kind::Cancelled => Err(e),
            // A remote that cannot be reached does not end the check, because the local objects can
            // be checked.
            Err(e) => Ok(Self::Unavailable(e)),
        }
    }
}

/// The way in which the walk has reached a version.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// From the log of a ref.
    Named,
    /// As the first parent of the commit with this ordinal.
    Before(u64),
    /// As a further parent of a merge.
    Merged,
}

/// The expected role of a tree node.
enum Role {
    Root,
    Directory,
    /// A node of a large directory, with its expected first name.
    Piece(Vec<u8>),
}

impl<'a> Walk<'a> {
    pub(super) fn new(
        repo: &'a Repo,
        findings: &'a Findings<'a>,
        observer: &'a dyn Observer,
    ) -> Result<Self> {
        Ok(Self {
            repo,
            findings,
            observer,
            visited: Mutex::default(),
            failed: Mutex::default(),
            remote: Remote::of(repo)?,
            // `gc_state` reports a damaged trash log.
            forgotten: repo.forgotten().or_else(|e| {
                if is_damage(&e) {
                    Ok(TrashState::default())
                } else {
                    Err(e)
                }
            })?,
            trees: AtomicU64::new(0),
            lists: AtomicU64::new(0),
            chunks: AtomicU64::new(0),
        })
    }

    /// Returns the number of objects that are not local and that the remote may or may not have.
    pub(super) fn unknown(&self) -> u64 {
        match &self.remote {
            Remote::Unavailable(_) => self.findings.count_remote() as u64,
            _ => 0,
        }
    }

    /// Walks from all roots on the threads of the current rayon pool. Returns the visited versions.
    pub(super) fn run(&self, roots: &[Root]) -> Result<Versions> {
        // The scope ends when all its tasks have ended, so the counts below are complete.
        let versions = rayon::scope(|scope| self.versions(scope, roots));
        match self.failed.lock().take() {
            Some(e) => Err(e),
            None => {
                self.report_remote();
                Ok(versions)
            }
        }
    }

    /// Returns whether an object of a lazy clone is only on the remote. If the remote does not
    /// respond, it is assumed to have the object.
    fn is_remote(&self, kind: ObjectKind, id: &Id) -> bool {
        let there = match &self.remote {
            Remote::None => return false,
            // If the index cannot be read, the check of the object itself reports the error.
            _ if self.repo.has(kind, id).unwrap_or(true) => return false,
            Remote::Available(source) => source.has(kind, id),
            Remote::Unavailable(_) => Ok(true),
        };
        match there {
            Ok(there) => {
                if there {
                    self.findings.add_remote(id);
                }
                there
            }
            Err(e) => {
                self.failed.lock().get_or_insert(e);
                true
            }
        }
    }

    /// Adds a note about the objects that are not local.
    fn report_remote(&self) {
        match (self.findings.count_remote(), &self.remote) {
            (0, _) | (_, Remote::None) => {}
            (n, Remote::Available(source)) => {
                self.findings.note(format!(
                    "objects that are only on the remote `{}`: {n}",
                    source.store().place()
                ));
            }
            (n, Remote::Unavailable(e)) => self.findings.note(format!(
                "objects that are not local: {n}; cannot check whether the remote has them: {}",
                with_causes(e.as_error())
            )),
        }
    }

    /// Returns the numbers of trees, chunk lists and chunks that were checked so far.
    pub(super) fn counts(&self) -> [u64; 3] {
        [&self.trees, &self.lists, &self.chunks].map(|n| n.load(Ordering::Relaxed))
    }

    fn versions<'s>(&'s self, scope: &Scope<'s>, roots: &[Root]) -> Versions {
        let mut versions = Versions::default();
        // The trees of a forgotten version are checked if a ref still has this version.
        let tips: HashSet<Id> = roots
            .iter()
            .filter(|root| root.current)
            .map(|root| root.id)
            .collect();
        let mut forgotten = 0u64;
        for (number, root) in roots.iter().enumerate() {
            let mut todo = vec![(root.id, Place::Named)];
            while let Some((id, place)) = todo.pop() {
                if self.stopped() || !self.visit(&id) || self.is_remote(ObjectKind::Commit, &id) {
                    continue;
                }
                let commit = match self
                    .ensure_live(ObjectKind::Commit, &id)
                    .and_then(|()| self.repo.commit(&id))
                {
                    Ok(commit) => commit,
                    // A gc may have deleted an old value of a ref, which is not damage.
                    Err(e) if !root.current && place == Place::Named && is_missing(&e) => {
                        let (name, id) = (&root.name, id.short());
                        self.findings.note(format!(
                            "version {id} in the log of `{name}` no longer exists"
                        ));
                        continue;
                    }
                    Err(e) => {
                        self.fail(ObjectKind::Commit, &id, e);
                        let ordinal = match place {
                            Place::Before(child) => child.checked_sub(1),
                            _ => None,
                        };
                        versions.lost.push(LostVersion {
                            id,
                            root: number,
                            ordinal,
                        });
                        continue;
                    }
                };
                if let Place::Before(child) = place
                    && child != commit.ordinal.saturating_add(1)
                {
                    let why = format!(
                        "the ordinal is {}, but that of its child is {child}",
                        commit.ordinal
                    );
                    self.findings
                        .damage(What::Object, format!("commit {id}"), why);
                }
                let is_forgotten = self.forgotten.contains(&id) && !tips.contains(&id);
                forgotten += u64::from(is_forgotten);
                self.observer.advance(1, 0);
                // Push the first parent last, so that it is walked next and a line of versions
                // stays together.
                todo.extend(
                    commit
                        .parents
                        .iter()
                        .skip(1)
                        .rev()
                        .map(|p| (*p, Place::Merged)),
                );
                todo.extend(
                    commit
                        .parents
                        .first()
                        .map(|p| (*p, Place::Before(commit.ordinal))),
                );
                if !is_forgotten {
                    versions.whole.push(Version {
                        id,
                        tree: commit.tree,
                        root: number,
                        ordinal: commit.ordinal,
                    });
                    scope.spawn(move |scope| self.tree(scope, commit.tree, Role::Root));
                }
            }
        }
        if forgotten > 0 {
            self.findings.note(format!(
                "forgotten versions, of which only the names are checked: {forgotten}"
            ));
        }
        versions
    }

    /// Returns true at the first visit of an object.
    fn visit(&self, id: &Id) -> bool {
        self.visited.lock().insert(id.prefix())
    }

    fn stopped(&self) -> bool {
        // An error that is not damage, such as a lost connection, ends the work of all threads.
        self.observer.cancelled() || self.failed.lock().is_some()
    }

    /// Records an object that cannot be read, as damage or as the error of the whole walk.
    fn fail(&self, kind: ObjectKind, id: &Id, e: Error) {
        if !is_damage(&e) {
            self.failed.lock().get_or_insert(e);
            return;
        }
        // The object was found by another path or thread, which has reported the damage.
        if !self.findings.lose(kind, id) {
            return;
        }
        if e.as_error().is::<crate::index::IndexError>() {
            // The index check has already reported the damaged segment.
            return;
        }
        match e.as_error().downcast_ref::<ObjectError>() {
            // The data check reads the whole pack later and reports its damage.
            Some(ObjectError::Damaged { pack, .. }) => self.findings.suspect(pack, None),
            _ => self.findings.damage(
                What::Object,
                format!("{} {id}", kind.name()),
                with_causes(e.as_error()),
            ),
        }
    }

    fn malformed(&self, kind: ObjectKind, id: &Id, why: &str) {
        self.findings.lose(kind, id);
        self.findings
            .damage(What::Object, format!("{} {id}", kind.name()), why);
    }

    fn tree<'s>(&'s self, scope: &Scope<'s>, id: Id, role: Role) {
        if self.stopped() || !self.visit(&id) || self.is_remote(ObjectKind::Tree, &id) {
            return;
        }
        let node = match self
            .ensure_live(ObjectKind::Tree, &id)
            .and_then(|()| self.repo.tree_node(&id))
        {
            Ok(node) => node,
            Err(e) => return self.fail(ObjectKind::Tree, &id, e),
        };
        self.trees.fetch_add(1, Ordering::Relaxed);
        match (&role, &node.root) {
            (Role::Root, None) => {
                return self.malformed(ObjectKind::Tree, &id, "not the root of a version");
            }
            (Role::Root, Some(info)) => {
                if let Some(links) = &info.links {
                    self.content(scope, &id, b"", links, None);
                }
                // In a lazy clone, the table of hard links may be on the remote.
                if matches!(self.remote, Remote::None)
                    && self.repo.links(info).is_err_and(|e| is_damage(&e))
                    && !self.findings.is_lost(&id)
                {
                    self.findings.damage(
                        What::Object,
                        format!("tree {id}"),
                        "the table of hard links is lost",
                    );
                }
            }
            _ => {}
        }
        match node.body {
            TreeBody::Leaf(entries) => {
                if let Role::Piece(first) = &role
                    && entries.first().is_none_or(|e| e.name != *first)
                {
                    self.malformed(
                        ObjectKind::Tree,
                        &id,
                        "the first name differs from the name in the parent node",
                    );
                }
                // Directories are independent of each other, so idle threads can take them.
                for entry in entries {
                    match entry.node {
                        Node::Dir { tree, .. } => {
                            scope.spawn(move |scope| self.tree(scope, tree, Role::Directory))
                        }
                        Node::File { size, content, .. } => {
                            self.content(scope, &id, &entry.name, &content, Some(size));
                        }
                        _ => {}
                    }
                }
            }
            TreeBody::Inner(children) => {
                for child in children {
                    scope.spawn(move |scope| self.tree(scope, child.id, Role::Piece(child.first)));
                }
            }
        }
    }

    /// Checks the content of a file in the tree `tree`. `size` is the length that the tree records.
    fn content<'s>(
        &'s self,
        scope: &Scope<'s>,
        tree: &Id,
        name: &[u8],
        content: &Content,
        size: Option<u64>,
    ) {
        let wrong = |len: u64| size.is_some_and(|s| s != len);
        let len = match content {
            Content::Inline(bytes) => bytes.len() as u64,
            Content::Direct(extents) => {
                extents.iter().for_each(|x| self.extent(x));
                extents.iter().map(|x| x.len).sum()
            }
            // The nodes of large files are shared among the threads.
            Content::List(root) => {
                let root = *root;
                scope.spawn(move |scope| self.list(scope, root, size));
                return;
            }
        };
        if wrong(len) {
            let why = format!(
                "the size of `{}` differs from the length of its content",
                path::display(name)
            );
            self.malformed(ObjectKind::Tree, tree, &why);
        }
    }

    fn list<'s>(&'s self, scope: &Scope<'s>, id: Id, expected: Option<u64>) {
        if self.stopped() || !self.visit(&id) || self.is_remote(ObjectKind::List, &id) {
            return;
        }
        let node = match self
            .ensure_live(ObjectKind::List, &id)
            .and_then(|()| self.repo.list_node(&id))
        {
            Ok(node) => node,
            Err(e) => return self.fail(ObjectKind::List, &id, e),
        };
        self.lists.fetch_add(1, Ordering::Relaxed);
        let sum: u64 = match &node {
            ListNode::Leaf(extents) => extents.iter().map(|x| x.len).sum(),
            ListNode::Inner(children) => children.iter().map(|c| c.0).sum(),
        };
        if expected.is_some_and(|e| e != sum) {
            self.malformed(
                ObjectKind::List,
                &id,
                "the length differs from the length in the parent node",
            );
        }
        match node {
            ListNode::Leaf(extents) => extents.iter().for_each(|x| self.extent(x)),
            ListNode::Inner(children) => {
                for (len, child) in children {
                    scope.spawn(move |scope| self.list(scope, child, Some(len)));
                }
            }
        }
    }

    /// Returns the row of a copy that is not in a dead pack. A gc that ended during the check may
    /// have written the row a moment ago.
    fn live(&self, kind: ObjectKind, id: &Id) -> Result<Option<IndexRow>> {
        let kind = PackKind::of(kind);
        // A row in a dead pack does not count, because gc may delete the pack at any time.
        if let Some(row) = self.repo.live_copy(kind, id)? {
            return Ok(Some(row));
        }
        if self.repo.gc_state().dead.is_empty() {
            return Ok(None);
        }
        // The object may have moved to another pack after this process opened the index.
        self.repo.refresh_index()?;
        self.repo.live_copy(kind, id)
    }

    /// Fails if all copies of an object are in dead packs. Never fails in a lazy clone, which can
    /// fetch the object.
    fn ensure_live(&self, kind: ObjectKind, id: &Id) -> Result<()> {
        if self.repo.gc_state().dead.is_empty()
            || self.live(kind, id)?.is_some()
            // A lazy clone can read the object from its remote.
            || self.repo.is_lazy()
        {
            return Ok(());
        }
        Err(ObjectError::Missing { kind, id: *id }.into())
    }

    fn extent(&self, extent: &Extent) {
        let Some(id) = &extent.chunk else { return };
        self.chunks.fetch_add(1, Ordering::Relaxed);
        match self.live(ObjectKind::Chunk, id) {
            // A list with a wrong length would shift all later bytes of the file.
            Ok(Some(row)) if u64::from(row.place.len) == extent.len => {}
            Ok(Some(_)) => {
                if self.findings.lose(ObjectKind::Chunk, id) {
                    self.findings.damage(
                        What::Object,
                        format!("chunk {id}"),
                        "the length differs from the length in the file",
                    );
                }
            }
            Ok(None) if self.is_remote(ObjectKind::Chunk, id) => {}
            Ok(None) => {
                let missing = ObjectError::Missing {
                    kind: ObjectKind::Chunk,
                    id: *id,
                };
                self.fail(ObjectKind::Chunk, id, missing.into());
            }
            Err(e) => self.fail(ObjectKind::Chunk, id, e),
        }
    }
}

fn is_missing(e: &Error) -> bool {
    matches!(
        e.as_error().downcast_ref::<ObjectError>(),
        Some(ObjectError::Missing { .. })
    )
}
