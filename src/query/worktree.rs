//! The worktree: what a walk leaves out, and the tree of its current content, computed without
//! storing anything.

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;

use crate::checkout::patch::journal::Journal;
use crate::checkout::restore::report::RestoreReport;
use crate::context::{Context, MountTree};
use crate::error::{Kind, Result};
use crate::model::path::{self, is_within};
use crate::observe::{Notice, NoticeLevel, Observer};
use crate::query::compare::{Letter, TreeChange};
use crate::refs::head::Head;
use crate::repo::Repo;
use crate::repo::worktree::RestoredBy;
use crate::snapshot::commit::{Snapshot, Source, snapshot};
use crate::snapshot::output::Output;
use crate::snapshot::walk::rules::Rules;
use crate::snapshot::walk::unrestored::Unrestored;

/// With this bit, new files in a directory get its group.
const SETGID: u32 = 0o2000;

/// The files that a walk of the worktree leaves out.
#[derive(Clone, Debug, Default)]
pub struct WalkOptions {
    /// Patterns in gitignore syntax.
    pub exclude: Vec<String>,
    /// Directories marked by CACHEDIR.TAG.
    pub skip_cache_dirs: bool,
    /// File systems other than that of the source.
    pub one_file_system: bool,
    /// Files larger than this, in bytes.
    pub larger_than: Option<u64>,
    /// Paths of directories that only lead to volumes, whose own metadata is left out. The empty
    /// path is the source itself.
    pub places: Vec<Vec<u8>>,
}

impl WalkOptions {
    /// Returns the rules for a walk. The repository itself is always left out.
    pub fn rules(&self, context: &Context) -> Result<Rules> {
        // The repository may also be reached through another path, so it is identified by device
        // and inode.
        let repository = std::fs::metadata(&context.repository)
            .ok()
            .map(|m| (m.dev(), m.ino()));
        let mut rules = Rules::new(self.skip_cache_dirs, self.one_file_system, repository);
        rules.exclude(&self.exclude)?;
        rules.set_places(&self.places);
        rules.exclude_larger_than(self.larger_than);
        Ok(rules)
    }

    /// Warns about patterns that cannot match anything.
    pub fn warn(&self, context: &Context, observer: &dyn Observer) {
        for (pattern, why) in Rules::never_match(&self.exclude, &context.worktree) {
            let message = format!(
                "the exclude pattern `{}` never matches: {why}",
                path::display(pattern.as_bytes())
            );
            observer.notice(Notice {
                level: NoticeLevel::Warning,
                path: Vec::new(),
                message,
            });
        }
    }
}

/// Returns the catalogue's number of the worktree; `None` without a catalogue.
pub fn worktree_number(repo: &Repo, context: &Context) -> Option<i64> {
    repo.catalogue()
        .ok()?
        .worktree(context.worktree.as_os_str().as_bytes())
        .ok()
}

/// Returns what checkouts of the worktree could not restore for lack of privileges; `None` if no
/// such checkout is known.
pub fn unrestored(context: &Context, repo: &Repo) -> Result<Option<Unrestored>> {
    let worktree = repo.worktree(&context.worktree)?;
    let by = worktree.restored_by()?;
    if by.is_empty() {
        return Ok(None);
    }
    let mut versions = Vec::from_iter(Head::read(context, repo)?.base);
    // An interrupted checkout may already have written files of its version.
    if let Ok(Some(interrupted)) = Journal::read(worktree.state_dir()) {
        versions.extend(
            interrupted
                .others
                .iter()
                .rev()
                .copied()
                .chain([interrupted.goal.target])
                .rev(),
        );
    }
    let mut bases = Vec::new();
    for version in versions {
        match repo.commit_cached(&version) {
            // A damaged old version must not prevent a new one.
            Err(e) if e.kind() == Kind::Integrity => {}
            commit => bases.push(commit?.tree),
        }
    }
    let mut groups: BTreeSet<u32> = rustix::process::getgroups()
        .unwrap_or_default()
        .into_iter()
        .map(|group| group.as_raw())
        .collect();
    // getgroups(2) need not include the effective group.
    groups.insert(rustix::process::getegid().as_raw());
    Ok(Some(Unrestored { by, bases, groups }))
}

/// Records that this process checked out the worktree, if the process is not root or lacked
/// privileges to restore everything.
pub fn remember_unrestored(context: &Context, repo: &Repo, done: &RestoreReport) -> Result<()> {
    let user = rustix::process::geteuid();
    // Root restores everything unless a call was denied.
    if user.is_root() && done.denied == 0 {
        return Ok(());
    }
    // In a set-group-ID directory, new files get the group of the directory (inode(7)).
    let dir = std::fs::metadata(&context.worktree)
        .ok()
        .filter(|dir| dir.mode() & SETGID != 0);
    let gid = dir.map_or_else(|| rustix::process::getegid().as_raw(), |dir| dir.gid());
    let owners = !user.is_root() || done.owners_lost > 0;
    repo.worktree(&context.worktree)?
        .add_restored_by(RestoredBy {
            uid: user.as_raw(),
            gid,
            owners,
        })
}

