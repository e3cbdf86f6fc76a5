//! `ls`: lists the entries of a version.

use crate::context::Context;
use crate::error::Result;
use crate::model::entry::{Entry, Node};
use crate::model::id::Id;
use crate::model::path::{display, split};
use crate::model::revision::RevisionSpec;
use crate::observe::Observer;
use crate::query::entries::walk_entries;
use crate::query::forgotten::ensure_readable;
use crate::query::resolve::{ResolveError, Resolver};
use crate::repo::Repo;
use crate::repo::names::Names;
use std::ops::ControlFlow;

/// The options of `ls`.
#[derive(Clone, Debug)]
pub struct LsOptions {
    /// The version, and a path in it.
    pub spec: RevisionSpec,
    /// Paths below the path of `spec`; all if empty.
    pub paths: Vec<Vec<u8>>,
    /// List directories recursively.
    pub recursive: bool,
    /// List directories themselves, not their content.
    pub directory: bool,
}

/// Called with the path of each entry and the entry; breaks to stop the listing.
pub type EntryCallback<'e> = dyn FnMut(&[u8], &Entry) -> ControlFlow<()> + 'e;

/// The totals of a listing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LsReport {
    /// The number of reported entries.
    pub entries: u64,
}

/// Lists entries with their paths from the root of the version.
pub fn ls(
    context: &Context,
    options: &LsOptions,
    observer: &dyn Observer,
    each: &mut EntryCallback<'_>,
) -> Result<LsReport> {
    let repo = context.repo()?;
    let target = Resolver::new(&repo, context)?.spec(&options.spec)?;
    ensure_readable(context, &repo, &target.version)?;
    let tree = repo.commit_cached(&target.version)?.tree;
    let mut listing = Listing {
        repo: &repo,
        options,
        observer,
        each,
        report: LsReport::default(),
    };
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
    ResolveError::NoPath {
        revision: options.spec.revision.to_string(),
        path: display(path),
    }
}

struct Listing<'a, 'e> {
    repo: &'a Repo,
    options: &'a LsOptions,
    observer: &'a dyn Observer,
    each: &'a mut EntryCallback<'e>,
    report: LsReport,
}

impl Listing<'_, '_> {
    fn at(&mut self, root: &Id, names: &[Vec<u8>]) -> Result<ControlFlow<()>> {
        let path = names.join(&b'/');
        if names.is_empty() {
            let names = self.repo.root_names(root)?.1;
            return self.directory(path, names);
        }
        let entry = self
            .repo
            .find(root, names)?
            .ok_or_else(|| not_there(self.options, &path))?;
        match &entry.node {
            Node::Dir { tree, .. } if !self.options.directory => {
                let names = self.repo.names(tree)?;
                self.directory(path, names)
            }
            _ => Ok(self.pass_on(&path, &entry)),
        }
    }

    /// Lists a directory and, if requested, everything below it.
    fn directory(&mut self, path: Vec<u8>, names: Names<'_>) -> Result<ControlFlow<()>> {
        let (repo, recursive) = (self.repo, self.options.recursive);
        walk_entries(repo, path, names, &mut |path, entry| {
            if self.pass_on(path, &entry).is_break() {
                return Ok(ControlFlow::Break(()));
            }
            Ok(ControlFlow::Continue(match entry.node {
                Node::Dir { tree, .. } if recursive => Some(tree),
                _ => None,
            }))
        })
    }

    fn pass_on(&mut self, path: &[u8], entry: &Entry) -> ControlFlow<()> {
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
        made.commit(
            "main",
            "one",
            vec![
                made.dir("dir", vec![file("a", "1"), inner]),
                file("top", "2"),
            ],
        );
        let list = |spec: &str, paths: &[&str], recursive, directory| {
            let spec = RevisionSpec::parse(spec.as_bytes()).unwrap();
            let paths = paths.iter().map(|p| p.as_bytes().to_vec()).collect();
            let mut shown = Vec::new();
            ls(
                &made.context,
                &LsOptions {
                    spec,
                    paths,
                    recursive,
                    directory,
                },
                &Silent,
                &mut |path, _| {
                    shown.push(String::from_utf8(path.to_vec()).unwrap());
                    ControlFlow::Continue(())
                },
            )
            .map(|_| shown.join(" "))
        };
        assert_eq!(list("main", &[], false, false).unwrap(), "dir top");
        assert_eq!(
            list("main", &[], true, false).unwrap(),
            "dir dir/a dir/inner dir/inner/deep top"
        );
        assert_eq!(
            list("main:dir", &[], false, false).unwrap(),
            "dir/a dir/inner"
        );
        assert_eq!(
            list("main:dir", &["inner", "a"], false, false).unwrap(),
            "dir/inner/deep dir/a"
        );
        assert_eq!(list("main", &["dir"], false, true).unwrap(), "dir");
        assert_eq!(
            list("main:none", &[], false, false)
                .unwrap_err()
                .to_string(),
            "`none` is not in `main`"
        );
    }
}
