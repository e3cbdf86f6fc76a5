//! The process of one mount: makes the view over its overlay, attaches it, serves it, and answers at its desk.
//!
//! The overlay is locked while it lives. Whatever ends it, what was fsynced is on disk; a clean end flushes all.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::attach::{self, AttachOptions};
use super::control::{Ask, ControlError, Desk, Facts, Note, Shot, Visit};
use super::error::MountError;
use super::fuse::{self, Forgetter, Mode};
use super::hydrate::{Hydrator, Which};
use super::inode::{Inode, ROOT, What};
use super::lower::Lower;
use super::mountinfo;
use super::names::{Names, Upper};
use super::snapshot::{Snapshot, Taken, take};
use super::space::Space;
use super::store::{CLEAN, Flush, Store, YES};
use super::view::{Complain, View, ViewOptions};
use crate::error::Result;
use crate::model::id::{Id, parse_hex, to_hex};
use crate::observe::{Notice, Observer};
use crate::repo::Repo;
use crate::store::meter::Meter;
use crate::store::{StoreError, random_hex};
use crate::write::output::Output;
use crate::write::walk::Rules;

/// Names and times that nobody asked to be durable are flushed that often.
const FLUSH_EVERY: Duration = Duration::from_secs(5);

/// What to mount.
pub struct Setup {
    /// The repository.
    pub repo: Repo,
    /// The version, and its tree.
    pub version: (Id, Id),
    /// The branch that commits go to.
    pub branch: Option<String>,
    /// The revision as it was asked for.
    pub revision: String,
    /// Where to.
    pub at: PathBuf,
    /// Where what is changed is kept, and under which name.
    pub overlay: Option<(PathBuf, String)>,
    /// Remove the overlay at the end.
    pub ephemeral: bool,
    /// Nothing can be changed.
    pub read_only: bool,
    /// Other users may use it.
    pub allow_other: bool,
    /// Files of the version are shown as of this user and group.
    pub map_owner: Option<(u32, u32)>,
    /// Bytes that the overlay may take.
    pub quota: Option<u64>,
    /// Databases are to be committed while they run.
    pub live: bool,
    /// Which files are brought whole, and how many bytes of them at most.
    pub hydrate: (Which, u64),
    /// Threads that compute.
    pub jobs: usize,
    /// Where sockets and notes are.
    pub run: PathBuf,
    /// What came from the remote.
    pub meter: Arc<Meter>,
    /// Asked from time to time which version is to be shown, and its tree.
    pub follow: Option<Box<Follow>>,
    /// Told what goes wrong.
    pub complain: Arc<Complain>,
}

/// Tells which version is to be shown, and its tree.
pub type Follow = dyn Fn(&Repo) -> Result<(Id, Id)> + Send + Sync;

/// On what a mount stands.
#[derive(Clone, Debug)]
struct Standing {
    version: Id,
    /// The tree that names are relative to.
    below: Id,
    branch: Option<String>,
    /// The tree that a commit took last.
    shot: Option<Id>,
}

/// A mount that is attached.
pub struct Daemon {
    inner: Arc<Inner>,
    served: fuse::Served,
    desk: Arc<Desk>,
}

struct Inner {
    view: Arc<View>,
    lower: Arc<Lower>,
    hydrator: Arc<Hydrator>,
    standing: Mutex<Standing>,
    note: Note,
    meter: Arc<Meter>,
    jobs: usize,
    forgetter: Forgetter,
    follow: Option<Box<Follow>>,
    complain: Arc<Complain>,
    /// Whether somebody makes a version or shows another one.
    turn: (Mutex<bool>, Condvar),
    ended: (Mutex<bool>, Condvar),
    discard: AtomicBool,
    /// Held while the end is being answered.
    leaving: Mutex<()>,
}

