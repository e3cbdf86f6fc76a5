//! What a mount or its end would do: everything is looked at, nothing is changed.

use std::path::{Path, PathBuf};

use super::{Context, MountOptions, MountState, Show, mounted_at, overlay, shown};
use crate::error::Result;
use crate::model::id::Id;
use crate::model::refname::RefName;
use crate::mount::attach;
use crate::mount::control::{MountClient, note};
use crate::mount::daemon::{self, OverlayUse, VersionTree};
use crate::mount::health::{MountHealth, health};
use crate::mount::profile::AccessProfile;
use crate::observe::Observer;
use crate::sys::mountinfo;

/// What would be mounted.
#[derive(Debug)]
pub struct MountPlan {
    /// The version; `None`: all of them.
    pub version: Option<Id>,
    /// The branch that commits would go to.
    pub branch: Option<RefName>,
    /// The repository on this machine.
    pub repository: PathBuf,
    /// The overlay's name, and what is kept in it; `None` where nothing can be changed.
    pub overlay: Option<(String, OverlayUse)>,
    /// A mount that nobody serves any more would be cleared away first.
    pub clears: bool,
}

/// Looks whether [`super::mount`] would mount a version, and as what.
pub fn plan(context: &Context, options: &MountOptions, observer: &dyn Observer) -> Result<MountPlan> {
    let repo = context.repo()?;
    options.hydrate.which()?;
    attach::ensure_trusted(options.trust)?;
    options.prefetch.as_deref().map(AccessProfile::read).transpose()?;
    let (version, tree, branch) = shown(&repo, context, options)?;
    let kept = || -> Result<_> {
        let (dir, name) = overlay(&context.repository, options)?;
        daemon::wait_while_ending(&dir, observer)?;
        let kept = daemon::overlay_use(&repo, VersionTree { version, tree }, &dir, &name)?;
        Ok((name, kept))
    };
    let overlay = if options.read_only { None } else { Some(kept()?) };
    let clears =
        mountinfo::ours().is_ok_and(|all| all.iter().any(|m| m.at == options.at)) && attach::is_dead(&options.at);
    if !clears {
        attach::ensure_attachable(&options.at)?;
    }
    let version = Some(version).filter(|_| options.show != Show::All);
    Ok(MountPlan { version, branch, repository: context.repository.clone(), overlay, clears })
}

/// The mount that [`super::umount`] would end, as it stands.
pub fn umount_plan(run: &Path, at: &Path) -> Result<MountState> {
    let mounted = mounted_at(at)?;
    let settle = |mut client: MountClient<'_>| client.flush_kernel();
    let settled = MountClient::connect(run, &mounted).and_then(settle);
    let health = health(run, std::slice::from_ref(&mounted)).pop().unwrap_or(MountHealth::Unknown);
    match (settled, &health) {
        (Err(e), MountHealth::Served(_)) => Err(e),
        _ => Ok(MountState { note: note(run, &mounted), health, mounted }),
    }
}
