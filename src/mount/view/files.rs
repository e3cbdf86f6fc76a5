//! Files: opening and closing, reading and writing, lengths and holes, and hydration.

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::namespace::NewNode;
use super::shared::{Caller, CreatedFile, OpenFile, OpenedFile, View};
use crate::error::Kind;
use crate::mount::errno::{Errno, FsResult};
use crate::mount::file::{BaseRange, FileData};
use crate::mount::names::{ClosedFile, LookupStop, NameTable, drop_privileges, has_privileges};
use crate::sys::clock::stamp_now;

impl View {
    /// Creates a file and opens it.
    pub fn create(
        &self,
        caller: Caller,
        parent: u64,
        name: &[u8],
        mode: u32,
    ) -> FsResult<CreatedFile> {
        let attr = self.make(caller, parent, name, mode, NewNode::File)?;
        let data = self.query(|n| n.open(attr.ino, true))?;
        let opened = self.register_open(attr.ino, data, true);
        Ok(CreatedFile { attr, opened })
    }

    /// Opens a file. With `truncate`, its content is removed.
    pub fn open(
        &self,
        caller: Caller,
        ino: u64,
        write: bool,
        truncate: bool,
    ) -> FsResult<OpenedFile> {
        if write && self.options.read_only {
            return Err(Errno::ROFS);
        }
        let data = self.query(|n| n.open(ino, write))?;
        if truncate && let Err(e) = self.resize(caller, &data, 0) {
            self.close_file(&data, false, write);
            return Err(e);
        }
        if write {
            self.opened_for_write(ino);
        }
        Ok(self.register_open(ino, data, write))
    }

    /// Creates a handle for a file. Also returns the upper file, if passthrough is possible.
    pub(super) fn register_open(&self, ino: u64, data: Arc<FileData>, write: bool) -> OpenedFile {
        let mut backing = None;
        // In passthrough mode, the kernel writes to a file without removing its privileges, so the
        // first writer of such a file is served by this process.
        let trusted = self.options.passthrough
            && write
            && self
                .query(|n| n.with_meta(ino, |meta, _| has_privileges(meta, false)))
                // If the metadata cannot be read, assume that there are privileges.
                .unwrap_or(true);
        if self.options.passthrough
            && self
                .names()
                .open_in_kernel(ino, data.is_complete() && !trusted)
        {
            if trusted {
                // Other handles already use passthrough, so remove the privileges before anything
                // can be written.
                let write_barrier = self.write_barrier.read();
                self.dirty.raise();
                let _ = self.query(|n| {
                    n.change(ino)
                        .map(|inode| drop_privileges(&mut inode.meta, false))
                });
                drop(write_barrier);
                self.attributes_changed(ino);
            }
            match self.pass_to_kernel(ino, &data, write) {
                Ok(file) => backing = Some(file),
                Err(e) => {
                    if !data.is_frozen() {
                        (self.log)(&format!(
                            "cannot open {} in passthrough mode: {e:?}",
                            self.shown_path(ino)
                        ));
                    }
                    self.names().open_in_daemon(ino);
                }
            }
        }
        let in_kernel = backing.is_some();
        let n = self.next_handle.fetch_add(1, Ordering::Relaxed);
        self.handles.write().insert(
            n,
            OpenFile {
                data,
                write,
                in_kernel,
            },
        );
        OpenedFile { handle: n, backing }
    }

    /// Prepares the upper file of an inode for passthrough. If the kernel may write to it, the
    /// inode is durably marked as changed first.
    fn pass_to_kernel(&self, ino: u64, data: &Arc<FileData>, write: bool) -> FsResult<Arc<File>> {
        let file = {
            let _barrier = self.write_barrier.read();
            self.dirty.raise();
            if data.is_frozen() {
                // Refuse, because a running snapshot could not save blocks that the kernel
                // overwrites.
                return Err(Errno::of(Kind::Busy));
            }
            // Passthrough sets the modification time, which invalidates a seal without checksums.
            if write || !data.has_sums() {
                self.unseal(data)?;
            }
            let mtime = self.query(|n| {
                let attr = n.attr(ino)?;
                if write {
                    n.change(ino)?;
                }
                Ok(attr.mtime)
            })?;
            let file = data.pass_to_kernel(write, mtime)?;
            self.store_if_outdated(data)?;
            file
        };
        if write {
            self.note_unsynced(data);
            // Make the mark durable. A file without a counterpart in the version counts as changed
            // anyway.
            if data.facts().base.is_some()
                && let Err(e) = self.sync_data(data)
            {
                data.take_from_kernel(true);
                return Err(e);
            }
        }
        Ok(file)
    }

