//! `branch`: lists, creates, renames and deletes branches. All changes can be undone.

use crate::context::Context;
use crate::error::{Kind, Result};
use crate::model::commit::Commit;
use crate::model::id::Id;
use crate::model::refname::{RefKind, RefName};
use crate::model::revision::Revision;
use crate::observe::Observer;
use crate::query::resolve::Resolver;
use crate::refs::head::Head;
use crate::refs::moves::{MovedRef, Mover, RENAME_REASON, RefMoveError};
use crate::repo::Repo;
use crate::repo::refs::report_damaged;
use std::path::Path;

/// The branches to list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BranchScope {
    /// Local branches.
    #[default]
    Local,
    /// Remote branches, as last seen.
    Remote,
    /// Local and remote branches.
    All,
}

/// An action on branches.
#[derive(Clone, Debug)]
pub enum BranchAction {
    /// List branches.
    List(BranchScope),
    /// Create a branch.
    Create {
        name: RefName,
        /// The version that becomes the tip.
        at: Revision,
        /// Move the branch if it already exists.
        force: bool,
    },
    /// Rename a branch with its tags; worktrees on the branch follow.
    Rename {
        /// The old name; `None` is HEAD's branch.
        old: Option<RefName>,
        new: RefName,
    },
    /// Delete branches. Their tags stay.
    Delete {
        names: Vec<RefName>,
        /// Delete a branch even if a worktree is on it.
        force: bool,
    },
}

/// Options of `branch`.
#[derive(Clone, Debug)]
pub struct BranchOptions {
    pub action: BranchAction,
    /// Only report what would be done.
    pub dry_run: bool,
}

/// A branch and its tip.
#[derive(Clone, Debug)]
pub struct BranchLine {
    pub name: RefName,
    /// Whether the branch is local or remote.
    pub kind: RefKind,
    /// The id of the tip.
    pub id: Id,
    /// The commit of the tip.
    pub commit: Commit,
    /// Whether HEAD is on the branch.
    pub current: bool,
}

/// The listed branches and the changed refs.
#[derive(Clone, Debug, Default)]
pub struct BranchReport {
    /// The number of branches that cannot be read.
    pub damaged: usize,
    /// HEAD's branch, which may have no versions yet.
    pub current: Option<RefName>,
    /// The branches, for [`BranchAction::List`].
    pub branches: Vec<BranchLine>,
    /// The changed refs.
    pub moves: Vec<MovedRef>,
}

/// Lists, creates, renames or deletes branches, as [`BranchOptions::action`] requests.
pub fn branch(
    context: &Context,
    options: &BranchOptions,
    observer: &dyn Observer,
) -> Result<BranchReport> {
    let repo = context.repo()?;
    let head = Head::read(context, &repo)?;
    let mut mover = Mover::new(context, &repo, observer, options.dry_run);
    let mut report = BranchReport {
        current: head.branch.clone(),
        ..BranchReport::default()
    };
    match &options.action {
        BranchAction::List(scope) => list(&repo, &head, *scope, observer, &mut report)?,
        BranchAction::Create { name, at, force } => {
            let id = Resolver::new(&repo, context)?.revision(at)?;
            mover.create(
                RefKind::Branch,
                name,
                id,
                *force,
                &format!("branch: set to {at}"),
            )?;
        }
        BranchAction::Rename { old, new } => {
            let none = RefMoveError::Detached("rename the current branch");
            let old = old.as_ref().or(head.branch.as_ref()).ok_or(none)?;
            rename(&repo, &mut mover, old, new, options.dry_run)?;
        }
        BranchAction::Delete { names, force } => {
            // Check all names first, so that an error deletes none of them.
            for name in names {
                let current = repo
                    .worktrees()?
                    .into_iter()
                    .find(|w| w.branch.as_deref() == Some(name.as_str()));
                // A worktree whose directory is gone does not protect its branch.
                if let Some(state) = current.filter(|w| !force && Path::new(&w.path).exists()) {
                    return Err(RefMoveError::Current {
                        name: name.clone(),
                        worktree: state.path,
                    }
                    .into());
                }
            }
            mover.delete_all(
                RefKind::Branch,
                &names.iter().cloned().collect(),
                "branch: deleted",
            )?;
        }
    }
    report.moves = mover.moves;
    Ok(report)
}

