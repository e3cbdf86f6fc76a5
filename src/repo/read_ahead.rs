//! Detects that the frames of a pack are read sequentially.
//!
//! If small files are read in the order in which they were stored, the reader next needs the frame
//! after the one that it has just read. Another thread can decompress that frame while the reader
//! processes the files of the current one.

use parking_lot::{Condvar, Mutex};

use crate::format::segment::{ObjectLocation, PackName};

/// Limit on the gap between two frames of a sequential read, in stored bytes. There are gaps
/// because several threads append to a pack at the same time.
const GAP: u32 = 512 << 10;
/// Number of stored bytes that are decompressed in advance.
const AHEAD: u32 = 512 << 10;
/// Number of frames that must be read in order before frames are decompressed in advance.
const RUN: u32 = 2;

/// Identifies a frame by its pack and its offset.
pub(super) type FrameKey = (PackName, u32);

/// The state of the sequential read of one pack, shared by several threads.
#[derive(Default)]
pub(super) struct ReadAhead {
    trail: Mutex<Trail>,
    completed: Condvar,
}

#[derive(Default)]
struct Trail {
    pack: PackName,
    /// End of the last frame that was needed.
    end: u32,
    /// End of the frames that were decompressed in advance.
    loaded: u32,
    /// Number of frames that were needed in order.
    run: u32,
    /// The frame that a thread is decompressing in advance.
    busy: Option<FrameKey>,
}

impl ReadAhead {
    /// Records that a frame is needed. Waits while another thread is decompressing it.
    pub(super) fn follow(&self, place: &ObjectLocation) {
        let mut trail = self.trail.lock();
        let end = place.offset.saturating_add(place.stored);
        if trail.pack != place.pack
            || place.offset + GAP < trail.end
            || place.offset > trail.end.saturating_add(GAP)
        {
            trail.pack = place.pack;
            (trail.run, trail.end, trail.loaded) = (0, end, end);
        } else if end > trail.end {
            trail.run += 1;
            trail.end = end;
            trail.loaded = trail.loaded.max(end);
        }
        // Another thread is decompressing this frame, and a second decompression would take longer
        // than waiting.
        while trail.busy == Some((place.pack, place.offset)) {
            self.completed.wait(&mut trail);
        }
    }

    /// Returns whether there is a frame to decompress in advance.
    pub(super) fn has_next(&self) -> bool {
        self.trail.lock().next().is_some()
    }

    /// Claims the next frame to decompress in advance. The caller must call [`Self::complete`]
    /// afterwards.
    pub(super) fn claim(&self) -> Option<FrameKey> {
        let mut trail = self.trail.lock();
        let next = trail.next()?;
        trail.busy = Some(next);
        Some(next)
    }

    /// Completes the claim on a frame of `pack` that ends at `end`. With `None`, no more frames are
    /// decompressed in advance until some have been read in order again.
    pub(super) fn complete(&self, pack: PackName, end: Option<u32>) {
        let mut trail = self.trail.lock();
        trail.busy = None;
        // The reader may have moved to another pack in the meantime.
        if trail.pack == pack {
            match end {
                Some(end) => trail.loaded = trail.loaded.max(end),
                // There is no further frame of chunks, so a new run must begin before the next
                // attempt.
                None => trail.run = 0,
            }
        }
        self.completed.notify_all();
    }
}

impl Trail {
    fn next(&self) -> Option<FrameKey> {
        let needed =
            self.busy.is_none() && self.run >= RUN && self.loaded < self.end.saturating_add(AHEAD);
        needed.then_some((self.pack, self.loaded))
    }
}
