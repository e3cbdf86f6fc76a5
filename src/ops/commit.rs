//! `commit`: makes a version of a worktree, of some of its paths, or of a stream.

mod in_mount;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::Read;
use std::ops::ControlFlow;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStringExt;
use std::sync::Arc;

use super::tag::ensure_branch;
use crate::checkout::in_use::{User, describe, engines, is_engine_file};
use crate::checkout::patch::journal::Journal;
use crate::context::Context;
use crate::error::{Failure, Kind, Result};
use crate::model::commit::{Commit, Timestamp};
use crate::model::entry::{Entry, Meta, Node, Time, Totals};
use crate::model::id::Id;
use crate::model::path;
use crate::model::refname::{RefKind, RefName};
use crate::model::tree::LinkTable;
use crate::observe::{Notice, NoticeLevel, Observer};
use crate::query::compare::compare;
use crate::query::worktree::{WalkOptions, unrestored, worktree_number};
use crate::quiesce::{Quiesce, during};
use crate::refs::head::Head;
use crate::repo::Repo;
use crate::repo::refs::{Move, value_of};
use crate::snapshot::commit::{Draft, Source, TreeOf, publish, snapshot};
use crate::snapshot::content::stream;
use crate::snapshot::graft::{Edit, graft};
use crate::snapshot::output::Output;
use crate::snapshot::walk::entries;
use crate::snapshot::walk::named::{Found, NamedPaths, NotRecorded};
use crate::snapshot::walk::rules::Rules;
use crate::sys::io_error::IoError;

/// What to commit.
#[derive(Clone, Default)]
pub struct CommitOptions {
    /// The message.
    pub message: String,
    /// The branch; HEAD's if `None`.
    pub branch: Option<RefName>,
    /// Tags for the new version.
    pub tags: Vec<RefName>,
    /// `Key: value` pairs.
    pub trailers: Vec<(String, String)>,
    /// When it was made; now if `None`.
    pub time: Option<Timestamp>,
    /// What the walk leaves out.
    pub walk: WalkOptions,
    /// Commit although nothing changed, or although the source is empty.
    pub allow_empty: bool,
    /// Only these paths below the worktree, raw bytes; all if empty.
    pub paths: Vec<Vec<u8>>,
    /// How writers are held still while the source is read.
    pub quiesce: Option<Quiesce>,
    /// What happens if a database runs in the source and its writers are not held still.
    pub running_database: RunningDatabase,
    /// Say what would be done; nothing is held still for that.
    pub dry_run: bool,
}

/// What a commit does about a database that runs in the directory that it reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RunningDatabase {
    /// Makes the version, and warns.
    #[default]
    Warn,
    /// Makes no version.
    Refuse,
    /// Makes the version.
    Ignore,
}

/// A stream to commit as one file.
pub struct StreamOptions<'s> {
    /// Its path in the tree, raw bytes.
    pub name: Vec<u8>,
    /// Keep the other files of the version before.
    pub add: bool,
    /// The bytes.
    pub input: &'s mut (dyn Read + Send),
    /// Called at the end of the stream; an error means that the bytes are not whole and must not be committed.
    pub check: &'s mut dyn FnMut() -> Result<()>,
}

/// What was committed.
#[derive(Clone, Debug)]
pub struct CommitReport {
    /// The branch.
    pub branch: RefName,
    /// The new version, or the tip if nothing changed; `None` in a dry run that would make one.
    pub id: Option<Id>,
    /// What it says; in a dry run what it would.
    pub commit: Commit,
    /// Nothing changed, nothing was made.
    pub unchanged: bool,
    /// Tags that were made.
    pub tags: Vec<RefName>,
    /// Paths that were unreadable or did not hold still.
    pub unstable: Vec<Vec<u8>>,
    /// The version before.
    pub parent: Option<Id>,
    /// How many paths differ from that, directories not counted; `None` if it cannot be read.
    pub changed: Option<u64>,
}

