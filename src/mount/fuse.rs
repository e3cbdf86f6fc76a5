//! Between the kernel and a [`View`]: fuser's types in, ours out, and back.
//!
//! An answer that may take a network goes to the pool; one that panics is EIO. Times that the kernel keeps (writeback
//! mode) come by `setattr`.

use std::cell::RefCell;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{
    BackingId, BsdFileFlags, Config, Errno as Raw, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation,
    INodeNo, InitFlags, KernelConfig, LockOwner, Notifier, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData,
    ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyLseek, ReplyOpen, ReplyStatfs, ReplyWrite,
    ReplyXattr, Request, Session, SessionACL, TimeOrNow, WriteFlags,
};

use super::errno::{Answer, Errno};
use super::inode::{Attr, Kind};
use super::names::Rename;
use super::pool::Pool;
use super::view::{Caller, Changes, Item, New, View, When, may_not_wait};
use crate::model::entry::Time;

/// The kernel is told of every change, since all of them pass here: what it knows stays true.
const TTL: Duration = Duration::from_secs(7 * 86_400);
/// Bytes of one request to write.
const MAX_WRITE: u32 = 1 << 20;
/// What the kernel has read of a file stays true when it is opened again; closing tells nothing.
const KEEP: FopenFlags = FopenFlags::FOPEN_KEEP_CACHE.union(FopenFlags::FOPEN_NOFLUSH);
/// Requests that the kernel sends ahead.
const BACKGROUND: u16 = 64;
/// Answers that may wait for a network at the same time.
const WAITING: usize = 64;

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// A view as fuser wants it.
struct Fuse {
    view: Arc<View>,
    pool: Pool,
    mode: Mode,
    backings: Arc<Backings>,
}

/// How the kernel treats data; it cannot do both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It gathers writes.
    Writeback,
    /// It uses files that are wholly here by itself.
    Passthrough,
}

/// Files that the kernel uses by itself: by inode, what it knows each by and how often it is open.
#[derive(Default)]
struct Backings {
    inodes: Mutex<HashMap<u64, (Arc<BackingId>, u64)>>,
    handles: Mutex<HashMap<u64, u64>>,
}

impl Backings {
    /// What the kernel knows the file of an inode by; all openings of one share it.
    fn give(&self, ino: u64, handle: u64, open: impl FnOnce() -> io::Result<BackingId>) -> io::Result<Arc<BackingId>> {
        let mut inodes = self.inodes.lock().unwrap_or_else(PoisonError::into_inner);
        let backing = match inodes.entry(ino) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(free) => free.insert((Arc::new(open()?), 0)),
        };
        backing.1 += 1;
        self.handles.lock().unwrap_or_else(PoisonError::into_inner).insert(handle, ino);
        Ok(Arc::clone(&backing.0))
    }

    /// Ends an opening.
    fn take(&self, handle: u64) {
        let ino = self.handles.lock().unwrap_or_else(PoisonError::into_inner).remove(&handle);
        let Some(ino) = ino else { return };
        let mut inodes = self.inodes.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(backing) = inodes.get_mut(&ino) {
            backing.1 -= 1;
            if backing.1 == 0 {
                inodes.remove(&ino);
            }
        }
    }
}

/// A mount that is being served.
pub struct Served {
    session: fuser::BackgroundSession,
}

/// Serves a view on an attached device with so many threads.
pub fn serve(view: Arc<View>, device: OwnedFd, threads: usize, mode: Mode, allow_other: bool) -> io::Result<Served> {
    let fuse = Fuse { view, pool: Pool::new(WAITING), mode, backings: Arc::default() };
    let acl = if allow_other { SessionACL::All } else { SessionACL::Owner };
    let mut config = Config::default();
    config.acl = acl;
    config.n_threads = Some(threads);
    config.clone_fd = true;
    let session = Session::from_fd(fuse, device, acl, config)?;
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

    /// Of a name.
    pub fn name(&self, parent: u64, name: &[u8]) {
        let _ = self.0.inval_entry(INodeNo(parent), OsStr::from_bytes(name));
    }
}

