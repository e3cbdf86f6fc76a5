//! The worktree as it is now: what a walk of it leaves out, and its tree without storing anything.

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;

use crate::checkout::patch::journal::Journal;
use crate::checkout::restore::report::RestoreReport;
use crate::context::Context;
use crate::error::{Kind, Result};
use crate::model::path::{self, is_within};
use crate::observe::{Notice, NoticeLevel, Observer};
use crate::query::compare::{Change, Letter};
use crate::refs::head::Head;
use crate::repo::Repo;
use crate::repo::worktree::RestoredBy;
use crate::snapshot::commit::{Snapshot, Source, snapshot};
use crate::snapshot::output::Output;
use crate::snapshot::walk::rules::Rules;
use crate::snapshot::walk::unrestored::Unrestored;

/// New files of a directory with this bit have its group.
const SETGID: u32 = 0o2000;

/// What a walk of the worktree leaves out.
#[derive(Clone, Debug, Default)]
pub struct WalkOptions {
    /// Patterns of gitignore grammar.
    pub exclude: Vec<String>,
    /// Directories marked by CACHEDIR.TAG.
    pub skip_cache_dirs: bool,
    /// Other file systems than that of the source.
    pub one_file_system: bool,
    /// Files with more bytes than this.
    pub larger_than: Option<u64>,
    /// Directories that only hold others, by path: their own metadata is not taken. The empty path is the source itself.
    pub places: Vec<Vec<u8>>,
}

impl WalkOptions {
    /// The rules for a walk; the repository itself is always left out.
    pub fn rules(&self, context: &Context) -> Result<Rules> {
        let repository = std::fs::metadata(&context.repository).ok().map(|m| (m.dev(), m.ino()));
        let mut rules = Rules::new(self.skip_cache_dirs, self.one_file_system, repository);
        rules.exclude(&self.exclude)?;
        rules.set_places(&self.places);
        rules.exclude_larger_than(self.larger_than);
        Ok(rules)
    }

    /// Warns of patterns that cannot match anything.
    pub fn warn(&self, context: &Context, observer: &dyn Observer) {
        for (pattern, why) in Rules::never_match(&self.exclude, &context.worktree) {
            let message = format!("the pattern `{}` excludes nothing: {why}", path::display(pattern.as_bytes()));
            observer.notice(Notice { level: NoticeLevel::Warning, path: Vec::new(), message });
        }
    }
}

/// The catalogue's number of the worktree; `None` where there is no catalogue.
pub fn worktree_number(repo: &Repo, context: &Context) -> Option<i64> {
    repo.catalogue().ok()?.worktree(context.worktree.as_os_str().as_bytes()).ok()
}

/// What checkouts of the worktree could not restore for lack of privilege; `None` if no such checkout is known.
pub fn unrestored(context: &Context, repo: &Repo) -> Result<Option<Unrestored>> {
    let worktree = repo.worktree(&context.worktree)?;
    let by = worktree.restored_by()?;
    if by.is_empty() {
        return Ok(None);
    }
    let mut versions = Vec::from_iter(Head::read(context, repo)?.base);
    // Files may already be as the version says that an interrupted checkout was about.
    if let Ok(Some(interrupted)) = Journal::read(worktree.state_dir()) {
        versions.extend(interrupted.others.iter().rev().copied().chain([interrupted.goal.target]).rev());
    }
    let mut bases = Vec::new();
    for version in versions {
        match repo.commit_cached(&version) {
            // A damaged old version must not stand in the way of a new one.
            Err(e) if e.kind() == Kind::Integrity => {}
            commit => bases.push(commit?.tree),
        }
    }
    let mut groups: BTreeSet<u32> =
        rustix::process::getgroups().unwrap_or_default().into_iter().map(|group| group.as_raw()).collect();
    groups.insert(rustix::process::getegid().as_raw());
    Ok(Some(Unrestored { by, bases, groups }))
}

