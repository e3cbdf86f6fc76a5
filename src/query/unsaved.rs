//! Finds content of a worktree that is in no version of the repository, and would be lost if it was
//! replaced.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use crate::error::{Kind, Result};
use crate::model::entry::Entry;
use crate::model::id::Id;
use crate::model::refname::RefKind;
use crate::query::compare::{Letter, compare};
use crate::query::history::HistoryWalk;
use crate::repo::Repo;

/// The number of versions that are searched, the newest first.
const SEARCHED: usize = 1000;
/// The number of paths up to which single paths are compared instead of whole trees.
const SINGLE_PATHS: usize = 16;

/// Returns the entries of `open` that no version has at the same path. The versions are those that
/// refs and `tips` reach, newest first, at most [`SEARCHED`], and up to the first one that cannot
/// be fetched. Forgotten versions do not count, because their data may be deleted at any time. `now`
/// is the tree of the entries, and `scope` has paths that contain all of them. With `metadata`,
/// entries that differ only in metadata count as equal.
pub fn in_no_version(
    repo: &Repo,
    tips: &[Id],
    now: &Id,
    scope: &[Vec<u8>],
    mut open: BTreeMap<Vec<u8>, Entry>,
    metadata: bool,
) -> Result<BTreeMap<Vec<u8>, Entry>> {
    let mut from: BTreeSet<Id> = tips.iter().copied().collect();
    for kind in RefKind::ALL {
        from.extend(repo.refs().readable(kind)?.tips.iter().map(|tip| tip.id));
    }
    let forgotten = repo.forgotten()?;
    let tips: Vec<Id> = from.iter().copied().collect();
    for version in HistoryWalk::new(repo, &tips, &[])?.take(SEARCHED) {
        if open.is_empty() {
            break;
        }
        // The tip of a ref is never forgotten.
        let is_forgotten = |id: &Id| forgotten.contains(id) && !from.contains(id);
        if version.as_ref().is_ok_and(|(id, _)| is_forgotten(id)) {
            continue;
        }
        // A comparison of few paths reads only the directories that lead to them.
        let single: Vec<Vec<u8>> = open.keys().cloned().collect();
        let scope = if single.len() <= SINGLE_PATHS {
            &single
        } else {
            scope
        };
        let mut differs = BTreeSet::new();
        let compared = version.and_then(|(_, commit)| {
            compare(repo, Some(&commit.tree), Some(now), scope, &mut |change| {
                let same = metadata && change.letter == Letter::Metadata;
                if change.new.is_some() && !same {
                    differs.insert(change.path);
                }
                Ok(ControlFlow::Continue(()))
            })
        });
        match compared {
            Ok(()) => open.retain(|path, _| differs.contains(path)),
            // A version that cannot be fetched now proves nothing, so the remaining entries count
            // as unsaved.
            Err(e) if e.kind() == Kind::Unreachable => break,
            Err(e) => return Err(e),
        }
    }
    Ok(open)
}