fn raw(e: Errno) -> Raw {
    Raw::from_i32(e.0)
}

fn system(time: Time) -> SystemTime {
    let nanos = Duration::from_nanos(u64::from(time.nanos));
    match u64::try_from(time.secs) {
        Ok(secs) => UNIX_EPOCH + Duration::from_secs(secs) + nanos,
        Err(_) => UNIX_EPOCH - Duration::from_secs(time.secs.unsigned_abs()) + nanos,
    }
}

/// A time as the kernel sent it. fuser takes the nanoseconds of a time before 1970 away instead of adding them.
fn ours(time: SystemTime) -> Time {
    match time.duration_since(UNIX_EPOCH) {
        Ok(since) => Time { secs: i64::try_from(since.as_secs()).unwrap_or(i64::MAX), nanos: since.subsec_nanos() },
        Err(before) => {
            let d = before.duration();
            Time { secs: -i64::try_from(d.as_secs()).unwrap_or(i64::MAX), nanos: d.subsec_nanos() }
        }
    }
}

fn file_type(kind: Kind) -> FileType {
    match kind {
        Kind::File => FileType::RegularFile,
        Kind::Dir => FileType::Directory,
        Kind::Symlink => FileType::Symlink,
        Kind::Fifo => FileType::NamedPipe,
        Kind::Socket => FileType::Socket,
        Kind::CharDevice => FileType::CharDevice,
        Kind::BlockDevice => FileType::BlockDevice,
    }
}

/// Device numbers as the kernel packs them for FUSE: twelve bits of major, twenty of minor.
fn packed(rdev: (u32, u32)) -> u32 {
    (rdev.1 & 0xff) | (rdev.0 << 8) | ((rdev.1 & !0xff) << 12)
}

fn unpacked(rdev: u32) -> (u32, u32) {
    ((rdev >> 8) & 0xfff, (rdev & 0xff) | ((rdev >> 12) & 0xfff00))
}

fn attr(a: &Attr) -> FileAttr {
    FileAttr {
        ino: INodeNo(a.ino),
        size: a.size,
        blocks: a.size.div_ceil(512),
        atime: system(a.atime),
        mtime: system(a.mtime),
        ctime: system(a.ctime),
        crtime: UNIX_EPOCH,
        kind: file_type(a.kind),
        perm: u16::try_from(a.mode & 0o7777).unwrap_or(0),
        nlink: a.nlink,
        uid: a.uid,
        gid: a.gid,
        rdev: packed(a.rdev),
        blksize: 4096,
        flags: 0,
    }
}

/// That there is no such name, told so that the kernel remembers it.
fn nothing() -> FileAttr {
    let none = Time::default();
    attr(&Attr {
        ino: 0,
        kind: Kind::File,
        mode: 0,
        nlink: 0,
        uid: 0,
        gid: 0,
        rdev: (0, 0),
        size: 0,
        atime: none,
        mtime: none,
        ctime: none,
    })
}

fn caller(req: &Request) -> Caller {
    Caller { uid: req.uid(), gid: req.gid() }
}

fn empty(reply: ReplyEmpty, answer: Answer<()>) {
    match answer {
        Ok(()) => reply.ok(),
        Err(e) => reply.error(raw(e)),
    }
}

fn entry(reply: ReplyEntry, answer: Answer<Attr>) {
    match answer {
        Ok(a) => reply.entry(&TTL, &attr(&a), Generation(0)),
        Err(e) => reply.error(raw(e)),
    }
}

fn attributes(reply: ReplyAttr, answer: Answer<Attr>) {
    match answer {
        Ok(a) => reply.attr(&TTL, &attr(&a)),
        Err(e) => reply.error(raw(e)),
    }
}

fn xattr(reply: ReplyXattr, size: u32, answer: Answer<Vec<u8>>) {
    match answer {
        Ok(value) => match u32::try_from(value.len()) {
            Ok(len) if size == 0 => reply.size(len),
            Ok(len) if len <= size => reply.data(&value),
            _ => reply.error(raw(Errno::RANGE)),
        },
        Err(e) => reply.error(raw(e)),
    }
}

