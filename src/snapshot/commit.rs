//! From a source directory to a tree, and from a tree to a version on a branch.
//!
//! Only this file makes anything visible, in the order of the sink: packs, segments, then the ref. If another
//! process moved the branch first, the version is made again on top of the new tip.

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
use crate::snapshot::walk::basis::{DirRecord, are_vouched, vouch};
use crate::snapshot::walk::dir::Dir;
use crate::snapshot::walk::entries::{open_root, stat_at};
use crate::snapshot::walk::named::{Chosen, Names};
use crate::snapshot::walk::rules::Rules;
use crate::snapshot::walk::scan::{Finished, Walk};
use crate::snapshot::walk::unrestored::Unrestored;
use crate::sys::clock;
use crate::sys::io_error::IoError;

/// No commit keeps more paths of unstable files.
const UNSTABLE_MAX: usize = 1000;

/// What to look at.
pub struct Source<'s> {
    /// The directory.
    pub dir: &'s Path,
    /// Only these paths below it; all of it if there are none.
    pub only: &'s [Names],
    /// What is left out.
    pub rules: &'s Rules,
    /// The tree of the version before, for deltas against it.
    pub before: Option<Id>,
    /// The catalogue's number of the worktree, to skip what did not change.
    pub basis: Option<i64>,
    /// What a checkout could not restore, and so is no change.
    pub unrestored: Option<Unrestored>,
    /// Threads.
    pub threads: usize,
    /// Whether the snapshot notes a file with this name, also one that is left out.
    pub notes: fn(&[u8]) -> bool,
}

/// A directory as it is now.
#[derive(Debug)]
pub struct Snapshot {
    /// Its tree object.
    pub tree: Id,
    /// What lies below it.
    pub totals: Totals,
    /// Its own metadata.
    pub meta: Meta,
    /// The entries of the paths that were asked for, by path; `tree` and `totals` mean nothing then.
    pub picked: Vec<(Vec<u8>, Entry)>,
    /// The hard links among these paths.
    pub links: LinkTable,
    /// Paths that could not be read or did not hold still, sorted.
    pub unstable: Vec<Vec<u8>>,
    /// Some of the paths that were to be noted.
    pub noted: Vec<Vec<u8>>,
    /// Records for the next time, by path; only to be kept once the tree is durable.
    records: Vec<(Vec<u8>, Vec<u8>)>,
}

/// The walk of a directory ended without a result, which is a bug.
#[derive(Debug, thiserror::Error)]
#[error("the walk of `{}` has no result", .0.display())]
struct NoResult(PathBuf);

impl Failure for NoResult {
    fn kind(&self) -> Kind {
        Kind::Internal
    }
}

/// Looks at a source; stores what is new, unless the output is dry.
pub fn snapshot(out: &Output<'_>, observer: &dyn Observer, source: &Source<'_>) -> Result<Snapshot> {
    let mut distrust = HashSet::new();
    let mut basis = source.basis;
    loop {
        let walk = walk_once(out, observer, source, basis, std::mem::take(&mut distrust));
        let walk = match walk {
            // A damaged old tree must not stand in the way of a new version.
            Err(e) if e.kind() == Kind::Integrity && basis.is_some() => {
                basis = None;
                // The threads that ended had claimed what they will never store.
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
        if !stale.is_empty() && !stale.is_subset(&walk.distrust) {
            distrust = stale;
            distrust.extend(walk.distrust);
            continue;
        }
        pipeline::settle_links(&walk, source.dir)?;
        out.flush()?;
        let Walk { result, records, newest, unstable, noted, links, picked, .. } = walk;
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
        let encoded = |(path, record): (Vec<u8>, DirRecord)| (path, DirRecord { newest, ..record }.encode());
        let records = records.into_iter().map(encoded).collect();
        let noted = noted.into_inner();
        return Ok(Snapshot { tree, totals, meta, picked, links, unstable, noted, records });
    }
}

fn walk_once<'a>(
    out: &'a Output<'a>,
    observer: &'a dyn Observer,
    source: &'a Source<'_>,
    basis: Option<i64>,
    distrust: HashSet<Vec<u8>>,
) -> Result<Walk<'a>> {
    // Deltas are of no use to a dry run.
    let before = source.before.filter(|_| out.sink().is_some());
    let open = || -> std::io::Result<_> {
        let fd = open_root(source.dir)?;
        let stat = stat_at(fd.as_fd(), b"")?;
        Ok((fd, stat))
    };
    let root = open().map_err(IoError::at("open", source.dir))?;
    let root = Dir::root(root, before, Chosen::of(source.only));
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
            Some(worktree) => !are_vouched(out.repo(), worktree)?,
            None => false,
        },
        links: Mutex::default(),
        records: Mutex::default(),
        newest: Mutex::default(),
        unstable: Mutex::default(),
        picked: Mutex::default(),
        result: Mutex::default(),
    };
    pipeline::run(&walk, root, source.threads)?;
    Ok(walk)
}

