//! The protocol of everything that makes an object reachable: commit, push, fetch, import, a new
//! branch or tag, undo.
//!
//! A writer begins with [`WriteSession::begin`], before it reads any ref. It then looks objects up,
//! stores what is missing, reads the tip of the ref, and calls [`WriteSession::ensure_whole`]
//! directly before it creates the next entry of the log of the ref. If another process moves the
//! ref, or a gc fences its log, the writer reads the tip again and calls `ensure_whole` again.
//! `tests/model` checks this order against a gc that runs at any moment; nothing depends on a
//! clock.

use std::collections::HashSet;

use super::Repo;
use super::gclog::GcState;
use super::log::Appended;
use super::refs::{Move, value_of};
use super::trashlog::{TrashLog, TrashState};
use super::whole::{Lacking, WholeCheck};
use super::writers::WriterMark;
use crate::error::{Failure, Kind, Result};
use crate::format::refentry::RefEntry;
use crate::model::id::Id;
use crate::model::refname::{RefKind, RefName};

/// The error for a version whose objects were collected while a writer relied on them.
#[derive(Debug, thiserror::Error)]
pub enum CollectedError {
    #[error("cannot use {} {}: a garbage collection has deleted it", lacking.kind.name(), lacking.id.short())]
    Collected { lacking: Lacking },
    #[error("cannot use {} {}: a garbage collection that is not finished may delete it", lacking.kind.name(), lacking.id.short())]
    Planned { lacking: Lacking },
    #[error(
        "a garbage collection moved or deleted objects while the command was running: {detail}"
    )]
    Moved { detail: String },
}

impl CollectedError {
    const fn of(lacking: Lacking, now: &GcState) -> Self {
        if now.has_plan {
            Self::Planned { lacking }
        } else {
            Self::Collected { lacking }
        }
    }
}

impl Failure for CollectedError {
    fn kind(&self) -> Kind {
        match self {
            Self::Collected { .. } => Kind::NotFound,
            Self::Planned { .. } | Self::Moved { .. } => Kind::Busy,
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Collected { .. } => {
                "name a version that still has its data; `dvc log` lists them".to_owned()
            }
            Self::Planned { .. } => {
                "let `dvc gc` run to completion, then run the command again".to_owned()
            }
            Self::Moved { .. } => "run the command again".to_owned(),
        })
    }
}

/// A writer of a repository.
pub struct WriteSession<'r> {
    repo: &'r Repo,
    began: GcState,
    _mark: WriterMark,
}

impl<'r> WriteSession<'r> {
    /// Reads the gc log; from now on, rows of packs that are dead or planned to be do not count as
    /// copies.
    pub fn begin(repo: &'r Repo) -> Result<Self> {
        let mark = repo.mark_writer();
        Ok(Self {
            repo,
            began: repo.read_gc_log()?,
            _mark: mark,
        })
    }

