//! `pack`: the volumes below a directory as the next version of a branch, in a repository that is made where there is none.
//!
//! A repository that is made is a lazy copy of what is at the remote, so that only what is new is stored and sent.
//! Pushing is the caller's, by `push`.

use super::Context;
use super::commit::{CommitOptions, CommitReport, commit};
use super::fetch::{FetchOptions, FetchReport, fetch};
use super::push::tracking;
use super::reach::{Reach, Remote};
use super::refmove::RefMoveError;
use crate::codec::cut::Cutting;
use crate::error::{Failure, Kind, Result};
use crate::model::entry::{Entry, Node};
use crate::model::id::Id;
use crate::model::path::{display, is_within, join, split};
use crate::model::refname::{RefKind, RefName};
use crate::mount::mountinfo::mounts;
use crate::observe::Observer;
use crate::repo::refs::Move;
use crate::repo::{Repo, RepoError};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// What to pack.
#[derive(Clone)]
pub struct PackOptions {
    /// The branch; the repository's default branch if `None`.
    pub branch: Option<RefName>,
    /// The default branch of a repository that is made.
    pub first_branch: RefName,
    /// Where versions are kept; `None` uses no network.
    pub remote: Option<Remote>,
    /// Each directory of the worktree is a volume: one of which nothing is here was not mounted.
    pub volumes: bool,
    /// How to commit; its branch is replaced.
    pub commit: CommitOptions,
}

/// What was packed.
#[derive(Debug)]
pub struct PackReport {
    /// Where the repository comes from.
    pub repository: Found,
    /// What was fetched before.
    pub fetched: Option<FetchReport>,
    /// The version.
    pub commit: CommitReport,
}

/// Where a repository comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// It was there.
    Here,
    /// It is a copy of the remote's, made now.
    Copied,
    /// It is new.
    Made,
}

/// A volume of the last version is not here.
#[derive(Debug, thiserror::Error)]
#[error("there is nothing in `{path}`, but the last version has files there")]
pub struct NoVolume {
    /// The volume.
    pub path: String,
}

impl Failure for NoVolume {
    fn kind(&self) -> Kind {
        Kind::Rejected
    }

    fn hint(&self) -> Option<String> {
        Some("is the volume mounted? `--allow-empty` packs what is here".to_owned())
    }
}

/// Packs. A branch that is not here yet begins with what the remote has.
pub fn pack(context: &Context, options: &PackOptions, observer: &dyn Observer) -> Result<PackReport> {
    let found = prepare(context, options.remote.as_ref(), Some(&options.first_branch))?;
    let (context, remote) = &settled(context, options.remote.as_ref(), found);
    let repo = context.repo()?;
    let branch = branch_of(&repo, options.branch.as_ref())?;
    let mut fetched = None;
    if let (Some(remote), None, true) = (remote, repo.refs().value(RefKind::Branch, &branch)?, found != Found::Made)
        && Reach::new(context, remote)?.marker()?.is_some()
    {
        fetched = Some(fetch(context, remote, &FetchOptions::default(), observer)?);
        if let Some(there) = repo.refs().value(RefKind::Remote, &tracking(&remote.name, &branch)?)? {
            advance(context, &repo, &branch, there, "pack: begun with the remote's")?;
        }
    }
    drop(repo);
    let repo = context.repo()?;
    if options.volumes && !options.commit.allow_empty {
        refuse_missing(context, &repo, &branch, &options.commit.paths)?;
    }
    let mut how = CommitOptions { branch: Some(branch), ..options.commit.clone() };
    if options.volumes {
        how.walk.places = places(&context.worktree);
    }
    Ok(PackReport { repository: found, fetched, commit: commit(context, &how, observer)? })
}

/// Sees to it that there is a repository: a copy of the remote's, which has no refs and no data yet, or a new one, if it may
/// be made.
pub(super) fn prepare(context: &Context, remote: Option<&Remote>, first_branch: Option<&RefName>) -> Result<Found> {
    if Repo::is_at(&context.repository) {
        return Ok(Found::Here);
    }
    let marker = match remote {
        Some(remote) => Reach::new(context, remote)?.marker()?,
        None => None,
    };
    if let Some(marker) = marker {
        Repo::create_copy(&context.repository, &marker, context.open.clone())?;
        return Ok(Found::Copied);
    }
    let place = || remote.map_or_else(|| context.repository.clone(), |remote| remote.location.to_string().into());
    let first_branch = first_branch.ok_or_else(|| RepoError::None { path: place() })?;
    match Repo::create(&context.repository, first_branch, &Cutting::default(), context.open.clone()) {
        // Another one that packs was first.
        Err(_) if Repo::is_at(&context.repository) => Ok(Found::Here),
        made => made.map(|_| Found::Made),
    }
}

