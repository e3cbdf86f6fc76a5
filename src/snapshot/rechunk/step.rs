//! Chunks a part of a changed file from a boundary of the new content on, and keeps old extents
//! where possible.
//!
//! A step depends only on its start and on the file, so it can be computed before it is known
//! whether its start is a boundary of the new content; if it is, the result is correct.

// The bytes on which boundaries depend determine when an old extent can be kept:
//
// - Aligned blocks of 64 KiB (the last one may be shorter) are holes if they contain only zeros.
//   Runs of other blocks are between the holes, and each run is chunked from its start. So given a
//   boundary in a run, all later boundaries in it depend only on the bytes after the given one and
//   on the end of the run.
// - A content-defined chunk depends on its own bytes, on the next byte (the hash at which the chunk
//   ends includes it), and on the existence of one more byte, because the hash advances by two
//   bytes: `LOOK`. A chunk of maximum length depends only on its own bytes. A chunk of fixed length
//   depends only on the existence of that many bytes in the run.
// - A chunk at the end of its run depends on the end of the run: the next block is a hole, or the
//   file ends. Both are changes at the first byte after the chunk, so `LOOK` covers them too.
// - A block that became a hole or ceased to be one counts as changed from its first byte on, even
//   if only a few bytes were written. Only blocks with changes are examined: first the changed
//   bytes, and the others only if the changed bytes are all zeros and the block was not a hole.
// - If the end of the file moved, that is a change at the lower of the two ends. If this offset is
//   inside a block, the block is examined too, because its remaining bytes may be all zeros.
// - Old and new boundaries agree at an offset that is, in both versions, a boundary inside a run or
//   the start of a block in a hole. From there, old extents are kept up to the first one that a
//   change affects according to these rules; a hole is kept up to the last block boundary before
//   the change.
// - Most chunks end where an old chunk ended. If the old chunk began at the same boundary, and its
//   last `MEMORY` bytes and the bytes after it on which it depends are unchanged, then the new
//   chunk ends there or earlier, so the following bytes need not be read.

use std::collections::HashMap;
use std::ops::Range;

use crate::codec::cut::{BLOCK, CHUNK_MAX, ChunkerConfig, next_chunk};
use crate::codec::zero::is_zero;
use crate::error::Result;
use crate::model::entry::{Chunker, Extent};
use crate::model::id::Id;
use crate::snapshot::content::large::replaced;
use crate::snapshot::rechunk::old::OldMap;

/// Limit on the parts of a step.
const PARTS_MAX: usize = 4096;
/// Maximum number of bytes after a chunk that determine its end.
const LOOK: u64 = 2;
/// Maximum number of bytes before a content-defined boundary that determine it.
// The hash of FastCDC has 64 bits and is shifted by one bit for each byte.
const MEMORY: u64 = 64;
const BLOCK_LEN: u64 = BLOCK as u64;

/// Reads current bytes of the file.
pub(super) type Read<'c> = &'c (dyn Fn(u64, &mut [u8]) -> Result<()> + Sync);
/// Returns the first offset at or after the given one that may contain data.
pub(super) type Data<'c> = &'c (dyn Fn(u64) -> u64 + Sync);

/// The file to chunk.
pub(super) struct Plan<'c> {
    pub(super) config: &'c ChunkerConfig,
    pub(super) chunker: Chunker,
    /// Ranges that differ from the old content, sorted and disjoint; the last one may extend beyond
    /// the end.
    pub(super) changes: Vec<Range<u64>>,
    pub(super) size: u64,
    pub(super) read: Read<'c>,
    pub(super) data: Option<Data<'c>>,
    /// Whether to find the old chunks that new chunks replace, as bases for deltas.
    pub(super) bases: bool,
    /// Number of bytes at which a step ends.
    pub(super) step: usize,
}

/// A part of the new content, which begins where the previous part ends.
#[derive(Debug)]
pub(super) enum Part {
    /// The old extents of this range.
    Kept(Range<u64>),
    /// A hole of this length in bytes.
    Hole(u64),
    /// A chunk as a range of the bytes of the step, and the old chunk that it replaces.
    Chunk(Range<usize>, Option<Id>),
}

/// The new content from `start` to `end`.
pub(super) struct Step {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) parts: Vec<Part>,
    pub(super) bytes: Vec<u8>,
    /// Bytes from `end` on that were already read.
    pub(super) rest: Vec<u8>,
}

fn block_of(at: u64) -> u64 {
    at - at % BLOCK_LEN
}