impl Daemon {
    /// Attaches a version and begins to serve it.
    pub fn start(setup: Setup) -> Result<Self> {
        bury(&setup.at)?;
        let lower = Arc::new(Lower::new(setup.repo));
        let mut standing =
            Standing { version: setup.version.0, below: setup.version.1, branch: setup.branch, shot: None };
        let (mut upper, mut changed, mut store) = (Upper::default(), HashSet::new(), None);
        let dir = setup.overlay.as_ref().map_or_else(|| PathBuf::from("/"), |o| o.0.join("data"));
        let space = Arc::new(Space::new(dir.clone(), setup.quota));
        if let Some((overlay, name)) = &setup.overlay {
            let kept = Store::open(overlay, name)?;
            if let Some(was) = resume(lower.repo(), &kept, &standing, name)? {
                standing = was;
                let loaded = kept.load(&space)?;
                for lost in &loaded.lost {
                    (setup.complain)(&format!("lost: {lost}"));
                }
                (upper, changed) = (loaded.upper, loaded.changed);
            }
            store = Some(kept);
        }
        let key = store.as_ref().map_or(Ok(None), |store| store.meta("key"))?;
        let key = key.as_deref().and_then(|key| parse_key(&String::from_utf8_lossy(key)));
        let key = key.map_or_else(new_key, Ok)?;
        if !upper.inodes.contains_key(&ROOT) {
            upper = rooted(&lower, &standing.below)?;
            if let Some(store) = &store {
                let root = upper.inodes.get(&ROOT).cloned();
                let mut meta = facts_of(&standing, &setup.revision);
                meta.push(("key", to_hex(&key).into_bytes()));
                store.replace(&Flush { inodes: vec![(ROOT, root, false)], meta, ..Flush::default() })?;
            }
        }
        upper.key = key;
        if store.is_some() {
            sweep(&dir, &upper, &space);
        }
        let names = Names::new(Arc::clone(&lower), Arc::clone(&space), upper, changed);
        let hydrator = Arc::new(Hydrator::new(setup.hydrate.0, setup.hydrate.1));
        // Only files that are wholly here can be handed over, and then nobody sees what is written to them.
        let passthrough = hydrator.is_on() && !setup.live && attach::passthrough_possible().is_ok();
        let mode = if passthrough { Mode::Passthrough } else { Mode::Writeback };
        let options = ViewOptions { read_only: setup.read_only, map_owner: setup.map_owner, passthrough };
        let told = Arc::clone(&setup.complain);
        let view = View::new(Arc::clone(&lower), space, names, store, options, Box::new(move |text| told(text)));
        let view = Arc::new(view);
        let source = format!("dvc:{}", setup.revision);
        let attached = attach::attach(&AttachOptions {
            at: setup.at.clone(),
            source,
            read_only: setup.read_only,
            allow_other: setup.allow_other,
        })?;
        let at = attached.at.clone();
        let undo = Undo(Some(at.clone()));
        // A reader of a local repository waits for the disk; as many may do so at a time.
        let threads = (setup.jobs * 2).clamp(4, 16);
        let io = |what| {
            let key = at.display().to_string();
            move |source| StoreError::Io { what, key: key.clone(), source }
        };
        let served =
            fuse::serve(Arc::clone(&view), attached.device, threads, mode, setup.allow_other).map_err(io("serve"))?;
        attach::tune(&at);
        let mounted = mountinfo::ours().map_err(io("find"))?;
        let device = mounted.iter().rev().find(|m| m.at == at).map_or((0, 0), |m| m.device);
        let note = Note {
            pid: std::process::id(),
            at: at.clone(),
            repository: lower.repo().path().to_path_buf(),
            overlay: setup.overlay.as_ref().map(|o| o.1.clone()),
            revision: setup.revision,
            read_only: setup.read_only,
            mode: if passthrough { "passthrough" } else { "writeback" }.to_owned(),
        };
        let desk = Desk::open(&setup.run, device, &note).map_err(io("open the socket of"))?;
        let forgetter = served.forgetter();
        let stale = served.forgetter();
        view.tell_stale(Box::new(move |ino| stale.attributes(ino)));
        undo.forget();
        let inner = Inner {
            view,
            lower,
            hydrator,
            standing: Mutex::new(standing),
            note,
            meter: setup.meter,
            jobs: setup.jobs,
            forgetter,
            follow: setup.follow,
            complain: Arc::clone(&setup.complain),
            turn: <_>::default(),
            ended: <_>::default(),
            discard: AtomicBool::new(setup.ephemeral),
            leaving: Mutex::default(),
        };
        Ok(Self { inner: Arc::new(inner), served, desk: Arc::new(desk) })
    }

