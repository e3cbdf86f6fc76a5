//! Answers the requests of the kernel.
//!
//! In writeback mode, the kernel sends the times of files with `setattr`.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use fuser::{
    BsdFileFlags, Errno as Raw, FileHandle, Filesystem, FopenFlags, Generation, INodeNo, InitFlags,
    KernelConfig, LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData,
    ReplyDirectory, ReplyDirectoryPlus, ReplyEmpty, ReplyEntry, ReplyLseek, ReplyOpen, ReplyStatfs,
    ReplyWrite, ReplyXattr, Request, TimeOrNow, WriteFlags,
};
use rustix::fs::{AtFlags, CWD, StatxFlags};

use super::convert::{NOBODY, attr, caller, file_type, maker, nothing, ours, raw, unpacked};
use super::reply::{KEEP, TTL, attributes, caught, empty, entry, read, xattr};
use super::{CacheMode, FuseServer};
use crate::mount::errno::{Errno, FsResult};
use crate::mount::file::AllocatedBytes;
use crate::mount::names::{EntryRef, NodeAttr, NodeKind, RenameMode};
use crate::mount::view::{
    AttrChanges, CreatedFile, DirItem, NewNode, OpenedFile, SetTime, SpaceInfo, View,
};

/// Largest write request, in bytes.
const MAX_WRITE: u32 = 1 << 20;
/// Size in bytes above which the transfer takes longer than the rest of the request.
const MUCH: u32 = 32 << 10;
/// Maximum number of background requests that the kernel sends at the same time.
const BACKGROUND: u16 = 64;

impl Filesystem for FuseServer {
    fn init(&mut self, _req: &Request, config: &mut KernelConfig) -> io::Result<()> {
        let mut wanted = vec![
            // Without this flag, the kernel sends a separate `setattr` for `O_TRUNC`.
            InitFlags::FUSE_ATOMIC_O_TRUNC,
            InitFlags::FUSE_ASYNC_DIO,
            InitFlags::FUSE_PARALLEL_DIROPS,
            InitFlags::FUSE_CACHE_SYMLINKS,
            // Without this flag, the kernel requests `security.capability` before each write:
            // SQLite inserts then reached 0.11 to 0.16 of the native speed instead of 0.88. The
            // daemon has to remove set-user-ID bits itself.
            InitFlags::FUSE_HANDLE_KILLPRIV_V2,
            InitFlags::FUSE_DO_READDIRPLUS,
            // The kernel requests attributes with a listing only while programs use them.
            InitFlags::FUSE_READDIRPLUS_AUTO,
            // `View::lookup` answers for `.` and `..`, which the kernel needs for an export over
            // NFS.
            InitFlags::FUSE_EXPORT_SUPPORT,
            // Apply the umask in this process, because a default ACL takes its place.
            InitFlags::FUSE_DONT_MASK,
        ];
        if self.enforces_acls {
            wanted.push(InitFlags::FUSE_POSIX_ACL);
        }
        match self.mode {
            CacheMode::Writeback if self.view.is_read_only() => {}
            CacheMode::Writeback => wanted.push(InitFlags::FUSE_WRITEBACK_CACHE),
            CacheMode::Passthrough => {
                wanted.push(InitFlags::FUSE_PASSTHROUGH);
                // The kernel enables passthrough only together with a stack depth, and never
                // together with the writeback cache (`process_init_reply` in fs/fuse/inode.c).
                let _ = config.set_max_stack_depth(1);
            }
        }
        for flag in wanted {
            // An older kernel works without the capability.
            let _ = config.add_capabilities(flag);
        }
        self.skips_opendir = config
            .capabilities()
            .contains(InitFlags::FUSE_NO_OPENDIR_SUPPORT);
        let _ = config.set_max_write(MAX_WRITE);
        // The kernel's default is 12. As by default, congestion starts at three quarters of the
        // limit.
        let _ = config.set_max_background(BACKGROUND);
        let _ = config.set_congestion_threshold(BACKGROUND / 4 * 3);
        Ok(())
    }

