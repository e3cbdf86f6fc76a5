//! The trash of worktrees: commits of files that a command was about to overwrite or remove.
//!
//! The value of `refs/trash/<worktree>` is a list: a commit whose parents are the commits in the
//! trash, the oldest first. A new list adds or removes an entry, so a reader sees either the old
//! list or the new one. Everything in the list is reachable, so a garbage collection keeps it.

use super::commit::Draft;
use super::output::Output;
use crate::error::{Failure, Kind, Result};
use crate::format::object::encode_commit;
use crate::index::catalogue::commits::CommitRow;
use crate::model::commit::{Commit, CommitCounts};
use crate::model::entry::Totals;
use crate::model::id::{Id, ObjectKind};
use crate::model::refname::{RefKind, RefName};
use crate::observe::Observer;
use crate::repo::Repo;
use crate::repo::refs::{Move, value_of};
use crate::repo::writer::{NewValue, WriteSession};

/// The message of a list.
const LIST: &str = "trash";

/// A tree with its totals.
#[derive(Clone, Copy, Debug)]
pub struct KeptTree {
    pub tree: Id,
    pub totals: Totals,
}

/// Overwritten files in the trash of a worktree.
#[derive(Debug)]
pub struct OverwrittenFiles {
    /// The ref, which has the name of the worktree's folder.
    pub worktree: RefName,
    pub id: Id,
    /// The commit, or the error of a damaged one.
    pub commit: Result<Commit>,
}

/// The error for a move to the trash in a dry run, which would be a bug.
#[derive(Debug, thiserror::Error)]
#[error("a dry run cannot move files to the trash")]
struct NoSession;

impl Failure for NoSession {
    fn kind(&self) -> Kind {
        Kind::Internal
    }
}

/// The error for a trash whose remaining commits are all damaged.
#[derive(Debug, thiserror::Error)]
#[error("no commit in the trash of worktree `{0}` can be read")]
struct NoneReadable(String);

impl Failure for NoneReadable {
    fn kind(&self) -> Kind {
        Kind::Integrity
    }

    fn hint(&self) -> Option<String> {
        Some("run `dvc fsck --repair`".to_owned())
    }
}

/// Commits overwritten files to the trash of a worktree. Afterwards, all objects of `out` are
/// durable. An entry with the same files is replaced, as after an interrupted command.
pub fn keep(
    out: &Output<'_>,
    observer: &dyn Observer,
    worktree: &RefName,
    draft: &Draft,
    kept: KeptTree,
) -> Result<Id> {
    let repo = out.repo();
    let session = out.session().ok_or(NoSession)?;
    let commit = draft.child_of(None, &|_| Ok((kept.tree, kept.totals)), out)?;
    let bytes = encode_commit(&commit);
    let id = out.store_object(ObjectKind::Commit, bytes.clone())?;
    let how = Move {
        who: &draft.author,
        why: &draft.message,
        time: draft.moved_at,
    };
    loop {
        let tip = session.tip(RefKind::Trash, worktree, &how)?;
        let value = value_of(&tip);
        let mut entries = listed(repo, value.as_ref())?;
        let is_same = |entry: &Id| {
            *entry == id
                || repo
                    .commit(entry)
                    .is_ok_and(|known| known.tree == commit.tree)
        };
        entries.retain(|entry| !is_same(entry));
        entries.push(id);
        let list = store_list(out, entries, &commit)?;
        if let Some(sink) = out.sink() {
            sink.finish()?;
        }
        out.ensure_whole(&list, value.as_ref(), &how)?;
        observer.step("trash");
        if session
            .create_entry(RefKind::Trash, worktree, &tip, list, &how)?
            .is_some()
        {
            observer.step("in the trash");
            // The commit exists even if this fails; the catalogue then adds the row when it is
            // needed.
            let _ = repo
                .catalogue()
                .map(|c| c.put_commits(&[CommitRow::new(&id, &commit, &bytes)]));
            return Ok(id);
        }
    }
}

/// Stores the list of these entries; `last` is the commit of the last of them.
fn store_list(out: &Output<'_>, entries: Vec<Id>, last: &Commit) -> Result<Id> {
    let list = Commit {
        parents: entries,
        ordinal: last.ordinal.saturating_add(1),
        message: LIST.to_owned(),
        trailers: Vec::new(),
        unstable: Vec::new(),
        counts: CommitCounts::default(),
        ..last.clone()
    };
    out.store_object(ObjectKind::Commit, encode_commit(&list))
}

/// Returns the entries of a list, the oldest first.
fn listed(repo: &Repo, list: Option<&Id>) -> Result<Vec<Id>> {
    list.map_or(Ok(Vec::new()), |list| Ok(repo.commit(list)?.parents))
}

/// Returns the entries in the trash of all worktrees.
pub fn overwritten_files(repo: &Repo) -> Result<Vec<OverwrittenFiles>> {
    let mut all = Vec::new();
    for tip in repo.refs().list(RefKind::Trash)? {
        for id in listed(repo, Some(&tip.id))? {
            all.push(OverwrittenFiles {
                worktree: tip.name.clone(),
                id,
                commit: repo.commit(&id),
            });
        }
    }
    Ok(all)
}

/// Removes the entries that `is_gone` accepts from the trash of a worktree, and returns them. Their
/// data stays until a garbage collection.
pub fn take_out(
    repo: &Repo,
    observer: &dyn Observer,
    worktree: &RefName,
    is_gone: &dyn Fn(&Id) -> bool,
    how: &Move<'_>,
) -> Result<Vec<Id>> {
    loop {
        // The gc log comes first, then the ref.
        let session = WriteSession::begin(repo)?;
        let Some(value) = repo.refs().value(RefKind::Trash, worktree)? else {
            return Ok(Vec::new());
        };
        let (gone, left): (Vec<Id>, Vec<Id>) = listed(repo, Some(&value))?
            .into_iter()
            .partition(|id| is_gone(id));
        if gone.is_empty() {
            return Ok(gone);
        }
        // A damaged entry must not keep others in the trash.
        let readable = left.iter().rev().find_map(|id| repo.commit(id).ok());
        let new = match readable {
            None if left.is_empty() => NewValue::Deleted,
            None => return Err(NoneReadable(worktree.to_string()).into()),
            Some(last) => {
                let out = Output::storing(repo, observer)?;
                let list = store_list(&out, left, &last)?;
                if let Some(sink) = out.sink() {
                    sink.finish()?;
                }
                // A ref reached everything else when the session began.
                NewValue::Stored(list)
            }
        };
        observer.step("trash");
        if session
            .move_ref(RefKind::Trash, worktree, Some(&value), new, how)?
            .is_some()
        {
            observer.step("out of the trash");
            return Ok(gone);
        }
    }
}
