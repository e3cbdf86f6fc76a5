//! `mount`: from a revision to a mount that is served, and asking one that is.

mod all;
mod origin;
mod overlays;
mod plan;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::codec::hash::checksum;
use crate::context::Context;
use crate::error::{Failure, Kind, Result};
use crate::model::id::{Id, to_hex};
use crate::model::refname::{RefKind, RefName};
use crate::model::revision::{Revision, RevisionBase};
use crate::mount::attach::{self, AttachError, MountTrust};
use crate::mount::control::{ControlError, ControlRequest, MountClient, MountFacts, MountNote, note};
use crate::mount::daemon::{self, FollowFn, MountDaemon, MountSetup, OverlayDir, Prefetch, VersionTree, no_mount_at};
use crate::mount::health::{MountHealth, health};
use crate::mount::hydrate::HydrateSet;
use crate::mount::processes::namespaces;
use crate::mount::profile::{AccessProfile, ReadRecorder};
use crate::mount::view::{FileOwner, LogFn};
use crate::observe::{Notice, NoticeLevel, Observer};
use crate::query::history::Walk;
use crate::query::resolve::Resolver;
use crate::repo::Repo;
use crate::repo::refs::{Move, value_of};
use crate::snapshot::walk::rules::Rules;
use crate::sys::io_error::IoError;
use crate::sys::mountinfo;
use crate::sys::mountinfo::Mounted;

pub use origin::{Unpushed, keep_unpushed};
pub use overlays::{Overlay, OverlayError, OverlayState, Salvaged, discard, has_overlay, overlays, salvage};
pub use plan::{MountPlan, plan, umount_plan};

/// Overlays lie here in a repository.
pub const OVERLAYS: &str = "overlays";
/// A program that reads cannot be told to come back later: what a store has not given after this time it has not got.
const READ_PATIENCE: Duration = Duration::from_secs(30);
/// So often it is asked what keeps a process from its end.
const LOOK: Duration = Duration::from_secs(2);
/// So long a process may take to flush at its end.
const END: Duration = Duration::from_secs(300);

/// What to mount, and how.
#[derive(Clone)]
pub struct MountOptions {
    /// The version.
    pub revision: Revision,
    /// What of it is shown.
    pub show: Show,
    /// The mount point, absolute.
    pub at: PathBuf,
    /// The overlay; one for each mount point if `None`.
    pub name: Option<String>,
    /// Nothing can be changed.
    pub read_only: bool,
    /// The revision is one of the remote that the repository is a clone of, whatever branches the clone has.
    pub of_origin: bool,
    /// Go on with the version that the overlay stands on, where there is one, whatever the revision stands for now.
    pub resume: bool,
    /// Changes are forgotten at the end.
    pub ephemeral: bool,
    /// Other users may use it.
    pub allow_other: bool,
    /// What its files may do.
    pub trust: MountTrust,
    /// Files of the version are shown as of this user and group.
    pub map_owner: Option<(u32, u32)>,
    /// Bytes that the overlay may take.
    pub quota: Option<u64>,
    /// Databases are to be committed while they run.
    pub live: bool,
    /// Which files are brought whole.
    pub hydrate: Hydrate,
    /// Where what is read of the version is noted.
    pub record: Option<PathBuf>,
    /// The notes of another mount: what was read there is brought at once.
    pub prefetch: Option<PathBuf>,
    /// Where sockets and notes of mounts are.
    pub run: PathBuf,
}

/// What a mount shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Show {
    /// The version as it is now.
    #[default]
    Version,
    /// The version that the revision stands for, whenever that is another one.
    Follow,
    /// Every branch and version, as directories.
    All,
}

/// Which files are brought whole into the overlay.
#[derive(Clone, Debug, Default)]
pub enum Hydrate {
    /// None.
    #[default]
    Off,
    /// Those that are opened for writing.
    Open,
    /// All.
    All,
    /// Those that match a pattern of gitignore grammar.
    Matching(String),
}

impl Hydrate {
    fn which(&self) -> Result<HydrateSet> {
        Ok(match self {
            Self::Off => HydrateSet::Off,
            Self::Open => HydrateSet::Open,
            Self::All => HydrateSet::All,
            Self::Matching(pattern) => {
                let mut rules = Rules::default();
                rules.exclude(std::slice::from_ref(pattern))?;
                HydrateSet::Matching(rules)
            }
        })
    }
}