    /// Returns the repository that the session writes to.
    pub const fn repo(&self) -> &'r Repo {
        self.repo
    }

    /// Returns the number of the newest dead entry when the session began.
    pub const fn dead_number(&self) -> u64 {
        self.began.dead_number
    }

    /// Reads the gc log again. If the log moved or a gc is between its plan and its end, every
    /// object of the versions `new` that is not part of the tree of `tip` needs a copy that stays.
    /// The caller has read `tip` before the call and creates the next entry of its log after it.
    /// `how` is for an entry of the trash log.
    ///
    /// `is_forced` checks in any case: objects were taken over from records or versions that
    /// nothing protects.
    pub fn ensure_whole(
        &self,
        new: &[Id],
        tip: Option<&Id>,
        is_forced: bool,
        how: &Move<'_>,
    ) -> Result<()> {
        let mut now = self.repo.read_gc_log()?;
        if self.began.is_settled(&now) && !is_forced {
            return Ok(());
        }
        loop {
            match self.ensure_whole_under(&now, new, tip, how) {
                // A gc that ends during the walk deletes objects that the walk is about to read.
                Err(e) if e.kind() == Kind::Integrity => {
                    let then = std::mem::replace(&mut now, self.repo.read_gc_log()?);
                    // The log has not moved since, so no gc explains the error.
                    if then.number == now.number {
                        return Err(e);
                    }
                }
                done => return done,
            }
        }
    }

    fn ensure_whole_under(
        &self,
        now: &GcState,
        new: &[Id],
        tip: Option<&Id>,
        how: &Move<'_>,
    ) -> Result<()> {
        self.repo.refresh_index()?;
        let beside = tip
            .map(|tip| self.repo.commit_cached(tip))
            .transpose()?
            .map(|commit| commit.tree);
        // The trash log is read after the gc log, and again if another process appends to it during
        // the walk: a version may have been restored.
        loop {
            let trash = self.repo.forgotten()?;
            let lost = self.walk(now, &trash, new, tip, beside.as_ref())?;
            if lost.is_empty() {
                return Ok(());
            }
            // A restore that read the log before this fence must look for the objects, which are
            // gone, once more.
            if TrashLog::new(self.repo.store()).fence_after(trash.number, how)? == Appended::Counts
            {
                return Ok(());
            }
        }
    }

    /// Looks for all objects of versions and their ancestors that the tree of `tip` does not have.
    /// Returns the forgotten ancestors that lack objects.
    fn walk(
        &self,
        now: &GcState,
        trash: &TrashState,
        new: &[Id],
        tip: Option<&Id>,
        beside: Option<&Id>,
    ) -> Result<Vec<Id>> {
        // An ancestor of the tip is protected by the ref that names the tip, unless it is
        // forgotten.
        let mut protected: HashSet<Id> = HashSet::new();
        let mut todo: Vec<Id> = tip.copied().into_iter().collect();
        while let Some(id) = todo.pop() {
            if protected.insert(id) {
                todo.extend(self.parents(&id)?);
            }
        }
        let mut seen: HashSet<Id> = HashSet::new();
        let mut check = WholeCheck::new(self.repo);
        let mut lost = Vec::new();
        let mut todo: Vec<Id> = new.to_vec();
        while let Some(id) = todo.pop() {
            if !seen.insert(id) {
                continue;
            }
            let is_new = new.contains(&id);
            let is_protected = protected.contains(&id) && !is_new;
            // Only a version whose commit object stays has readable parents. A gc keeps the commit
            // objects of forgotten versions, too.
            if !is_protected && let Err(lacking) = check.commit(&id)? {
                return Err(CollectedError::of(lacking, now).into());
            }
            todo.extend(self.parents(&id)?);
            // The tip of a ref is never forgotten.
            let is_skipped = trash.contains(&id) && !is_new;
            if is_protected && !is_skipped {
                continue;
            }
            match check.version(&id, beside)? {
                Ok(()) => {}
                Err(_) if is_skipped => lost.push(id),
                Err(lacking) => return Err(CollectedError::of(lacking, now).into()),
            }
        }
        Ok(lost)
    }

    /// Returns the parents of a version; none if a partial clone lacks the commit.
    fn parents(&self, id: &Id) -> Result<Vec<Id>> {
        match self.repo.commit_cached(id) {
            Err(e) if e.kind() == Kind::Integrity && Repo::partial(self.repo.path()).is_some() => {
                Ok(Vec::new())
            }
            commit => Ok(commit?.parents),
        }
    }

    /// Moves a ref from the value `expected` to `new`; `None` is a ref that does not exist. Returns
    /// no entry if another process has moved the ref. A fence of a gc does not count as a move.
    pub fn move_ref(
        &self,
        kind: RefKind,
        name: &RefName,
        expected: Option<&Id>,
        new: NewValue,
        how: &Move<'_>,
    ) -> Result<Option<RefEntry>> {
        let refs = self.repo.refs();
        loop {
            let tip = match new.id() {
                Some(_) => refs.tip_to_move(kind, name, how)?,
                None => match refs.tip(kind, name)? {
                    Some(tip) => tip,
                    None => return Ok(None),
                },
            };
            if value_of(&tip).as_ref() != expected {
                return Ok(None);
            }
            match new {
                NewValue::Stored(new) => self.ensure_whole(&[new], expected, false, how)?,
                NewValue::Named(new) => {
                    // A version that no ref reaches may have lost its data in an earlier gc, so the
                    // check is forced.
                    self.ensure_whole(&[new], expected, !self.repo.is_reached(&new)?, how)?
                }
                NewValue::Deleted => {}
            }
            if let Some(entry) = refs.update(kind, name, Some(&tip), new.id(), how)? {
                return Ok(Some(entry));
            }
        }
    }

    /// Returns the newest entry of a ref that the caller will move.
    pub fn tip(&self, kind: RefKind, name: &RefName, how: &Move<'_>) -> Result<RefEntry> {
        self.repo.refs().tip_to_move(kind, name, how)
    }

    /// Creates the entry after `tip`. The caller has read `tip` with [`Self::tip`], and called
    /// [`Self::ensure_whole`] after that. Returns no entry if another process created one first.
    pub fn create_entry(
        &self,
        kind: RefKind,
        name: &RefName,
        tip: &RefEntry,
        new: Id,
        how: &Move<'_>,
    ) -> Result<Option<RefEntry>> {
        self.repo
            .refs()
            .update(kind, name, Some(tip), Some(new), how)
    }
}

/// The check of a root that has no log: a lease, the base of a worktree, an overlay.
///
/// No gc fences such a root. Its writer therefore begins the check before it looks at the version,
/// creates the root, and then calls [`Self::ensure_whole`]; after an error it removes the root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootCheck {
    /// Number of the gc log before the version was chosen; `None` if it is unknown.
    number: Option<u64>,
}