impl Fuse {
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
        match caught(|| may_not_wait(self.view.is_far(), || work(&self.view))) {
            Err(Errno::LATER) => {
                let view = Arc::clone(&self.view);
                self.pool.run(move || done(reply, caught(|| work(&view))));
            }
            answer => done(reply, answer),
        }
    }
}

/// A bug in one answer is an error of that one.
fn caught<T>(work: impl FnOnce() -> Answer<T>) -> Answer<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or(Err(Errno::IO))
}

fn read(view: &View, handle: u64, offset: u64, size: u32, reply: ReplyData) {
    BUFFER.with_borrow_mut(|buffer| {
        let size = size as usize;
        if buffer.len() < size {
            buffer.resize(size, 0);
        }
        match caught(|| view.read(handle, offset, &mut buffer[..size])) {
            Ok(n) => reply.data(&buffer[..n]),
            Err(e) => reply.error(raw(e)),
        }
    });
}

impl Filesystem for Fuse {
    fn init(&mut self, _req: &Request, config: &mut KernelConfig) -> io::Result<()> {
        let mut wanted = vec![
            InitFlags::FUSE_ATOMIC_O_TRUNC,
            InitFlags::FUSE_ASYNC_DIO,
            InitFlags::FUSE_PARALLEL_DIROPS,
            InitFlags::FUSE_CACHE_SYMLINKS,
            InitFlags::FUSE_HANDLE_KILLPRIV_V2,
            InitFlags::FUSE_DO_READDIRPLUS,
            InitFlags::FUSE_READDIRPLUS_AUTO,
            InitFlags::FUSE_EXPORT_SUPPORT,
        ];
        match self.mode {
            Mode::Writeback if self.view.is_read_only() => {}
            Mode::Writeback => wanted.push(InitFlags::FUSE_WRITEBACK_CACHE),
            Mode::Passthrough => {
                wanted.push(InitFlags::FUSE_PASSTHROUGH);
                let _ = config.set_max_stack_depth(1);
            }
        }
        for flag in wanted {
            // An older kernel does without.
            let _ = config.add_capabilities(flag);
        }
        let _ = config.set_max_write(MAX_WRITE);
        let _ = config.set_max_background(BACKGROUND);
        let _ = config.set_congestion_threshold(BACKGROUND / 4 * 3);
        Ok(())
    }

    fn lookup(&self, _req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let name = name.as_bytes().to_vec();
        self.answer(
            reply,
            move |view| view.lookup(parent.0, &name),
            |reply, found| match found {
                Ok(Some(a)) => reply.entry(&TTL, &attr(&a), Generation(0)),
                Ok(None) => reply.entry(&TTL, &nothing(), Generation(0)),
                Err(e) => reply.error(raw(e)),
            },
        );
    }

    fn forget(&self, _req: &Request, ino: INodeNo, nlookup: u64) {
        self.view.forget(ino.0, nlookup);
    }

    fn getattr(&self, _req: &Request, ino: INodeNo, _fh: Option<FileHandle>, reply: ReplyAttr) {
        self.answer(reply, move |view| view.attr(ino.0), attributes);
    }

    fn setattr(
        &self,
        req: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        size: Option<u64>,
        atime: Option<TimeOrNow>,
        mtime: Option<TimeOrNow>,
        ctime: Option<SystemTime>,
        _fh: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let when = |time: TimeOrNow| match time {
            TimeOrNow::Now => When::Now,
            TimeOrNow::SpecificTime(time) => When::At(ours(time)),
        };
        let (atime, mtime) = (atime.map(when), mtime.map(when));
        let changes = Changes { mode, uid, gid, size, atime, mtime, ctime: ctime.map(ours) };
        let caller = caller(req);
        self.answer(reply, move |view| view.set_attr(caller, ino.0, &changes), attributes);
    }

    fn readlink(&self, _req: &Request, ino: INodeNo, reply: ReplyData) {
        self.answer(
            reply,
            move |view| view.readlink(ino.0),
            |reply, target| match target {
                Ok(target) => reply.data(&target),
                Err(e) => reply.error(raw(e)),
            },
        );
    }

