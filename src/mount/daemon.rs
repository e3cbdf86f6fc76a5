//! The process of one mount: makes the view over its overlay, attaches it, serves it, and answers at its desk.
//!
//! The overlay is locked while it lives. Whatever ends it, what was fsynced is on disk; a clean end flushes all.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex, MutexGuard};

use super::attach::{self, MountTrust};
use super::control::{Ask, ControlError, Desk, Facts, Note, Visit};
use super::fuse::{self, Forgetter};
use super::hydrate::{Hydrator, Which};
use super::lower::Lower;
use super::profile::{Profile, Recorder};
use super::view::{Complain, View};
use crate::error::{Result, with_causes};
use crate::model::id::Id;
use crate::repo::Repo;
use crate::store::meter::Meter;
use crate::sys::io_error::IoError;

mod fetched;
mod start;
mod turn;
mod waiting;

use turn::{Pending, Shooting};

pub use fetched::fetched;
pub use start::{Kept, Left, left, look, stays_served};
pub use waiting::wait_while_ending;

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
    /// What its files may do.
    pub trust: MountTrust,
    /// Files of the version are shown as of this user and group.
    pub map_owner: Option<(u32, u32)>,
    /// Bytes that the overlay may take.
    pub quota: Option<u64>,
    /// Databases are to be committed while they run.
    pub live: bool,
    /// Which files are brought whole, and how many bytes of them at most.
    pub hydrate: (Which, u64),
    /// Notes what is read of the version.
    pub recorder: Option<Arc<Recorder>>,
    /// What is brought to this machine before it is asked for, and how many bytes at most.
    pub prefetch: Option<(Profile, u64)>,
    /// Threads that compute.
    pub jobs: usize,
    /// Where sockets and notes are.
    pub run: PathBuf,
    /// What came from the remote.
    pub meter: Arc<Meter>,
    /// Asked from time to time which version is to be shown, and its tree.
    pub follow: Option<Box<Follow>>,
    /// Whether the directories show several versions.
    pub several: bool,
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
    recorder: Option<Arc<Recorder>>,
    prefetch: Option<(Profile, u64)>,
    jobs: usize,
    forgetter: Forgetter,
    follow: Option<Box<Follow>>,
    complain: Arc<Complain>,
    /// The device number of the mount.
    device: (u32, u32),
    /// Why it could not follow the last time, so that the log says it once.
    refused: Mutex<String>,
    /// Whether somebody makes a version or shows another one.
    turn: (Mutex<bool>, Condvar),
    ended: (Mutex<bool>, Condvar),
    discard: AtomicBool,
    /// Held while the end is being answered.
    leaving: Mutex<()>,
}

impl Daemon {
    /// Waits until all files are here that are to be brought; [`Self::run`] has to be running.
    pub fn waiter(&self) -> impl FnOnce() + Send + 'static {
        let hydrator = Arc::clone(&self.inner.hydrator);
        move || hydrator.wait()
    }

    /// Tells how the mount stands, as long as it does.
    pub fn teller(&self) -> impl Fn() -> Option<Facts> + Send + 'static {
        let inner = Arc::downgrade(&self.inner);
        move || inner.upgrade().map(|inner| inner.facts())
    }

    /// Ends the mount when it is called: programs that use it may go on until they are done.
    pub fn stopper(&self) -> impl Fn() + Send + 'static {
        let at = self.inner.note.at.clone();
        move || {
            if attach::detach(&at, false).is_err() {
                let _ = attach::detach(&at, true);
            }
        }
    }

    /// What the mount is.
    pub fn note(&self) -> &Note {
        &self.inner.note
    }

    /// Serves until it is unmounted. No thread wakes up as long as nothing is asked and nothing has to be written.
    pub fn run(self, overlay: Option<PathBuf>) -> Result<()> {
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
        let prefetcher = {
            let inner = Arc::clone(&inner);
            std::thread::spawn(move || inner.prefetch())
        };
        let clerk = {
            let (inner, desk) = (Arc::clone(&inner), Arc::clone(&desk));
            std::thread::spawn(move || inner.attend(&desk))
        };
        let ended = served.wait();
        if let Some(overlay) = &overlay {
            waiting::ends(overlay, &at);
        }
        inner.end();
        desk.close();
        inner.hydrator.end();
        let _ = (flusher.join(), clerk.join(), bringer.join(), prefetcher.join());
        inner.note_reads();
        let flushed = inner.view.finish();
        drop(inner.leaving.lock());
        let discard = inner.discard.load(Ordering::Acquire);
        if let (false, Some(overlay)) = (discard, &overlay) {
            let _ = fetched::note(overlay, inner.lower.repo().fetched());
        }
        drop((inner, desk));
        if let (true, Some(overlay)) = (discard, overlay) {
            let _ = std::fs::remove_dir_all(overlay);
        }
        let io = |what, source: std::io::Error| IoError::new(what, &at, source);
        flushed.map_err(|e| io("flush", std::io::Error::from_raw_os_error(e.0)))?;
        ended.map_err(|source| io("serve", source).into())
    }
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

