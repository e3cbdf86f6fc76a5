//! The bytes of files: reading, writing, lengths, holes, and bringing what the version has.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Caller, View, attrs};
use crate::model::path::display;
use crate::mount::data::Data;
use crate::mount::errno::{Answer, Errno};
use crate::mount::names::{Names, Stop};
use crate::sys::clock::stamp_now;

impl View {
    /// Whether a read may have to wait for a network.
    pub fn may_wait(&self, handle: u64, offset: u64, len: usize) -> bool {
        self.is_far() && self.file(handle).is_ok_and(|data| data.needs_base(offset, len))
    }

    /// Whether a write may have to wait for a network: it needs the rest of a block.
    pub fn may_wait_to_write(&self, handle: u64, offset: u64, len: usize) -> bool {
        self.is_far() && self.file(handle).is_ok_and(|data| data.lacks_edges(offset, len))
    }

    /// Notes that the kernel is about to be given bytes of a file that it keeps.
    pub fn note_cached(&self, handle: u64) {
        if let Ok(data) = self.file(handle) {
            data.note_cached();
        }
    }

    /// Whether the kernel may keep bytes of a file that are older than a write past its cache: it forgets them before such
    /// a write, but not those that were read meanwhile, if the program does not wait for the write.
    pub fn may_be_cached(&self, handle: u64) -> bool {
        self.file(handle).is_ok_and(|data| data.is_cached())
    }

    /// Fills `out` from a file; fewer bytes only at its end.
    pub fn read(&self, handle: u64, offset: u64, out: &mut [u8]) -> Answer<usize> {
        let data = self.file(handle)?;
        self.read_ahead(&data, offset, out.len() as u64);
        if let Some(recorder) = &self.options.recorder
            && data.needs_base(offset, out.len())
        {
            self.news.come();
            recorder.saw(data.ino(), offset, out.len(), || self.ask(|n| n.path(data.ino())).ok().flatten());
        }
        let n = data.read(&self.lower, offset, out).map_err(|e| {
            let path = self.ask(|n| n.path(data.ino())).ok().flatten().unwrap_or_default();
            self.failed(&format!("cannot read `{}`", display(&path)), &e)
        })?;
        self.counters.reads.fetch_add(1, Ordering::Relaxed);
        self.counters.read_bytes.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }

    /// Brings what will be read next, where that takes a network, or time that whoever reads small files has to wait.
    fn read_ahead(&self, data: &Data, offset: u64, len: u64) {
        const SMALL: u64 = 1 << 20;
        let lower = || Arc::clone(&self.lower);
        if !self.is_far() {
            if data.size() <= SMALL && self.lower.repo().has_ahead() {
                let lower = lower();
                self.ahead.run(move || lower.repo().bring_ahead());
            }
        } else if let Some((base, range)) = data.ahead(offset, len) {
            let lower = lower();
            self.ahead.run(move || {
                // Whoever reads it asks again, and is told what is wrong.
                let _ = lower.fetch_ahead(&base.content, &range);
            });
        }
    }

    /// Writes to a file. `cached`: the kernel gathered it, and tells the times itself.
    pub fn write(&self, caller: Caller, handle: u64, offset: u64, bytes: &[u8], cached: bool) -> Answer<()> {
        let data = self.file(handle)?;
        self.warm(&data, offset, bytes.len())?;
        let write = || -> Answer<()> {
            let _gate = self.changing()?;
            self.unseal(&data)?;
            let distrusted = self.ask(|n| self.about_to_write(n, caller, &data, cached))?;
            let done = data.write(&self.lower, offset, bytes);
            if distrusted {
                // The kernel goes by the mode that it knows: it must not know the old one when the write has returned.
                self.is_stale(data.ino());
            }
            self.note_news(&data)?;
            done
        };
        let done = match write() {
            // What was removed gives its space back with the next flush, which need not be waited for.
            Err(Errno::NOSPC) if self.has_doomed() && self.sync_names().is_ok() => write(),
            done => done,
        };
        done.inspect_err(|_| {
            self.counters.failed.fetch_add(1, Ordering::Relaxed);
        })?;
        self.counters.writes.fetch_add(1, Ordering::Relaxed);
        self.counters.written_bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        self.note_unsynced(&data);
        Ok(())
    }

