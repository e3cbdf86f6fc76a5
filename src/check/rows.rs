//! Iterates over all index rows of a kind in order and without duplicates.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::format::pack::PackKind;
use crate::format::segment::IndexRow;
use crate::index::segment_reader::{SegmentIter, SegmentReader};
use crate::index::{Index, IndexError};

/// Merges the live segments of a kind, with 256 KiB of memory per segment.
pub(super) struct Rows {
    iters: Vec<SegmentIter>,
    heap: BinaryHeap<Reverse<(IndexRow, usize)>>,
    last: Option<IndexRow>,
    /// Errors of segments that could not be read completely.
    pub(super) failed: Vec<IndexError>,
}

impl Rows {
    pub(super) fn of(index: &Index, kind: PackKind) -> Self {
        let iters: Vec<SegmentIter> = index
            .segments(kind)
            .iter()
            .map(SegmentReader::iter)
            .collect();
        let mut rows = Self {
            heap: BinaryHeap::with_capacity(iters.len()),
            iters,
            last: None,
            failed: Vec::new(),
        };
        for n in 0..rows.iters.len() {
            rows.pull(n);
        }
        rows
    }

    fn pull(&mut self, n: usize) {
        match self.iters.get_mut(n).and_then(Iterator::next) {
            Some(Ok(row)) => self.heap.push(Reverse((row, n))),
            // A segment that fails ends here. Rows of the other segments are still valid.
            Some(Err(e)) => self.failed.push(e),
            None => {}
        }
    }
}

impl Iterator for Rows {
    type Item = IndexRow;

    fn next(&mut self) -> Option<IndexRow> {
        loop {
            let Reverse((row, n)) = self.heap.pop()?;
            self.pull(n);
            // Several segments may contain the same row, and the merge makes equal rows neighbours.
            if self.last.replace(row) != Some(row) {
                return Some(row);
            }
        }
    }
}
