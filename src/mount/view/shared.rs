//! The state of a mount that all requests share. It does not depend on FUSE.
//!
//! Lock order: `flushing`, then `write_barrier` (shared by all changes; exclusive for a snapshot,
//! for a switch and for collecting the rows of a flush), then `names`, then the locks of a file.
//! `names` is never held during a fetch.

use std::cell::Cell;
use std::collections::{HashMap, HashSet, VecDeque};
use std::fs::File;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::{Mutex, MutexGuard, RwLock, RwLockReadGuard};

use super::dirty::DirtySignal;
use super::listing::DirListing;
use crate::error::{Error, with_causes};
use crate::model::path::display;
use crate::mount::errno::{Errno, FsResult};
use crate::mount::file::{AllocatedBytes, FileData, UpperFiles};
use crate::mount::lower::LowerLayer;
use crate::mount::names::{LookupStop, NameCounts, NameTable, NodeAttr};
use crate::mount::overlay::OverlayDb;
use crate::mount::processes::writers;
use crate::mount::processes::writers::{MappedFile, WriterProcess};
use crate::mount::profile::ReadRecorder;
use crate::work::pool::Pool;

/// The credentials of the process that sends a request.
#[derive(Clone, Copy, Debug)]
pub struct Caller {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
    /// Mode bits to clear in new nodes; zero if the kernel has already cleared them.
    pub umask: u32,
}

/// The owner of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileOwner {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

/// Options of a view.
#[derive(Clone, Debug, Default)]
pub struct ViewOptions {
    /// Whether changes are refused.
    pub read_only: bool,
    /// Owner to show for files of the version.
    pub map_owner: Option<FileOwner>,
    /// Whether the kernel may read and write complete upper files directly.
    pub passthrough: bool,
    /// Records which parts of the version are read.
    pub recorder: Option<Arc<ReadRecorder>>,
}

/// The upper file that the kernel is to use directly, if any.
pub type BackingFile = Option<Arc<File>>;

/// A file that was opened.
pub struct OpenedFile {
    pub handle: u64,
    /// The upper file, if the kernel is to use it directly.
    pub backing: BackingFile,
}

/// A file that was created and opened.
pub struct CreatedFile {
    /// The attributes of the file.
    pub attr: NodeAttr,
    /// The open file.
    pub opened: OpenedFile,
}

/// Receives messages for the log, because programs see only an error number.
pub type LogFn = dyn Fn(&str) + Send + Sync;

/// Counters for status displays.
#[derive(Debug, Default)]
pub struct ViewCounters {
    /// Read requests.
    pub reads: AtomicU64,
    /// Bytes that were read.
    pub read_bytes: AtomicU64,
    /// Write requests.
    pub writes: AtomicU64,
    /// Bytes that were written.
    pub written_bytes: AtomicU64,
    /// Requests that failed because data could not be read or written.
    pub failed: AtomicU64,
}

