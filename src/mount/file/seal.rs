//! Seals of upper files: length, modification time and checksums at a clean unmount, so that the
//! next mount detects damage.
//!
//! A seal is removed before its file changes. After a crash, a file whose bytes may be newer than
//! the last seal therefore has no seal and is not verified.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;

use super::block::BLOCK;
use super::checksums::{BlockSums, SumRow};
use super::ranges::{RangeRun, RangeSet};
use super::sparse::{hole_run, read_or_zeros};
use crate::model::entry::Time;
use crate::mount::lower::HoleRun;
use crate::sys::clock::time;

/// Maximum number of bytes per read.
const STEP: u64 = 1 << 20;

/// The recorded state of an upper file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSeal {
    /// Length in bytes.
    pub size: u64,
    /// Modification time. Without checksums, it is the only sign of a change that keeps the length.
    pub mtime: Time,
    /// Rows of checksums, or `None` if some blocks have no checksum.
    pub sums: Option<Vec<SumRow>>,
}

impl FileSeal {
    /// Returns how the metadata of a file contradicts the seal, or `None` if it does not.
    pub fn mismatch(&self, file: &Metadata) -> Option<String> {
        if file.len() != self.size {
            return Some(format!(
                "{} bytes long instead of {}",
                file.len(),
                self.size
            ));
        }
        let changed = self.sums.is_none() && mtime_of(file) != self.mtime;
        changed.then(|| "changed by another program".to_owned())
    }
}

pub(super) fn mtime_of(file: &Metadata) -> Time {
    time(file.mtime(), file.mtime_nsec())
}

/// Computes the missing checksums of the blocks in `own`. Other unknown blocks count as zeros.
/// Returns false if reading them would exceed the budget, in bytes.
pub(super) fn read_unknown_blocks(
    file: &File,
    sums: &BlockSums,
    size: u64,
    own: &RangeSet,
    budget: &mut u64,
) -> io::Result<bool> {
    let mut bytes = Vec::new();
    for gap in sums.unknown_blocks(size.div_ceil(BLOCK)) {
        let mut at = gap.start;
        while at < gap.end {
            let RangeRun {
                inside: needed,
                end: until,
            } = own.run(&(at..gap.end));
            if !needed {
                sums.record_zeros(&(at..until));
                at = until;
                continue;
            }
            // Holes are known to be zeros, so they are not read and do not use up the budget.
            let HoleRun { hole, end: run } = hole_run(file, at * BLOCK, until * BLOCK)
                .map_err(|e| io::Error::from_raw_os_error(e.0))?;
            let end = (run.div_ceil(BLOCK)).clamp(at + 1, until);
            // A hole that ends inside this block is read together with the block.
            if hole && run >= (at + 1) * BLOCK {
                let end = (run / BLOCK).min(until);
                sums.record_zeros(&(at..end));
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
            sums.record(at, &bytes);
            at = end;
        }
    }
    Ok(true)
}
