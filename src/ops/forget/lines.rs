//! The versions of all branches along first parents.
//!
//! Branches share most of their history, so each version is read once.

use std::collections::{HashMap, HashSet};

use crate::error::Result;
use crate::model::commit::Timestamp;
use crate::model::id::Id;
use crate::model::refname::{RefKind, RefName};
use crate::query::history::CommitReader;
use crate::repo::Repo;

/// A version as the policies see it.
#[derive(Clone, Copy, Debug)]
pub(super) struct LineVersion {
    pub(super) time: Timestamp,
    pub(super) ordinal: u64,
    first_parent: Option<Id>,
}

/// A branch.
pub(super) struct BranchLine {
    pub(super) branch: RefName,
    tip: Id,
}

/// All branches with their versions.
pub(super) struct BranchLines {
    pub(super) lines: Vec<BranchLine>,
    versions: HashMap<Id, LineVersion>,
    /// The first branch of each version, as an index of `lines`.
    first: HashMap<Id, usize>,
}

impl BranchLines {
    /// Reads all branches. A damaged branch is an error, because its versions might be shared.
    pub(super) fn read(repo: &Repo) -> Result<Self> {
        let mut all = Self {
            lines: Vec::new(),
            versions: HashMap::new(),
            first: HashMap::new(),
        };
        let is_partial = Repo::partial(repo.path()).is_some();
        for tip in repo.refs().list(RefKind::Branch)? {
            // Read the part of the line that no earlier branch has.
            for version in CommitReader::new(repo).first_parents(tip.id) {
                // In a partial copy, older commits may be missing.
                let (id, commit) = match version {
                    Err(e) if is_partial && e.kind() == crate::error::Kind::Integrity => break,
                    version => version?,
                };
                if all.versions.contains_key(&id) {
                    break;
                }
                all.first.insert(id, all.lines.len());
                let version = LineVersion {
                    time: commit.time,
                    ordinal: commit.ordinal,
                    first_parent: commit.parents.first().copied(),
                };
                all.versions.insert(id, version);
            }
            all.lines.push(BranchLine {
                branch: tip.name,
                tip: tip.id,
            });
        }
        Ok(all)
    }

    /// Returns the versions of a branch, the newest first.
    pub(super) fn line(&self, number: usize) -> impl Iterator<Item = Id> {
        let known = |id: Id| self.versions.contains_key(&id).then_some(id);
        let tip = self.lines.get(number).and_then(|line| known(line.tip));
        std::iter::successors(tip, move |id| {
            self.versions.get(id)?.first_parent.and_then(known)
        })
    }

    /// Returns the versions of a branch that `seen` does not contain, the newest first, and adds
    /// them. If `seen` contains a version, it must contain all versions before it.
    pub(super) fn unseen(&self, number: usize, seen: &mut HashSet<Id>) -> Vec<Id> {
        self.line(number)
            .take_while(|id| seen.insert(*id))
            .collect()
    }

    /// Computes a value for each version of all branches from the value of its first parent; `None`
    /// is no value.
    pub(super) fn fold<V>(
        &self,
        step: impl Fn(&Id, &LineVersion, Option<&V>) -> Option<V>,
    ) -> HashMap<Id, V> {
        let (mut values, mut seen) = (HashMap::new(), HashSet::new());
        for number in 0..self.lines.len() {
            for id in self.unseen(number, &mut seen).into_iter().rev() {
                let version = self.versions.get(&id);
                let value = version.and_then(|version| {
                    let parent = version.first_parent.and_then(|id| values.get(&id));
                    step(&id, version, parent)
                });
                values.extend(value.map(|value| (id, value)));
            }
        }
        values
    }

    /// Returns a version, which is read if it is on no branch.
    pub(super) fn version(&mut self, repo: &Repo, id: &Id) -> Result<LineVersion> {
        if let Some(version) = self.versions.get(id) {
            return Ok(*version);
        }
        let commit = repo.commit_cached(id)?;
        let first_parent = commit.parents.first().copied();
        Ok(LineVersion {
            time: commit.time,
            ordinal: commit.ordinal,
            first_parent,
        })
    }

    /// Returns `main@v3`, or the short id of a version that is on no branch.
    pub(super) fn name(&self, id: &Id) -> String {
        match (
            self.first.get(id).and_then(|at| self.lines.get(*at)),
            self.versions.get(id),
        ) {
            (Some(line), Some(version)) => format!("{}@v{}", line.branch, version.ordinal),
            _ => id.short(),
        }
    }
}
