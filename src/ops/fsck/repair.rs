//! Repairs a repository: opens the sources of the repair, and alternates between checking and
//! repairing until nothing more can be repaired.

use std::collections::HashSet;
use std::path::Path;

use parking_lot::Mutex;
use tempfile::TempDir;

use super::options::{FsckOptions, RepairOptions, RepairPlace};
use crate::check::fsck::{CheckOptions, check, forget_intact};
use crate::check::rebuild;
use crate::check::repair::{Repair, RepairReport, RepairSources, SearchedDirs, SourceRepo, Target};
use crate::check::report::CheckReport;
use crate::context::{Context, Remote};
use crate::error::{Kind, Result, with_causes};
use crate::model::id::Id;
use crate::observe::{Notice, NoticeLevel, Observer, Silent};
use crate::query::worktree::unrestored;
use crate::repo::Repo;
use crate::snapshot::commit::{Source, snapshot};
use crate::snapshot::output::Output;
use crate::store::local::LocalStore;
use crate::sync::error::SyncError;
use crate::sys::io_error::IoError;

/// Limit on the turns of checking and repairing.
const TURNS: usize = 100;

/// A repair and its options.
pub(super) struct RepairRun<'a> {
    pub(super) context: &'a Context,
    pub(super) options: &'a FsckOptions,
    pub(super) how: &'a RepairOptions,
    pub(super) check: CheckOptions,
    pub(super) observer: &'a dyn Observer,
}

