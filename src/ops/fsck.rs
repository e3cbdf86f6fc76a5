//! `fsck`: checks a repository, and rebuilds its index and catalogue.

use crate::check::fsck::{CheckOptions, check};
use crate::check::rebuild::{self, RebuildReport};
use crate::check::report::CheckReport;
use crate::context::Context;
use crate::error::Result;
use crate::observe::Observer;
use crate::repo::Repo;
use crate::repo::marker::{RewrittenMarker, rewrite_marker};
use std::time::Duration;

/// The options of `fsck`.
#[derive(Clone, Copy, Debug, Default)]
pub struct FsckOptions {
    /// The part of the data to read, in millionths of the bytes of all packs; `None` reads none.
    pub data: Option<u32>,
    /// Stop reading data after this time.
    pub max_time: Option<Duration>,
    /// Rebuild the index and the catalogue first.
    pub rebuild: bool,
    /// Change nothing: only report what a rebuild would do, and do not record what was read.
    pub dry_run: bool,
}

/// The result of `fsck`.
#[derive(Clone, Debug)]
pub struct FsckReport {
    /// The marker, if it was damaged and restored.
    pub marker: Option<RewrittenMarker>,
    /// The result of the rebuild, or of its dry run.
    pub rebuild: Option<RebuildReport>,
    /// The result of the check after the rebuild.
    pub check: CheckReport,
}

/// Checks a repository. Rebuilds its index and catalogue first, if requested.
pub fn fsck(context: &Context, options: &FsckOptions, observer: &dyn Observer) -> Result<FsckReport> {
    let (mut made, mut marker) = (None, None);
    if options.rebuild {
        let root = &context.repository;
        if context.remote_repository.is_none() && (Repo::is_at(root) || Repo::is_unmarked(root)) {
            marker = rewrite_marker(root, options.dry_run)?;
        }
        let rebuilt = rebuild::segments(context.repo()?.ensure_local()?, observer, options.dry_run)?;
        made = Some(if options.dry_run {
            rebuilt.into_report()
        } else {
            rebuild::finish(&context.repo()?, rebuilt, observer)?
        });
    }
    let options = CheckOptions {
        data: options.data,
        max_time: options.max_time,
        jobs: context.threads(),
        now: (!options.dry_run).then(|| context.now_secs()),
    };
    let check = check(&context.repo()?, &options, observer)?;
    Ok(FsckReport { marker, rebuild: made, check })
}
