//! Content of a worktree that is in no version: a checkout refuses to overwrite it, or moves it to
//! the trash of the worktree first.
//!
//! The files are in the trash before the checkout changes anything. If they cannot be moved, nothing
//! is changed.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use super::options::{CheckoutError, CheckoutOptions, KeptFiles};
use crate::checkout::patch::journal::Interrupted;
use crate::context::{Context, InMount, tree_of};
use crate::error::{Error, Kind, Result};
use crate::model::commit::Timestamp;
use crate::model::entry::Entry;
use crate::model::id::{Id, to_hex};
use crate::model::path;
use crate::model::revision::Revision;
use crate::model::tree::LinkTable;
use crate::mount::control::{ControlRequest, SnapshotInfo};
use crate::observe::{Notice, NoticeLevel, Observer};
use crate::ops::commit::dir_meta;
use crate::query::compare::{Letter, TreeChange, compare};
use crate::query::leftovers::CheckoutLeftovers;
use crate::query::unsaved::in_no_version;
use crate::query::worktree::unrestored;
use crate::refs::head::Head;
use crate::repo::Repo;
use crate::repo::writer::{WriteSession, is_collected};
use crate::snapshot::commit::{Draft, Source, snapshot};
use crate::snapshot::graft::{Edit, graft};
use crate::snapshot::output::Output;
use crate::snapshot::overwritten::{KeptTree, keep as commit_to_trash};

/// The trailer with the path of the worktree.
pub(in crate::ops) const WORKTREE: &str = "Worktree";
/// The trailer with the path of the worktree in hex, if it is not UTF-8.
pub(in crate::ops) const WORKTREE_HEX: &str = "Worktree-Hex";
/// The trailer with the version that the worktree was based on.
pub(in crate::ops) const BASE: &str = "Base";

/// The trailer with the overlay, if the worktree is a mount.
pub(in crate::ops) const OVERLAY: &str = "Overlay";

/// Attempts to store the files again after a gc has collected their objects.
const REPEATS: u32 = 4;

/// The content of a worktree that a checkout would overwrite or remove.
pub(super) struct AtRisk<'a> {
    pub(super) context: &'a Context,
    pub(super) repo: &'a Repo,
    /// Only these paths; all if empty.
    pub(super) scope: &'a [Vec<u8>],
    /// The version of the worktree.
    pub(super) base: Option<Id>,
    /// The tree of the version to check out; `None` if everything is replaced.
    pub(super) target: Option<Id>,
    /// The changes of the checkout.
    pub(super) changes: &'a [TreeChange],
    pub(super) interrupted: Option<&'a Interrupted>,
    /// The tree of the worktree.
    pub(super) now: &'a Id,
}

/// The paths that a checkout changes.
struct Touched<'a>(BTreeSet<&'a [u8]>);

impl<'a> Touched<'a> {
    fn of(changes: &'a [TreeChange]) -> Self {
        Self(
            changes
                .iter()
                .map(|change| change.path.as_slice())
                .collect(),
        )
    }

    /// Returns whether a path, one of its ancestors or one of its descendants changes.
    fn has(&self, path: &[u8]) -> bool {
        let slashes = path.iter().enumerate().filter(|(_, byte)| **byte == b'/');
        let mut above = slashes.map(|(at, _)| &path[..at]).chain([&[][..], path]);
        if above.any(|above| self.0.contains(above)) {
            return true;
        }
        let below = [path, b"/"].concat();
        let mut next = self.0.range(below.as_slice()..);
        next.next().is_some_and(|next| next.starts_with(&below))
    }
}