impl Inner {
    fn standing(&self) -> MutexGuard<'_, Standing> {
        self.standing.lock()
    }

    fn end(&self) {
        *self.ended.0.lock() = true;
        self.ended.1.notify_all();
        self.view.news().come();
    }

    fn has_ended(&self, wait: Duration) -> bool {
        let mut ended = self.ended.0.lock();
        self.ended.1.wait_while_for(&mut ended, |ended| !*ended, wait);
        *ended
    }

    /// Flushes what changed, some seconds after it did. Only a mount that follows something looks at it from time to time.
    fn flush_often(&self) {
        let news = self.view.news();
        while !self.has_ended(Duration::ZERO) {
            if self.follow.is_none() {
                news.wait();
            }
            if self.has_ended(FLUSH_EVERY) {
                return;
            }
            if news.take() {
                // A failure is told in the log, and it is tried again.
                let failed = self.view.sync_all().is_err();
                self.note_reads();
                if failed || self.view.is_written_alone() {
                    news.come();
                }
            }
            self.look_again();
        }
    }

    /// Writes what was noted of reads.
    fn note_reads(&self) {
        if let Some(Err(e)) = self.recorder.as_ref().map(|recorder| recorder.flush()) {
            (self.complain)(&with_causes(&e));
        }
    }

    /// Brings what the profile says of the version.
    fn prefetch(&self) {
        let Some((profile, budget_bytes)) = &self.prefetch else { return };
        let tree = self.standing().below;
        match profile.bring(&self.lower, &tree, *budget_bytes, &|| self.has_ended(Duration::ZERO)) {
            Ok(bytes) => (self.complain)(&format!("prefetched {bytes} bytes")),
            Err(e) => (self.complain)(&format!("cannot prefetch: {}", with_causes(&e))),
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
        let why =
            moved.err().map(|e| format!("cannot follow, will try again: {}", with_causes(&e))).unwrap_or_default();
        let mut refused = self.refused.lock();
        if !why.is_empty() && why != *refused {
            (self.complain)(&why);
        }
        *refused = why;
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

    /// Answers one visitor until he leaves. What he did not settle is as if it had not been.
    fn serve(&self, mut visit: Visit) {
        let mut pending: Pending<'_> = None;
        let mut begun: Option<Shooting<'_>> = None;
        while let Ok(Some(ask)) = visit.ask() {
            let answered = match ask {
                Ask::Hello => visit.reply(&Ok(())),
                Ask::Facts => visit.reply(&Ok(self.facts())),
                Ask::Writers => visit.reply(&Ok(self.view.writers())),
                Ask::Begin { store } => {
                    // Whoever takes another one has no use for the last.
                    drop((pending.take(), begun.take()));
                    visit.reply(&self.begin(store).map(|shooting| begun = Some(shooting)))
                }
                Ask::Snapshot { store, exclude } => {
                    drop(pending.take());
                    self.snapshot(begun.take(), store, &exclude, &mut pending, &mut visit)
                }
                Ask::Settle { version, branch, whole } => {
                    visit.reply(&self.settle(pending.take(), &version, branch, whole))
                }
                Ask::Move { version, branch, force } => {
                    drop((pending.take(), begun.take()));
                    visit.reply(&self.move_to(&version, branch, force))
                }
                Ask::Stop { discard } => {
                    drop((pending.take(), begun.take()));
                    let _turn = self.turn();
                    // The process does not end before this is answered.
                    let _leaving = self.leaving.lock();
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
        IoError::new(what, &self.note.at, source).into()
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
            spare_bytes: self.view.spare_bytes(),
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

    fn stop(&self, discard: bool) -> Result<()> {
        if !discard {
            self.view.sync_all().map_err(|e| self.io("flush", e.0))?;
        }
        let before = self.discard.fetch_or(discard, Ordering::AcqRel);
        Ok(attach::detach(&self.note.at, false).inspect_err(|_| self.discard.store(before, Ordering::Release))?)
    }
}

/// There is no mount at a path.
pub fn nothing_at(at: &Path) -> crate::error::Error {
    ControlError::None { at: at.to_path_buf() }.into()
}
