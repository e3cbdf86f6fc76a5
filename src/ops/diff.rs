//! `diff`: compares two versions, or a version with the worktree.
//!
//! Changes are reported one by one, with byte ranges and text patches if requested.

use crate::context::Context;
use crate::error::Result;
use crate::model::entry::{Entry, Meta, Node, Totals};
use crate::model::id::Id;
use crate::model::path::{display, join};
use crate::model::revision::{RevisionRange, RevisionSpec};
use crate::observe::Observer;
use crate::query::compare::{ChangeVisit, CompareStart, Letter, TreeChange, compare, from};
use crate::query::describe::{ChangeDetail, MeasuredChange, measured};
use crate::query::forgotten::ensure_readable;
use crate::query::history::{HistoryWalk, ancestors};
use crate::query::lines::{Hunk, TEXT_MAX, hunks, is_text};
use crate::query::resolve::{RangeEnds, ResolveError, ResolvedSpec, Resolver};
use crate::query::worktree::{UnstablePaths, WalkOptions, look};
use crate::refs::head::Head;
use crate::repo::Repo;
use std::cell::Cell;
use std::ffi::OsStr;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;

/// The two sides of a comparison.
#[derive(Clone, Debug)]
pub enum DiffSides {
    /// The base version of the worktree, and the worktree.
    Worktree,
    /// A version, or a path in it, and the same path of the worktree.
    Since(RevisionSpec),
    /// Two versions, or paths in them.
    Between(RevisionSpec, RevisionSpec),
    /// A range; with three dots, it starts at the common ancestor.
    Range(RevisionRange),
}

/// Options of `diff`.
#[derive(Clone, Debug)]
pub struct DiffOptions {
    /// The two sides to compare.
    pub sides: DiffSides,
    /// Only these paths; all if empty.
    pub paths: Vec<Vec<u8>>,
    /// Whether byte ranges are computed.
    pub detail: ChangeDetail,
    /// Compare the lines of text files.
    pub patch: bool,
    /// The files that the walk of the worktree leaves out.
    pub walk: WalkOptions,
}

/// The changed lines of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LinePatch {
    /// The hunks of a text file.
    Lines(Vec<Hunk>),
    /// The file is not text, or too long.
    Binary,
}

/// One path that differs.
#[derive(Clone, Debug)]
pub struct Difference {
    pub changed: MeasuredChange,
    /// The changed lines, if they were requested and the content changed.
    pub patch: Option<LinePatch>,
}

/// The totals of a comparison.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DiffReport {
    /// The number of paths that differ.
    pub changes: u64,
    /// The number of paths of the worktree that could not be read, or changed while they were read.
    pub unstable: u64,
}

/// One side of a comparison.
#[derive(Default)]
struct DiffSide {
    tree: Option<Id>,
    path: Vec<Vec<u8>>,
    /// Whether the contents of files are in the worktree, not in the repository.
    in_worktree: bool,
    unstable: UnstablePaths,
}

/// Compares two sides and calls `each` for each difference, until it breaks.
pub fn diff(
    context: &Context,
    options: &DiffOptions,
    observer: &dyn Observer,
    each: &mut dyn FnMut(Difference) -> ControlFlow<()>,
) -> Result<DiffReport> {
    let repo = context.repo()?;
    let (old, mut new) = sides(context, &repo, options, observer)?;
    let mut unstable = std::mem::take(&mut new.unstable);
    let mut report = DiffReport::default();
    // The flag also ends the loop over unstable paths, because a break ends only the comparison.
    let ended = Cell::new(false);
    let mut report_change = |change: TreeChange| -> Result<ControlFlow<()>> {
        report.changes += 1;
        report.unstable += u64::from(change.letter == Letter::Unstable);
        if observer.cancelled() {
            ended.set(true);
            return Ok(ControlFlow::Break(()));
        }
        let patch = if options.patch {
            patch(context, &repo, &change, new.in_worktree)?
        } else {
            None
        };
        let flow = each(Difference {
            changed: measured(&repo, change, options.detail)?,
            patch,
        });
        ended.set(flow.is_break());
        Ok(flow)
    };
    let mut visit = |change| {
        unstable
            .take(change)
            .map_or(Ok(ControlFlow::Continue(())), &mut report_change)
    };
    compare_sides(&repo, options, &old, &new, &mut visit)?;
    // If only one path is compared, unstable paths outside of it are left out.
    let asked = if options.paths.is_empty() && !new.path.is_empty() {
        vec![new.path.join(&b'/')]
    } else {
        options.paths.clone()
    };
    for change in unstable.rest(&asked) {
        if ended.get() {
            break;
        }
        let _ended_early = report_change(change)?;
    }
    Ok(report)
}

