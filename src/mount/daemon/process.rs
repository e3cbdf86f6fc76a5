//! Starts and ends the process of a mount. A failed start leaves no mount behind.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use super::discard::{delete_overlay, discard_served};
use super::lease::{LEASE, MountLeases};
use super::resume::{ensure_marked, free_committed, mark_of, remove_orphans, resume, version_root};
use super::service::MountService;
use super::setup::{MountBase, MountSetup, OverlayDir, VersionTree};
use super::waiting::wait_while_ending;
use super::{fetched, waiting};
use crate::error::{Result, with_causes};
use crate::model::id::to_hex;
use crate::mount::attach::AttachOptions;
use crate::mount::control::{ControlError, ControlSocket, MountFacts, MountNote, mount_namespace};
use crate::mount::file::{UPPER_DIR, UpperFiles};
use crate::mount::fuse::CacheMode;
use crate::mount::hydrate::Hydrator;
use crate::mount::lower::LowerLayer;
use crate::mount::names::{NameTable, ROOT_INO, UpperTree};
use crate::mount::overlay::{Fact, FlushRows, GIVEN, InodeChange, OverlayDb, RETIRED};
use crate::mount::view::{View, ViewOptions};
use crate::mount::{attach, fuse};
use crate::observe::Observer;
use crate::sys::io_error::IoError;
use crate::sys::mountinfo;
use crate::sys::process::ProcessIdentity;
use crate::sys::random::random_bytes;

/// A mount that is attached and served.
pub struct MountDaemon {
    inner: Arc<MountService>,
    served: fuse::ServedMount,
    socket: Arc<ControlSocket>,
}