    fn mknod(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _umask: u32,
        rdev: u32,
        reply: ReplyEntry,
    ) {
        let (name, caller, (major, minor)) = (name.as_bytes().to_vec(), caller(req), unpacked(rdev));
        let what = match mode & 0o170_000 {
            0o010_000 => New::Special(Kind::Fifo, 0, 0),
            0o020_000 => New::Special(Kind::CharDevice, major, minor),
            0o060_000 => New::Special(Kind::BlockDevice, major, minor),
            0o140_000 => New::Special(Kind::Socket, 0, 0),
            _ => New::File,
        };
        self.answer(reply, move |view| view.make(caller, parent.0, &name, mode, what), entry);
    }

    fn mkdir(&self, req: &Request, parent: INodeNo, name: &OsStr, mode: u32, _umask: u32, reply: ReplyEntry) {
        let (name, caller) = (name.as_bytes().to_vec(), caller(req));
        self.answer(reply, move |view| view.make(caller, parent.0, &name, mode, New::Dir), entry);
    }

    fn unlink(&self, _req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let name = name.as_bytes().to_vec();
        self.answer(reply, move |view| view.remove(parent.0, &name, false), empty);
    }

    fn rmdir(&self, _req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let name = name.as_bytes().to_vec();
        self.answer(reply, move |view| view.remove(parent.0, &name, true), empty);
    }

    fn symlink(&self, req: &Request, parent: INodeNo, link_name: &OsStr, target: &Path, reply: ReplyEntry) {
        let (name, caller) = (link_name.as_bytes().to_vec(), caller(req));
        let target = target.as_os_str().as_bytes().to_vec();
        self.answer(reply, move |view| view.make(caller, parent.0, &name, 0o777, New::Symlink(&target)), entry);
    }

    fn rename(
        &self,
        _req: &Request,
        parent: INodeNo,
        name: &OsStr,
        newparent: INodeNo,
        newname: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let how = match flags {
            f if f.is_empty() => Rename::Replace,
            RenameFlags::RENAME_NOREPLACE => Rename::Fresh,
            RenameFlags::RENAME_EXCHANGE => Rename::Exchange,
            _ => return reply.error(raw(Errno::INVAL)),
        };
        let (from, to) = (name.as_bytes().to_vec(), newname.as_bytes().to_vec());
        self.answer(reply, move |view| view.rename((parent.0, &from), (newparent.0, &to), how), empty);
    }

    fn link(&self, _req: &Request, ino: INodeNo, newparent: INodeNo, newname: &OsStr, reply: ReplyEntry) {
        let name = newname.as_bytes().to_vec();
        self.answer(reply, move |view| view.link(ino.0, newparent.0, &name), entry);
    }

    fn open(&self, req: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        const O_TRUNC: i32 = 0o1000;
        let (write, truncate) = (flags.acc_mode() != fuser::OpenAccMode::O_RDONLY, flags.0 & O_TRUNC != 0);
        let caller = caller(req);
        let backings = Arc::clone(&self.backings);
        self.answer(
            reply,
            move |view| view.open(caller, ino.0, write, truncate),
            move |reply, opened| match opened {
                Ok((handle, None)) => reply.opened(FileHandle(handle), KEEP),
                Ok((handle, Some(file))) => {
                    let open = || reply.open_backing(&*file);
                    match backings.give(ino.0, handle, open) {
                        Ok(backing) => {
                            reply.opened_passthrough(FileHandle(handle), FopenFlags::FOPEN_NOFLUSH, &backing);
                        }
                        Err(e) => reply.error(raw(Errno::from(e))),
                    }
                }
                Err(e) => reply.error(raw(e)),
            },
        );
    }

    fn read(
        &self,
        _req: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        if self.view.may_wait(fh.0, offset, size as usize) {
            let view = Arc::clone(&self.view);
            return self.pool.run(move || read(&view, fh.0, offset, size, reply));
        }
        read(&self.view, fh.0, offset, size, reply);
    }

