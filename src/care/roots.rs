//! The roots of a mark: the versions that refs name or named a short time ago, and those that roots
//! without a log hold.
//!
//! A ref that cannot be read is an error, because what it names would look unneeded.

use std::collections::BTreeSet;
use std::time::Duration;

use parking_lot::Mutex;

use crate::error::{Error, Result};
use crate::format::refentry::RefEntry;
use crate::model::entry::Time;
use crate::model::id::Id;
use crate::model::refname::{RefKind, RefName};
use crate::repo::Repo;
use crate::repo::refs::value_of;
use crate::work::fan_out;

/// A version that is held by something other than a ref: the base of a worktree, an overlay, a
/// lease.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LooseRoot {
    /// The holder of the version, for messages: `worktree /srv/db`.
    pub name: String,
    pub id: Id,
    /// Trees that are held beside the tree of the version.
    pub trees: Vec<Id>,
}

/// Reads the roots that have no log.
pub type LooseRoots<'l> = dyn Fn() -> Result<Vec<LooseRoot>> + 'l;

/// The versions at which a mark begins.
#[derive(Clone, Debug, Default)]
pub struct Roots {
    /// Versions that refs name, or named within the time that their logs are kept.
    pub refs: Vec<Id>,
    /// Versions that are the value of a ref now.
    pub tips: BTreeSet<Id>,
    pub loose: Vec<LooseRoot>,
}

impl Roots {
    /// Reads all refs, including deleted ones. Entries of their logs count while they are younger
    /// than `keep_log`. Files of worktrees that are in the trash since `purged_until` or earlier do
    /// not count.
    pub fn read(
        repo: &Repo,
        keep_log: Duration,
        purged_until: Option<i64>,
        now: Time,
        loose: &LooseRoots<'_>,
    ) -> Result<Self> {
        let since = now.secs.saturating_sub_unsigned(keep_log.as_secs());
        let mut logs: Vec<(RefKind, RefName)> = Vec::new();
        for kind in RefKind::STORED {
            logs.extend(
                repo.refs()
                    .all_names(kind)?
                    .into_iter()
                    .map(|name| (kind, name)),
            );
        }
        let found = Mutex::new((BTreeSet::new(), BTreeSet::new()));
        let threads = repo.store().abilities().in_flight.min(logs.len());
        fan_out::for_each(threads, logs.into_iter(), |(kind, name)| {
            let log = repo.refs().log(kind, &name)?;
            let mut found = found.lock();
            let (all, tips) = &mut *found;
            match (log.first().and_then(value_of), purged_until) {
                (Some(list), Some(until)) if kind == RefKind::Trash => {
                    all.extend(younger(repo, &list, until)?);
                }
                (Some(tip), _) => {
                    tips.insert(tip);
                    all.insert(tip);
                }
                (None, _) => {}
            }
            // Files that left the trash of a worktree are not needed any more.
            let is_kept = |entry: &&RefEntry| entry.time > since && kind != RefKind::Trash;
            for entry in log.iter().filter(is_kept) {
                all.extend(values(entry));
            }
            Ok::<_, Error>(())
        })?;
        let (all, tips) = found.into_inner();
        Ok(Self {
            refs: all.into_iter().collect(),
            tips,
            loose: loose()?,
        })
    }

    /// Returns all versions that no policy and no command may forget: tips of refs, and what roots
    /// without a log hold.
    pub fn protected(&self) -> BTreeSet<Id> {
        self.tips
            .iter()
            .copied()
            .chain(self.loose.iter().map(|root| root.id))
            .collect()
    }
}

/// Returns the commits of a list of files of a worktree that are younger than `until`.
fn younger(repo: &Repo, list: &Id, until: i64) -> Result<Vec<Id>> {
    let mut all = repo.commit(list)?.parents;
    all.retain(|id| repo.commit(id).map_or(true, |kept| kept.time.secs > until));
    Ok(all)
}

/// Returns the value before an entry, to which `undo` goes back, and the value after the entry.
fn values(entry: &RefEntry) -> impl Iterator<Item = Id> {
    [&entry.old, &entry.new]
        .into_iter()
        .flatten()
        .filter_map(|text| Id::parse(text))
}
