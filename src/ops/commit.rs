//! `commit`: makes a version of a worktree, of some of its paths, or of a stream.

mod error;
mod in_mount;
mod options;
mod seal;

pub use error::CommitError;
pub use options::{CommitOptions, RunningDatabase, StreamOptions};
pub use seal::CommitReport;
pub(in crate::ops) use seal::{CommitTarget, checked_path, dir_meta, output, seal};

use std::collections::{BTreeMap, BTreeSet};

use crate::checkout::in_use::{User, describe, engines, is_engine_file};
use crate::checkout::patch::journal::Journal;
use crate::context::Context;
use crate::error::Result;
use crate::model::commit::Commit;
use crate::model::entry::{Entry, Meta, Node, Time, Totals};
use crate::model::path;
use crate::model::tree::LinkTable;
use crate::observe::{Notice, NoticeLevel, Observer};
use crate::query::worktree::{unrestored, worktree_number};
use crate::quiesce::during;
use crate::repo::writer::is_collected;
use crate::repo::{Repo, RepoError};
use crate::snapshot::commit::{Source, snapshot};
use crate::snapshot::content::again::store_content_again;
use crate::snapshot::content::stream;
use crate::snapshot::graft::{Edit, graft};
use crate::snapshot::output::Output;
use crate::snapshot::walk::named::{Found, NamedPaths, NotRecorded};
use crate::snapshot::walk::rules::Rules;
use crate::sync::lease::renew_clone_lease;
use crate::sync::state::RemoteState;
use crate::sys::io_error::IoError;
use error::QUIESCE_HINT;

/// How often a commit repeats its snapshot because a gc has collected objects on which it relied.
const REPEATS: u32 = 4;

/// Makes the next version of a branch from the worktree.
pub fn commit(
    context: &Context,
    options: &CommitOptions,
    observer: &dyn Observer,
) -> Result<CommitReport> {
    let repo = context.repo()?;
    let report = commit_worktree(context, &repo, options, observer)?;
    if !options.dry_run {
        lease_base(context, &repo, observer)?;
    }
    Ok(report)
}

/// Renews the lease of a lazy clone on its remote for the base of the new version.
fn lease_base(context: &Context, repo: &Repo, observer: &dyn Observer) -> Result<()> {
    let Some(remote) = context.lazy_source().filter(|_| repo.is_lazy()) else {
        return Ok(());
    };
    let url = remote.location.to_string();
    let mut state = RemoteState::load(&context.repository, &url)?;
    let (host, now) = (&context.host, context.now_secs());
    let there = repo.lazy_source().and_then(|there| {
        there.ok_or_else(|| {
            RepoError::Unavailable {
                detail: url.clone(),
            }
            .into()
        })
    });
    if renew_clone_lease(repo, there, &mut state, host, now, observer)? {
        state.save(&context.repository, &url)?;
    }
    Ok(())
}