    /// Waits until all files are here that are to be brought; [`Self::run`] has to be running.
    pub fn waiter(&self) -> impl FnOnce() + Send + 'static {
        let hydrator = Arc::clone(&self.inner.hydrator);
        move || hydrator.wait()
    }

    /// What the mount is.
    pub fn note(&self) -> &Note {
        &self.inner.note
    }

    /// Serves until it is unmounted. `asked` tells whether a signal asked for the end.
    pub fn run(self, asked: &dyn Fn() -> bool, overlay: Option<PathBuf>) -> Result<()> {
        let Self { inner, served, desk } = self;
        let at = inner.note.at.clone();
        let flusher = {
            let inner = Arc::clone(&inner);
            std::thread::spawn(move || inner.flush_often())
        };
        let bringer = {
            let inner = Arc::clone(&inner);
            let told = Arc::clone(&inner.hydrator);
            inner.view.tell_wanted(Box::new(move |ino| told.opened(ino)));
            std::thread::spawn(move || inner.hydrator.run(&inner.view, &*inner.complain))
        };
        let clerk = {
            let (inner, desk) = (Arc::clone(&inner), Arc::clone(&desk));
            std::thread::spawn(move || inner.attend(&desk))
        };
        let session = {
            let inner = Arc::clone(&inner);
            std::thread::spawn(move || {
                let ended = served.wait();
                inner.end();
                ended
            })
        };
        let mut told = false;
        while !inner.has_ended(Duration::from_millis(200)) {
            if asked() && !told {
                told = true;
                if attach::detach(&at, false).is_err() {
                    // Whoever uses it goes on until he is done; nobody new comes.
                    let _ = attach::detach(&at, true);
                }
            }
        }
        let ended = session.join();
        Desk::wake(desk.path());
        inner.hydrator.end();
        let _ = (flusher.join(), clerk.join(), bringer.join());
        let flushed = inner.view.sync_with(vec![(CLEAN, YES.to_vec())]);
        drop(inner.leaving.lock());
        let discard = inner.discard.load(Ordering::Acquire);
        drop((inner, desk));
        if let (true, Some(overlay)) = (discard, overlay) {
            let _ = std::fs::remove_dir_all(overlay);
        }
        let io = |what, source| StoreError::Io { what, key: at.display().to_string(), source };
        flushed.map_err(|e| io("flush", std::io::Error::from_raw_os_error(e.0)))?;
        match ended {
            Ok(Err(source)) => Err(io("serve", source).into()),
            _ => Ok(()),
        }
    }
}

/// Detaches what was attached, should nothing come of it.
struct Undo(Option<PathBuf>);

impl Undo {
    fn forget(mut self) {
        self.0 = None;
    }
}

impl Drop for Undo {
    fn drop(&mut self) {
        if let Some(at) = &self.0 {
            let _ = attach::detach(at, true);
        }
    }
}

fn parse_key(hex: &str) -> Option<[u8; 16]> {
    let mut key = [0; 16];
    parse_hex(hex, &mut key).map(|()| key)
}

fn new_key() -> Result<[u8; 16]> {
    parse_key(&random_hex()?).ok_or_else(|| MountError::NoSnapshot.into())
}

/// Removes the mount of a process that is gone.
fn bury(at: &Path) -> Result<()> {
    for mounted in mountinfo::ours().unwrap_or_default().iter().rev() {
        if mounted.at == *at && attach::is_dead(at) {
            attach::detach(at, true)?;
        }
    }
    Ok(())
}

/// What an overlay stands on, if it is to be gone on with.
fn resume(repo: &Repo, store: &Store, asked: &Standing, name: &str) -> Result<Option<Standing>> {
    let id = |key: &str| -> Result<Option<Id>> {
        Ok(store.meta(key)?.and_then(|v| Id::parse(&String::from_utf8_lossy(&v))))
    };
    let (Some(version), Some(below)) = (id("version")?, id("below")?) else { return Ok(None) };
    let branch = store.meta("branch")?.filter(|b| !b.is_empty()).map(|b| String::from_utf8_lossy(&b).into_owned());
    let shot = id("shot")?;
    let branch = branch.or_else(|| asked.branch.clone());
    // A commit that ended before it could tell: the version was made of this overlay.
    let own = || -> Result<bool> {
        let commit = repo.commit_cached(&asked.version)?;
        Ok(Some(commit.tree) == shot && commit.parents.contains(&version))
    };
    if version == asked.version || own()? {
        return Ok(Some(Standing { version: asked.version, below, branch, shot }));
    }
    if store.is_changed()? {
        return Err(MountError::OtherVersion { name: name.to_owned(), version: version.short() }.into());
    }
    Ok(None)
}

/// Removes upper files that belong to nothing, and counts the others.
fn sweep(dir: &Path, upper: &Upper, space: &Space) {
    use std::os::unix::fs::MetadataExt;
    for fold in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        for file in std::fs::read_dir(fold.path()).into_iter().flatten().flatten() {
            let ino = file.file_name().to_str().and_then(|name| u64::from_str_radix(name, 16).ok());
            match ino.filter(|ino| upper.inodes.contains_key(ino)) {
                Some(_) => space.count(0, file.metadata().map_or(0, |m| m.blocks() * 512)),
                None => drop(std::fs::remove_file(file.path())),
            }
        }
    }
}

