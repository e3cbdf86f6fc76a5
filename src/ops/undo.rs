//! `undo`: undoes the last change of a branch or a tag. It adds an entry with the previous value to
//! the ref log.
//!
//! A second undo goes back one change further, because an entry that undid a change is skipped
//! together with that change. No version is lost, because the report contains the replaced values.

use super::forget::{RestoreOptions, RestoreReport, last_forget, restore};
use crate::context::Context;
use crate::error::Result;
use crate::format::refentry::RefEntry;
use crate::model::id::Id;
use crate::model::refname::{RefKind, RefName};
use crate::observe::Observer;
use crate::refs::head::Head;
use crate::refs::moves::{MovedRef, Mover, RENAME_REASON, RefMoveError};
use crate::repo::Repo;
use std::path::Path;

/// The prefix of the reason of a ref log entry that undoes another entry.
const UNDO: &str = "undo: ";
/// Options of `undo`.
#[derive(Clone, Debug, Default)]
pub struct UndoOptions {
    /// The branch or tag. `None` is the current branch.
    pub name: Option<RefName>,
    /// Only report what would be done.
    pub dry_run: bool,
}

/// The result of `undo`.
#[derive(Clone, Debug)]
pub struct UndoReport {
    /// The changed refs. There is more than one only if a rename is undone, and none if a forget is
    /// undone.
    pub moves: Vec<MovedRef>,
    /// The versions that were taken out of the trash.
    pub restored: RestoreReport,
    /// The reason of the undone change, such as `commit: nightly`.
    pub why: String,
    /// The time of the undone change, in seconds since 1970, and nanoseconds.
    pub time: i64,
    pub nanos: u32,
    /// The author of the undone change.
    pub who: String,
}

/// A ref, and the entry of its log to undo next.
struct Candidate {
    kind: RefKind,
    name: RefName,
    tip: RefEntry,
    undone: RefEntry,
}

impl Candidate {
    /// Returns a sort key, the greatest for the newest change. A tag that a commit created counts
    /// as newer than the commit, although both have the same time.
    fn age(&self) -> (i64, u32, bool) {
        (
            self.undone.time,
            self.undone.nanos,
            self.kind == RefKind::Tag,
        )
    }

    /// Returns whether one command made both changes.
    fn belongs_to(&self, other: &Self) -> bool {
        let same = |f: fn(&RefEntry) -> &str| f(&self.undone) == f(&other.undone);
        (self.undone.time, self.undone.nanos) == (other.undone.time, other.undone.nanos)
            && same(|e| &e.who)
            && same(|e| &e.why)
    }
}

/// Undoes the last change of a branch or a tag.
pub fn undo(
    context: &Context,
    options: &UndoOptions,
    observer: &dyn Observer,
) -> Result<UndoReport> {
    let repo = context.repo()?;
    let current = Head::read(context, &repo)?.branch;
    let forget = if options.name.is_none() {
        last_forget(&repo)?
    } else {
        None
    };
    let last = match options.name.as_ref().or(current.as_ref()) {
        Some(name) => last_change(&repo, name),
        None => Err(RefMoveError::NoBranchToUndo.into()),
    };
    // Without a change of a ref, the forget is the last change.
    if let Some(forget) = forget
        && last
            .as_ref()
            .ok()
            .is_none_or(|last| (last.undone.time, last.undone.nanos) < forget.time)
    {
        let restore_options = RestoreOptions {
            queries: Vec::new(),
            dry_run: options.dry_run,
        };
        let restored = restore(context, &restore_options, observer)?;
        return Ok(UndoReport {
            moves: Vec::new(),
            restored,
            why: forget.why,
            time: forget.time.0,
            nanos: forget.time.1,
            who: forget.who,
        });
    }
    let last = last?;
    let (why, time, who) = (
        last.undone.why.clone(),
        last.undone.time,
        last.undone.who.clone(),
    );
    let nanos = last.undone.nanos;
    let mut all = vec![last];
    // A rename changed several refs, which are undone together.
    if why.starts_with(RENAME_REASON) {
        let others = candidates(&repo, None)?;
        let same = |c: &Candidate| {
            all.iter()
                .all(|l| c.belongs_to(l) && (c.kind, &c.name) != (l.kind, &l.name))
        };
        let others: Vec<_> = others.into_iter().filter(same).collect();
        all.extend(others);
        // Restore refs before others are removed, so that every version has a ref at every moment.
        all.sort_by_key(|c| c.undone.old.is_none());
    }
    let mut mover = Mover::new(context, &repo, observer, options.dry_run);
    for Candidate {
        kind,
        name,
        tip,
        undone,
    } in &all
    {
        let before = undone.old.as_deref().and_then(Id::parse);
        mover.update(
            *kind,
            name,
            Some(tip),
            before,
            &format!("{UNDO}{}", undone.why),
        )?;
    }
    let moves = mover.moves;
    if !options.dry_run {
        move_worktrees(&repo, &moves)?;
    }
    Ok(UndoReport {
        moves,
        restored: RestoreReport::default(),
        why,
        time,
        nanos,
        who,
    })
}