    fn write(
        &self,
        req: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        data: &[u8],
        write_flags: WriteFlags,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let cached = write_flags.contains(WriteFlags::FUSE_WRITE_CACHE);
        let caller = caller(req);
        let len = u32::try_from(data.len()).unwrap_or(0);
        let done = move |reply: ReplyWrite, answer| match answer {
            Ok(()) => reply.written(len),
            Err(e) => reply.error(raw(e)),
        };
        if self.view.may_wait_to_write(fh.0, offset, data.len()) {
            let (view, data) = (Arc::clone(&self.view), data.to_vec());
            return self.pool.run(move || done(reply, caught(|| view.write(caller, fh.0, offset, &data, cached))));
        }
        done(reply, caught(|| self.view.write(caller, fh.0, offset, data, cached)));
    }

    fn flush(&self, _req: &Request, _ino: INodeNo, _fh: FileHandle, _lock_owner: LockOwner, reply: ReplyEmpty) {
        reply.error(Raw::ENOSYS);
    }

    fn release(
        &self,
        _req: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        _flush: bool,
        reply: ReplyEmpty,
    ) {
        if self.mode == Mode::Passthrough {
            self.backings.take(fh.0);
        }
        self.view.release(fh.0);
        reply.ok();
    }

    fn fsync(&self, _req: &Request, _ino: INodeNo, fh: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        // Others go on meanwhile.
        let view = Arc::clone(&self.view);
        self.pool.run(move || empty(reply, caught(|| view.sync(fh.0))));
    }

    fn opendir(&self, _req: &Request, ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        let handle = self.view.open_dir(ino.0);
        reply.opened(FileHandle(handle), FopenFlags::FOPEN_KEEP_CACHE | FopenFlags::FOPEN_CACHE_DIR);
    }

