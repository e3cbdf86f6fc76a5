//! `unpack`: the newest version of a branch onto the volumes below a directory, after a look at what it would change.
//!
//! Invariant: what is in no version of the repository is changed or removed only with `force`; a version that the volumes did
//! not have is brought over others' files only once it was shown. The look is kept, so the second run goes on.

use super::checkout::known::in_no_version;
use super::checkout::left::Left;
use super::checkout::{CheckoutOptions, CheckoutReport, checkout};
use super::fetch::{FetchOptions, FetchReport, fetch};
use super::pack::{advance, branch_of, mounted, places, prepare, settled};
use super::pull::Diverged;
use super::push::tracking;
use crate::checkout::patch::journal::{Interrupted, Journal};
use crate::context::Context;
use crate::context::Remote;
use crate::error::{Failure, Kind, Result};
use crate::model::entry::Entry;
use crate::model::id::Id;
use crate::model::path::{display, is_within, join, split};
use crate::model::refname::{RefKind, RefName};
use crate::model::revision::{Revision, RevisionBase};
use crate::observe::{Notice, NoticeLevel, Observer};
use crate::query::compare::{Change, compare};
use crate::query::describe::{Changed, Detail, measured};
use crate::query::history::ancestors;
use crate::query::resolve::Resolver;
use crate::query::worktree::{WalkOptions, look};
use crate::refs::moves::RefMoveError;
use crate::repo::Repo;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;

/// The file of a worktree's state that says what was shown.
const NOTE: &str = "unpack";

/// What to unpack.
#[derive(Clone, Default)]
pub struct UnpackOptions {
    /// The branch; the repository's default branch if `None`.
    pub branch: Option<RefName>,
    /// The version, whose branch replaces `branch`; the newest version if `None`.
    pub revision: Option<Revision>,
    /// Where its newest version is; `None` uses what is here.
    pub remote: Option<Remote>,
    /// Only these paths below the worktree. If empty, what is mounted below it, or all where nothing is.
    pub paths: Vec<Vec<u8>>,
    /// Directories of the worktree are volumes, see `paths`.
    pub volumes: bool,
    /// Go on although the version is another one than the volumes have.
    pub accept: bool,
    /// Even where what is in no version would be lost.
    pub force: bool,
    /// Only say what would be done.
    pub dry_run: bool,
    /// What the walk of the worktree leaves out; such files are never touched.
    pub walk: WalkOptions,
}

/// What was unpacked, or would be.
#[derive(Debug)]
pub struct UnpackReport {
    /// What was fetched.
    pub fetched: Option<FetchReport>,
    /// The branch.
    pub branch: RefName,
    /// Its version.
    pub version: Id,
    /// Why nothing was changed.
    pub stopped: Option<Stopped>,
    /// What differs from the version, directories left out; empty where there was nothing yet.
    pub changes: Vec<Changed>,
    /// What was done.
    pub checkout: Option<CheckoutReport>,
}

/// Nothing was changed, on purpose.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Stopped {
    /// The branch has a version that the volumes do not have.
    #[error("newer version found: `{branch}` is not what is in `{target}`; look before you import")]
    Newer {
        /// The branch.
        branch: RefName,
        /// The directory.
        target: String,
    },
    /// The named version is not what the volumes have.
    #[error("`{revision}` is not what is in `{target}`; look before you import")]
    Other {
        /// The version as it was named.
        revision: String,
        /// The directory.
        target: String,
    },
    /// Something would be lost.
    #[error("`{target}` has changes that are in no version: {}", listed(paths))]
    Uncommitted {
        /// The directory.
        target: String,
        /// What.
        paths: Vec<String>,
    },
}

impl Failure for Stopped {
    fn kind(&self) -> Kind {
        Kind::Rejected
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Newer { .. } | Self::Other { .. } => {
                "a second run goes on; so does `--yes`, also where the repository is not kept".to_owned()
            }
            Self::Uncommitted { .. } => "`dvc pack` keeps them, `--force` gives them up".to_owned(),
        })
    }
}

/// What is mounted is not what the version has. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum NotItsVolumes {
    /// Nothing that is unpacked would reach a volume.
    #[error("nothing is mounted at `{path}`")]
    NotMounted {
        /// Where.
        path: String,
    },
    /// A volume would stay as it is.
    #[error("{} is mounted here, but is not in the version: it has {}", listed(mounted), listed(has))]
    Unknown {
        /// What is mounted.
        mounted: Vec<String>,
        /// What the version has.
        has: Vec<String>,
    },
}

impl Failure for NotItsVolumes {
    fn kind(&self) -> Kind {
        Kind::Rejected
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NotMounted { .. } => "mount the volume there".to_owned(),
            Self::Unknown { .. } => {
                "is it mounted at the right place? `dvc unpack NAME` unpacks only what is named".to_owned()
            }
        })
    }
}

