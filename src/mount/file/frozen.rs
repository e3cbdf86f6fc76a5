//! The state of a file at the moment of a snapshot, while programs continue to write.
//!
//! Before a block of the snapshot is overwritten, its bytes are copied to a side file. Readers look
//! in the side file first.

use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use super::block::BLOCK;
use super::checked::CheckedFile;
use super::ranges::{RangeRun, RangeSet};
use super::sparse::read_or_zeros;
use super::state::FileState;
use crate::mount::error::MountError;
use crate::mount::lower::{HoleRun, LowerLayer};
use crate::sys::create;
use crate::sys::io_error::IoError;

/// Maximum number of bytes that are copied in one step.
const COPY: u64 = 1 << 20;

/// The state of a file at the moment of a snapshot.
#[derive(Debug)]
pub struct FrozenFile {
    /// The state of the file when it was frozen.
    pub state: FileState,
    path: PathBuf,
    side_path: PathBuf,
    changes: Mutex<ChangesSince>,
}

/// Changes after the freeze.
#[derive(Debug)]
struct ChangesSince {
    side: Option<File>,
    /// Blocks that the side file holds.
    saved: RangeSet,
    /// Blocks that were written.
    written: RangeSet,
    /// The smallest length since the freeze, in bytes.
    lowest_size: u64,
    /// The upper file, while it is open.
    upper: Option<Arc<File>>,
    /// Set when the live file has switched to a new upper file, so that no block of the old one
    /// changes any more.
    owns_upper: bool,
}

/// Changes of a file after it was frozen.
pub(super) struct FrozenChanges {
    /// Blocks that were written.
    pub(super) written: RangeSet,
    /// The smallest length in bytes.
    pub(super) lowest_size: u64,
}

impl ChangesSince {
    /// Opens the upper file. Returns `None` if the file had none when it was frozen.
    fn upper(&mut self, frozen: &FrozenFile) -> io::Result<Option<Arc<File>>> {
        if self.upper.is_none() && frozen.state.has_upper {
            self.upper = Some(Arc::new(File::open(&frozen.path)?));
        }
        Ok(self.upper.clone())
    }
}

impl FrozenFile {
    /// Freezes a state. `path` is the upper file.
    pub(super) fn new(state: FileState, path: PathBuf) -> Self {
        let (saved, written) = (RangeSet::default(), RangeSet::default());
        let upper = state.upper.clone();
        let changes = ChangesSince {
            side: None,
            saved,
            written,
            lowest_size: state.size,
            upper,
            owns_upper: false,
        };
        Self {
            state,
            side_path: path.with_extension("frozen"),
            path,
            changes: Mutex::new(changes),
        }
    }

