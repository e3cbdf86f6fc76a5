//! `mount`: mounts a version, and lists mounts.

mod all;
mod options;
mod origin;
mod overlays;
mod plan;
mod refusal;
mod state;
mod version;

pub use options::{Hydrate, MountOptions, OVERLAYS, Show};
pub use origin::{Unpushed, default_branch, follow_origin, keep_unpushed};
pub(in crate::ops) use overlays::bytes_below;
pub use overlays::{
    Discard, Overlay, OverlayError, OverlayState, Salvaged, discard, ensure_discardable,
    has_overlay, overlays, salvage,
};
pub use plan::{MountPlan, PlannedOverlay, plan};
pub use refusal::MountRefusal;
pub(in crate::ops) use state::mounted_at;
pub use state::{MountState, mounts};

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::context::Context;
use crate::error::Result;
use crate::mount::daemon::{
    FollowFn, LeaseSetup, MountDaemon, MountSetup, OverlayDir, Prefetch, SourceSetup, VersionTree,
};
use crate::mount::profile::{AccessProfile, ReadRecorder};
use crate::mount::view::{FileOwner, LogFn};
use crate::observe::Observer;
use crate::repo::Repo;
use crate::repo::writer::RootCheck;
use crate::sync::state::RemoteState;
use options::{OverlayPlace, overlay};
use version::{MountVersion, resumed, shown};

/// The time for which a read in the mount is retried. A file system cannot ask the program to try
/// again later, so the read must fail at some point.
const READ_PATIENCE: Duration = Duration::from_secs(30);

/// The time for which the lease on a remote is retried.
const LEASE_PATIENCE: Duration = Duration::from_secs(5);

/// A mount that is attached but not served yet.
pub struct MountedVersion {
    /// The daemon; [`MountDaemon::run`] serves the mount.
    pub daemon: MountDaemon,
    /// The directory of the overlay; `None` if the mount is read-only.
    pub overlay: Option<PathBuf>,
}

/// Prepares the leases of a mount, before its version is chosen.
fn lease_setup(context: &Context, repo: &Repo) -> Result<LeaseSetup> {
    let source = context.lazy_source().cloned().map(|mut remote| {
        // A mount must not wait for a remote that cannot be reached.
        remote.access.patience = Some(LEASE_PATIENCE);
        let (url, repository) = (remote.location.to_string(), context.repository.clone());
        let (name, context) = (remote.name.clone(), context.clone());
        SourceSetup {
            name,
            open: Box::new(move || context.open_remote(&remote)),
            check: Box::new(move || {
                let state = RemoteState::load(&repository, &url).unwrap_or_default();
                RootCheck::since(state.gc_number)
            }),
        }
    });
    Ok(LeaseSetup {
        host: context.host.clone(),
        check: RootCheck::begin(repo)?,
        source,
    })
}

/// Attaches the mount of a version. The caller then serves it with [`MountDaemon::run`].
pub fn mount(
    context: &Context,
    options: &MountOptions,
    complain: Arc<LogFn>,
    observer: &dyn Observer,
) -> Result<MountedVersion> {
    let mut context = context.clone();
    for remote in context
        .remotes
        .iter_mut()
        .chain(&mut context.remote_repository)
    {
        remote.access.patience = Some(READ_PATIENCE);
    }
    let context = &context;
    let repo = context.repo()?;
    let lease = lease_setup(context, &repo)?;
    let MountVersion {
        version,
        tree,
        branch,
    } = match resumed(&repo, options)? {
        Some(resumed) => resumed,
        None => shown(&repo, context, options)?,
    };
    let meter = context
        .remote_repository
        .as_ref()
        .or_else(|| context.lazy_source())
        .map(|r| r.access.meter.clone());
    let overlay = match (options.read_only, repo.ensure_local()) {
        (true, _) => None,
        (false, Err(_)) => return Err(MountRefusal::NeedsLocal.into()),
        (false, Ok(_)) => {
            let OverlayPlace { dir, name } = overlay(repo.path(), options)?;
            Some((dir, name))
        }
    };
    let prefetch = options
        .prefetch
        .as_deref()
        .map(AccessProfile::read)
        .transpose()?;
    let recorder = options
        .record
        .as_deref()
        .map(ReadRecorder::create)
        .transpose()?
        .map(Arc::new);
    let setup = MountSetup {
        repo,
        version: VersionTree { version, tree },
        branch: branch.map(|b| b.to_string()),
        revision: options.revision.to_string(),
        at: options.at.clone(),
        overlay: overlay
            .clone()
            .map(|(path, name)| OverlayDir { path, name }),
        ephemeral: options.ephemeral,
        read_only: options.read_only,
        allow_other: options.allow_other,
        trust: options.trust,
        map_owner: options.map_owner.map(|(uid, gid)| FileOwner { uid, gid }),
        quota: options.quota,
        live: options.live,
        hydrate: options.hydrate.which()?,
        hydrate_budget_bytes: context.cache.limit_bytes,
        recorder,
        prefetch: prefetch.map(|profile| Prefetch {
            profile,
            budget_bytes: context.cache.limit_bytes / 2,
        }),
        jobs: context.jobs,
        run: options.run.clone(),
        meter: meter.unwrap_or_default(),
        follow: (options.show != Show::Version).then(|| {
            let (context, options) = (context.clone(), options.clone());
            let follow = move |repo: &Repo| {
                shown(repo, &context, &options).map(|shown| VersionTree {
                    version: shown.version,
                    tree: shown.tree,
                })
            };
            Box::new(follow) as Box<FollowFn>
        }),
        multi_version: options.show == Show::All,
        lease: Some(lease),
        log: complain,
    };
    Ok(MountedVersion {
        daemon: MountDaemon::start(setup, observer)?,
        overlay: overlay.map(|o| o.0),
    })
}
