//! Finds the objects that the versions of a repository need: the ids of all objects below its
//! roots.
//!
//! In: the roots, and which versions are forgotten. Out: sorted sets of id prefixes on disk, one
//! for objects that refs need, one for objects that only roots without a log need. Memory is
//! bounded: a fixed set of visited nodes, 4 MiB of ids for each thread and kind, and a stack whose
//! depth is that of the directories.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::roots::{LooseRoot, Roots};
use super::runs::{PrefixBuffer, PrefixRuns, PrefixSets};
use super::visited::VisitedSet;
use crate::error::{Error, Kind, Result};
use crate::format::object::ListNode;
use crate::format::pack::PackKind;
use crate::model::commit::Commit;
use crate::model::entry::{Content, Node};
use crate::model::id::Id;
use crate::model::tree::TreeBody;
use crate::observe::Observer;
use crate::repo::Repo;
use crate::repo::frames::ObjectError;
use crate::work::Cancelled;
use crate::work::queue::{self, LaneWorker, Lanes};

/// Largest size of the set of visited nodes in bytes: enough for 4 million nodes.
const VISITED_BYTES: usize = 64 << 20;
/// Smallest size of this set in bytes.
const VISITED_MIN: usize = 1 << 20;
/// Size of this set for each node in bytes, so that half of the slots stay empty.
const VISITED_BYTES_PER_NODE: usize = 32;
/// Maximum number of nodes that wait for an idle thread; a thread keeps all other nodes on its own
/// stack.
const SHARED_NODES: usize = 64;

/// The objects that the versions of a repository need.
pub(super) struct Marked {
    /// Ids of the objects that refs need. If such an object has no copy, the repository is damaged.
    pub(super) needed: PrefixSets,
    /// Ids of the objects that roots without a log need and refs do not.
    pub(super) held: PrefixSets,
    /// Versions whose trees are needed.
    pub(super) whole_versions: u64,
    /// Versions for which only the commit object is needed.
    pub(super) forgotten_versions: u64,
    /// Roots without a log that lack objects. This is not damage, because another gc may have
    /// collected the objects before the root was written.
    pub(super) incomplete: Vec<LooseRoot>,
    /// The versions of refs and their ancestors.
    pub(super) commits: HashSet<Id>,
    /// The versions whose trees were walked completely, including those of roots without a log.
    pub(super) whole: HashSet<Id>,
    /// Nodes that were walked. The set may have forgotten some of them.
    pub(super) visited: VisitedSet,
}

/// A node of the graph of objects whose children are not visited yet.
#[derive(Clone, Copy)]
enum NodeRef {
    Tree(Id),
    List(Id),
}

/// Roots and their ancestors: all commits, and the trees of those that are not forgotten, newest
/// first.
#[derive(Default)]
pub(super) struct Versions {
    pub(super) commits: Vec<Id>,
    /// Versions with their trees.
    pub(super) trees: Vec<(Id, Id)>,
    forgotten: u64,
}

/// Returns an empty set of visited nodes that has the size of the index.
pub(super) fn visited_set(repo: &Repo) -> Result<VisitedSet> {
    let index = repo.index()?;
    let nodes: u64 = [PackKind::List, PackKind::Tree]
        .into_iter()
        .flat_map(|kind| index.segments(kind))
        .map(|segment| segment.rows())
        .sum();
    Ok(VisitedSet::new(
        usize::try_from(nodes)
            .unwrap_or(VISITED_BYTES)
            .saturating_mul(VISITED_BYTES_PER_NODE)
            .clamp(VISITED_MIN, VISITED_BYTES),
    ))
}

