//! `unpack`: checks out the newest version of a branch to the volumes below a directory, after the
//! user has reviewed the changes.
//!
//! Uncommitted changes are discarded only with `force`. If the volumes have a different version,
//! the first run only reports the changes and records the version that it reported; a second run
//! then checks that version out.

use super::checkout::{CheckoutOptions, CheckoutReport, checkout};
use super::fetch::{FetchOptions, FetchReport, fetch};
use super::pack::{advance, branch_of, prepare, settled};
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
use crate::query::compare::{TreeChange, compare};
use crate::query::describe::{ChangeDetail, MeasuredChange, measured};
use crate::query::history::ancestors;
use crate::query::leftovers::CheckoutLeftovers;
use crate::query::resolve::Resolver;
use crate::query::unsaved::in_no_version;
use crate::query::volumes::{mounted, places};
use crate::query::worktree::{WalkOptions, look};
use crate::refs::moves::RefMoveError;
use crate::refs::tracking::{DivergedBranches, tracking};
use crate::repo::Repo;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;

/// The file that records the reported version, in the state directory of a worktree.
const NOTE: &str = "unpack";

/// The options of `unpack`.
#[derive(Clone, Default)]
pub struct UnpackOptions {
    /// The branch. `None` is the repository's default branch.
    pub branch: Option<RefName>,
    /// The version; the branch that it names takes precedence over `branch`. `None` is the newest
    /// version.
    pub revision: Option<Revision>,
    /// The remote; `None` uses only local versions.
    pub remote: Option<Remote>,
    /// Only these paths below the worktree. If empty: with `volumes`, the mount points at or below
    /// it; otherwise everything.
    pub paths: Vec<Vec<u8>>,
    /// Whether the directories below the worktree are volumes. Only mounted volumes are then
    /// checked out, see `paths`.
    pub volumes: bool,
    /// Continue even if the volumes have a different version whose changes were not reported yet.
    pub accept: bool,
    /// Continue even if uncommitted changes would be lost.
    pub force: bool,
    /// With `force`, lose uncommitted changes instead of keeping them in the trash.
    pub no_trash: bool,
    /// Only report what would be done.
    pub dry_run: bool,
    /// The files that the walk of the worktree leaves out. These files are never touched.
    pub walk: WalkOptions,
}

/// The result of `unpack`.
#[derive(Debug)]
pub struct UnpackReport {
    /// The fetched objects and refs; `None` without a remote.
    pub fetched: Option<FetchReport>,
    pub branch: RefName,
    pub version: Id,
    /// The reason why nothing was checked out, if the user must review the changes first.
    pub stopped: Option<UnpackStop>,
    /// The paths that differ from the version, without directories; empty if the worktree has no
    /// files yet.
    pub changes: Vec<MeasuredChange>,
    /// The checkout, if there was one.
    pub checkout: Option<CheckoutReport>,
}

/// The reason why `unpack` stopped before it changed anything.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnpackStop {
    /// The branch has a newer version than the volumes.
    #[error(
        "newer version found: unpacking it would overwrite the volumes in `{target}`, which are not at the newest version of `{branch}`; nothing was changed"
    )]
    Newer {
        branch: RefName,
        /// The worktree.
        target: String,
    },
    /// The volumes do not have the requested version.
    #[error(
        "unpacking `{revision}` would overwrite the volumes in `{target}`, which have another version; nothing was changed"
    )]
    Other {
        /// The revision as given.
        revision: String,
        /// The worktree.
        target: String,
    },
    /// Uncommitted changes would be lost.
    #[error(
        "cannot unpack to `{target}`: it has uncommitted changes: {}",
        listed(paths)
    )]
    Uncommitted {
        /// The worktree.
        target: String,
        /// The paths of the changes.
        paths: Vec<String>,
    },
}