/// The names of an untouched version.
fn rooted(lower: &Lower, tree: &Id) -> Result<Upper> {
    let info = lower.repo().root_info(tree)?;
    let mtime = info.meta.mtime;
    let what = What::Dir { tree: Some(*tree), stored: Some((*tree, info.totals)) };
    let root = Inode {
        meta: info.meta,
        atime: mtime,
        ctime: mtime,
        nlink: 2 + lower.dir(tree)?.subdirs,
        parent: ROOT,
        name: Vec::new(),
        foreign: true,
        what,
    };
    let mut upper = Upper::default();
    upper.inodes.insert(ROOT, Arc::new(root));
    Ok(upper)
}

fn facts_of(standing: &Standing, revision: &str) -> Vec<(&'static str, Vec<u8>)> {
    vec![
        ("version", standing.version.to_string().into_bytes()),
        ("below", standing.below.to_string().into_bytes()),
        ("shot", standing.shot.map(|id| id.to_string()).unwrap_or_default().into_bytes()),
        ("branch", standing.branch.clone().unwrap_or_default().into_bytes()),
        ("revision", revision.as_bytes().to_vec()),
    ]
}

/// The right to make versions of the mount or to show others; one at a time has it.
struct Turn<'i>(&'i Inner);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        *self.0.turn.0.lock().unwrap_or_else(PoisonError::into_inner) = false;
        self.0.turn.1.notify_one();
    }
}

/// A snapshot that is ended, as if it had not been, when it is dropped.
struct Shooting<'i> {
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
type Pending<'i> = Option<(Shooting<'i>, Taken)>;