/// Something that is not done in a mount.
#[derive(Debug, thiserror::Error)]
pub enum MountRefusal {
    /// A name that cannot be a directory's.
    #[error("`{0}` is no name for an overlay")]
    BadName(String),
    /// Its version is not the tip of the branch.
    #[error("the mount stands on {version}, and `{branch}` has moved on")]
    NotTip {
        /// The branch.
        branch: RefName,
        /// The version, short.
        version: String,
    },
    /// It stands on no branch.
    #[error("the mount stands on {version}, which no branch was named with")]
    NoBranch {
        /// The version, short.
        version: String,
    },
    /// The remote does not have the branch.
    #[error("`{branch}` is only in the clone `{}`: the remote does not have it", repository.display())]
    NotAtOrigin {
        /// The branch.
        branch: RefName,
        /// The clone.
        repository: PathBuf,
    },
    /// No version is named, and there is no default branch.
    #[error("the repository has no branch `{default}`")]
    NoDefault {
        /// Its default branch.
        default: RefName,
        /// The branches that it has.
        branches: Vec<String>,
    },
    /// The repository cannot be written.
    #[error("a mount that can be changed needs a repository on this machine")]
    Far,
}

impl Failure for MountRefusal {
    fn kind(&self) -> Kind {
        match self {
            Self::BadName(_) | Self::Far => Kind::Usage,
            Self::NotTip { .. } | Self::NoBranch { .. } => Kind::Rejected,
            Self::NotAtOrigin { .. } => Kind::NotFound,
            Self::NoDefault { .. } => Kind::NotFound,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::BadName(_) => Some("use letters, digits, `.`, `_` and `-`".to_owned()),
            Self::NotTip { .. } | Self::NoBranch { .. } => Some("`-b NAME` commits to a new branch".to_owned()),
            Self::NotAtOrigin { branch, repository } => {
                Some(format!("`dvc --repo {} mount {branch} DIR` mounts it", repository.display()))
            }
            Self::NoDefault { branches, .. } if branches.is_empty() => Some("push a version to it first".to_owned()),
            Self::NoDefault { branches, .. } => Some(format!("name one as URL#BRANCH: {}", branches.join(", "))),
            Self::Far => Some("`--ro`, or `dvc clone --lazy` it first".to_owned()),
        }
    }
}

/// Mounts a version. The mount is served by [`MountDaemon::run`], which is to be called then. Also returns the overlay.
pub fn mount(
    context: &Context,
    options: &MountOptions,
    complain: Arc<LogFn>,
    observer: &dyn Observer,
) -> Result<(MountDaemon, Option<PathBuf>)> {
    let mut context = context.clone();
    for remote in context.remotes.iter_mut().chain(&mut context.far) {
        remote.access.patience = Some(READ_PATIENCE);
    }
    let context = &context;
    let repo = context.repo()?;
    let (version, tree, branch) = match standing(&repo, options)? {
        Some(standing) => standing,
        None => shown(&repo, context, options)?,
    };
    let meter = context.far.as_ref().or_else(|| context.behind()).map(|r| r.access.meter.clone());
    let overlay = match (options.read_only, repo.ensure_local()) {
        (true, _) => None,
        (false, Err(_)) => return Err(MountRefusal::Far.into()),
        (false, Ok(_)) => Some(overlay(repo.path(), options)?),
    };
    let prefetch = options.prefetch.as_deref().map(AccessProfile::read).transpose()?;
    let recorder = options.record.as_deref().map(ReadRecorder::create).transpose()?.map(Arc::new);
    let setup = MountSetup {
        repo,
        version: VersionTree { version, tree },
        branch: branch.map(|b| b.to_string()),
        revision: options.revision.to_string(),
        at: options.at.clone(),
        overlay: overlay.clone().map(|(path, name)| OverlayDir { path, name }),
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
        prefetch: prefetch.map(|profile| Prefetch { profile, budget_bytes: context.cache.limit_bytes / 2 }),
        jobs: context.jobs,
        run: options.run.clone(),
        meter: meter.unwrap_or_default(),
        follow: (options.show != Show::Version).then(|| {
            let (context, options) = (context.clone(), options.clone());
            let follow = move |repo: &Repo| {
                shown(repo, &context, &options).map(|(version, tree, _)| VersionTree { version, tree })
            };
            Box::new(follow) as Box<FollowFn>
        }),
        multi_version: options.show == Show::All,
        log: complain,
    };
    Ok((MountDaemon::start(setup, observer)?, overlay.map(|o| o.0)))
}

