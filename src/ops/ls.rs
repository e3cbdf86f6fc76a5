//! `ls`: the entries of a version, one by one.

use crate::context::Context;
use crate::error::Result;
use crate::model::entry::{Entry, Node};
use crate::model::id::Id;
use crate::model::path::{display, split};
use crate::model::revision::RevisionSpec;
use crate::observe::Observer;
use crate::query::resolve::{ResolveError, Resolver};
use crate::repo::Repo;
use crate::repo::names::Names;
use std::ops::ControlFlow;

/// What to list.
#[derive(Clone, Debug)]
pub struct LsOptions {
    /// The version, and a path in it.
    pub spec: RevisionSpec,
    /// Paths below that; empty is all of it.
    pub paths: Vec<Vec<u8>>,
    /// With everything below directories.
    pub recursive: bool,
    /// Directories themselves, not what they hold.
    pub directory: bool,
}

/// Whether to go on, and whether an error of the caller ended it.
pub type Each<'e> = dyn FnMut(&[u8], &Entry) -> ControlFlow<()> + 'e;

/// Sums over what was listed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LsReport {
    /// Entries that were handed over.
    pub entries: u64,
}

/// Lists entries with their paths from the root of the version.
pub fn ls(context: &Context, options: &LsOptions, observer: &dyn Observer, each: &mut Each<'_>) -> Result<LsReport> {
    let repo = context.repo()?;
    let target = Resolver::new(&repo, context)?.spec(&options.spec)?;
    let tree = repo.commit_cached(&target.version)?.tree;
    let mut listing = Listing { repo: &repo, options, observer, each, report: LsReport::default() };
    if options.paths.is_empty() {
        let _ended_early = listing.at(&tree, &target.path)?;
        return Ok(listing.report);
    }
    for path in &options.paths {
        let below = split(path).ok_or_else(|| not_there(options, path))?;
        let names: Vec<_> = target.path.iter().cloned().chain(below).collect();
        if listing.at(&tree, &names)?.is_break() {
            break;
        }
    }
    Ok(listing.report)
}

fn not_there(options: &LsOptions, path: &[u8]) -> ResolveError {
    ResolveError::NoPath { revision: options.spec.revision.to_string(), path: display(path) }
}

struct Listing<'a, 'e> {
    repo: &'a Repo,
    options: &'a LsOptions,
    observer: &'a dyn Observer,
    each: &'a mut Each<'e>,
    report: LsReport,
}

impl Listing<'_, '_> {
    fn at(&mut self, root: &Id, names: &[Vec<u8>]) -> Result<ControlFlow<()>> {
        let path = names.join(&b'/');
        if names.is_empty() {
            let names = self.repo.root_names(root)?.1;
            return self.directory(path, names);
        }
        let entry = self.repo.find(root, names)?.ok_or_else(|| not_there(self.options, &path))?;
        match &entry.node {
            Node::Dir { tree, .. } if !self.options.directory => {
                let names = self.repo.names(tree)?;
                self.directory(path, names)
            }
            _ => Ok(self.hand_over(&path, &entry)),
        }
    }

    /// A directory and, if wanted, all below it, with a stack of its own: a version may be nested more deeply than a
    /// thread's stack.
    fn directory(&mut self, mut path: Vec<u8>, names: Names<'_>) -> Result<ControlFlow<()>> {
        let mut levels = vec![(path.len(), names)];
        while let Some((len, names)) = levels.last_mut() {
            path.truncate(*len);
            let Some(entry) = names.next().transpose()? else {
                levels.pop();
                continue;
            };
            if !path.is_empty() {
                path.push(b'/');
            }
            path.extend_from_slice(&entry.name);
            if self.hand_over(&path, &entry).is_break() {
                return Ok(ControlFlow::Break(()));
            }
            if let (Node::Dir { tree, .. }, true) = (&entry.node, self.options.recursive) {
                levels.push((path.len(), self.repo.names(tree)?));
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn hand_over(&mut self, path: &[u8], entry: &Entry) -> ControlFlow<()> {
        self.report.entries += 1;
        if self.observer.cancelled() {
            return ControlFlow::Break(());
        }
        (self.each)(path, entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::Silent;
    use crate::query::made::{Made, file};

    #[test]
    fn directories_files_and_everything_below() {
        let made = Made::new();
        let inner = made.dir("inner", vec![file("deep", "1")]);
        made.commit("main", "one", vec![made.dir("dir", vec![file("a", "1"), inner]), file("top", "2")]);
        let list = |spec: &str, paths: &[&str], recursive, directory| {
            let spec = RevisionSpec::parse(spec.as_bytes()).unwrap();
            let paths = paths.iter().map(|p| p.as_bytes().to_vec()).collect();
            let mut shown = Vec::new();
            ls(&made.context, &LsOptions { spec, paths, recursive, directory }, &Silent, &mut |path, _| {
                shown.push(String::from_utf8(path.to_vec()).unwrap());
                ControlFlow::Continue(())
            })
            .map(|_| shown.join(" "))
        };
        assert_eq!(list("main", &[], false, false).unwrap(), "dir top");
        assert_eq!(list("main", &[], true, false).unwrap(), "dir dir/a dir/inner dir/inner/deep top");
        assert_eq!(list("main:dir", &[], false, false).unwrap(), "dir/a dir/inner");
        assert_eq!(list("main:dir", &["inner", "a"], false, false).unwrap(), "dir/inner/deep dir/a");
        assert_eq!(list("main", &["dir"], false, true).unwrap(), "dir");
        assert_eq!(list("main:none", &[], false, false).unwrap_err().to_string(), "`none` is not in `main`");
    }
}
