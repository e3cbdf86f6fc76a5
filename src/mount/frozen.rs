//! A file as it was when a version of the mount was begun, while programs go on writing to it.
//!
//! Before a block that belongs to the version is written over, its bytes go to a side file. A reader looks there first.

use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use super::data::{Written, read_or_zeros};
use super::error::MountError;
use super::lower::Lower;
use super::ranges::Ranges;
use super::state::{BLOCK, State};
use crate::sys::create;
use crate::sys::io_error::IoError;

/// Bytes that are copied at a time.
const COPY: u64 = 1 << 20;

/// A file at the moment of a version.
#[derive(Debug)]
pub struct Frozen {
    /// What it was made of.
    pub state: State,
    path: PathBuf,
    side_path: PathBuf,
    since: Mutex<Since>,
}

/// What has happened since.
#[derive(Debug)]
struct Since {
    side: Option<File>,
    /// Blocks that the side file holds.
    saved: Ranges,
    /// Blocks that were written.
    written: Ranges,
    /// The least length.
    low: u64,
    /// The upper file, while it is open.
    upper: Option<Arc<File>>,
    /// It was left to this one.
    alone: bool,
}

impl Since {
    /// The upper file; `None` if nothing was written.
    fn upper(&mut self, frozen: &Frozen) -> io::Result<Option<Arc<File>>> {
        if self.upper.is_none() && frozen.state.has_upper {
            self.upper = Some(Arc::new(File::open(&frozen.path)?));
        }
        Ok(self.upper.clone())
    }
}

impl Frozen {
    /// Of a file in a state.
    pub(super) fn new(state: State, path: PathBuf) -> Self {
        let (saved, written) = (Ranges::default(), Ranges::default());
        let upper = state.upper.clone();
        let since = Since { side: None, saved, written, low: state.size, upper, alone: false };
        Self { state, side_path: path.with_extension("frozen"), path, since: Mutex::new(since) }
    }

