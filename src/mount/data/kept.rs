//! What of a file is durable, and what a version takes of it.

use std::fs;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Data;
use crate::mount::frozen::Frozen;
use crate::mount::state::{BLOCK, Base, Blocks};

impl Data {
    /// Makes what was written durable. Returns the blocks that the store has to note then.
    pub fn sync(&self) -> io::Result<Blocks> {
        let fresh = {
            let mut state = self.set();
            Blocks { ranges: std::mem::take(&mut state.fresh), anew: std::mem::take(&mut state.anew) }
        };
        let unsettled = self.unsettled.swap(false, Ordering::AcqRel);
        if let Err(e) = self.sync_bytes() {
            self.unsettled.fetch_or(unsettled, Ordering::AcqRel);
            self.put_back(fresh);
            return Err(e);
        }
        Ok(fresh)
    }

    /// Brings to disk what was written; the store knows nothing of it.
    pub fn sync_bytes(&self) -> io::Result<()> {
        let _one = self.syncing.lock();
        if !self.unsynced.swap(false, Ordering::AcqRel) && !self.is_handed_over() {
            return Ok(());
        }
        let upper = self.get().upper.clone();
        // Whoever has nothing open needs no descriptor for long.
        let synced = match &upper {
            Some(upper) => upper.sync_data(),
            None => self.space.open(self.ino).and_then(|upper| upper.sync_data()),
        };
        synced.inspect_err(|_| self.unsynced.store(true, Ordering::Release))
    }

    /// Gives back blocks of [`Self::sync`] that could not be noted.
    pub fn put_back(&self, blocks: Blocks) {
        let mut state = self.set();
        state.fresh.extend(blocks.ranges);
        state.anew |= blocks.anew;
    }

    /// Makes the store wait for the next sync before it notes the file.
    pub fn unsettle(&self) {
        if self.unsynced.load(Ordering::Acquire) {
            self.unsettled.store(true, Ordering::Release);
        }
    }

    /// Whether the store may not note the file before it is synced: a crash may take its length back.
    pub fn is_unsettled(&self) -> bool {
        self.unsettled.load(Ordering::Acquire)
    }

    /// Whether the store has to note blocks.
    pub fn has_fresh(&self) -> bool {
        let state = self.get();
        !state.fresh.is_empty() || state.anew
    }

    /// Removes the upper file of an inode that is gone, which nobody has open.
    pub fn remove_upper(&self) {
        let mut state = self.set();
        self.space.count(std::mem::take(&mut state.counted), 0);
        state.upper = None;
        if std::mem::take(&mut state.has_upper) {
            let _ = fs::remove_file(self.space.path(self.ino));
        }
        self.touches.fetch_add(1, Ordering::AcqRel);
        (state.sums, state.lost) = (Arc::default(), None);
        state.fresh.clear();
        self.unsynced.store(false, Ordering::Release);
    }

    /// Bytes that were written since the version.
    pub fn dirty_bytes(&self) -> u64 {
        let state = self.get();
        if !state.changed && state.frozen.is_none() {
            return 0;
        }
        state.dirty.total() * BLOCK + state.size.saturating_sub(state.kept)
    }

    /// The file as it is at this moment, preserved until it is thawed. Nobody may write meanwhile.
    pub fn freeze(&self) -> Arc<Frozen> {
        self.catch_up();
        let mut state = self.set();
        let frozen = Arc::new(Frozen::new(state.clone(), self.space.path(self.ino)));
        state.frozen = Some(Arc::clone(&frozen));
        state.changed = false;
        frozen
    }

    /// Whether a version that is being made takes it.
    pub fn is_frozen(&self) -> bool {
        self.get().frozen.is_some()
    }

    /// Ends a freeze. `became`: what the frozen state was stored as; its blocks are clean then, but for those written
    /// meanwhile. `None`: nothing was stored, all of it is still to be.
    pub fn thaw(&self, became: Option<Arc<Base>>) {
        let _alone = self.alone();
        let mut state = self.set();
        let Some(frozen) = state.frozen.take() else { return };
        frozen.remove();
        self.news.store(true, Ordering::Release);
        let Some(base) = became else {
            state.changed = true;
            return;
        };
        let (written, low) = frozen.outcome();
        let kept = base.size.min(low);
        let end = kept.div_ceil(BLOCK);
        // What lay behind the old version's part was the upper file's alone, whole blocks of it.
        let own: Range<u64> = state.kept.div_ceil(BLOCK)..end;
        if state.has_upper && !own.is_empty() {
            state.local.insert(own);
        }
        state.local.remove(end..u64::MAX);
        state.dirty = written;
        state.dirty.remove(end..u64::MAX);
        state.noted = state.dirty.clone();
        state.fresh = state.dirty.iter().collect();
        state.anew = true;
        state.kept = kept;
        state.base = Some(base);
    }
}
