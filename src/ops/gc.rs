//! `gc`: deletes data that no version needs, and data that can be rebuilt.

mod options;
mod purge;
mod roots;
mod status;

pub use options::CollectOptions;
pub use purge::PurgeReport;
pub(in crate::ops) use roots::{lease_roots, loose_roots};
pub use status::{GcStatus, HeldVersion, LeaseUsage, status};
pub(in crate::ops) use status::{held_roots, repository_usage};

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use super::mount::{OVERLAYS, OverlayState, overlays};
use crate::care::options::{GcOptions, GcReport};
use crate::care::plan::PlanLimits;
use crate::context::remote_access::RemoteAccess;
use crate::context::{Context, Remote};
use crate::error::{Failure, Kind, Result, with_causes};
use crate::mount::daemon::free_overlay;
use crate::observe::{Notice, NoticeLevel, Observer};
use crate::repo::writers::RunningWriters;
use crate::repo::{OpenOptions, Repo, layout};
use crate::store::location::Scheme;
use crate::sys::clock;
use crate::sys::io_error::IoError;
use purge::due_overlays;

/// The size of the cache before and after a deletion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheShrink {
    /// Bytes before the deletion.
    pub before_bytes: u64,
    /// Bytes that are left.
    pub after_bytes: u64,
}

/// Deletes cached blocks of remote objects, the least recently used first, until at most
/// `limit_bytes` are left.
pub fn shrink_cache(context: &Context, limit_bytes: u64, dry_run: bool) -> Result<CacheShrink> {
    let dir = &context.cache.dir;
    let cache = context.cache.blocks();
    let before_bytes = cache.used_bytes().map_err(IoError::at("measure", dir))?;
    if dry_run {
        return Ok(CacheShrink {
            before_bytes,
            after_bytes: before_bytes.min(limit_bytes),
        });
    }
    let after_bytes = cache
        .shrink_to(limit_bytes)
        .map_err(IoError::at("shrink", dir))?;
    Ok(CacheShrink {
        before_bytes,
        after_bytes,
    })
}

/// The error for a collection without a grace period while other processes write.
#[derive(Debug, thiserror::Error)]
#[error("other processes are writing to the repository{}", named(processes))]
struct WritersRun {
    processes: Vec<String>,
}

fn named(processes: &[String]) -> String {
    if processes.is_empty() {
        String::new()
    } else {
        format!(": {}", processes.join(", "))
    }
}

impl Failure for WritersRun {
    fn kind(&self) -> Kind {
        Kind::Busy
    }

    fn hint(&self) -> Option<String> {
        Some(
            "wait until they end, or add `-y`; they may then have to store some data again"
                .to_owned(),
        )
    }
}

/// Fails if other processes write to the local repository. A collection without a grace period
/// loses none of their data, but they may have to store some of it again.
pub fn ensure_no_writers(context: &Context) -> Result<()> {
    match context.repo()?.running_writers() {
        Some(RunningWriters { processes }) => Err(WritersRun { processes }.into()),
        None => Ok(()),
    }
}

/// Limit on the decompressed frames in memory, in bytes. A collection reads most frames only once.
const FRAME_CACHE_BYTES: usize = 16 << 20;

/// The result of a garbage collection.
#[derive(Clone, Debug, Default)]
pub struct CollectReport {
    /// The packs that were planned, copied and deleted.
    pub packs: GcReport,
    /// The entries that were removed from the local trash first.
    pub purged: PurgeReport,
}

/// Deletes data that no version of the local repository needs, after it has removed expired entries
/// from the local trash. `run` is the directory with the notes of mounts.
pub fn collect(
    context: &Context,
    run: &Path,
    options: &CollectOptions,
    observer: &dyn Observer,
) -> Result<CollectReport> {
    let mut context = context.clone();
    let frames = &mut context.open.frame_cache_bytes;
    *frames = (*frames).min(FRAME_CACHE_BYTES);
    let context = &context;
    let repo = context.repo()?;
    let local = repo.ensure_local()?;
    delete_ended_leases(&repo, options)?;
    let since = context
        .now_secs()
        .saturating_sub_unsigned(options.keep_local_trash.as_secs());
    // The collection leaves out the overlays that have expired in the trash. They are deleted only
    // afterwards, because a collection that finds damage must delete nothing.
    let due = due_overlays(&context.repository, since)?;
    let due: BTreeSet<String> = due.into_iter().map(|overlay| overlay.id).collect();
    let mut purged = PurgeReport::default();
    purged.files(context, &repo, since, options.dry_run, observer)?;
    let mut packs = crate::care::gc::collect(
        &repo,
        &|| loose_roots(context, &repo, run, &due),
        &GcOptions {
            purged_until: options.dry_run.then_some(since),
            ..gc_options(context, options, false, Duration::ZERO)
        },
        local.files(),
        observer,
    )?;
    purged.overlays(context, since, options.dry_run, observer)?;
    packs.overlay_bytes = free_overlays(context, &repo, &packs, options.dry_run, observer)?;
    if !options.dry_run {
        // Another process may use the catalogue now; the next collection tries again.
        drop(repo.catalogue().map(|catalogue| catalogue.shrink()));
    }
    Ok(CollectReport { packs, purged })
}

