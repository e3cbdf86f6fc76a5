//! The last step of every commit: publishes the version on its branch, and tags it.

use std::ffi::OsString;
use std::ops::ControlFlow;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;
use std::sync::Arc;

use super::error::CommitError;
use super::options::CommitOptions;
use crate::context::Context;
use crate::error::Result;
use crate::model::commit::{Commit, Timestamp};
use crate::model::entry::{Entry, Meta, Totals};
use crate::model::id::Id;
use crate::model::path;
use crate::model::refname::{RefKind, RefName};
use crate::observe::Observer;
use crate::query::compare::compare;
use crate::query::describe::VersionInfo;
use crate::refs::head::Head;
use crate::refs::moves::ensure_tag_branch;
use crate::repo::Repo;
use crate::repo::refs::Move;
use crate::snapshot::commit::{Draft, TreeOf, publish};
use crate::snapshot::output::Output;
use crate::snapshot::walk::entries;
use crate::sys::io_error::IoError;

/// The result of `commit`.
#[derive(Clone, Debug)]
pub struct CommitReport {
    pub branch: RefName,
    /// The new version, or the tip if nothing changed. `None` in a dry run that would make a
    /// version.
    pub id: Option<Id>,
    /// The commit; in a dry run, the one that would be made.
    pub commit: Commit,
    /// Whether nothing changed, so that no version was made.
    pub unchanged: bool,
    /// The created tags.
    pub tags: Vec<RefName>,
    /// Paths that were unreadable, or changed while they were read.
    pub unstable: Vec<Vec<u8>>,
    /// The previous version.
    pub parent: Option<Id>,
    /// The number of paths that differ from the previous version, without directories; `None` if
    /// the previous version cannot be read.
    pub changed: Option<u64>,
}

/// The branch of a new version, and its tip.
pub(in crate::ops) struct CommitTarget {
    pub(in crate::ops) branch: RefName,
    pub(in crate::ops) head: Head,
    /// Whether the version has the files of the worktree, so that the worktree is based on it
    /// afterwards.
    pub(in crate::ops) of_worktree: bool,
    pub(in crate::ops) parent: Option<VersionInfo>,
}

impl CommitTarget {
    pub(in crate::ops) fn find(
        context: &Context,
        repo: &Repo,
        options: &CommitOptions,
    ) -> Result<Self> {
        let head = Head::read(context, repo)?;
        let branch = match (&options.branch, &head.branch) {
            (Some(branch), _) | (None, Some(branch)) => branch.clone(),
            (None, None) => return Err(CommitError::Detached.into()),
        };
        // Check the tags before anything is stored.
        for tag in &options.tags {
            if repo.refs().value(RefKind::Tag, tag)?.is_some() {
                return Err(CommitError::TagExists { name: tag.clone() }.into());
            }
            if tag.scope().is_some_and(|(of, _)| of != branch.as_str()) {
                ensure_tag_branch(repo, tag)?;
            }
        }
        let parent = match repo.refs().value(RefKind::Branch, &branch)? {
            Some(id) => Some(VersionInfo {
                id,
                commit: repo.commit_cached(&id)?,
            }),
            None => None,
        };
        Ok(Self {
            branch,
            head,
            of_worktree: true,
            parent,
        })
    }

    pub(in crate::ops) fn holds_files(&self) -> bool {
        self.parent
            .as_ref()
            .is_some_and(|p| p.commit.counts.files > 0)
    }
}

pub(in crate::ops) fn output<'a>(
    repo: &'a Repo,
    observer: &'a dyn Observer,
    dry_run: bool,
) -> Result<Output<'a>> {
    if dry_run {
        Ok(Output::dry(repo))
    } else {
        Output::storing(repo, observer)
    }
}

pub(in crate::ops) fn checked_path(raw: &[u8]) -> Result<Vec<Vec<u8>>> {
    match path::split(raw) {
        // Refuse reserved names, because no checkout restores them.
        Some(names) if names.iter().any(|n| path::is_reserved(n)) => Err(CommitError::Reserved {
            path: path::display(raw),
        }
        .into()),
        Some(names) if !names.is_empty() && !raw.starts_with(b"/") => Ok(names),
        _ => Err(CommitError::BadPath {
            path: path::display(raw),
        }
        .into()),
    }
}

pub(in crate::ops) fn dir_meta(context: &Context, names: &[Vec<u8>]) -> Result<Meta> {
    let look = || -> std::io::Result<Meta> {
        let mut fd = Arc::new(entries::open_root(&context.worktree)?);
        for name in names {
            fd = Arc::new(entries::open_dir(fd.as_fd(), name)?);
        }
        let stat = entries::stat_at(fd.as_fd(), b"")?;
        Ok(stat.meta(entries::xattrs_of(fd.as_fd())?))
    };
    look().map_err(|e| IoError::new("open", OsString::from_vec(names.join(&b'/')), e).into())
}

