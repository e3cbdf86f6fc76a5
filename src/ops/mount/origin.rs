//! Mounts of a remote repository. All mounts of one remote share a lazy clone; `URL#REV` names a
//! version of the remote.
//!
//! Branches of the clone may have versions that are not pushed. Only the mount that made such
//! versions shows them. When this mount is removed, the versions move to a separate branch.

use std::path::Path;

use super::options::{MountOptions, OverlayPlace, overlay};
use super::refusal::MountRefusal;
use crate::context::Context;
use crate::error::Result;
use crate::model::entry::Time;
use crate::model::id::Id;
use crate::model::refname::{RefKind, RefName};
use crate::model::revision::{Revision, RevisionBase, Selector};
use crate::mount::daemon;
use crate::query::history::HistoryWalk;
use crate::query::resolve::Resolver;
use crate::repo::Repo;
use crate::repo::refs::Move;

/// The remote of a clone that mounts share.
const ORIGIN: &str = "origin";

fn at_origin(branch: &RefName) -> Result<RefName> {
    Ok(RefName::new(&format!("{ORIGIN}/{branch}"))?)
}

/// Returns the revision with its branch replaced by the remote-tracking branch. A tag and a
/// revision without a branch remain as they are. Fails if only the clone has the branch.
pub(super) fn revision(repo: &Repo, resolver: &Resolver<'_>, asked: &Revision) -> Result<Revision> {
    let refs = repo.refs();
    let head = || resolver.head().branch.clone();
    let (branch, selector) = match &asked.base {
        RevisionBase::Head => (head(), None),
        RevisionBase::Name(name) => (Some(name.clone()), None),
        RevisionBase::Scoped(branch, selector) => {
            (branch.clone().or_else(head), Some(selector.clone()))
        }
    };
    let Some(branch) = branch else {
        return Ok(asked.clone());
    };
    if let Some(Selector::Name(tag)) = &selector
        && refs
            .value(RefKind::Tag, &RefName::scoped(&branch, tag.as_str())?)?
            .is_some()
    {
        return Ok(asked.clone());
    }
    let remote = at_origin(&branch)?;
    if refs.value(RefKind::Remote, &remote)?.is_none() {
        // The remote has no such branch: this is a tag, an id, or a branch that only the clone has.
        return match refs.value(RefKind::Branch, &branch)? {
            Some(_) => Err(MountRefusal::NotAtOrigin {
                branch,
                repository: repo.path().to_path_buf(),
            }
            .into()),
            None => Ok(asked.clone()),
        };
    }
    let base = match selector {
        Some(selector) => RevisionBase::Scoped(Some(remote), selector),
        None => RevisionBase::Name(remote),
    };
    Ok(Revision {
        base,
        suffixes: asked.suffixes.clone(),
    })
}

/// Returns the version that the overlay of a mount has committed on top of `version`, the version
/// of the remote. The mount resumes with it.
pub(super) fn own_version(
    repo: &Repo,
    options: &MountOptions,
    version: Id,
    branch: Option<&RefName>,
) -> Result<Option<Id>> {
    if !options.of_origin || options.read_only || branch.is_none() {
        return Ok(None);
    }
    let OverlayPlace { dir, name } = overlay(repo.path(), options)?;
    // Ignore an overlay that is in use or damaged, because the mount itself reports it.
    let Ok(Some(left)) = daemon::overlay_base(&dir, &name) else {
        return Ok(None);
    };
    let same = left.version != version && left.branch.as_deref() == branch.map(RefName::as_str);
    // The walk is empty if the version of the overlay has `version` as an ancestor.
    let goes_on = same
        && HistoryWalk::new(repo, &[version], &[left.version])?
            .next()
            .is_none();
    Ok(goes_on.then_some(left.version))
}

/// Versions of a clone that its remote does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unpushed {
    /// The branch that has these versions now.
    pub branch: RefName,
    /// The number of versions.
    pub versions: u64,
}

