//! Walks versions: along first parents with commits read ahead, or through all ancestors, the
//! newest first.
//!
//! Each version is returned once, and never before one of its children in the walk.

use crate::error::Result;
use crate::format::object::decode_commit;
use crate::model::commit::Commit;
use crate::model::id::{Id, ObjectKind};
use crate::repo::Repo;
use std::collections::{BinaryHeap, HashMap, HashSet};

/// The maximum number of commits that are read ahead from the catalogue in one batch.
const AHEAD_MAX: usize = 2048;

/// Reads commits by id. Commits in the catalogue are read ahead in batches.
pub struct CommitReader<'a> {
    repo: &'a Repo,
    ahead: HashMap<Id, Commit>,
    /// The size of the next batch, by the commit with which it begins. Batches grow along a line of
    /// first parents.
    resume: HashMap<Id, usize>,
}

impl<'a> CommitReader<'a> {
    /// Returns a reader for a repository.
    pub fn new(repo: &'a Repo) -> Self {
        Self {
            repo,
            ahead: HashMap::new(),
            resume: HashMap::new(),
        }
    }

    /// Returns a commit. Reading its first parents next is cheap.
    pub fn get(&mut self, id: &Id) -> Result<Commit> {
        if let Some(commit) = self.ahead.remove(id) {
            return Ok(commit);
        }
        self.read_ahead(id);
        match self.ahead.remove(id) {
            Some(commit) => Ok(commit),
            None => self.repo.commit_cached(id),
        }
    }

    /// Fills the read-ahead from the catalogue. A commit that it lacks is read from its pack.
    fn read_ahead(&mut self, id: &Id) {
        let batch = self.resume.remove(id).unwrap_or(4);
        // Errors of the catalogue are ignored, because `get` then reads the pack.
        let rows = self
            .repo
            .catalogue()
            .ok()
            .and_then(|c| c.first_parents(id, batch).ok())
            .unwrap_or_default();
        if let Some(next) = rows.last().and_then(|row| row.first_parent) {
            // A caller that needs many versions will probably need more, so the batches grow.
            self.resume.insert(next, (batch * 4).min(AHEAD_MAX));
        }
        for row in rows {
            // The catalogue is only a cache, so damage in it must not change a version.
            if self.repo.ids().id(ObjectKind::Commit, &row.bytes) == row.id
                && let Ok(commit) = decode_commit(&row.bytes)
            {
                self.ahead.insert(row.id, commit);
            }
        }
    }

    /// Returns the versions from `tip` on, along first parents.
    pub fn first_parents(&mut self, tip: Id) -> FirstParents<'_, 'a> {
        FirstParents {
            commits: self,
            next: Some(tip),
        }
    }
}

/// Versions along first parents. The iterator ends after the first error.
pub struct FirstParents<'c, 'a> {
    commits: &'c mut CommitReader<'a>,
    next: Option<Id>,
}

impl Iterator for FirstParents<'_, '_> {
    type Item = Result<(Id, Commit)>;

    fn next(&mut self) -> Option<Self::Item> {
        let id = self.next.take()?;
        Some(self.commits.get(&id).map(|commit| {
            self.next = commit.parents.first().copied();
            (id, commit)
        }))
    }
}

/// A version that waits to be walked. The order is by time and then by ordinal, so that the heap
/// returns the newest version first.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Waiting {
    time: i64,
    ordinal: u64,
    id: Id,
}

/// Iterates over some tips and their ancestors, without other versions and their ancestors.
pub struct HistoryWalk<'a> {
    commits: CommitReader<'a>,
    heap: BinaryHeap<Waiting>,
    loaded: HashMap<Id, Commit>,
    seen: HashSet<Id>,
    /// The number of children in the walk that have not been returned yet.
    children: HashMap<Id, usize>,
}

impl<'a> HistoryWalk<'a> {
    /// Starts a walk from `tips`, without `hidden` and its ancestors.
    pub fn new(repo: &'a Repo, tips: &[Id], hidden: &[Id]) -> Result<Self> {
        let mut walk = Self {
            commits: CommitReader::new(repo),
            heap: BinaryHeap::new(),
            loaded: HashMap::new(),
            seen: HashSet::new(),
            children: HashMap::new(),
        };
        for id in hidden {
            walk.seen.extend(ancestors(repo, id)?);
        }
        // With one tip, parents come after their children until the first merge, where `step`
        // counts the children.
        if tips.len() > 1 {
            walk.count_children(repo, tips)?;
        }
        for id in tips {
            walk.offer(*id)?;
        }
        Ok(walk)
    }

    fn count_children(&mut self, repo: &Repo, tips: &[Id]) -> Result<()> {
        let mut commits = CommitReader::new(repo);
        // Hidden versions count as known, so that their ancestors are not walked.
        let mut known = self.seen.clone();
        let mut todo: Vec<Id> = tips.iter().copied().filter(|t| known.insert(*t)).collect();
        while let Some(id) = todo.pop() {
            for parent in commits.get(&id)?.parents {
                *self.children.entry(parent).or_default() += 1;
                if known.insert(parent) {
                    todo.push(parent);
                }
            }
        }
        Ok(())
    }

    fn offer(&mut self, id: Id) -> Result<()> {
        // A version waits until all its children are returned.
        if self.children.get(&id).is_some_and(|n| *n > 0) || !self.seen.insert(id) {
            return Ok(());
        }
        let commit = self.commits.get(&id)?;
        self.heap.push(Waiting {
            time: commit.time.secs,
            ordinal: commit.ordinal,
            id,
        });
        self.loaded.insert(id, commit);
        Ok(())
    }

    fn step(&mut self) -> Result<Option<(Id, Commit)>> {
        let Some(Waiting { id, .. }) = self.heap.pop() else {
            return Ok(None);
        };
        let Some(commit) = self.loaded.remove(&id) else {
            return Ok(None);
        };
        // Below the first merge, several paths may lead to a version, so the children are counted
        // from here on.
        if commit.parents.len() > 1 && self.children.is_empty() {
            let repo = self.commits.repo;
            self.count_children(repo, &commit.parents.clone())?;
            // The links from this version itself are not counted yet.
            for parent in &commit.parents {
                *self.children.entry(*parent).or_default() += 1;
            }
        }
        for parent in &commit.parents {
            if let Some(left) = self.children.get_mut(parent) {
                *left = left.saturating_sub(1);
            }
            self.offer(*parent)?;
        }
        Ok(Some((id, commit)))
    }
}

impl Iterator for HistoryWalk<'_> {
    type Item = Result<(Id, Commit)>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step().transpose()
    }
}

/// Returns a version and all its ancestors.
pub fn ancestors(repo: &Repo, tip: &Id) -> Result<HashSet<Id>> {
    ancestors_beside(repo, tip, &HashSet::new())
}

/// Like [`ancestors`], without those in `known`, which must include the ancestors of all its
/// versions.
pub fn ancestors_beside(repo: &Repo, tip: &Id, known: &HashSet<Id>) -> Result<HashSet<Id>> {
    let mut commits = CommitReader::new(repo);
    let mut all = HashSet::new();
    let mut todo = vec![*tip];
    while let Some(id) = todo.pop() {
        if !known.contains(&id) && all.insert(id) {
            todo.extend(commits.get(&id)?.parents);
        }
    }
    Ok(all)
}
