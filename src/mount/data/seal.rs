//! The seal of an upper file: what the store keeps at an orderly end, so that the next mount finds damage.
//!
//! A seal is of the file as it lies on disk, and goes before anything of the file changes. So a crash leaves no seal of a file
//! whose bytes may be newer, and such a file is not judged.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Data, read_or_zeros, upper_run};
use crate::model::entry::Time;
use crate::mount::ranges::Ranges;
use crate::mount::state::{BLOCK, Base};
use crate::mount::sums::Sums;
use crate::sys::clock::time;

/// Bytes that are read at a time.
const STEP: u64 = 1 << 20;

/// What is kept of an upper file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seal {
    /// Its length in bytes.
    pub size: u64,
    /// Its last change: all that can be compared where checksums are not known.
    pub mtime: Time,
    /// Rows of checksums; `None`: they are not known of all blocks.
    pub sums: Option<Vec<(u64, Vec<u8>)>>,
}

/// What of an upper file the version has too.
#[derive(Debug)]
pub enum Spare {
    /// Nothing that would be worth it.
    Nothing,
    /// Some blocks.
    Blocks,
    /// All of it: the file is this one.
    All(Arc<Base>),
}

impl Seal {
    /// Why a file is not the one that was sealed, as far as its length and time tell.
    pub fn contradicts(&self, file: &Metadata) -> Option<String> {
        if file.len() != self.size {
            return Some(format!("it has {} bytes, and {} were written", file.len(), self.size));
        }
        let changed = self.sums.is_none() && mtime_of(file) != self.mtime;
        changed.then(|| "something else has changed it, and there are no checksums".to_owned())
    }
}

fn mtime_of(file: &Metadata) -> Time {
    time(file.mtime(), file.mtime_nsec())
}

impl Data {
    /// Whether the store has a seal of it.
    pub fn is_sealed(&self) -> bool {
        self.sealed.load(Ordering::Acquire)
    }

    /// Notes whether the store has one.
    pub fn set_sealed(&self, sealed: bool) {
        self.sealed.store(sealed, Ordering::Release);
    }

    /// Whether the checksums of all blocks are known.
    pub fn has_sums(&self) -> bool {
        let state = self.get();
        state.sums.gaps(state.size.div_ceil(BLOCK)).is_empty()
    }

    /// The seal of the upper file as it is now, where the store has none. At most `budget` bytes are read for it, of blocks
    /// that were not written by this process. Nobody writes any more.
    pub fn seal(&self, budget: &mut u64) -> io::Result<Option<Seal>> {
        let _alone = self.alone();
        let (sums, size, own) = {
            let mut state = self.set();
            if state.sums.is_blind() {
                state.sums = Arc::new(Sums::unknown());
            }
            if !state.has_upper || state.lost.is_some() || self.is_sealed() {
                return Ok(None);
            }
            let mut own = if state.is_complete() { state.local.clone() } else { state.dirty.clone() };
            own.insert(state.kept / BLOCK..state.size.div_ceil(BLOCK).max(state.kept / BLOCK));
            (Arc::clone(&state.sums), state.size, own)
        };
        let file = self.space.open(self.ino)?;
        let known = read_gaps(&file, &sums, size, &own, budget)?;
        let meta = file.metadata()?;
        let fits = meta.len() == size;
        Ok(fits.then(|| Seal { size, mtime: mtime_of(&meta), sums: known.then(|| sums.rows()) }))
    }

    /// What of the upper file the version has too.
    pub fn spare(&self) -> Spare {
        /// Less is not worth it.
        const LEAST: u64 = 64 << 10;
        let state = self.get();
        let Some(base) = state.base.as_ref().filter(|_| state.has_upper && state.lost.is_none()) else {
            return Spare::Nothing;
        };
        let is_copy = state.dirty.is_empty() && !state.changed && state.kept == state.size;
        if is_copy && state.size == base.size {
            return Spare::All(Arc::clone(base));
        }
        let own = state.dirty.total() * BLOCK + state.size.saturating_sub(state.kept);
        if state.counted > own + LEAST { Spare::Blocks } else { Spare::Nothing }
    }

    /// Reads from the version what it has too. The store has to know that before [`Self::give_back`].
    pub fn disown_spare(&self) {
        let mut state = self.set();
        state.local = state.dirty.clone();
    }

    /// Gives back the space of blocks that the version has too.
    pub fn give_back(&self) -> io::Result<()> {
        let _alone = self.alone();
        let (sums, spare) = {
            let state = self.get();
            (Arc::clone(&state.sums), state.local.absent(&(0..state.kept / BLOCK)))
        };
        let upper = self.open_upper()?;
        for blocks in spare {
            let range = blocks.start * BLOCK..blocks.end * BLOCK;
            let flags = rustix::fs::FallocateFlags::PUNCH_HOLE | rustix::fs::FallocateFlags::KEEP_SIZE;
            rustix::fs::fallocate(&*upper, flags, range.start, range.end - range.start)?;
            sums.clear(&blocks);
        }
        self.touches.fetch_add(1, Ordering::AcqRel);
        self.account(&upper, &mut self.set());
        self.set().upper = None;
        Ok(())
    }
}

/// Learns the checksums of blocks that are `own` and not known. False if that took more than the budget.
fn read_gaps(file: &File, sums: &Sums, size: u64, own: &Ranges, budget: &mut u64) -> io::Result<bool> {
    let mut bytes = Vec::new();
    for gap in sums.gaps(size.div_ceil(BLOCK)) {
        let mut at = gap.start;
        while at < gap.end {
            let (needed, until) = own.run(&(at..gap.end));
            if !needed {
                sums.clear(&(at..until));
                at = until;
                continue;
            }
            let (hole, run) =
                upper_run(file, at * BLOCK, until * BLOCK).map_err(|e| io::Error::from_raw_os_error(e.0))?;
            let end = (run.div_ceil(BLOCK)).clamp(at + 1, until);
            if hole && run >= (at + 1) * BLOCK {
                let end = (run / BLOCK).min(until);
                sums.clear(&(at..end));
                at = end;
                continue;
            }
            let end = end.min(at + STEP / BLOCK);
            let len = (end - at) * BLOCK;
            *budget = match budget.checked_sub(len) {
                Some(left) => left,
                None => return Ok(false),
            };
            bytes.resize(usize::try_from(len).unwrap_or(0), 0);
            read_or_zeros(file, &mut bytes, at * BLOCK)?;
            sums.note(at, &bytes);
            at = end;
        }
    }
    Ok(true)
}
