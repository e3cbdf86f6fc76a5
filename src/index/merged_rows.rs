//! Rows of several segments in one order, as a stream: 256 KiB of memory for each segment.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::collections::binary_heap::PeekMut;
use std::sync::Arc;

use super::IndexError;
use super::segment_reader::{SegmentIter, SegmentReader};
use crate::format::segment::IndexRow;

/// Iterates over the rows of segments of one kind in ascending order. A row that several segments
/// contain is returned several times. Ends after the first error.
pub struct MergedRows {
    iters: Vec<SegmentIter>,
    heap: BinaryHeap<Reverse<(IndexRow, usize)>>,
}

impl MergedRows {
    /// Reads the first rows of all segments.
    pub fn new(inputs: &[Arc<SegmentReader>]) -> Result<Self, IndexError> {
        let mut iters: Vec<SegmentIter> = inputs.iter().map(SegmentReader::iter).collect();
        let mut heap = BinaryHeap::with_capacity(iters.len());
        for (n, iter) in iters.iter_mut().enumerate() {
            heap.extend(iter.next().transpose()?.map(|row| Reverse((row, n))));
        }
        Ok(Self { iters, heap })
    }
}

impl Iterator for MergedRows {
    type Item = Result<IndexRow, IndexError>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut top = self.heap.peek_mut()?;
        let Reverse((row, n)) = *top;
        // The heap has the next row of each segment. The row at the top leaves, and its segment
        // puts its next row in the same place.
        match self.iters.get_mut(n)?.next() {
            Some(Ok(next)) => top.0.0 = next,
            Some(Err(e)) => {
                drop(top);
                self.heap.clear();
                return Some(Err(e));
            }
            None => _ = PeekMut::pop(top),
        }
        Some(Ok(row))
    }
}
