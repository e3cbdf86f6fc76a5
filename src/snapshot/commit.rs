//! Takes a snapshot of a source directory as a tree, and commits a tree to a branch.
//!
//! Only this file makes objects visible, in the order of the sink: packs, segments, then the ref.
//! If another process has moved the branch, the commit is created again with the new tip as its
//! parent.

use std::collections::HashSet;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;

use super::output::Output;
use super::pipeline;
use crate::error::{Failure, Kind, Result};
use crate::format::Malformed;
use crate::format::object::encode_commit;
use crate::index::catalogue::commits::CommitRow;
use crate::model::commit::{Commit, CommitCounts, Timestamp};
use crate::model::entry::{Entry, Meta, Time, Totals};
use crate::model::id::{Id, ObjectKind};
use crate::model::refname::{RefKind, RefName};
use crate::model::tree::LinkTable;
use crate::observe::Observer;
use crate::repo::Repo;
use crate::repo::refs::{Move, value_of};
use crate::snapshot::walk::basis::{DirRecord, are_vouched, dead_seen, set_dead_seen, vouch};
use crate::snapshot::walk::dir::Dir;
use crate::snapshot::walk::entries::{open_root, stat_at};
use crate::snapshot::walk::named::{Chosen, Names};
use crate::snapshot::walk::rules::Rules;
use crate::snapshot::walk::scan::{Finished, Walk};
use crate::snapshot::walk::unrestored::Unrestored;
use crate::sys::clock;
use crate::sys::io_error::IoError;

/// Limit on the paths of unstable files in a commit.
const UNSTABLE_MAX: usize = 1000;

/// The directory to take a snapshot of, with options.
pub struct Source<'s> {
    pub dir: &'s Path,
    /// Paths to include; empty means all.
    pub only: &'s [Names],
    /// Exclusion rules.
    pub rules: &'s Rules,
    /// Tree of the previous version, for deltas against it.
    pub before: Option<Id>,
    /// Number of the worktree in the catalogue, whose records allow skipping unchanged directories.
    pub basis: Option<i64>,
    /// Properties that a checkout could not restore, which count as unchanged.
    pub unrestored: Option<Unrestored>,
    /// Number of threads.
    pub threads: usize,
    /// Whether the snapshot lists files with this name, including excluded ones.
    pub notes: fn(&[u8]) -> bool,
}

/// The current state of a directory.
#[derive(Debug)]
pub struct Snapshot {
    /// Tree object of the directory.
    pub tree: Id,
    /// Totals of everything below the directory.
    pub totals: Totals,
    /// Metadata of the directory itself.
    pub meta: Meta,
    /// Entries of the requested paths, by path; `tree` and `totals` are meaningless then.
    pub picked: Vec<(Vec<u8>, Entry)>,
    /// Hard links among the requested paths.
    pub links: LinkTable,
    /// Paths that were unreadable or changed while they were read, sorted.
    pub unstable: Vec<Vec<u8>>,
    /// The first paths that [`Source::notes`] accepted.
    pub noted: Vec<Vec<u8>>,
    /// Records for the next walk, by path; must only be kept once the tree is durable.
    records: Vec<(Vec<u8>, Vec<u8>)>,
    /// The paths of records that were used and stay as they are, if a gc has marked packs as dead
    /// since the records were made.
    kept: Option<Vec<Vec<u8>>>,
}

/// The error for a walk that ended without a result, which is a bug.
#[derive(Debug, thiserror::Error)]
#[error("the walk of `{}` has no result", .0.display())]
struct NoResult(PathBuf);

impl Failure for NoResult {
    fn kind(&self) -> Kind {
        Kind::Internal
    }
}

/// The error for an output of a dry run that is published, which is a bug.
#[derive(Debug, thiserror::Error)]
#[error("a dry run cannot move a branch")]
struct NoSession;

impl Failure for NoSession {
    fn kind(&self) -> Kind {
        Kind::Internal
    }
}