/// Moves the unpushed versions of a removed mount or volume to a separate branch, and resets the
/// branch to the version of the remote.
///
/// The mount or volume was based on `version` of `branch`. The versions stay on the branch if
/// `shared` returns true, which means that another mount or volume is based on one of them.
pub fn keep_unpushed(
    clone: &Path,
    owner: &str,
    version: &Id,
    branch: &RefName,
    now_secs: i64,
    shared: &dyn Fn(&[Id]) -> Result<bool>,
) -> Result<Option<Unpushed>> {
    let repo = Repo::open(clone, crate::repo::OpenOptions::default())?;
    let refs = repo.refs();
    let pushed: Vec<Id> = refs
        .list(RefKind::Remote)?
        .into_iter()
        .map(|tip| tip.id)
        .collect();
    let Some(id) = refs.value(RefKind::Branch, branch)? else {
        return Ok(None);
    };
    let unpushed = HistoryWalk::new(&repo, &[id], &pushed)?
        .map(|version| Ok(version?.0))
        .collect::<Result<Vec<Id>>>()?;
    // The version is pushed, or the branch no longer has it.
    if !unpushed.contains(version) {
        return Ok(None);
    }
    let versions = unpushed.len() as u64;
    let Some(remote) = refs.value(RefKind::Remote, &at_origin(branch)?)? else {
        // The remote does not have the branch, so the branch already is separate.
        return Ok(Some(Unpushed {
            branch: branch.clone(),
            versions,
        }));
    };
    if shared(&unpushed)? {
        return Ok(Some(Unpushed {
            branch: branch.clone(),
            versions,
        }));
    }
    let why = format!("kept for {owner}: not pushed");
    let how = Move {
        who: "dvc",
        why: &why,
        time: Time {
            secs: now_secs,
            nanos: 0,
        },
    };
    let mut count = 1;
    let kept = loop {
        let more = if count == 1 {
            String::new()
        } else {
            format!("-{count}")
        };
        let name = RefName::new(&format!("unpushed/{owner}{more}"))?;
        // The log of a deleted branch stays, so its name is not used again.
        if refs.tip(RefKind::Branch, &name)?.is_none() {
            break name;
        }
        count += 1;
    };
    // Create the new branch first, so that every version has a name at any moment.
    let is_kept = repo.move_ref(RefKind::Branch, &kept, None, Some(id), &how)?;
    // If another process has created that branch, the versions stay where they are.
    if is_kept.is_none() {
        return Ok(Some(Unpushed {
            branch: branch.clone(),
            versions,
        }));
    }
    // If another process moves the branch first, its move counts. The versions have a name anyway.
    repo.move_ref(RefKind::Branch, branch, Some(&id), Some(remote), &how)?;
    Ok(Some(Unpushed {
        branch: kept,
        versions,
    }))
}

/// Moves branches of a shared clone to the versions of `origin`, except branches with unpushed
/// versions.
pub fn follow_origin(context: &Context) -> Result<()> {
    let repo = context.repo()?;
    for tip in repo.refs().readable(RefKind::Remote)?.tips {
        let Some(name) = tip.name.as_str().strip_prefix("origin/") else {
            continue;
        };
        let name = RefName::new(name)?;
        let ours = repo.refs().value(RefKind::Branch, &name)?;
        let behind = match ours {
            Some(ours) => {
                ours != tip.id && HistoryWalk::new(&repo, &[ours], &[tip.id])?.count() == 0
            }
            None => true,
        };
        if behind {
            let how = Move {
                who: &context.author,
                why: "mount: follow origin",
                time: context.moved_at(),
            };
            // If another process moves the branch first, its move counts.
            repo.move_ref(RefKind::Branch, &name, ours.as_ref(), Some(tip.id), &how)?;
        }
    }
    Ok(())
}

/// Returns the branch that a mount without a version shows: the default branch of the repository,
/// or its only branch.
pub fn default_branch(context: &Context) -> Result<RefName> {
    let repo = context.repo()?;
    let default = RefName::new(&repo.marker().default_branch)?;
    let branches: Vec<RefName> = repo
        .refs()
        .list(RefKind::Branch)?
        .into_iter()
        .map(|tip| tip.name)
        .collect();
    match branches.as_slice() {
        all if all.contains(&default) => Ok(default),
        [only] => Ok(only.clone()),
        all => {
            let branches = all.iter().map(ToString::to_string).collect();
            Err(MountRefusal::NoDefault { default, branches }.into())
        }
    }
}