impl MountDaemon {
    /// Attaches a version and starts to serve it.
    pub fn start(setup: MountSetup, observer: &dyn Observer) -> Result<Self> {
        // A dead mount makes every access to the mount point fail.
        detach_dead(&setup.at)?;
        let lower = Arc::new(LowerLayer::new(setup.repo));
        let VersionTree { version, tree } = setup.version;
        let mut base = MountBase {
            version,
            tree,
            branch: setup.branch,
            snapshot: None,
        };
        let (mut upper, mut changed, mut dirty, mut store) =
            (UpperTree::default(), HashSet::new(), Vec::new(), None);
        let dir = setup
            .overlay
            .as_ref()
            .map_or_else(|| PathBuf::from("/"), |o| o.path.join(UPPER_DIR));
        let has_overlay = setup.overlay.is_some();
        let leases = setup.lease.filter(|_| !setup.multi_version).map(|lease| {
            MountLeases::take(lower.repo(), lease, &version, has_overlay, &*setup.log)
        });
        // An overlay that continues is a root already.
        let mut is_root = false;
        let mut lease_key = None;
        let space = Arc::new(UpperFiles::new(dir.clone(), setup.quota));
        if let Some(OverlayDir {
            path: overlay,
            name,
        }) = &setup.overlay
        {
            // Wait before the overlay is opened, because opening fails while another process has
            // the lock.
            wait_while_ending(overlay, observer)?;
            let kept = OverlayDb::open(overlay, name, &setup.at)?;
            waiting::write_serving(overlay, &setup.at);
            lease_key = kept.fact(LEASE)?;
            if let Some(was) = resume(lower.repo(), &kept, &base, name)? {
                base = was;
                is_root = true;
                if let Some(key) = kept.key()? {
                    // Upper files of another overlay have valid inode numbers, so only the mark
                    // detects them.
                    ensure_marked(&space, &kept, &key)?;
                }
                let loaded = kept.load(&space)?;
                for lost in &loaded.lost {
                    (setup.log)(&format!("lost: {lost}"));
                }
                kept.flush(&FlushRows {
                    unsealed: loaded.unsealed,
                    ..FlushRows::default()
                })?;
                (upper, changed, dirty) = (loaded.upper, loaded.changed, loaded.outdated);
                // With hydration or a lazy clone, keep the blocks copied from the version, because
                // they save fetches.
                if setup.hydrate.is_off() && !lower.repo().is_lazy() {
                    free_committed(&kept, &space, &mut upper, &changed, &*setup.log)?;
                }
            }
            store = Some(kept);
        }
        // The lease on the remote of an overlay that continues is renewed in the background, because
        // the remote may be unreachable.
        let lease_key = lease_key.map(|key| String::from_utf8_lossy(&key).into_owned());
        if let Some(leases) = &leases {
            leases.set_left(lease_key);
        }
        let mut new_key = None;
        if let Some(leases) = leases.as_ref().filter(|_| !is_root) {
            leases.ensure_whole(lower.repo())?;
            new_key = leases.take_remote(lower.repo(), &*setup.log)?;
        }
        // Start with an empty upper tree: the overlay is new, has no changes to another version, or
        // does not exist because the mount is read-only.
        if !upper.inodes.contains_key(&ROOT_INO) {
            upper = version_root(&lower, &base.tree)?;
            // Keep the key of an existing overlay, because inode numbers are computed from it.
            upper.key = match store.as_ref().map(OverlayDb::key).transpose()?.flatten() {
                Some(key) => key,
                None => random_bytes()?,
            };
            if let Some(store) = &store {
                let root = upper.inodes.get(&ROOT_INO).cloned();
                let mut facts = base.facts(&setup.revision);
                facts.push(Fact::new("key", to_hex(&upper.key)));
                facts.extend(new_key.map(|key| Fact::new(LEASE, key)));
                // The kernel knows no inode of this mount yet, so no number has to be reserved.
                facts.extend([Fact::new(RETIRED, Vec::new()), Fact::new(GIVEN, Vec::new())]);
                let inodes = vec![InodeChange {
                    ino: ROOT_INO,
                    inode: root,
                    changed: false,
                }];
                store.replace(&FlushRows {
                    inodes,
                    facts,
                    ..FlushRows::default()
                })?;
                // The mark follows the database, because upper files without a mark belong to any
                // database.
                space
                    .put_mark(&mark_of(&upper.key))
                    .map_err(IoError::at("mark", &dir))?;
            }
        }
        upper.multi_version = setup.multi_version;
        if store.is_some() {
            // A crash between a flush and the removal of files leaves upper files without an inode.
            remove_orphans(&dir, &upper, &space);
        }
        let mut names = NameTable::new(Arc::clone(&lower), Arc::clone(&space), upper, changed);
        // Write rows that a crash left outdated with the first flush, because commands that look at
        // an unmounted overlay read only the rows.
        names.mark_unstored(dirty);
        let hydrator = Arc::new(Hydrator::new(setup.hydrate, setup.hydrate_budget_bytes));
        // Passthrough needs complete files, hides writes from snapshots, and cannot enforce a
        // quota.
        let mut passthrough = hydrator.is_on() && !setup.live && setup.quota.is_none();
        if passthrough && let Err(why) = attach::passthrough_possible(lower.repo().path()) {
            (setup.log)(&format!("passthrough is not available: {why}"));
            passthrough = false;
        }
        let mode = if passthrough {
            CacheMode::Passthrough
        } else {
            CacheMode::Writeback
        };
        let options = ViewOptions {
            read_only: setup.read_only,
            map_owner: setup.map_owner,
            passthrough,
            recorder: setup.recorder.clone(),
        };
        let log = Arc::clone(&setup.log);
        let view = View::new(
            Arc::clone(&lower),
            space,
            names,
            store,
            options,
            Box::new(move |text| log(text)),
        );
        let view = Arc::new(view);
        let source = attach::escape_source(&format!("dvc:{}", setup.revision));
        let attached = attach::attach(&AttachOptions {
            at: setup.at.clone(),
            source: source.clone(),
            read_only: setup.read_only,
            allow_other: setup.allow_other,
            trust: setup.trust,
        })?;
        let at = attached.at.clone();
        let undo = DetachGuard(Some(at.clone()));
        // Use more threads than jobs, because threads that wait for the disk need no processor.
        let threads = (setup.jobs * 2).clamp(4, 16);
        let io = |what| IoError::at(what, &at);
        let served = fuse::serve(
            Arc::clone(&view),
            (attached.device, &at),
            threads,
            mode,
            setup.allow_other,
        )
        .map_err(io("serve"))?;
        attach::tune(&at);
        let mounted = mountinfo::ours().map_err(io("find"))?;
        let (device, mount_id) = mounted
            .iter()
            // A later mount at the same path comes later in the table.
            .rev()
            .find(|m| m.at == at)
            .map_or(((0, 0), 0), |m| (m.device, m.id));
        let note = MountNote {
            process: ProcessIdentity::own(),
            mount_id,
            mount_namespace: mount_namespace(),
            source,
            at: at.clone(),
            repository: lower.repo().path().to_path_buf(),
            overlay: setup.overlay.as_ref().map(|o| o.name.clone()),
            revision: setup.revision,
            read_only: setup.read_only,
            ephemeral: setup.ephemeral,
            mode: if passthrough {
                "passthrough"
            } else {
                "writeback"
            }
            .to_owned(),
        };
        let socket =
            ControlSocket::open(&setup.run, device, &note).map_err(io("open the socket of"))?;
        let kernel_cache = served.kernel_cache();
        let attributes = served.kernel_cache();
        view.on_attributes_changed(Box::new(move |ino| attributes.invalidate_attributes(ino)));
        view.set_device(device);
        // From here on nothing can fail.
        undo.forget();
        let inner = MountService {
            view,
            lower,
            hydrator,
            base: Mutex::new(base),
            note,
            meter: setup.meter,
            recorder: setup.recorder,
            prefetch: setup.prefetch,
            jobs: setup.jobs,
            kernel_cache,
            follow: setup.follow,
            leases: leases.map(Arc::new),
            log: Arc::clone(&setup.log),
            device,
            last_refusal: Mutex::default(),
            exclusive_taken: <_>::default(),
            ended: <_>::default(),
            discard: AtomicBool::new(setup.ephemeral),
            no_trash: AtomicBool::new(false),
            stopping: Mutex::default(),
        };
        Ok(Self {
            inner: Arc::new(inner),
            served,
            socket: Arc::new(socket),
        })
    }

