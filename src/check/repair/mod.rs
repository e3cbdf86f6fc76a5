//! Repairs a repository from other places: remotes, other repositories, worktrees and directories.
//!
//! A repair works in rounds, because a tree that is intact again may reveal further damage: the
//! caller checks the repository, and [`Repair::round`] repairs what the check has found. Nothing is
//! accepted unless its bytes match its id, or the name of its pack.

mod files;
mod names;
mod objects;
mod replace;
mod report;
mod segments;
mod tips;
mod writer;

use std::collections::HashSet;
use std::path::Path;

pub use files::SearchedDirs;
pub use report::{RepairReport, RepairedRef, SourceShare, UnrepairedRef};

use super::report::{CheckReport, StoredObject};
use crate::error::{Error, Kind, Result, with_causes};
use crate::format::segment::PackName;
use crate::model::entry::Time;
use crate::model::id::Id;
use crate::observe::{Notice, NoticeLevel, Observer};
use crate::repo::Repo;
use crate::store::local::LocalStore;
use crate::work::Cancelled;

/// A repository that objects may come from.
pub struct SourceRepo {
    /// The name of the remote, or the path.
    pub name: String,
    pub repo: Repo,
}

/// Computes the trees and lists of a directory, as a commit does.
pub type RebuildTrees<'a> = dyn Fn(&Path) -> Result<Vec<(Id, Vec<u8>)>> + 'a;

/// The places from which a repository is repaired.
pub struct RepairSources<'a> {
    pub repos: Vec<SourceRepo>,
    pub dirs: SearchedDirs,
    pub rebuild_trees: &'a RebuildTrees<'a>,
}

/// The repository to repair.
pub struct Target<'a> {
    pub repo: &'a Repo,
    /// The store for temporary files: that of the repository if it is local and this is not a dry
    /// run.
    pub staging: &'a LocalStore,
    pub observer: &'a dyn Observer,
    /// Change nothing, and only report what would be repaired.
    pub dry_run: bool,
    /// Let a ref whose newest entry is lost return to an older value.
    pub accept_older: bool,
    /// Author of rewritten entries of refs.
    pub who: &'a str,
    pub time: Time,
}

/// A running repair.
#[derive(Default)]
pub struct Repair {
    report: RepairReport,
    /// Packs that are intact again.
    restored: HashSet<PackName>,
    /// Names of packs and segments that no source has.
    unavailable: HashSet<[u8; 32]>,
    /// Objects that can be read again.
    found: HashSet<StoredObject>,
    /// Objects that no source has.
    sought: HashSet<StoredObject>,
    /// Damaged packs that the index does not refer to any more.
    replaced: HashSet<PackName>,
    /// Sources that have failed, by name.
    failed: HashSet<String>,
    /// Segments that are restored or rebuilt.
    rebuilt: HashSet<[u8; 32]>,
    needs_rebuild: bool,
    refs_done: bool,
}

impl Repair {
    /// Repairs what a check has found. Returns whether the repository should be checked again.
    pub fn round(
        &mut self,
        target: &Target<'_>,
        check: &CheckReport,
        sources: &RepairSources<'_>,
    ) -> Result<bool> {
        // New packs must not take names of dead packs.
        target.repo.read_gc_log()?;
        let (before, segments) = (self.progress(), self.report.segments);
        // Refs come first, so that the next check walks the versions of the restored refs.
        if !std::mem::replace(&mut self.refs_done, true) {
            self.restore_refs(target, sources)?;
        }
        // Whole packs come first, because a download of one pack restores all its objects.
        self.restore_packs(target, check, sources)?;
        self.restore_segments(target, check, sources)?;
        if self.report.segments > segments {
            // The repaired index decides which objects are lost.
            return Ok(!target.dry_run);
        }
        self.restore_objects(target, check, sources)?;
        // Packs are replaced last, because only then it is known which objects are still lost.
        self.replace_packs(target, check)?;
        Ok(self.progress() != before)
    }

    /// Returns the report, with the numbers of objects and packs that are intact again.
    pub fn into_report(self) -> RepairReport {
        let (objects, packs) = (
            self.found.len() as u64,
            (self.restored.len() + self.replaced.len()) as u64,
        );
        RepairReport {
            objects,
            packs,
            ..self.report
        }
    }

    fn progress(&self) -> (usize, u64, usize, u64) {
        let packs = self.restored.len() + self.replaced.len();
        (
            self.found.len() + packs,
            self.report.entries,
            self.report.refs.len(),
            self.report.segments,
        )
    }

    /// Returns the sources that have not failed yet.
    fn usable<'s>(&self, sources: &'s RepairSources<'_>) -> Vec<&'s SourceRepo> {
        sources
            .repos
            .iter()
            .filter(|source| !self.failed.contains(&source.name))
            .collect()
    }

    /// Leaves a source out of the rest of the repair after an error. Fails if the error concerns
    /// this process.
    fn leave_out(&mut self, target: &Target<'_>, source: &SourceRepo, e: Error) -> Result<()> {
        if matches!(
            e.kind(),
            Kind::NoSpace | Kind::Cancelled | Kind::System | Kind::Internal
        ) {
            return Err(e);
        }
        self.failed.insert(source.name.clone());
        let message = format!(
            "skipped the source `{}`: {}",
            source.name,
            with_causes(e.as_error())
        );
        target.observer.notice(Notice {
            level: NoticeLevel::Warning,
            path: Vec::new(),
            message,
        });
        Ok(())
    }
}

impl Target<'_> {
    fn ensure_not_cancelled(&self) -> Result<()> {
        if self.observer.cancelled() {
            Err(Cancelled.into())
        } else {
            Ok(())
        }
    }

    fn info(&self, message: String) {
        self.observer.notice(Notice {
            level: NoticeLevel::Info,
            path: Vec::new(),
            message,
        });
    }
}
