//! Whether content of a worktree is in a version of the repository, so that it can be replaced without a loss.
//!
//! In: paths with what they are now. Out: those that no version has at the same path.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use crate::error::{Kind, Result};
use crate::model::entry::Entry;
use crate::model::id::Id;
use crate::model::refname::RefKind;
use crate::query::compare::{Letter, compare};
use crate::query::history::Walk;
use crate::repo::Repo;

/// Versions that are searched, newest first.
const SEARCHED: usize = 1000;
/// For more paths than this, whole trees are compared instead of these paths.
const SINGLE_PATHS: usize = 16;

/// The paths among `open` whose entry in the tree `now` is in none of the versions that refs and `tips` lead to.
/// `scope` are paths that contain all of `open`; with `metadata`, other metadata is no difference.
pub(in crate::ops) fn in_no_version(
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
    let from: Vec<Id> = from.into_iter().collect();
    for version in Walk::new(repo, &from, &[])?.take(SEARCHED) {
        if open.is_empty() {
            break;
        }
        let single: Vec<Vec<u8>> = open.keys().cloned().collect();
        let scope = if single.len() <= SINGLE_PATHS { &single } else { scope };
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
            // An old version that cannot be fetched now proves nothing.
            Err(e) if e.kind() == Kind::Unreachable => break,
            Err(e) => return Err(e),
        }
    }
    Ok(open)
}
