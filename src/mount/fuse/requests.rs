//! The requests of the kernel, each with its answer.
//!
//! Times that the kernel keeps (writeback mode) come by `setattr`.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use fuser::{
    BsdFileFlags, Errno as Raw, FileHandle, Filesystem, FopenFlags, Generation, INodeNo, InitFlags, KernelConfig,
    LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyDirectoryPlus,
    ReplyEmpty, ReplyEntry, ReplyLseek, ReplyOpen, ReplyStatfs, ReplyWrite, ReplyXattr, Request, TimeOrNow, WriteFlags,
};

use rustix::fs::{AtFlags, CWD, StatxFlags};

use super::convert::{NOBODY, attr, caller, file_type, maker, nothing, ours, raw, unpacked};
use super::reply::{KEEP, TTL, attributes, empty, entry, read, xattr};
use super::{Fuse, Mode, caught};
use crate::mount::errno::{Answer, Errno};
use crate::mount::inode::{Allocated, Attr, Kind};
use crate::mount::names::Rename;
use crate::mount::view::{Changes, Item, New, View, When};

/// Bytes of one request to write.
const MAX_WRITE: u32 = 1 << 20;
/// Bytes from which on moving them takes longer than being asked.
const MUCH: u32 = 32 << 10;
/// Requests that the kernel sends ahead.
const BACKGROUND: u16 = 64;

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
            // A directory may have an access list for what is made in it, in place of the umask.
            InitFlags::FUSE_DONT_MASK,
        ];
        if self.enforces_lists {
            wanted.push(InitFlags::FUSE_POSIX_ACL);
        }
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
        self.opens_no_directory = config.capabilities().contains(InitFlags::FUSE_NO_OPENDIR_SUPPORT);
        let _ = config.set_max_write(MAX_WRITE);
        let _ = config.set_max_background(BACKGROUND);
        let _ = config.set_congestion_threshold(BACKGROUND / 4 * 3);
        Ok(())
    }

    fn lookup(&self, req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        self.steer.saw(req.pid(), false);
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

    fn getattr(&self, req: &Request, ino: INodeNo, _fh: Option<FileHandle>, reply: ReplyAttr) {
        self.steer.saw(req.pid(), false);
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
        self.steer.saw(req.pid(), false);
        let when = |time: TimeOrNow| match time {
            TimeOrNow::Now => When::Now,
            TimeOrNow::SpecificTime(time) => When::At(ours(time)),
        };
        let (atime, mtime) = (atime.map(when), mtime.map(when));
        let changes = Changes { mode, uid, gid, size, atime, mtime, ctime: ctime.map(ours) };
        let caller = caller(req);
        self.answer(reply, move |view| view.set_attr(caller, ino.0, &changes), attributes);
    }

    fn readlink(&self, req: &Request, ino: INodeNo, reply: ReplyData) {
        self.steer.saw(req.pid(), false);
        self.answer(
            reply,
            move |view| view.readlink(ino.0),
            |reply, target| match target {
                Ok(target) => reply.data(&target),
                Err(e) => reply.error(raw(e)),
            },
        );
    }

    fn mknod(&self, req: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, rdev: u32, reply: ReplyEntry) {
        self.steer.saw(req.pid(), false);
        let (name, caller, (major, minor)) = (name.as_bytes().to_vec(), maker(req, umask), unpacked(rdev));
        let what = match mode & 0o170_000 {
            0o010_000 => New::Special(Kind::Fifo, 0, 0),
            0o020_000 => New::Special(Kind::CharDevice, major, minor),
            0o060_000 => New::Special(Kind::BlockDevice, major, minor),
            0o140_000 => New::Special(Kind::Socket, 0, 0),
            _ => New::File,
        };
        self.answer(reply, move |view| view.make(caller, parent.0, &name, mode, what), entry);
    }

    fn mkdir(&self, req: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, reply: ReplyEntry) {
        self.steer.saw(req.pid(), false);
        let (name, caller) = (name.as_bytes().to_vec(), maker(req, umask));
        self.answer(reply, move |view| view.make(caller, parent.0, &name, mode, New::Dir), entry);
    }

    fn unlink(&self, req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.steer.saw(req.pid(), false);
        let name = name.as_bytes().to_vec();
        self.answer(reply, move |view| view.remove(parent.0, &name, false), empty);
    }

    fn rmdir(&self, req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.steer.saw(req.pid(), false);
        let name = name.as_bytes().to_vec();
        self.answer(reply, move |view| view.remove(parent.0, &name, true), empty);
    }

    fn symlink(&self, req: &Request, parent: INodeNo, link_name: &OsStr, target: &Path, reply: ReplyEntry) {
        self.steer.saw(req.pid(), false);
        let (name, caller) = (link_name.as_bytes().to_vec(), caller(req));
        let target = target.as_os_str().as_bytes().to_vec();
        self.answer(reply, move |view| view.make(caller, parent.0, &name, 0o777, New::Symlink(&target)), entry);
    }

    fn rename(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        newparent: INodeNo,
        newname: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        self.steer.saw(req.pid(), false);
        let how = match flags {
            f if f.is_empty() => Rename::Replace,
            RenameFlags::RENAME_NOREPLACE => Rename::Fresh,
            RenameFlags::RENAME_EXCHANGE => Rename::Exchange,
            _ => return reply.error(raw(Errno::INVAL)),
        };
        let (from, to) = (name.as_bytes().to_vec(), newname.as_bytes().to_vec());
        self.answer(reply, move |view| view.rename((parent.0, &from), (newparent.0, &to), how), empty);
    }

    fn link(&self, req: &Request, ino: INodeNo, newparent: INodeNo, newname: &OsStr, reply: ReplyEntry) {
        self.steer.saw(req.pid(), false);
        let name = newname.as_bytes().to_vec();
        self.answer(reply, move |view| view.link(ino.0, newparent.0, &name), entry);
    }

    fn open(&self, req: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        self.steer.saw(req.pid(), false);
        const O_TRUNC: i32 = 0o1000;
        let (write, truncate) = (flags.acc_mode() != fuser::OpenAccMode::O_RDONLY, flags.0 & O_TRUNC != 0);
        let caller = caller(req);
        let (backings, kept) = (Arc::clone(&self.backings), Arc::clone(&self.view));
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
                        Err(e) => {
                            kept.serve_instead(handle, &e);
                            reply.opened(FileHandle(handle), KEEP);
                        }
                    }
                }
                Err(e) => reply.error(raw(e)),
            },
        );
    }

    fn read(
        &self,
        req: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        self.steer.saw(req.pid(), size > MUCH);
        // The kernel names an owner of locks only where it reads past its cache.
        if lock_owner.is_none() {
            self.view.note_cached(fh.0);
        }
        if self.view.may_wait(fh.0, offset, size as usize) {
            let view = Arc::clone(&self.view);
            return self.pool.run(move || read(&view, fh.0, offset, size, reply));
        }
        read(&self.view, fh.0, offset, size, reply);
    }

    fn write(
        &self,
        req: &Request,
        ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        data: &[u8],
        write_flags: WriteFlags,
        _flags: OpenFlags,
        lock_owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        self.steer.saw(req.pid(), data.len() > MUCH as usize);
        let cached = write_flags.contains(WriteFlags::FUSE_WRITE_CACHE);
        let caller = caller(req);
        let len = u32::try_from(data.len()).unwrap_or(0);
        let written = move |reply: ReplyWrite, answer| match answer {
            Ok(()) => reply.written(len),
            Err(e) => reply.error(raw(e)),
        };
        let (view, overwritten, notifier) = (&self.view, Arc::clone(&self.overwritten), Arc::clone(&self.notifier));
        let past_cache = !cached && lock_owner.is_some();
        let done = move |view: &View, reply: ReplyWrite, answer| {
            if !past_cache || !view.may_be_cached(fh.0) {
                return written(reply, answer);
            }
            overwritten.run(move || {
                if let (Some(notifier), Ok(offset)) = (notifier.get(), i64::try_from(offset)) {
                    let _ = notifier.inval_inode(ino, offset, i64::from(len));
                }
                written(reply, answer);
            });
        };
        if view.may_wait_to_write(fh.0, offset, data.len()) {
            let (view, data) = (Arc::clone(&self.view), data.to_vec());
            let write = move || {
                let answer = caught(|| view.write(caller, fh.0, offset, &data, cached));
                done(&view, reply, answer);
            };
            return self.pool.run(write);
        }
        done(view, reply, caught(|| view.write(caller, fh.0, offset, data, cached)));
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

    fn fsync(&self, req: &Request, _ino: INodeNo, fh: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        self.steer.saw(req.pid(), false);
        self.sync(reply, move |view| view.sync(fh.0));
    }

    fn opendir(&self, req: &Request, _ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        self.steer.saw(req.pid(), false);
        if self.opens_no_directory {
            // It is not asked again, for no directory.
            return reply.error(Raw::ENOSYS);
        }
        reply.opened(FileHandle(0), FopenFlags::FOPEN_KEEP_CACHE | FopenFlags::FOPEN_CACHE_DIR);
    }

    fn readdir(&self, req: &Request, ino: INodeNo, _fh: FileHandle, offset: u64, reply: ReplyDirectory) {
        self.steer.saw(req.pid(), false);
        let list = move |view: &View, reply: &mut ReplyDirectory| {
            view.list(ino.0, offset, false, &mut |item: Item<'_>| {
                !reply.add(INodeNo(item.ino), item.next, file_type(item.kind), OsStr::from_bytes(item.name))
            })
        };
        let done = |reply: ReplyDirectory, answer| match answer {
            Ok(()) => reply.ok(),
            Err(e) => reply.error(raw(e)),
        };
        self.answer_into(reply, list, done);
    }

    fn readdirplus(&self, req: &Request, ino: INodeNo, _fh: FileHandle, offset: u64, reply: ReplyDirectoryPlus) {
        self.steer.saw(req.pid(), false);
        let far = self.view.is_far();
        let list = move |view: &View, reply: &mut ReplyDirectoryPlus| {
            view.list(ino.0, offset, true, &mut |item: Item<'_>| {
                let told = item.attr.unwrap_or(Attr { ino: item.ino, kind: item.kind, ..NOBODY });
                let name = OsStr::from_bytes(item.name);
                // Of a file whose holes are not known the kernel asks again when a program wants its attributes.
                let ttl = if matches!(told.allocated, Allocated::List { .. }) && !far { Duration::ZERO } else { TTL };
                !reply.add(INodeNo(item.ino), item.next, name, &ttl, &attr(&told), Generation(0))
            })
        };
        let done = |reply: ReplyDirectoryPlus, answer| match answer {
            Ok(()) => reply.ok(),
            Err(e) => reply.error(raw(e)),
        };
        self.answer_into(reply, list, done);
    }

    fn releasedir(&self, _req: &Request, _ino: INodeNo, _fh: FileHandle, _flags: OpenFlags, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsyncdir(&self, req: &Request, _ino: INodeNo, _fh: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        self.steer.saw(req.pid(), false);
        self.sync(reply, View::sync_names);
    }

    fn statfs(&self, _req: &Request, _ino: INodeNo, reply: ReplyStatfs) {
        // More do not fit the answer to a 32-bit program, which gets an error then.
        const FILES: u64 = u32::MAX as u64 / 2;
        let (size, total, free) = self.view.statfs();
        reply.statfs(total, free, free, FILES, FILES, size, 255, size);
    }

    fn setxattr(
        &self,
        req: &Request,
        ino: INodeNo,
        name: &OsStr,
        value: &[u8],
        flags: i32,
        _position: u32,
        reply: ReplyEmpty,
    ) {
        self.steer.saw(req.pid(), false);
        let (name, value) = (name.as_bytes().to_vec(), value.to_vec());
        let must = match flags {
            1 => Some(false),
            2 => Some(true),
            _ => None,
        };
        let caller = caller(req);
        self.answer(reply, move |view| view.set_xattr(caller, ino.0, &name, &value, must), empty);
    }

    fn getxattr(&self, req: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        self.steer.saw(req.pid(), false);
        let name = name.as_bytes().to_vec();
        self.answer(reply, move |view| view.get_xattr(ino.0, &name), move |reply, value| xattr(reply, size, value));
    }

    fn listxattr(&self, req: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        self.steer.saw(req.pid(), false);
        self.answer(reply, move |view| view.list_xattrs(ino.0), move |reply, names| xattr(reply, size, names));
    }

    fn removexattr(&self, req: &Request, ino: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.steer.saw(req.pid(), false);
        let name = name.as_bytes().to_vec();
        self.answer(reply, move |view| view.remove_xattr(ino.0, &name), empty);
    }

    fn create(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        _flags: i32,
        reply: ReplyCreate,
    ) {
        self.steer.saw(req.pid(), false);
        let (name, caller) = (name.as_bytes().to_vec(), maker(req, umask));
        let (backings, kept) = (Arc::clone(&self.backings), Arc::clone(&self.view));
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
                        Err(e) => {
                            kept.serve_instead(handle, &e);
                            reply.created(&TTL, &attr(&a), Generation(0), FileHandle(handle), KEEP);
                        }
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
        self.steer.saw(req.pid(), false);
        let (view, caller) = (Arc::clone(&self.view), caller(req));
        self.pool.run(move || empty(reply, caught(|| view.fallocate(caller, fh.0, offset, length, mode))));
    }

    fn lseek(&self, _req: &Request, ino: INodeNo, fh: FileHandle, offset: i64, whence: i32, reply: ReplyLseek) {
        const SEEK_DATA: i32 = 3;
        let done = |reply: ReplyLseek, answer: Answer<u64>| match answer {
            Ok(at) => reply.offset(i64::try_from(at).unwrap_or(i64::MAX)),
            Err(e) => reply.error(raw(e)),
        };
        if self.mode == Mode::Writeback && self.view.is_written(ino.0) {
            // The kernel may hold bytes that are not here yet: all of the file counts as data, up to the end that only
            // the kernel knows. It is asked by another thread, because it may in turn ask for attributes.
            let (view, top) = (Arc::clone(&self.view), self.at.clone());
            return self.pool.run(move || {
                let answer = caught(|| {
                    let size = size_in_kernel(&view, &top, ino.0).ok_or(Errno::INVAL)?;
                    let at = u64::try_from(offset).ok().filter(|at| *at < size).ok_or(Errno::NXIO)?;
                    Ok(if whence == SEEK_DATA { at } else { size })
                });
                done(reply, answer);
            });
        }
        let view = Arc::clone(&self.view);
        let seek =
            move |view: &View| view.seek(fh.0, u64::try_from(offset).map_err(|_| Errno::NXIO)?, whence == SEEK_DATA);
        match view.is_far() {
            true => self.pool.run(move || done(reply, caught(|| seek(&view)))),
            false => done(reply, caught(|| seek(&view))),
        }
    }
}

/// The length of a file as the kernel knows it, which may hold more of it than we have.
fn size_in_kernel(view: &View, top: &Path, ino: u64) -> Option<u64> {
    let path = top.join(OsStr::from_bytes(&view.path(ino)?));
    let told = rustix::fs::statx(CWD, &path, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::SIZE | StatxFlags::INO).ok()?;
    Some(told.stx_size).filter(|_| told.stx_ino == ino)
}