/// Walks from all roots. Calls `is_forgotten` for each version. Temporary files are in `dir`.
pub(super) fn mark(
    repo: &Repo,
    roots: &Roots,
    is_forgotten: &dyn Fn(&Id) -> bool,
    dir: &Path,
    observer: &dyn Observer,
) -> Result<Marked> {
    let visited = visited_set(repo)?;
    let mut seen = HashSet::new();
    let named = versions(repo, &roots.refs, is_forgotten, &mut seen, false)?;
    observer.phase("marking", Some(named.trees.len() as u64), None);
    let walk = Walk {
        repo,
        observer,
        visited: &visited,
        runs: PrefixRuns::new(dir),
        // A partial clone lacks objects that it can fetch.
        is_strict: Repo::partial(repo.path()).is_none(),
        failed: Mutex::default(),
    };
    let mut whole: HashSet<Id> = named.trees.iter().map(|version| version.0).collect();
    let whole_versions = named.trees.len() as u64;
    let forgotten_versions = named.forgotten;
    walk.run(named)?;
    let needed = walk.runs.merge()?;

    let mut incomplete = Vec::new();
    let mut walk = Walk::lenient(repo, observer, &visited, dir);
    for root in &roots.loose {
        // A root without a log protects only its own version, even if the version is forgotten.
        let held = versions(repo, &[root.id], &|_| false, &mut seen, true);
        match held {
            Ok(mut held) => {
                held.trees
                    .extend(root.trees.iter().map(|tree| (root.id, *tree)));
                walk.run(held)?;
                match walk.failed.get_mut().take() {
                    // A missing object may have been collected. A damaged one may still be repaired,
                    // and the rest of its version must stay until then.
                    Some(e) if is_damage(&e) => return Err(e),
                    Some(_) => incomplete.push(root.clone()),
                    // A node that an earlier root lacks is not visited again.
                    None if incomplete.is_empty() => _ = whole.insert(root.id),
                    None => {}
                }
            }
            Err(e) if e.kind() == Kind::Integrity => incomplete.push(root.clone()),
            Err(e) => return Err(e),
        }
    }
    let held = walk.runs.merge()?;
    Ok(Marked {
        needed,
        held,
        whole_versions,
        forgotten_versions,
        incomplete,
        commits: seen,
        whole,
        visited,
    })
}

/// Whether an object exists and cannot be used.
fn is_damage(e: &Error) -> bool {
    let object = e.as_error().downcast_ref();
    object.is_some_and(|e| !matches!(e, ObjectError::Missing { .. }))
}

/// Returns `tips` and their ancestors, except those in `seen`, and adds them to `seen`. With
/// `only_tips`, returns only `tips`, and does not use `seen`.
pub(super) fn versions(
    repo: &Repo,
    tips: &[Id],
    is_forgotten: &dyn Fn(&Id) -> bool,
    seen: &mut HashSet<Id>,
    only_tips: bool,
) -> Result<Versions> {
    // A partial clone lacks the parents of its oldest versions.
    let is_partial = Repo::partial(repo.path()).is_some();
    let mut found: HashMap<Id, Commit> = HashMap::new();
    let mut todo: Vec<Id> = tips.to_vec();
    while let Some(id) = todo.pop() {
        if found.contains_key(&id) || !only_tips && !seen.insert(id) {
            continue;
        }
        let commit = match repo.commit_cached(&id) {
            Err(e) if is_partial && e.kind() == Kind::Integrity => continue,
            commit => commit?,
        };
        if !only_tips {
            todo.extend(&commit.parents);
        }
        found.insert(id, commit);
    }
    let mut newest_first: Vec<(Id, Commit)> = found.into_iter().collect();
    newest_first.sort_unstable_by_key(|(id, commit)| (std::cmp::Reverse(commit.time.secs), *id));
    let mut versions = Versions {
        commits: Vec::new(),
        trees: Vec::new(),
        forgotten: 0,
    };
    for (id, commit) in newest_first {
        versions.commits.push(id);
        if is_forgotten(&id) {
            versions.forgotten += 1;
        } else {
            versions.trees.push((id, commit.tree));
        }
    }
    Ok(versions)
}

/// Walks trees, with several threads.
pub(super) struct Walk<'w> {
    repo: &'w Repo,
    observer: &'w dyn Observer,
    visited: &'w VisitedSet,
    runs: PrefixRuns,
    /// Whether a missing object ends the walk. If not, the first error is in `failed`.
    is_strict: bool,
    failed: Mutex<Option<Error>>,
}

impl<'w> Walk<'w> {
    /// Creates a walk that continues after objects that cannot be read.
    pub(super) fn lenient(
        repo: &'w Repo,
        observer: &'w dyn Observer,
        visited: &'w VisitedSet,
        dir: &Path,
    ) -> Self {
        Self {
            repo,
            observer,
            visited,
            runs: PrefixRuns::new(dir),
            is_strict: false,
            failed: Mutex::default(),
        }
    }

    /// Returns whether an object could not be read.
    pub(super) fn has_failed(&mut self) -> bool {
        self.failed.get_mut().is_some()
    }

    /// Returns the ids of everything that was walked.
    pub(super) fn finish(self) -> Result<PrefixSets> {
        self.runs.merge()
    }