thread_local! {
    static MUST_NOT_WAIT: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work`. If `hurried` is set, the work fails with [`Errno::WOULD_WAIT`] instead of reading a
/// directory.
pub fn without_waiting<T>(hurried: bool, work: impl FnOnce() -> T) -> T {
    let before = MUST_NOT_WAIT.replace(hurried);
    let done = work();
    MUST_NOT_WAIT.set(before);
    done
}

/// Counts for status displays.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ViewState {
    /// Inodes that differ from the last commit.
    pub changed_inodes: u64,
    /// Bytes that were written since the last commit.
    pub dirty_bytes: u64,
    /// Inodes in memory.
    pub known_inodes: u64,
    /// Inodes that are open.
    pub open_inodes: u64,
}

/// Space of the file system, in blocks of [`SpaceInfo::BLOCK`] bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SpaceInfo {
    /// Size of the file system.
    pub total_blocks: u64,
    pub free_blocks: u64,
}

impl SpaceInfo {
    /// Length of a block in bytes.
    pub const BLOCK: u32 = 4096;
}

/// A version and the changes that the mount has made to it.
pub struct View {
    pub(super) lower: Arc<LowerLayer>,
    pub(super) space: Arc<UpperFiles>,
    pub(super) names: Mutex<NameTable>,
    pub(super) store: Option<OverlayDb>,
    pub(super) write_barrier: RwLock<()>,
    pub(super) flushing: Mutex<()>,
    /// Files with bytes that may not be on disk.
    pub(super) unsynced: Mutex<HashMap<u64, Arc<FileData>>>,
    /// Removed files whose rows are still in the overlay database.
    pub(super) removed_files: Mutex<Vec<Arc<FileData>>>,
    pub(super) handles: RwLock<HashMap<u64, OpenFile>>,
    /// Listings of changed directories that a program may continue, by inode number. The most
    /// recent one is last.
    pub(super) listings: Mutex<VecDeque<(u64, Arc<DirListing>)>>,
    pub(super) next_handle: AtomicU64,
    pub(super) options: ViewOptions,
    pub(super) log: Box<LogFn>,
    /// Counters for status displays.
    pub counters: ViewCounters,
    /// Threads that fetch ahead.
    pub(super) ahead: Pool,
    /// Count of seals that were removed one by one.
    pub(super) unsealed: AtomicU64,
    /// Set when all seals have been removed.
    pub(super) all_unsealed: AtomicBool,
    /// Signals that something has to be flushed.
    pub(super) dirty: Arc<DirtySignal>,
    /// Called with each inode whose attributes in the kernel are outdated.
    pub(super) on_attributes_changed: Mutex<Option<Box<InodeCallback>>>,
    /// Called with each inode that is opened for writing.
    pub(super) on_open_for_write: Mutex<Option<Box<InodeCallback>>>,
    /// The device number of the mount.
    pub(super) device: OnceLock<(u32, u32)>,
}

/// A function that is called with an inode number.
pub type InodeCallback = dyn Fn(u64) + Send;

/// An open file.
pub(super) struct OpenFile {
    pub(super) data: Arc<FileData>,
    pub(super) write: bool,
    /// Whether the kernel uses the upper file directly.
    pub(super) in_kernel: bool,
}

impl View {
    /// Creates a view. Without a `store`, changes are lost at the end.
    pub fn new(
        lower: Arc<LowerLayer>,
        space: Arc<UpperFiles>,
        names: NameTable,
        store: Option<OverlayDb>,
        options: ViewOptions,
        log: Box<LogFn>,
    ) -> Self {
        /// Number of concurrent fetches from a remote, each of which sends many requests. A local
        /// repository needs only one.
        const AHEAD: usize = 4;
        Self {
            ahead: Pool::new(if lower.is_remote() { AHEAD } else { 1 }),
            dirty: Arc::default(),
            lower,
            space,
            names: Mutex::new(names),
            store,
            write_barrier: RwLock::default(),
            flushing: Mutex::default(),
            unsynced: Mutex::default(),
            removed_files: Mutex::default(),
            handles: RwLock::default(),
            listings: Mutex::default(),
            next_handle: AtomicU64::new(1),
            options,
            log,
            counters: ViewCounters::default(),
            unsealed: AtomicU64::new(0),
            all_unsealed: AtomicBool::new(false),
            on_attributes_changed: Mutex::default(),
            on_open_for_write: Mutex::default(),
            device: OnceLock::new(),
        }
    }

    /// Sets the device number after the mount is attached.
    pub fn set_device(&self, device: (u32, u32)) {
        // An error means that the device is known already.
        let _ = self.device.set(device);
    }

    /// Returns files that programs can write to through a mapping without notice to this process.
    /// This affects only files that were in passthrough mode: a mapping of any other file keeps the
    /// file of the mount open, and the kernel writes its pages back through the mount.
    pub(super) fn kernel_mapped_files(&self) -> Vec<MappedFile> {
        let device = self
            .device
            .get()
            .filter(|_| self.options.passthrough && !self.options.read_only);
        let mut mapped = device
            .map(|device| writers::mapped_files(*device))
            .unwrap_or_default();
        if !mapped.is_empty() {
            let names = self.names();
            let inodes = &names.upper().inodes;
            let written = |ino: u64| {
                inodes
                    .get(&ino)
                    .and_then(|inode| inode.data())
                    .is_some_and(|data| data.was_written_by_kernel())
            };
            mapped.retain(|file| written(file.ino));
        }
        mapped
    }

    /// Registers a function that is called with each inode that is opened for writing.
    pub fn on_open_for_write(&self, told: Box<InodeCallback>) {
        *self.on_open_for_write.lock() = Some(told);
    }

    /// Registers a function that is called with each inode whose attributes in the kernel are
    /// outdated.
    pub fn on_attributes_changed(&self, told: Box<InodeCallback>) {
        *self.on_attributes_changed.lock() = Some(told);
    }

    pub(super) fn attributes_changed(&self, ino: u64) {
        if let Some(told) = &*self.on_attributes_changed.lock() {
            told(ino);
        }
    }

    pub(super) fn opened_for_write(&self, ino: u64) {
        if let Some(told) = &*self.on_open_for_write.lock() {
            told(ino);
        }
    }

    /// Returns whether reads may have to wait for a remote.
    pub fn is_remote(&self) -> bool {
        self.lower.is_remote()
    }

    /// Returns whether the kernel caches lengths and times of written files (writeback mode).
    pub(super) fn kernel_keeps_sizes(&self) -> bool {
        !self.options.read_only && !self.options.passthrough
    }

    /// Returns whether changes are refused.
    pub fn is_read_only(&self) -> bool {
        self.options.read_only
    }

    pub(super) fn names(&self) -> MutexGuard<'_, NameTable> {
        self.names.lock()
    }

    pub(super) fn begin_change(&self) -> FsResult<RwLockReadGuard<'_, ()>> {
        if self.options.read_only {
            return Err(Errno::ROFS);
        }
        let write_barrier = self.write_barrier.read();
        // Raise the signal under the barrier, so that no flush can reset it and miss the change.
        self.dirty.raise();
        Ok(write_barrier)
    }

    /// Returns the signal that something has to be flushed.
    pub fn dirty_signal(&self) -> Arc<DirtySignal> {
        Arc::clone(&self.dirty)
    }

    /// Logs and counts a failure. Returns the error number for the program.
    pub(super) fn report(&self, what: &str, e: &Error) -> Errno {
        self.counters.failed.fetch_add(1, Ordering::Relaxed);
        (self.log)(&format!("{what}: {}", with_causes(e)));
        Errno::from(e)
    }

    /// Returns the path of an inode for the log, or its number if it has no known path. Never waits
    /// for a remote.
    pub(in crate::mount) fn shown_path(&self, ino: u64) -> String {
        match self.names().path(ino).ok().flatten() {
            Some(path) => format!("`{}`", display(&path)),
            None => format!("inode {ino:x}"),
        }
    }

    /// Runs a lookup. Reads the directories that the lookup needs, and repeats the lookup until
    /// none is missing. A thread that must not wait gets [`Errno::WOULD_WAIT`] instead.
    pub(in crate::mount) fn query<T>(
        &self,
        mut question: impl FnMut(&mut NameTable) -> Result<T, LookupStop>,
    ) -> FsResult<T> {
        // Keeps the directories in memory until the lookup succeeds.
        let mut held = Vec::new();
        loop {
            let stop = match question(&mut self.names()) {
                Ok(answer) => return Ok(answer),
                Err(stop) => stop,
            };
            match stop {
                LookupStop::Errno(e) => return Err(e),
                LookupStop::Unread(_) if MUST_NOT_WAIT.get() => return Err(Errno::WOULD_WAIT),
                LookupStop::Unread(tree) => {
                    let dir = self.lower.dir(&tree);
                    let what = || format!("cannot read the directory with tree {}", tree.short());
                    held.push(dir.map_err(|e| self.report(&what(), &e))?);
                }
            }
        }
    }

    /// Applies `--map-owner` to attributes.
    pub(super) fn as_shown(&self, names: &NameTable, mut attr: NodeAttr) -> NodeAttr {
        if let Some(FileOwner { uid, gid }) = self.options.map_owner
            && names.has_version_owner(attr.ino)
        {
            (attr.uid, attr.gid) = (uid, gid);
        }
        attr
    }

    /// Replaces a chunk list in the attributes by its allocated bytes. The caller must not hold the
    /// name table, because the list may have to be read.
    pub(super) fn with_allocated(&self, attr: NodeAttr) -> NodeAttr {
        match attr.allocated {
            AllocatedBytes::List { list, .. } => match self.lower.allocated(&list) {
                Some(data) => NodeAttr {
                    allocated: attr.allocated.resolved(data),
                    ..attr
                },
                None => attr,
            },
            AllocatedBytes::Bytes(_) => attr,
        }
    }

    /// Returns whether the next flush frees the space of removed files.
    pub(super) fn has_removed_files(&self) -> bool {
        !self.removed_files.lock().is_empty()
    }

    pub(super) fn drop_file(&self, gone: Option<Arc<FileData>>) {
        let Some(data) = gone else { return };
        self.unsynced().remove(&data.ino());
        if self.store.is_some() {
            // After a crash, the old rows may be in effect, so the upper file is removed only after
            // the rows.
            self.removed_files.lock().push(data);
            self.dirty.raise();
        } else {
            data.remove_upper();
        }
    }

    /// Queues a file's row for the next flush, if the row is outdated.
    pub(super) fn store_if_outdated(&self, data: &FileData) -> FsResult<()> {
        if data.take_store_outdated() {
            self.query(|n| n.touch(data.ino()).map(drop))?;
        }
        Ok(())
    }

    pub(super) fn note_unsynced(&self, data: &Arc<FileData>) {
        self.unsynced()
            .entry(data.ino())
            .or_insert_with(|| Arc::clone(data));
        self.dirty.raise();
    }

    pub(super) fn unsynced(&self) -> MutexGuard<'_, HashMap<u64, Arc<FileData>>> {
        self.unsynced.lock()
    }

    /// Returns counts for status displays.
    pub fn state(&self) -> ViewState {
        let names = self.names();
        let (mut changed, mut bytes) = (0, 0);
        for (ino, inode) in &names.upper().inodes {
            let written = inode
                .data()
                .filter(|_| inode.nlink > 0)
                .map_or(0, |data| data.dirty_bytes());
            changed += u64::from(written > 0 || names.is_changed(*ino));
            bytes += written;
        }
        let NameCounts { known, open } = names.counts();
        ViewState {
            changed_inodes: changed,
            dirty_bytes: bytes,
            known_inodes: known as u64,
            open_inodes: open as u64,
        }
    }

    /// Returns the number of bytes in upper files that were only copied from the version. The next
    /// mount frees them, except for small amounts per file.
    pub fn spare_bytes(&self) -> u64 {
        let names = self.names();
        names
            .upper()
            .inodes
            .values()
            .filter_map(|inode| inode.data())
            .map(|data| data.spare_bytes())
            .sum()
    }

    /// Returns the number of bytes that the upper files take on disk.
    pub fn space_used(&self) -> u64 {
        self.space.disk_bytes()
    }

    /// Returns the size and the free space of the overlay's file system, limited by the quota.
    pub fn statfs(&self) -> SpaceInfo {
        const UNIT: u64 = SpaceInfo::BLOCK as u64;
        // Look at the parents too, because the directory is created only by the first write.
        let there = self
            .space
            .dir()
            .ancestors()
            .find_map(|dir| rustix::fs::statvfs(dir).ok());
        let (mut total, mut free) = there.map_or((0, 0), |s| {
            (
                s.f_blocks * s.f_frsize / UNIT,
                s.f_bavail * s.f_frsize / UNIT,
            )
        });
        if let Some(limit) = self.space.limit_bytes() {
            total = limit / UNIT;
            free = free.min(limit.saturating_sub(self.space.used_bytes()) / UNIT);
        }
        if self.options.read_only {
            free = 0;
        }
        SpaceInfo {
            total_blocks: total,
            free_blocks: free,
        }
    }

    pub(super) fn file(&self, n: u64) -> FsResult<Arc<FileData>> {
        let handles = self.handles.read();
        handles
            .get(&n)
            .map(|opened| Arc::clone(&opened.data))
            .ok_or(Errno::BADF)
    }

    /// Returns the path of an inode, or `None` if it has no name.
    pub fn path(&self, ino: u64) -> Option<Vec<u8>> {
        self.query(|n| n.path(ino)).ok().flatten()
    }

    /// Returns the paths of all files that are open for writing and not in passthrough mode.
    pub fn writer_paths(&self) -> Vec<Vec<u8>> {
        let inodes: HashSet<u64> = {
            let handles = self.handles.read();
            handles
                .values()
                .filter(|opened| opened.write && !opened.in_kernel)
                .map(|opened| opened.data.ino())
                .collect()
        };
        inodes
            .into_iter()
            .filter_map(|ino| self.query(|n| n.path(ino)).ok().flatten())
            .collect()
    }

    /// Returns whether the kernel may have cached writes of a file, because it is open for writing.
    pub fn is_open_for_write(&self, ino: u64) -> bool {
        if self.options.read_only {
            return false;
        }
        let handles = self.handles.read();
        handles
            .values()
            .any(|opened| opened.write && opened.data.ino() == ino)
    }

    /// Returns whether the kernel writes to any file directly.
    pub fn has_kernel_writers(&self) -> bool {
        let handles = self.handles.read();
        handles
            .values()
            .any(|opened| opened.in_kernel && opened.write)
    }

    /// Returns the inode of a file to which the kernel may write without the daemon, and a process
    /// that has the file open.
    pub(super) fn kernel_writer(&self) -> Option<(u64, Option<WriterProcess>)> {
        let open = self
            .handles
            .read()
            .values()
            .find(|opened| opened.in_kernel && opened.write)
            .map(|opened| opened.data.ino());
        if let Some(ino) = open {
            let device = self.device.get();
            return Some((
                ino,
                device.and_then(|device| writers::find_writer(*device, ino)),
            ));
        }
        let mapped = self.kernel_mapped_files().into_iter().next()?;
        Some((mapped.ino, Some(mapped.process)))
    }

    /// Returns the file of an inode that the mount has created or changed.
    pub(in crate::mount) fn data_of(&self, ino: u64) -> Option<Arc<FileData>> {
        self.names().upper().inodes.get(&ino)?.data().cloned()
    }
}
