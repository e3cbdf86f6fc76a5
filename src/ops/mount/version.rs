//! The version that a mount shows.

use super::options::{MountOptions, OverlayPlace, Show, overlay};
use super::{all, origin};
use crate::context::Context;
use crate::error::Result;
use crate::model::id::Id;
use crate::model::refname::RefName;
use crate::mount::daemon;
use crate::query::forgotten::ensure_readable;
use crate::query::resolve::Resolver;
use crate::repo::Repo;

/// The version that a mount shows.
pub(super) struct MountVersion {
    pub(super) version: Id,
    pub(super) tree: Id,
    /// The branch that commits of the mount go to.
    pub(super) branch: Option<RefName>,
}

/// Returns the version that an overlay is based on, if the options resume the overlay.
pub(super) fn resumed(repo: &Repo, options: &MountOptions) -> Result<Option<MountVersion>> {
    if !options.resume || options.read_only {
        return Ok(None);
    }
    let OverlayPlace { dir, name } = overlay(repo.path(), options)?;
    let Some(left) = daemon::overlay_base(&dir, &name)? else {
        return Ok(None);
    };
    let branch = left.branch.as_deref().map(RefName::new).transpose()?;
    Ok(Some(MountVersion {
        version: left.version,
        tree: repo.commit_cached(&left.version)?.tree,
        branch,
    }))
}

/// Returns the version that a mount with these options shows now.
pub(super) fn shown(
    repo: &Repo,
    context: &Context,
    options: &MountOptions,
) -> Result<MountVersion> {
    if options.show == Show::All {
        return Ok(MountVersion {
            // A mount of all versions has no version of its own.
            version: Id([0; 32]),
            tree: all::tree(repo)?,
            branch: None,
        });
    }
    let resolver = Resolver::new(repo, context)?;
    // A remote repository that is used without a clone has its own branches, but no tracking refs.
    let revision = if options.of_origin && repo.as_local().is_some() {
        origin::revision(repo, &resolver, &options.revision)?
    } else {
        options.revision.clone()
    };
    let version = resolver.revision(&revision)?;
    // Commits go to the local branch, not to the tracking branch.
    let branch = resolver.commit_branch(&options.revision)?;
    let version = origin::own_version(repo, options, version, branch.as_ref())?.unwrap_or(version);
    ensure_readable(context, repo, &version)?;
    Ok(MountVersion {
        version,
        tree: repo.commit_cached(&version)?.tree,
        branch,
    })
}