    /// Serves a handle in this process, because the kernel could not use passthrough.
    pub fn serve_in_daemon(&self, handle: u64, why: &std::io::Error) {
        let opened = {
            let mut handles = self.handles.write();
            let Some(opened) = handles.get_mut(&handle).filter(|opened| opened.in_kernel) else {
                return;
            };
            opened.in_kernel = false;
            (Arc::clone(&opened.data), opened.write)
        };
        let ino = opened.0.ino();
        (self.log)(&format!(
            "the kernel refused passthrough for {}, so the daemon serves the file: {why}",
            self.shown_path(ino)
        ));
        opened.0.take_from_kernel(opened.1);
        self.names().open_in_daemon(ino);
    }

    pub(in crate::mount) fn close_file(&self, data: &Arc<FileData>, in_kernel: bool, write: bool) {
        let mut names = self.names();
        let ClosedFile { last, removed } = names.close(data.ino(), in_kernel, write);
        let pending = names.has_pending();
        drop(names);
        self.drop_file(removed);
        if pending {
            self.dirty.raise();
        }
        if last {
            data.close_upper();
        }
    }

    /// Closes a handle.
    pub fn release(&self, handle: u64) {
        let Some(opened) = self.handles.write().remove(&handle) else {
            return;
        };
        if opened.in_kernel {
            // Take over the kernel's last write before the handle stops counting as passthrough.
            if self.query(|n| n.refresh_from_kernel(&opened.data)) == Ok(true) {
                self.attributes_changed(opened.data.ino());
            }
            if opened.write {
                self.dirty.raise();
            }
            opened.data.take_from_kernel(opened.write);
        }
        self.close_file(&opened.data, opened.in_kernel, opened.write);
    }

    /// Returns whether a read may have to wait for the remote.
    pub fn read_may_wait(&self, handle: u64, offset: u64, len: usize) -> bool {
        self.is_remote()
            && self
                .file(handle)
                .is_ok_and(|data| data.needs_base(offset, len))
    }

    /// Returns whether a write may have to wait for the remote, to fetch the rest of a block.
    pub fn write_may_wait(&self, handle: u64, offset: u64, len: usize) -> bool {
        self.is_remote()
            && self
                .file(handle)
                .is_ok_and(|data| data.needs_edges(offset, len))
    }

    /// Notes that the kernel may cache the bytes of the next read.
    pub fn note_kernel_cached(&self, handle: u64) {
        if let Ok(data) = self.file(handle) {
            data.note_kernel_cached();
        }
    }

    /// Returns whether the kernel may have outdated pages after a write that bypasses its page
    /// cache. The kernel drops pages before such a write, but a concurrent read can cache the old
    /// bytes again.
    pub fn may_be_cached(&self, handle: u64) -> bool {
        self.file(handle).is_ok_and(|data| data.is_kernel_cached())
    }

    /// Fills `out` from `offset` on. Returns the number of bytes, which is less than the length of
    /// `out` only at the end of the file.
    pub fn read(&self, handle: u64, offset: u64, out: &mut [u8]) -> FsResult<usize> {
        let data = self.file(handle)?;
        self.read_ahead(&data, offset, out.len() as u64);
        if let Some(recorder) = &self.options.recorder
            && data.needs_base(offset, out.len())
        {
            self.dirty.raise();
            recorder.record_read(data.ino(), offset, out.len(), || {
                self.query(|n| n.path(data.ino())).ok().flatten()
            });
        }
        let n = data.read(&self.lower, offset, out).map_err(|e| {
            let path = self.shown_path(data.ino());
            self.report(&format!("cannot read {path}"), &e)
        })?;
        self.counters.reads.fetch_add(1, Ordering::Relaxed);
        self.counters
            .read_bytes
            .fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }

