//! The roots of a mark: the versions that refs name or named recently, and the versions of roots
//! without a log.
//!
//! A ref that cannot be read is an error, because the versions that it names would look unneeded.

use std::collections::{BTreeSet, HashSet};
use std::time::Duration;

use super::reflogs::RefLogs;
use crate::error::{Kind, Result};
use crate::format::refentry::RefEntry;
use crate::model::entry::Time;
use crate::model::id::{Id, ObjectKind};
use crate::model::refname::RefKind;
use crate::repo::Repo;
use crate::repo::gclog::GcState;
use crate::repo::refs::value_of;
use crate::repo::trashlog::TrashState;
use crate::repo::whole::CopyDemand;

/// A version that something other than a ref needs: the base of a worktree, an overlay, a lease.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LooseRoot {
    /// The holder of the version, for messages: `worktree /srv/db`.
    pub name: String,
    pub id: Id,
    /// Trees that are needed in addition to the tree of the version.
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
    /// Values in the logs of refs, with the time at which the entry becomes too old, in seconds
    /// since 1970.
    pub logged: Vec<(Id, i64)>,
}

impl Roots {
    /// Reads all refs, including deleted ones. Entries of their logs count while they are younger
    /// than `keep_log`. Files of worktrees that are in the trash since `purged_until` or earlier do
    /// not count.
    pub(super) fn read(
        repo: &Repo,
        logs: &RefLogs,
        keep_log: Duration,
        purged_until: Option<i64>,
        now: Time,
        loose: &LooseRoots<'_>,
    ) -> Result<Self> {
        let since = now.secs.saturating_sub_unsigned(keep_log.as_secs());
        let (mut all, mut tips, mut logged) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
        for log in logs.read(repo)? {
            // Fences and first entries repeat the value.
            let moves = || log.entries.iter().filter(|entry| entry.old != entry.new);
            match (moves().next().and_then(value_of), purged_until) {
                (Some(list), Some(until)) if log.kind == RefKind::Trash => {
                    all.extend(younger(repo, &list, until)?);
                }
                (Some(tip), _) => {
                    tips.insert(tip);
                    all.insert(tip);
                }
                (None, _) => {}
            }
            // Files that left the trash of a worktree are not needed any more.
            let is_kept = |entry: &&RefEntry| entry.time > since && log.kind != RefKind::Trash;
            for entry in moves().filter(is_kept) {
                all.extend(values(entry));
                let until = entry.time.saturating_add_unsigned(keep_log.as_secs());
                logged.extend(values(entry).map(|id| (id, until)));
            }
        }
        Ok(Self {
            refs: all.into_iter().collect(),
            tips,
            loose: loose()?,
            logged,
        })
    }

    /// Removes previous values of refs whose data an earlier gc has collected, because it kept such
    /// values for a shorter time. Current values of refs stay.
    pub(super) fn leave_out_collected(
        &mut self,
        repo: &Repo,
        state: &GcState,
        trash: &TrashState,
    ) -> Result<()> {
        // A partial or lazy clone may lack data of any version.
        let is_partial = Repo::partial(repo.path()).is_some() || repo.is_lazy();
        if state.dead_number == 0 || is_partial || self.refs.len() == self.tips.len() {
            return Ok(());
        }
        let mut reached: HashSet<Id> = HashSet::new();
        let mut todo: Vec<Id> = self.tips.iter().copied().collect();
        while let Some(id) = todo.pop() {
            if reached.insert(id)
                // The mark reports what is missing.
                && let Ok(commit) = repo.commit_cached(&id)
            {
                todo.extend(commit.parents);
            }
        }
        // The versions below each value that nothing else reaches; `None` if a commit is missing.
        let mut chains: Vec<(Id, Option<BTreeSet<Id>>)> = Vec::new();
        for value in &self.refs {
            let mut chain = Some(BTreeSet::new());
            let mut todo = vec![*value];
            while let (Some(id), Some(ids)) = (todo.pop(), &mut chain) {
                if reached.contains(&id) || !ids.insert(id) {
                    continue;
                }
                match repo.commit_cached(&id) {
                    Ok(commit) if repo.has(ObjectKind::Commit, &id)? => todo.extend(commit.parents),
                    // Damage is not the trace of an earlier gc.
                    Err(e)
                        if e.kind() != Kind::Integrity || repo.has(ObjectKind::Commit, &id)? =>
                    {
                        return Err(e);
                    }
                    _ => chain = None,
                }
            }
            chains.push((*value, chain));
        }
        let all: BTreeSet<Id> = chains
            .iter()
            .filter_map(|(_, chain)| chain.as_ref())
            .flatten()
            .copied()
            .filter(|id| !trash.contains(id))
            .collect();
        let all: Vec<Id> = all.into_iter().collect();
        let without_data: BTreeSet<Id> = repo
            .versions_without_data(&all, CopyDemand::Exists)?
            .into_iter()
            .collect();
        self.refs = chains
            .into_iter()
            .filter(|(_, chain)| {
                chain
                    .as_ref()
                    .is_some_and(|ids| ids.is_disjoint(&without_data))
            })
            .map(|(value, _)| value)
            .collect();
        Ok(())
    }

    /// Returns all versions that no policy and no command may forget: tips of refs, and versions of
    /// roots without a log.
    pub fn protected(&self) -> BTreeSet<Id> {
        self.tips
            .iter()
            .copied()
            .chain(self.loose.iter().map(|root| root.id))
            .collect()
    }
}

/// Returns the commits in the trash of a worktree that are younger than `until`.
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