/// The version that the overlay stands on, where that is to be gone on with; as in [`shown`].
fn standing(repo: &Repo, options: &MountOptions) -> Result<Option<(Id, Id, Option<RefName>)>> {
    if !options.resume || options.read_only {
        return Ok(None);
    }
    let (dir, name) = overlay(repo.path(), options)?;
    let Some(left) = daemon::overlay_base(&dir, &name)? else { return Ok(None) };
    let branch = left.branch.as_deref().map(RefName::new).transpose()?;
    Ok(Some((left.version, repo.commit_cached(&left.version)?.tree, branch)))
}

/// The version that a mount shows now, its tree, and the branch that it is on.
fn shown(repo: &Repo, context: &Context, options: &MountOptions) -> Result<(Id, Id, Option<RefName>)> {
    if options.show == Show::All {
        return Ok((Id([0; 32]), all::tree(repo)?, None));
    }
    let resolver = Resolver::new(repo, context)?;
    // A repository that is looked at where it is has no branches but its own.
    let meant = match options.of_origin && repo.as_local().is_some() {
        true => origin::revision(repo, &resolver, &options.revision)?,
        false => options.revision.clone(),
    };
    let version = resolver.revision(&meant)?;
    let branch = branch_of(repo, &resolver, &options.revision)?;
    if let Some(own) = origin::own_version(repo, options, version, branch.as_ref())? {
        return Ok((own, repo.commit_cached(&own)?.tree, branch));
    }
    Ok((version, repo.commit_cached(&version)?.tree, branch))
}

/// The branch that a commit of a mount goes to: the one that its revision names.
pub(super) fn branch_of(repo: &Repo, resolver: &Resolver<'_>, revision: &Revision) -> Result<Option<RefName>> {
    let plain = Revision { base: revision.base.clone(), suffixes: Vec::new() };
    if let Some(branch) = resolver.branch_of(&plain)? {
        return Ok(Some(branch));
    }
    match &revision.base {
        RevisionBase::Scoped(Some(branch), _) if repo.refs().value(RefKind::Branch, branch)?.is_some() => {
            Ok(Some(branch.clone()))
        }
        RevisionBase::Scoped(None, _) => Ok(resolver.head().branch.clone()),
        _ => Ok(None),
    }
}

/// Where an overlay of a repository is, and its name.
fn overlay(repository: &Path, options: &MountOptions) -> Result<(PathBuf, String)> {
    let name = match &options.name {
        Some(name) => name.clone(),
        None if options.ephemeral => format!("ephemeral-{}", std::process::id()),
        None => {
            use std::os::unix::ffi::OsStrExt;
            let last = options.at.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
            let last: String = last.chars().filter(|c| c.is_ascii_alphanumeric()).take(40).collect();
            format!("{last}-{}", to_hex(&checksum(&[options.at.as_os_str().as_bytes()])[..4]))
        }
    };
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    if name.is_empty() || name.len() > 100 || name.starts_with('.') || !name.chars().all(plain) {
        return Err(MountRefusal::BadName(name).into());
    }
    Ok((repository.join(OVERLAYS).join(&name), name))
}

/// A mount of this machine.
#[derive(Debug)]
pub struct MountState {
    /// The mount.
    pub mounted: Mounted,
    /// What its process noted.
    pub note: Option<MountNote>,
    /// How it is served.
    pub health: MountHealth,
}

impl MountState {
    /// How it stands; `None` if no process answers.
    pub fn facts(&self) -> Option<&MountFacts> {
        match &self.health {
            MountHealth::Served(facts) => Some(facts),
            _ => None,
        }
    }
}

/// All mounts, with how they stand.
pub fn mounts(run: &Path) -> Result<Vec<MountState>> {
    let ours = mountinfo::ours().map_err(IoError::at("read", Path::new(mountinfo::TABLE)))?;
    let all = health(run, &ours);
    let state = |(mounted, health)| MountState { note: note(run, &mounted), health, mounted };
    Ok(ours.into_iter().zip(all).map(state).collect())
}

/// How to end a mount.
#[derive(Clone, Copy, Debug, Default)]
pub struct UmountOptions {
    /// Remove the overlay.
    pub discard: bool,
    /// Take the mount out of the tree of directories at once, whoever uses it and whatever its process does.
    pub force: bool,
}

