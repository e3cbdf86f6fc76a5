//! A mount's answers to what the kernel asks; it knows nothing of FUSE.
//!
//! Lock order: `flushing`, then `gate` (shared by all that change anything, alone for a snapshot and for putting a flush
//! together), then `names`, then a file's own. `names` is never held while something is fetched.

use std::cell::Cell;
use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use parking_lot::{Mutex, MutexGuard, RwLock, RwLockReadGuard};

use super::data::Data;
use super::errno::{Answer, Errno};
use super::inode::{Allocated, Attr, Kind, What};
use super::lower::Lower;
use super::names::{Names, Rename, Stop};
use super::profile::Recorder;
use super::space::Space;
use super::state::State;
use super::store::Store;
use super::users::{self, User};
use crate::error::{Error, with_causes};
use crate::model::entry::Meta;
use crate::sys::clock::stamp_now;
use crate::work::pool::Pool;

mod acl;
mod attrs;
mod bytes;
mod handles;
mod keep;
mod list;
mod news;

use handles::Opened;
use list::Listing;

pub use attrs::{Changes, When};
pub(super) use attrs::{lose_trust, loses_trust};
pub use keep::Shown;
pub use list::Item;
pub use news::News;

const SETGID: u32 = 0o2000;

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub struct Caller {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// What the mode of what it makes loses; zero where the kernel took it away already.
    pub umask: u32,
}

/// How a mount is shown.
#[derive(Clone, Debug, Default)]
pub struct ViewOptions {
    /// Nothing can be changed.
    pub read_only: bool,
    /// Files of the version are shown as of this user and group.
    pub map_owner: Option<(u32, u32)>,
    /// The kernel uses upper files that hold all of a file by itself.
    pub passthrough: bool,
    /// Notes what is read of the version.
    pub recorder: Option<Arc<Recorder>>,
}

/// A file that the kernel is to use by itself.
pub type Backing = Option<Arc<File>>;

/// What is told of failures that a program only sees as EIO.
pub type Complain = dyn Fn(&str) + Send + Sync;

/// What was counted.
#[derive(Debug, Default)]
pub struct Counters {
    /// Reads, and their bytes.
    pub reads: AtomicU64,
    /// Bytes that were read.
    pub read_bytes: AtomicU64,
    /// Writes.
    pub writes: AtomicU64,
    /// Bytes that were written.
    pub written_bytes: AtomicU64,
    /// Answers that were errors of data that could not be had.
    pub failed: AtomicU64,
}

thread_local! {
    static HURRIED: Cell<bool> = const { Cell::new(false) };
}

/// Runs `work`, which, if `hurried`, answers [`Errno::LATER`] instead of waiting for a directory.
pub fn may_not_wait<T>(hurried: bool, work: impl FnOnce() -> T) -> T {
    let before = HURRIED.replace(hurried);
    let done = work();
    HURRIED.set(before);
    done
}

/// A mounted version and what was changed of it.
pub struct View {
    pub(super) lower: Arc<Lower>,
    pub(super) space: Arc<Space>,
    pub(super) names: Mutex<Names>,
    pub(super) store: Option<Store>,
    pub(super) gate: RwLock<()>,
    flushing: Mutex<()>,
    /// Files that were written and are not known to be on disk.
    unsynced: Mutex<HashMap<u64, Arc<Data>>>,
    /// Files that are gone, but that the store knows still.
    doomed: Mutex<Vec<Arc<Data>>>,
    handles: RwLock<HashMap<u64, Opened>>,
    /// Merged directories that somebody may be in the middle of, by inode, the latest last.
    listings: Mutex<VecDeque<(u64, Arc<Listing>)>>,
    next_handle: AtomicU64,
    options: ViewOptions,
    complain: Box<Complain>,
    /// What was counted.
    pub counters: Counters,
    /// Threads that bring what will be read next.
    ahead: Pool,
    /// Files that were unsealed one by one, and whether all were.
    unsealed: AtomicU64,
    all_unsealed: AtomicBool,
    /// Whether there is something to flush.
    pub(super) news: Arc<News>,
    /// Told of inodes of which the kernel knows old attributes.
    stale: Mutex<Option<Box<Wanted>>>,
    /// Told of inodes that are opened for writing.
    wanted: Mutex<Option<Box<Wanted>>>,
    /// The device number of the mount.
    device: OnceLock<(u32, u32)>,
}

/// Told of an inode.
pub type Wanted = dyn Fn(u64) + Send;