/// A commit is refused.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// The source holds nothing, the branch does.
    #[error("`{path}` is empty, but the last version of `{branch}` is not")]
    EmptySource {
        /// The source.
        path: String,
        /// The branch.
        branch: RefName,
    },
    /// The stream has no bytes.
    #[error("cannot commit `{path}`: the stream is empty")]
    EmptyStream {
        /// The path of the file.
        path: String,
    },
    /// HEAD names no branch.
    #[error("HEAD is detached, so there is no branch to commit to")]
    Detached,
    /// A path leads out of the worktree or cannot be.
    #[error("`{path}` is not a path below the worktree")]
    BadPath {
        /// As given.
        path: String,
    },
    /// A path lies in a repository.
    #[error("cannot commit `{path}`: no version may contain a repository")]
    Reserved {
        /// As given.
        path: String,
    },
    /// A path is neither there nor in the version before.
    #[error("there is no `{path}`, neither in the worktree nor in the last version")]
    NoPath {
        /// As given.
        path: String,
    },
    /// A checkout was interrupted, so the files are of two versions.
    #[error("a checkout of this worktree was interrupted: its files are of two versions")]
    HalfCheckedOut,
    /// A database runs in the directory.
    #[error("a database runs in `{path}`: {}", describe(users))]
    DatabaseRuns {
        /// The directory.
        path: String,
        /// Its processes, not empty.
        users: Vec<User>,
    },
    /// An option that only applies to a directory.
    #[error("`{option}` does not apply to a mount")]
    NotInMount {
        /// The option.
        option: &'static str,
    },
    /// A tag exists already.
    #[error("there is a tag `{name}` already")]
    TagExists {
        /// Its name.
        name: RefName,
    },
}

impl Failure for CommitError {
    fn kind(&self) -> Kind {
        match self {
            Self::EmptySource { .. }
            | Self::EmptyStream { .. }
            | Self::Detached
            | Self::HalfCheckedOut
            | Self::TagExists { .. } => Kind::Rejected,
            Self::DatabaseRuns { .. } => Kind::Busy,
            Self::BadPath { .. } | Self::Reserved { .. } | Self::NotInMount { .. } => Kind::Usage,
            Self::NoPath { .. } => Kind::NotFound,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::EmptySource { .. } => {
                Some("is the volume mounted? `--allow-empty` commits the empty directory".to_owned())
            }
            Self::EmptyStream { .. } => {
                Some("did the command that writes it fail? `--allow-empty` commits the empty file".to_owned())
            }
            Self::DatabaseRuns { .. } => Some(HOLD_WRITERS.to_owned()),
            Self::HalfCheckedOut => Some("run the checkout again to finish it, or another one with `-f`".to_owned()),
            Self::Detached => Some("`dvc checkout -b NAME` makes a branch of what is here".to_owned()),
            Self::TagExists { .. } => Some("`dvc tag -d` removes one".to_owned()),
            _ => None,
        }
    }
}

/// What to do about a running database.
const HOLD_WRITERS: &str =
    "hold it still with `--quiesce` (dvc-quiesce(7)), or run it in `dvc mount --live` (dvc-mount(1))";

/// Makes the next version of a branch from the worktree.
pub fn commit(context: &Context, options: &CommitOptions, observer: &dyn Observer) -> Result<CommitReport> {
    let repo = context.repo()?;
    options.walk.warn(context, observer);
    if let Some(mount) = &context.mount {
        return in_mount::commit(context, &repo, mount, options, observer);
    }
    let target = Target::find(context, &repo, options)?;
    if Journal::read(repo.worktree(&context.worktree)?.state_dir())?.is_some() {
        return Err(CommitError::HalfCheckedOut.into());
    }
    let rules = options.walk.rules(context)?;
    let out = output(&repo, observer, options.dry_run)?;
    let quiesce = options.quiesce.as_ref().filter(|_| !options.dry_run);
    // How much there is now is seen at the end only; it was as much as this the last time.
    let last = target.parent.as_ref().filter(|_| options.paths.is_empty()).map(|p| p.1.counts);
    observer.phase("commit", last.map(|c| c.files), last.map(|c| c.bytes));
    if options.paths.is_empty() {
        let worktree = worktree_number(&repo, context);
        let source = Source {
            dir: &context.worktree,
            only: &[],
            rules: &rules,
            before: target.parent.as_ref().map(|p| p.1.tree),
            basis: worktree,
            unrestored: unrestored(context, &repo)?,
            threads: context.threads(),
            notes: is_engine_file,
        };
        let snap = during(quiesce, context, observer, |observer| snapshot(&out, observer, &source))?;
        if snap.totals == Totals::default() && target.holds_files() && !options.allow_empty {
            let path = context.worktree.display().to_string();
            return Err(CommitError::EmptySource { path, branch: target.branch }.into());
        }
        let engines = running_engines(context, options, &snap.noted)?;
        let unstable = snap.unstable.clone();
        let report =
            seal(context, &repo, &out, observer, options, target, &|_| Ok((snap.tree, snap.totals)), unstable)?;
        warn_of_engines(&engines, &report, options, observer);
        if let (Some(worktree), false) = (worktree, options.dry_run)
            && let Err(e) = snap.remember(&repo, worktree)
        {
            let message = format!("the next commit will read everything again: {e}");
            observer.notice(Notice { level: NoticeLevel::Info, path: Vec::new(), message });
        }
        return Ok(report);
    }
    let read = |observer: &dyn Observer| some_paths(context, &out, observer, options, &rules, &target);
    let SomePaths { edits, links, unstable, noted } = during(quiesce, context, observer, read)?;
    let engines = running_engines(context, options, &noted)?;
    let meta = |names: &[Vec<u8>]| dir_meta(context, names);
    let tree = |parent: Option<&Commit>| graft(&out, parent.map(|p| &p.tree), edits.clone(), links.clone(), &meta);
    let report = seal(context, &repo, &out, observer, options, target, &tree, unstable)?;
    warn_of_engines(&engines, &report, options, observer);
    Ok(report)
}