impl Inner {
    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self) {
        *self.ended.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.ended.1.notify_all();
    }

    fn has_ended(&self, wait: Duration) -> bool {
        let ended = self.ended.0.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.ended.1.wait_timeout_while(ended, wait, |ended| !*ended);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }

    fn flush_often(&self) {
        while !self.has_ended(FLUSH_EVERY) {
            // It is told in the log, and tried again.
            let _ = self.view.sync_all();
            self.look_again();
        }
    }

    /// Shows what is to be shown now.
    fn look_again(&self) {
        let Some(follow) = &self.follow else { return };
        let moved = follow(self.lower.repo()).and_then(|(version, tree)| {
            let _turn = self.turn();
            let below = self.standing().below;
            if below == tree { Ok(()) } else { self.show(version, tree, None, false) }
        });
        if let Err(e) = moved {
            (self.complain)(&format!("cannot follow: {e}"));
        }
    }

    fn attend(self: &Arc<Self>, desk: &Desk) {
        loop {
            let visit = desk.next();
            if self.has_ended(Duration::ZERO) {
                return;
            }
            let inner = Arc::clone(self);
            let serve = |visit| std::thread::Builder::new().spawn(move || inner.serve(visit)).map(drop);
            if visit.and_then(serve).is_err() {
                // No descriptors or threads are left: some time later there may be.
                std::thread::sleep(Duration::from_millis(100));
            }
        }
    }

    /// Waits until nobody makes a version or shows another one.
    fn turn(&self) -> Turn<'_> {
        let (taken, free) = &self.turn;
        let mut taken = taken.lock().unwrap_or_else(PoisonError::into_inner);
        while *taken {
            taken = free.wait(taken).unwrap_or_else(PoisonError::into_inner);
        }
        *taken = true;
        Turn(self)
    }

    /// Answers one visitor until he leaves. What he did not settle is as if it had not been.
    fn serve(&self, mut visit: Visit) {
        let mut pending: Pending<'_> = None;
        while let Ok(Some(ask)) = visit.ask() {
            let answered = match ask {
                Ask::Facts => visit.reply(&Ok(self.facts())),
                Ask::Writers => visit.reply(&Ok(self.view.writers())),
                Ask::Snapshot { store, exclude } => {
                    // Whoever takes another one has no use for the last.
                    drop(pending.take());
                    self.snapshot(store, &exclude, &mut pending, &mut visit)
                }
                Ask::Settle { version, branch, whole } => {
                    visit.reply(&self.settle(pending.take(), &version, branch, whole))
                }
                Ask::Move { version, branch, force } => {
                    drop(pending.take());
                    visit.reply(&self.move_to(&version, branch, force))
                }
                Ask::Stop { discard } => {
                    drop(pending.take());
                    let _turn = self.turn();
                    // The process does not end before this is answered.
                    let _leaving = self.leaving.lock().unwrap_or_else(PoisonError::into_inner);
                    let stopped = self.stop(discard);
                    let done = stopped.is_ok();
                    let _ = visit.reply(&stopped);
                    if done {
                        // The visitor waits until the process has ended, and everything is on disk.
                        std::mem::forget(visit);
                        return;
                    }
                    continue;
                }
            };
            if answered.is_err() {
                break;
            }
        }
    }

    fn io(&self, what: &'static str, errno: i32) -> crate::error::Error {
        let source = std::io::Error::from_raw_os_error(errno);
        StoreError::Io { what, key: self.note.at.display().to_string(), source }.into()
    }

    fn facts(&self) -> Facts {
        let standing = self.standing().clone();
        let counters = &self.view.counters;
        let read = |n: &std::sync::atomic::AtomicU64| n.load(Ordering::Relaxed);
        let (changed, dirty_bytes, known, open) = self.view.state();
        Facts {
            version: Some(standing.version).filter(|id| *id != Id([0; 32])).map(|id| id.to_string()),
            branch: standing.branch,
            shot: standing.shot.map(|id| id.to_string()),
            changed,
            dirty_bytes,
            overlay_bytes: self.view.space_used(),
            known,
            open,
            reads: read(&counters.reads),
            read_bytes: read(&counters.read_bytes),
            writes: read(&counters.writes),
            written_bytes: read(&counters.written_bytes),
            fetched_bytes: self.meter.down.bytes(),
            requests: self.meter.requests(),
            failed: read(&counters.failed),
            hydrated_bytes: self.hydrator.done_bytes(),
        }
    }

    fn snapshot<'i>(
        &'i self,
        store: bool,
        exclude: &[String],
        pending: &mut Pending<'i>,
        visit: &mut Visit,
    ) -> std::io::Result<()> {
        let mut objects = Vec::new();
        let shot = self.shoot(store, exclude, pending, &mut objects);
        visit.reply(&shot)?;
        visit.send(&objects)
    }

    fn shoot<'i>(
        &'i self,
        store: bool,
        exclude: &[String],
        pending: &mut Pending<'i>,
        objects: &mut Vec<(Id, Vec<u8>)>,
    ) -> Result<Shot> {
        let mut rules = Rules::new(false, false, None);
        rules.exclude(exclude)?;
        let turn = self.turn();
        let repo = self.lower.repo();
        let witness = Witness::default();
        let out = if store { Output::storing(repo, &witness)? } else { Output::dry(repo) };
        let shooting = Shooting { turn, snapshot: Some(self.view.begin(store)?) };
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
            skipped: witness.skipped.into_inner().unwrap_or_else(PoisonError::into_inner),
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

    fn settle(&self, pending: Pending<'_>, version: &str, branch: Option<String>, whole: bool) -> Result<()> {
        let Some((shooting, taken)) = pending else { return Err(MountError::NoSnapshot.into()) };
        shooting.end(whole.then_some(&taken));
        let mut standing = self.standing();
        standing.version = Id::parse(version).unwrap_or(standing.version);
        standing.branch = branch.or_else(|| standing.branch.clone());
        let facts = facts_of(&standing, &self.note.revision);
        drop(standing);
        self.view.sync_with(facts).map_err(|e| self.io("flush", e.0))
    }

    fn move_to(&self, version: &str, branch: Option<String>, force: bool) -> Result<()> {
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

    /// Shows another tree.
    fn show(&self, version: Id, tree: Id, branch: Option<String>, force: bool) -> Result<()> {
        let upper = rooted(&self.lower, &tree)?;
        let mut standing = self.standing();
        let branch = branch.or_else(|| standing.branch.clone());
        let next = Standing { version, below: tree, branch, shot: None };
        let facts = facts_of(&next, &self.note.revision);
        let forgotten = self.view.replace(upper, facts, force)?;
        *standing = next;
        drop(standing);
        for (parent, name) in &forgotten.names {
            self.forgetter.name(*parent, name);
        }
        for ino in &forgotten.inodes {
            self.forgetter.inode(*ino);
        }
        Ok(())
    }

    fn stop(&self, discard: bool) -> Result<()> {
        if !discard {
            self.view.sync_all().map_err(|e| self.io("flush", e.0))?;
        }
        let before = self.discard.fetch_or(discard, Ordering::AcqRel);
        Ok(attach::detach(&self.note.at, false).inspect_err(|_| self.discard.store(before, Ordering::Release))?)
    }
}

/// Notes what a snapshot leaves out.
#[derive(Default)]
struct Witness {
    skipped: Mutex<Vec<Vec<u8>>>,
}

impl Observer for Witness {
    fn notice(&self, notice: Notice) {
        self.skipped.lock().unwrap_or_else(PoisonError::into_inner).push(notice.path);
    }
}

/// There is no mount at a path.
pub fn nothing_at(at: &Path) -> crate::error::Error {
    ControlError::None { at: at.to_path_buf() }.into()
}