impl View {
    /// Over a version; `store` keeps what is changed, without one it is forgotten.
    pub fn new(
        lower: Arc<Lower>,
        space: Arc<Space>,
        names: Names,
        store: Option<Store>,
        options: ViewOptions,
        complain: Box<Complain>,
    ) -> Self {
        /// Fetches ahead at the same time; each of them sends many requests. On this machine one is all that is needed.
        const AHEAD: usize = 4;
        Self {
            ahead: Pool::new(if lower.is_far() { AHEAD } else { 1 }),
            news: Arc::default(),
            lower,
            space,
            names: Mutex::new(names),
            store,
            gate: RwLock::default(),
            flushing: Mutex::default(),
            unsynced: Mutex::default(),
            doomed: Mutex::default(),
            handles: RwLock::default(),
            listings: Mutex::default(),
            next_handle: AtomicU64::new(1),
            options,
            complain,
            counters: Counters::default(),
            unsealed: AtomicU64::new(0),
            all_unsealed: AtomicBool::new(false),
            stale: Mutex::default(),
            wanted: Mutex::default(),
            device: OnceLock::new(),
        }
    }

    /// Notes the device number that the mount got.
    pub fn attached_as(&self, device: (u32, u32)) {
        let _ = self.device.set(device);
    }

    /// Returns files that programs write to by mappings of which the kernel does not tell. A mapping of a file that the kernel
    /// never used by itself keeps the file open, and its pages are written back like any others.
    pub(super) fn mapped_alone(&self) -> Vec<(u64, User)> {
        let device = self.device.get().filter(|_| self.options.passthrough && !self.options.read_only);
        let mut mapped = device.map(|device| users::mapped(*device)).unwrap_or_default();
        if !mapped.is_empty() {
            let names = self.names();
            let inodes = &names.upper().inodes;
            mapped.retain(|(ino, _)| match inodes.get(ino).map(|inode| &inode.what) {
                Some(What::File(data)) => data.was_handed_over(),
                _ => false,
            });
        }
        mapped
    }

    /// Tells `told` of every inode that is opened for writing.
    pub fn tell_wanted(&self, told: Box<Wanted>) {
        *self.wanted.lock() = Some(told);
    }

    /// Tells `told` of every inode of which the kernel knows old attributes.
    pub fn tell_stale(&self, told: Box<Wanted>) {
        *self.stale.lock() = Some(told);
    }

    fn is_stale(&self, ino: u64) {
        if let Some(told) = &*self.stale.lock() {
            told(ino);
        }
    }

    fn wants(&self, ino: u64) {
        if let Some(told) = &*self.wanted.lock() {
            told(ino);
        }
    }

    /// Whether reading may take a network.
    pub fn is_far(&self) -> bool {
        self.lower.is_far()
    }

    /// Whether the kernel keeps lengths and times of files by itself.
    fn keeps_lengths(&self) -> bool {
        !self.options.read_only && !self.options.passthrough
    }

    /// Whether nothing can be changed.
    pub fn is_read_only(&self) -> bool {
        self.options.read_only
    }