/// Lists the branches. Counts the branches that cannot be read, and reports each of them as a
/// notice.
fn list(
    repo: &Repo,
    head: &Head,
    scope: BranchScope,
    observer: &dyn Observer,
    report: &mut BranchReport,
) -> Result<()> {
    let kinds: &[RefKind] = match scope {
        BranchScope::Local => &[RefKind::Branch],
        BranchScope::Remote => &[RefKind::Remote],
        BranchScope::All => &[RefKind::Branch, RefKind::Remote],
    };
    for kind in kinds.iter().copied() {
        let readable = repo.refs().readable(kind)?;
        report.damaged += readable.damaged.len();
        for tip in readable.or_report(observer) {
            let current = kind == RefKind::Branch && head.branch.as_ref() == Some(&tip.name);
            match repo.commit_cached(&tip.id) {
                Ok(commit) => report.branches.push(BranchLine {
                    commit,
                    name: tip.name,
                    kind,
                    id: tip.id,
                    current,
                }),
                // A damaged branch must not hide the others.
                Err(e) if e.kind() == Kind::Integrity => {
                    report.damaged += 1;
                    report_damaged(&e, observer);
                }
                Err(e) => return Err(e),
            }
        }
    }
    Ok(())
}

/// Renames a branch and its tags. All new names are created before the old ones are deleted, so
/// that every version has a name at every moment.
fn rename(
    repo: &Repo,
    mover: &mut Mover<'_>,
    old: &RefName,
    new: &RefName,
    dry_run: bool,
) -> Result<()> {
    let why = format!("{RENAME_REASON}from {old} to {new}");
    let missing = || RefMoveError::Missing {
        kind: RefKind::Branch,
        name: old.clone(),
    };
    let id = repo
        .refs()
        .value(RefKind::Branch, old)?
        .ok_or_else(missing)?;
    if old == new {
        return Ok(());
    }
    if repo.refs().value(RefKind::Branch, new)?.is_some() {
        return Err(RefMoveError::Exists {
            kind: RefKind::Branch,
            name: new.clone(),
        }
        .into());
    }
    let mut tags = Vec::new();
    for tag in repo.refs().readable(RefKind::Tag)?.tips {
        let Some((_, name)) = tag.name.scope().filter(|(b, _)| *b == old.as_str()) else {
            continue;
        };
        let renamed = RefName::scoped(new, name)?;
        // Tags of a fetched branch can exist before the branch does.
        let there = repo.refs().value(RefKind::Tag, &renamed)?;
        if there.is_some_and(|id| id != tag.id) {
            return Err(RefMoveError::Exists {
                kind: RefKind::Tag,
                name: renamed,
            }
            .into());
        }
        tags.push((tag, renamed));
    }
    mover.create(RefKind::Branch, new, id, false, &why)?;
    for (tag, renamed) in &tags {
        mover.create(RefKind::Tag, renamed, tag.id, true, &why)?;
    }
    // The worktrees are moved before the old branch is deleted, so that a crash leaves no worktree
    // on a missing branch.
    if !dry_run {
        move_heads(repo, old, new)?;
    }
    // The tags are deleted first, so that a crash leaves no tag of a missing branch.
    for (tag, _) in &tags {
        mover.delete(RefKind::Tag, &tag.name, &why)?;
    }
    mover.delete(RefKind::Branch, old, &why)
}

/// Moves worktrees from a branch to its new name.
fn move_heads(repo: &Repo, old: &RefName, new: &RefName) -> Result<()> {
    // Skip unreadable states, because their branch is unknown.
    let states = repo
        .worktree_states()?
        .into_iter()
        .filter_map(|(_, state)| state.ok());
    for state in states.filter(|w| w.branch.as_deref() == Some(old.as_str())) {
        let base = state.base.as_deref().and_then(Id::parse);
        repo.worktree(Path::new(&state.path))?
            .save(Some(new), base.as_ref())?;
    }
    Ok(())
}