/// Remembers that this process checked the worktree out without the privileges that `done` needed.
pub fn remember_unrestored(context: &Context, repo: &Repo, done: &RestoreReport) -> Result<()> {
    let user = rustix::process::geteuid();
    if user.is_root() && done.denied == 0 {
        return Ok(());
    }
    let dir = std::fs::metadata(&context.worktree).ok().filter(|dir| dir.mode() & SETGID != 0);
    let gid = dir.map_or_else(|| rustix::process::getegid().as_raw(), |dir| dir.gid());
    let owners = !user.is_root() || done.owners_lost > 0;
    repo.worktree(&context.worktree)?.add_restored_by(RestoredBy { uid: user.as_raw(), gid, owners })
}

/// Forgets what checkouts could not restore, so that the next one tries to restore it again.
pub fn forget_unrestored(context: &Context, repo: &Repo) -> Result<()> {
    let worktree = repo.worktree(&context.worktree)?;
    if !worktree.restored_by()?.is_empty() {
        if let Some(number) = worktree_number(repo, context) {
            repo.catalogue()?.clear_stat(number)?;
        }
        worktree.forget_restored_by()?;
    }
    Ok(())
}

/// Looks at the worktree; `repo` then answers for its trees from memory.
pub fn look(context: &Context, repo: &Repo, walk: &WalkOptions, observer: &dyn Observer) -> Result<Snapshot> {
    if let Some(mount) = &context.mount {
        let (tree, totals, shot) = mount.look(repo, &walk.exclude, observer)?;
        for path in shot.skipped {
            let message = "sockets are not kept".to_owned();
            observer.notice(Notice { level: NoticeLevel::Skipped, path, message });
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

/// What a look at the worktree could not read or did not find still: it is told as that, not as what it seems to be.
#[derive(Default)]
pub struct Unstable {
    paths: BTreeSet<Vec<u8>>,
    told: BTreeSet<Vec<u8>>,
}

impl Unstable {
    /// Of a look.
    pub fn new(snapshot: &Snapshot) -> Self {
        Self { paths: snapshot.unstable.iter().cloned().collect(), told: BTreeSet::new() }
    }

    /// How a change is told; `None` where the directory above, which could not be read, stands for it.
    pub fn told(&mut self, mut change: Change) -> Option<Change> {
        if self.paths.contains(&change.path) {
            self.told.insert(change.path.clone());
            change.letter = Letter::Unstable;
        } else if change.letter == Letter::Deleted && self.paths.iter().any(|dir| is_within(&change.path, dir)) {
            return None;
        }
        Some(change)
    }

    /// What no change has told of yet, and is asked for or lies above that.
    pub fn rest(self, asked: &[Vec<u8>]) -> impl Iterator<Item = Change> {
        let untold = self.paths.into_iter().filter(move |path| !self.told.contains(path));
        let wanted = |path: &Vec<u8>| {
            asked.is_empty() || asked.iter().any(|asked| is_within(path, asked) || is_within(asked, path))
        };
        let change = |path| Change { letter: Letter::Unstable, path, from: None, old: None, new: None };
        untold.filter(wanted).map(change)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_is_not_told_as_deleted() {
        let change = |letter, path: &str| Change { letter, path: path.into(), from: None, old: None, new: None };
        let made = || Unstable {
            paths: ["dir", "file", "other"].iter().map(|p| p.as_bytes().to_vec()).collect(),
            told: BTreeSet::new(),
        };
        let mut unstable = made();
        let told = unstable.told(change(Letter::Deleted, "file")).unwrap();
        assert_eq!(told.letter, Letter::Unstable);
        assert!(unstable.told(change(Letter::Deleted, "dir/below")).is_none());
        assert_eq!(unstable.told(change(Letter::Deleted, "files")).unwrap().letter, Letter::Deleted);
        let rest = |unstable: Unstable, asked: &[&str]| {
            let asked: Vec<_> = asked.iter().map(|p| p.as_bytes().to_vec()).collect();
            unstable.rest(&asked).map(|c| String::from_utf8(c.path).unwrap()).collect::<Vec<_>>()
        };
        assert_eq!(rest(unstable, &[]), ["dir", "other"]);
        assert_eq!(rest(made(), &["dir/below", "none"]), ["dir"]);
    }
}