impl AtRisk<'_> {
    /// Fails if content would be lost.
    pub(super) fn ensure_none(&self) -> Result<()> {
        const SHOWN: usize = 5;
        let unsaved = self.unsaved()?;
        if unsaved.is_empty() {
            return Ok(());
        }
        let more = unsaved.len().saturating_sub(SHOWN);
        let paths = unsaved
            .iter()
            .take(SHOWN)
            .map(|path| path::display(path))
            .collect();
        Err(CheckoutError::Dirty { paths, more }.into())
    }

    /// Returns the paths of files whose content would be lost. If a damaged or unreachable version
    /// makes that unknown, returns all files that would change.
    pub(super) fn files(&self) -> Result<Vec<Vec<u8>>> {
        match self.unsaved() {
            Err(e)
                if matches!(
                    e.kind(),
                    Kind::Integrity | Kind::Unreachable | Kind::NotFound
                ) =>
            {
                if self.target.is_none() {
                    let names = self.repo.root(self.now)?.1;
                    return Ok(names.into_iter().map(|entry| entry.name).collect());
                }
                let files = self.changes.iter().filter(|change| change.old.is_some());
                Ok(files.map(|change| change.path.clone()).collect())
            }
            unsaved => unsaved,
        }
    }

    /// Returns the paths whose content is in no version. Content is safe if the worktree's version,
    /// the target, or an older version has it, or if an interrupted checkout left it.
    fn unsaved(&self) -> Result<Vec<Vec<u8>>> {
        let (repo, context) = (self.repo, self.context);
        let base = match self.base {
            Some(base) => Some(repo.commit_cached(&base)?.tree),
            None => None,
        };
        let left = self
            .interrupted
            .map(|i| CheckoutLeftovers::new(repo, &context.worktree, i))
            .transpose()?;
        let changed = Touched::of(self.changes);
        let mut dirty = Vec::new();
        let mut open = BTreeMap::new();
        let mut note = |path: &[u8], now: Option<&Entry>| -> Result<()> {
            // Files that are not touched cannot be lost.
            let touched = self.target.is_none() || changed.has(path);
            let is_left = || left.as_ref().map_or(Ok(false), |l| l.holds(path, now));
            if touched && !path.is_empty() && !is_left()? {
                match now {
                    Some(entry) => drop(open.insert(path.to_vec(), entry.clone())),
                    None => dirty.push(path.to_vec()),
                }
            }
            Ok(())
        };
        compare(
            repo,
            base.as_ref(),
            Some(self.now),
            self.scope,
            &mut |change| {
                let at = path::split(&change.path).unwrap_or_default();
                // The entries of a directory are compared separately.
                let is_place =
                    change.new.as_ref().is_some_and(Entry::is_dir) && change.letter != Letter::Type;
                let gone = change.new.is_none() && change.from.is_none();
                // If only the other hard links of a file changed, no content is lost.
                let relinked = matches!((&change.old, &change.new), (Some(a), Some(b)) if a.meta == b.meta && a.node == b.node);
                let same = match (&change.new, &self.target) {
                    (Some(new), Some(target)) => repo.find(target, &at)?.as_ref() == Some(new),
                    _ => false,
                };
                if !(is_place || same || gone || relinked) {
                    note(&change.path, change.new.as_ref())?;
                }
                Ok(ControlFlow::Continue(()))
            },
        )?;
        // The recorded version of the worktree may be wrong or missing, so search other versions
        // too.
        if !open.is_empty() {
            let tips: Vec<Id> = self.base.into_iter().collect();
            dirty
                .extend(in_no_version(repo, &tips, self.now, self.scope, open, false)?.into_keys());
            dirty.sort();
        }
        Ok(dirty)
    }
}

impl KeptFiles {
    /// Returns what a dry run reports.
    pub(super) fn planned(paths: &[Vec<u8>]) -> Option<Self> {
        (!paths.is_empty()).then_some(Self {
            id: None,
            files: paths.len() as u64,
        })
    }
}