impl Failure for UnpackStop {
    fn kind(&self) -> Kind {
        Kind::Rejected
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Newer { .. } | Self::Other { .. } => {
                "review the changes and run the command again, or add `--yes`".to_owned()
            }
            Self::Uncommitted { .. } => {
                "commit them with `dvc pack`, or move them to the trash with `--force`".to_owned()
            }
        })
    }
}

/// The mounted volumes do not fit the version. Nothing was changed.
#[derive(Debug, thiserror::Error)]
pub enum WrongVolumes {
    /// No volume is mounted at, above or below a requested path.
    #[error("cannot unpack: nothing is mounted at `{path}`")]
    NotMounted {
        /// The requested path.
        path: String,
    },
    /// A mounted volume is not in the version.
    #[error(
        "cannot unpack: the version does not contain the mounted volume {}; it contains {}",
        listed(mounted),
        listed(has)
    )]
    Unknown {
        /// The mounted volumes that are not in the version.
        mounted: Vec<String>,
        /// The volumes of the version that are not mounted, or the mounted ones if none is missing.
        has: Vec<String>,
    },
}

impl Failure for WrongVolumes {
    fn kind(&self) -> Kind {
        Kind::Rejected
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NotMounted { .. } => "mount the volume there".to_owned(),
            Self::Unknown { .. } => {
                "check the mount point, or name the volumes: `dvc unpack NAME`".to_owned()
            }
        })
    }
}

fn listed(paths: &[String]) -> String {
    const SHOWN: usize = 5;
    let shown = paths
        .iter()
        .take(SHOWN)
        .map(|p| format!("`{p}`"))
        .collect::<Vec<_>>()
        .join(", ");
    match paths.len().checked_sub(SHOWN) {
        None | Some(0) => shown,
        Some(more) => format!("{shown} and {more} more"),
    }
}

/// The state of a worktree between runs.
#[derive(Debug, Default, Serialize, Deserialize)]
struct UnpackState {
    /// The version whose changes were reported last, in hex.
    shown: Option<String>,
}

/// Checks out a version to the volumes, unless the user must review the changes first (see
/// [`UnpackReport::stopped`]).
pub fn unpack(
    context: &Context,
    options: &UnpackOptions,
    observer: &dyn Observer,
) -> Result<UnpackReport> {
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
    // The fetch has changed the refs and the index.
    drop(repo);
    let repo = context.repo()?;
    let branch = match &options.revision {
        Some(revision) => named_branch(&repo, remote.as_ref(), revision)?.unwrap_or(default),
        None => default,
    };
    let NewestVersion { id: newest, moves } = newest(&repo, remote.as_ref(), &branch)?;
    let version = match &options.revision {
        Some(revision) => named_version(context, &repo, remote.as_ref(), revision, &branch)?,
        None => newest,
    };
    let tree = repo.commit_cached(&version)?.tree;
    let paths = paths(context, &repo, options, &tree, observer)?;
    let mut report = UnpackReport {
        fetched,
        branch,
        version,
        stopped: None,
        changes: Vec::new(),
        checkout: None,
    };
    let worktree = repo.worktree(&context.worktree)?;
    let interrupted = match Journal::read(worktree.state_dir()) {
        // A forced checkout ignores an unreadable journal.
        Err(_) if options.force => None,
        read => read?,
    };
    let seen = WorktreeState::look(context, &repo, options, &paths, &tree, observer)?;
    report.changes = seen
        .changes
        .iter()
        .map(|c| measured(&repo, c.clone(), ChangeDetail::Ranges))
        .collect::<Result<_>>()?;
    report.stopped = stop(
        context,
        &repo,
        options,
        &report,
        &seen,
        &paths,
        interrupted.as_ref(),
    )?;
    // `stop` has checked that no content is lost.
    let overwrite = seen.has_files && !seen.changes.is_empty();
    if options.dry_run {
        return Ok(report);
    }
    if let Some(UnpackStop::Newer { .. } | UnpackStop::Other { .. }) = &report.stopped {
        write(
            context,
            &repo,
            &UnpackState {
                shown: Some(report.version.to_string()),
            },
        )?;
    }
    if report.stopped.is_some() {
        return Ok(report);
    }
    // A named version is checked out by id, so HEAD does not follow a branch.
    let base = match &options.revision {
        Some(_) => RefName::new(&report.version.to_string())?,
        None => report.branch.clone(),
    };
    let how = CheckoutOptions {
        revision: Some(Revision {
            base: RevisionBase::Name(base),
            suffixes: Vec::new(),
        }),
        delete: !paths.is_empty(),
        paths: paths.clone(),
        force: options.force,
        no_trash: options.no_trash,
        overwrite,
        walk: options.walk.clone(),
        ..CheckoutOptions::default()
    };
    // Move the branch only now, because after a refusal `pack` must not continue from the new
    // version.
    if moves {
        advance(context, &repo, &report.branch, newest, "unpack")?;
    }
    drop(repo);
    report.checkout = Some(checkout(context, &how, observer)?);
    let repo = context.repo()?;
    // A later run must show its changes before it overwrites anything.
    write(context, &repo, &UnpackState::default())?;
    Ok(report)
}