/// Returns the last change of a branch or tag that is not undone.
fn last_change(repo: &Repo, name: &RefName) -> Result<Candidate> {
    let nothing = || RefMoveError::NothingToUndo {
        name: Some(name.to_string()),
    };
    Ok(candidates(repo, Some(name))?
        .into_iter()
        .max_by_key(Candidate::age)
        .ok_or_else(nothing)?)
}

/// Returns the refs with a change to undo: those with this name, or all. Fails if no ref with the
/// name exists or has existed.
fn candidates(repo: &Repo, name: Option<&RefName>) -> Result<Vec<Candidate>> {
    let mut names = Vec::new();
    for kind in [RefKind::Branch, RefKind::Tag] {
        match name {
            Some(name) if repo.refs().tip(kind, name)?.is_some() => {
                names.push((kind, name.clone()))
            }
            Some(_) => {}
            None => names.extend(
                repo.refs()
                    .names(kind)?
                    .into_iter()
                    .map(|name| (kind, name)),
            ),
        }
    }
    if let Some(name) = name.filter(|_| names.is_empty()) {
        return Err(RefMoveError::Missing {
            kind: RefKind::Branch,
            name: name.clone(),
        }
        .into());
    }
    let mut found = Vec::new();
    for (kind, name) in names {
        let mut log = repo.refs().log(kind, &name)?;
        if let Some(at) = undoable(&log) {
            let undone = log.swap_remove(at);
            // `swap_remove` has changed the order, so find the tip by its number.
            let tip = log
                .into_iter()
                .chain([undone.clone()])
                .max_by_key(|e| e.seq);
            found.extend(tip.map(|tip| Candidate {
                kind,
                name,
                tip,
                undone,
            }));
        }
    }
    Ok(found)
}

/// Returns the newest entry that is not undone yet; logs are newest first.
fn undoable(log: &[RefEntry]) -> Option<usize> {
    // Each entry of an undo cancels the newest older change that is not canceled yet.
    let mut undone = 0;
    for (at, entry) in log.iter().enumerate() {
        if entry.why.starts_with(UNDO) {
            undone += 1;
        } else if undone == 0 {
            return Some(at);
        } else {
            undone -= 1;
        }
    }
    None
}