impl Plan<'_> {
    /// Returns the offset of the first changed byte at or after `at`.
    pub(super) fn next_change(&self, at: u64) -> u64 {
        let i = self.changes.partition_point(|c| c.end <= at);
        self.changes.get(i).map_or(u64::MAX, |c| c.start.max(at))
    }

    /// Returns the end of the change that contains `at`, or `at` if there is none.
    fn change_end(&self, at: u64) -> u64 {
        let i = self.changes.partition_point(|c| c.end <= at);
        self.changes
            .get(i)
            .filter(|c| c.start <= at)
            .map_or(at, |c| c.end)
    }

    /// Returns the maximum length of a chunk.
    fn longest(&self) -> u64 {
        match self.chunker {
            Chunker::Fixed(size) => u64::from(size).clamp(1, CHUNK_MAX as u64),
            Chunker::Cdc => self.config.content[2] as u64,
        }
    }

    /// Returns the number of bytes after a chunk of this length that determine its end.
    fn look(&self, len: u64) -> u64 {
        match self.chunker {
            _ if len == self.longest() => 0,
            Chunker::Fixed(_) => 1,
            Chunker::Cdc => LOOK,
        }
    }

    /// Returns whether the end of a chunk of `len` bytes does not depend on bytes after the
    /// `window` bytes that were chunked.
    fn settled(&self, len: usize, window: usize) -> bool {
        match self.chunker {
            Chunker::Fixed(_) => len as u64 == self.longest(),
            Chunker::Cdc => len as u64 + LOOK <= window as u64,
        }
    }

    /// Returns the step from `start`. The step ends after the first kept range that no change
    /// before `stop` follows, or when it is large enough. `rest` are bytes that were already read;
    /// `bytes` is an empty buffer.
    pub(super) fn step(
        &self,
        old: Option<&mut OldMap<'_>>,
        start: u64,
        stop: u64,
        rest: &[u8],
        bytes: Vec<u8>,
    ) -> Result<Step> {
        let mut cutter = Cutter::new(self, old, start, bytes);
        cutter.bytes.extend_from_slice(rest);
        cutter.run(start, stop)
    }

    /// Returns the step of the changes from `change` up to `stop` under the assumption that old and
    /// new boundaries agree before it, or `None` if a guess is not possible.
    pub(super) fn guess(
        &self,
        old: &mut OldMap<'_>,
        change: u64,
        stop: u64,
        bytes: Vec<u8>,
    ) -> Result<Option<Step>> {
        let mut cutter = Cutter::new(self, Some(old), 0, bytes);
        let affected = cutter.affected(block_of(change))?;
        // The assumption: boundaries agree at the start of the old extent just before the change.
        let before = affected.saturating_sub(1 + LOOK);
        let Some((start, extent)) = cutter.old_at(before)? else {
            return Ok(None);
        };
        let agreed = if extent.chunk.is_some() {
            start
        } else {
            block_of(before).max(start)
        };
        let start = cutter.keep_from(agreed)?;
        cutter.seek(start);
        cutter.run(start, stop).map(Some)
    }
}

struct Cutter<'p, 'c, 'o, 'a> {
    plan: &'p Plan<'c>,
    old: Option<&'o mut OldMap<'a>>,
    parts: Vec<Part>,
    bytes: Vec<u8>,
    /// Index in `bytes` of the file's byte at offset `from`.
    origin: usize,
    from: u64,
    /// Changed blocks, and whether they are holes now.
    holes: HashMap<u64, bool>,
}

impl<'p, 'c, 'o, 'a> Cutter<'p, 'c, 'o, 'a> {
    fn new(plan: &'p Plan<'c>, old: Option<&'o mut OldMap<'a>>, from: u64, bytes: Vec<u8>) -> Self {
        Self {
            plan,
            old,
            parts: Vec::new(),
            bytes,
            origin: 0,
            from,
            holes: HashMap::new(),
        }
    }

    fn run(mut self, start: u64, stop: u64) -> Result<Step> {
        let size = self.plan.size;
        let mut at = start;
        loop {
            // Keep old extents up to the first one that a change affects, then add one hole or
            // chunk.
            let kept = self.keep_from(at)?;
            if kept > at {
                self.parts.push(Part::Kept(at..kept));
                at = kept;
                // The changes from `stop` on belong to the next guess.
                if self.plan.next_change(at) >= stop {
                    break;
                }
            }
            self.seek(at);
            if at >= size || self.index(at) >= self.plan.step || self.parts.len() >= PARTS_MAX {
                break;
            }
            at += self.cut_one(at)?;
        }
        // The next step begins with these bytes, so it need not read them again.
        let rest = if at < self.read_to() && at >= self.from {
            self.bytes[self.index(at)..].to_vec()
        } else {
            Vec::new()
        };
        Ok(Step {
            start,
            end: at,
            parts: self.parts,
            bytes: self.bytes,
            rest,
        })
    }