    pub(super) fn names(&self) -> MutexGuard<'_, Names> {
        self.names.lock()
    }

    fn changing(&self) -> Answer<RwLockReadGuard<'_, ()>> {
        if self.options.read_only {
            return Err(Errno::ROFS);
        }
        let gate = self.gate.read();
        // Under the gate, so that no flush takes the news and misses the change.
        self.news.come();
        Ok(gate)
    }

    /// Whether there is something to flush.
    pub fn news(&self) -> Arc<News> {
        Arc::clone(&self.news)
    }

    /// The error of data that cannot be had, told to whoever keeps the log.
    fn failed(&self, what: &str, e: &Error) -> Errno {
        self.counters.failed.fetch_add(1, Ordering::Relaxed);
        (self.complain)(&format!("{what}: {}", with_causes(e)));
        Errno::from(e)
    }

    /// Asks the names, and reads the directories that they lack.
    pub(super) fn ask<T>(&self, mut question: impl FnMut(&mut Names) -> Result<T, Stop>) -> Answer<T> {
        // What is held here stays known until the answer is there.
        let mut held = Vec::new();
        loop {
            let stop = match question(&mut self.names()) {
                Ok(answer) => return Ok(answer),
                Err(stop) => stop,
            };
            match stop {
                Stop::Errno(e) => return Err(e),
                Stop::Dir(_) if HURRIED.get() => return Err(Errno::LATER),
                Stop::Dir(tree) => {
                    let dir = self.lower.dir(&tree);
                    held.push(dir.map_err(|e| self.failed("cannot read a directory", &e))?);
                }
            }
        }
    }

    /// Attributes as they are shown.
    pub(super) fn shown(&self, names: &Names, mut attr: Attr) -> Attr {
        if let Some((uid, gid)) = self.options.map_owner
            && names.is_foreign(attr.ino)
        {
            (attr.uid, attr.gid) = (uid, gid);
        }
        attr
    }

    /// The attributes of an inode.
    pub fn attr(&self, ino: u64) -> Answer<Attr> {
        self.ask(|n| n.attr(ino).map(|attr| self.shown(n, attr))).map(|attr| self.with_holes(attr))
    }

    /// Attributes with what a chunk list says of holes. To be called without the names: the list may have to be read.
    pub(super) fn with_holes(&self, attr: Attr) -> Attr {
        match attr.allocated {
            Allocated::List { list, .. } => match self.lower.allocated(&list) {
                Some(data) => Attr { allocated: attr.allocated.resolved(data), ..attr },
                None => attr,
            },
            Allocated::Bytes(_) => attr,
        }
    }

    /// A name of a directory; the kernel holds the inode then. `None`: there is none.
    pub fn lookup(&self, parent: u64, name: &[u8]) -> Answer<Option<Attr>> {
        self.ask(|n| {
            let ino = match name {
                b"." => Some(parent),
                b".." => Some(n.parent(parent)?),
                _ => n.find(parent, name)?,
            };
            let Some(ino) = ino else { return Ok(None) };
            let attr = n.attr(ino)?;
            n.hold(ino);
            Ok(Some(self.shown(n, attr)))
        })
        .map(|found| found.map(|attr| self.with_holes(attr)))
    }

    /// The kernel lets go of an inode so many times.
    pub fn forget(&self, ino: u64, times: u64) {
        let mut names = self.names();
        let gone = names.forget(ino, times);
        let pending = names.has_pending();
        drop(names);
        self.discard(gone);
        if pending {
            self.news.come();
        }
    }

    /// Whether space of removed files is given back by the next flush.
    fn has_doomed(&self) -> bool {
        !self.doomed.lock().is_empty()
    }

    fn discard(&self, gone: Option<Arc<Data>>) {
        let Some(data) = gone else { return };
        self.unsynced().remove(&data.ino());
        if self.store.is_some() {
            // A crash may bring its names back: its bytes go after these.
            self.doomed.lock().push(data);
            self.news.come();
        } else {
            data.remove_upper();
        }
    }

    /// Where a symbolic link points.
    pub fn readlink(&self, ino: u64) -> Answer<Vec<u8>> {
        self.ask(|n| Ok(n.look(ino, |_, target| target.map(<[u8]>::to_vec))?.ok_or(Errno::INVAL)?))
    }

    /// The metadata of a new node: group, set-group-id and access list come from a directory that says so.
    fn fresh(&self, names: &mut Names, parent: u64, caller: Caller, mode: u32, what: New<'_>) -> Result<Meta, Stop> {
        let dir = matches!(what, New::Dir);
        let above = names.attr(parent)?;
        let mut meta =
            Meta { mode: mode & 0o7777, uid: caller.uid, gid: caller.gid, mtime: stamp_now(), xattrs: Vec::new() };
        if above.mode & SETGID != 0 {
            meta.gid = self.shown(names, above).gid;
            if dir {
                meta.mode |= SETGID;
            }
        }
        if !matches!(what, New::Symlink(_)) {
            match names.look(parent, |above, _| acl::default_of(above))? {
                Some(list) => acl::inherit(&mut meta, list, dir),
                None => meta.mode &= !caller.umask,
            }
        }
        Ok(meta)
    }

    /// Makes a node that is no file or directory, or an empty one that is.
    pub fn make(&self, caller: Caller, parent: u64, name: &[u8], mode: u32, what: New<'_>) -> Answer<Attr> {
        let _gate = self.changing()?;
        self.ask(|n| {
            let meta = self.fresh(n, parent, caller, mode, what)?;
            let ino = n.make(parent, name, meta, |ino, space| what.node(ino, space))?;
            n.hold(ino);
            n.attr(ino)
        })
    }

    /// Makes a file and opens it, for the kernel alone where that is done.
    pub fn create(&self, caller: Caller, parent: u64, name: &[u8], mode: u32) -> Answer<(Attr, u64, Backing)> {
        let attr = self.make(caller, parent, name, mode, New::File)?;
        let data = self.ask(|n| n.open(attr.ino, true))?;
        let (handle, backing) = self.opened(attr.ino, data, true);
        Ok((attr, handle, backing))
    }

    /// One more name.
    pub fn link(&self, ino: u64, parent: u64, name: &[u8]) -> Answer<Attr> {
        let _gate = self.changing()?;
        self.ask(|n| {
            n.link(ino, parent, name)?;
            n.hold(ino);
            n.attr(ino).map(|attr| self.shown(n, attr))
        })
        .map(|attr| self.with_holes(attr))
    }

    /// Removes a name of a directory, or of anything else.
    pub fn remove(&self, parent: u64, name: &[u8], dir: bool) -> Answer<()> {
        let _gate = self.changing()?;
        let gone = self.ask(|n| n.remove(parent, name, dir))?;
        self.discard(gone);
        Ok(())
    }

    /// Moves a name.
    pub fn rename(&self, from: (u64, &[u8]), to: (u64, &[u8]), how: Rename) -> Answer<()> {
        let _gate = self.changing()?;
        if how == Rename::Replace {
            // What takes the place of something must not be less durable than that was.
            let moved = self.ask(|n| {
                let (Some(ino), Some(_)) = (n.find(from.0, from.1)?, n.find(to.0, to.1)?) else { return Ok(None) };
                Ok(n.upper().inodes.get(&ino).and_then(|i| match &i.what {
                    What::File(data) => Some(Arc::clone(data)),
                    _ => None,
                }))
            })?;
            moved.inspect(|data| data.unsettle());
        }
        let gone = self.ask(|n| n.rename(from, to, how))?;
        self.discard(gone);
        Ok(())
    }

    /// Lets the store know what is another than it knows.
    pub(super) fn note_news(&self, data: &Data) -> Answer<()> {
        if data.take_news() {
            self.ask(|n| n.touch(data.ino()).map(drop))?;
        }
        Ok(())
    }

    pub(super) fn note_unsynced(&self, data: &Arc<Data>) {
        self.unsynced().entry(data.ino()).or_insert_with(|| Arc::clone(data));
        self.news.come();
    }

    fn unsynced(&self) -> MutexGuard<'_, HashMap<u64, Arc<Data>>> {
        self.unsynced.lock()
    }

    /// Inodes that differ from the last commit, bytes that were written since, inodes that the kernel knows, open files.
    pub fn state(&self) -> (u64, u64, u64, u64) {
        let names = self.names();
        let (mut changed, mut bytes) = (0, 0);
        for (ino, inode) in &names.upper().inodes {
            let written = match &inode.what {
                What::File(data) if inode.nlink > 0 => data.dirty_bytes(),
                _ => 0,
            };
            changed += u64::from(written > 0 || names.is_changed(*ino));
            bytes += written;
        }
        let (untouched, kept, open) = names.counts();
        (changed, bytes, (untouched + kept) as u64, open as u64)
    }

    /// Bytes of upper files that the version has too; a remount gives them back.
    pub fn spare_bytes(&self) -> u64 {
        let names = self.names();
        let files = names.upper().inodes.values().filter_map(|inode| match &inode.what {
            What::File(data) => Some(data.spare_bytes()),
            _ => None,
        });
        files.sum()
    }

    /// Bytes that the overlay takes.
    pub fn space_used(&self) -> u64 {
        self.space.used_bytes()
    }

    /// Size and space of the file system: block size, blocks, free ones.
    pub fn statfs(&self) -> (u32, u64, u64) {
        const UNIT: u64 = 4096;
        // The directory is made by the first write.
        let there = self.space.dir().ancestors().find_map(|dir| rustix::fs::statvfs(dir).ok());
        let (mut total, mut free) =
            there.map_or((0, 0), |s| (s.f_blocks * s.f_frsize / UNIT, s.f_bavail * s.f_frsize / UNIT));
        if let Some(limit) = self.space.limit_bytes() {
            total = limit / UNIT;
            free = free.min(limit.saturating_sub(self.space.used_bytes()) / UNIT);
        }
        if self.options.read_only {
            free = 0;
        }
        (4096, total, free)
    }
}

/// A node to be made.
#[derive(Clone, Copy, Debug)]
pub enum New<'n> {
    /// An empty file.
    File,
    /// An empty directory.
    Dir,
    /// A symbolic link to there.
    Symlink(&'n [u8]),
    /// A pipe, socket or device with its numbers.
    Special(Kind, u32, u32),
}

impl New<'_> {
    fn node(self, ino: u64, space: &Arc<Space>) -> What {
        match self {
            Self::File => What::File(Arc::new(Data::new(ino, Arc::clone(space), State::empty()))),
            Self::Dir => What::Dir { tree: None, stored: None },
            Self::Symlink(target) => What::Symlink(target.to_vec()),
            Self::Special(Kind::CharDevice, major, minor) => What::CharDevice(major, minor),
            Self::Special(Kind::BlockDevice, major, minor) => What::BlockDevice(major, minor),
            Self::Special(Kind::Socket, ..) => What::Socket,
            Self::Special(..) => What::Fifo,
        }
    }
}