/// Returns the branch that a revision names, if it exists locally or on the remote.
fn named_branch(
    repo: &Repo,
    remote: Option<&Remote>,
    revision: &Revision,
) -> Result<Option<RefName>> {
    let (RevisionBase::Name(name) | RevisionBase::Scoped(Some(name), _)) = &revision.base else {
        return Ok(None);
    };
    let theirs = tracking(remote.map_or("origin", |remote| remote.name.as_str()), name)?;
    let here = repo
        .refs()
        .value(RefKind::Branch, name)?
        .or(repo.refs().value(RefKind::Remote, &theirs)?);
    Ok(here.map(|_| name.clone()))
}

/// Returns the version of a revision. A revision that the local branch does not have is resolved on
/// the remote-tracking branch.
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
            RevisionBase::Scoped(None, selector) => {
                RevisionBase::Scoped(Some(name.clone()), selector.clone())
            }
            RevisionBase::Scoped(Some(named), selector) if named == branch => {
                RevisionBase::Scoped(Some(name.clone()), selector.clone())
            }
            other => other.clone(),
        };
        Revision {
            base,
            suffixes: revision.suffixes.clone(),
        }
    };
    match resolver.revision(&based(branch)) {
        // The branch may exist only on the remote.
        Err(e) if e.kind() == Kind::NotFound && remote.is_some() => {
            let theirs = tracking(
                remote.map_or("origin", |remote| remote.name.as_str()),
                branch,
            )?;
            resolver.revision(&based(&theirs)).map_err(|_| e)
        }
        found => found,
    }
}

/// The newest version of a branch.
struct NewestVersion {
    id: Id,
    /// Whether the local branch must move to it.
    moves: bool,
}

/// Returns the newest version of the branch, local or remote. Fails if the two have diverged.
fn newest(repo: &Repo, remote: Option<&Remote>, branch: &RefName) -> Result<NewestVersion> {
    let theirs = tracking(
        remote.map_or("origin", |remote| remote.name.as_str()),
        branch,
    )?;
    let (ours, there) = (
        repo.refs().value(RefKind::Branch, branch)?,
        repo.refs().value(RefKind::Remote, &theirs)?,
    );
    match (ours, there) {
        (Some(ours), _) if remote.is_none() => Ok(NewestVersion {
            id: ours,
            moves: false,
        }),
        (_, None) if remote.is_some() => Err(RefMoveError::Missing {
            kind: RefKind::Remote,
            name: theirs,
        }
        .into()),
        (Some(ours), Some(there)) if ancestors(repo, &ours)?.contains(&there) => {
            Ok(NewestVersion {
                id: ours,
                moves: false,
            })
        }
        (Some(ours), Some(there)) if !ancestors(repo, &there)?.contains(&ours) => {
            Err(DivergedBranches {
                ours: branch.clone(),
                theirs,
            }
            .into())
        }
        (_, Some(there)) => Ok(NewestVersion {
            id: there,
            moves: true,
        }),
        (_, None) => Err(RefMoveError::Missing {
            kind: RefKind::Branch,
            name: branch.clone(),
        }
        .into()),
    }
}