/// The databases that run in the worktree, by the files that the walk noted, unless they are held still.
fn running_engines(context: &Context, options: &CommitOptions, noted: &[Vec<u8>]) -> Result<Vec<User>> {
    let is_quiet = options.quiesce.as_ref().is_some_and(|quiesce| !quiesce.profiles.is_empty());
    if is_quiet || options.running_database == RunningDatabase::Ignore {
        return Ok(Vec::new());
    }
    let users = engines(&context.worktree, noted);
    if options.running_database == RunningDatabase::Refuse && !users.is_empty() {
        let path = context.worktree.display().to_string();
        return Err(CommitError::DatabaseRuns { path, users }.into());
    }
    Ok(users)
}

/// Warns of a version that was read while a database wrote.
fn warn_of_engines(engines: &[User], report: &CommitReport, options: &CommitOptions, observer: &dyn Observer) {
    if engines.is_empty() || report.unchanged || options.dry_run {
        return;
    }
    let message =
        format!("a database runs here: {}; the version may not be consistent; {HOLD_WRITERS}", describe(engines));
    observer.notice(Notice { level: NoticeLevel::Warning, path: Vec::new(), message });
}

/// Makes the next version of a branch from a stream.
pub fn commit_stream(
    context: &Context,
    options: &CommitOptions,
    stream: StreamOptions<'_>,
    observer: &dyn Observer,
) -> Result<CommitReport> {
    let repo = context.repo()?;
    let target = Target::find(context, &repo, options)?;
    let path = checked_path(&stream.name)?;
    let out = output(&repo, observer, options.dry_run)?;
    observer.phase("commit", None, None);
    let (size, chunker, content) = stream::store_stream(&out, observer, stream.input)?;
    (stream.check)()?;
    if size == 0 && !options.allow_empty {
        return Err(CommitError::EmptyStream { path: path::display(&stream.name) }.into());
    }
    let (secs, nanos) = (context.now.timestamp().as_second(), context.now.timestamp().subsec_nanosecond());
    let mtime = Time { secs, nanos: u32::try_from(nanos).unwrap_or(0) };
    let user = |mode| Meta {
        mode,
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
        mtime,
        xattrs: Vec::new(),
    };
    let node = Node::File { size, chunker, content };
    let entry = Entry { name: path.last().cloned().unwrap_or_default(), meta: user(0o644), link: None, node };
    let tree = |parent: Option<&Commit>| {
        let base = parent.map(|p| &p.tree).filter(|_| stream.add);
        let edits = vec![(path.clone(), Some(entry.clone()))];
        graft(&out, base, edits, LinkTable::default(), &|_| Ok(user(0o755)))
    };
    // The files of the worktree are not what was committed.
    let target = Target { of_worktree: false, ..target };
    seal(context, &repo, &out, observer, options, target, &tree, Vec::new())
}