/// Deletes leases that have ended, and records when the others were first seen.
fn delete_ended_leases(repo: &Repo, options: &CollectOptions) -> Result<()> {
    let leases = repo.leases(clock::now().secs, !options.dry_run)?;
    if !options.dry_run {
        repo.delete_ended_leases(&leases);
    }
    Ok(())
}

/// Returns the context of a remote that is a directory of this machine. Its worktrees, mounts,
/// overlays and locks count, as in a command that names it with `--repo`.
pub(in crate::ops) fn directory_context(context: &Context, remote: &Remote) -> Option<Context> {
    Some(Context {
        repository: remote.location.as_directory()?,
        open: without_sources(context),
        remote_repository: None,
        remotes: Vec::new(),
        mount: None,
        ..context.clone()
    })
}

/// Returns the options for opening a repository whose missing objects no other repository hides.
fn without_sources(context: &Context) -> OpenOptions {
    OpenOptions {
        lazy_source: None,
        heal: false,
        heal_sources: Vec::new(),
        ..context.open.clone()
    }
}

/// The error for a remote that processes of another machine use as their local repository.
#[derive(Debug, thiserror::Error)]
#[error("cannot collect `{place}`: it has worktrees, overlays or a trash of its own in `{dir}`")]
struct UsedElsewhere {
    place: String,
    dir: &'static str,
}

impl Failure for UsedElsewhere {
    fn kind(&self) -> Kind {
        Kind::Busy
    }

    fn hint(&self) -> Option<String> {
        Some("run `dvc gc` on the machine of the repository".to_owned())
    }
}

/// Fails if a repository on a file server has what only its own machine can read.
fn ensure_only_remote(repo: &Repo, remote: &Remote) -> Result<()> {
    if !matches!(remote.location.scheme, Scheme::Sftp | Scheme::Webdav) {
        return Ok(());
    }
    for dir in [layout::WORKTREES, OVERLAYS, layout::TRASH_LOCAL] {
        if !repo.store().list(dir)?.is_empty() {
            let place = remote.location.to_string();
            return Err(UsedElsewhere { place, dir }.into());
        }
    }
    Ok(())
}

/// Deletes what no version of a remote repository needs. `run` is the directory with the notes of
/// mounts. `settle` replaces the time that a gc waits for writes of other clients at a store without
/// conditional writes.
pub fn collect_remote(
    context: &Context,
    remote: &Remote,
    run: &Path,
    options: &CollectOptions,
    settle: Option<Duration>,
    observer: &dyn Observer,
) -> Result<GcReport> {
    if let Some(there) = directory_context(context, remote) {
        let options = CollectOptions {
            // The trash of the other repository expires by its own settings.
            keep_local_trash: Duration::MAX,
            ..options.clone()
        };
        return Ok(collect(&there, run, &options, observer)?.packs);
    }
    let local = context.repo()?;
    let staging = local.ensure_local()?.files();
    // Another repository must not hide that an object is missing on the remote.
    let context = Context {
        open: without_sources(context),
        ..context.clone()
    };
    let mut access = RemoteAccess::new(&context, remote)?;
    let mut repo = access.existing()?;
    if !options.dry_run && access.state.exclusive.is_none() {
        access.probe(false)?;
        repo = access.existing()?;
    }
    let settle = match repo.store().abilities().settle() {
        Duration::ZERO => Duration::ZERO,
        time => settle.unwrap_or(time),
    };
    ensure_only_remote(&repo, remote)?;
    delete_ended_leases(&repo, options)?;
    crate::care::gc::collect(
        &repo,
        &|| lease_roots(&repo),
        &gc_options(&context, options, true, settle),
        staging,
        observer,
    )
}

fn gc_options(
    context: &Context,
    options: &CollectOptions,
    is_remote: bool,
    settle: Duration,
) -> GcOptions {
    GcOptions {
        grace: options.grace,
        keep_trash: options.keep_trash,
        at_once: options.at_once.clone(),
        purged_until: None,
        keep_log: options.keep_log,
        limits: PlanLimits {
            unused_share: options.max_unused,
            copied_bytes: options.max_repack,
            is_remote,
        },
        until: options
            .max_time
            .and_then(|most| Instant::now().checked_add(most)),
        settle,
        dry_run: options.dry_run,
        is_cautious: !options.is_confirmed,
        spare_dir: context.cache.dir.clone(),
        who: context.author.clone(),
        time: context.moved_at(),
    }
}

/// Frees the space that committed data still takes in overlays that are not mounted. In a lazy clone
/// the copies stay, because they save fetches.
fn free_overlays(
    context: &Context,
    repo: &Repo,
    report: &GcReport,
    dry_run: bool,
    observer: &dyn Observer,
) -> Result<u64> {
    // An overlay may have the last copy of data that some version lacks.
    if repo.is_lazy() || !report.incomplete.is_empty() {
        return Ok(0);
    }
    let mut freed = 0;
    for overlay in overlays(&context.repository)? {
        if matches!(overlay.state, OverlayState::Left(_)) {
            match free_overlay(&overlay.dir, &overlay.name, dry_run) {
                Ok(bytes) => freed += bytes,
                // The collection itself has succeeded, so this error is only a warning.
                Err(e) => observer.notice(Notice {
                    level: NoticeLevel::Warning,
                    path: Vec::new(),
                    message: format!(
                        "cannot free space in the overlay `{}`: {}",
                        overlay.name,
                        with_causes(&e)
                    ),
                }),
            }
        }
    }
    Ok(freed)
}