impl RepairRun<'_> {
    /// Repairs the repository. Returns the result of the last check.
    pub(super) fn run(&self) -> Result<(CheckReport, RepairReport)> {
        let observer = &ReportOnce {
            inner: self.observer,
            shown: Mutex::default(),
        };
        let rebuild_trees = |dir: &Path| self.rebuild_trees(dir);
        let sources = RepairSources {
            repos: self.repos()?,
            dirs: self.dirs()?,
            rebuild_trees: &rebuild_trees,
        };
        let scratch =
            TempDir::new().map_err(|e| IoError::new("create", "a temporary directory", e))?;
        let scratch = LocalStore::new(scratch.path().to_path_buf());
        let mut repair = Repair::default();
        let mut first: Option<CheckReport> = None;
        let mut repo = self.open()?;
        for _ in 0..TURNS {
            // Only the first check reads the requested data; later ones read what was damaged.
            let data = if first.is_some() {
                None
            } else {
                self.check.data
            };
            let mut found = check(&repo, &CheckOptions { data, ..self.check }, observer)?;
            found.data = first.as_ref().map_or(found.data, |first| first.data);
            let staging = match repo.as_local() {
                Some(local) if !self.options.dry_run => local.files(),
                _ => &scratch,
            };
            let target = Target {
                repo: &repo,
                staging,
                observer,
                dry_run: self.options.dry_run,
                accept_older: self.how.accept_older,
                who: &self.context.author,
                time: self.context.moved_at(),
            };
            let goes_on = repair.round(&target, &found, &sources)?;
            let rebuild = repair.take_rebuild();
            if rebuild && !self.options.dry_run {
                let rebuilt = rebuild::segments(repo.ensure_local()?, observer, false)?;
                rebuild::finish(&self.open()?, rebuilt, observer)?;
            }
            // A dry run changes nothing, so its first check, which read the data, is the result.
            if !self.options.dry_run || first.is_none() {
                first = Some(found);
            }
            if !goes_on || rebuild && self.options.dry_run {
                break;
            }
            if !self.options.dry_run {
                // Open files and the index are those from before the repair.
                repo = self.open()?;
            }
        }
        // Forget the noted damage that the repair has removed.
        if !self.options.dry_run {
            forget_intact(&repo, &[]);
        }
        Ok((first.unwrap_or_default(), repair.into_report()))
    }

    /// Opens the repository to repair.
    fn open(&self) -> Result<Repo> {
        match self
            .options
            .remote
            .as_ref()
            .or(self.context.remote_repository.as_ref())
        {
            // Blocks in the cache and packs of the local repository would hide the damage.
            Some(remote) => self.context.open_uncached(remote),
            None => self.context.repo(),
        }
    }

    fn repos(&self) -> Result<Vec<SourceRepo>> {
        let mut repos = Vec::new();
        for place in &self.how.from {
            if let RepairPlace::Repository(remote) = place {
                // The user has named it, so an error ends the repair.
                repos.push(SourceRepo {
                    name: remote.name.clone(),
                    repo: self.context.open_remote(remote)?,
                });
            }
        }
        let is_here = Repo::is_at(&self.context.repository);
        let target = self
            .options
            .remote
            .as_ref()
            .or(self.context.remote_repository.as_ref());
        if target.is_some() && is_here {
            let name = self.context.repository.display().to_string();
            repos.push(SourceRepo {
                name,
                repo: self.context.repo()?,
            });
        }
        let id = match target {
            None => self.context.repo()?.marker().id.clone(),
            Some(_) if is_here => self.context.repo()?.marker().id.clone(),
            // Without a local repository, there is no id to compare with, so only the named sources
            // are used.
            Some(_) => return Ok(repos),
        };
        for remote in &self.context.remotes {
            let is_target = target.is_some_and(|target| target.location == remote.location);
            if is_target || repos.iter().any(|source| source.name == remote.name) {
                continue;
            }
            match self.source(remote, &id) {
                Ok(repo) => repos.push(SourceRepo {
                    name: remote.name.clone(),
                    repo,
                }),
                Err(e) if e.kind() == Kind::Cancelled => return Err(e),
                // A remote of the settings is optional, so an error skips it.
                Err(e) => {
                    let message = format!(
                        "skipped the source `{}`: {}",
                        remote.name,
                        with_causes(e.as_error())
                    );
                    self.observer.notice(Notice {
                        level: NoticeLevel::Info,
                        path: Vec::new(),
                        message,
                    });
                }
            }
        }
        Ok(repos)
    }

    /// Opens a remote of the settings, which must be a copy of the repository with this id.
    fn source(&self, remote: &Remote, id: &str) -> Result<Repo> {
        let repo = self.context.open_remote(remote)?;
        let theirs = repo.marker().id.clone();
        if theirs != id {
            return Err(SyncError::Foreign {
                place: repo.store().place(),
                theirs,
                ours: id.to_owned(),
            }
            .into());
        }
        Ok(repo)
    }

    fn dirs(&self) -> Result<SearchedDirs> {
        let mut dirs = SearchedDirs::default();
        for place in &self.how.from {
            if let RepairPlace::Directory(dir) = place {
                dirs.named.push(dir.clone());
            }
        }
        if Repo::is_at(&self.context.repository) {
            let states = self.context.repo()?.worktree_states()?.into_iter();
            dirs.worktrees
                // A damaged state names no worktree.
                .extend(states.filter_map(|(_, state)| Some(state.ok()?.path.into())));
        }
        dirs.worktrees.extend(self.how.mounts.iter().cloned());
        Ok(dirs)
    }

    /// Returns the trees and lists that a commit of a directory would contain.
    fn rebuild_trees(&self, dir: &Path) -> Result<Vec<(Id, Vec<u8>)>> {
        let context = Context {
            worktree: dir.to_path_buf(),
            mount: None,
            ..self.context.clone()
        };
        let repo = context.repo()?;
        let rules = self.how.walk.rules(&context)?;
        let source = Source {
            dir,
            only: &[],
            rules: &rules,
            before: None,
            // Records of directories rely on the damaged objects.
            basis: None,
            unrestored: unrestored(&context, &repo).unwrap_or_default(),
            threads: context.threads(),
            notes: |_| false,
        };
        snapshot(&Output::dry(&repo), &Silent, &source)?;
        Ok(repo.volatile().take())
    }
}

/// Passes each notice on once, because a repair checks several times.
struct ReportOnce<'a> {
    inner: &'a dyn Observer,
    shown: Mutex<HashSet<String>>,
}

impl Observer for ReportOnce<'_> {
    fn phase(&self, name: &'static str, files: Option<u64>, bytes: Option<u64>) {
        self.inner.phase(name, files, bytes);
    }

    fn advance(&self, files: u64, bytes: u64) {
        self.inner.advance(files, bytes);
    }

    fn on_the_way(&self, bytes: u64) {
        self.inner.on_the_way(bytes);
    }

    fn notice(&self, notice: Notice) {
        if self.shown.lock().insert(notice.message.clone()) {
            self.inner.notice(notice);
        }
    }

    fn step(&self, name: &'static str) {
        self.inner.step(name);
    }

    fn cancelled(&self) -> bool {
        self.inner.cancelled()
    }
}
