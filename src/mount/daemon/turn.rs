//! Making versions of a mount and showing others, one at a time.
//!
//! A snapshot that nobody settles is as if it had not been, however its visitor leaves.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::start::rooted;
use super::{Inner, Standing, facts_of};
use crate::error::Result;
use crate::model::id::Id;
use crate::model::path::display;
use crate::mount::control::{Shot, Visit};
use crate::mount::error::MountError;
use crate::mount::inside::mounts_inside;
use crate::mount::snapshot::{Snapshot, Taken, take};
use crate::mount::users;
use crate::mount::view::Shown;
use crate::observe::{Notice, Observer};
use crate::snapshot::output::Output;
use crate::snapshot::walk::rules::Rules;

/// The right to make versions of the mount or to show others; one at a time has it.
pub(super) struct Turn<'i>(&'i Inner);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        *self.0.turn.0.lock() = false;
        self.0.turn.1.notify_one();
    }
}

/// A snapshot that is ended, as if it had not been, when it is dropped.
pub(super) struct Shooting<'i> {
    turn: Turn<'i>,
    snapshot: Option<Snapshot>,
}

impl Shooting<'_> {
    fn end(mut self, taken: Option<&Taken>) {
        if let Some(snapshot) = self.snapshot.take() {
            self.turn.0.view.end(&snapshot, taken);
        }
    }
}

impl Drop for Shooting<'_> {
    fn drop(&mut self) {
        if let Some(snapshot) = self.snapshot.take() {
            self.turn.0.view.end(&snapshot, None);
        }
    }
}

/// A snapshot that was stored, until it is settled.
pub(super) type Pending<'i> = Option<(Shooting<'i>, Taken)>;

