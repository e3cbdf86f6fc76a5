//! `checkout`: writes a version, or paths of it, to the worktree or to another directory.
//!
//! In place, only differing files are written, and a journal makes an interrupted checkout
//! resumable. A checkout is refused if it would lose uncommitted changes, or change files that are
//! in use.

mod in_mount;
mod keep;
mod options;
mod placed;

pub(in crate::ops) use keep::{BASE, OVERLAY, WORKTREE, WORKTREE_HEX};
pub use options::{CheckoutError, CheckoutOptions, CheckoutReport, KeptFiles};

use std::collections::BTreeSet;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use crate::checkout::error::ReadError;
use crate::checkout::in_use;
use crate::checkout::patch::apply::{PatchOptions, patch};
use crate::checkout::patch::journal::{Goal, Journal, Lock};
use crate::checkout::patch::{apply, change};
use crate::checkout::restore::report::RestoreReport;
use crate::checkout::restore::whole::{RestoreOptions, restore};
use crate::checkout::verify::verify;
use crate::context::Context;
use crate::error::{Error, Kind, Result};
use crate::model::entry::{Meta, Node};
use crate::model::id::Id;
use crate::model::path;
use crate::model::refname::{RefKind, RefName};
use crate::model::revision::Revision;
use crate::model::tree::LinkTable;
use crate::observe::Observer;
use crate::query::compare::TreeChange;
use crate::query::forgotten::ensure_readable;
use crate::query::lazy;
use crate::query::resolve::Resolver;
use crate::query::worktree::{forget_unrestored, look, remember_unrestored, worktree_number};
use crate::refs::head::Head;
use crate::refs::moves::RefMoveError;
use crate::repo::Repo;
use crate::repo::layout::INSIDE;
use crate::repo::refs::Move;
use crate::repo::writer::RootCheck;
use crate::snapshot::graft::graft;
use crate::snapshot::output::Output;
use crate::snapshot::walk::rules::{Ignores, Rules};
use crate::sys::io_error::IoError;
use keep::AtRisk;
use options::planned;
use placed::PlacedFiles;

/// Checks out a version to the worktree, to a mount or to another directory.
pub fn checkout(
    context: &Context,
    options: &CheckoutOptions,
    observer: &dyn Observer,
) -> Result<CheckoutReport> {
    let repo = context.repo()?;
    // The gc log is read before the version is chosen.
    let check = RootCheck::begin(&repo)?;
    // The lock comes first, because a checkout by another process may be changing the state that is
    // read below.
    let lock = match &options.into {
        None if !options.dry_run => Some(Journal::lock(
            repo.worktree(&context.worktree)?.state_dir(),
        )?),
        _ => None,
    };
    let resolver = Resolver::new(&repo, context)?;
    let (version, branch) = match &options.revision {
        Some(revision) => (resolver.revision(revision)?, resolver.branch_of(revision)?),
        None => {
            let head = resolver.head();
            let unborn = || {
                let branch = head.branch.clone();
                branch.map_or(CheckoutError::NoVersion, CheckoutError::Unborn)
            };
            (
                head.version(&repo)?.ok_or_else(unborn)?,
                head.branch.clone(),
            )
        }
    };
    ensure_readable(context, &repo, &version)?;
    let commit = repo.commit_cached(&version)?;
    let options = &CheckoutOptions {
        paths: expanded(&repo, &commit.tree, options)?,
        ..options.clone()
    };
    // Check before any file changes, because the branch is created at the end.
    if let Some(name) = &options.new_branch
        && repo.refs().value(RefKind::Branch, name)?.is_some()
    {
        return Err(RefMoveError::Exists {
            kind: RefKind::Branch,
            name: name.clone(),
        }
        .into());
    }
    let branch = options.new_branch.clone().or(branch);
    let report = CheckoutReport {
        version,
        commit,
        branch,
        done: RestoreReport::default(),
        planned: Vec::new(),
        wrong: 0,
        kept: None,
    };
    match (&options.into, &context.mount) {
        (None, Some(mount)) if options.paths.is_empty() => {
            in_mount::checkout(context, mount, options, &resolver, &check, report, observer)
        }
        (None, _) => in_place(
            context,
            &repo,
            options,
            resolver.head(),
            lock,
            &check,
            report,
            observer,
        ),
        (Some(into), _) => restore_into(context, &repo, options, into, &check, report, observer),
    }
}