/// With the remote as the repository needs it: one that was copied now takes only what is asked for.
pub(super) fn settled(context: &Context, remote: Option<&Remote>, found: Found) -> (Context, Option<Remote>) {
    let (mut context, mut remote) = (context.clone(), remote.cloned());
    if let (Found::Copied, Some(remote)) = (found, &mut remote) {
        remote.lazy = true;
        context.remotes.retain(|other| other.name != remote.name);
        context.remotes.push(remote.clone());
    }
    (context, remote)
}

/// Moves a branch here to a version that follows.
pub(super) fn advance(context: &Context, repo: &Repo, branch: &RefName, to: Id, why: &str) -> Result<()> {
    let how = Move { who: &context.author, why, time: context.moved_at() };
    let tip = repo.refs().tip(RefKind::Branch, branch)?;
    match repo.refs().update(RefKind::Branch, branch, tip.as_ref(), Some(to), &how)? {
        Some(_) => Ok(()),
        None => Err(RefMoveError::Raced { kind: RefKind::Branch, name: branch.clone() }.into()),
    }
}

/// The branch that is meant.
pub(super) fn branch_of(repo: &Repo, named: Option<&RefName>) -> Result<RefName> {
    named.map_or_else(|| Ok(RefName::new(&repo.marker().default_branch)?), |named| Ok(named.clone()))
}

/// What is mounted below a directory, the directory itself as the empty path.
pub fn mounted(dir: &Path) -> BTreeSet<Vec<u8>> {
    let below = |at: &Path| at.strip_prefix(dir).map(|path| path.as_os_str().as_bytes().to_vec());
    mounts().unwrap_or_default().iter().filter_map(|mount| below(&mount.at).ok()).collect()
}

/// The directories that only lead to volumes. A container has them anew each time, with other times.
pub(super) fn places(dir: &Path) -> Vec<Vec<u8>> {
    let mounted = mounted(dir);
    let mut places = BTreeSet::new();
    for path in mounted.iter().filter(|path| !path.is_empty()) {
        let ends = path.iter().enumerate().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at);
        places.extend(std::iter::once(0).chain(ends).map(|end| path[..end].to_vec()));
    }
    places.into_iter().filter(|place| !mounted.contains(place)).collect()
}

/// Refuses if a volume of the last version is not here or empty: what lies where only volumes lie. Where the worktree itself
/// is a volume, its directories are none.
fn refuse_missing(context: &Context, repo: &Repo, branch: &RefName, asked: &[Vec<u8>]) -> Result<()> {
    let is_volume = mounted(&context.worktree).contains(&Vec::new());
    let Some(last) = repo.refs().value(RefKind::Branch, branch)?.filter(|_| !is_volume) else { return Ok(()) };
    let tree = repo.commit_cached(&last)?.tree;
    let mut around: BTreeSet<Vec<u8>> = places(&context.worktree).into_iter().collect();
    around.insert(Vec::new());
    for place in around {
        let entries = match place.is_empty() {
            true => repo.root(&tree)?.1,
            false => match repo.find(&tree, &split(&place).unwrap_or_default())?.map(|entry| entry.node) {
                Some(Node::Dir { tree, .. }) => repo.entries(&tree)?,
                _ => continue,
            },
        };
        for entry in entries {
            let path = join(&place, &entry.name);
            let dir = context.worktree.join(OsStr::from_bytes(&path));
            let is_asked = asked.is_empty() || asked.iter().any(|a| is_within(&path, a));
            if is_asked && holds_something(repo, &entry)? && is_hollow(&dir) {
                return Err(NoVolume { path: display(dir.as_os_str().as_bytes()) }.into());
            }
        }
    }
    Ok(())
}

/// Whether there is nothing in a directory but directories in which there is nothing.
fn is_hollow(dir: &Path) -> bool {
    let is_dir = |entry: &std::fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
    std::fs::read_dir(dir)
        .map_or(true, |mut all| all.all(|entry| entry.is_ok_and(|e| is_dir(&e) && is_hollow(&e.path()))))
}

fn holds_something(repo: &Repo, entry: &Entry) -> Result<bool> {
    match &entry.node {
        Node::Dir { tree, .. } => Ok(!repo.entries(tree)?.is_empty()),
        _ => Ok(false),
    }
}
