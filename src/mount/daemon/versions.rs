//! Snapshots of a mount for commits, and switches to other versions.
//!
//! A snapshot that is not confirmed is aborted, no matter how its connection ends.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::resume::version_root;
use super::service::{ExclusiveSection, MountService};
use super::setup::{MountBase, SNAPSHOT, VersionTree};
use crate::error::Result;
use crate::model::id::Id;
use crate::model::path::display;
use crate::mount::control::{ControlConnection, SnapshotInfo};
use crate::mount::error::MountError;
use crate::mount::names::{EntryName, StaleName};
use crate::mount::overlay::Fact;
use crate::mount::processes::nested::nested_mounts;
use crate::mount::processes::writers;
use crate::mount::snapshot_tree::{TreeInput, build_tree};
use crate::mount::view::{MountSnapshot, OpenWriter, SnapshotTree, SwitchOutcome, SwitchRequest};
use crate::observe::{Notice, Observer};
use crate::repo::writer::RootCheck;
use crate::snapshot::output::Output;
use crate::snapshot::walk::rules::Rules;

/// Guard of a running snapshot; dropping the guard aborts the snapshot.
pub(super) struct SnapshotGuard<'i> {
    section: ExclusiveSection<'i>,
    snapshot: Option<MountSnapshot>,
}

impl SnapshotGuard<'_> {
    fn end(mut self, taken: Option<&SnapshotTree>) {
        if let Some(snapshot) = self.snapshot.take() {
            self.section.0.view.end_snapshot(&snapshot, taken);
        }
    }
}

impl Drop for SnapshotGuard<'_> {
    fn drop(&mut self) {
        if let Some(snapshot) = self.snapshot.take() {
            self.section.0.view.end_snapshot(&snapshot, None);
        }
    }
}

/// A stored snapshot that is not confirmed yet.
pub(super) struct StoredSnapshot<'i> {
    guard: SnapshotGuard<'i>,
    tree: SnapshotTree,
}

/// The options of a snapshot that a client takes: see [`ControlRequest::TakeSnapshot`].
pub(super) struct SnapshotWish {
    pub(super) store: bool,
    pub(super) exclude: Vec<String>,
    pub(super) ignored: bool,
}