fn commit_worktree(
    context: &Context,
    repo: &Repo,
    options: &CommitOptions,
    observer: &dyn Observer,
) -> Result<CommitReport> {
    options.walk.warn(context, observer);
    if let Some(mount) = &context.mount {
        return in_mount::commit(context, repo, mount, options, observer);
    }
    let target = CommitTarget::find(context, repo, options)?;
    if Journal::read(repo.worktree(&context.worktree)?.state_dir())?.is_some() {
        return Err(CommitError::HalfCheckedOut.into());
    }
    let rules = options.walk.rules(context)?;
    let out = output(repo, observer, options.dry_run)?;
    let quiesce = options.quiesce.as_ref().filter(|_| !options.dry_run);
    // The size is known only at the end, so the size of the last version serves as the estimate.
    let last = target
        .parent
        .as_ref()
        .filter(|_| options.paths.is_empty())
        .map(|p| p.commit.counts);
    observer.phase("commit", last.map(|c| c.files), last.map(|c| c.bytes));
    // A gc may collect objects on which the commit relied; then they are stored again.
    let mut repeats = REPEATS;
    if options.paths.is_empty() {
        let worktree = worktree_number(repo, context);
        let source = Source {
            dir: &context.worktree,
            only: &[],
            rules: &rules,
            before: target.parent.as_ref().map(|p| p.commit.tree),
            basis: worktree,
            unrestored: unrestored(context, repo)?,
            threads: context.threads(),
            notes: is_engine_file,
        };
        let (snap, engines, report) = loop {
            let snap = during(quiesce, context, observer, |observer| {
                snapshot(&out, observer, &source)
            })?;
            // An empty directory is usually a volume that is not mounted.
            if snap.totals == Totals::default() && target.holds_files() && !options.allow_empty {
                let path = context.worktree.display().to_string();
                return Err(CommitError::EmptySource {
                    path,
                    branch: target.branch,
                }
                .into());
            }
            let engines = running_engines(context, options, &snap.noted)?;
            let tree = |_: Option<&Commit>| Ok((snap.tree, snap.totals));
            match seal(
                context,
                repo,
                &out,
                observer,
                options,
                &target,
                &tree,
                snap.unstable.clone(),
            ) {
                // A gc has given up objects that this commit relies on, so the commit stores them
                // again.
                Err(e) if is_collected(&e) && repeats > 0 => {
                    repeats -= 1;
                    out.check_records();
                }
                report => break (snap, engines, report?),
            }
        };
        warn_of_engines(&engines, &report, options, observer);
        if let (Some(worktree), false) = (worktree, options.dry_run)
            && let Err(e) = snap.remember(repo, worktree, out.dead_number())
        {
            let message = format!(
                "cannot save the state of the worktree, so the next commit will read all files again: {e}"
            );
            observer.notice(Notice {
                level: NoticeLevel::Info,
                path: Vec::new(),
                message,
            });
        }
        return Ok(report);
    }
    let meta = |names: &[Vec<u8>]| dir_meta(context, names);
    let (engines, report) = loop {
        let read =
            |observer: &dyn Observer| some_paths(context, &out, observer, options, &rules, &target);
        let SomePaths {
            edits,
            links,
            unstable,
            noted,
        } = during(quiesce, context, observer, read)?;
        let engines = running_engines(context, options, &noted)?;
        let tree = |parent: Option<&Commit>| {
            graft(
                &out,
                parent.map(|p| &p.tree),
                edits.clone(),
                links.clone(),
                &meta,
            )
        };
        match seal(
            context, repo, &out, observer, options, &target, &tree, unstable,
        ) {
            // A gc has given up objects that this commit relies on, so the commit stores them
            // again.
            Err(e) if is_collected(&e) && repeats > 0 => {
                repeats -= 1;
                out.check_records();
            }
            report => break (engines, report?),
        }
    };
    warn_of_engines(&engines, &report, options, observer);
    Ok(report)
}

/// Finds databases that run in the worktree, by the files that the walk noted. Fails if the options
/// refuse running databases. Returns none if databases are quiesced or ignored.
fn running_engines(
    context: &Context,
    options: &CommitOptions,
    noted: &[Vec<u8>],
) -> Result<Vec<User>> {
    let is_quiesced = options
        .quiesce
        .as_ref()
        .is_some_and(|quiesce| !quiesce.profiles.is_empty());
    if is_quiesced || options.running_database == RunningDatabase::Ignore {
        return Ok(Vec::new());
    }
    let users = engines(&context.worktree, noted);
    if options.running_database == RunningDatabase::Refuse && !users.is_empty() {
        let path = context.worktree.display().to_string();
        return Err(CommitError::DatabaseRuns { path, users }.into());
    }
    Ok(users)
}

/// Warns that the version may be inconsistent, because databases were running while it was read.
fn warn_of_engines(
    engines: &[User],
    report: &CommitReport,
    options: &CommitOptions,
    observer: &dyn Observer,
) {
    if engines.is_empty() || report.unchanged || options.dry_run {
        return;
    }
    let message = format!(
        "the version may be inconsistent, because a database was running: {}; {QUIESCE_HINT}",
        describe(engines)
    );
    observer.notice(Notice {
        level: NoticeLevel::Warning,
        path: Vec::new(),
        message,
    });
}

