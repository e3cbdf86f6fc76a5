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
    /// Values of refs in their logs, and when the entry becomes too old, in seconds since 1970.
    pub logged: Vec<(Id, i64)>,
}

impl Roots {
    /// Reads all refs, including deleted ones. Entries of their logs count while they are younger
    /// than `keep_log`.
    pub fn read(
        repo: &Repo,
        keep_log: Duration,
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
        let found = Mutex::new((BTreeSet::new(), BTreeSet::new(), Vec::new()));
        let threads = repo.store().abilities().in_flight.min(logs.len());
        fan_out::for_each(threads, logs.into_iter(), |(kind, name)| {
            let log = repo.refs().log(kind, &name)?;
            let mut found = found.lock();
            let (all, tips, old) = &mut *found;
            if let Some(tip) = log.first().and_then(value_of) {
                tips.insert(tip);
                all.insert(tip);
            }
            for entry in log.iter().filter(|entry| entry.time > since) {
                all.extend(values(entry));
                let until = entry.time.saturating_add_unsigned(keep_log.as_secs());
                old.extend(values(entry).map(|id| (id, until)));
            }
            Ok::<_, Error>(())
        })?;
        let (all, tips, old) = found.into_inner();

        Ok(Self {
            refs: all.into_iter().collect(),
            tips,
            loose: loose()?,
            logged: old,
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

/// Returns the value before an entry, to which `undo` goes back, and the value after the entry.
fn values(entry: &RefEntry) -> impl Iterator<Item = Id> {
    [&entry.old, &entry.new]
        .into_iter()
        .flatten()
        .filter_map(|text| Id::parse(text))
}