impl MountService {
    /// Enters the exclusive section and takes a snapshot.
    pub(super) fn begin(&self, store: bool) -> Result<SnapshotGuard<'_>> {
        let section = self.exclusive();
        Ok(SnapshotGuard {
            section,
            snapshot: Some(self.view.begin_snapshot(store)?),
        })
    }

    /// Builds the tree of the snapshot that was `begun` on the same connection, or of a new one,
    /// and sends the reply.
    pub(super) fn snapshot<'i>(
        &'i self,
        begun: Option<SnapshotGuard<'i>>,
        wanted: &SnapshotWish,
        pending: &mut Option<StoredSnapshot<'i>>,
        connection: &mut ControlConnection,
    ) -> std::io::Result<()> {
        let mut objects = Vec::new();
        let info = self.take_snapshot(begun, wanted, pending, &mut objects);
        connection.reply(&info)?;
        connection.send_objects(&objects)
    }

    fn take_snapshot<'i>(
        &'i self,
        begun: Option<SnapshotGuard<'i>>,
        wanted: &SnapshotWish,
        pending: &mut Option<StoredSnapshot<'i>>,
        objects: &mut Vec<(Id, Vec<u8>)>,
    ) -> Result<SnapshotInfo> {
        let mut rules = Rules::new(false, false, None);
        rules.exclude(&wanted.exclude)?;
        let guard = match begun {
            Some(begun) => begun,
            None => self.begin(wanted.store)?,
        };
        let repo = self.lower.repo();
        let skipped_paths = SkippedPaths::default();
        let out = if wanted.store {
            Output::storing(repo, &skipped_paths)?
        } else {
            Output::dry(repo)
        };
        let base = self.base().clone();
        let committed = repo.commit_cached(&base.version)?.tree != base.tree;
        let Some(snapshot) = &guard.snapshot else {
            return Err(MountError::NoSnapshot.into());
        };
        let taken = build_tree(&TreeInput {
            lower: &self.lower,
            snapshot,
            base: &base.tree,
            committed,
            rules: &rules,
            ignored: wanted.ignored,
            out: &out,
            observer: &skipped_paths,
            threads: self.jobs,
        })?;
        // The objects must be durable before the client creates the commit that refers to them.
        // Without storing, they exist only in the memory of this process, so they follow the reply.
        if let Some(sink) = out.sink() {
            sink.finish()?;
        } else {
            *objects = repo.volatile().take();
        }
        let info = SnapshotInfo {
            tree: taken.tree.to_string(),
            files: taken.totals.files,
            dirs: taken.totals.dirs,
            bytes: taken.totals.bytes,
            new_bytes: out.new_bytes(),
            stored_bytes: out.stored_bytes(),
            skipped: skipped_paths.paths.into_inner(),
            objects: objects.len() as u64,
        };
        if wanted.store {
            // If the confirmation never arrives, the next mount recognises the commit by this tree.
            let facts = vec![Fact::new(SNAPSHOT, taken.tree.to_string())];
            self.view
                .sync_all_with(facts)
                .map_err(|e| self.io("flush", e.0))?;
            self.base().snapshot = Some(taken.tree);
            *pending = Some(StoredSnapshot { guard, tree: taken });
        }
        Ok(info)
    }

    pub(super) fn end_snapshot(
        &self,
        pending: Option<StoredSnapshot<'_>>,
        version: &str,
        branch: Option<String>,
        whole: bool,
    ) -> Result<()> {
        let Some(StoredSnapshot { guard, tree }) = pending else {
            return Err(MountError::NoSnapshot.into());
        };
        // A version of selected paths lacks some of the changes, so all of them stay uncommitted.
        guard.end(whole.then_some(&tree));
        let version = Id::parse(version);
        let mut base = self.base();
        base.version = version.unwrap_or(base.version);
        base.branch = branch.or_else(|| base.branch.clone());
        let facts = base.facts(&self.note.revision);
        drop(base);
        self.view
            .sync_all_with(facts)
            .map_err(|e| self.io("flush", e.0))?;
        // The commit has just made the version the value of a ref, so that nothing of it was
        // collected.
        if let (Some(leases), Some(version)) = (&self.leases, version) {
            leases.follow_commit(self.lower.repo(), &version, &*self.log);
        }
        Ok(())
    }

    pub(super) fn switch_to(
        &self,
        version: &str,
        branch: Option<String>,
        force: bool,
        check: &RootCheck,
    ) -> Result<()> {
        let _exclusive = self.exclusive();
        let id = Id::parse(version).unwrap_or(Id([0; 32]));
        let commit = self.lower.repo().commit_cached(&id)?;
        if id == self.base().version && !force {
            // Only the branch changes.
            let mut base = self.base();
            base.branch = branch;
            let facts = base.facts(&self.note.revision);
            drop(base);
            return self
                .view
                .sync_all_with(facts)
                .map_err(|e| self.io("flush", e.0));
        }
        self.show(
            VersionTree {
                version: id,
                tree: commit.tree,
            },
            branch,
            force,
            check,
        )
    }

    /// Shows another version. Fails if files are open for writing, if a mount point would be lost,
    /// or if there are uncommitted changes and `force` is not set.
    pub(super) fn show(
        &self,
        version: VersionTree,
        branch: Option<String>,
        force: bool,
        check: &RootCheck,
    ) -> Result<()> {
        let VersionTree { version, tree } = version;
        let base = self.base().clone();
        let next = MountBase {
            version,
            tree,
            branch: branch.or(base.branch),
            snapshot: None,
        };
        // The lease of the next version exists before the mount needs the version.
        let repo = self.lower.repo();
        let leases = match &self.leases {
            Some(leases) => Some((leases, leases.prepare(repo, &version, check, &*self.log)?)),
            None => None,
        };
        let switched = self.switch_view(next, force);
        if let Some((leases, next)) = leases {
            match &switched {
                Ok(()) => {
                    if let Some(key) = leases.replace(next) {
                        self.note_lease(key)?;
                    }
                }
                Err(_) => leases.release(next),
            }
        }
        switched
    }

    fn switch_view(&self, next: MountBase, force: bool) -> Result<()> {
        /// The kernel reports the close of a file with a delay. If no process has the file open,
        /// wait this long for the report.
        const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);
        let tree = next.tree;
        let request = SwitchRequest {
            root: version_root(&self.lower, &tree)?,
            facts: next.facts(&self.note.revision),
            force,
            nested: nested_mounts(self.device),
        };
        let since = Instant::now();
        let stale = loop {
            let written = match self.view.switch(&request)? {
                SwitchOutcome::Done(stale) => break stale,
                SwitchOutcome::Written(written) => written,
            };
            let with_process = |file: &OpenWriter| {
                let process = file
                    .process
                    .clone()
                    .or_else(|| writers::find_writer(self.device, file.ino))?;
                Some(OpenWriter {
                    ino: file.ino,
                    path: file.path.clone(),
                    process: Some(process),
                })
            };
            let used = written.iter().find_map(with_process);
            let late = || {
                written
                    .into_iter()
                    .next()
                    .filter(|_| since.elapsed() > CLOSE_TIMEOUT)
            };
            if let Some(OpenWriter { path, process, .. }) = used.or_else(late) {
                return Err(MountError::Written {
                    path: display(&path).to_string(),
                    user: process,
                }
                .into());
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        *self.base() = next;
        // Replies from before the switch can still fill the kernel's cache. Wait until the kernel
        // has processed them, because an invalidation before that would be lost.
        for dir in &stale.dirs {
            self.kernel_cache.wait_for(*dir);
        }
        for StaleName {
            name: EntryName { parent, name },
            removed,
        } in &stale.names
        {
            match removed {
                Some(ino) => self.kernel_cache.delete_name(*parent, *ino, name),
                None => self.kernel_cache.invalidate_name(*parent, name),
            }
        }
        // The kernel caches the list of names of a directory in the pages of its inode.
        for ino in &stale.dirs {
            self.kernel_cache.invalidate_inode(*ino);
        }
        for ino in &stale.attributes {
            self.kernel_cache.invalidate_attributes(*ino);
        }
        self.hydrator.restart();
        Ok(())
    }
}

/// Collects the paths that a snapshot leaves out.
#[derive(Default)]
struct SkippedPaths {
    paths: Mutex<Vec<Vec<u8>>>,
}

impl Observer for SkippedPaths {
    fn notice(&self, notice: Notice) {
        self.paths.lock().push(notice.path);
    }
}