fn listed(paths: &[String]) -> String {
    const SHOWN: usize = 5;
    let shown = paths.iter().take(SHOWN).map(|p| format!("`{p}`")).collect::<Vec<_>>().join(", ");
    match paths.len().checked_sub(SHOWN) {
        None | Some(0) => shown,
        Some(more) => format!("{shown} and {more} more"),
    }
}

/// What is remembered of a worktree between runs.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Note {
    /// The version that was shown last, hex.
    shown: Option<String>,
}

/// Unpacks.
pub fn unpack(context: &Context, options: &UnpackOptions, observer: &dyn Observer) -> Result<UnpackReport> {
    let mut options = options.clone();
    if options.volumes {
        options.walk.places = places(&context.worktree);
    }
    let options = &options;
    let found = prepare(context, options.remote.as_ref(), None)?;
    let (context, remote) = &settled(context, options.remote.as_ref(), found);
    let repo = context.repo()?;
    let default = branch_of(&repo, options.branch.as_ref())?;
    let mut fetched = None;
    if let Some(remote) = remote {
        fetched = Some(fetch(context, remote, &FetchOptions::default(), observer)?);
    }
    drop(repo);
    let repo = context.repo()?;
    let branch = match &options.revision {
        Some(revision) => named_branch(&repo, remote.as_ref(), revision)?.unwrap_or(default),
        None => default,
    };
    let (newest, moves) = newest(&repo, remote.as_ref(), &branch)?;
    let version = match &options.revision {
        Some(revision) => named_version(context, &repo, remote.as_ref(), revision, &branch)?,
        None => newest,
    };
    let tree = repo.commit_cached(&version)?.tree;
    let paths = paths(context, &repo, options, &tree, observer)?;
    let mut report = UnpackReport { fetched, branch, version, stopped: None, changes: Vec::new(), checkout: None };
    let worktree = repo.worktree(&context.worktree)?;
    let interrupted = match Journal::read(worktree.state_dir()) {
        // Such a journal the checkout gives up.
        Err(_) if options.force => None,
        read => read?,
    };
    let seen = Seen::look(context, &repo, options, &paths, &tree, observer)?;
    report.changes = seen.changes.iter().map(|c| measured(&repo, c.clone(), Detail::Ranges)).collect::<Result<_>>()?;
    report.stopped = stop(context, &repo, options, &report, &seen, &paths, interrupted.as_ref())?;
    let overwrite = seen.holds && !seen.changes.is_empty();
    if options.dry_run {
        return Ok(report);
    }
    if let Some(Stopped::Newer { .. } | Stopped::Other { .. }) = &report.stopped {
        write(context, &repo, &Note { shown: Some(report.version.to_string()) })?;
    }
    if report.stopped.is_some() {
        return Ok(report);
    }
    let base = match &options.revision {
        Some(_) => RefName::new(&report.version.to_string())?,
        None => report.branch.clone(),
    };
    let how = CheckoutOptions {
        revision: Some(Revision { base: RevisionBase::Name(base), suffixes: Vec::new() }),
        delete: !paths.is_empty(),
        paths: paths.clone(),
        force: options.force,
        overwrite,
        walk: options.walk.clone(),
        ..CheckoutOptions::default()
    };
    // Not before: what is packed instead must not follow what was refused.
    if moves {
        advance(context, &repo, &report.branch, newest, "unpack")?;
    }
    drop(repo);
    report.checkout = Some(checkout(context, &how, observer)?);
    let repo = context.repo()?;
    write(context, &repo, &Note::default())?;
    Ok(report)
}

/// The branch that a revision names, here or at the remote.
fn named_branch(repo: &Repo, remote: Option<&Remote>, revision: &Revision) -> Result<Option<RefName>> {
    let (RevisionBase::Name(name) | RevisionBase::Scoped(Some(name), _)) = &revision.base else { return Ok(None) };
    let theirs = tracking(remote.map_or("origin", |remote| remote.name.as_str()), name)?;
    let here = repo.refs().value(RefKind::Branch, name)?.or(repo.refs().value(RefKind::Remote, &theirs)?);
    Ok(here.map(|_| name.clone()))
}