/// The hard links of the tree that the records are of.
fn old_links(repo: &Repo, walk: &Walk<'_>) -> Result<LinkTable> {
    let Some(worktree) = walk.basis else { return Ok(LinkTable::default()) };
    let record = repo.catalogue()?.stat_dirs(worktree, &[b""])?.into_iter().next().flatten();
    let table = record.and_then(|r| DirRecord::decode(&r)).map(|r| repo.links(&repo.root(&r.tree)?.0));
    match table {
        Some(Ok(table)) => Ok(table),
        // Then every directory with hard links is looked at again.
        Some(Err(e)) if e.kind() == Kind::Integrity => Ok(LinkTable::default()),
        Some(Err(e)) => Err(e),
        None => Ok(LinkTable::default()),
    }
}

impl Snapshot {
    /// What is seen where nothing is.
    pub fn nothing() -> Self {
        let (totals, meta, links) = (Totals::default(), Meta::default(), LinkTable::default());
        let (picked, unstable, noted, records) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        Self { tree: Id([0; 32]), totals, meta, picked, links, unstable, noted, records }
    }

    /// What somebody else has looked at.
    pub fn of_tree(tree: Id, totals: Totals) -> Self {
        Self { tree, totals, ..Self::nothing() }
    }

    /// The record of a directory, if it was seen to differ from the one that is remembered.
    pub fn record(&self, path: &[u8]) -> Option<Vec<u8>> {
        self.records.iter().find(|r| r.0 == path).map(|r| r.1.clone())
    }

    /// Remembers what was seen, so that the next walk skips what did not change. The tree must be durable.
    pub fn remember(&self, repo: &Repo, worktree: i64) -> Result<()> {
        let mut records: Vec<(&[u8], Option<&[u8]>)> =
            self.records.iter().map(|(path, bytes)| (path.as_slice(), Some(bytes.as_slice()))).collect();
        records.sort_unstable();
        repo.catalogue()?.put_stat_dirs(worktree, &records)?;
        vouch(repo, worktree)
    }
}

/// The tree of a version as the child of another one, and what lies below it.
pub type TreeOf<'t> = dyn Fn(Option<&Commit>) -> Result<(Id, Totals)> + 't;

/// A version that is not on a branch yet, without its tree.
#[derive(Clone, Debug)]
pub struct Draft {
    /// Who.
    pub author: String,
    /// Where.
    pub host: String,
    /// When.
    pub time: Timestamp,
    /// When the branch is moved to it, seconds since 1970: now, also where `time` is long ago.
    pub moved_at: Time,
    /// Why.
    pub message: String,
    /// `Key: value`.
    pub trailers: Vec<(String, String)>,
    /// Flagged paths.
    pub unstable: Vec<Vec<u8>>,
}

impl Draft {
    /// The version that it is as the child of `parent`.
    pub fn child_of(&self, parent: Option<&(Id, Commit)>, tree: &TreeOf<'_>, out: &Output<'_>) -> Result<Commit> {
        let ordinal = match parent {
            Some((_, parent)) => parent.ordinal.checked_add(1).ok_or_else(|| {
                Malformed::new("version", "its ordinal is the greatest that is possible, so no version can follow it")
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

/// Makes the draft the next version of a branch; everything that was put into `out` is durable then. `tree` is asked
/// for each parent that there turns out to be.
pub fn publish(
    out: &Output<'_>,
    observer: &dyn Observer,
    branch: &RefName,
    draft: &Draft,
    tree: &TreeOf<'_>,
) -> Result<(Id, Commit)> {
    let repo = out.repo();
    let refs = repo.refs();
    loop {
        let tip = refs.tip(RefKind::Branch, branch)?;
        let parent = match tip.as_ref().and_then(value_of) {
            Some(id) => Some((id, repo.commit_cached(&id)?)),
            None => None,
        };
        let commit = draft.child_of(parent.as_ref(), tree, out)?;
        let bytes = encode_commit(&commit);
        let id = out.store_object(ObjectKind::Commit, bytes.clone())?;
        if let Some(sink) = out.sink() {
            sink.finish()?;
        }
        let why = format!("commit: {}", commit.subject());
        let how = Move { who: &draft.author, why: &why, time: draft.moved_at };
        observer.step("ref");
        if refs.update(RefKind::Branch, branch, tip.as_ref(), Some(id), &how)?.is_some() {
            observer.step("ref moved");
            // The version is made whatever comes of this; the catalogue finds it when it is asked for.
            let _ = repo.catalogue().map(|c| c.put_commits(&[CommitRow::new(&id, &commit, &bytes)]));
            return Ok((id, commit));
        }
    }
}
