//! The FUSE server: translates between the types of the crate `fuser` and [`View`].
//!
//! A request that may have to wait for a remote runs in the pool. A request that panics fails with
//! `EIO`.

use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use backing_ids::BackingIds;
use fuser::{Config, INodeNo, Notifier, ReplyEmpty, Session, SessionACL};
use placement::ThreadPlacement;
use reply::caught;

use super::errno::{Errno, FsResult};
use super::view::{View, without_waiting};
use crate::work::pool::Pool;

mod backing_ids;

mod convert;

mod reply;

mod requests;

mod placement;

/// Number of threads for requests that wait for a remote.
const WAIT_THREADS: usize = 64;

/// The file system as `fuser` expects it.
struct FuseServer {
    view: Arc<View>,
    pool: Pool,
    mode: CacheMode,
    backings: Arc<BackingIds>,
    placement: ThreadPlacement,
    sync_slots: SyncSlots,
    /// Invalidates ranges of the page cache. It has a thread of its own, because the kernel waits
    /// for pending reads of the range, which the other threads have to answer.
    invalidator: Arc<Pool>,
    notifier: Arc<OnceLock<Notifier>>,
    /// Whether the kernel checks ACLs. The kernel then requests the ACL of each node that a user
    /// other than its owner accesses.
    enforces_acls: bool,
    /// The mount point.
    at: PathBuf,
    /// Whether the kernel can do without `opendir`.
    skips_opendir: bool,
}

/// Limits the number of request threads that wait for the disk. The other threads can then answer
/// requests that do not need the disk.
#[derive(Default)]
struct SyncSlots {
    now: AtomicUsize,
    limit: usize,
}

impl SyncSlots {
    /// Reserves a slot, so that the calling thread may wait until it calls [`Self::leave`]. Returns
    /// false if all slots are taken.
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

/// How the kernel treats file contents. The kernel supports only one of these modes per mount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CacheMode {
    /// The kernel collects writes in its page cache.
    Writeback,
    /// The kernel uses complete upper files directly.
    Passthrough,
}

/// A mount that is being served.
pub struct ServedMount {
    session: fuser::BackgroundSession,
}

/// Serves a view on an attached device.
pub fn serve(
    view: Arc<View>,
    (device, at): (OwnedFd, &Path),
    threads: usize,
    mode: CacheMode,
    allow_other: bool,
) -> io::Result<ServedMount> {
    let notifier = Arc::new(OnceLock::new());
    let fuse = FuseServer {
        view,
        pool: Pool::new(WAIT_THREADS),
        mode,
        backings: Arc::default(),
        placement: ThreadPlacement::new(),
        sync_slots: SyncSlots {
            limit: threads / 2,
            ..SyncSlots::default()
        },
        invalidator: Arc::new(Pool::new(1)),
        notifier: Arc::clone(&notifier),
        enforces_acls: allow_other,
        at: at.to_owned(),
        skips_opendir: false,
    };
    let acl = if allow_other {
        SessionACL::All
    } else {
        SessionACL::Owner
    };
    let mut config = Config::default();
    config.acl = acl;
    config.n_threads = Some(threads);
    // With a device descriptor of its own, each thread has its own queue of running requests in the
    // kernel.
    config.clone_fd = true;
    let session = Session::from_fd(fuse, device, acl, config)?;
    let _ = notifier.set(session.notifier());
    Ok(ServedMount {
        session: session.spawn()?,
    })
}

impl ServedMount {
    /// Returns a handle for invalidating the kernel's cache.
    pub fn kernel_cache(&self) -> KernelCache {
        KernelCache(self.session.notifier())
    }

    /// Waits until the mount is unmounted.
    pub fn wait(self) -> io::Result<()> {
        self.session.join()
    }
}

/// Invalidates entries of the kernel's cache.
pub struct KernelCache(Notifier);

impl KernelCache {
    /// Invalidates the attributes and the pages of an inode.
    pub fn invalidate_inode(&self, ino: u64) {
        // Ignore errors: the call fails if the kernel does not know the inode, so nothing is
        // cached.
        let _ = self.0.inval_inode(INodeNo(ino), 0, 0);
    }

    /// Invalidates the attributes of an inode.
    pub fn invalidate_attributes(&self, ino: u64) {
        // With a negative offset, the kernel keeps the pages (`fuse_reverse_inval_inode` in
        // fs/fuse/inode.c).
        let _ = self.0.inval_inode(INodeNo(ino), -1, 0);
    }

    /// Removes a name together with its inode, which has no name any more. Must not be used for
    /// directories, because mounts on them would be lost.
    pub fn delete_name(&self, parent: u64, ino: u64, name: &[u8]) {
        let _ = self
            .0
            .delete(INodeNo(parent), INodeNo(ino), OsStr::from_bytes(name));
    }

    /// Waits until the kernel has processed earlier replies about a directory. The kernel locks the
    /// directory while it processes a reply, and needs the same lock to invalidate a name in the
    /// directory, even one that cannot exist.
    pub fn wait_for(&self, dir: u64) {
        self.invalidate_name(dir, b".");
    }

    /// Invalidates a name.
    pub fn invalidate_name(&self, parent: u64, name: &[u8]) {
        let _ = self.0.inval_entry(INodeNo(parent), OsStr::from_bytes(name));
    }
}

impl FuseServer {
    /// Runs a sync on the calling thread, which saves waking another one. If half of the request
    /// threads already wait for the disk, a thread of the pool runs the sync instead.
    fn sync(&self, reply: ReplyEmpty, work: impl FnOnce(&View) -> FsResult<()> + Send + 'static) {
        if self.sync_slots.enter() {
            let done = caught(|| work(&self.view));
            self.sync_slots.leave();
            return reply::empty(reply, done);
        }
        let view = Arc::clone(&self.view);
        self.pool
            .run(move || reply::empty(reply, caught(|| work(&view))));
    }

    /// Runs `work` on the calling thread or, if it has to wait, in the pool. Then passes the result
    /// to `done`.
    fn respond<R, T>(
        &self,
        reply: R,
        work: impl Fn(&View) -> FsResult<T> + Send + 'static,
        done: impl FnOnce(R, FsResult<T>) + Send + 'static,
    ) where
        R: Send + 'static,
        T: 'static,
    {
        self.respond_into(reply, move |view, _| work(view), done);
    }

    /// Like [`Self::respond`], for work that fills the reply. `work` must not start to fill the
    /// reply before it knows that it does not have to wait, because it runs again in the pool
    /// otherwise.
    fn respond_into<R, T>(
        &self,
        mut reply: R,
        work: impl Fn(&View, &mut R) -> FsResult<T> + Send + 'static,
        done: impl FnOnce(R, FsResult<T>) + Send + 'static,
    ) where
        R: Send + 'static,
        T: 'static,
    {
        match caught(|| without_waiting(self.view.is_remote(), || work(&self.view, &mut reply))) {
            Err(Errno::WOULD_WAIT) => {
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