/// Returns the paths, with each pattern replaced by the matching paths in the version.
fn expanded(repo: &Repo, tree: &Id, options: &CheckoutOptions) -> Result<Vec<Vec<u8>>> {
    let mut out = Vec::new();
    for asked in &options.paths {
        let names = path::split(asked).unwrap_or_default();
        // A path that exists is meant literally.
        if names.is_empty() || repo.find(tree, &names)?.is_some() {
            out.push(asked.clone());
            continue;
        }
        let found = match std::str::from_utf8(asked) {
            Ok(pattern) if pattern.contains(['*', '?', '[']) => {
                let prefix = std::str::from_utf8(&options.prefix).unwrap_or_default();
                let below = pattern
                    .strip_prefix(prefix)
                    .and_then(|below| below.strip_prefix('/'));
                // As in an ignore file, a pattern without a slash matches at any depth.
                match below.filter(|below| !prefix.is_empty() && !below.contains('/')) {
                    Some(below) => matching(repo, tree, &format!("{prefix}/**/{below}"))?,
                    None => matching(repo, tree, pattern)?,
                }
            }
            _ => Vec::new(),
        };
        if found.is_empty() {
            let revision = options.revision.as_ref();
            return Err(CheckoutError::NoPath {
                revision: revision.map_or("HEAD".to_owned(), ToString::to_string),
                path: path::display(asked),
            }
            .into());
        }
        out.extend(found);
    }
    out.dedup();
    Ok(out)
}

