//! `gc --status`: which data is kept, why, and until when.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::options::CollectOptions;
use super::roots::{lease_roots, loose_roots};
use crate::care::roots::LooseRoot;
use crate::care::usage::{KeptTimes, RepositoryUsage, measure};
use crate::context::Context;
use crate::error::Result;
use crate::model::id::Id;
use crate::observe::Observer;
use crate::repo::Repo;
use crate::sys::io_error::IoError;
use crate::sys::{clock, create};

/// A lease that counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseUsage {
    /// `mount`, `overlay` or `lazy clone`.
    pub what: &'static str,
    pub host: String,
    pub versions: Vec<Id>,
    /// When the lease ends, in seconds since 1970; `None` while its process runs.
    pub until: Option<i64>,
}

/// A version that a worktree, an overlay or a mount needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldVersion {
    /// `worktree /srv/db`.
    pub holder: String,
    pub id: Id,
}

/// The state of the data of a repository.
#[derive(Clone, Debug)]
pub struct GcStatus {
    pub usage: RepositoryUsage,
    pub leases: Vec<LeaseUsage>,
    /// Versions that worktrees, overlays and mounts need.
    pub held: Vec<HeldVersion>,
    /// When the next data may be deleted or marked as dead, in seconds since 1970.
    pub next: Option<i64>,
    /// Whether some packs are unneeded, but no collector has recorded since when.
    pub lacks_record: bool,
    /// The directory of that record; `None` if the record is lost with each process.
    pub record_dir: Option<PathBuf>,
}

/// Returns the state of all data. `run` is the directory with the notes of mounts.
pub fn status(
    context: &Context,
    run: &Path,
    options: &CollectOptions,
    observer: &dyn Observer,
) -> Result<GcStatus> {
    let repo = context.repo()?;
    let now = clock::now().secs.max(context.now_secs());
    let leases = repo.leases(now, false)?.live;
    let roots = held_roots(context, &repo, run)?;
    let usage = repository_usage(context, &repo, roots.clone(), run, options, observer)?;
    let held = roots
        .into_iter()
        .filter(|root| !root.name.starts_with("lease "))
        .map(|root| HeldVersion {
            holder: root.name,
            id: root.id,
        })
        .collect();
    let unneeded = usage.unneeded.packs + usage.orphans.packs;
    let next = [
        usage.log.until,
        usage.trash.until,
        usage.unneeded.until,
        usage.orphans.until,
        usage.dead.until,
    ];
    let next = next
        .into_iter()
        .chain(leases.iter().map(|live| live.until))
        .flatten()
        .min();
    let is_kept = repo
        .catalogue()
        .is_ok_and(|catalogue| !catalogue.is_temporary());
    Ok(GcStatus {
        lacks_record: unneeded > 0 && !usage.has_record,
        record_dir: repo.state_dir().ok().filter(|_| is_kept),
        leases: leases
            .into_iter()
            .map(|live| LeaseUsage {
                what: live.lease.what.name(),
                host: live.lease.host,
                versions: live.lease.versions,
                until: live.until,
            })
            .collect(),
        usage,
        held,
        next,
    })
}

/// Returns the versions that no ref names, but that something else needs.
pub(in crate::ops) fn held_roots(
    context: &Context,
    repo: &Repo,
    run: &Path,
) -> Result<Vec<LooseRoot>> {
    match repo.as_local() {
        Some(_) if repo.state_dir().is_ok() => loose_roots(context, repo, run, &BTreeSet::new()),
        // A user who can write neither to the repository nor to a cache has no worktree or mount of
        // it.
        _ => lease_roots(repo),
    }
}

/// Measures the use of all packs of a repository. `held` are the versions of [`held_roots`].
pub(in crate::ops) fn repository_usage(
    context: &Context,
    repo: &Repo,
    held: Vec<LooseRoot>,
    run: &Path,
    options: &CollectOptions,
    observer: &dyn Observer,
) -> Result<RepositoryUsage> {
    let times = KeptTimes {
        grace: options.grace,
        keep_trash: options.keep_trash,
        keep_log: options.keep_log,
        now: context.moved_at(),
    };
    // A repository that this user can only read has no directory for temporary files.
    let staging = repo
        .as_local()
        .filter(|_| !repo.is_read_only())
        .map(|local| local.files().staging())
        .transpose()?;
    let dir = match staging {
        Some(dir) => dir,
        None => {
            let dir = context.cache.dir.join("gc");
            match create::private_dir(&dir) {
                Ok(()) => dir,
                Err(_) => {
                    create::private_dir(run).map_err(IoError::at("create", run))?;
                    run.to_path_buf()
                }
            }
        }
    };
    measure(repo, held, &times, &dir, observer)
}