/// Calls `visit` for each difference. The paths are those of the new side.
fn compare_sides(
    repo: &Repo,
    options: &DiffOptions,
    old: &DiffSide,
    new: &DiffSide,
    visit: &mut ChangeVisit<'_>,
) -> Result<()> {
    if old.path.is_empty() && new.path.is_empty() {
        return compare(
            repo,
            old.tree.as_ref(),
            new.tree.as_ref(),
            &options.paths,
            visit,
        );
    }
    let (before, after) = (found(repo, old)?, found(repo, new)?);
    if before.is_none() && after.is_none() {
        return Err(nowhere(&options.sides, new).into());
    }
    let (name, dir) = new
        .path
        .split_last()
        .map_or((Vec::new(), Vec::new()), |(n, d)| {
            (n.clone(), d.join(&b'/'))
        });
    // Both sides get the name of the new side, so that they are compared as one path.
    let renamed = |entry: Option<Entry>| {
        CompareStart::These(
            entry
                .map(|e| Entry {
                    name: name.clone(),
                    ..e
                })
                .into_iter()
                .collect(),
        )
    };
    if let (Some(Node::Dir { tree: a, .. }), Some(Node::Dir { tree: b, .. })) = (
        before.as_ref().map(|e| &e.node),
        after.as_ref().map(|e| &e.node),
    ) {
        // A root has metadata, which only `Root` compares.
        let start = |tree: &Id, side: &DiffSide| match (side.path.is_empty(), &side.tree) {
            (true, Some(root)) => CompareStart::Root(Some(*root)),
            _ => CompareStart::Dir(*tree),
        };
        from(
            repo,
            &start(a, old),
            &start(b, new),
            &join(&dir, &name),
            &options.paths,
            visit,
        )
    } else {
        from(
            repo,
            &renamed(before),
            &renamed(after),
            &dir,
            &options.paths,
            visit,
        )
    }
}

/// Returns the error for a path that neither side has.
fn nowhere(sides: &DiffSides, new: &DiffSide) -> ResolveError {
    let in_new = match sides {
        DiffSides::Between(_, spec) => format!("`{spec}`"),
        _ => format!("`{}` in the worktree", display(&new.path.join(&b'/'))),
    };
    let in_old = match sides {
        DiffSides::Between(spec, _) | DiffSides::Since(spec) => format!("`{spec}`"),
        DiffSides::Worktree | DiffSides::Range(_) => in_new.clone(),
    };
    ResolveError::Nowhere {
        old: in_old,
        new: in_new,
    }
}

