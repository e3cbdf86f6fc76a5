//! Between the kernel and a [`View`]: fuser's types in, ours out, and back.
//!
//! An answer that may take a network goes to the pool; one that panics is EIO.

use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use fuser::{Config, INodeNo, Notifier, ReplyEmpty, Session, SessionACL};

use super::errno::{Answer, Errno};
use super::view::{View, may_not_wait};
use crate::work::pool::Pool;

mod backings;
mod convert;
mod reply;
mod requests;
mod steer;

use backings::Backings;
use steer::Steer;

/// Answers that may wait for a network at the same time.
const WAITING: usize = 64;

/// A view as fuser wants it.
struct Fuse {
    view: Arc<View>,
    pool: Pool,
    mode: Mode,
    backings: Arc<Backings>,
    steer: Steer,
    syncs: Few,
    /// Makes the kernel forget what it keeps of a range. A thread of its own, because the kernel waits for reads of that
    /// range meanwhile, which the other threads have to answer.
    overwritten: Arc<Pool>,
    notifier: Arc<OnceLock<Notifier>>,
    /// The kernel is to go by access lists: it asks for that of each node that somebody else than its owner uses.
    enforces_lists: bool,
    /// The mount point.
    at: PathBuf,
    /// The kernel can do without opening directories.
    opens_no_directory: bool,
}

/// Threads that take requests and wait for the disk: not so many that none is left for requests that need no disk.
#[derive(Default)]
struct Few {
    now: AtomicUsize,
    limit: usize,
}

impl Few {
    /// Whether one more may wait, until it leaves.
    fn enter(&self) -> bool {
        if self.now.fetch_add(1, Ordering::AcqRel) < self.limit {
            return true;
        }
        self.leave();
        false
    }

    fn leave(&self) {
        self.now.fetch_sub(1, Ordering::AcqRel);
    }
}

/// How the kernel treats data; it cannot do both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It gathers writes.
    Writeback,
    /// It uses files that are wholly here by itself.
    Passthrough,
}

/// A mount that is being served.
pub struct Served {
    session: fuser::BackgroundSession,
}

/// Serves a view on an attached device with so many threads.
pub fn serve(
    view: Arc<View>,
    (device, at): (OwnedFd, &Path),
    threads: usize,
    mode: Mode,
    allow_other: bool,
) -> io::Result<Served> {
    let notifier = Arc::new(OnceLock::new());
    let fuse = Fuse {
        view,
        pool: Pool::new(WAITING),
        mode,
        backings: Arc::default(),
        steer: Steer::new(),
        syncs: Few { limit: threads / 2, ..Few::default() },
        overwritten: Arc::new(Pool::new(1)),
        notifier: Arc::clone(&notifier),
        enforces_lists: allow_other,
        at: at.to_owned(),
        opens_no_directory: false,
    };
    let acl = if allow_other { SessionACL::All } else { SessionACL::Owner };
    let mut config = Config::default();
    config.acl = acl;
    config.n_threads = Some(threads);
    config.clone_fd = true;
    let session = Session::from_fd(fuse, device, acl, config)?;
    let _ = notifier.set(session.notifier());
    Ok(Served { session: session.spawn()? })
}

impl Served {
    /// Tells the kernel that names, attributes and bytes may have changed.
    pub fn forgetter(&self) -> Forgetter {
        Forgetter(self.session.notifier())
    }

    /// Waits until it is unmounted.
    pub fn wait(self) -> io::Result<()> {
        self.session.join()
    }
}

/// Makes the kernel forget what it knows.
pub struct Forgetter(Notifier);

impl Forgetter {
    /// Of an inode: attributes and bytes.
    pub fn inode(&self, ino: u64) {
        // One that it does not know is as good.
        let _ = self.0.inval_inode(INodeNo(ino), 0, 0);
    }

    /// Of an inode: attributes only.
    pub fn attributes(&self, ino: u64) {
        let _ = self.0.inval_inode(INodeNo(ino), -1, 0);
    }

    /// Of a name and the inode, which has no name any more. Not for directories: mounts on these would go.
    pub fn removed(&self, parent: u64, ino: u64, name: &[u8]) {
        let _ = self.0.delete(INodeNo(parent), INodeNo(ino), OsStr::from_bytes(name));
    }

    /// Waits until the kernel has taken over what it was told of a directory before: it keeps a directory locked for that,
    /// and waits for the lock to forget any name, also one that cannot be.
    pub fn wait_for(&self, dir: u64) {
        self.name(dir, b".");
    }

    /// Of a name.
    pub fn name(&self, parent: u64, name: &[u8]) {
        let _ = self.0.inval_entry(INodeNo(parent), OsStr::from_bytes(name));
    }
}

impl Fuse {
    /// Makes something durable: here, which saves waking another thread, unless half of those that take requests wait for
    /// the disk already.
    fn sync(&self, reply: ReplyEmpty, work: impl FnOnce(&View) -> Answer<()> + Send + 'static) {
        if self.syncs.enter() {
            let done = caught(|| work(&self.view));
            self.syncs.leave();
            return reply::empty(reply, done);
        }
        let view = Arc::clone(&self.view);
        self.pool.run(move || reply::empty(reply, caught(|| work(&view))));
    }

    /// Does `work` here, or, if it has to wait, on another thread, and hands the answer over.
    fn answer<R, T>(
        &self,
        reply: R,
        work: impl Fn(&View) -> Answer<T> + Send + 'static,
        done: impl FnOnce(R, Answer<T>) + Send + 'static,
    ) where
        R: Send + 'static,
        T: 'static,
    {
        self.answer_into(reply, move |view, _| work(view), done);
    }

    /// The same where `work` puts the answer together in the reply. It must not begin to before it knows that it need not
    /// wait.
    fn answer_into<R, T>(
        &self,
        mut reply: R,
        work: impl Fn(&View, &mut R) -> Answer<T> + Send + 'static,
        done: impl FnOnce(R, Answer<T>) + Send + 'static,
    ) where
        R: Send + 'static,
        T: 'static,
    {
        match caught(|| may_not_wait(self.view.is_far(), || work(&self.view, &mut reply))) {
            Err(Errno::LATER) => {
                let view = Arc::clone(&self.view);
                self.pool.run(move || {
                    let answer = caught(|| work(&view, &mut reply));
                    done(reply, answer);
                });
            }
            answer => done(reply, answer),
        }
    }
}

/// A bug in one answer is an error of that one.
fn caught<T>(work: impl FnOnce() -> Answer<T>) -> Answer<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or(Err(Errno::IO))
}