    /// Walks the trees of all versions.
    pub(super) fn run(&self, versions: Versions) -> Result<()> {
        let mut buffer = self.runs.buffer();
        versions
            .commits
            .iter()
            .try_for_each(|id| buffer.add(PackKind::Tree, id))?;
        buffer.flush()?;
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let roots = Mutex::new(versions.trees.into_iter());
        let waiting = AtomicUsize::new(0);
        let body = |worker: &LaneWorker<'_, Option<NodeRef>>| {
            let mut buffer = self.runs.buffer();
            let mut stack = std::collections::VecDeque::new();
            while let Some(item) = worker.next() {
                match item {
                    Some(node) => {
                        waiting.fetch_sub(1, Ordering::Relaxed);
                        stack.push_back(node);
                        self.descend(&mut stack, &mut buffer, worker, &waiting)?;
                    }
                    // This item is a request to walk one version after the other.
                    None => loop {
                        let Some((_, tree)) = roots.lock().next() else {
                            break;
                        };
                        self.observer.advance(1, 0);
                        if self.visited.insert(&tree) {
                            stack.push_back(NodeRef::Tree(tree));
                            self.descend(&mut stack, &mut buffer, worker, &waiting)?;
                        }
                    },
                }
            }
            buffer.flush()
        };
        queue::run(
            threads,
            Lanes::new(threads),
            |worker| worker.push(None),
            body,
        )
        .map(drop)
    }

    /// Visits everything below the nodes of `stack`.
    fn descend(
        &self,
        stack: &mut std::collections::VecDeque<NodeRef>,
        buffer: &mut PrefixBuffer<'_>,
        worker: &LaneWorker<'_, Option<NodeRef>>,
        waiting: &AtomicUsize,
    ) -> Result<()> {
        while let Some(node) = stack.pop_back() {
            if self.observer.cancelled() {
                return Err(Cancelled.into());
            }
            match self.visit(node, stack, buffer) {
                Err(e) if !self.is_strict && e.kind() == Kind::Integrity => {
                    let mut failed = self.failed.lock();
                    // Damage matters more than a missing object, which may have been collected.
                    if failed.is_none() || is_damage(&e) {
                        *failed = Some(e);
                    }
                }
                done => done?,
            }
            // Share the oldest node of the stack, because it has the largest subtree.
            while stack.len() > 1 && waiting.load(Ordering::Relaxed) < SHARED_NODES {
                let Some(node) = stack.pop_front() else { break };
                waiting.fetch_add(1, Ordering::Relaxed);
                worker.push(Some(node));
            }
        }
        Ok(())
    }

    fn visit(
        &self,
        node: NodeRef,
        below: &mut std::collections::VecDeque<NodeRef>,
        buffer: &mut PrefixBuffer<'_>,
    ) -> Result<()> {
        match node {
            NodeRef::Tree(id) => {
                buffer.add(PackKind::Tree, &id)?;
                let node = self.repo.tree_node(&id)?;
                if let Some(links) = node.root.as_ref().and_then(|root| root.links.as_ref()) {
                    self.content(links, below, buffer)?;
                }
                match node.body {
                    TreeBody::Inner(children) => {
                        below.extend(
                            children
                                .iter()
                                .filter(|c| self.visited.insert(&c.id))
                                .map(|c| NodeRef::Tree(c.id)),
                        );
                    }
                    TreeBody::Leaf(entries) => {
                        for entry in &entries {
                            match &entry.node {
                                Node::Dir { tree, .. } if self.visited.insert(tree) => {
                                    below.push_back(NodeRef::Tree(*tree))
                                }
                                Node::File { content, .. } => {
                                    self.content(content, below, buffer)?
                                }
                                _ => {}
                            }
                        }
                    }
                }
            }
            NodeRef::List(id) => {
                buffer.add(PackKind::List, &id)?;
                match self.repo.list_node(&id)? {
                    ListNode::Leaf(extents) => {
                        extents
                            .iter()
                            .filter_map(|x| x.chunk)
                            .try_for_each(|id| buffer.add(PackKind::Data, &id))?;
                    }
                    ListNode::Inner(children) => {
                        below.extend(
                            children
                                .iter()
                                .filter(|c| self.visited.insert(&c.1))
                                .map(|c| NodeRef::List(c.1)),
                        );
                    }
                }
            }
        }
        Ok(())
    }

    fn content(
        &self,
        content: &Content,
        below: &mut std::collections::VecDeque<NodeRef>,
        buffer: &mut PrefixBuffer<'_>,
    ) -> Result<()> {
        match content {
            Content::Inline(_) => {}
            Content::Direct(extents) => {
                extents
                    .iter()
                    .filter_map(|x| x.chunk)
                    .try_for_each(|id| buffer.add(PackKind::Data, &id))?;
            }
            Content::List(root) if self.visited.insert(root) => {
                below.push_back(NodeRef::List(*root))
            }
            Content::List(_) => {}
        }
        Ok(())
    }
}
