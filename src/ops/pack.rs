//! `pack`: the volumes below a directory as the next version of a branch, in a repository that is made where there is none.
//!
//! A repository that is made is a lazy copy of what is at the remote, so that only what is new is stored and sent.
//! A version says what was mounted, so that a volume that is forgotten later is not taken for one that was emptied.
//! Pushing is the caller's, by `push`.

use super::commit::{CommitOptions, CommitReport, commit};
use super::fetch::{FetchOptions, FetchReport, fetch};
use super::push::tracking;
use crate::codec::cut::ChunkerConfig;
use crate::context::Context;
use crate::context::Remote;
use crate::context::reach::Reach;
use crate::error::{Failure, Kind, Result};
use crate::model::entry::{Entry, Node};
use crate::model::id::Id;
use crate::model::path::{display, is_within, join, split};
use crate::model::refname::{RefKind, RefName};
use crate::observe::Observer;
use crate::refs::moves::RefMoveError;
use crate::repo::refs::Move;
use crate::repo::{Repo, RepoError};
use crate::sys::mountinfo::MountTable;
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, percent_encode};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// The key of a version's trailers that name what was mounted.
const VOLUME: &str = "Volume";
/// The file of a worktree's state that says what was mounted.
const NOTE: &str = "pack";
/// So many versions are searched for such trailers.
const SEARCHED: usize = 100;