/// Moves worktrees back together with their branch: the recorded base if it is the undone version,
/// or the recorded branch if a rename is undone. The files do not change.
fn move_worktrees(repo: &Repo, moves: &[MovedRef]) -> Result<()> {
    let branches = || moves.iter().filter(|m| m.kind == RefKind::Branch);
    // Skip unreadable states, because their branch is unknown.
    for state in repo
        .worktree_states()?
        .into_iter()
        .filter_map(|(_, state)| state.ok())
    {
        let Some(moved) = branches().find(|m| state.branch.as_deref() == Some(m.name.as_str()))
        else {
            continue;
        };
        let worktree = repo.worktree(Path::new(&state.path))?;
        let base = state.base.as_deref().and_then(Id::parse);
        // An undone rename creates the old name at the version of the name that is removed.
        let renamed = branches().find(|m| m.old.is_none() && m.new.is_some() && m.new == moved.old);
        if let Some(back) = renamed.filter(|_| moved.new.is_none()) {
            worktree.save(Some(&back.name), base.as_ref())?;
        } else if base.is_some() && base == moved.old {
            worktree.save(Some(&moved.name), moved.new.as_ref())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::Silent;
    use crate::ops::branch::{BranchAction, BranchOptions, branch};
    use crate::ops::tag::{TagAction, TagName, TagOptions, tag};
    use crate::query::made::Made;

    fn undo_all(made: &Made, name: Option<&str>) -> Vec<String> {
        let name = name.map(|n| RefName::parse_stored(n).unwrap());
        let mut lines = Vec::new();
        while let Ok(r) = undo(
            &made.context,
            &UndoOptions {
                name: name.clone(),
                dry_run: false,
            },
            &Silent,
        ) {
            lines.push(format!("{} {}", r.moves[0].name, r.why));
        }
        lines
    }

    #[test]
    fn undoing_goes_further_back_each_time() {
        let made = Made::new();
        let one = made.commit("main", "one", vec![]);
        made.commit("main", "two", vec![]);
        let dry = undo(
            &made.context,
            &UndoOptions {
                name: None,
                dry_run: true,
            },
            &Silent,
        )
        .unwrap();
        assert_eq!(
            (dry.moves[0].new, dry.why.as_str()),
            (Some(one), "commit: two")
        );
        undo(&made.context, &UndoOptions::default(), &Silent).unwrap();
        made.commit("main", "three", vec![]);
        // Undoing skips the commit `two`, which is undone already.
        assert_eq!(
            undo_all(&made, Some("main")),
            ["main commit: three", "main commit: one"]
        );
        assert_eq!(
            made.repo
                .refs()
                .value(RefKind::Branch, &RefName::new("main").unwrap())
                .unwrap(),
            None
        );
        let missing = UndoOptions {
            name: Some(RefName::new("nope").unwrap()),
            dry_run: false,
        };
        assert!(undo(&made.context, &missing, &Silent).is_err());
    }

    #[test]
    fn branches_and_tags_come_back() {
        let made = Made::new();
        made.commit("AMCC", "one", vec![]);
        made.tag("AMCC@release", made.commit("AMCC", "two", vec![]));
        let rename = BranchAction::Rename {
            old: Some(RefName::new("AMCC").unwrap()),
            new: RefName::new("cust/acme").unwrap(),
        };
        branch(
            &made.context,
            &BranchOptions {
                action: rename,
                dry_run: false,
            },
            &Silent,
        )
        .unwrap();
        let names = |kind| {
            let list = made.repo.refs().list(kind).unwrap();
            list.iter()
                .map(|t| t.name.to_string())
                .collect::<Vec<_>>()
                .join(" ")
        };
        assert_eq!(
            (names(RefKind::Branch), names(RefKind::Tag)),
            ("cust/acme".to_owned(), "cust/acme@release".to_owned())
        );
        let delete = TagAction::Delete {
            names: vec![TagName::parse("cust/acme@release").unwrap()],
        };
        tag(
            &made.context,
            &TagOptions {
                action: delete,
                dry_run: false,
            },
            &Silent,
        )
        .unwrap();
        assert_eq!(names(RefKind::Tag), "");
        let back = UndoOptions {
            name: Some(RefName::parse_stored("cust/acme@release").unwrap()),
            dry_run: false,
        };
        undo(&made.context, &back, &Silent).unwrap();
        assert_eq!(names(RefKind::Tag), "cust/acme@release");
        let report = undo(
            &made.context,
            &UndoOptions {
                name: Some(RefName::new("AMCC").unwrap()),
                dry_run: false,
            },
            &Silent,
        );
        // The rename moved the old and the new name of the branch and of its tag.
        assert_eq!(report.unwrap().moves.len(), 4);
        assert_eq!(
            (names(RefKind::Branch), names(RefKind::Tag)),
            ("AMCC".to_owned(), "AMCC@release".to_owned())
        );
    }
}
