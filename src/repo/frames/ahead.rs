//! Frames that will be wanted next. Whoever reads small files in the order in which they were stored wants the frame
//! behind the one that he has just got; another thread can decompress it while he is busy with the files of that.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use parking_lot::MutexGuard;

use super::{FrameKey, Frames, decode_payload};
use crate::format::frame::{CODEC_DELTA, FRAME_PLAIN_MAX, FrameHead};
use crate::format::segment::{ObjectLocation, PackName};
use crate::model::id::ObjectKind;
use crate::repo::layout;

/// Stored bytes between two frames that are read one after the other: several threads pack at once.
const NEAR: u32 = 512 << 10;
/// Stored bytes that are brought ahead of whoever reads.
const AHEAD: u32 = 512 << 10;
/// So many frames are read in order before any is brought.
const RUN: u32 = 2;
/// More than the head of a frame takes, but of a strange one.
const HEAD: usize = 4096;

/// How frames of packs are read.
#[derive(Default)]
pub(super) struct Trail {
    pack: PackName,
    /// Where the frame that was used last ends.
    end: u32,
    /// Up to where frames were brought.
    brought: u32,
    /// Frames that were read in order.
    run: u32,
    /// The frame that somebody brings.
    busy: Option<FrameKey>,
}

impl Frames {
    fn trail(&self) -> MutexGuard<'_, Trail> {
        self.trail.0.lock()
    }

    /// Notes that a frame is wanted, and waits if somebody brings it just now.
    pub(super) fn follow(&self, place: &ObjectLocation) {
        let mut trail = self.trail();
        let end = place.offset.saturating_add(place.stored);
        if trail.pack != place.pack || place.offset + NEAR < trail.end || place.offset > trail.end.saturating_add(NEAR)
        {
            trail.pack = place.pack;
            (trail.run, trail.end, trail.brought) = (0, end, end);
        } else if end > trail.end {
            trail.run += 1;
            trail.end = end;
            trail.brought = trail.brought.max(end);
        }
        while trail.busy == Some((place.pack, place.offset)) {
            self.trail.1.wait(&mut trail);
        }
    }

    /// Whether [`Self::bring`] has something to do.
    pub(in crate::repo) fn has_ahead(&self) -> bool {
        self.trail().next().is_some()
    }

    /// Decompresses frames that will be wanted, until enough are there.
    pub(in crate::repo) fn bring(&self) {
        loop {
            let (pack, offset) = {
                let mut trail = self.trail();
                let Some(key) = trail.next() else { return };
                trail.busy = Some(key);
                key
            };
            // What cannot be had is told to whoever wants it; he must not wait for ever, also not after a bug here.
            let end = catch_unwind(AssertUnwindSafe(|| self.bring_one(pack, offset))).unwrap_or(None);
            let mut trail = self.trail();
            trail.busy = None;
            if trail.pack == pack {
                match end {
                    Some(end) => trail.brought = trail.brought.max(end),
                    None => trail.run = 0,
                }
            }
            self.trail.1.notify_all();
        }
    }

    fn bring_one(&self, pack: PackName, offset: u32) -> Option<u32> {
        let key = layout::pack(&pack);
        let len = self.store.len(&key).ok()??.checked_sub(u64::from(offset))?;
        let first = self.store.read_at(&key, u64::from(offset), HEAD.min(usize::try_from(len).ok()?)).ok()?;
        let mut rest = first.as_slice();
        // Behind the last frame there is something else, which may look like one.
        let fits = |head: &FrameHead| {
            head.kind == ObjectKind::Chunk && head.codec != CODEC_DELTA && head.payload as usize <= FRAME_PLAIN_MAX
        };
        let head = FrameHead::decode(&mut rest).ok().filter(fits)?;
        let begin = first.len() - rest.len();
        let end = offset.checked_add(u32::try_from(begin).ok()?)?.checked_add(head.payload)?;
        if self.cached(&(pack, offset)).is_none() {
            let payload = self.store.read_at(&key, u64::from(offset) + begin as u64, head.payload as usize).ok()?;
            self.keep((pack, offset), &Arc::new(decode_payload(&head, &payload, None).ok()?));
        }
        Some(end)
    }
}

impl Trail {
    fn next(&self) -> Option<FrameKey> {
        let wanted = self.busy.is_none() && self.run >= RUN && self.brought < self.end.saturating_add(AHEAD);
        wanted.then_some((self.pack, self.brought))
    }
}