/// Removes the record of what checkouts could not restore, so that the next one tries again.
pub fn forget_unrestored(context: &Context, repo: &Repo) -> Result<()> {
    let worktree = repo.worktree(&context.worktree)?;
    if !worktree.restored_by()?.is_empty() {
        // The stat cache goes first. If the process dies before the second step, the next call
        // repeats both.
        if let Some(number) = worktree_number(repo, context) {
            repo.catalogue()?.clear_stat(number)?;
        }
        worktree.forget_restored_by()?;
    }
    Ok(())
}

/// Computes the tree of the worktree. Its objects are then in the memory of `repo`.
pub fn look(
    context: &Context,
    repo: &Repo,
    walk: &WalkOptions,
    observer: &dyn Observer,
) -> Result<Snapshot> {
    if let Some(mount) = &context.mount {
        let MountTree {
            tree,
            totals,
            skipped,
        } = mount.look(repo, &walk.exclude, observer)?;
        for path in skipped {
            let message = "sockets are not recorded".to_owned();
            observer.notice(Notice {
                level: NoticeLevel::Skipped,
                path,
                message,
            });
        }
        return Ok(Snapshot::of_tree(tree, totals));
    }
    let rules = walk.rules(context)?;
    let out = Output::dry(repo);
    let source = Source {
        dir: &context.worktree,
        only: &[],
        rules: &rules,
        before: None,
        basis: worktree_number(repo, context),
        unrestored: unrestored(context, repo)?,
        threads: context.threads(),
        notes: |_| false,
    };
    snapshot(&out, observer, &source)
}

/// Paths of the worktree that could not be read, or changed while they were read. Their changes are
/// reported as unstable.
#[derive(Default)]
pub struct UnstablePaths {
    paths: BTreeSet<Vec<u8>>,
    reported: BTreeSet<Vec<u8>>,
}

impl UnstablePaths {
    /// Returns the unstable paths of a snapshot.
    pub fn new(snapshot: &Snapshot) -> Self {
        Self {
            paths: snapshot.unstable.iter().cloned().collect(),
            reported: BTreeSet::new(),
        }
    }

    /// Returns the change to report for a path; `None` if an unreadable parent directory is
    /// reported instead.
    pub fn take(&mut self, mut change: TreeChange) -> Option<TreeChange> {
        if self.paths.contains(&change.path) {
            self.reported.insert(change.path.clone());
            change.letter = Letter::Unstable;
        } else if change.letter == Letter::Deleted
            && self.paths.iter().any(|dir| is_within(&change.path, dir))
        {
            // A directory that changed during the walk has incomplete entries, so a missing one is
            // no deletion.
            return None;
        }
        Some(change)
    }

    /// Returns a change for each unstable path that was not reported yet, and that is below or
    /// above a requested path.
    pub fn rest(self, asked: &[Vec<u8>]) -> impl Iterator<Item = TreeChange> {
        let unreported = self
            .paths
            .into_iter()
            .filter(move |path| !self.reported.contains(path));
        let wanted = |path: &Vec<u8>| {
            asked.is_empty()
                || asked
                    .iter()
                    .any(|asked| is_within(path, asked) || is_within(asked, path))
        };
        let change = |path| TreeChange {
            letter: Letter::Unstable,
            path,
            from: None,
            old: None,
            new: None,
        };
        unreported.filter(wanted).map(change)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unreadable_paths_are_not_reported_as_deleted() {
        let change = |letter, path: &str| TreeChange {
            letter,
            path: path.into(),
            from: None,
            old: None,
            new: None,
        };
        let made = || UnstablePaths {
            paths: ["dir", "file", "other"]
                .iter()
                .map(|p| p.as_bytes().to_vec())
                .collect(),
            reported: BTreeSet::new(),
        };
        let mut unstable = made();
        let taken = unstable.take(change(Letter::Deleted, "file")).unwrap();
        assert_eq!(taken.letter, Letter::Unstable);
        assert!(
            unstable
                .take(change(Letter::Deleted, "dir/below"))
                .is_none()
        );
        assert_eq!(
            unstable
                .take(change(Letter::Deleted, "files"))
                .unwrap()
                .letter,
            Letter::Deleted
        );
        let rest = |unstable: UnstablePaths, asked: &[&str]| {
            let asked: Vec<_> = asked.iter().map(|p| p.as_bytes().to_vec()).collect();
            unstable
                .rest(&asked)
                .map(|c| String::from_utf8(c.path).unwrap())
                .collect::<Vec<_>>()
        };
        assert_eq!(rest(unstable, &[]), ["dir", "other"]);
        assert_eq!(rest(made(), &["dir/below", "none"]), ["dir"]);
    }
}