    /// Appends one hole or chunk at the boundary `at`. Returns its length.
    fn cut_one(&mut self, at: u64) -> Result<u64> {
        if at.is_multiple_of(BLOCK_LEN) {
            let hole = self.hole_at(at)?;
            if hole > 0 {
                match self.parts.last_mut() {
                    Some(Part::Hole(len)) => *len += hole,
                    _ => self.parts.push(Part::Hole(hole)),
                }
                return Ok(hole);
            }
        }
        let len = self.chunk_at(at)?;
        let base = self.base_of(at, len as u64)?;
        let index = self.index(at);
        self.parts.push(Part::Chunk(index..index + len, base));
        Ok(len as u64)
    }

    /// Returns the known length of the hole at the start of a block; 0 if there is none.
    fn hole_at(&mut self, at: u64) -> Result<u64> {
        let size = self.plan.size;
        if let Some(data) = self.plan.data {
            let zero_to = self.plan.change_end(at).min(size);
            let zero_to = if zero_to > at {
                data(at).min(zero_to)
            } else {
                at
            };
            // Only whole blocks are holes, except at the end of the file.
            let zero_to = if zero_to == size {
                size
            } else {
                block_of(zero_to)
            };
            if zero_to > at {
                return Ok(zero_to - at);
            }
        }
        Ok(if self.is_hole(at)? {
            BLOCK_LEN.min(size - at)
        } else {
            0
        })
    }

    /// Returns the length of the chunk at the boundary `at` inside of a run, and reads its bytes.
    fn chunk_at(&mut self, at: u64) -> Result<usize> {
        let plan = self.plan;
        let most = plan.longest().min(plan.size - at);
        let (mut want, mut sure) = (most, false);
        if plan.chunker == Chunker::Cdc
            && let Some((
                start,
                Extent {
                    len,
                    chunk: Some(_),
                },
            )) = self.old_at(at)?
        {
            let end = start + len;
            let tail = end.saturating_sub(MEMORY).max(at);
            // The old chunk begins here too, and no byte that determines its end has changed.
            sure = start == at && end <= at + most && self.affected(tail)? >= end + plan.look(len);
            // If the end is not certain, read up to the old end, and at least an average chunk.
            want = if sure {
                len
            } else {
                (end + LOOK - at).max(plan.config.content[1] as u64)
            };
        }
        loop {
            want = want.min(most);
            let run_end = self.run_end(at, at + want)?;
            self.fill(run_end)?;
            let window = &self.bytes[self.index(at)..self.index(run_end)];
            let len = next_chunk(plan.config, plan.chunker, window, true).unwrap_or(window.len());
            let complete = sure || want == most || run_end < at + want;
            if complete || plan.settled(len, window.len()) {
                return Ok(len);
            }
            // The chunk does not end in the bytes that were read.
            want += BLOCK_LEN;
        }
    }

    /// Returns the end of the run that contains `from`, or `to` if the run continues there.
    fn run_end(&mut self, from: u64, to: u64) -> Result<u64> {
        let mut edge = block_of(from) + BLOCK_LEN;
        while edge < to {
            if self.is_hole(edge)? {
                return Ok(edge);
            }
            edge += BLOCK_LEN;
        }
        Ok(to)
    }

    /// Returns the offset up to which old extents can be kept from the boundary `at`; `at` if none
    /// can be kept.
    fn keep_from(&mut self, at: u64) -> Result<u64> {
        let size = self.plan.size;
        if self.old.is_none() || at >= size {
            return Ok(at);
        }
        let change = self.affected(at)?;
        let (mut at, mut jumped) = (at, false);
        while at < size {
            let Some((start, extent)) = self.old_at(at)? else {
                break;
            };
            let end = start + extent.len;
            if extent.chunk.is_some() {
                // The change can move the end of this chunk.
                if start != at || end.saturating_add(self.plan.look(extent.len)) > change {
                    break;
                }
                at = end;
            } else {
                // The last block of the file may be shorter, but not if the file continues.
                let whole = end <= change && (end.is_multiple_of(BLOCK_LEN) || end == size);
                let to = if whole {
                    end
                } else {
                    block_of(end.min(change))
                };
                if !at.is_multiple_of(BLOCK_LEN) || to <= at {
                    break;
                }
                at = to;
                if to < end {
                    break;
                }
            }
            if !jumped {
                // All extents that end well before the change are kept, so they need not be
                // examined.
                jumped = true;
                let near = change.min(size).saturating_sub(1 + LOOK);
                if near > at
                    && let Some((start, _)) = self.old_at(near)?
                {
                    at = at.max(start);
                }
            }
        }
        Ok(at)
    }

