//! Files that the kernel uses by itself, bytes that are brought before somebody asks for them, and how a file is read.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustix::fs::{Timespec, Timestamps};

use super::Data;
use crate::model::entry::Time;
use crate::mount::state::{BLOCK, Base, State, blocks};
use crate::sys::clock::time;

/// How a file is read: in order or not.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// Where the next read in order would begin.
    next: u64,
    /// Up to where was asked for ahead.
    until: u64,
    /// How much is asked for ahead.
    window: u64,
    /// Requests for other places since the last in order.
    strays: u8,
}

impl Data {
    /// The upper file for the kernel to use by itself, which needs all bytes in it. With `write` all of it is taken for
    /// changed from now on.
    pub fn hand_over(&self, write: bool, mtime: Time) -> io::Result<Arc<File>> {
        let _alone = self.alone();
        if self.get().lost.is_some() {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let upper = self.open_upper()?;
        if !self.is_handed_over() {
            // A later time says that something was written.
            set_times(&upper, mtime)?;
        }
        if !write {
            self.direct_readers.fetch_add(1, Ordering::AcqRel);
        } else {
            self.direct_writers.fetch_add(1, Ordering::AcqRel);
            self.was_handed_over.store(true, Ordering::Release);
            self.touch();
            let mut state = self.set();
            state.sums.blindfold();
            self.changes(&mut state);
            let all = 0..state.kept;
            state.mark(&all);
        }
        Ok(upper)
    }

    /// Notes a time of its last change that was set, where the kernel keeps that.
    pub fn stamp(&self, mtime: Time) -> io::Result<()> {
        if self.is_handed_over() { set_times(&*self.open_upper()?, mtime) } else { Ok(()) }
    }

    /// Ends what [`Self::hand_over`] began.
    pub fn take_back(&self, write: bool) {
        if write {
            self.catch_up();
            self.direct_writers.fetch_sub(1, Ordering::AcqRel);
        } else {
            self.direct_readers.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// Whether the kernel writes to the upper file by itself.
    pub fn is_handed_over(&self) -> bool {
        self.direct_writers.load(Ordering::Acquire) > 0
    }

    /// Whether the kernel has written to the upper file by itself, or still does.
    pub fn was_handed_over(&self) -> bool {
        self.was_handed_over.load(Ordering::Acquire)
    }

    /// Whether the kernel reads the upper file by itself, or writes to it.
    pub(super) fn is_shared(&self) -> bool {
        self.is_handed_over() || self.direct_readers.load(Ordering::Acquire) > 0
    }

    /// Learns the length of an upper file that the kernel writes to; its last change, where that is known.
    pub fn catch_up(&self) -> Option<Time> {
        if !self.is_handed_over() {
            return None;
        }
        // Between the look at the upper file and the note of its length no other thread may cut it.
        let _alone = self.alone();
        self.learn()
    }

    /// The same, for callers that keep others from changing the file.
    pub(super) fn learn(&self) -> Option<Time> {
        if !self.is_handed_over() {
            return None;
        }
        let upper = self.open_upper().ok()?;
        self.touch();
        let touches = self.touches.load(Ordering::Acquire);
        let meta = upper.metadata().ok()?;
        self.note_taken(touches, &meta);
        let mut state = self.set();
        state.size = meta.len();
        self.account(&upper, &mut state);
        Some(time(meta.mtime(), meta.mtime_nsec()))
    }

    /// The next piece of at most so many bytes from `offset` on that the upper file lacks; `None` if there is none.
    pub fn lacking(&self, offset: u64, len: u64) -> Option<(Arc<Base>, Range<u64>)> {
        let state = self.get();
        let base = state.base.clone()?;
        let (local, until) = state.local.run(&(offset / BLOCK..state.kept.div_ceil(BLOCK).max(offset / BLOCK)));
        let start = if local { until * BLOCK } else { offset - offset % BLOCK };
        let (_, end) = state.local.run(&(start / BLOCK..state.kept.div_ceil(BLOCK).max(start / BLOCK)));
        let range = start..(end * BLOCK).min(start.saturating_add(len)).min(state.kept);
        (range.start < range.end).then_some((base, range))
    }

    /// Puts bytes of the version into the upper file, where that lacks them still.
    pub fn bring(&self, base: &Arc<Base>, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let _alone = self.alone();
        let same =
            |state: &State| state.lost.is_none() && state.base.as_ref().is_some_and(|now| Arc::ptr_eq(now, base));
        let (still, kept) = {
            let state = self.get();
            let wanted = offset / BLOCK..(offset + bytes.len() as u64).div_ceil(BLOCK);
            if !same(&state) { (Vec::new(), 0) } else { (state.local.absent(&wanted), state.kept) }
        };
        for part in still {
            let (from, to) = (part.start * BLOCK, (part.end * BLOCK).min(kept).min(offset + bytes.len() as u64));
            // A block of which only a part is at hand is left out.
            if from < to && (to.is_multiple_of(BLOCK) || to == kept) {
                let index = |n: u64| usize::try_from(n - offset).unwrap_or(usize::MAX);
                let (upper, range) = (self.open_upper()?, from..to);
                let done = upper.write_all_at(&bytes[index(from)..index(to)], from);
                if done.is_err() {
                    self.get().sums.forget(&blocks(&range));
                }
                done?;
                self.note_sums(&upper, &range, Some(&bytes[index(from)..index(to)]));
                self.touch();
                self.set().local.insert(part.start..to.div_ceil(BLOCK));
            }
        }
        Ok(())
    }

    /// What is to be brought ahead, now that a range is read: more each time as long as the file is read in order.
    pub fn ahead(&self, offset: u64, len: u64) -> Option<(Arc<Base>, Range<u64>)> {
        /// The kernel asks for pieces in any order, but not far from each other.
        const SLACK: u64 = 16 << 20;
        /// So many requests from elsewhere, one after the other, are another place that is read.
        const STRAYS: u8 = 4;
        const WINDOW_MIN: u64 = 2 << 20;
        const WINDOW_MAX: u64 = 64 << 20;
        let mut reading = self.reading.lock();
        let end = offset.saturating_add(len);
        let skipped = if reading.window == 0 { 0 } else { SLACK };
        if offset > reading.next + skipped || offset + SLACK < reading.next {
            reading.strays += 1;
            if reading.window == 0 || reading.strays == STRAYS {
                *reading = Reading { next: end, until: end, window: 0, strays: 0 };
            }
            return None;
        }
        reading.strays = 0;
        reading.next = reading.next.max(end);
        if reading.until > reading.next + reading.window / 2 {
            return None;
        }
        reading.window = (reading.window * 2).clamp(WINDOW_MIN, WINDOW_MAX);
        let state = self.get();
        let base = state.base.clone()?;
        let range = reading.until.max(reading.next)..(reading.next + reading.window).min(state.kept);
        if range.is_empty() {
            return None;
        }
        reading.until = range.end;
        Some((base, range))
    }

    /// Bytes that the upper file holds although the version has them.
    pub fn spare_bytes(&self) -> u64 {
        self.get().spare_bytes()
    }

    /// Bytes of the version that only the repository has.
    pub fn absent_bytes(&self) -> u64 {
        let state = self.get();
        let blocks = state.kept.div_ceil(BLOCK);
        (blocks - state.local.total().min(blocks)) * BLOCK
    }
}

fn set_times(upper: &File, mtime: Time) -> io::Result<()> {
    let at = Timespec { tv_sec: mtime.secs, tv_nsec: i64::from(mtime.nanos) };
    Ok(rustix::fs::futimens(upper, &Timestamps { last_access: at, last_modification: at })?)
}