    /// Starts to fetch the data that is probably read next: from a remote or, for small files, from
    /// the next frames of a local pack.
    fn read_ahead(&self, data: &FileData, offset: u64, len: u64) {
        const SMALL: u64 = 1 << 20;
        let lower = || Arc::clone(&self.lower);
        if !self.is_remote() {
            if data.size() <= SMALL && self.lower.repo().has_read_ahead() {
                let lower = lower();
                self.ahead.run(move || lower.repo().read_ahead());
            }
        } else if let Some(BaseRange { base, range }) = data.next_read_ahead(offset, len) {
            let lower = lower();
            self.ahead.run(move || {
                // Ignore errors, because a reader of this range repeats the fetch and reports them.
                let _ = lower.fetch_ahead(&base.content, &range);
            });
        }
    }

    /// Writes to a file. `cached` means that the write comes from the page cache, and that the
    /// kernel sets the times itself.
    pub fn write(
        &self,
        caller: Caller,
        handle: u64,
        offset: u64,
        bytes: &[u8],
        cached: bool,
    ) -> FsResult<()> {
        let data = self.file(handle)?;
        self.fetch_edges(&data, offset, bytes.len())?;
        let write = || -> FsResult<()> {
            let _barrier = self.begin_change()?;
            self.unseal(&data)?;
            let distrusted = self.query(|n| self.about_to_write(n, caller, &data, cached))?;
            let done = data.write(&self.lower, offset, bytes);
            if distrusted {
                // The kernel checks permissions with its cached mode, so it must know the new mode
                // before the write returns.
                self.attributes_changed(data.ino());
            }
            self.store_if_outdated(&data)?;
            done
        };
        let done = match write() {
            // A flush frees the space of removed files, so flush and try again.
            Err(Errno::NOSPC) if self.has_removed_files() && self.sync_names().is_ok() => write(),
            done => done,
        };
        done.inspect_err(|_| {
            self.counters.failed.fetch_add(1, Ordering::Relaxed);
        })?;
        self.counters.writes.fetch_add(1, Ordering::Relaxed);
        self.counters
            .written_bytes
            .fetch_add(bytes.len() as u64, Ordering::Relaxed);
        self.note_unsynced(&data);
        Ok(())
    }

    /// Fetches the chunks of the first and of the last block in advance, so that no lock is held
    /// while a write waits for the remote.
    fn fetch_edges(&self, data: &FileData, offset: u64, len: usize) -> FsResult<()> {
        if self.is_remote() && data.needs_edges(offset, len) {
            // Reading one byte makes the repository decompress and cache the complete chunk.
            let mut edge = [0; 1];
            let end = offset.saturating_add(len as u64);
            for at in [offset, end.saturating_sub(1)] {
                data.read(&self.lower, at, &mut edge).map_err(|e| {
                    let path = self.shown_path(data.ino());
                    self.report(&format!("cannot read {path}"), &e)
                })?;
            }
        }
        Ok(())
    }

    /// Marks a file as changed, removes its privileges, and sets its times unless the kernel does
    /// so. Returns true if the file had privileges.
    fn about_to_write(
        &self,
        n: &mut NameTable,
        caller: Caller,
        data: &FileData,
        cached: bool,
    ) -> Result<bool, LookupStop> {
        let ino = data.ino();
        if !data.is_changed() {
            n.change(ino)?;
        }
        // A write from the page cache cannot affect the mode: the kernel sends writes to files with
        // such bits through (`fuse_cache_write_iter` in fs/fuse/file.c). `fuser` hides whether the
        // caller has CAP_FSETID, so user 0 is assumed to have the capability.
        let keeps_mode = cached || caller.uid == 0;
        let drops = n.with_meta(ino, |meta, _| has_privileges(meta, keeps_mode))?;
        if drops {
            drop_privileges(&mut n.change(ino)?.meta, keeps_mode);
        }
        // In writeback mode the kernel sets the times later.
        if !cached && !self.kernel_keeps_sizes() {
            let inode = n.change_times(ino)?;
            inode.meta.mtime = stamp_now();
            inode.ctime = inode.meta.mtime;
        }
        Ok(drops)
    }

