//! `fsck`: checks a repository, and makes its index and catalogue anew.

use crate::check::fsck::{CheckOptions, check};
use crate::check::rebuild::{self, RebuildReport};
use crate::check::report::CheckReport;
use crate::context::Context;
use crate::error::Result;
use crate::observe::Observer;
use crate::repo::Repo;
use crate::repo::marker::{RewrittenMarker, rewrite_marker};
use std::time::Duration;

/// What to check.
#[derive(Clone, Copy, Debug, Default)]
pub struct FsckOptions {
    /// How much of the data to read, in millionths of the bytes of all packs; `None` reads none.
    pub data: Option<u32>,
    /// Stop reading data after that time.
    pub max_time: Option<Duration>,
    /// Make index and catalogue anew first.
    pub rebuild: bool,
    /// Change nothing: of a rebuild only say what it would do, and do not remember what was read.
    pub dry_run: bool,
}

/// What was found.
#[derive(Clone, Debug)]
pub struct FsckReport {
    /// The marker, if it was damaged and was written again.
    pub marker: Option<RewrittenMarker>,
    /// What was made anew, or in a dry run would be.
    pub rebuild: Option<RebuildReport>,
    /// What the check found, after that.
    pub check: CheckReport,
}

/// Runs `fsck`.
pub fn fsck(context: &Context, options: &FsckOptions, observer: &dyn Observer) -> Result<FsckReport> {
    let (mut made, mut marker) = (None, None);
    if options.rebuild {
        let root = &context.repository;
        if context.far.is_none() && (Repo::is_at(root) || Repo::is_unmarked(root)) {
            marker = rewrite_marker(root, options.dry_run)?;
        }
        let rebuilt = rebuild::segments(context.repo()?.ensure_local()?, observer, options.dry_run)?;
        made = Some(match options.dry_run {
            true => rebuilt.into_report(),
            false => rebuild::finish(&context.repo()?, rebuilt, observer)?,
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