/// What is remembered of a worktree between runs.
#[derive(Default, Serialize, Deserialize)]
struct Note {
    /// The version that was packed, hex.
    version: String,
    /// What was mounted, as in trailers.
    volumes: Vec<String>,
}

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
pub enum NoVolume {
    /// It is empty or missing.
    #[error("there is nothing in `{path}`, but the last version has files there")]
    Empty {
        /// The volume.
        path: String,
    },
    /// There is something, but not a volume.
    #[error("nothing is mounted at `{path}`, but the last version has a volume there")]
    NotMounted {
        /// The volume.
        path: String,
    },
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
    let mut how = CommitOptions { branch: Some(branch.clone()), ..options.commit.clone() };
    let mut volumes = BTreeSet::new();
    if options.volumes {
        how.walk.places = places(&context.worktree);
        volumes = mounted(&context.worktree);
        if !how.paths.is_empty() {
            let stays = |path: &Vec<u8>| !how.paths.iter().any(|asked| is_within(path, asked));
            volumes.extend(known_volumes(context, &repo, &branch)?.into_iter().filter(stays));
        }
        how.trailers.extend(volumes.iter().map(|path| (VOLUME.to_owned(), text_of(path))));
    }
    drop(repo);
    let report = commit(context, &how, observer)?;
    if let (Some(version), true, false) = (report.id, options.volumes, how.dry_run) {
        // Where nothing changed the version says what was mounted before.
        let note = Note { version: version.to_string(), volumes: volumes.iter().map(|path| text_of(path)).collect() };
        let text = serde_json::to_string(&note).unwrap_or_default();
        context.repo()?.worktree(&context.worktree)?.write_file(NOTE, text.as_bytes())?;
    }
    Ok(PackReport { repository: found, fetched, commit: report })
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
    match Repo::create(&context.repository, first_branch, &ChunkerConfig::default(), context.open.clone()) {
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
    MountTable::read().unwrap_or_default().iter().filter_map(|mount| below(&mount.at).ok()).collect()
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

/// Refuses if a volume of the last version is not here or empty. Where it is not known what its volumes were, these are what
/// lies where only volumes lie; where the worktree itself is a volume, its directories are none.
fn refuse_missing(context: &Context, repo: &Repo, branch: &RefName, asked: &[Vec<u8>]) -> Result<()> {
    let Some(last) = repo.refs().value(RefKind::Branch, branch)? else { return Ok(()) };
    let tree = repo.commit_cached(&last)?.tree;
    let mounted = mounted(&context.worktree);
    let at = |path: &[u8]| context.worktree.join(OsStr::from_bytes(path));
    let shown = |path: &[u8]| display(at(path).as_os_str().as_bytes());
    for path in known_volumes(context, repo, branch)? {
        let is_asked = asked.is_empty() || asked.iter().any(|a| is_within(&path, a) || is_within(a, &path));
        if !is_asked || !holds_files(repo, &tree, &path)? {
            continue;
        }
        if is_hollow(&at(&path)) {
            return Err(NoVolume::Empty { path: shown(&path) }.into());
        }
        if !mounted.contains(&path) {
            return Err(NoVolume::NotMounted { path: shown(&path) }.into());
        }
    }
    if mounted.contains(&Vec::new()) {
        return Ok(());
    }
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
        for entry in entries.iter().filter(|entry| entry.is_dir() && has_files(entry)) {
            let path = join(&place, &entry.name);
            let is_asked = asked.is_empty() || asked.iter().any(|a| is_within(&path, a));
            if is_asked && is_hollow(&at(&path)) {
                return Err(NoVolume::Empty { path: shown(&path) }.into());
            }
        }
    }
    Ok(())
}

/// Whether there is nothing, or a directory with nothing but directories in which there is nothing.
fn is_hollow(at: &Path) -> bool {
    match std::fs::symlink_metadata(at) {
        Ok(stat) if stat.is_dir() => {
            std::fs::read_dir(at).map_or(true, |mut all| all.all(|entry| entry.is_ok_and(|e| is_hollow(&e.path()))))
        }
        other => other.is_err(),
    }
}

/// Whether a version has files at a path or below.
fn holds_files(repo: &Repo, tree: &Id, path: &[u8]) -> Result<bool> {
    let names = split(path).unwrap_or_default();
    if names.is_empty() {
        return Ok(repo.root(tree)?.1.iter().any(has_files));
    }
    Ok(repo.find(tree, &names)?.as_ref().is_some_and(has_files))
}

fn has_files(entry: &Entry) -> bool {
    match &entry.node {
        Node::Dir { totals, .. } => totals.files > 0,
        _ => true,
    }
}

/// What was mounted when the last version of a branch was packed, as far as it is known.
fn known_volumes(context: &Context, repo: &Repo, branch: &RefName) -> Result<Vec<Vec<u8>>> {
    let mut next = repo.refs().value(RefKind::Branch, branch)?;
    // What cannot be read says nothing; the version does.
    let bytes = std::fs::read(repo.worktree(&context.worktree)?.state_dir().join(NOTE)).unwrap_or_default();
    let note: Note = serde_json::from_slice(&bytes).unwrap_or_default();
    if next.is_some() && Id::parse(&note.version) == next {
        return Ok(note.volumes.iter().map(|text| path_of(text)).collect());
    }
    // Others than `pack` may have made versions since.
    for _ in 0..SEARCHED {
        let Some(id) = next else { break };
        let commit = repo.commit_cached(&id)?;
        let said = commit.trailers.iter().filter(|(key, _)| key == VOLUME);
        let said: Vec<Vec<u8>> = said.map(|(_, text)| path_of(text)).collect();
        if !said.is_empty() {
            return Ok(said);
        }
        next = commit.parents.first().copied();
    }
    Ok(Vec::new())
}

/// A path in a trailer: bytes that are not printable ASCII, and `%`, as in URLs; the worktree itself is a dot.
fn text_of(path: &[u8]) -> String {
    const KEPT: AsciiSet = CONTROLS.add(b'%');
    if path.is_empty() { ".".to_owned() } else { percent_encode(path, &KEPT).to_string() }
}

fn path_of(text: &str) -> Vec<u8> {
    if text == "." { Vec::new() } else { percent_decode_str(text).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_in_trailers() {
        for (path, text) in [(&b""[..], "."), (b"app/my db", "app/my db"), (b"50%\n\xff", "50%25%0A%FF")] {
            assert_eq!((text_of(path).as_str(), path_of(text)), (text, path.to_vec()));
        }
    }
}
