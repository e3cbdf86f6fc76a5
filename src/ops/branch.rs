//! `branch`: lists, creates, renames and deletes branches. All of it can be undone.

use super::undo::RENAME;
use crate::context::Context;
use crate::error::{Kind, Result};
use crate::model::commit::Commit;
use crate::model::id::Id;
use crate::model::refname::{RefKind, RefName};
use crate::model::revision::Revision;
use crate::observe::Observer;
use crate::query::resolve::Resolver;
use crate::refs::head::Head;
use crate::refs::moves::{Moved, Mover, RefMoveError};
use crate::repo::Repo;
use crate::repo::refs::report_damaged;
use std::path::Path;

/// Which branches to list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BranchScope {
    /// The repository's own.
    #[default]
    Local,
    /// Those of remotes, as they were last seen.
    Remote,
    /// Both.
    All,
}

/// What to do with branches.
#[derive(Clone, Debug)]
pub enum BranchAction {
    /// List them.
    List(BranchScope),
    /// Create one.
    Create {
        /// Its name.
        name: RefName,
        /// Its version.
        at: Revision,
        /// Move one that exists.
        force: bool,
    },
    /// Rename one, with its tags; worktrees on it follow.
    Rename {
        /// The old name, HEAD's branch if `None`.
        old: Option<RefName>,
        /// The new name.
        new: RefName,
    },
    /// Delete some. Their tags stay.
    Delete {
        /// Their names.
        names: Vec<RefName>,
        /// Even if a worktree is on one.
        force: bool,
    },
}

/// Options of `branch`.
#[derive(Clone, Debug)]
pub struct BranchOptions {
    /// What to do.
    pub action: BranchAction,
    /// Only say what would be done.
    pub dry_run: bool,
}

/// A branch.
#[derive(Clone, Debug)]
pub struct BranchLine {
    /// Its name.
    pub name: RefName,
    /// Whether it is the repository's own or a remote's.
    pub kind: RefKind,
    /// Its tip.
    pub id: Id,
    /// What the tip says.
    pub commit: Commit,
    /// Whether HEAD is on it.
    pub current: bool,
}

/// What is there, and what was done.
#[derive(Clone, Debug, Default)]
pub struct BranchReport {
    /// Of a list: how many cannot be read.
    pub damaged: usize,
    /// HEAD's branch, which may have no version yet.
    pub current: Option<RefName>,
    /// All branches, for [`BranchAction::List`].
    pub branches: Vec<BranchLine>,
    /// Refs that were moved.
    pub moves: Vec<Moved>,
}

/// Runs `branch`.
pub fn branch(context: &Context, options: &BranchOptions, observer: &dyn Observer) -> Result<BranchReport> {
    let repo = context.repo()?;
    let head = Head::read(context, &repo)?;
    let mut mover = Mover::new(context, &repo, observer, options.dry_run);
    let mut report = BranchReport { current: head.branch.clone(), ..BranchReport::default() };
    match &options.action {
        BranchAction::List(scope) => (report.branches, report.damaged) = list(&repo, &head, *scope, observer)?,
        BranchAction::Create { name, at, force } => {
            let id = Resolver::new(&repo, context)?.revision(at)?;
            mover.create(RefKind::Branch, name, id, *force, &format!("branch: at {at}"))?;
        }
        BranchAction::Rename { old, new } => {
            let none = || RefMoveError::NoBranch(new.to_string());
            let old = old.as_ref().or(head.branch.as_ref()).ok_or_else(none)?;
            rename(&repo, &mut mover, old, new)?;
            if !options.dry_run {
                move_heads(&repo, old, new)?;
            }
        }
        BranchAction::Delete { names, force } => {
            for name in names {
                let current = repo.worktrees()?.into_iter().find(|w| w.branch.as_deref() == Some(name.as_str()));
                if let Some(state) = current.filter(|w| !force && Path::new(&w.path).exists()) {
                    return Err(RefMoveError::Current { name: name.clone(), worktree: state.path }.into());
                }
            }
            mover.delete_all(RefKind::Branch, &names.iter().cloned().collect(), "branch: deleted")?;
        }
    }
    report.moves = mover.moves;
    Ok(report)
}

/// The branches, and how many cannot be read; a notice names each of these.
fn list(repo: &Repo, head: &Head, scope: BranchScope, observer: &dyn Observer) -> Result<(Vec<BranchLine>, usize)> {
    let kinds: &[RefKind] = match scope {
        BranchScope::Local => &[RefKind::Branch],
        BranchScope::Remote => &[RefKind::Remote],
        BranchScope::All => &[RefKind::Branch, RefKind::Remote],
    };
    let (mut lines, mut damaged) = (Vec::new(), 0);
    for kind in kinds.iter().copied() {
        let readable = repo.refs().readable(kind)?;
        damaged += readable.damaged.len();
        for tip in readable.or_report(observer) {
            let current = kind == RefKind::Branch && head.branch.as_ref() == Some(&tip.name);
            match repo.commit_cached(&tip.id) {
                Ok(commit) => lines.push(BranchLine { commit, name: tip.name, kind, id: tip.id, current }),
                Err(e) if e.kind() == Kind::Integrity => {
                    damaged += 1;
                    report_damaged(&e, observer);
                }
                Err(e) => return Err(e),
            }
        }
    }
    Ok((lines, damaged))
}

/// First everything gets its new name, then the old names go: no instant in which a version has none.
fn rename(repo: &Repo, mover: &mut Mover<'_>, old: &RefName, new: &RefName) -> Result<()> {
    let why = format!("{RENAME}from {old} to {new}");
    let missing = || RefMoveError::Missing { kind: RefKind::Branch, name: old.clone() };
    let id = repo.refs().value(RefKind::Branch, old)?.ok_or_else(missing)?;
    if old == new {
        return Ok(());
    }
    if repo.refs().value(RefKind::Branch, new)?.is_some() {
        return Err(RefMoveError::Exists { kind: RefKind::Branch, name: new.clone() }.into());
    }
    mover.create(RefKind::Branch, new, id, false, &why)?;
    let tags = repo.refs().readable(RefKind::Tag)?.tips;
    let tags: Vec<_> = tags.into_iter().filter(|t| t.name.scope().is_some_and(|(b, _)| b == old.as_str())).collect();
    for tag in &tags {
        let name = tag.name.scope().map_or(tag.name.as_str(), |(_, name)| name);
        mover.create(RefKind::Tag, &RefName::scoped(new, name)?, tag.id, true, &why)?;
    }
    for tag in &tags {
        mover.delete(RefKind::Tag, &tag.name, &why)?;
    }
    mover.delete(RefKind::Branch, old, &why)
}

/// Worktrees that were on a branch are on its new name.
fn move_heads(repo: &Repo, old: &RefName, new: &RefName) -> Result<()> {
    // One that cannot be read is not on any branch.
    let states = repo.worktree_states()?.into_iter().filter_map(|(_, state)| state.ok());
    for state in states.filter(|w| w.branch.as_deref() == Some(old.as_str())) {
        let base = state.base.as_deref().and_then(Id::parse);
        repo.worktree(Path::new(&state.path))?.save(Some(new), base.as_ref())?;
    }
    Ok(())
}