/// Takes a snapshot of a directory. Stores new objects, unless the output is a dry run.
pub fn snapshot(
    out: &Output<'_>,
    observer: &dyn Observer,
    source: &Source<'_>,
) -> Result<Snapshot> {
    let mut distrust = HashSet::new();
    let mut basis = source.basis;
    loop {
        let walk = walk_once(out, observer, source, basis, std::mem::take(&mut distrust));
        let walk = match walk {
            // A damaged old tree must not prevent a new version, so walk again without records.
            Err(e) if e.kind() == Kind::Integrity && basis.is_some() => {
                basis = None;
                // The threads that failed have claimed objects that they will not store, so release
                // the claims.
                out.forget_claims();
                continue;
            }
            walk => walk?,
        };
        let stale = {
            let links = walk.links.lock();
            if links.is_empty() || walk.basis.is_none() {
                HashSet::new()
            } else {
                links.stale(&old_links(out.repo(), &walk)?)
            }
        };
        // Walk again without the records of directories whose hard links have changed. A second
        // walk finds no other directories, unless files change between the walks.
        if !stale.is_empty() && !stale.is_subset(&walk.distrust) {
            distrust = stale;
            distrust.extend(walk.distrust);
            continue;
        }
        // All names of hard-linked files are known now, so the directories that wait for them can
        // be finished.
        pipeline::settle_links(&walk, source.dir)?;
        out.flush()?;
        let Walk {
            result,
            records,
            kept,
            newest,
            unstable,
            noted,
            links,
            picked,
            ..
        } = walk;
        // A complete tree contains its table of hard links. Named paths have no root that could
        // contain it.
        let links = match source.only {
            [] => LinkTable::default(),
            _ => links.into_inner().table(),
        };
        let finished = result.into_inner();
        let picked = picked.into_inner();
        let Some(Finished { tree, totals, meta }) = finished else {
            return Err(NoResult(source.dir.to_owned()).into());
        };
        let mut unstable = unstable.into_inner();
        unstable.sort();
        unstable.dedup();
        let newest = newest.into_inner();
        let records = records.into_inner();
        let encoded =
            |(path, record): (Vec<u8>, DirRecord)| (path, DirRecord { newest, ..record }.encode());
        let records = records.into_iter().map(encoded).collect();
        let noted = noted.into_inner();
        let kept = kept.map(Mutex::into_inner);
        return Ok(Snapshot {
            tree,
            totals,
            meta,
            picked,
            links,
            unstable,
            noted,
            records,
            kept,
        });
    }
}

fn walk_once<'a>(
    out: &'a Output<'a>,
    observer: &'a dyn Observer,
    source: &'a Source<'_>,
    basis: Option<i64>,
    distrust: HashSet<Vec<u8>>,
) -> Result<Walk<'a>> {
    // A dry run stores no deltas.
    let before = source.before.filter(|_| out.sink().is_some());
    let open = || -> std::io::Result<_> {
        let fd = open_root(source.dir)?;
        let stat = stat_at(fd.as_fd(), b"")?;
        Ok((fd, stat))
    };
    let root = open().map_err(IoError::at("open", source.dir))?;
    let root = Dir::root(root, before, Chosen::of(source.only));
    // If a gc has declared packs dead since the records were made, objects of unchanged directories
    // may be gone. The output then checks the whole version before it moves the ref.
    let is_outdated = match basis.filter(|_| out.sink().is_some()) {
        Some(worktree) => dead_seen(out.repo(), worktree)? != out.dead_number(),
        None => false,
    };
    if is_outdated {
        out.set_doubtful();
    }
    let walk = Walk {
        out,
        observer,
        rules: source.rules,
        notes: source.notes,
        noted: Mutex::default(),
        basis,
        unrestored: source.unrestored.as_ref(),
        before: clock::now(),
        distrust,
        doubt: match basis.filter(|_| out.sink().is_some()) {
            // If a pack is gone, any record may rely on lost objects.
            Some(worktree) => out.checks_records() || !are_vouched(out.repo(), worktree)?,
            None => false,
        },
        links: Mutex::default(),
        kept: is_outdated.then(Mutex::default),
        records: Mutex::default(),
        newest: Mutex::default(),
        unstable: Mutex::default(),
        picked: Mutex::default(),
        result: Mutex::default(),
    };
    pipeline::run(&walk, root, source.threads)?;
    Ok(walk)
}

/// Returns the hard links of the tree to which the records belong.
fn old_links(repo: &Repo, walk: &Walk<'_>) -> Result<LinkTable> {
    let Some(worktree) = walk.basis else {
        return Ok(LinkTable::default());
    };
    let record = repo
        .catalogue()?
        .stat_dirs(worktree, &[b""])?
        .into_iter()
        .next()
        .flatten();
    let table = record
        .and_then(|r| DirRecord::decode(&r))
        .map(|r| repo.links(&repo.root(&r.tree)?.0));
    match table {
        Some(Ok(table)) => Ok(table),
        // With an empty table, every directory with hard links is walked again.
        Some(Err(e)) if e.kind() == Kind::Integrity => Ok(LinkTable::default()),
        Some(Err(e)) => Err(e),
        None => Ok(LinkTable::default()),
    }
}

impl Snapshot {
    /// Returns the snapshot of a missing directory.
    pub fn nothing() -> Self {
        let (totals, meta, links) = (Totals::default(), Meta::default(), LinkTable::default());
        let (picked, unstable, noted, records) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self {
            tree: Id([0; 32]),
            totals,
            meta,
            picked,
            links,
            unstable,
            noted,
            records,
            kept: None,
        }
    }

    /// Returns a snapshot that another process has taken.
    pub fn of_tree(tree: Id, totals: Totals) -> Self {
        Self {
            tree,
            totals,
            ..Self::nothing()
        }
    }

    /// Returns the new record of a directory, if it differs from the stored one.
    pub fn record(&self, path: &[u8]) -> Option<Vec<u8>> {
        self.records
            .iter()
            .find(|r| r.0 == path)
            .map(|r| r.1.clone())
    }