/// Makes the next version of a branch from a stream.
pub fn commit_stream(
    context: &Context,
    options: &CommitOptions,
    stream: StreamOptions<'_>,
    observer: &dyn Observer,
) -> Result<CommitReport> {
    let repo = context.repo()?;
    let target = CommitTarget::find(context, &repo, options)?;
    let path = checked_path(&stream.name)?;
    let out = output(&repo, observer, options.dry_run)?;
    observer.phase("commit", None, None);
    let (size, chunker, content) = stream::store_stream(&out, observer, stream.input)?;
    // A version of half a stream must not exist, so ask first whether the command has succeeded.
    (stream.check)()?;
    if size == 0 && !options.allow_empty {
        return Err(CommitError::EmptyStream {
            path: path::display(&stream.name),
        }
        .into());
    }
    let (secs, nanos) = (
        context.now.timestamp().as_second(),
        context.now.timestamp().subsec_nanosecond(),
    );
    let mtime = Time {
        secs,
        // The fraction of a jiff timestamp is negative before 1970.
        nanos: u32::try_from(nanos).unwrap_or(0),
    };
    let user = |mode| Meta {
        mode,
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
        mtime,
        xattrs: Vec::new(),
    };
    let node = Node::File {
        size,
        chunker,
        content: content.clone(),
    };
    let entry = Entry {
        name: path.last().cloned().unwrap_or_default(),
        meta: user(0o644),
        link: None,
        node,
    };
    let tree = |parent: Option<&Commit>| {
        let base = parent.map(|p| &p.tree).filter(|_| stream.add);
        let edits = vec![(path.clone(), Some(entry.clone()))];
        graft(&out, base, edits, LinkTable::default(), &|_| {
            Ok(user(0o755))
        })
    };
    // The worktree does not have the files of this version, so it is not based on it afterwards.
    let target = CommitTarget {
        of_worktree: false,
        ..target
    };
    let mut repeats = REPEATS;
    loop {
        let sealed = seal(
            context,
            &repo,
            &out,
            observer,
            options,
            &target,
            &tree,
            Vec::new(),
        );
        match sealed {
            // The bytes of the stream are gone, but a gc deletes what it has collected later.
            Err(e) if is_collected(&e) && repeats > 0 => {
                repeats -= 1;
                out.check_records();
                if !store_content_again(&out, &content, chunker)? {
                    return Err(e);
                }
            }
            report => return report,
        }
    }
}

/// The current state of the named paths.
struct SomePaths {
    edits: Vec<Edit>,
    /// The hard links among the entries.
    links: LinkTable,
    /// Paths that could not be read, or changed while they were read.
    unstable: Vec<Vec<u8>>,
    /// Files that show whether a database runs.
    noted: Vec<Vec<u8>>,
}

/// Reads the named paths.
fn some_paths(
    context: &Context,
    out: &Output<'_>,
    observer: &dyn Observer,
    options: &CommitOptions,
    rules: &Rules,
    target: &CommitTarget,
) -> Result<SomePaths> {
    let base = target.parent.as_ref().map(|p| p.commit.tree);
    let asked = options
        .paths
        .iter()
        .map(|raw| checked_path(raw))
        .collect::<Result<BTreeSet<_>>>()?;
    let mut named = NamedPaths::new(&context.worktree, rules)
        .map_err(IoError::at("open", &context.worktree))?;
    let (mut there, mut edits) = (Vec::new(), Vec::new());
    for names in &asked {
        let path = || path::display(&names.join(&b'/'));
        match named.at(names)? {
            Found::Something => there.push(names.clone()),
            _ if base
                .map_or(Ok(None), |b| out.repo().find(&b, names))?
                .is_some() =>
            {
                edits.push((names.clone(), None))
            }
            Found::Nothing => return Err(CommitError::NoPath { path: path() }.into()),
            Found::BelowFile => return Err(CommitError::BadPath { path: path() }.into()),
        }
    }
    drop(named);
    let unrestored = unrestored(context, out.repo())?;
    if unrestored.is_some() {
        // A missing path may be one that a checkout could not restore, rather than one that was
        // removed. The walk knows the difference.
        there.extend(edits.drain(..).map(|(names, _)| names));
    }
    if there.is_empty() {
        return Ok(SomePaths {
            edits,
            links: LinkTable::default(),
            unstable: Vec::new(),
            noted: Vec::new(),
        });
    }
    let source = Source {
        dir: &context.worktree,
        only: &there,
        rules,
        before: base,
        basis: None,
        unrestored,
        threads: context.threads(),
        notes: is_engine_file,
    };
    let found = snapshot(out, observer, &source)?;
    let mut picked: BTreeMap<Vec<u8>, Entry> = found.picked.into_iter().collect();
    for names in there {
        let path = names.join(&b'/');
        let is_in = |above: usize| asked.contains(&names[..above]);
        // A path below another named path is part of that entry.
        if (1..names.len()).any(is_in) {
            continue;
        }
        let entry = picked.remove(&path);
        // Without an entry, the commit would remove the path from the version although the path
        // exists.
        if entry.is_none()
            && found
                .unstable
                .iter()
                .any(|unread| path::is_within(&path, unread))
        {
            return Err(NotRecorded::unread(&path).into());
        }
        edits.push((names, entry));
    }
    Ok(SomePaths {
        edits,
        links: found.links,
        unstable: found.unstable,
        noted: found.noted,
    })
}
