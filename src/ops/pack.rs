//! `pack`: commits the volumes below a directory, in a repository that is created if it is missing.
//!
//! A new repository is a lazy copy of the remote's, so that only new objects are stored and sent.
//! The trailers of a version list the mounted volumes, so that a later run does not mistake an
//! unmounted volume for an empty one. The caller pushes the version.

mod repository;

pub use repository::RepositoryOrigin;

use super::commit::{CommitOptions, CommitReport, commit};
use super::fetch::{FetchOptions, FetchReport, fetch};
use crate::context::Context;
use crate::context::Remote;
use crate::context::remote_access::RemoteAccess;
use crate::error::{Failure, Kind, Result};
use crate::model::entry::{Entry, Node};
use crate::model::id::Id;
use crate::model::path::{display, is_within, join, split};
use crate::model::refname::{RefKind, RefName};
use crate::observe::Observer;
use crate::query::volumes::{mounted, places};
use crate::refs::tracking::tracking;
use crate::repo::Repo;
use percent_encoding::{AsciiSet, CONTROLS, percent_decode_str, percent_encode};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

pub(in crate::ops) use repository::{advance, branch_of, prepare, settled};

/// The key of the trailers that list the mounted volumes.
const VOLUME: &str = "Volume";
/// The file that records the mounted volumes, in the state directory of a worktree.
const NOTE: &str = "pack";
/// The number of versions that are searched for [`VOLUME`] trailers.
const SEARCHED: usize = 100;

/// The state of a worktree between runs.
#[derive(Default, Serialize, Deserialize)]
struct PackState {
    /// The packed version, in hex.
    version: String,
    /// The mounted volumes, as in trailers.
    volumes: Vec<String>,
}

/// The options of `pack`.
#[derive(Clone)]
pub struct PackOptions {
    /// The branch. `None` is the repository's default branch.
    pub branch: Option<RefName>,
    /// The default branch of a new repository.
    pub first_branch: RefName,
    /// The remote; `None` uses no network.
    pub remote: Option<Remote>,
    /// Whether the directories below the worktree are volumes. If such a directory has no files but
    /// had some in the last version, its volume is probably not mounted, and `pack` fails.
    pub volumes: bool,
    /// The options of the commit; `branch` replaces their branch.
    pub commit: CommitOptions,
}

/// The result of `pack`.
#[derive(Debug)]
pub struct PackReport {
    /// The origin of the repository.
    pub repository: RepositoryOrigin,
    /// The fetched objects and refs; `None` if the branch already existed locally.
    pub fetched: Option<FetchReport>,
    /// The result of the commit.
    pub commit: CommitReport,
}

/// A volume of the last version is missing.
#[derive(Debug, thiserror::Error)]
pub enum MissingVolume {
    /// The volume is empty or missing.
    #[error("cannot pack: `{path}` is empty, but the last version has files there")]
    Empty {
        /// The path of the volume.
        path: String,
    },
    /// The directory has files, but is not a volume.
    #[error("cannot pack: nothing is mounted at `{path}`, but the last version has a volume there")]
    NotMounted {
        /// The path of the volume.
        path: String,
    },
}

impl Failure for MissingVolume {
    fn kind(&self) -> Kind {
        Kind::Rejected
    }

    fn hint(&self) -> Option<String> {
        Some(
            "check that the volume is mounted, or pack the current files with `--allow-empty`"
                .to_owned(),
        )
    }
}

/// Commits the volumes. If the branch does not exist locally, it is first created at the remote's
/// version.
pub fn pack(
    context: &Context,
    options: &PackOptions,
    observer: &dyn Observer,
) -> Result<PackReport> {
    let found = prepare(
        context,
        options.remote.as_ref(),
        Some(&options.first_branch),
    )?;
    let (context, remote) = &settled(context, options.remote.as_ref(), found);
    let repo = context.repo()?;
    let branch = branch_of(&repo, options.branch.as_ref())?;
    let mut fetched = None;
    // If the remote has the branch, the new version must follow its tip.
    if let (Some(remote), None, true) = (
        remote,
        repo.refs().value(RefKind::Branch, &branch)?,
        found != RepositoryOrigin::Made,
    ) && RemoteAccess::new(context, remote)?.marker()?.is_some()
    {
        fetched = Some(fetch(context, remote, &FetchOptions::default(), observer)?);
        if let Some(there) = repo
            .refs()
            .value(RefKind::Remote, &tracking(&remote.name, &branch)?)?
        {
            advance(
                context,
                &repo,
                &branch,
                there,
                "pack: started from the remote's version",
            )?;
        }
    }
    // The fetch has changed the refs and the index.
    drop(repo);
    let repo = context.repo()?;
    if options.volumes && !options.commit.allow_empty {
        ensure_volumes(context, &repo, &branch, &options.commit.paths)?;
    }
    let mut how = CommitOptions {
        branch: Some(branch.clone()),
        ..options.commit.clone()
    };
    let mut volumes = BTreeSet::new();
    if options.volumes {
        how.walk.places = places(&context.worktree);
        volumes = mounted(&context.worktree);
        // A pack of some paths shows nothing about the other volumes, so those of the last version
        // stay.
        if !how.paths.is_empty() {
            let stays = |path: &Vec<u8>| !how.paths.iter().any(|asked| is_within(path, asked));
            volumes.extend(
                known_volumes(context, &repo, &branch)?
                    .into_iter()
                    .filter(stays),
            );
        }
        how.trailers.extend(
            volumes
                .iter()
                .map(|path| (VOLUME.to_owned(), text_of(path))),
        );
    }
    drop(repo);
    let report = commit(context, &how, observer)?;
    if let (Some(version), true, false) = (report.id, options.volumes, how.dry_run) {
        // If nothing changed, the trailers of the version may list the volumes of an earlier run,
        // so record the volumes in the state too.
        let note = PackState {
            version: version.to_string(),
            volumes: volumes.iter().map(|path| text_of(path)).collect(),
        };
        // Serialising strings cannot fail.
        let text = serde_json::to_string(&note).unwrap_or_default();
        context
            .repo()?
            .worktree(&context.worktree)?
            .write_file(NOTE, text.as_bytes())?;
    }
    Ok(PackReport {
        repository: found,
        fetched,
        commit: report,
    })
}