    /// Stores the records, so that the next walk skips unchanged directories. The tree must be
    /// durable. `dead_number` is the number of the newest dead entry of the gc log that the commit
    /// read.
    pub fn remember(&self, repo: &Repo, worktree: i64, dead_number: u64) -> Result<()> {
        let mut records: Vec<(&[u8], Option<&[u8]>)> = self
            .records
            .iter()
            .map(|(path, bytes)| (path.as_slice(), Some(bytes.as_slice())))
            .collect();
        records.sort_unstable();
        repo.catalogue()?.put_stat_dirs(worktree, &records)?;
        if let Some(kept) = &self.kept {
            // The commit has not checked the objects of other records.
            let used = records
                .iter()
                .map(|record| record.0)
                .chain(kept.iter().map(Vec::as_slice))
                .collect();
            repo.catalogue()?.retain_stat_dirs(worktree, &used)?;
            set_dead_seen(repo, worktree, dead_number)?;
        }
        vouch(repo, worktree)
    }
}

/// Returns the tree of a commit with this parent, and its totals.
pub type TreeOf<'t> = dyn Fn(Option<&Commit>) -> Result<(Id, Totals)> + 't;

/// A commit that is not on a branch yet, without its tree.
#[derive(Clone, Debug)]
pub struct Draft {
    pub author: String,
    pub host: String,
    pub time: Timestamp,
    /// Time of the update of the branch: now, even if `time` is long ago.
    pub moved_at: Time,
    pub message: String,
    /// `Key: value` pairs.
    pub trailers: Vec<(String, String)>,
    /// Paths that were unreadable or changed while they were read.
    pub unstable: Vec<Vec<u8>>,
}

impl Draft {
    /// Returns the commit as the child of `parent`.
    pub fn child_of(
        &self,
        parent: Option<&(Id, Commit)>,
        tree: &TreeOf<'_>,
        out: &Output<'_>,
    ) -> Result<Commit> {
        // The parent may come from a remote, so its ordinal can be the maximum.
        let ordinal = match parent {
            Some((_, parent)) => parent.ordinal.checked_add(1).ok_or_else(|| {
                Malformed::new(
                    "version",
                    "its ordinal is the maximum, so no version can follow",
                )
            })?,
            None => 1,
        };
        let (tree, totals) = tree(parent.map(|p| &p.1))?;
        Ok(Commit {
            tree,
            parents: parent.iter().map(|p| p.0).collect(),
            ordinal,
            author: self.author.clone(),
            host: self.host.clone(),
            time: self.time,
            message: self.message.clone(),
            trailers: self.trailers.clone(),
            counts: CommitCounts {
                files: totals.files,
                bytes: totals.bytes,
                new_bytes: out.new_bytes(),
                stored_bytes: out.stored_bytes(),
            },
            unstable: self.unstable.iter().take(UNSTABLE_MAX).cloned().collect(),
            signature: None,
        })
    }
}

/// Commits the draft to a branch. Afterwards, all objects of `out` are durable. Calls `tree` for
/// each tip that may become the parent.
pub fn publish(
    out: &Output<'_>,
    observer: &dyn Observer,
    branch: &RefName,
    draft: &Draft,
    tree: &TreeOf<'_>,
) -> Result<(Id, Commit)> {
    let repo = out.repo();
    let Some(session) = out.session() else {
        return Err(NoSession.into());
    };
    loop {
        let begin = Move {
            who: &draft.author,
            why: "commit",
            time: draft.moved_at,
        };
        // For a new branch, this creates an entry without a value, so that the fence of a gc
        // reaches its log (docs/decisions/0012).
        let tip = session.tip(RefKind::Branch, branch, &begin)?;
        let parent = match value_of(&tip) {
            Some(id) => Some((id, repo.commit_cached(&id)?)),
            None => None,
        };
        let commit = draft.child_of(parent.as_ref(), tree, out)?;
        let bytes = encode_commit(&commit);
        let id = out.store_object(ObjectKind::Commit, bytes.clone())?;
        // Packs and segments must be durable before the ref makes them visible.
        if let Some(sink) = out.sink() {
            sink.finish()?;
        }
        let why = format!("commit: {}", commit.subject());
        let how = Move {
            who: &draft.author,
            why: &why,
            time: draft.moved_at,
        };
        // Check directly before the ref is moved, because a gc may have declared packs dead during
        // the commit (step W1 of docs/decisions/0012).
        out.ensure_whole(&id, parent.as_ref().map(|parent| &parent.0), &how)?;
        observer.step("ref");
        if session
            .create_entry(RefKind::Branch, branch, &tip, id, &how)?
            .is_some()
        {
            observer.step("ref moved");
            // The commit exists even if this fails; the catalogue then adds the row when it is
            // needed.
            let _ = repo
                .catalogue()
                .map(|c| c.put_commits(&[CommitRow::new(&id, &commit, &bytes)]));
            return Ok((id, commit));
        }
    }
}
