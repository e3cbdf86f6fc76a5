//! `gc`: deletes data that no version needs, and data that can be rebuilt.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use super::mount::{mounts, overlays};
use crate::care::gc::{GcOptions, GcReport};
use crate::care::plan::PlanLimits;
use crate::care::roots::LooseRoot;
use crate::checkout::patch::journal::Journal;
use crate::context::remote_access::RemoteAccess;
use crate::context::{Context, Remote};
use crate::error::{Failure, Kind, Result};
use crate::model::id::Id;
use crate::mount::daemon::overlay_roots;
use crate::observe::Observer;
use crate::repo::{OpenOptions, Repo, layout};
use crate::sys::io_error::IoError;

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

/// Options of a garbage collection.
#[derive(Clone, Debug, PartialEq)]
pub struct CollectOptions {
    /// Grace period: how long a pack must have been known as unneeded before it is planned, and how
    /// long a dead pack stays before it is deleted.
    pub grace: Duration,
    /// How long forgotten versions keep all their objects, so that they can be restored.
    pub keep_trash: Duration,
    /// Forgotten versions to which `keep_trash` does not apply.
    pub at_once: BTreeSet<Id>,
    /// How long versions that a ref named earlier keep all their objects, so that `undo` can return
    /// to them.
    pub keep_log: Duration,
    /// Unused bytes that may stay, as a share of the bytes of all packs that stay.
    pub max_unused: f64,
    /// Limit on the bytes that are copied; `None` means no limit.
    pub max_repack: Option<u64>,
    /// No copy of a pack begins after this time; `None` means no limit.
    pub max_time: Option<Duration>,
    pub dry_run: bool,
    /// Whether more than half of the bytes of all packs may be given up.
    pub is_confirmed: bool,
}

/// The error for a mount whose version is unknown because its process does not answer.
#[derive(Debug, thiserror::Error)]
#[error("cannot determine the version that the mount at `{at}` needs: its daemon does not respond")]
struct SilentMount {
    at: String,
}

impl Failure for SilentMount {
    fn kind(&self) -> Kind {
        Kind::Busy
    }

    fn hint(&self) -> Option<String> {
        Some(format!(
            "run `dvc umount {}`, then run `dvc gc` again",
            self.at
        ))
    }
}

/// Limit on the decompressed frames in memory, in bytes. A collection reads most frames only once.
const FRAME_CACHE_BYTES: usize = 16 << 20;

/// Deletes data that no version of the local repository needs. `run` is the directory with the
/// notes of mounts.
pub fn collect(
    context: &Context,
    run: &Path,
    options: &CollectOptions,
    observer: &dyn Observer,
) -> Result<GcReport> {
    let mut context = context.clone();
    let frames = &mut context.open.frame_cache_bytes;
    *frames = (*frames).min(FRAME_CACHE_BYTES);
    let context = &context;
    let repo = context.repo()?;
    let local = repo.ensure_local()?;
    crate::care::gc::collect(
        &repo,
        &|| loose_roots(context, &repo, run),
        &gc_options(context, options, false, Duration::ZERO),
        local.files(),
        observer,
    )
}

/// Deletes what no version of a remote repository needs. `settle` replaces the time that a gc waits
/// for writes of other clients at a store without conditional writes.
pub fn collect_remote(
    context: &Context,
    remote: &Remote,
    options: &CollectOptions,
    settle: Option<Duration>,
    observer: &dyn Observer,
) -> Result<GcReport> {
    let local = context.repo()?;
    let staging = local.ensure_local()?.files();
    // Another repository must not hide that an object is missing at the remote.
    let mut context = context.clone();
    context.open = OpenOptions {
        lazy_source: None,
        heal: false,
        heal_sources: Vec::new(),
        ..context.open
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
    crate::care::gc::collect(
        &repo,
        &|| Ok(Vec::new()),
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
        who: context.author.clone(),
        time: context.moved_at(),
    }
}

/// Returns the versions that the repository must keep although no ref names them: those of
/// worktrees, of interrupted checkouts, of overlays and of mounts.
pub(super) fn loose_roots(context: &Context, repo: &Repo, run: &Path) -> Result<Vec<LooseRoot>> {
    let mut roots = Vec::new();
    let mut add = |name: String, id: Option<Id>, trees: Vec<Id>| {
        roots.extend(id.map(|id| LooseRoot { name, id, trees }));
    };
    for (_, state) in repo.worktree_states()? {
        // An unreadable state may name a version that would be deleted.
        let state = state?;
        add(
            format!("worktree {}", state.path),
            state.base.as_deref().and_then(Id::parse),
            Vec::new(),
        );
    }
    // A worktree without a state may have an interrupted checkout.
    let dir = repo.state_dir()?.join(layout::WORKTREES);
    let entries = match std::fs::read_dir(&dir) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
        entries => Some(entries.map_err(IoError::at("list", &dir))?),
    };
    for entry in entries.into_iter().flatten() {
        let dir = entry.map_err(IoError::at("list", &dir))?.path();
        if let Some(interrupted) = Journal::read(&dir)? {
            let name = || format!("interrupted checkout in {}", dir.display());
            let versions = [interrupted.goal.base, Some(interrupted.goal.target)]
                .into_iter()
                .flatten();
            versions
                .chain(interrupted.others)
                .for_each(|id| add(name(), Some(id), Vec::new()));
        }
    }
    for overlay in overlays(&context.repository)? {
        if let Some(held) = overlay_roots(&overlay.dir)? {
            add(
                format!("overlay {}", overlay.name),
                Some(held.version),
                held.trees,
            );
        }
    }
    let repository = context
        .repository
        .canonicalize()
        .map_err(IoError::at("open", &context.repository))?;
    for mount in mounts(run)? {
        // A note may name the repository through a symbolic link, so both paths are canonical.
        let is_ours = |note: &crate::mount::control::MountNote| {
            note.repository
                .canonicalize()
                .is_ok_and(|dir| dir == repository)
        };
        let Some(note) = mount.note.as_ref().filter(|note| is_ours(note)) else {
            continue;
        };
        let at = mount.mounted.at.display().to_string();
        match mount.facts() {
            Some(facts) => {
                let trees = facts
                    .snapshot
                    .as_deref()
                    .and_then(Id::parse)
                    .into_iter()
                    .collect();
                add(
                    format!("mount {at}"),
                    facts.version.as_deref().and_then(Id::parse),
                    trees,
                );
            }
            // The database of the overlay has the version.
            None if note.overlay.is_some() => {}
            None => return Err(SilentMount { at }.into()),
        }
    }
    Ok(roots)
}