/// Returns the paths to check out; an empty list means all.
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
    for asked in if options.paths.is_empty() {
        &all[..]
    } else {
        &options.paths
    } {
        // The path is a volume, or in one.
        if mounted.iter().any(|at| is_within(asked, at)) {
            named.insert(asked.clone());
            continue;
        }
        let below: BTreeSet<_> = mounted
            .iter()
            .filter(|at| is_within(at, asked))
            .cloned()
            .collect();
        let is_none = below.is_empty();
        volumes.extend(below);
        if is_none {
            let path = context.worktree.join(OsStr::from_bytes(asked));
            return Err(WrongVolumes::NotMounted {
                path: display(path.as_os_str().as_bytes()),
            }
            .into());
        }
    }
    // The worktree itself is a volume.
    if named.contains(&Vec::new()) {
        return Ok(Vec::new());
    }
    let (mut chosen, mut unknown): (Vec<Vec<u8>>, Vec<Vec<u8>>) =
        (named.into_iter().collect(), Vec::new());
    for path in volumes {
        match repo.find(tree, &split(&path).unwrap_or_default())? {
            Some(_) => chosen.push(path),
            None => unknown.push(path),
        }
    }
    // Unknown volumes below a chosen path are only reported.
    let (inside, unknown) = unknown
        .into_iter()
        .partition::<Vec<_>, _>(|p| chosen.iter().any(|c| is_within(p, c)));
    let left_out = not_covered(repo, tree, b"", &chosen)?;
    if !unknown.is_empty() {
        let shown = |paths: &[Vec<u8>]| paths.iter().map(|path| display(path)).collect();
        // Suggest the volumes that are not mounted, or else the mounted ones.
        let has = if left_out.is_empty() {
            &chosen
        } else {
            &left_out
        };
        return Err(WrongVolumes::Unknown {
            mounted: shown(&unknown),
            has: shown(has),
        }
        .into());
    }
    for path in inside {
        notify(
            observer,
            &path,
            "a volume is mounted there, but the version does not contain it",
        );
    }
    if options.paths.is_empty() {
        for path in left_out {
            notify(observer, &path, "not unpacked, because it is not mounted");
        }
    }
    Ok(chosen)
}

fn notify(observer: &dyn Observer, path: &[u8], message: &str) {
    observer.notice(Notice {
        level: NoticeLevel::Info,
        path: path.to_vec(),
        message: message.to_owned(),
    });
}

/// Returns the topmost paths of a tree that are in none of `chosen`, and contain none of them.
fn not_covered(repo: &Repo, tree: &Id, dir: &[u8], chosen: &[Vec<u8>]) -> Result<Vec<Vec<u8>>> {
    let entries = if dir.is_empty() {
        repo.root(tree)?.1
    } else {
        repo.entries(tree)?
    };
    let mut out = Vec::new();
    for entry in entries {
        let path = join(dir, &entry.name);
        match &entry.node {
            _ if chosen.iter().any(|c| is_within(&path, c)) => {}
            crate::model::entry::Node::Dir { tree, .. }
                if chosen.iter().any(|c| is_within(c, &path)) =>
            {
                out.extend(not_covered(repo, tree, &path, chosen)?);
            }
            _ => out.push(path),
        }
    }
    Ok(out)
}

/// The state of the worktree before the checkout.
struct WorktreeState {
    /// The tree of the worktree.
    now: Id,
    /// Whether the worktree has any files.
    has_files: bool,
    /// The differences from the version, without directories.
    changes: Vec<TreeChange>,
}