/// Where the version goes.
pub(super) struct Target {
    pub(super) branch: RefName,
    head: Head,
    /// Whether the version is one of the worktree's files, so that the worktree is based on it.
    pub(super) of_worktree: bool,
    pub(super) parent: Option<(Id, Commit)>,
}

impl Target {
    pub(super) fn find(context: &Context, repo: &Repo, options: &CommitOptions) -> Result<Self> {
        let head = Head::read(context, repo)?;
        let branch = match (&options.branch, &head.branch) {
            (Some(branch), _) | (None, Some(branch)) => branch.clone(),
            (None, None) => return Err(CommitError::Detached.into()),
        };
        for tag in &options.tags {
            if repo.refs().value(RefKind::Tag, tag)?.is_some() {
                return Err(CommitError::TagExists { name: tag.clone() }.into());
            }
            if tag.scope().is_some_and(|(of, _)| of != branch.as_str()) {
                ensure_branch(repo, tag)?;
            }
        }
        let parent = match repo.refs().value(RefKind::Branch, &branch)? {
            Some(id) => Some((id, repo.commit_cached(&id)?)),
            None => None,
        };
        Ok(Self { branch, head, of_worktree: true, parent })
    }

    pub(super) fn holds_files(&self) -> bool {
        self.parent.as_ref().is_some_and(|p| p.1.counts.files > 0)
    }
}

pub(super) fn output<'a>(repo: &'a Repo, observer: &'a dyn Observer, dry_run: bool) -> Result<Output<'a>> {
    if dry_run { Ok(Output::dry(repo)) } else { Output::storing(repo, observer) }
}

pub(super) fn checked_path(raw: &[u8]) -> Result<Vec<Vec<u8>>> {
    match path::split(raw) {
        // No checkout would restore it.
        Some(names) if names.iter().any(|n| path::is_reserved(n)) => {
            Err(CommitError::Reserved { path: path::display(raw) }.into())
        }
        Some(names) if !names.is_empty() && !raw.starts_with(b"/") => Ok(names),
        _ => Err(CommitError::BadPath { path: path::display(raw) }.into()),
    }
}

/// Some paths as they are in the worktree now.
struct SomePaths {
    edits: Vec<Edit>,
    /// The hard links among them.
    links: LinkTable,
    /// Paths that could not be read or did not hold still.
    unstable: Vec<Vec<u8>>,
    /// Files that show whether a database runs.
    noted: Vec<Vec<u8>>,
}

/// Looks at the paths that were named.
fn some_paths(
    context: &Context,
    out: &Output<'_>,
    observer: &dyn Observer,
    options: &CommitOptions,
    rules: &Rules,
    target: &Target,
) -> Result<SomePaths> {
    let base = target.parent.as_ref().map(|p| p.1.tree);
    let asked = options.paths.iter().map(|raw| checked_path(raw)).collect::<Result<BTreeSet<_>>>()?;
    let mut named = NamedPaths::new(&context.worktree, rules).map_err(IoError::at("open", &context.worktree))?;
    let (mut there, mut edits) = (Vec::new(), Vec::new());
    for names in &asked {
        let path = || path::display(&names.join(&b'/'));
        match named.at(names)? {
            Found::Something => there.push(names.clone()),
            _ if base.map_or(Ok(None), |b| out.repo().find(&b, names))?.is_some() => edits.push((names.clone(), None)),
            Found::Nothing => return Err(CommitError::NoPath { path: path() }.into()),
            Found::BelowFile => return Err(CommitError::BadPath { path: path() }.into()),
        }
    }
    drop(named);
    let unrestored = unrestored(context, out.repo())?;
    if unrestored.is_some() {
        // What a checkout could not make is not there, and is no removal: the walk decides.
        there.extend(edits.drain(..).map(|(names, _)| names));
    }
    if there.is_empty() {
        return Ok(SomePaths { edits, links: LinkTable::default(), unstable: Vec::new(), noted: Vec::new() });
    }
    let source = Source {
        dir: &context.worktree,
        only: &there,
        rules,
        before: base,
        basis: None,
        unrestored,
        threads: context.threads(),
        notes: is_engine_file,
    };
    let found = snapshot(out, observer, &source)?;
    let mut picked: BTreeMap<Vec<u8>, Entry> = found.picked.into_iter().collect();
    for names in there {
        let path = names.join(&b'/');
        let is_in = |above: usize| asked.contains(&names[..above]);
        if (1..names.len()).any(is_in) {
            continue;
        }
        let entry = picked.remove(&path);
        if entry.is_none() && found.unstable.iter().any(|unread| path::is_within(&path, unread)) {
            return Err(NotRecorded::unread(&path).into());
        }
        edits.push((names, entry));
    }
    Ok(SomePaths { edits, links: found.links, unstable: found.unstable, noted: found.noted })
}