    /// Fetches what a write needs of the version, before anybody has to wait for the write.
    fn warm(&self, data: &Data, offset: u64, len: usize) -> Answer<()> {
        if self.is_far() && data.lacks_edges(offset, len) {
            let mut edge = [0; 1];
            let end = offset.saturating_add(len as u64);
            for at in [offset, end.saturating_sub(1)] {
                data.read(&self.lower, at, &mut edge).map_err(|e| self.failed("cannot read a file", &e))?;
            }
        }
        Ok(())
    }

    /// Notes that a file changes: its times, and that it loses what only its old content was trusted with. True if it does.
    fn about_to_write(&self, n: &mut Names, caller: Caller, data: &Data, cached: bool) -> Result<bool, Stop> {
        let ino = data.ino();
        if !data.is_changed() {
            n.change(ino)?;
        }
        let keeps_mode = cached || caller.uid == 0;
        let drops = n.look(ino, |meta, _| attrs::loses_trust(meta, keeps_mode))?;
        if drops {
            attrs::lose_trust(&mut n.change(ino)?.meta, keeps_mode);
        }
        // A kernel that keeps times tells them in its own time.
        if !cached && !self.keeps_lengths() {
            let inode = n.times(ino)?;
            inode.meta.mtime = stamp_now();
            inode.ctime = inode.meta.mtime;
        }
        Ok(drops)
    }

    /// Changes what the store keeps of a file besides its blocks: it is noted once, since no flush comes between.
    fn reshape(&self, caller: Caller, data: &Arc<Data>, change: impl FnOnce() -> Answer<()>) -> Answer<()> {
        let _gate = self.changing()?;
        self.unseal(data)?;
        let (mtime, distrusted) = self.ask(|n| {
            let distrusted = self.about_to_write(n, caller, data, false)?;
            n.change(data.ino()).map(|inode| (inode.meta.mtime, distrusted))
        })?;
        // The file system below has stamped it later than this was noted.
        let done = change().and_then(|()| Ok(data.stamp(mtime)?));
        if distrusted {
            self.is_stale(data.ino());
        }
        data.take_news();
        self.note_unsynced(data);
        done
    }

    pub(super) fn resize(&self, caller: Caller, data: &Arc<Data>, size: u64) -> Answer<()> {
        self.reshape(caller, data, || data.set_size(&self.lower, size))
    }

    /// Reserves or empties a range; see `fallocate(2)`.
    pub fn fallocate(&self, caller: Caller, handle: u64, offset: u64, len: u64, mode: i32) -> Answer<()> {
        const KEEP_SIZE: i32 = 1;
        const PUNCH_HOLE: i32 = 2;
        const ZERO_RANGE: i32 = 16;
        let data = self.file(handle)?;
        let end = offset.checked_add(len).filter(|_| len > 0).ok_or(Errno::INVAL)?;
        let keep = mode & KEEP_SIZE != 0;
        self.reshape(caller, &data, || match mode & !KEEP_SIZE {
            0 => data.reserve(&(offset..end), !keep),
            PUNCH_HOLE if keep => data.punch(&self.lower, offset..end),
            ZERO_RANGE => data.punch(&self.lower, offset..end).and_then(|()| match !keep && end > data.size() {
                true => data.set_size(&self.lower, end),
                false => Ok(()),
            }),
            _ => Err(Errno::OPNOTSUPP),
        })
    }

    /// The next data or hole of a file.
    pub fn seek(&self, handle: u64, offset: u64, data: bool) -> Answer<u64> {
        let file = self.file(handle)?;
        let _ = self.ask(|n| n.catch_up(&file));
        file.seek(&self.lower, offset, data)
    }

    /// Brings a piece of a file of the version into its upper file. Returns where to go on.
    pub(in crate::mount) fn hydrate(&self, data: &Arc<Data>, offset: u64, len: u64) -> Answer<Option<u64>> {
        let Some((base, range)) = data.lacking(offset, len) else { return Ok(None) };
        let mut bytes = vec![0; usize::try_from(range.end - range.start).unwrap_or(0)];
        let read = self.lower.read(&base.content, range.start, &mut bytes);
        read.map_err(|e| self.failed("cannot bring a file", &e))?;
        let _gate = self.gate.read();
        self.unseal(data)?;
        data.bring(&base, range.start, &bytes)?;
        self.note_news(data)?;
        self.note_unsynced(data);
        Ok(Some(range.end))
    }

    /// Makes a file durable, and notes that all of it is here.
    pub(in crate::mount) fn settle(&self, data: &Arc<Data>) -> Answer<()> {
        self.sync_data(data)?;
        self.names().note([data.ino()]);
        self.sync_names()
    }
}