    /// Returns the first changed byte at or after `at`. If its block became a hole or is no longer
    /// one, the complete block counts as changed.
    fn affected(&mut self, at: u64) -> Result<u64> {
        let change = self.plan.next_change(at);
        let block = block_of(change);
        if block >= self.plan.size || self.is_hole(block)? == self.was_hole(block)? {
            return Ok(change);
        }
        Ok(block.max(at))
    }

    fn was_hole(&mut self, block: u64) -> Result<bool> {
        Ok(self
            .old_at(block)?
            .is_some_and(|(_, extent)| extent.chunk.is_none()))
    }

    /// Returns whether the block that begins at `block` contains only zeros now.
    fn is_hole(&mut self, block: u64) -> Result<bool> {
        let plan = self.plan;
        if plan.next_change(block) >= block + BLOCK_LEN {
            return self.was_hole(block);
        }
        if let Some(known) = self.holes.get(&block) {
            return Ok(*known);
        }
        let end = plan.size.min(block + BLOCK_LEN);
        // All bytes of the block were written.
        let fresh = plan.change_end(block) >= end;
        let hole = if fresh && plan.data.is_some_and(|data| data(block) >= end) {
            true
        } else {
            // The bytes follow those that were read, and the next chunk needs them.
            if fresh && self.read_to() >= block {
                self.fill(end)?;
            }
            // The unchanged bytes of an old hole are known to be zeros.
            self.parts_are_zero(block..end, true)?
                && (fresh || self.was_hole(block)? || self.parts_are_zero(block..end, false)?)
        };
        self.holes.insert(block, hole);
        Ok(hole)
    }

    /// Returns whether the changed parts of a range, or its other parts, contain only zeros.
    fn parts_are_zero(&mut self, range: Range<u64>, changed: bool) -> Result<bool> {
        let mut at = range.start;
        while at < range.end {
            let change = self.plan.next_change(at).min(range.end);
            let end = self.plan.change_end(change).min(range.end).max(change);
            let part = if changed { change..end } else { at..change };
            if !self.are_zero(part)? {
                return Ok(false);
            }
            at = end;
        }
        Ok(true)
    }

    fn are_zero(&self, range: Range<u64>) -> Result<bool> {
        // Read only a few bytes at a time, because the first bytes are decisive in most cases.
        let mut ahead = [0; 4096];
        let mut at = range.start;
        while at < range.end {
            let known = (self.from..self.read_to()).contains(&at);
            let to = if known {
                range.end.min(self.read_to())
            } else {
                range.end.min(at + ahead.len() as u64)
            };
            let bytes = if known {
                &self.bytes[self.index(at)..self.index(to)]
            } else {
                let space = &mut ahead[..usize::try_from(to - at).unwrap_or(0)];
                (self.plan.read)(at, space)?;
                space
            };
            if !is_zero(bytes) {
                return Ok(false);
            }
            at = to;
        }
        Ok(true)
    }

    fn old_at(&mut self, offset: u64) -> Result<Option<(u64, Extent)>> {
        self.old.as_mut().map_or(Ok(None), |old| old.at(offset))
    }

    /// Returns the old chunk that overlaps most with a new one.
    fn base_of(&mut self, at: u64, len: u64) -> Result<Option<Id>> {
        let mut chunks = Vec::new();
        let mut next = at;
        while self.plan.bases
            && next < at + len
            && let Some((start, extent)) = self.old_at(next)?
        {
            chunks.extend(extent.chunk.map(|id| (start, extent.len, id)));
            next = start + extent.len;
        }
        Ok(replaced(&chunks, at, len))
    }

    /// Returns the index in `bytes` of an offset.
    fn index(&self, at: u64) -> usize {
        self.origin + usize::try_from(at.saturating_sub(self.from)).unwrap_or(usize::MAX / 2)
    }

    /// Returns the offset up to which the file is in memory.
    fn read_to(&self) -> u64 {
        self.from + (self.bytes.len() - self.origin) as u64
    }

    /// Continues at `at`, without the bytes in between.
    fn seek(&mut self, at: u64) {
        if !(self.from..=self.read_to()).contains(&at) {
            (self.origin, self.from) = (self.bytes.len(), at);
        }
    }

    /// Reads up to `to`, and further within a change, because these bytes will be needed.
    fn fill(&mut self, to: u64) -> Result<()> {
        let have = self.read_to();
        if to <= have {
            return Ok(());
        }
        let space = self.plan.step.saturating_sub(self.bytes.len()) as u64;
        let to = to.max(
            self.plan
                .change_end(have)
                .min(self.plan.size)
                .min(have + space),
        );
        let held = self.bytes.len();
        self.bytes
            .resize(held + usize::try_from(to - have).unwrap_or(0), 0);
        (self.plan.read)(have, &mut self.bytes[held..])
    }
}
