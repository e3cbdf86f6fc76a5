//! The versions of all branches along first parents.
//!
//! Branches share most of their history, so each version is read once.

use std::collections::HashMap;

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

/// A branch with its versions, the newest first.
pub(super) struct BranchLine {
    pub(super) branch: RefName,
    pub(super) versions: Vec<Id>,
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
            let (mut versions, mut next) = (Vec::new(), Some(tip.id));
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
                versions.push(id);
                next = commit.parents.first().copied();
                let version = LineVersion {
                    time: commit.time,
                    ordinal: commit.ordinal,
                    first_parent: next,
                };
                all.versions.insert(id, version);
            }
            // The rest of the line belongs to an earlier branch, too.
            while let Some((id, version)) = next.and_then(|id| Some((id, all.versions.get(&id)?))) {
                versions.push(id);
                next = version.first_parent;
            }
            all.lines.push(BranchLine {
                branch: tip.name,
                versions,
            });
        }
        Ok(all)
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