#[expect(
    clippy::too_many_arguments,
    reason = "the last step of every kind of commit"
)]
pub(in crate::ops) fn seal(
    context: &Context,
    repo: &Repo,
    out: &Output<'_>,
    observer: &dyn Observer,
    options: &CommitOptions,
    target: &CommitTarget,
    tree_of: &TreeOf<'_>,
    unstable: Vec<Vec<u8>>,
) -> Result<CommitReport> {
    let stamp = context.now.timestamp();
    let now = Timestamp {
        secs: stamp.as_second(),
        // The fraction of a jiff timestamp is negative before 1970.
        nanos: u32::try_from(stamp.subsec_nanosecond()).unwrap_or(0),
        offset: context.now.offset().seconds(),
    };
    let draft = Draft {
        author: context.author.clone(),
        host: context.host.clone(),
        time: options.time.unwrap_or(now),
        moved_at: context.moved_at(),
        message: options.message.clone(),
        trailers: options.trailers.clone(),
        unstable: unstable.clone(),
    };
    let parent = target.parent.as_ref().map(|p| p.id);
    let before = target.parent.as_ref().map(|p| (p.id, p.commit.clone()));
    let commit = draft.child_of(before.as_ref(), tree_of, out)?;
    let (tree, files) = (commit.tree, commit.counts.files);
    let totals = Totals {
        files,
        bytes: commit.counts.bytes,
        ..Totals::default()
    };
    let base = CommitReport {
        branch: target.branch.clone(),
        id: parent,
        commit,
        unchanged: false,
        tags: Vec::new(),
        unstable,
        parent,
        changed: Some(0),
    };
    let before = target.parent.as_ref().map(|p| p.commit.tree);
    if let Some(VersionInfo { id, commit: last }) = target
        .parent
        .as_ref()
        .filter(|p| p.commit.tree == tree && !options.allow_empty)
    {
        if !options.dry_run {
            // Objects may have been stored although the tree is the same, for example again after
            // damage.
            if let Some(sink) = out.sink() {
                sink.finish()?;
            }
            make_tags(context, repo, options, *id)?;
            observer.step("worktree state");
            remember_head(context, repo, target, id)?;
        }
        return Ok(CommitReport {
            commit: last.clone(),
            unchanged: true,
            tags: options.tags.clone(),
            ..base
        });
    }
    if options.dry_run {
        return Ok(CommitReport {
            id: None,
            changed: changed(repo, before, tree, files),
            ..base
        });
    }
    // If another process has moved the branch in the meantime, compute the tree for its new tip.
    let known = |parent: Option<&Commit>| {
        if parent.map(|p| p.tree) == before {
            Ok((tree, totals))
        } else {
            tree_of(parent)
        }
    };
    let (id, commit) = publish(out, observer, &target.branch, &draft, &known)?;
    // A tag that fails does not undo the version.
    make_tags(context, repo, options, id)?;
    observer.step("worktree state");
    remember_head(context, repo, target, &id)?;
    let changed = changed(repo, before, tree, files);
    Ok(CommitReport {
        id: Some(id),
        commit,
        tags: options.tags.clone(),
        changed,
        ..base
    })
}

/// Counts the paths other than directories that differ from the previous version. Returns `None` if
/// the comparison fails, because damage in that version must not fail the commit.
fn changed(repo: &Repo, before: Option<Id>, tree: Id, files: u64) -> Option<u64> {
    let Some(before) = before else {
        return Some(files);
    };
    let mut count = 0;
    let counted = compare(repo, Some(&before), Some(&tree), &[], &mut |change| {
        let dir = [&change.old, &change.new]
            .into_iter()
            .flatten()
            .all(Entry::is_dir);
        count += u64::from(!dir);
        Ok(ControlFlow::Continue(()))
    });
    counted.ok().map(|()| count)
}

fn make_tags(context: &Context, repo: &Repo, options: &CommitOptions, id: Id) -> Result<()> {
    for tag in &options.tags {
        let old = repo.refs().value(RefKind::Tag, tag)?;
        // Another process may have created the tag in the meantime.
        let free = old.is_none_or(|there| there == id);
        let how = Move {
            who: &context.author,
            why: "tag: created by commit",
            time: context.moved_at(),
        };
        if !free
            || repo
                .move_ref(RefKind::Tag, tag, old.as_ref(), Some(id), &how)?
                .is_none()
        {
            return Err(CommitError::TagExists { name: tag.clone() }.into());
        }
    }
    Ok(())
}

/// Records that the worktree is based on the new version, if it is on HEAD's branch.
fn remember_head(context: &Context, repo: &Repo, target: &CommitTarget, id: &Id) -> Result<()> {
    if context.mount.is_some() || !target.of_worktree {
        // The process of a mount records the version itself.
        return Ok(());
    }
    if target.head.branch.as_ref() != Some(&target.branch) && target.head.known {
        return Ok(());
    }
    repo.worktree(&context.worktree)?
        .save(Some(&target.branch), Some(id))
}