    fn lock(&self) -> MutexGuard<'_, ChangesSince> {
        self.changes.lock()
    }

    /// Returns the blocks of the snapshot that only the upper file has.
    fn upper_only_blocks(&self) -> Vec<Range<u64>> {
        // Include the last block of the base, because the part after the end of the base is in the
        // upper file.
        let own = self.state.kept / BLOCK..self.state.size.div_ceil(BLOCK);
        let own = if self.state.size > self.state.kept {
            own
        } else {
            0..0
        };
        self.state
            .dirty
            .iter()
            .chain((!own.is_empty()).then_some(own))
            .collect()
    }

    /// Copies blocks to the side file before they change. The caller must be the only writer.
    pub(super) fn save_before_change(&self, range: &Range<u64>) -> io::Result<()> {
        let mut changes = self.lock();
        if changes.owns_upper {
            return Ok(());
        }
        let Some(upper) = changes.upper(self)? else {
            return Ok(());
        };
        let wanted = range.start / BLOCK..range.end.div_ceil(BLOCK);
        // All other blocks of the snapshot are read from the version.
        for own in self.upper_only_blocks() {
            let both = own.start.max(wanted.start)..own.end.min(wanted.end);
            if both.is_empty() {
                continue;
            }
            for part in changes.saved.missing(&both) {
                if changes.side.is_none() {
                    let mut options = OpenOptions::new();
                    // A crash may have left the side file of an earlier snapshot.
                    options.read(true).write(true).truncate(true);
                    changes.side = Some(create::open_private(&self.side_path, &options)?);
                }
                let Some(side) = &changes.side else { continue };
                let mut at = part.start * BLOCK;
                while at < part.end * BLOCK {
                    let mut bytes =
                        vec![0; usize::try_from(COPY.min(part.end * BLOCK - at)).unwrap_or(0)];
                    let written = CheckedFile {
                        file: &upper,
                        sums: &self.state.sums,
                        size: u64::MAX,
                    };
                    // The side file has no checksums, so damage must be detected now.
                    if let Some(block) = written.read(at, &mut bytes)? {
                        let why = format!(
                            "checksum mismatch in the upper file `{}` at offset {}",
                            self.path.display(),
                            block * BLOCK
                        );
                        return Err(io::Error::new(io::ErrorKind::InvalidData, why));
                    }
                    side.write_all_at(&bytes, at)?;
                    at += bytes.len() as u64;
                }
                changes.saved.insert(part);
            }
        }
        Ok(())
    }

    /// Notes that blocks have changed.
    pub(super) fn note_written(&self, blocks: Range<u64>) {
        self.lock().written.insert(blocks);
    }

    /// Notes a new length in bytes.
    pub(super) fn note_size(&self, size: u64) {
        let mut changes = self.lock();
        changes.lowest_size = changes.lowest_size.min(size);
    }

    /// Takes over the upper file, because the live file switches to a new one.
    pub(super) fn keep_upper(&self) -> io::Result<()> {
        let mut changes = self.lock();
        if !changes.owns_upper {
            changes.upper(self)?;
            // The file is open now, because its path leads to the new upper file from now on.
            changes.owns_upper = true;
        }
        Ok(())
    }

    /// Closes the upper file until it is needed again, unless the snapshot has taken over the file.
    pub fn close(&self) {
        let mut changes = self.lock();
        if !changes.owns_upper {
            changes.upper = None;
        }
    }

    /// Returns the changes after the freeze.
    pub(super) fn changes(&self) -> FrozenChanges {
        let changes = self.lock();
        FrozenChanges {
            written: changes.written.clone(),
            lowest_size: changes.lowest_size,
        }
    }

    /// Removes the side file.
    pub(super) fn remove_side_file(&self) {
        if self.lock().side.take().is_some() {
            // The next snapshot truncates a side file that remains.
            let _ = std::fs::remove_file(&self.side_path);
        }
    }

    /// Fills `out` from `offset` on. The range must lie within the file.
    pub fn read(
        &self,
        lower: &LowerLayer,
        offset: u64,
        out: &mut [u8],
    ) -> crate::error::Result<()> {
        let end = offset + out.len() as u64;
        let mut at = offset;
        while at < end {
            // A block of the version is read from the version, unless the mount had changed it
            // before the freeze.
            let (upper, until) = match &self.state.base {
                Some(_) if at < self.state.kept => {
                    let RangeRun {
                        inside: dirty,
                        end: until,
                    } = self
                        .state
                        .dirty
                        .run(&(at / BLOCK..end.min(self.state.kept).div_ceil(BLOCK)));
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

    /// Returns the next offset from `offset` on that may hold data.
    pub fn next_data(&self, lower: &LowerLayer, offset: u64) -> u64 {
        let state = &self.state;
        let mut at = offset;
        while at < state.size {
            let below = at < state.kept;
            let (upper, end) = match &state.base {
                Some(_) if below => {
                    let RangeRun {
                        inside: dirty,
                        end: until,
                    } = state.dirty.run(&(at / BLOCK..state.kept.div_ceil(BLOCK)));
                    (dirty, (until * BLOCK).min(state.kept))
                }
                _ => (true, state.size),
            };
            match &state.base {
                Some(base) if !upper => match lower.hole_run(&base.content, &(at..end)) {
                    Ok(HoleRun { hole: true, end }) => at = end,
                    _ => return at,
                },
                _ => {
                    let mut changes = self.lock();
                    let RangeRun {
                        inside: saved,
                        end: until,
                    } = changes.saved.run(&(at / BLOCK..end.div_ceil(BLOCK)));
                    if saved {
                        return at;
                    }
                    let end = (until * BLOCK).min(end);
                    let data = match changes.upper(self) {
                        Ok(None) => Err(rustix::io::Errno::NXIO),
                        Ok(Some(upper)) => {
                            rustix::fs::seek(&*upper, rustix::fs::SeekFrom::Data(at))
                        }
                        // If holes cannot be found, the rest counts as data.
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
        if let Some(why) = &self.state.damage {
            return Err(MountError::Upper {
                path: self.path.clone(),
                why: why.to_string(),
            }
            .into());
        }
        let failed = |source| IoError::new("read", &self.side_path, source);
        let end = offset + out.len() as u64;
        // While this lock is held, no block can be overwritten, because it would have to be saved
        // first.
        let mut changes = self.lock();
        let upper = changes.upper(self).map_err(failed)?;
        let mut at = offset;
        while at < end {
            let RangeRun {
                inside: saved,
                end: until,
            } = changes.saved.run(&(at / BLOCK..end.div_ceil(BLOCK)));
            let until = (until * BLOCK).min(end);
            let index = |n: u64| usize::try_from(n - offset).unwrap_or(usize::MAX);
            let slot = &mut out[index(at)..index(until)];
            let damaged = |why: String| MountError::Upper {
                path: self.path.clone(),
                why,
            };
            match (saved, &changes.side, &upper) {
                (true, Some(side), _) => read_or_zeros(side, slot, at).map_err(failed)?,
                (false, _, Some(file)) => {
                    let written = CheckedFile {
                        file,
                        sums: &self.state.sums,
                        size: self.state.size,
                    };
                    if let Some(block) = written.read(at, slot).map_err(failed)? {
                        let why =
                            format!("checksum mismatch in the block at offset {}", block * BLOCK);
                        return Err(damaged(why).into());
                    }
                }
                // Without an upper file, the bytes after the base are zeros.
                _ => slot.fill(0),
            }
            at = until;
        }
        Ok(())
    }
}