fn dir_meta(context: &Context, names: &[Vec<u8>]) -> Result<Meta> {
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

#[expect(clippy::too_many_arguments, reason = "the last step of every way to commit")]
pub(super) fn seal(
    context: &Context,
    repo: &Repo,
    out: &Output<'_>,
    observer: &dyn Observer,
    options: &CommitOptions,
    target: Target,
    tree_of: &TreeOf<'_>,
    unstable: Vec<Vec<u8>>,
) -> Result<CommitReport> {
    let stamp = context.now.timestamp();
    let now = Timestamp {
        secs: stamp.as_second(),
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
    let parent = target.parent.as_ref().map(|p| p.0);
    let commit = draft.child_of(target.parent.as_ref(), tree_of, out)?;
    let (tree, files) = (commit.tree, commit.counts.files);
    let totals = Totals { files, bytes: commit.counts.bytes, ..Totals::default() };
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
    let before = target.parent.as_ref().map(|p| p.1.tree);
    if let Some((id, last)) = target.parent.as_ref().filter(|p| p.1.tree == tree && !options.allow_empty) {
        if !options.dry_run {
            if let Some(sink) = out.sink() {
                sink.finish()?;
            }
            make_tags(context, repo, options, *id)?;
            observer.step("worktree state");
            remember_head(context, repo, &target, id)?;
        }
        return Ok(CommitReport { commit: last.clone(), unchanged: true, tags: options.tags.clone(), ..base });
    }
    if options.dry_run {
        return Ok(CommitReport { id: None, changed: changed(repo, before, tree, files), ..base });
    }
    let known = |parent: Option<&Commit>| match parent.map(|p| p.tree) == before {
        true => Ok((tree, totals)),
        // Somebody else was first.
        false => tree_of(parent),
    };
    let (id, commit) = publish(out, observer, &target.branch, &draft, &known)?;
    make_tags(context, repo, options, id)?;
    observer.step("worktree state");
    remember_head(context, repo, &target, &id)?;
    let changed = changed(repo, before, tree, files);
    Ok(CommitReport { id: Some(id), commit, tags: options.tags.clone(), changed, ..base })
}

/// Paths that differ from the version before. Damage in that one is no reason to fail.
fn changed(repo: &Repo, before: Option<Id>, tree: Id, files: u64) -> Option<u64> {
    let Some(before) = before else { return Some(files) };
    let mut count = 0;
    let counted = compare(repo, Some(&before), Some(&tree), &[], &mut |change| {
        let dir = [&change.old, &change.new].into_iter().flatten().all(Entry::is_dir);
        count += u64::from(!dir);
        Ok(ControlFlow::Continue(()))
    });
    counted.ok().map(|()| count)
}

fn make_tags(context: &Context, repo: &Repo, options: &CommitOptions, id: Id) -> Result<()> {
    for tag in &options.tags {
        let tip = repo.refs().tip(RefKind::Tag, tag)?;
        // Somebody else may have made it meanwhile.
        let free = tip.as_ref().and_then(value_of).is_none_or(|there| there == id);
        let how = Move { who: &context.author, why: "tag: made by commit", time: context.moved_at() };
        if !free || repo.refs().update(RefKind::Tag, tag, tip.as_ref(), Some(id), &how)?.is_none() {
            return Err(CommitError::TagExists { name: tag.clone() }.into());
        }
    }
    Ok(())
}

/// A commit of HEAD's branch is what the worktree stands on now; one of another branch changes nothing about it.
fn remember_head(context: &Context, repo: &Repo, target: &Target, id: &Id) -> Result<()> {
    if context.mount.is_some() || !target.of_worktree {
        // The process of a mount remembers it.
        return Ok(());
    }
    if target.head.branch.as_ref() != Some(&target.branch) && target.head.known {
        return Ok(());
    }
    repo.worktree(&context.worktree)?.save(Some(&target.branch), Some(id))
}