impl Inner {
    /// Waits until nobody makes a version or shows another one.
    pub(super) fn turn(&self) -> Turn<'_> {
        let (taken, free) = &self.turn;
        let mut taken = taken.lock();
        while *taken {
            free.wait(&mut taken);
        }
        *taken = true;
        Turn(self)
    }

    /// The mount at this moment.
    pub(super) fn begin(&self, store: bool) -> Result<Shooting<'_>> {
        let turn = self.turn();
        Ok(Shooting { turn, snapshot: Some(self.view.begin(store)?) })
    }

    /// The tree of the moment that was `begun`, or of this one.
    pub(super) fn snapshot<'i>(
        &'i self,
        begun: Option<Shooting<'i>>,
        store: bool,
        exclude: &[String],
        pending: &mut Pending<'i>,
        visit: &mut Visit,
    ) -> std::io::Result<()> {
        let mut objects = Vec::new();
        let shot = self.shoot(begun, store, exclude, pending, &mut objects);
        visit.reply(&shot)?;
        visit.send(&objects)
    }

    fn shoot<'i>(
        &'i self,
        begun: Option<Shooting<'i>>,
        store: bool,
        exclude: &[String],
        pending: &mut Pending<'i>,
        objects: &mut Vec<(Id, Vec<u8>)>,
    ) -> Result<Shot> {
        let mut rules = Rules::new(false, false, None);
        rules.exclude(exclude)?;
        let shooting = match begun {
            Some(begun) => begun,
            None => self.begin(store)?,
        };
        let repo = self.lower.repo();
        let witness = Witness::default();
        let out = if store { Output::storing(repo, &witness)? } else { Output::dry(repo) };
        let standing = self.standing().clone();
        let committed = repo.commit_cached(&standing.version)?.tree != standing.below;
        let Some(snapshot) = &shooting.snapshot else { return Err(MountError::NoSnapshot.into()) };
        let taken = take(&self.lower, snapshot, &standing.below, committed, &rules, &out, &witness, self.jobs)?;
        if let Some(sink) = out.sink() {
            sink.finish()?;
        } else {
            *objects = repo.volatile().take();
        }
        let shot = Shot {
            tree: taken.tree.to_string(),
            files: taken.totals.files,
            dirs: taken.totals.dirs,
            bytes: taken.totals.bytes,
            new_bytes: out.new_bytes(),
            stored_bytes: out.stored_bytes(),
            skipped: witness.skipped.into_inner(),
            objects: objects.len() as u64,
        };
        if store {
            // Should nobody say what became of it, then it is known by this.
            let shot = vec![("shot", taken.tree.to_string().into_bytes())];
            self.view.sync_with(shot).map_err(|e| self.io("flush", e.0))?;
            self.standing().shot = Some(taken.tree);
            *pending = Some((shooting, taken));
        }
        Ok(shot)
    }

    pub(super) fn settle(
        &self,
        pending: Pending<'_>,
        version: &str,
        branch: Option<String>,
        whole: bool,
    ) -> Result<()> {
        let Some((shooting, taken)) = pending else { return Err(MountError::NoSnapshot.into()) };
        shooting.end(whole.then_some(&taken));
        let mut standing = self.standing();
        standing.version = Id::parse(version).unwrap_or(standing.version);
        standing.branch = branch.or_else(|| standing.branch.clone());
        let facts = facts_of(&standing, &self.note.revision);
        drop(standing);
        self.view.sync_with(facts).map_err(|e| self.io("flush", e.0))
    }

    pub(super) fn move_to(&self, version: &str, branch: Option<String>, force: bool) -> Result<()> {
        let _turn = self.turn();
        let id = Id::parse(version).unwrap_or(Id([0; 32]));
        let commit = self.lower.repo().commit_cached(&id)?;
        if id == self.standing().version && !force {
            // Only the branch is another.
            let mut standing = self.standing();
            standing.branch = branch;
            let facts = facts_of(&standing, &self.note.revision);
            drop(standing);
            return self.view.sync_with(facts).map_err(|e| self.io("flush", e.0));
        }
        self.show(id, commit.tree, branch, force)
    }

    /// Shows another tree. Refused as long as a file is open for writing, or where a mount would be taken away.
    pub(super) fn show(&self, version: Id, tree: Id, branch: Option<String>, force: bool) -> Result<()> {
        /// The kernel tells that a file was closed some time after the program has gone on. Where no process has it open
        /// any more, that is waited for.
        const CLOSING: Duration = Duration::from_secs(5);
        let upper = rooted(&self.lower, &tree)?;
        let standing = self.standing().clone();
        let next = Standing { version, below: tree, branch: branch.or(standing.branch), shot: None };
        let facts = facts_of(&next, &self.note.revision);
        let inside = mounts_inside(self.device);
        let since = Instant::now();
        let forgotten = loop {
            let written = match self.view.replace(&upper, &facts, force, &inside)? {
                Shown::Done(forgotten) => break forgotten,
                Shown::Written(written) => written,
            };
            let user = written.iter().find_map(|(ino, path, user)| {
                let user = user.clone().or_else(|| users::writer(self.device, *ino))?;
                Some((path, Some(user)))
            });
            let late = written.first().filter(|_| since.elapsed() > CLOSING).map(|(_, path, _)| (path, None));
            if let Some((path, user)) = user.or(late) {
                return Err(MountError::Written { path: display(path).to_string(), user }.into());
            }
            std::thread::sleep(Duration::from_millis(5));
        };
        *self.standing() = next;
        for dir in &forgotten.dirs {
            self.forgetter.wait_for(*dir);
        }
        for (parent, name, gone) in &forgotten.names {
            match gone {
                Some(ino) => self.forgetter.removed(*parent, *ino, name),
                None => self.forgetter.name(*parent, name),
            }
        }
        for ino in &forgotten.dirs {
            self.forgetter.inode(*ino);
        }
        for ino in &forgotten.attributes {
            self.forgetter.attributes(*ino);
        }
        self.hydrator.again();
        Ok(())
    }
}

/// Notes what a snapshot leaves out.
#[derive(Default)]
struct Witness {
    skipped: Mutex<Vec<Vec<u8>>>,
}

impl Observer for Witness {
    fn notice(&self, notice: Notice) {
        self.skipped.lock().push(notice.path);
    }
}