/// Returns the topmost paths of a tree that match a pattern, sorted.
fn matching(repo: &Repo, tree: &Id, pattern: &str) -> Result<Vec<Vec<u8>>> {
    let mut rules = Rules::default();
    rules.exclude(&[pattern.to_owned()])?;
    let (none, mut found) = (Ignores::default(), Vec::new());
    let mut dirs = vec![(Vec::new(), repo.root(tree)?.1)];
    while let Some((dir, entries)) = dirs.pop() {
        for entry in entries {
            let path = path::join(&dir, &entry.name);
            // A directory is written with everything below it.
            if none.excludes(&rules, &path, entry.is_dir()) {
                found.push(path);
            } else if let Node::Dir { tree, .. } = &entry.node {
                dirs.push((path, repo.entries(tree)?));
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Restores into another directory, or finishes an interrupted checkout there. HEAD of the current
/// worktree does not move.
fn restore_into(
    context: &Context,
    repo: &Repo,
    options: &CheckoutOptions,
    into: &Path,
    check: &RootCheck,
    mut report: CheckoutReport,
    observer: &dyn Observer,
) -> Result<CheckoutReport> {
    let branch = report.branch.take();
    let tree = only_paths(repo, &report.commit.tree, &options.paths)?;
    if options.dry_run {
        report.planned = planned(repo, None, &tree, &[])?;
        return Ok(report);
    }
    // Fetch before the directory exists, so that an unreachable remote leaves no directory behind.
    if std::fs::read_dir(into).map_or(true, |mut names| names.next().is_none()) {
        lazy::fetch_tree(context, repo, &tree, observer)?;
    }
    let is_empty = make_dir(into)?;
    let context = &Context {
        worktree: into.canonicalize().unwrap_or_else(|_| into.to_owned()),
        mount: None,
        ..context.clone()
    };
    // A repository inside a worktree belongs to that worktree, so no other directory becomes a
    // worktree of it.
    let outside = !context
        .repository
        .canonicalize()
        .is_ok_and(|dir| dir.ends_with(INSIDE));
    let worktree = repo.worktree(&context.worktree);
    let worktree =
        worktree.and_then(|worktree| Ok((Journal::lock(worktree.state_dir())?, worktree)));
    let (lock, worktree) = match worktree {
        Ok((lock, worktree)) => (Some(lock), Some(worktree)),
        // Continue without state; an interruption then leaves a checkout that cannot be resumed.
        Err(e) if matches!(e.kind(), Kind::Denied | Kind::NoSpace) => (None, None),
        Err(e) => return Err(e),
    };
    let interrupted = worktree
        .as_ref()
        .map(|w| Journal::read(w.state_dir()))
        .transpose();
    let interrupted = match interrupted {
        // In an empty directory, a damaged journal has no meaning.
        Err(_) if is_empty => None,
        read => read?.flatten(),
    };
    // A checkout into a non-empty directory is allowed only if it resumes an interrupted checkout
    // of the same version and paths.
    if !is_empty {
        return match (interrupted, lock) {
            (Some(found), Some(lock))
                if found.goal.into
                    && found.goal.target == report.version
                    && found.goal.scope == options.paths =>
            {
                let head = Head {
                    branch: None,
                    base: None,
                    known: false,
                };
                report.branch = branch.filter(|_| outside);
                let report = in_place(
                    context,
                    repo,
                    options,
                    &head,
                    Some(lock),
                    check,
                    report,
                    observer,
                )?;
                Ok(CheckoutReport {
                    branch: None,
                    ..report
                })
            }
            (Some(found), _) if found.goal.into => {
                let (path, revision) = (into.display().to_string(), found.goal.revision);
                Err(CheckoutError::Unfinished { path, revision }.into())
            }
            _ => Err(ReadError::NotEmpty {
                path: into.display().to_string(),
            }
            .into()),
        };
    }
    let head = Head {
        branch: None,
        base: None,
        known: false,
    };
    let goal = Goal {
        into: true,
        ..goal(options, &head, report.version)
    };
    let journal = lock
        .map(|lock| Journal::begin_new(lock, &goal))
        .transpose()?;
    observer.step("checkout begin");
    if let (Err(e), Some(journal)) = (check.ensure_whole(repo, &[report.version]), &journal) {
        journal.withdraw();
        // Nothing has been written to the directory yet.
        let _ = std::fs::remove_dir(into);
        return Err(e);
    }
    let how = RestoreOptions {
        jobs: context.threads(),
        placements: None,
    };
    report.done = restore(repo, &tree, &context.worktree, &how, observer)?;
    if options.verify {
        report.wrong = verify(
            repo,
            &tree,
            &context.worktree,
            &|_, _| true,
            context.threads(),
            observer,
        )?
        .wrong;
    }
    if let (Some(worktree), true) = (&worktree, outside && options.paths.is_empty()) {
        // The list goes first. Without the list, the next commit would record what could not be
        // restored as changes.
        remember_unrestored(context, repo, &report.done)?;
        observer.step("worktree state");
        worktree.save(branch.as_ref(), Some(&report.version))?;
    }
    observer.step("checkout end");
    // The journal ends last. After a crash before this, the next checkout repeats the steps above.
    journal.map_or(Ok(()), Journal::finish)?;
    Ok(report)
}

/// Creates a directory that only its owner may enter, unless it exists. Returns whether it is
/// empty.
fn make_dir(dir: &Path) -> Result<bool> {
    match std::fs::DirBuilder::new().mode(0o700).create(dir) {
        Ok(()) => return Ok(true),
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(e) => return Err(IoError::new("create", dir, e).into()),
    }
    let mut names = std::fs::read_dir(dir).map_err(IoError::at("read", dir))?;
    Ok(names.next().is_none())
}

/// Returns the tree with only some paths, or the whole tree if there are none.
fn only_paths(repo: &Repo, tree: &Id, paths: &[Vec<u8>]) -> Result<Id> {
    // The empty path is the root.
    if paths.is_empty() || paths.iter().any(Vec::is_empty) {
        return Ok(*tree);
    }
    let mut edits = Vec::new();
    for asked in paths {
        let names = path::split(asked).unwrap_or_default();
        edits.push((names.clone(), repo.find(tree, &names)?));
    }
    let info = repo.root(tree)?.0;
    let meta = |names: &[Vec<u8>]| {
        Ok(match repo.find(tree, names)? {
            Some(entry) => entry.meta,
            None if names.is_empty() => info.meta.clone(),
            None => Meta {
                mode: 0o755,
                ..Meta::default()
            },
        })
    };
    // The tree is needed only for this checkout, so it is not stored.
    Ok(graft(&Output::dry(repo), None, edits, LinkTable::default(), &meta)?.0)
}

/// Checks out a version to the worktree. Without a lock, only the changes are computed.
#[expect(
    clippy::too_many_arguments,
    reason = "a checkout needs all that was found before"
)]
fn in_place(
    context: &Context,
    repo: &Repo,
    options: &CheckoutOptions,
    head: &Head,
    lock: Option<Lock>,
    check: &RootCheck,
    mut report: CheckoutReport,
    observer: &dyn Observer,
) -> Result<CheckoutReport> {
    let worktree = repo.worktree(&context.worktree)?;
    let interrupted = match Journal::read(worktree.state_dir()) {
        // A forced checkout writes all differences anyway, so ignore a damaged journal.
        Err(_) if options.force && options.paths.is_empty() => None,
        read => read?,
    };
    // Creating a branch at the current version changes no files, so only move HEAD.
    let same =
        options.new_branch.is_some() && options.revision.is_none() && options.paths.is_empty();
    if same && interrupted.is_none() && head.base == Some(report.version) {
        if lock.is_some() {
            move_head(context, repo, options, &report)?;
        }
        return Ok(report);
    }
    // A running database is found without the changes, so check before the long comparison.
    if !options.force && !options.dry_run {
        ensure_not_in_use(context, options, &[])?;
    }
    // Root may be able to restore files that another user could not, so try them again.
    if options.force
        && options.paths.is_empty()
        && lock.is_some()
        && rustix::process::geteuid().is_root()
    {
        forget_unrestored(context, repo)?;
    }
    observer.phase("compare", None, None);
    let now = look(context, repo, &options.walk, observer)?;
    let target = report.commit.tree;
    let removes = options.paths.is_empty() && !options.keep_extra || options.delete;
    let mut changes = planned(repo, Some(&now.tree), &target, &options.paths)?;
    changes.retain(|c| removes || c.new.is_some());
    let at_risk = AtRisk {
        context,
        repo,
        scope: &options.paths,
        base: head.base,
        target: Some(target),
        changes: &changes,
        interrupted: interrupted.as_ref(),
        now: &now.tree,
    };
    if !options.force && !options.overwrite {
        at_risk.ensure_none()?;
    }
    // `unpack` has compared the worktree before, but files may have changed since.
    let keeps = (options.force || options.overwrite) && !options.no_trash;
    let unsaved = if keeps { at_risk.files()? } else { Vec::new() };
    let Some(lock) = lock else {
        report.kept = KeptFiles::planned(&unsaved);
        report.planned = changes;
        return Ok(report);
    };
    let half_written = interrupted
        .as_ref()
        .is_some_and(|i| !i.half_written.is_empty());
    if !changes.is_empty() && !options.force {
        ensure_not_in_use(context, options, &changes)?;
    }
    let whole = options.paths.is_empty();
    if !changes.is_empty() || half_written || interrupted.is_some() || whole {
        lazy::fetch_changes(context, repo, &changes, observer)?;
        // Check before the journal begins, because the worktree counts as half checked out from
        // then on.
        apply::refuse_unfit(repo, &target, &context.worktree)?;
        report.kept = keep::keep(context, repo, options, head, &unsaved, observer)?;
        let goal = goal(options, head, report.version);
        let into = interrupted
            .as_ref()
            .is_some_and(|i| i.goal.into && i.goal.target == goal.target);
        let mut journal = Journal::begin(lock, &Goal { into, ..goal }, options.force)?;
        observer.step("checkout begin");
        // The journal is the root of the version until the state of the worktree is.
        if let Err(e) = check.ensure_whole(repo, &[report.version]) {
            journal.withdraw();
            return Err(e);
        }
        let placed = PlacedFiles::new(repo, worktree_number(repo, context), &now);
        let how = PatchOptions {
            jobs: context.threads(),
            scope: &options.paths,
            placements: Some(&placed),
        };
        // The content of these entries is not known, so the checkout must not rely on it.
        let unsure: BTreeSet<&Vec<u8>> = now.unstable.iter().collect();
        let changes = changes.into_iter().map(|c| change::Change {
            sure: !unsure.contains(&c.path),
            path: c.path,
            old: c.old,
            new: c.new,
        });
        report.done = patch(
            repo,
            &target,
            changes.collect(),
            &context.worktree,
            &mut journal,
            &how,
            observer,
        )?;
        // The records of the stat cache are correct only together with this list, so write it
        // first.
        remember_unrestored(context, repo, &report.done)?;
        placed.remember(&context.worktree)?;
        if whole {
            observer.step("worktree state");
            move_head(context, repo, options, &report)?;
        }
        // The journal ends last. After a crash before this, the next checkout repeats the steps
        // above.
        observer.step("checkout end");
        journal.finish()?;
    }
    if !whole {
        report.branch = None;
    }
    if options.verify {
        let wanted = |path: &[u8], _: &_| {
            options.paths.is_empty() || options.paths.iter().any(|p| within_either(path, p))
        };
        report.wrong = verify(
            repo,
            &target,
            &context.worktree,
            &wanted,
            context.threads(),
            observer,
        )?
        .wrong;
    }
    Ok(report)
}

fn goal(options: &CheckoutOptions, head: &Head, target: Id) -> Goal {
    Goal {
        base: head.base,
        target,
        revision: options
            .revision
            .as_ref()
            .map_or_else(|| "@".to_owned(), Revision::to_string),
        new_branch: options.new_branch.as_ref().map(RefName::to_string),
        scope: options.paths.clone(),
        keep_extra: options.keep_extra,
        into: false,
    }
}

/// Fails if processes use the files that will change, or have locks on them.
fn ensure_not_in_use(
    context: &Context,
    options: &CheckoutOptions,
    changes: &[TreeChange],
) -> Result<()> {
    let dir = context.worktree.clone();
    let mut users = in_use::users(&dir, changes.iter().map(|c| c.path.as_slice()));
    users.retain(|u| options.paths.is_empty() || options.paths.iter().any(|p| u.is_affected_by(p)));
    if users.is_empty() {
        Ok(())
    } else {
        Err(in_use::InUse { dir, users }.into())
    }
}

fn within_either(a: &[u8], b: &[u8]) -> bool {
    path::is_within(a, b) || path::is_within(b, a)
}

fn move_head(
    context: &Context,
    repo: &Repo,
    options: &CheckoutOptions,
    report: &CheckoutReport,
) -> Result<()> {
    if let Some(name) = &options.new_branch {
        let old = repo.refs().value(RefKind::Branch, name)?;
        let how = Move {
            who: &context.author,
            why: "branch: created by checkout",
            time: context.moved_at(),
        };
        let raced = || -> Error {
            RefMoveError::Raced {
                kind: RefKind::Branch,
                name: name.clone(),
            }
            .into()
        };
        repo.move_ref(
            RefKind::Branch,
            name,
            old.as_ref(),
            Some(report.version),
            &how,
        )?
        .ok_or_else(raced)?;
    }
    repo.worktree(&context.worktree)?
        .save(report.branch.as_ref(), Some(&report.version))
}