fn sides(
    context: &Context,
    repo: &Repo,
    options: &DiffOptions,
    observer: &dyn Observer,
) -> Result<(DiffSide, DiffSide)> {
    let resolver = Resolver::new(repo, context)?;
    let version = |target: ResolvedSpec| -> Result<DiffSide> {
        ensure_readable(context, repo, &target.version)?;
        let tree = Some(repo.commit_cached(&target.version)?.tree);
        Ok(DiffSide {
            tree,
            path: target.path,
            ..DiffSide::default()
        })
    };
    let worktree = |path: Vec<Vec<u8>>| -> Result<DiffSide> {
        let snap = look(context, repo, &options.walk, observer)?;
        Ok(DiffSide {
            tree: Some(snap.tree),
            path,
            in_worktree: true,
            unstable: UnstablePaths::new(&snap),
        })
    };
    match &options.sides {
        DiffSides::Worktree => {
            let base = base(repo, resolver.head())?;
            let tree = base
                .map(|id| repo.commit_cached(&id))
                .transpose()?
                .map(|c| c.tree);
            Ok((
                DiffSide {
                    tree,
                    ..DiffSide::default()
                },
                worktree(Vec::new())?,
            ))
        }
        DiffSides::Since(spec) => {
            let target = resolver.spec(spec)?;
            let path = target.path.clone();
            Ok((version(target)?, worktree(path)?))
        }
        DiffSides::Between(old, new) => {
            Ok((version(resolver.spec(old)?)?, version(resolver.spec(new)?)?))
        }
        DiffSides::Range(range) => {
            let RangeEnds { from, to } = resolver.range(range)?;
            let from = if range.symmetric {
                common(repo, from, to)?
            } else {
                Some(from)
            };
            let whole = |id| ResolvedSpec {
                version: id,
                path: Vec::new(),
            };
            Ok((
                from.map_or(Ok(DiffSide::default()), |id| version(whole(id)))?,
                version(whole(to))?,
            ))
        }
    }
}

/// Returns the base version of the worktree; `None` on a branch without versions.
fn base(repo: &Repo, head: &Head) -> Result<Option<Id>> {
    match head.base {
        // The branch may have moved since, for example by a commit in another worktree.
        Some(base) => Ok(Some(base)),
        None => head.version(repo),
    }
}

/// Returns the newest common ancestor of two versions.
fn common(repo: &Repo, a: Id, b: Id) -> Result<Option<Id>> {
    let of_a = ancestors(repo, &a)?;
    for version in HistoryWalk::new(repo, &[b], &[])? {
        let (id, _) = version?;
        if of_a.contains(&id) {
            return Ok(Some(id));
        }
    }
    Ok(None)
}

/// Returns the entry at the path of a side. The entry of the root is a directory without a name.
fn found(repo: &Repo, side: &DiffSide) -> Result<Option<Entry>> {
    match (&side.tree, side.path.is_empty()) {
        (None, _) => Ok(None),
        (Some(tree), false) => repo.find(tree, &side.path),
        (Some(tree), true) => {
            let node = Node::Dir {
                tree: *tree,
                totals: Totals::default(),
            };
            Ok(Some(Entry {
                name: Vec::new(),
                meta: Meta::default(),
                link: None,
                node,
            }))
        }
    }
}