    fn since(&self) -> MutexGuard<'_, Since> {
        self.since.lock()
    }

    /// Blocks of the version that only the upper file has.
    fn owned(&self) -> Vec<Range<u64>> {
        // The block in which the version's part ends is in two places.
        let own = self.state.kept / BLOCK..self.state.size.div_ceil(BLOCK);
        let own = if self.state.size > self.state.kept { own } else { 0..0 };
        self.state.dirty.iter().chain((!own.is_empty()).then_some(own)).collect()
    }

    /// To be called before blocks change, by the only writer.
    pub(super) fn before_change(&self, range: &Range<u64>) -> io::Result<()> {
        let mut since = self.since();
        if since.alone {
            return Ok(());
        }
        let Some(upper) = since.upper(self)? else { return Ok(()) };
        let wanted = range.start / BLOCK..range.end.div_ceil(BLOCK);
        for own in self.owned() {
            let both = own.start.max(wanted.start)..own.end.min(wanted.end);
            if both.is_empty() {
                continue;
            }
            for part in since.saved.absent(&both) {
                if since.side.is_none() {
                    let mut options = OpenOptions::new();
                    options.read(true).write(true).truncate(true);
                    since.side = Some(create::open_private(&self.side_path, &options)?);
                }
                let Some(side) = &since.side else { continue };
                let mut at = part.start * BLOCK;
                while at < part.end * BLOCK {
                    let mut bytes = vec![0; usize::try_from(COPY.min(part.end * BLOCK - at)).unwrap_or(0)];
                    let written = Written { file: &upper, sums: &self.state.sums, size: u64::MAX };
                    if let Some(block) = written.read(at, &mut bytes)? {
                        let why = format!("block {block} of an upper file is not the one that was written");
                        return Err(io::Error::new(io::ErrorKind::InvalidData, why));
                    }
                    side.write_all_at(&bytes, at)?;
                    at += bytes.len() as u64;
                }
                since.saved.insert(part);
            }
        }
        Ok(())
    }

    /// Notes that blocks have changed.
    pub(super) fn changed(&self, blocks: Range<u64>) {
        self.since().written.insert(blocks);
    }

    /// Notes a length.
    pub(super) fn cut(&self, size: u64) {
        let mut since = self.since();
        since.low = since.low.min(size);
    }

    /// Takes the upper file for itself.
    pub(super) fn keep_upper(&self) -> io::Result<()> {
        let mut since = self.since();
        if !since.alone {
            since.upper(self)?;
            since.alone = true;
        }
        Ok(())
    }

    /// Closes the upper file until somebody needs it again.
    pub fn close(&self) {
        let mut since = self.since();
        if !since.alone {
            since.upper = None;
        }
    }

    /// Blocks that were written since, and the least length.
    pub(super) fn outcome(&self) -> (Ranges, u64) {
        let since = self.since();
        (since.written.clone(), since.low)
    }

    /// Removes the side file.
    pub(super) fn remove(&self) {
        if self.since().side.take().is_some() {
            let _ = std::fs::remove_file(&self.side_path);
        }
    }

    /// Fills `out` with the bytes from `offset` on; all of them must lie inside.
    pub fn read(&self, lower: &Lower, offset: u64, out: &mut [u8]) -> crate::error::Result<()> {
        let end = offset + out.len() as u64;
        let mut at = offset;
        while at < end {
            let (upper, until) = match &self.state.base {
                Some(_) if at < self.state.kept => {
                    let (dirty, until) = self.state.dirty.run(&(at / BLOCK..end.min(self.state.kept).div_ceil(BLOCK)));
                    (dirty, (until * BLOCK).min(end).min(self.state.kept))
                }
                _ => (true, end),
            };
            let slot = |from: u64, to: u64| {
                let index = |n: u64| usize::try_from(n - offset).unwrap_or(usize::MAX);
                index(from)..index(to)
            };
            match &self.state.base {
                Some(base) if !upper => lower.read(&base.content, at, &mut out[slot(at, until)])?,
                _ => self.read_own(at, &mut out[slot(at, until)])?,
            }
            at = until;
        }
        Ok(())
    }

    /// The first byte from `offset` on that may be no zero.
    pub fn next_data(&self, lower: &Lower, offset: u64) -> u64 {
        let state = &self.state;
        let mut at = offset;
        while at < state.size {
            let below = at < state.kept;
            let (upper, end) = match &state.base {
                Some(_) if below => {
                    let (dirty, until) = state.dirty.run(&(at / BLOCK..state.kept.div_ceil(BLOCK)));
                    (dirty, (until * BLOCK).min(state.kept))
                }
                _ => (true, state.size),
            };
            match &state.base {
                Some(base) if !upper => match lower.is_hole(&base.content, &(at..end)) {
                    Ok((true, hole_end)) => at = hole_end,
                    _ => return at,
                },
                _ => {
                    let mut since = self.since();
                    let (saved, until) = since.saved.run(&(at / BLOCK..end.div_ceil(BLOCK)));
                    if saved {
                        return at;
                    }
                    let end = (until * BLOCK).min(end);
                    let data = match since.upper(self) {
                        Ok(None) => Err(rustix::io::Errno::NXIO),
                        Ok(Some(upper)) => rustix::fs::seek(&*upper, rustix::fs::SeekFrom::Data(at)),
                        Err(_) => return at,
                    };
                    match data {
                        Ok(data) if data < end => return data.max(at),
                        Ok(_) | Err(rustix::io::Errno::NXIO) => at = end,
                        Err(_) => return at,
                    }
                }
            }
        }
        state.size
    }

    fn read_own(&self, offset: u64, out: &mut [u8]) -> crate::error::Result<()> {
        if let Some(why) = &self.state.lost {
            return Err(MountError::Upper { path: self.path.clone(), why: why.to_string() }.into());
        }
        let failed = |source| IoError::new("read", &self.side_path, source);
        let end = offset + out.len() as u64;
        // Nobody overwrites a block while this is held: it would have to be saved first.
        let mut since = self.since();
        let upper = since.upper(self).map_err(failed)?;
        let mut at = offset;
        while at < end {
            let (saved, until) = since.saved.run(&(at / BLOCK..end.div_ceil(BLOCK)));
            let until = (until * BLOCK).min(end);
            let index = |n: u64| usize::try_from(n - offset).unwrap_or(usize::MAX);
            let slot = &mut out[index(at)..index(until)];
            let damaged = |why: String| MountError::Upper { path: self.path.clone(), why };
            match (saved, &since.side, &upper) {
                (true, Some(side), _) => read_or_zeros(side, slot, at).map_err(failed)?,
                (false, _, Some(file)) => {
                    let written = Written { file, sums: &self.state.sums, size: self.state.size };
                    if let Some(block) = written.read(at, slot).map_err(failed)? {
                        let why = format!("the block at byte {} is not the one that was written", block * BLOCK);
                        return Err(damaged(why).into());
                    }
                }
                _ => slot.fill(0),
            }
            at = until;
        }
        Ok(())
    }
}
