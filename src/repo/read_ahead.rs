//! Detection of sequential reads of frames.
//!
//! A reader of small files in the order in which they were stored needs the frame after the one that
//! it has just read. Another thread can decompress that frame while the reader processes the files
//! of the current one.

use parking_lot::{Condvar, Mutex};

use crate::format::segment::{ObjectLocation, PackName};

/// Limit on the stored bytes between two frames of a sequential read. There are gaps, because
/// several threads append to a pack at the same time.
const GAP: u32 = 512 << 10;
/// Number of stored bytes that are read ahead.
const AHEAD: u32 = 512 << 10;
/// Number of frames that must be read in order before frames are read ahead.
const RUN: u32 = 2;

/// A frame: its pack and its offset.
pub(super) type FrameKey = (PackName, u32);

/// The state of the sequential read of a pack, for many threads.
#[derive(Default)]
pub(super) struct ReadAhead {
    trail: Mutex<Trail>,
    completed: Condvar,
}

#[derive(Default)]
struct Trail {
    pack: PackName,
    /// End of the last frame that was used.
    end: u32,
    /// End of the frames that were read ahead.
    loaded: u32,
    /// Number of frames that were read in order.
    run: u32,
    /// The frame that a thread is reading ahead.
    busy: Option<FrameKey>,
}

impl ReadAhead {
    /// Records that a frame is needed, and waits if another thread is reading it ahead.
    pub(super) fn follow(&self, place: &ObjectLocation) {
        let mut trail = self.trail.lock();
        let end = place.offset.saturating_add(place.stored);
        if trail.pack != place.pack || place.offset + GAP < trail.end || place.offset > trail.end.saturating_add(GAP) {
            trail.pack = place.pack;
            (trail.run, trail.end, trail.loaded) = (0, end, end);
        } else if end > trail.end {
            trail.run += 1;
            trail.end = end;
            trail.loaded = trail.loaded.max(end);
        }
        while trail.busy == Some((place.pack, place.offset)) {
            self.completed.wait(&mut trail);
        }
    }

    /// Returns whether there is a frame to read ahead.
    pub(super) fn has_next(&self) -> bool {
        self.trail.lock().next().is_some()
    }

    /// Returns the next frame to read ahead. The caller must call [`Self::complete`] afterwards.
    pub(super) fn claim(&self) -> Option<FrameKey> {
        let mut trail = self.trail.lock();
        let next = trail.next()?;
        trail.busy = Some(next);
        Some(next)
    }

    /// Ends the claim on a frame of `pack`, which ends at `end`. `None` stops reading ahead until
    /// more frames have been read in order.
    pub(super) fn complete(&self, pack: PackName, end: Option<u32>) {
        let mut trail = self.trail.lock();
        trail.busy = None;
        if trail.pack == pack {
            match end {
                Some(end) => trail.loaded = trail.loaded.max(end),
                None => trail.run = 0,
            }
        }
        self.completed.notify_all();
    }
}

impl Trail {
    fn next(&self) -> Option<FrameKey> {
        let needed = self.busy.is_none() && self.run >= RUN && self.loaded < self.end.saturating_add(AHEAD);
        needed.then_some((self.pack, self.loaded))
    }
}
