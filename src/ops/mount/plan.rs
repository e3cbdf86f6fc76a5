//! What a mount or its end would do: everything is looked at, nothing is changed.

use std::path::{Path, PathBuf};

use super::{Context, MountOptions, MountState, Show, mounted_at, overlay, shown};
use crate::error::Result;
use crate::model::id::Id;
use crate::model::refname::RefName;
use crate::mount::attach;
use crate::mount::control::{Ask, Client, note};
use crate::mount::daemon::{self, Kept};
use crate::mount::mountinfo;
use crate::mount::profile::Profile;

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
    pub overlay: Option<(String, Kept)>,
    /// A mount that nobody serves any more would be cleared away first.
    pub clears: bool,
}

/// Looks whether [`super::mount`] would mount a version, and as what.
pub fn plan(context: &Context, options: &MountOptions) -> Result<MountPlan> {
    let repo = context.repo()?;
    options.hydrate.which()?;
    options.prefetch.as_deref().map(Profile::read).transpose()?;
    let (version, tree, branch) = shown(&repo, context, options)?;
    let kept = || -> Result<_> {
        let (dir, name) = overlay(&context.repository, options)?;
        let kept = daemon::look(&repo, (version, tree), &dir, &name)?;
        Ok((name, kept))
    };
    let overlay = if options.read_only { None } else { Some(kept()?) };
    let clears =
        mountinfo::ours().is_ok_and(|all| all.iter().any(|m| m.at == options.at)) && attach::is_dead(&options.at);
    if !clears {
        attach::check(&options.at)?;
    }
    let version = Some(version).filter(|_| options.show != Show::All);
    Ok(MountPlan { version, branch, repository: context.repository.clone(), overlay, clears })
}

/// The mount that [`super::umount`] would end, as it stands; `facts` are missing where nobody serves it any more.
pub fn umount_plan(run: &Path, at: &Path) -> Result<MountState> {
    let mounted = mounted_at(at)?;
    let facts = match Client::connect(run, &mounted) {
        Ok(mut client) => {
            client.settle_kernel()?;
            Some(client.ask(&Ask::Facts)?)
        }
        Err(_) if attach::is_dead(at) => None,
        Err(e) => return Err(e),
    };
    Ok(MountState { note: note(run, &mounted), facts, mounted })
}
