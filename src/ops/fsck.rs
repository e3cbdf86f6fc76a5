//! `fsck`: checks a repository, rebuilds its index and catalogue, and repairs it from other places.

mod options;
mod repair;

pub use options::{FsckOptions, RepairOptions, RepairPlace};

use crate::check::fsck::{CheckOptions, check};
use crate::check::rebuild::{self, RebuildReport};
use crate::check::repair::RepairReport;
use crate::check::report::CheckReport;
use crate::context::Context;
use crate::error::Result;
use crate::observe::Observer;
use crate::repo::Repo;
use crate::repo::marker::{RewrittenMarker, rewrite_marker};

/// The result of `fsck`.
#[derive(Clone, Debug)]
pub struct FsckReport {
    /// The marker, if it was damaged and restored.
    pub marker: Option<RewrittenMarker>,
    /// The result of the rebuild, or of its dry run.
    pub rebuild: Option<RebuildReport>,
    /// The result of the repair, or of its dry run.
    pub repair: Option<RepairReport>,
    /// The result of the check after the rebuild and the repair.
    pub check: CheckReport,
}

/// Checks a repository. Rebuilds its index and catalogue first, if requested.
pub fn fsck(
    context: &Context,
    options: &FsckOptions,
    observer: &dyn Observer,
) -> Result<FsckReport> {
    // Reads that heal would hide the damage.
    let context = &without_healing(context);
    let (mut made, mut marker) = (None, None);
    if options.rebuild {
        let root = &context.repository;
        // A repository without a readable marker cannot be opened, so the marker comes before the
        // rebuild.
        if context.remote_repository.is_none() && (Repo::is_at(root) || Repo::is_unmarked(root)) {
            marker = rewrite_marker(root, options.dry_run)?;
        }
        let rebuilt =
            rebuild::segments(context.repo()?.ensure_local()?, observer, options.dry_run)?;
        made = Some(if options.dry_run {
            rebuilt.into_report()
        } else {
            // The repository is opened again, so that its index consists of the new segments.
            rebuild::finish(&context.repo()?, rebuilt, observer)?
        });
    }
    let check_options = CheckOptions {
        data: options.data,
        max_time: options.max_time,
        jobs: context.threads(),
        now: (!options.dry_run).then(|| context.now_secs()),
        recorded: options.repair.is_some(),
    };
    if let Some(how) = &options.repair {
        let run = repair::RepairRun {
            context,
            options,
            how,
            check: check_options,
            observer,
        };
        let (check, repair) = run.run()?;
        return Ok(FsckReport {
            marker,
            rebuild: made,
            repair: Some(repair),
            check,
        });
    }
    let repo = match &options.remote {
        Some(remote) => context.open_uncached(remote)?,
        None => context.repo()?,
    };
    let check = check(&repo, &check_options, observer)?;
    Ok(FsckReport {
        marker,
        rebuild: made,
        repair: None,
        check,
    })
}

/// Returns the context with reads that report damage instead of asking the remotes.
fn without_healing(context: &Context) -> Context {
    let mut context = context.clone();
    context.open.heal = false;
    context
}