fn patch(
    context: &Context,
    repo: &Repo,
    change: &TreeChange,
    in_worktree: bool,
) -> Result<Option<LinePatch>> {
    let file = |entry: &Option<Entry>| {
        entry
            .as_ref()
            .is_none_or(|e| matches!(e.node, Node::File { .. }))
    };
    // Other changes, for example of metadata, have no lines.
    let content = matches!(
        change.letter,
        Letter::Added | Letter::Deleted | Letter::Content
    );
    if !content || !file(&change.old) || !file(&change.new) {
        return Ok(None);
    }
    if [&change.old, &change.new]
        .into_iter()
        .flatten()
        .any(|e| e.size() > TEXT_MAX)
    {
        return Ok(Some(LinePatch::Binary));
    }
    let stored = |entry: &Option<Entry>| match entry.as_ref().map(|e| &e.node) {
        Some(Node::File { content, .. }) => repo.read_content(content, TEXT_MAX),
        _ => Ok(Vec::new()),
    };
    let new = match &change.new {
        // A file that vanished or grew since the comparison is reported without its lines.
        Some(_) if in_worktree => {
            match std::fs::read(context.worktree.join(OsStr::from_bytes(&change.path))) {
                Ok(bytes) if bytes.len() as u64 <= TEXT_MAX => bytes,
                _ => return Ok(Some(LinePatch::Binary)),
            }
        }
        new => stored(new)?,
    };
    let old = stored(&change.old)?;
    if !is_text(&old) || !is_text(&new) {
        return Ok(Some(LinePatch::Binary));
    }
    Ok(Some(LinePatch::Lines(hunks(&old, &new))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::revision::{Revision, RevisionQuery};
    use crate::observe::Silent;
    use crate::query::made::{Made, file};

    fn shown(made: &Made, sides: DiffSides, paths: &[&str]) -> String {
        let paths = paths.iter().map(|p| p.as_bytes().to_vec()).collect();
        let options = DiffOptions {
            sides,
            paths,
            detail: ChangeDetail::Ranges,
            patch: true,
            walk: WalkOptions::default(),
        };
        let mut lines = Vec::new();
        diff(&made.context, &options, &Silent, &mut |d| {
            let patch = match d.patch {
                None => "",
                Some(LinePatch::Binary) => " binary",
                Some(LinePatch::Lines(_)) => " text",
            };
            let change = &d.changed.change;
            lines.push(format!(
                "{} {}{patch}",
                change.letter.as_str(),
                display(&change.path)
            ));
            ControlFlow::Continue(())
        })
        .unwrap();
        lines.join(", ")
    }

    fn between(old: &str, new: &str) -> DiffSides {
        DiffSides::Between(
            RevisionSpec::parse(old.as_bytes()).unwrap(),
            RevisionSpec::parse(new.as_bytes()).unwrap(),
        )
    }

    #[test]
    fn versions_paths_and_ranges() {
        let made = Made::new();
        made.commit(
            "main",
            "one",
            vec![made.dir("d", vec![file("x", "1\n")]), file("f", "a\0b")],
        );
        made.commit(
            "main",
            "two",
            vec![
                made.dir("d", vec![file("x", "2\n"), file("y", "")]),
                file("f", "a\0c"),
            ],
        );
        assert_eq!(
            shown(&made, between("main~", "main"), &[]),
            "M d/x text, A d/y text, M f binary"
        );
        assert_eq!(shown(&made, between("main~", "main"), &["f"]), "M f binary");
        assert_eq!(
            shown(&made, between("main~:d", "main:d"), &[]),
            "M d/x text, A d/y text"
        );
        assert_eq!(
            shown(&made, between("main~:d/x", "main:d/x"), &[]),
            "M d/x text"
        );
        assert_eq!(shown(&made, between("main:d/x", "main:d/x"), &[]), "");
        let Ok(RevisionQuery::Range(range)) = RevisionQuery::parse(b"main~...main") else {
            unreachable!("it is a range")
        };
        assert_eq!(
            shown(&made, DiffSides::Range(range), &[]),
            "M d/x text, A d/y text, M f binary"
        );
        let none = RevisionSpec {
            url: None,
            revision: Revision::HEAD,
            path: Some(b"none".to_vec()),
        };
        let options = DiffOptions {
            sides: DiffSides::Between(none.clone(), none),
            paths: vec![],
            detail: ChangeDetail::None,
            patch: false,
            walk: WalkOptions::default(),
        };
        assert!(
            diff(&made.context, &options, &Silent, &mut |_| {
                ControlFlow::Continue(())
            })
            .is_err()
        );
    }

    #[test]
    fn the_worktree() {
        let made = Made::new();
        std::fs::create_dir(&made.context.worktree).unwrap();
        made.commit("main", "one", vec![file("f", "old\n")]);
        std::fs::write(made.context.worktree.join("f"), "new\n").unwrap();
        assert_eq!(shown(&made, DiffSides::Worktree, &["f"]), "M f text");
        let since = |text: &str| DiffSides::Since(RevisionSpec::parse(text.as_bytes()).unwrap());
        assert_eq!(shown(&made, since("main:f"), &[]), "M f text");
    }
}