/// Commits files to the trash of the worktree. Does nothing if there are none.
pub(super) fn keep(
    context: &Context,
    repo: &Repo,
    options: &CheckoutOptions,
    head: &Head,
    paths: &[Vec<u8>],
    observer: &dyn Observer,
) -> Result<Option<KeptFiles>> {
    if paths.is_empty() {
        return Ok(None);
    }
    let kept = match &context.mount {
        None => keep_files(context, repo, options, head, paths, observer),
        Some(mount) => {
            let seen = Seen::take(repo, mount, observer);
            seen.and_then(|seen| seen.keep(context, repo, options, head, paths, observer))
        }
    };
    kept.map_err(not_kept)
}

/// Adds a hint to the error of a move to the trash. A cancellation is returned unchanged.
pub(super) fn not_kept(e: Error) -> Error {
    let is_known = matches!(
        e.as_error().downcast_ref::<CheckoutError>(),
        Some(CheckoutError::Unreadable(_))
    );
    if is_known || e.kind() == Kind::Cancelled {
        e
    } else {
        CheckoutError::NotKept(e).into()
    }
}

fn keep_files(
    context: &Context,
    repo: &Repo,
    options: &CheckoutOptions,
    head: &Head,
    paths: &[Vec<u8>],
    observer: &dyn Observer,
) -> Result<Option<KeptFiles>> {
    let rules = options.walk.rules(context)?;
    let out = Output::storing(repo, observer)?;
    let only: Vec<Vec<Vec<u8>>> = paths
        .iter()
        .map(|path| path::split(path).unwrap_or_default())
        .collect();
    let base = head.base.and_then(|id| repo.commit_cached(&id).ok());
    let mut source = Source {
        dir: &context.worktree,
        only: &only,
        rules: &rules,
        before: base.map(|commit| commit.tree),
        basis: None,
        unrestored: unrestored(context, repo)?,
        threads: context.threads(),
        notes: |_| false,
    };
    observer.phase("move to the trash", Some(paths.len() as u64), None);
    let mut repeats = REPEATS;
    loop {
        let found = match snapshot(&out, observer, &source) {
            // A damaged version must not keep files out of the trash.
            Err(e) if e.kind() == Kind::Integrity && source.before.is_some() => {
                source.before = None;
                out.forget_claims();
                continue;
            }
            found => found?,
        };
        let picked: BTreeMap<Vec<u8>, Entry> = found.picked.into_iter().collect();
        let is_lost = |path: &&Vec<u8>| {
            !picked.contains_key(*path) && found.unstable.iter().any(|at| path::is_within(path, at))
        };
        if let Some(lost) = paths.iter().find(is_lost) {
            return Err(CheckoutError::Unreadable(path::display(lost)).into());
        }
        for path in &found.unstable {
            let message = "changed while it was moved to the trash".to_owned();
            observer.notice(Notice {
                level: NoticeLevel::Warning,
                path: path.clone(),
                message,
            });
        }
        let entries = topmost(picked);
        // All files have disappeared since the comparison.
        if entries.is_empty() {
            return Ok(None);
        }
        match store(context, &out, options, head, entries, found.links, observer) {
            Err(e) if is_collected(&e) && repeats > 0 => {
                repeats -= 1;
                out.check_records();
            }
            kept => return kept.map(Some),
        }
    }
}

/// Returns the entries that are not below others.
fn topmost(picked: BTreeMap<Vec<u8>, Entry>) -> Vec<Edit> {
    let whole: BTreeSet<Vec<u8>> = picked.keys().cloned().collect();
    let is_below = |names: &[Vec<u8>]| {
        (1..names.len()).any(|depth| whole.contains(&names[..depth].join(&b'/')))
    };
    picked
        .into_iter()
        .map(|(path, entry)| (path::split(&path).unwrap_or_default(), Some(entry)))
        .filter(|(names, _)| !is_below(names))
        .collect()
}