    fn lookup(&self, req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        self.placement.note_request(req.pid(), false);
        let name = name.as_bytes().to_vec();
        self.respond(
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
        self.placement.note_request(req.pid(), false);
        self.respond(reply, move |view| view.attr(ino.0), attributes);
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
        self.placement.note_request(req.pid(), false);
        let when = |time: TimeOrNow| match time {
            TimeOrNow::Now => SetTime::Now,
            TimeOrNow::SpecificTime(time) => SetTime::At(ours(time)),
        };
        let (atime, mtime) = (atime.map(when), mtime.map(when));
        let changes = AttrChanges {
            mode,
            uid,
            gid,
            size,
            atime,
            mtime,
            ctime: ctime.map(ours),
        };
        let caller = caller(req);
        self.respond(
            reply,
            move |view| view.set_attr(caller, ino.0, &changes),
            attributes,
        );
    }

    fn readlink(&self, req: &Request, ino: INodeNo, reply: ReplyData) {
        self.placement.note_request(req.pid(), false);
        self.respond(
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
        umask: u32,
        rdev: u32,
        reply: ReplyEntry,
    ) {
        self.placement.note_request(req.pid(), false);
        let (name, caller, (major, minor)) =
            (name.as_bytes().to_vec(), maker(req, umask), unpacked(rdev));
        // The type bits of the mode, see inode(7).
        let what = match mode & 0o170_000 {
            0o010_000 => NewNode::Special(NodeKind::Fifo, 0, 0),
            0o020_000 => NewNode::Special(NodeKind::CharDevice, major, minor),
            0o060_000 => NewNode::Special(NodeKind::BlockDevice, major, minor),
            0o140_000 => NewNode::Special(NodeKind::Socket, 0, 0),
            _ => NewNode::File,
        };
        self.respond(
            reply,
            move |view| view.make(caller, parent.0, &name, mode, what),
            entry,
        );
    }

    fn mkdir(
        &self,
        req: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        reply: ReplyEntry,
    ) {
        self.placement.note_request(req.pid(), false);
        let (name, caller) = (name.as_bytes().to_vec(), maker(req, umask));
        self.respond(
            reply,
            move |view| view.make(caller, parent.0, &name, mode, NewNode::Dir),
            entry,
        );
    }

    fn unlink(&self, req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.placement.note_request(req.pid(), false);
        let name = name.as_bytes().to_vec();
        self.respond(
            reply,
            move |view| view.remove(parent.0, &name, false),
            empty,
        );
    }

    fn rmdir(&self, req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.placement.note_request(req.pid(), false);
        let name = name.as_bytes().to_vec();
        self.respond(reply, move |view| view.remove(parent.0, &name, true), empty);
    }

    fn symlink(
        &self,
        req: &Request,
        parent: INodeNo,
        link_name: &OsStr,
        target: &Path,
        reply: ReplyEntry,
    ) {
        self.placement.note_request(req.pid(), false);
        let (name, caller) = (link_name.as_bytes().to_vec(), caller(req));
        let target = target.as_os_str().as_bytes().to_vec();
        self.respond(
            reply,
            // All permission bits of a symbolic link are set, regardless of the umask (symlink(7)).
            move |view| view.make(caller, parent.0, &name, 0o777, NewNode::Symlink(&target)),
            entry,
        );
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
        self.placement.note_request(req.pid(), false);
        let how = match flags {
            f if f.is_empty() => RenameMode::Replace,
            RenameFlags::RENAME_NOREPLACE => RenameMode::NoReplace,
            RenameFlags::RENAME_EXCHANGE => RenameMode::Exchange,
            _ => return reply.error(raw(Errno::INVAL)),
        };
        let (from, to) = (name.as_bytes().to_vec(), newname.as_bytes().to_vec());
        self.respond(
            reply,
            move |view| {
                view.rename(
                    EntryRef::new(parent.0, &from),
                    EntryRef::new(newparent.0, &to),
                    how,
                )
            },
            empty,
        );
    }

    fn link(
        &self,
        req: &Request,
        ino: INodeNo,
        newparent: INodeNo,
        newname: &OsStr,
        reply: ReplyEntry,
    ) {
        self.placement.note_request(req.pid(), false);
        let name = newname.as_bytes().to_vec();
        self.respond(
            reply,
            move |view| view.link(ino.0, newparent.0, &name),
            entry,
        );
    }

    fn open(&self, req: &Request, ino: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        self.placement.note_request(req.pid(), false);
        const O_TRUNC: i32 = 0o1000;
        let (write, truncate) = (
            flags.acc_mode() != fuser::OpenAccMode::O_RDONLY,
            flags.0 & O_TRUNC != 0,
        );
        let caller = caller(req);
        let (backings, fallback) = (Arc::clone(&self.backings), Arc::clone(&self.view));
        self.respond(
            reply,
            move |view| view.open(caller, ino.0, write, truncate),
            move |reply, opened| match opened {
                Ok(OpenedFile {
                    handle,
                    backing: None,
                }) => reply.opened(FileHandle(handle), KEEP),
                Ok(OpenedFile {
                    handle,
                    backing: Some(file),
                }) => {
                    let open = || reply.open_backing(&*file);
                    match backings.open(ino.0, handle, open) {
                        Ok(backing) => {
                            // `FOPEN_KEEP_CACHE` would make the kernel refuse the open.
                            reply.opened_passthrough(
                                FileHandle(handle),
                                FopenFlags::FOPEN_NOFLUSH,
                                &backing,
                            );
                        }
                        Err(e) => {
                            // A kernel that was built without passthrough is noticed only here.
                            fallback.serve_in_daemon(handle, &e);
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
        self.placement.note_request(req.pid(), size > MUCH);
        // The kernel sends a lock owner only with reads that bypass its page cache.
        if lock_owner.is_none() {
            self.view.note_kernel_cached(fh.0);
        }
        if self.view.read_may_wait(fh.0, offset, size as usize) {
            let view = Arc::clone(&self.view);
            return self
                .pool
                .run(move || read(&view, fh.0, offset, size, reply));
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
        self.placement
            .note_request(req.pid(), data.len() > MUCH as usize);
        let cached = write_flags.contains(WriteFlags::FUSE_WRITE_CACHE);
        let caller = caller(req);
        let len = u32::try_from(data.len()).unwrap_or(0);
        let written = move |reply: ReplyWrite, answer| match answer {
            Ok(()) => reply.written(len),
            Err(e) => reply.error(raw(e)),
        };
        let (view, invalidator, notifier) = (
            &self.view,
            Arc::clone(&self.invalidator),
            Arc::clone(&self.notifier),
        );
        // As with reads, a lock owner means that the write bypasses the page cache.
        let past_cache = !cached && lock_owner.is_some();
        let done = move |view: &View, reply: ReplyWrite, answer| {
            if !past_cache || !view.may_be_cached(fh.0) {
                return written(reply, answer);
            }
            // Reply after the invalidation, because the program may read as soon as the write
            // returns.
            invalidator.run(move || {
                if let (Some(notifier), Ok(offset)) = (notifier.get(), i64::try_from(offset)) {
                    let _ = notifier.inval_inode(ino, offset, i64::from(len));
                }
                written(reply, answer);
            });
        };
        if view.write_may_wait(fh.0, offset, data.len()) {
            // Copy the data, because the thread receives the next request into the same buffer.
            let (view, data) = (Arc::clone(&self.view), data.to_vec());
            let write = move || {
                let answer = caught(|| view.write(caller, fh.0, offset, &data, cached));
                done(&view, reply, answer);
            };
            return self.pool.run(write);
        }
        done(
            view,
            reply,
            caught(|| view.write(caller, fh.0, offset, data, cached)),
        );
    }

    fn flush(
        &self,
        _req: &Request,
        _ino: INodeNo,
        _fh: FileHandle,
        _lock_owner: LockOwner,
        reply: ReplyEmpty,
    ) {
        // After this reply, the kernel sends no `flush` for any file.
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
        if self.mode == CacheMode::Passthrough {
            self.backings.close(fh.0);
        }
        self.view.release(fh.0);
        reply.ok();
    }

    fn fsync(
        &self,
        req: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        // Ignored, because `fdatasync` makes the name durable too.
        _datasync: bool,
        reply: ReplyEmpty,
    ) {
        self.placement.note_request(req.pid(), false);
        self.sync(reply, move |view| view.sync(fh.0));
    }

    fn opendir(&self, req: &Request, _ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        self.placement.note_request(req.pid(), false);
        if self.skips_opendir {
            // After this reply, the kernel sends no `opendir` for any directory.
            return reply.error(Raw::ENOSYS);
        }
        reply.opened(
            FileHandle(0),
            FopenFlags::FOPEN_KEEP_CACHE | FopenFlags::FOPEN_CACHE_DIR,
        );
    }

    fn readdir(
        &self,
        req: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        reply: ReplyDirectory,
    ) {
        self.placement.note_request(req.pid(), false);
        let list = move |view: &View, reply: &mut ReplyDirectory| {
            view.list(ino.0, offset, false, &mut |item: DirItem<'_>| {
                !reply.add(
                    INodeNo(item.ino),
                    item.next,
                    file_type(item.kind),
                    OsStr::from_bytes(item.name),
                )
            })
        };
        let done = |reply: ReplyDirectory, answer| match answer {
            Ok(()) => reply.ok(),
            Err(e) => reply.error(raw(e)),
        };
        self.respond_into(reply, list, done);
    }

    fn readdirplus(
        &self,
        req: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        reply: ReplyDirectoryPlus,
    ) {
        self.placement.note_request(req.pid(), false);
        let far = self.view.is_remote();
        let list = move |view: &View, reply: &mut ReplyDirectoryPlus| {
            view.list(ino.0, offset, true, &mut |item: DirItem<'_>| {
                let told = item.attr.unwrap_or(NodeAttr {
                    ino: item.ino,
                    kind: item.kind,
                    ..NOBODY
                });
                let name = OsStr::from_bytes(item.name);
                // If the holes of a file are not known, the kernel must ask again when a program
                // needs the attributes.
                let ttl = if matches!(told.allocated, AllocatedBytes::List { .. }) && !far {
                    Duration::ZERO
                } else {
                    TTL
                };
                !reply.add(
                    INodeNo(item.ino),
                    item.next,
                    name,
                    &ttl,
                    &attr(&told),
                    Generation(0),
                )
            })
        };
        let done = |reply: ReplyDirectoryPlus, answer| match answer {
            Ok(()) => reply.ok(),
            Err(e) => reply.error(raw(e)),
        };
        self.respond_into(reply, list, done);
    }

    fn releasedir(
        &self,
        _req: &Request,
        _ino: INodeNo,
        _fh: FileHandle,
        _flags: OpenFlags,
        reply: ReplyEmpty,
    ) {
        reply.ok();
    }

    fn fsyncdir(
        &self,
        req: &Request,
        _ino: INodeNo,
        _fh: FileHandle,
        _datasync: bool,
        reply: ReplyEmpty,
    ) {
        self.placement.note_request(req.pid(), false);
        self.sync(reply, View::sync_names);
    }

    fn statfs(&self, _req: &Request, _ino: INodeNo, reply: ReplyStatfs) {
        // A larger number would not fit into the result of a 32-bit program, so its call would
        // fail.
        const FILES: u64 = u32::MAX as u64 / 2;
        let SpaceInfo {
            total_blocks,
            free_blocks,
        } = self.view.statfs();
        let block = SpaceInfo::BLOCK;
        reply.statfs(
            total_blocks,
            free_blocks,
            free_blocks,
            FILES,
            FILES,
            block,
            255,
            block,
        );
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
        self.placement.note_request(req.pid(), false);
        let (name, value) = (name.as_bytes().to_vec(), value.to_vec());
        // The flags are `XATTR_CREATE` (1) and `XATTR_REPLACE` (2).
        let must = match flags {
            1 => Some(false),
            2 => Some(true),
            _ => None,
        };
        let caller = caller(req);
        self.respond(
            reply,
            move |view| view.set_xattr(caller, ino.0, &name, &value, must),
            empty,
        );
    }

    fn getxattr(&self, req: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        self.placement.note_request(req.pid(), false);
        let name = name.as_bytes().to_vec();
        self.respond(
            reply,
            move |view| view.get_xattr(ino.0, &name),
            move |reply, value| xattr(reply, size, value),
        );
    }

    fn listxattr(&self, req: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        self.placement.note_request(req.pid(), false);
        self.respond(
            reply,
            move |view| view.list_xattrs(ino.0),
            move |reply, names| xattr(reply, size, names),
        );
    }

    fn removexattr(&self, req: &Request, ino: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.placement.note_request(req.pid(), false);
        let name = name.as_bytes().to_vec();
        self.respond(reply, move |view| view.remove_xattr(ino.0, &name), empty);
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
        self.placement.note_request(req.pid(), false);
        let (name, caller) = (name.as_bytes().to_vec(), maker(req, umask));
        let (backings, fallback) = (Arc::clone(&self.backings), Arc::clone(&self.view));
        self.respond(
            reply,
            move |view| view.create(caller, parent.0, &name, mode),
            move |reply, created| match created {
                Ok(CreatedFile {
                    attr: a,
                    opened:
                        OpenedFile {
                            handle,
                            backing: None,
                        },
                }) => {
                    reply.created(&TTL, &attr(&a), Generation(0), FileHandle(handle), KEEP);
                }
                Ok(CreatedFile {
                    attr: a,
                    opened:
                        OpenedFile {
                            handle,
                            backing: Some(file),
                        },
                }) => {
                    let open = || reply.open_backing(&*file);
                    match backings.open(a.ino, handle, open) {
                        Ok(backing) => {
                            let (found, flags) = (attr(&a), FopenFlags::FOPEN_NOFLUSH);
                            reply.created_passthrough(
                                &TTL,
                                &found,
                                Generation(0),
                                FileHandle(handle),
                                flags,
                                &backing,
                            );
                        }
                        Err(e) => {
                            fallback.serve_in_daemon(handle, &e);
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
        self.placement.note_request(req.pid(), false);
        let (view, caller) = (Arc::clone(&self.view), caller(req));
        // Always use the pool: the rest of a block may have to be fetched, and zeroing can take
        // long on a file system without holes.
        self.pool.run(move || {
            empty(
                reply,
                caught(|| view.fallocate(caller, fh.0, offset, length, mode)),
            )
        });
    }

    fn lseek(
        &self,
        _req: &Request,
        ino: INodeNo,
        fh: FileHandle,
        offset: i64,
        whence: i32,
        reply: ReplyLseek,
    ) {
        const SEEK_DATA: i32 = 3;
        let done = |reply: ReplyLseek, answer: FsResult<u64>| match answer {
            Ok(at) => reply.offset(i64::try_from(at).unwrap_or(i64::MAX)),
            Err(e) => reply.error(raw(e)),
        };
        if self.mode == CacheMode::Writeback && self.view.is_open_for_write(ino.0) {
            // The kernel may have cached writes, so the complete file counts as data, up to the
            // end, which only the kernel knows. Ask the kernel for the end in the pool, because the
            // kernel may first send a request for the attributes, which a request thread has to
            // answer.
            let (view, top) = (Arc::clone(&self.view), self.at.clone());
            return self.pool.run(move || {
                let answer = caught(|| {
                    let size = size_in_kernel(&view, &top, ino.0).ok_or(Errno::INVAL)?;
                    let at = u64::try_from(offset)
                        .ok()
                        .filter(|at| *at < size)
                        .ok_or(Errno::NXIO)?;
                    Ok(if whence == SEEK_DATA { at } else { size })
                });
                done(reply, answer);
            });
        }
        let view = Arc::clone(&self.view);
        let seek = move |view: &View| {
            view.seek(
                fh.0,
                u64::try_from(offset).map_err(|_| Errno::NXIO)?,
                whence == SEEK_DATA,
            )
        };
        if view.is_remote() {
            self.pool.run(move || done(reply, caught(|| seek(&view))));
        } else {
            done(reply, caught(|| seek(&view)));
        }
    }
}

/// Returns the length of a file according to the kernel, which may have cached writes after the end
/// that this process knows.
fn size_in_kernel(view: &View, top: &Path, ino: u64) -> Option<u64> {
    let path = top.join(OsStr::from_bytes(&view.path(ino)?));
    let told = rustix::fs::statx(
        CWD,
        &path,
        AtFlags::SYMLINK_NOFOLLOW,
        StatxFlags::SIZE | StatxFlags::INO,
    )
    .ok()?;
    Some(told.stx_size).filter(|_| told.stx_ino == ino)
}