    /// Runs a change of the length or the allocation of a file. Marks the row of the file as
    /// outdated once, which is sufficient because the write barrier keeps flushes out until the
    /// change is complete.
    fn change_shape(
        &self,
        caller: Caller,
        data: &Arc<FileData>,
        change: impl FnOnce() -> FsResult<()>,
    ) -> FsResult<()> {
        let _barrier = self.begin_change()?;
        self.unseal(data)?;
        let (mtime, distrusted) = self.query(|n| {
            let distrusted = self.about_to_write(n, caller, data, false)?;
            n.change(data.ino())
                .map(|inode| (inode.meta.mtime, distrusted))
        })?;
        // The underlying file system has set a later modification time than the one recorded above,
        // so set it back.
        let done = change().and_then(|()| Ok(data.set_kernel_mtime(mtime)?));
        if distrusted {
            self.attributes_changed(data.ino());
        }
        data.take_store_outdated();
        self.note_unsynced(data);
        done
    }

    pub(super) fn resize(&self, caller: Caller, data: &Arc<FileData>, size: u64) -> FsResult<()> {
        self.change_shape(caller, data, || data.set_size(&self.lower, size))
    }

    /// Allocates a range, punches a hole, or zeroes a range, see `fallocate(2)`.
    pub fn fallocate(
        &self,
        caller: Caller,
        handle: u64,
        offset: u64,
        len: u64,
        mode: i32,
    ) -> FsResult<()> {
        const KEEP_SIZE: i32 = 1;
        const PUNCH_HOLE: i32 = 2;
        const ZERO_RANGE: i32 = 16;
        let data = self.file(handle)?;
        let end = offset
            .checked_add(len)
            .filter(|_| len > 0)
            .ok_or(Errno::INVAL)?;
        let keep = mode & KEEP_SIZE != 0;
        self.change_shape(caller, &data, || match mode & !KEEP_SIZE {
            0 => data.reserve(&(offset..end), !keep),
            PUNCH_HOLE if keep => data.punch(&self.lower, offset..end),
            ZERO_RANGE => data.punch(&self.lower, offset..end).and_then(|()| {
                let extend = !keep && end > data.size();
                if extend {
                    data.set_size(&self.lower, end)
                } else {
                    Ok(())
                }
            }),
            _ => Err(Errno::OPNOTSUPP),
        })
    }

    /// Returns the offset of the first data (or hole, if `data` is false) at or after `offset`.
    pub fn seek(&self, handle: u64, offset: u64, data: bool) -> FsResult<u64> {
        let file = self.file(handle)?;
        let _ = self.query(|n| n.refresh_from_kernel(&file));
        file.seek(&self.lower, offset, data)
    }

    /// Copies a part of a file from the version to the upper file. Returns where to continue, or
    /// `None` if nothing is missing any more.
    pub(in crate::mount) fn hydrate(
        &self,
        data: &Arc<FileData>,
        offset: u64,
        len: u64,
    ) -> FsResult<Option<u64>> {
        let Some(BaseRange { base, range }) = data.next_missing(offset, len) else {
            return Ok(None);
        };
        let mut bytes = vec![0; usize::try_from(range.end - range.start).unwrap_or(0)];
        // Read before the write barrier is taken, because the read may wait for a remote.
        let read = self.lower.read(&base.content, range.start, &mut bytes);
        read.map_err(|e| {
            let path = self.shown_path(data.ino());
            self.report(&format!("cannot hydrate {path}"), &e)
        })?;
        let _barrier = self.write_barrier.read();
        self.unseal(data)?;
        data.fill(&base, range.start, &bytes)?;
        self.store_if_outdated(data)?;
        self.note_unsynced(data);
        Ok(Some(range.end))
    }

    /// Makes the copied bytes of a file durable, and records the file as complete if no byte is
    /// missing.
    pub(in crate::mount) fn finish_hydration(&self, data: &Arc<FileData>) -> FsResult<()> {
        self.sync_data(data)?;
        self.names().mark_unstored([data.ino()]);
        self.sync_names()
    }
}