    /// Returns a function that waits until hydration is complete. [`Self::run`] must be running.
    pub fn hydration_waiter(&self) -> impl FnOnce() + Send + 'static {
        let hydrator = Arc::clone(&self.inner.hydrator);
        move || hydrator.wait()
    }

    /// Returns a function that returns the state of the mount, or `None` after the mount has ended.
    pub fn facts_reporter(&self) -> impl Fn() -> Option<MountFacts> + Send + 'static {
        let inner = Arc::downgrade(&self.inner);
        move || inner.upgrade().map(|inner| inner.facts())
    }

    /// Returns a function that unmounts the mount. Programs that still use the mount can finish,
    /// because a busy mount is unmounted lazily.
    pub fn stopper(&self) -> impl Fn() + Send + 'static {
        let at = self.inner.note.at.clone();
        move || {
            if attach::detach(&at, false).is_err() {
                let _ = attach::detach(&at, true);
            }
        }
    }

    /// Returns the note of the mount.
    pub fn note(&self) -> &MountNote {
        &self.inner.note
    }

    /// Serves the mount until it is unmounted, then flushes `overlay`. If the overlay is discarded,
    /// moves it to the trash, or deletes it if the mount is ephemeral. While there are no requests
    /// and nothing to flush, no thread wakes up, unless the mount follows a branch.
    pub fn run(self, overlay: Option<PathBuf>) -> Result<()> {
        let Self {
            inner,
            served,
            socket,
        } = self;
        let at = inner.note.at.clone();
        let flush_thread = {
            let inner = Arc::clone(&inner);
            std::thread::spawn(move || inner.flush_periodically())
        };
        let hydrate_thread = {
            let inner = Arc::clone(&inner);
            let hydrator = Arc::clone(&inner.hydrator);
            inner
                .view
                .on_open_for_write(Box::new(move |ino| hydrator.opened(ino)));
            std::thread::spawn(move || inner.hydrator.run(&inner.view, &*inner.log))
        };
        let prefetch_thread = {
            let inner = Arc::clone(&inner);
            std::thread::spawn(move || inner.prefetch())
        };
        let lease_thread = {
            let inner = Arc::clone(&inner);
            std::thread::spawn(move || inner.renew_leases())
        };
        let accept_thread = {
            let (inner, socket) = (Arc::clone(&inner), Arc::clone(&socket));
            std::thread::spawn(move || inner.accept_connections(&socket))
        };
        let ended = served.wait();
        // Record the end before anything that takes time: a new mount of the overlay then waits
        // instead of failing.
        if let Some(overlay) = &overlay {
            waiting::write_ending(overlay, &at);
        }
        // Set the flag before the socket is closed, because the accept loop distinguishes the end
        // from a lack of descriptors by this flag.
        inner.end();
        socket.close();
        inner.hydrator.end();
        let _ = (
            flush_thread.join(),
            accept_thread.join(),
            hydrate_thread.join(),
            prefetch_thread.join(),
            lease_thread.join(),
        );
        inner.flush_recorder();
        let flushed = inner.view.finish();
        // Wait until the reply to a stop request is sent, because the process exits soon.
        drop(inner.stopping.lock());
        let discard = inner.discard.load(Ordering::Acquire);
        if let (false, Some(overlay)) = (discard, &overlay) {
            let _ = fetched::note(overlay, inner.lower.repo().fetched());
        }
        let is_deleted = inner.note.ephemeral || inner.no_trash.load(Ordering::Acquire);
        let (log, repository) = (Arc::clone(&inner.log), inner.note.repository.clone());
        let name = inner.note.overlay.clone().unwrap_or_default();
        let leases = inner.leases.clone();
        drop((inner, socket));
        let is_gone = match overlay.filter(|_| discard) {
            Some(overlay) if is_deleted => {
                delete_overlay(&repository, &overlay, &name).map(|()| true)
            }
            Some(overlay) => {
                discard_served(&repository, &overlay, &name).map(|entry| entry.is_none())
            }
            None => Ok(false),
        };
        let is_gone = is_gone.unwrap_or_else(|e| {
            log(&format!("cannot discard the overlay: {}", with_causes(&e)));
            false
        });
        if let Some(leases) = leases {
            // An overlay that exists, even in the trash, needs its version until the lease ends by
            // itself.
            leases.end(is_gone);
        }
        // Report a failed flush before a failure to serve, because it means lost data.
        let io = |what, source: std::io::Error| IoError::new(what, &at, source);
        flushed.map_err(|e| io("flush", std::io::Error::from_raw_os_error(e.0)))?;
        ended.map_err(|source| io("serve", source).into())
    }
}

/// Unmounts the mount if the start fails, that is, when dropped without [`Self::forget`].
struct DetachGuard(Option<PathBuf>);

impl DetachGuard {
    fn forget(mut self) {
        self.0 = None;
    }
}

impl Drop for DetachGuard {
    fn drop(&mut self) {
        if let Some(at) = &self.0 {
            let _ = attach::detach(at, true);
        }
    }
}

/// Unmounts dead mounts at a mount point, the newest first.
fn detach_dead(at: &Path) -> Result<()> {
    for mounted in mountinfo::ours().unwrap_or_default().iter().rev() {
        if mounted.at == *at && attach::is_dead(at) {
            attach::detach(at, true)?;
        }
    }
    Ok(())
}

/// Returns the error for a path without a mount.
pub fn no_mount_at(at: &Path) -> crate::error::Error {
    ControlError::None {
        at: at.to_path_buf(),
    }
    .into()
}