impl RootCheck {
    /// Reads the gc log. The caller chooses the version afterwards.
    pub fn begin(repo: &Repo) -> Result<Self> {
        Ok(Self {
            number: Some(repo.read_gc_log()?.number),
        })
    }

    /// Returns a check for a version that was chosen when the newest entry of the gc log had this
    /// number. With `None`, all objects are looked up.
    pub const fn since(number: Option<u64>) -> Self {
        Self { number }
    }

    /// Returns the number of the gc log before the version was chosen; `None` if it is unknown.
    pub const fn number(&self) -> Option<u64> {
        self.number
    }

    /// Reads the gc log again. If the log moved, if a gc is between its plan and its end, or if no
    /// ref keeps the versions, every object of the versions needs a copy that stays.
    pub fn ensure_whole(&self, repo: &Repo, versions: &[Id]) -> Result<()> {
        let mut now = repo.read_gc_log()?;
        if self.number == Some(now.number) && !now.has_plan && Self::are_kept(repo, versions)? {
            return Ok(());
        }
        loop {
            match Self::look(repo, &now, versions) {
                // A gc that ends during the walk deletes objects that the walk is about to read.
                Err(e) if e.kind() == Kind::Integrity => {
                    let then = std::mem::replace(&mut now, repo.read_gc_log()?);
                    if then.number == now.number {
                        return Err(e);
                    }
                }
                done => return done,
            }
        }
    }

    /// Returns whether a ref keeps all versions, so that no earlier gc has collected them. Of a
    /// remote repository, the caller has the versions from its refs, so that only its trash counts.
    fn are_kept(repo: &Repo, versions: &[Id]) -> Result<bool> {
        if repo.as_local().is_none() {
            let trash = repo.forgotten()?;
            return Ok(!versions.iter().any(|id| trash.contains(id)));
        }
        for id in versions {
            if !repo.is_reached(id)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn look(repo: &Repo, now: &GcState, versions: &[Id]) -> Result<()> {
        repo.refresh_index()?;
        let mut check = WholeCheck::new(repo);
        for id in versions {
            if let Err(lacking) = check.version(id, None)? {
                return Err(CollectedError::of(lacking, now).into());
            }
        }
        Ok(())
    }
}

/// The new value of a ref.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NewValue {
    /// The caller has looked for every object of the version since the session began, except for
    /// those that a ref of the repository reached then.
    Stored(Id),
    /// The caller has only the id of the version.
    Named(Id),
    /// The ref is deleted.
    Deleted,
}

impl NewValue {
    /// Returns a version that the caller knows only by its id; `None` deletes the ref.
    pub fn named(id: Option<Id>) -> Self {
        id.map_or(Self::Deleted, Self::Named)
    }

    /// Returns the id of the version, or `None` if the ref is deleted.
    pub const fn id(self) -> Option<Id> {
        match self {
            Self::Stored(id) | Self::Named(id) => Some(id),
            Self::Deleted => None,
        }
    }
}

impl Repo {
    /// Returns whether a version is the value of a ref, or is an ancestor of one and not forgotten.
    fn is_reached(&self, version: &Id) -> Result<bool> {
        let mut todo = Vec::new();
        for kind in RefKind::STORED {
            todo.extend(
                self.refs()
                    .readable(kind)?
                    .tips
                    .into_iter()
                    .map(|tip| tip.id),
            );
        }
        if todo.contains(version) {
            return Ok(true);
        }
        // A gc may have deleted the data of a forgotten version, although a ref reaches its
        // descendants.
        if self.forgotten()?.contains(version) {
            return Ok(false);
        }
        let mut seen = HashSet::new();
        while let Some(id) = todo.pop() {
            if id == *version {
                return Ok(true);
            }
            // An unreadable version only ends this path. The forced check then reports the damage.
            if seen.insert(id)
                && let Ok(commit) = self.commit_cached(&id)
            {
                todo.extend(commit.parents);
            }
        }
        Ok(false)
    }

    /// Moves a ref from the value `expected` to a version that the caller knows only by its id;
    /// `None` is a ref that does not exist. Returns no entry if another process has moved the ref.
    pub fn move_ref(
        &self,
        kind: RefKind,
        name: &RefName,
        expected: Option<&Id>,
        new: Option<Id>,
        how: &Move<'_>,
    ) -> Result<Option<RefEntry>> {
        WriteSession::begin(self)?.move_ref(kind, name, expected, NewValue::named(new), how)
    }
}

/// Returns whether an error says that objects were collected. A writer that has the data can then
/// store the objects again.
pub fn is_collected(e: &crate::error::Error) -> bool {
    e.as_error().downcast_ref::<CollectedError>().is_some()
}
