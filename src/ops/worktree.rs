//! The worktree as it is now: what a walk of it leaves out, and its tree without storing anything.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;

use super::Context;
use crate::error::Result;
use crate::observe::Observer;
use crate::repo::Repo;
use crate::write::commit::{Snapshot, Source, snapshot};
use crate::write::output::Output;
use crate::write::walk::Rules;

/// What a walk of the worktree leaves out.
#[derive(Clone, Debug, Default)]
pub struct WalkOptions {
    /// Patterns of gitignore grammar.
    pub exclude: Vec<String>,
    /// Directories marked by CACHEDIR.TAG.
    pub skip_cache_dirs: bool,
    /// Other file systems than that of the source.
    pub one_file_system: bool,
}

impl WalkOptions {
    /// The rules for a walk; the repository itself is always left out.
    pub(super) fn rules(&self, context: &Context) -> Result<Rules> {
        let repository = std::fs::metadata(&context.repository).ok().map(|m| (m.dev(), m.ino()));
        let mut rules = Rules::new(self.skip_cache_dirs, self.one_file_system, repository);
        rules.exclude(&self.exclude)?;
        Ok(rules)
    }
}

/// The catalogue's number of the worktree; `None` where there is no catalogue.
pub(super) fn worktree_number(repo: &Repo, context: &Context) -> Option<i64> {
    repo.catalogue().ok()?.worktree(context.worktree.as_os_str().as_bytes()).ok()
}

/// Looks at the worktree; `repo` then answers for its trees from memory.
pub fn look(context: &Context, repo: &Repo, walk: &WalkOptions, observer: &dyn Observer) -> Result<Snapshot> {
    let rules = walk.rules(context)?;
    let out = Output::dry(repo);
    let source = Source {
        dir: &context.worktree,
        only: Vec::new(),
        rules: &rules,
        before: None,
        basis: worktree_number(repo, context),
        threads: context.threads(),
    };
    snapshot(&out, observer, &source)
}