/// The version that a revision stands for. What is not here yet is looked for on the remote's branch.
fn named_version(
    context: &Context,
    repo: &Repo,
    remote: Option<&Remote>,
    revision: &Revision,
    branch: &RefName,
) -> Result<Id> {
    let resolver = Resolver::new(repo, context)?;
    let based = |name: &RefName| {
        let base = match &revision.base {
            RevisionBase::Head => RevisionBase::Name(name.clone()),
            RevisionBase::Name(named) if named == branch => RevisionBase::Name(name.clone()),
            RevisionBase::Scoped(None, selector) => RevisionBase::Scoped(Some(name.clone()), selector.clone()),
            RevisionBase::Scoped(Some(named), selector) if named == branch => {
                RevisionBase::Scoped(Some(name.clone()), selector.clone())
            }
            other => other.clone(),
        };
        Revision { base, suffixes: revision.suffixes.clone() }
    };
    match resolver.revision(&based(branch)) {
        Err(e) if e.kind() == Kind::NotFound && remote.is_some() => {
            let theirs = tracking(remote.map_or("origin", |remote| remote.name.as_str()), branch)?;
            resolver.revision(&based(&theirs)).map_err(|_| e)
        }
        found => found,
    }
}

/// The newest version of the branch here and at the remote, and whether the branch here has to be moved to it.
fn newest(repo: &Repo, remote: Option<&Remote>, branch: &RefName) -> Result<(Id, bool)> {
    let theirs = tracking(remote.map_or("origin", |remote| remote.name.as_str()), branch)?;
    let (ours, there) = (repo.refs().value(RefKind::Branch, branch)?, repo.refs().value(RefKind::Remote, &theirs)?);
    match (ours, there) {
        (Some(ours), _) if remote.is_none() => Ok((ours, false)),
        (_, None) if remote.is_some() => Err(RefMoveError::Missing { kind: RefKind::Remote, name: theirs }.into()),
        (Some(ours), Some(there)) if ancestors(repo, &ours)?.contains(&there) => Ok((ours, false)),
        (Some(ours), Some(there)) if !ancestors(repo, &there)?.contains(&ours) => {
            Err(Diverged { ours: branch.clone(), theirs }.into())
        }
        (_, Some(there)) => Ok((there, true)),
        (_, None) => Err(RefMoveError::Missing { kind: RefKind::Branch, name: branch.clone() }.into()),
    }
}

/// What is unpacked; nothing is everything.
fn paths(
    context: &Context,
    repo: &Repo,
    options: &UnpackOptions,
    tree: &Id,
    observer: &dyn Observer,
) -> Result<Vec<Vec<u8>>> {
    if !options.volumes {
        return Ok(options.paths.clone());
    }
    let mounted = mounted(&context.worktree);
    let (mut named, mut volumes) = (BTreeSet::new(), BTreeSet::new());
    let all = [Vec::new()];
    for asked in if options.paths.is_empty() { &all[..] } else { &options.paths } {
        if mounted.iter().any(|at| is_within(asked, at)) {
            named.insert(asked.clone());
            continue;
        }
        let below: BTreeSet<_> = mounted.iter().filter(|at| is_within(at, asked)).cloned().collect();
        let is_none = below.is_empty();
        volumes.extend(below);
        if is_none {
            let path = context.worktree.join(OsStr::from_bytes(asked));
            return Err(NotItsVolumes::NotMounted { path: display(path.as_os_str().as_bytes()) }.into());
        }
    }
    if named.contains(&Vec::new()) {
        return Ok(Vec::new());
    }
    let (mut chosen, mut unknown): (Vec<Vec<u8>>, Vec<Vec<u8>>) = (named.into_iter().collect(), Vec::new());
    for path in volumes {
        match repo.find(tree, &split(&path).unwrap_or_default())? {
            Some(_) => chosen.push(path),
            None => unknown.push(path),
        }
    }
    let (inside, unknown) = unknown.into_iter().partition::<Vec<_>, _>(|p| chosen.iter().any(|c| is_within(p, c)));
    let left_out = not_covered(repo, tree, b"", &chosen)?;
    if !unknown.is_empty() {
        let shown = |paths: &[Vec<u8>]| paths.iter().map(|path| display(path)).collect();
        // Where all of it is mounted, that is what it has.
        let has = if left_out.is_empty() { &chosen } else { &left_out };
        return Err(NotItsVolumes::Unknown { mounted: shown(&unknown), has: shown(has) }.into());
    }
    for path in inside {
        say(observer, &path, "is mounted here, but is not in this version");
    }
    if options.paths.is_empty() {
        for path in left_out {
            say(observer, &path, "is in this version, but is not mounted here: left out");
        }
    }
    Ok(chosen)
}

fn say(observer: &dyn Observer, path: &[u8], message: &str) {
    observer.notice(Notice { level: NoticeLevel::Info, path: path.to_vec(), message: message.to_owned() });
}

