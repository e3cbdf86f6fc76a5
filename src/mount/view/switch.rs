//! Switching the mount to another version.

use std::collections::HashSet;
use std::sync::Arc;

use super::shared::View;
use crate::error::Result;
use crate::model::id::Id;
use crate::mount::error::MountError;
use crate::mount::names::{EntryRef, Inode, StaleEntries, SwitchAttempt, SwitchDirs, UpperTree};
use crate::mount::overlay::{Fact, FlushRows, GIVEN, InodeChange, NameChange, NameTarget, RETIRED};
use crate::mount::processes::nested::NestedMount;
use crate::mount::processes::writers::WriterProcess;
use crate::sys::io_error::IoError;

/// The outcome of a request to switch.
pub enum SwitchOutcome {
    /// The switch is done. The kernel has to forget these entries.
    Done(StaleEntries),
    /// The switch is refused, because files are open for writing.
    Written(Vec<OpenWriter>),
}

/// A file that is open for writing.
pub struct OpenWriter {
    /// Inode number.
    pub ino: u64,
    /// Path in the mount.
    pub path: Vec<u8>,
    /// A process that has the file open, if it is known.
    pub process: Option<WriterProcess>,
}

/// A request to show another version.
pub struct SwitchRequest {
    /// The root of the version, without anything below it.
    pub root: UpperTree,
    /// New facts about the overlay.
    pub facts: Vec<Fact>,
    /// Whether uncommitted changes are discarded.
    pub force: bool,
    /// Mounts that must stay where they are.
    pub nested: Vec<NestedMount>,
}

/// The result of one attempt to switch.
enum SwitchStep {
    Finished(SwitchOutcome),
    /// These directories have to be read before the next attempt.
    Unread(Vec<Id>),
}

impl View {
    /// Switches to another version. Fails if a mount point would be lost, or if there are
    /// uncommitted changes and `force`, which discards the changes, is not set.
    ///
    /// The directories that the plan needs are read while no lock is held, so that no program waits
    /// for the reads.
    pub fn switch(&self, request: &SwitchRequest) -> Result<SwitchOutcome> {
        let mut dirs = SwitchDirs::default();
        loop {
            let first = self
                .names()
                .plan_switch(request.root.clone(), &dirs, &request.nested);
            if let SwitchAttempt::Unread(trees) = first {
                dirs.read(&self.lower, &trees)?;
                continue;
            }
            match self.switch_once(request, &dirs)? {
                SwitchStep::Finished(outcome) => return Ok(outcome),
                // The name table has changed since the last attempt.
                SwitchStep::Unread(trees) => dirs.read(&self.lower, &trees)?,
            }
        }
    }

    /// Makes one attempt to switch, with the directories in `dirs`.
    fn switch_once(&self, request: &SwitchRequest, dirs: &SwitchDirs) -> Result<SwitchStep> {
        let _flushing = self.flushing.lock();
        let _barrier = self.write_barrier.write();
        let mapped = self
            .kernel_mapped_files()
            .into_iter()
            .map(|file| (file.ino, Some(file.process)));
        let mut names = self.names();
        let written: Vec<_> = mapped
            .chain(names.open_for_write().into_iter().map(|ino| (ino, None)))
            .collect();
        // After the switch, a write to a retired inode fails with `ESTALE`, so a switch must not
        // happen under a writer.
        if !written.is_empty() {
            let mut path = |ino| names.path(ino).ok().flatten().unwrap_or_default();
            let all = written.into_iter().map(|(ino, process)| OpenWriter {
                ino,
                path: path(ino),
                process,
            });
            return Ok(SwitchStep::Finished(SwitchOutcome::Written(all.collect())));
        }
        let is_changed = |inode: &Arc<Inode>| inode.data().is_some_and(|data| data.is_changed());
        if !request.force && (names.any_changed() || names.upper().inodes.values().any(is_changed))
        {
            return Err(MountError::Dirty.into());
        }
        let mut plan = match names.plan_switch(request.root.clone(), dirs, &request.nested) {
            SwitchAttempt::Ready(plan) => *plan,
            SwitchAttempt::Unread(trees) => return Ok(SwitchStep::Unread(trees)),
            SwitchAttempt::MountPoint(at) => return Err(MountError::MountPoint { at }.into()),
        };
        if let Some(store) = &self.store {
            // Write the database first: if that fails, the mount still shows the old version.
            store.replace(
                &kept_rows(&plan.upper, &request.facts)
                    .map_err(IoError::at("flush", self.space.dir()))?,
            )?;
        }
        let (retired, dropped) = (
            std::mem::take(&mut plan.retired),
            std::mem::take(&mut plan.dropped),
        );
        let stale = names.apply_switch(plan);
        let files = |inode: &Arc<Inode>| inode.data().is_some() && inode.nlink > 0;
        let kept: HashSet<u64> = names
            .upper()
            .inodes
            .iter()
            .filter(|(_, i)| files(i))
            .map(|(ino, _)| *ino)
            .collect();
        drop(names);
        self.unsynced().retain(|ino, _| kept.contains(ino));
        self.clear_listings();
        retired.iter().for_each(|data| data.retire());
        let removed_files = std::mem::take(&mut *self.removed_files.lock());
        removed_files
            .iter()
            .chain(&dropped)
            .for_each(|data| data.remove_upper());
        Ok(SwitchStep::Finished(SwitchOutcome::Done(stale)))
    }
}

/// Returns the rows for the new version: all inodes and names that the switch has kept. Marks their
/// files as not sealed, and syncs the files whose length a crash could revert.
fn kept_rows(upper: &UpperTree, facts: &[Fact]) -> std::io::Result<FlushRows> {
    let named = upper.inodes.iter().filter(|(_, inode)| inode.nlink > 0);
    let inodes: Vec<_> = named
        .map(|(ino, inode)| InodeChange::new(*ino, inode, false))
        .collect();
    for change in &inodes {
        let Some(data) = change.inode.as_ref().and_then(|inode| inode.data()) else {
            continue;
        };
        // `OverlayDb::replace` removes all seals.
        data.set_sealed(false);
        if data.must_sync_first() {
            // A length that a crash could revert must not be recorded.
            data.sync().map(|blocks| data.return_unstored(blocks))?;
        }
    }
    let change = |parent: u64, name: &[u8], ino: Option<u64>| NameChange {
        name: EntryRef::new(parent, name).to_owned(),
        target: ino.map_or(NameTarget::Removed, NameTarget::Inode),
    };
    let names = upper
        .names
        .iter()
        .flat_map(|(dir, names)| names.iter().map(|(name, ino)| change(*dir, name, *ino)));
    let mut facts = facts.to_vec();
    let retired: Vec<u8> = upper
        .retired
        .iter()
        .flat_map(|ino| ino.to_be_bytes())
        .collect();
    let assigned: Vec<u8> = upper
        .assigned
        .iter()
        .flat_map(|(from, to)| [*from, *to])
        .flat_map(u64::to_be_bytes)
        .collect();
    facts.extend([Fact::new(RETIRED, retired), Fact::new(GIVEN, assigned)]);
    Ok(FlushRows {
        inodes,
        names: names.collect(),
        facts,
        ..FlushRows::default()
    })
}