    fn readdir(&self, _req: &Request, ino: INodeNo, fh: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let list = move |view: &View, reply: &mut ReplyDirectory| {
            view.list(fh.0, ino.0, offset, false, &mut |item: Item<'_>| {
                !reply.add(INodeNo(item.ino), item.next, file_type(item.kind), OsStr::from_bytes(item.name))
            })
        };
        let done = |reply: ReplyDirectory, answer| match answer {
            Ok(()) => reply.ok(),
            Err(e) => reply.error(raw(e)),
        };
        match caught(|| may_not_wait(self.view.is_far(), || list(&self.view, &mut reply))) {
            Err(Errno::LATER) => {
                let view = Arc::clone(&self.view);
                self.pool.run(move || {
                    let answer = caught(|| list(&view, &mut reply));
                    done(reply, answer);
                });
            }
            answer => done(reply, answer),
        }
    }

    fn readdirplus(&self, _req: &Request, ino: INodeNo, fh: FileHandle, offset: u64, mut reply: ReplyDirectoryPlus) {
        let list = move |view: &View, reply: &mut ReplyDirectoryPlus| {
            view.list(fh.0, ino.0, offset, true, &mut |item: Item<'_>| {
                let told = item.attr.unwrap_or(Attr { ino: item.ino, kind: item.kind, ..NOBODY });
                let name = OsStr::from_bytes(item.name);
                !reply.add(INodeNo(item.ino), item.next, name, &TTL, &attr(&told), Generation(0))
            })
        };
        let done = |reply: ReplyDirectoryPlus, answer| match answer {
            Ok(()) => reply.ok(),
            Err(e) => reply.error(raw(e)),
        };
        match caught(|| may_not_wait(self.view.is_far(), || list(&self.view, &mut reply))) {
            Err(Errno::LATER) => {
                let view = Arc::clone(&self.view);
                self.pool.run(move || {
                    let answer = caught(|| list(&view, &mut reply));
                    done(reply, answer);
                });
            }
            answer => done(reply, answer),
        }
    }

    fn releasedir(&self, _req: &Request, _ino: INodeNo, fh: FileHandle, _flags: OpenFlags, reply: ReplyEmpty) {
        self.view.release(fh.0);
        reply.ok();
    }

    fn fsyncdir(&self, _req: &Request, _ino: INodeNo, _fh: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        let view = Arc::clone(&self.view);
        self.pool.run(move || empty(reply, caught(|| view.sync_names())));
    }

    fn statfs(&self, _req: &Request, _ino: INodeNo, reply: ReplyStatfs) {
        const FILES: u64 = 1 << 40;
        let (size, total, free) = self.view.statfs();
        reply.statfs(total, free, free, FILES, FILES, size, 255, size);
    }

    fn setxattr(
        &self,
        _req: &Request,
        ino: INodeNo,
        name: &OsStr,
        value: &[u8],
        flags: i32,
        _position: u32,
        reply: ReplyEmpty,
    ) {
        let (name, value) = (name.as_bytes().to_vec(), value.to_vec());
        let must = match flags {
            1 => Some(false),
            2 => Some(true),
            _ => None,
        };
        self.answer(reply, move |view| view.set_xattr(ino.0, &name, &value, must), empty);
    }

    fn getxattr(&self, _req: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        let name = name.as_bytes().to_vec();
        self.answer(reply, move |view| view.get_xattr(ino.0, &name), move |reply, value| xattr(reply, size, value));
    }

    fn listxattr(&self, _req: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        self.answer(reply, move |view| view.list_xattrs(ino.0), move |reply, names| xattr(reply, size, names));
    }

    fn removexattr(&self, _req: &Request, ino: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let name = name.as_bytes().to_vec();
        self.answer(reply, move |view| view.remove_xattr(ino.0, &name), empty);
    }

    fn create(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        _umask: u32,
        _flags: i32,
        reply: ReplyCreate,
    ) {
        let (name, caller) = (name.as_bytes().to_vec(), caller(req));
        let backings = Arc::clone(&self.backings);
        self.answer(
            reply,
            move |view| view.create(caller, parent.0, &name, mode),
            move |reply, made| match made {
                Ok((a, handle, None)) => reply.created(&TTL, &attr(&a), Generation(0), FileHandle(handle), KEEP),
                Ok((a, handle, Some(file))) => {
                    let open = || reply.open_backing(&*file);
                    match backings.give(a.ino, handle, open) {
                        Ok(backing) => {
                            let (made, flags) = (attr(&a), FopenFlags::FOPEN_NOFLUSH);
                            reply.created_passthrough(&TTL, &made, Generation(0), FileHandle(handle), flags, &backing);
                        }
                        Err(e) => reply.error(raw(Errno::from(e))),
                    }
                }
                Err(e) => reply.error(raw(e)),
            },
        );
    }

    fn fallocate(
        &self,
        req: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        let (view, caller) = (Arc::clone(&self.view), caller(req));
        self.pool.run(move || empty(reply, caught(|| view.fallocate(caller, fh.0, offset, length, mode))));
    }

    fn lseek(&self, _req: &Request, _ino: INodeNo, fh: FileHandle, offset: i64, whence: i32, reply: ReplyLseek) {
        const SEEK_DATA: i32 = 3;
        if self.mode == Mode::Writeback && !self.view.is_read_only() {
            // The kernel may hold bytes that are not here yet.
            return reply.error(Raw::ENOSYS);
        }
        let view = Arc::clone(&self.view);
        let seek =
            move |view: &View| view.seek(fh.0, u64::try_from(offset).map_err(|_| Errno::NXIO)?, whence == SEEK_DATA);
        let done = |reply: ReplyLseek, answer: Answer<u64>| match answer {
            Ok(at) => reply.offset(i64::try_from(at).unwrap_or(i64::MAX)),
            Err(e) => reply.error(raw(e)),
        };
        match view.is_far() {
            true => self.pool.run(move || done(reply, caught(|| seek(&view)))),
            false => done(reply, caught(|| seek(&view))),
        }
    }
}

const NOBODY: Attr = Attr {
    ino: 0,
    kind: Kind::Dir,
    mode: 0,
    nlink: 1,
    uid: 0,
    gid: 0,
    rdev: (0, 0),
    size: 0,
    atime: Time { secs: 0, nanos: 0 },
    mtime: Time { secs: 0, nanos: 0 },
    ctime: Time { secs: 0, nanos: 0 },
};