/// Commits entries to the trash.
fn store(
    context: &Context,
    out: &Output<'_>,
    options: &CheckoutOptions,
    head: &Head,
    entries: Vec<Edit>,
    links: LinkTable,
    observer: &dyn Observer,
) -> Result<KeptFiles> {
    use std::os::unix::ffi::OsStrExt;
    let meta = |names: &[Vec<u8>]| dir_meta(context, names);
    let (tree, totals) = graft(out, None, entries, links, &meta)?;
    let stamp = context.now.timestamp();
    let revision = options
        .revision
        .as_ref()
        .map_or_else(|| "@".to_owned(), Revision::to_string);
    let mut trailers = vec![(
        WORKTREE.to_owned(),
        context.worktree.to_string_lossy().into_owned(),
    )];
    if context.worktree.to_str().is_none() {
        let hex = to_hex(context.worktree.as_os_str().as_bytes());
        trailers.push((WORKTREE_HEX.to_owned(), hex));
    }
    trailers.extend(head.base.map(|base| (BASE.to_owned(), base.to_string())));
    let overlay = context.mount.as_ref().and_then(|m| m.note.overlay.clone());
    trailers.extend(overlay.map(|name| (OVERLAY.to_owned(), name)));
    let draft = Draft {
        author: context.author.clone(),
        host: context.host.clone(),
        time: Timestamp {
            secs: stamp.as_second(),
            nanos: u32::try_from(stamp.subsec_nanosecond()).unwrap_or(0),
            offset: context.now.offset().seconds(),
        },
        moved_at: context.moved_at(),
        message: format!("checkout -f {revision}"),
        trailers,
        unstable: Vec::new(),
    };
    let worktree = out.repo().worktree(&context.worktree)?.trash_name()?;
    let id = commit_to_trash(out, observer, &worktree, &draft, KeptTree { tree, totals })?;
    Ok(KeptFiles {
        id: Some(id),
        files: totals.files,
    })
}

/// The tree of a mount, which was stored for the trash.
pub(super) struct Seen<'r> {
    session: WriteSession<'r>,
    pub(super) tree: Id,
    new_bytes: u64,
    stored_bytes: u64,
}

impl<'r> Seen<'r> {
    /// Stores the tree of a mount. The mount does not count it as committed.
    pub(super) fn take(repo: &'r Repo, mount: &InMount, observer: &dyn Observer) -> Result<Self> {
        // The gc log is read before the mount stores anything.
        let session = WriteSession::begin(repo)?;
        let cancelled = || observer.cancelled();
        let mut client = mount.client()?.cancelled_by(&cancelled);
        client.flush_kernel()?;
        let info: SnapshotInfo = client.request(&ControlRequest::TakeSnapshot {
            store: true,
            // A switch discards files that ignore rules leave out of versions, too.
            exclude: Vec::new(),
            ignored: true,
        })?;
        Ok(Self {
            session,
            tree: tree_of(&info).0,
            new_bytes: info.new_bytes,
            stored_bytes: info.stored_bytes,
        })
    }

    /// Commits files of the mount to the trash.
    pub(super) fn keep(
        self,
        context: &Context,
        repo: &'r Repo,
        options: &CheckoutOptions,
        head: &Head,
        paths: &[Vec<u8>],
        observer: &dyn Observer,
    ) -> Result<Option<KeptFiles>> {
        let out = Output::of_session(repo, self.session, observer)?;
        out.count_other_process(self.new_bytes, self.stored_bytes);
        let mut picked = BTreeMap::new();
        for path in paths {
            let names = path::split(path).unwrap_or_default();
            let entry = repo.find(&self.tree, &names)?;
            // The other hard links of a file may be outside of the trash.
            picked.extend(entry.map(|entry| {
                (
                    path.clone(),
                    Entry {
                        link: None,
                        ..entry
                    },
                )
            }));
        }
        let entries = topmost(picked);
        if entries.is_empty() {
            return Ok(None);
        }
        let links = LinkTable::default();
        store(context, &out, options, head, entries, links, observer).map(Some)
    }
}
