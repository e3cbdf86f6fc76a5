//! The plan of a mount, for a dry run: all checks of a mount, without a change.

use std::path::PathBuf;

use super::options::{MountOptions, OverlayPlace, Show, overlay};
use super::version::{MountVersion, shown};
use crate::context::Context;
use crate::error::Result;
use crate::model::id::Id;
use crate::model::refname::RefName;
use crate::mount::attach;
use crate::mount::daemon::{self, OverlayUse, VersionTree};
use crate::mount::profile::AccessProfile;
use crate::observe::Observer;
use crate::sys::mountinfo;

/// The plan of a mount.
#[derive(Debug)]
pub struct MountPlan {
    /// The version; `None` if the mount shows all versions.
    pub version: Option<Id>,
    /// The branch that commits would go to.
    pub branch: Option<RefName>,
    /// The local repository.
    pub repository: PathBuf,
    /// The overlay; `None` if the mount is read-only.
    pub overlay: Option<PlannedOverlay>,
    /// Whether the mount would first remove a dead mount, which no process serves.
    pub clears: bool,
}

/// The overlay of a planned mount.
#[derive(Debug)]
pub struct PlannedOverlay {
    pub name: String,
    /// The current content of the overlay.
    pub kept: OverlayUse,
}

/// Checks whether [`super::mount`] would mount a version, and plans the mount.
pub fn plan(
    context: &Context,
    options: &MountOptions,
    observer: &dyn Observer,
) -> Result<MountPlan> {
    let repo = context.repo()?;
    options.hydrate.which()?;
    attach::ensure_trusted(options.trust)?;
    options
        .prefetch
        .as_deref()
        .map(AccessProfile::read)
        .transpose()?;
    let MountVersion {
        version,
        tree,
        branch,
    } = shown(&repo, context, options)?;
    let kept = || -> Result<_> {
        let OverlayPlace { dir, name } = overlay(&context.repository, options)?;
        daemon::wait_while_ending(&dir, observer)?;
        let kept = daemon::overlay_use(&repo, VersionTree { version, tree }, &dir, &name)?;
        Ok(PlannedOverlay { name, kept })
    };
    let overlay = if options.read_only {
        None
    } else {
        Some(kept()?)
    };
    let clears = mountinfo::ours().is_ok_and(|all| all.iter().any(|m| m.at == options.at))
        && attach::is_dead(&options.at);
    if !clears {
        attach::ensure_attachable(&options.at)?;
    }
    let version = Some(version).filter(|_| options.show != Show::All);
    Ok(MountPlan {
        version,
        branch,
        repository: context.repository.clone(),
        overlay,
        clears,
    })
}