/// Fails if a volume of the last version is missing or empty, or if a directory that can only be a
/// volume has lost all of its files. Only volumes are expected in the directories that lead to
/// mounted volumes. If the worktree itself is a volume, its directories are not volumes.
fn ensure_volumes(
    context: &Context,
    repo: &Repo,
    branch: &RefName,
    asked: &[Vec<u8>],
) -> Result<()> {
    let Some(last) = repo.refs().value(RefKind::Branch, branch)? else {
        return Ok(());
    };
    let tree = repo.commit_cached(&last)?.tree;
    let mounted = mounted(&context.worktree);
    let at = |path: &[u8]| context.worktree.join(OsStr::from_bytes(path));
    let shown = |path: &[u8]| display(at(path).as_os_str().as_bytes());
    for path in known_volumes(context, repo, branch)? {
        let is_asked = asked.is_empty()
            || asked
                .iter()
                .any(|a| is_within(&path, a) || is_within(a, &path));
        if !is_asked || !holds_files(repo, &tree, &path)? {
            continue;
        }
        if is_hollow(&at(&path)) {
            return Err(MissingVolume::Empty { path: shown(&path) }.into());
        }
        if !mounted.contains(&path) {
            return Err(MissingVolume::NotMounted { path: shown(&path) }.into());
        }
    }
    if mounted.contains(&Vec::new()) {
        return Ok(());
    }
    let mut around: BTreeSet<Vec<u8>> = places(&context.worktree).into_iter().collect();
    around.insert(Vec::new());
    for place in around {
        let entries = if place.is_empty() {
            repo.root(&tree)?.1
        } else {
            match repo
                .find(&tree, &split(&place).unwrap_or_default())?
                .map(|entry| entry.node)
            {
                Some(Node::Dir { tree, .. }) => repo.entries(&tree)?,
                _ => continue,
            }
        };
        for entry in entries
            .iter()
            .filter(|entry| entry.is_dir() && has_files(entry))
        {
            let path = join(&place, &entry.name);
            let is_asked = asked.is_empty() || asked.iter().any(|a| is_within(&path, a));
            if is_asked && is_hollow(&at(&path)) {
                return Err(MissingVolume::Empty { path: shown(&path) }.into());
            }
        }
    }
    Ok(())
}

/// Returns whether a path is missing, or has only empty directories.
fn is_hollow(at: &Path) -> bool {
    match std::fs::symlink_metadata(at) {
        // A directory that cannot be read counts as hollow, so the pack fails.
        Ok(stat) if stat.is_dir() => std::fs::read_dir(at).map_or(true, |mut all| {
            all.all(|entry| entry.is_ok_and(|e| is_hollow(&e.path())))
        }),
        other => other.is_err(),
    }
}

/// Returns whether a version has files at a path or below.
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

/// Returns the volumes that were mounted when the last version of a branch was packed; empty if
/// they are unknown.
fn known_volumes(context: &Context, repo: &Repo, branch: &RefName) -> Result<Vec<Vec<u8>>> {
    let mut next = repo.refs().value(RefKind::Branch, branch)?;
    // Ignore an unreadable state, because the trailers list the volumes too.
    let bytes =
        std::fs::read(repo.worktree(&context.worktree)?.state_dir().join(NOTE)).unwrap_or_default();
    let note: PackState = serde_json::from_slice(&bytes).unwrap_or_default();
    if next.is_some() && Id::parse(&note.version) == next {
        return Ok(note.volumes.iter().map(|text| path_of(text)).collect());
    }
    // Other commands may have committed versions without trailers since then, so search older
    // versions too.
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

/// Encodes a path for a trailer: `%` and bytes that are not printable ASCII are percent-encoded.
/// The worktree itself is `.`.
fn text_of(path: &[u8]) -> String {
    // `percent_encode` encodes bytes beyond ASCII anyway.
    const KEPT: AsciiSet = CONTROLS.add(b'%');
    if path.is_empty() {
        ".".to_owned()
    } else {
        percent_encode(path, &KEPT).to_string()
    }
}

fn path_of(text: &str) -> Vec<u8> {
    if text == "." {
        Vec::new()
    } else {
        percent_decode_str(text).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_in_trailers() {
        for (path, text) in [
            (&b""[..], "."),
            (b"app/my db", "app/my db"),
            (b"50%\n\xff", "50%25%0A%FF"),
        ] {
            assert_eq!(
                (text_of(path).as_str(), path_of(text)),
                (text, path.to_vec())
            );
        }
    }
}