/// The topmost paths of a tree that are in none of `chosen`, and hold none of them.
fn not_covered(repo: &Repo, tree: &Id, dir: &[u8], chosen: &[Vec<u8>]) -> Result<Vec<Vec<u8>>> {
    let entries = if dir.is_empty() { repo.root(tree)?.1 } else { repo.entries(tree)? };
    let mut out = Vec::new();
    for entry in entries {
        let path = join(dir, &entry.name);
        match &entry.node {
            _ if chosen.iter().any(|c| is_within(&path, c)) => {}
            crate::model::entry::Node::Dir { tree, .. } if chosen.iter().any(|c| is_within(c, &path)) => {
                out.extend(not_covered(repo, tree, &path, chosen)?);
            }
            _ => out.push(path),
        }
    }
    Ok(out)
}

/// What a look at the worktree has found.
struct Seen {
    /// Its tree.
    now: Id,
    /// Whether there is any file yet.
    holds: bool,
    /// What differs from the version, directories left out.
    changes: Vec<Change>,
}

impl Seen {
    fn look(
        context: &Context,
        repo: &Repo,
        options: &UnpackOptions,
        paths: &[Vec<u8>],
        tree: &Id,
        observer: &dyn Observer,
    ) -> Result<Self> {
        observer.phase("compare", None, None);
        let now = look(context, repo, &options.walk, observer)?.tree;
        let is_dir = |e: &Option<Entry>| e.as_ref().is_none_or(Entry::is_dir);
        let (mut holds, mut changes) = (false, Vec::new());
        compare(repo, None, Some(&now), paths, &mut |change| {
            holds |= !is_dir(&change.new);
            Ok(if holds { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })?;
        if holds {
            compare(repo, Some(&now), Some(tree), paths, &mut |change| {
                if !(is_dir(&change.old) && is_dir(&change.new)) {
                    changes.push(change);
                }
                Ok(ControlFlow::Continue(()))
            })?;
        }
        Ok(Self { now, holds, changes })
    }
}

/// Whether something must be looked at first.
fn stop(
    context: &Context,
    repo: &Repo,
    options: &UnpackOptions,
    report: &UnpackReport,
    seen: &Seen,
    paths: &[Vec<u8>],
    interrupted: Option<&Interrupted>,
) -> Result<Option<Stopped>> {
    if options.force || seen.changes.is_empty() {
        return Ok(None);
    }
    let target = display(context.worktree.as_os_str().as_bytes());
    let lost = lost(context, repo, report.version, seen, paths, interrupted)?;
    if !lost.is_empty() {
        return Ok(Some(Stopped::Uncommitted { target, paths: lost.iter().map(|p| display(p)).collect() }));
    }
    let shown = read(context, repo)?.shown.is_some_and(|hex| Id::parse(&hex) == Some(report.version));
    // Whoever began has seen it. What the worktree was last says nothing: there may be other volumes in it now.
    let goes_on = interrupted.is_some_and(|i| i.goal.target == report.version && i.goal.reaches(paths));
    if options.accept || goes_on || shown {
        return Ok(None);
    }
    Ok(Some(match &options.revision {
        Some(revision) => Stopped::Other { revision: revision.to_string(), target },
        None => Stopped::Newer { branch: report.branch.clone(), target },
    }))
}

/// Paths whose content would be replaced or removed and that no version has there. What an interrupted unpack was writing is
/// not among them: it has the content of a version with other metadata or fewer hard links, or a part of it. Of which version
/// the volumes were then is not known; of the worktree's own they need not have been.
fn lost(
    context: &Context,
    repo: &Repo,
    tip: Id,
    seen: &Seen,
    paths: &[Vec<u8>],
    interrupted: Option<&Interrupted>,
) -> Result<Vec<Vec<u8>>> {
    let was = |c: &Change| {
        let old = c.old.as_ref().filter(|e| !e.is_dir())?;
        Some((c.from.as_ref().unwrap_or(&c.path).clone(), old.clone()))
    };
    let open: BTreeMap<Vec<u8>, Entry> = seen.changes.iter().filter_map(was).collect();
    let open = in_no_version(repo, &[tip], &seen.now, paths, open, interrupted.is_some())?;
    let left = interrupted.map(|i| Left::anywhere(repo, &context.worktree, i)).transpose()?;
    let mut lost = Vec::new();
    for (path, now) in open {
        if !left.as_ref().map_or(Ok(false), |left| left.holds(&path, Some(&now)))? {
            lost.push(path);
        }
    }
    Ok(lost)
}

fn read(context: &Context, repo: &Repo) -> Result<Note> {
    // What cannot be read was not shown to anybody.
    let bytes = std::fs::read(repo.worktree(&context.worktree)?.state_dir().join(NOTE)).unwrap_or_default();
    Ok(serde_json::from_slice(&bytes).unwrap_or_default())
}

fn write(context: &Context, repo: &Repo, note: &Note) -> Result<()> {
    repo.worktree(&context.worktree)?.write_file(NOTE, serde_json::to_string(note).unwrap_or_default().as_bytes())
}