impl WorktreeState {
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
        let (mut has_files, mut changes) = (false, Vec::new());
        // The first file is enough to know that the worktree has files.
        compare(repo, None, Some(&now), paths, &mut |change| {
            has_files |= !is_dir(&change.new);
            Ok(if has_files {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            })
        })?;
        if has_files {
            compare(repo, Some(&now), Some(tree), paths, &mut |change| {
                if !(is_dir(&change.old) && is_dir(&change.new)) {
                    changes.push(change);
                }
                Ok(ControlFlow::Continue(()))
            })?;
        }
        Ok(Self {
            now,
            has_files,
            changes,
        })
    }
}

/// Returns the reason to stop before the checkout, if the user must review the changes first.
fn stop(
    context: &Context,
    repo: &Repo,
    options: &UnpackOptions,
    report: &UnpackReport,
    seen: &WorktreeState,
    paths: &[Vec<u8>],
    interrupted: Option<&Interrupted>,
) -> Result<Option<UnpackStop>> {
    if options.force || seen.changes.is_empty() {
        return Ok(None);
    }
    let target = display(context.worktree.as_os_str().as_bytes());
    let lost = lost(context, repo, report.version, seen, paths, interrupted)?;
    if !lost.is_empty() {
        return Ok(Some(UnpackStop::Uncommitted {
            target,
            paths: lost.iter().map(|p| display(p)).collect(),
        }));
    }
    let shown = read(context, repo)?
        .shown
        .is_some_and(|hex| Id::parse(&hex) == Some(report.version));
    // The user reviewed the changes before the interrupted unpack of this version began. The
    // recorded version of the worktree proves nothing, because different volumes may be mounted
    // now.
    let continues =
        interrupted.is_some_and(|i| i.goal.target == report.version && i.goal.reaches(paths));
    if options.accept || continues || shown {
        return Ok(None);
    }
    Ok(Some(match &options.revision {
        Some(revision) => UnpackStop::Other {
            revision: revision.to_string(),
            target,
        },
        None => UnpackStop::Newer {
            branch: report.branch.clone(),
            target,
        },
    }))
}

/// Returns the paths whose content would be lost, because no version has it at that path. Files
/// that an interrupted unpack was writing do not count: they have the content of some version, or a
/// part of it, perhaps with different metadata or fewer hard links. That version is unknown,
/// because the volumes need not have had the version that is recorded for the worktree.
fn lost(
    context: &Context,
    repo: &Repo,
    tip: Id,
    seen: &WorktreeState,
    paths: &[Vec<u8>],
    interrupted: Option<&Interrupted>,
) -> Result<Vec<Vec<u8>>> {
    let was = |c: &TreeChange| {
        let old = c.old.as_ref().filter(|e| !e.is_dir())?;
        Some((c.from.as_ref().unwrap_or(&c.path).clone(), old.clone()))
    };
    let open: BTreeMap<Vec<u8>, Entry> = seen.changes.iter().filter_map(was).collect();
    let open = in_no_version(repo, &[tip], &seen.now, paths, open, interrupted.is_some())?;
    let left = interrupted
        .map(|i| CheckoutLeftovers::anywhere(repo, &context.worktree, i))
        .transpose()?;
    let mut lost = Vec::new();
    for (path, now) in open {
        if !left
            .as_ref()
            .map_or(Ok(false), |left| left.holds(&path, Some(&now)))?
        {
            lost.push(path);
        }
    }
    Ok(lost)
}

fn read(context: &Context, repo: &Repo) -> Result<UnpackState> {
    // If the state is unreadable, assume that no changes were reported yet.
    let bytes =
        std::fs::read(repo.worktree(&context.worktree)?.state_dir().join(NOTE)).unwrap_or_default();
    Ok(serde_json::from_slice(&bytes).unwrap_or_default())
}

fn write(context: &Context, repo: &Repo, note: &UnpackState) -> Result<()> {
    // Serialising strings cannot fail.
    repo.worktree(&context.worktree)?.write_file(
        NOTE,
        serde_json::to_string(note).unwrap_or_default().as_bytes(),
    )
}
