//! Mounts of a repository elsewhere, by way of a lazy clone that all mounts of it share: `URL#REV` is what the remote has.
//!
//! The clone's branches may have versions that are not pushed. They are shown by nothing but the mount that made them, and
//! are kept under a name of their own when it is gone.

use std::path::Path;

use super::{MountOptions, MountRefusal, overlay};
use crate::error::Result;
use crate::model::entry::Time;
use crate::model::id::Id;
use crate::model::refname::{RefKind, RefName};
use crate::model::revision::{Revision, RevisionBase, Selector};
use crate::mount::daemon;
use crate::query::history::Walk;
use crate::query::resolve::Resolver;
use crate::repo::Repo;
use crate::repo::refs::{Move, value_of};

/// The remote of a clone that mounts share.
const ORIGIN: &str = "origin";

fn at_origin(branch: &RefName) -> Result<RefName> {
    Ok(RefName::new(&format!("{ORIGIN}/{branch}"))?)
}

/// A revision whose branch is the remote's.
pub(super) fn revision(repo: &Repo, resolver: &Resolver<'_>, asked: &Revision) -> Result<Revision> {
    let refs = repo.refs();
    let head = || resolver.head().branch.clone();
    let (branch, selector) = match &asked.base {
        RevisionBase::Head => (head(), None),
        RevisionBase::Name(name) => (Some(name.clone()), None),
        RevisionBase::Scoped(branch, selector) => (branch.clone().or_else(head), Some(selector.clone())),
    };
    let Some(branch) = branch else { return Ok(asked.clone()) };
    if let Some(Selector::Name(tag)) = &selector
        && refs.value(RefKind::Tag, &RefName::scoped(&branch, tag.as_str())?)?.is_some()
    {
        return Ok(asked.clone());
    }
    let remote = at_origin(&branch)?;
    if refs.value(RefKind::Remote, &remote)?.is_none() {
        // A tag, an id, or a branch of which the remote knows nothing.
        return match refs.value(RefKind::Branch, &branch)? {
            Some(_) => Err(MountRefusal::NotAtOrigin { branch, repository: repo.path().to_path_buf() }.into()),
            None => Ok(asked.clone()),
        };
    }
    let base = match selector {
        Some(selector) => RevisionBase::Scoped(Some(remote), selector),
        None => RevisionBase::Name(remote),
    };
    Ok(Revision { base, suffixes: asked.suffixes.clone() })
}

/// The version that the overlay of a mount has committed since `version`, the remote's: the mount goes on with it.
pub(super) fn own_version(
    repo: &Repo,
    options: &MountOptions,
    version: Id,
    branch: Option<&RefName>,
) -> Result<Option<Id>> {
    if !options.of_origin || options.read_only || branch.is_none() {
        return Ok(None);
    }
    let (dir, name) = overlay(repo.path(), options)?;
    // One that is in use, or damaged, is told by the mount itself.
    let Ok(Some(left)) = daemon::overlay_base(&dir, &name) else { return Ok(None) };
    let same = left.version != version && left.branch.as_deref() == branch.map(RefName::as_str);
    let goes_on = same && Walk::new(repo, &[version], &[left.version])?.next().is_none();
    Ok(goes_on.then_some(left.version))
}

/// Versions of a clone that its remote does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unpushed {
    /// The branch that has them now.
    pub branch: RefName,
    /// How many.
    pub versions: u64,
}

/// Keeps versions that a mount or a volume has made and not pushed under a name of their own, now that it is gone: what it
/// stood on was `version` of `branch`. If another one stands on them too (`shared`), they stay where they are. The branch
/// is the remote's then.
pub fn keep_unpushed(
    clone: &Path,
    owner: &str,
    (version, branch): (Id, &RefName),
    now_secs: i64,
    shared: &dyn Fn(&[Id]) -> Result<bool>,
) -> Result<Option<Unpushed>> {
    let repo = Repo::open(clone, crate::repo::OpenOptions::default())?;
    let refs = repo.refs();
    let pushed: Vec<Id> = refs.list(RefKind::Remote)?.into_iter().map(|tip| tip.id).collect();
    let Some(tip) = refs.tip(RefKind::Branch, branch)? else { return Ok(None) };
    let Some(id) = value_of(&tip) else { return Ok(None) };
    let unpushed = Walk::new(&repo, &[id], &pushed)?.map(|version| Ok(version?.0)).collect::<Result<Vec<Id>>>()?;
    if !unpushed.contains(&version) {
        return Ok(None);
    }
    let versions = unpushed.len() as u64;
    let Some(remote) = refs.value(RefKind::Remote, &at_origin(branch)?)? else {
        // Only this machine has the branch: it is a name of their own.
        return Ok(Some(Unpushed { branch: branch.clone(), versions }));
    };
    if shared(&unpushed)? {
        return Ok(Some(Unpushed { branch: branch.clone(), versions }));
    }
    let why = format!("kept of {owner}: not pushed");
    let how = Move { who: "dvc", why: &why, time: Time { secs: now_secs, nanos: 0 } };
    let mut count = 1;
    let kept = loop {
        let more = if count == 1 { String::new() } else { format!("-{count}") };
        let name = RefName::new(&format!("unpushed/{owner}{more}"))?;
        if refs.tip(RefKind::Branch, &name)?.is_none() {
            break name;
        }
        count += 1;
    };
    refs.update(RefKind::Branch, &kept, None, Some(id), &how)?;
    refs.update(RefKind::Branch, branch, Some(&tip), Some(remote), &how)?;
    Ok(Some(Unpushed { branch: kept, versions }))
}