/// Ends a mount and waits until all of it is on disk. `force` does not wait.
pub fn umount(run: &Path, at: &Path, options: UmountOptions, observer: &dyn Observer) -> Result<()> {
    let mounted = mounted_at(at)?;
    let cancelled = || observer.cancelled();
    let ended =
        MountClient::connect(run, &mounted).and_then(|client| stop(client.cancelled_by(&cancelled), &mounted, options));
    let Err(e) = ended else { return Ok(()) };
    let (stuck, unknown, in_use) = match e.as_error().downcast_ref::<ControlError>() {
        Some(ControlError::Stuck { .. }) => (true, false, false),
        Some(ControlError::Refused { kind: Kind::Busy, .. }) => (false, false, true),
        Some(ControlError::OtherUser { .. } | ControlError::Unknown { .. } | ControlError::Silent { .. }) => {
            (false, true, false)
        }
        _ => (false, false, false),
    };
    if unknown && attach::is_dead(at) {
        return Ok(attach::detach(at, true)?);
    }
    if options.force && (stuck || unknown || in_use) {
        return force(&mounted, stuck, observer);
    }
    let others = matches!(e.as_error().downcast_ref(), Some(ControlError::OtherUser { .. }));
    if !unknown || options.discard || others && !rustix::process::geteuid().is_root() {
        return Err(e);
    }
    // The kernel hands over what it holds, and the process flushes by itself; only its end cannot be waited for.
    match attach::detach(at, false) {
        Err(refused) if refused.kind() == Kind::Denied => return Err(e),
        done => done?,
    }
    let message = format!("{}: unmounted; its process goes on until all is on disk", at.display());
    observer.notice(Notice { level: NoticeLevel::Info, path: Vec::new(), message });
    Ok(())
}

/// Asks the process to end, and waits until it has.
fn stop(mut client: MountClient<'_>, mounted: &Mounted, options: UmountOptions) -> Result<()> {
    if !options.discard {
        client.flush_kernel()?;
    }
    client.request::<()>(&ControlRequest::Stop { discard: options.discard })?;
    let begun = Instant::now();
    while !client.wait_for_end(LOOK)? {
        let at = mounted.at.clone();
        if let Some(pid) = namespaces::other_namespaces(mounted.device, None).into_iter().next() {
            return Err(AttachError::StillSeen { at, pid }.into());
        }
        if begun.elapsed() > END {
            return Err(AttachError::StillEnding { at }.into());
        }
    }
    Ok(())
}

/// Takes a mount out of the tree of directories. The connection of a stuck process to the kernel is cut where the kernel
/// would wait for that process to take what it holds.
fn force(mounted: &Mounted, stuck: bool, observer: &dyn Observer) -> Result<()> {
    let cut = attach::detach_now(mounted, stuck)?;
    let at = mounted.at.display();
    let message = match (stuck, cut) {
        (_, true) => format!("{at}: detached; what the kernel had not handed to its process is lost"),
        (true, false) => format!("{at}: detached; its process keeps the overlay locked until it goes on or is killed"),
        (false, false) => format!("{at}: detached; its process ends when nothing uses the mount any more"),
    };
    observer.notice(Notice { level: NoticeLevel::Info, path: Vec::new(), message });
    Ok(())
}

/// The mount of ours at a path.
fn mounted_at(at: &Path) -> Result<Mounted> {
    let all = mountinfo::ours().map_err(IoError::at("read", Path::new(mountinfo::TABLE)))?;
    all.into_iter().rev().find(|m| m.at == *at).ok_or_else(|| no_mount_at(at))
}

/// Makes the branches of a clone in which nobody works follow those of `origin`; one that has versions of its own stays.
pub fn follow_origin(context: &Context) -> Result<()> {
    let repo = context.repo()?;
    for tip in repo.refs().readable(RefKind::Remote)?.tips {
        let Some(name) = tip.name.as_str().strip_prefix("origin/") else { continue };
        let name = RefName::new(name)?;
        let ours = repo.refs().tip(RefKind::Branch, &name)?;
        let behind = match ours.as_ref().and_then(value_of) {
            Some(ours) => ours != tip.id && Walk::new(&repo, &[ours], &[tip.id])?.count() == 0,
            None => true,
        };
        if behind {
            let how = Move { who: &context.author, why: "mount: follows origin", time: context.moved_at() };
            repo.refs().update(RefKind::Branch, &name, ours.as_ref(), Some(tip.id), &how)?;
        }
    }
    Ok(())
}

/// The branch that a mount of a repository shows where no version is named: the repository's default branch, or the only one.
pub fn default_branch(context: &Context) -> Result<RefName> {
    let repo = context.repo()?;
    let default = RefName::new(&repo.marker().default_branch)?;
    let branches: Vec<RefName> = repo.refs().list(RefKind::Branch)?.into_iter().map(|tip| tip.name).collect();
    match branches.as_slice() {
        all if all.contains(&default) => Ok(default),
        [only] => Ok(only.clone()),
        all => {
            let branches = all.iter().map(ToString::to_string).collect();
            Err(MountRefusal::NoDefault { default, branches }.into())
        }
    }
}
