//! Cutting a stretch of a changed file: from a cut of the new content on, keeping old extents wherever it may.
//!
//! A step depends only on where it begins and on the file, so it may be taken before it is known whether the new
//! content is cut there; what it gives is right if it is.

// What a cut rests on, and so when an old extent may be kept:
//
// - Blocks of 64 KiB, aligned, the last one shorter, are holes if they are all zeros. Runs of other blocks lie between
//   them; each is cut from its start on. So, given a cut in a run, all cuts after it rest on the bytes after it alone,
//   and on where the run ends.
// - A chunk rests on its own bytes, on the byte after it (the hash that ends it takes that one in), and, since the hash
//   is looked at for two bytes at a time, on there being one more after that: `LOOK`. One of the greatest length rests
//   on its own bytes, a piece of fixed length on there being that many bytes before the run ends.
// - A chunk that ends where its run does rests on the run's end: on the block after it being a hole, or on the file
//   ending there. Both are changes at the first byte after it, so they are seen by the same `LOOK`.
// - A block that became a hole or stopped being one is changed from its first byte on, however few bytes were written.
//   A block holds what it held if nothing in it changed, so only blocks with changes are looked at: first at what
//   changed, and at the rest only if that is all zeros and the block was no hole.
// - The end of the file, if it moved, is a change at the lower of both ends. If it lies inside a block, that block is
//   looked at as well: what is left of it may be all zeros.
// - Old and new cuts agree at a place where both have one inside of a run, or at a block's edge in a hole of both. From
//   there on old extents are kept up to the first that a change reaches by these rules; a hole is kept up to the last
//   edge of a block before it.
// - Most often a chunk is cut where the old one was. Where that began at the same cut and its last `MEMORY` bytes and
//   what it rests on after them did not change, it ends where it did or earlier, so what follows it need not be read.

use std::collections::HashMap;
use std::ops::Range;

use crate::codec::cut::{BLOCK, CHUNK_MAX, ChunkerConfig, next_chunk};
use crate::codec::zero::is_zero;
use crate::error::Result;
use crate::model::entry::{Chunker, Extent};
use crate::model::id::Id;
use crate::snapshot::content::large::replaced;
use crate::snapshot::rechunk::old::OldMap;

/// A step ends when it has given so many parts.
const PARTS_MAX: usize = 4096;
/// How many bytes after a chunk, at most, decide where it ends.
const LOOK: u64 = 2;
/// How many bytes before a cut by content, at most, decide that it is one.
const MEMORY: u64 = 64;
const BLOCK_LEN: u64 = BLOCK as u64;

/// Reads the file as it is now.
pub(super) type Read<'c> = &'c (dyn Fn(u64, &mut [u8]) -> Result<()> + Sync);
/// Where data may be.
pub(super) type Data<'c> = &'c (dyn Fn(u64) -> u64 + Sync);

/// What is to be cut.
pub(super) struct Plan<'c> {
    pub(super) cutting: &'c ChunkerConfig,
    pub(super) chunker: Chunker,
    /// What differs from the old content, sorted, apart from each other; the last one may reach beyond the end.
    pub(super) changes: Vec<Range<u64>>,
    pub(super) size: u64,
    pub(super) read: Read<'c>,
    pub(super) data: Option<Data<'c>>,
    /// Whether new chunks are to know which old ones they take the place of.
    pub(super) bases: bool,
    /// A step ends when it has cut so many bytes.
    pub(super) step: usize,
}

/// A part of the new content, each where the one before ends.
#[derive(Debug)]
pub(super) enum Part {
    /// The old extents of this stretch.
    Kept(Range<u64>),
    /// So many zeros.
    Hole(u64),
    /// A range of the step's bytes, and the old chunk that it takes the place of.
    Chunk(Range<usize>, Option<Id>),
}

/// The new content from `start` to `end`.
pub(super) struct Step {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) parts: Vec<Part>,
    pub(super) bytes: Vec<u8>,
    /// What was read already from `end` on.
    pub(super) rest: Vec<u8>,
}

fn block_of(at: u64) -> u64 {
    at - at % BLOCK_LEN
}

impl Plan<'_> {
    /// The first change at or after `at`.
    pub(super) fn next_change(&self, at: u64) -> u64 {
        let i = self.changes.partition_point(|c| c.end <= at);
        self.changes.get(i).map_or(u64::MAX, |c| c.start.max(at))
    }

    /// Where the change that holds `at` ends; `at` if there is none.
    fn change_end(&self, at: u64) -> u64 {
        let i = self.changes.partition_point(|c| c.end <= at);
        self.changes.get(i).filter(|c| c.start <= at).map_or(at, |c| c.end)
    }

    /// No chunk is longer.
    fn longest(&self) -> u64 {
        match self.chunker {
            Chunker::Fixed(size) => u64::from(size).clamp(1, CHUNK_MAX as u64),
            Chunker::Cdc => self.cutting.content[2] as u64,
        }
    }

    /// How many bytes after a chunk of this length decide where it ends.
    fn look(&self, len: u64) -> u64 {
        match self.chunker {
            _ if len == self.longest() => 0,
            Chunker::Fixed(_) => 1,
            Chunker::Cdc => LOOK,
        }
    }

    /// Whether a chunk of `len` bytes ends there whatever follows the `window` that it was cut from.
    fn settled(&self, len: usize, window: usize) -> bool {
        match self.chunker {
            Chunker::Fixed(_) => len as u64 == self.longest(),
            Chunker::Cdc => len as u64 + LOOK <= window as u64,
        }
    }

    /// The step from `start`, which ends before the first kept stretch that reaches to the change `stop` or beyond;
    /// `rest` is what was read already, `bytes` an empty buffer.
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

    /// The step of the changes from `change` up to `stop`, if the cuts before it agree; `None` where nothing can be
    /// guessed.
    pub(super) fn guess(&self, old: &mut OldMap<'_>, change: u64, stop: u64, bytes: Vec<u8>) -> Result<Option<Step>> {
        let mut cutter = Cutter::new(self, Some(old), 0, bytes);
        let affected = cutter.affected(block_of(change))?;
        let before = affected.saturating_sub(1 + LOOK);
        let Some((start, extent)) = cutter.old_at(before)? else { return Ok(None) };
        let agreed = if extent.chunk.is_some() { start } else { block_of(before).max(start) };
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
    /// The bytes from this index on are those of the file from `from` on.
    origin: usize,
    from: u64,
    /// Which changed blocks are holes now.
    holes: HashMap<u64, bool>,
}

impl<'p, 'c, 'o, 'a> Cutter<'p, 'c, 'o, 'a> {
    fn new(plan: &'p Plan<'c>, old: Option<&'o mut OldMap<'a>>, from: u64, bytes: Vec<u8>) -> Self {
        Self { plan, old, parts: Vec::new(), bytes, origin: 0, from, holes: HashMap::new() }
    }

    fn run(mut self, start: u64, stop: u64) -> Result<Step> {
        let size = self.plan.size;
        let mut at = start;
        loop {
            let kept = self.keep_from(at)?;
            if kept > at {
                self.parts.push(Part::Kept(at..kept));
                at = kept;
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
        let rest =
            if at < self.read_to() && at >= self.from { self.bytes[self.index(at)..].to_vec() } else { Vec::new() };
        Ok(Step { start, end: at, parts: self.parts, bytes: self.bytes, rest })
    }

    /// Cuts one hole or chunk at `at`, where the new content has a cut; returns its length.
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

    /// The length of the hole that is known to begin at the edge of a block.
    fn hole_at(&mut self, at: u64) -> Result<u64> {
        let size = self.plan.size;
        if let Some(data) = self.plan.data {
            let zero_to = self.plan.change_end(at).min(size);
            let zero_to = if zero_to > at { data(at).min(zero_to) } else { at };
            let zero_to = if zero_to == size { size } else { block_of(zero_to) };
            if zero_to > at {
                return Ok(zero_to - at);
            }
        }
        Ok(if self.is_hole(at)? { BLOCK_LEN.min(size - at) } else { 0 })
    }

    /// The length of the chunk at `at`, a cut inside of a run; its bytes are then in memory.
    fn chunk_at(&mut self, at: u64) -> Result<usize> {
        let plan = self.plan;
        let most = plan.longest().min(plan.size - at);
        let (mut want, mut sure) = (most, false);
        if plan.chunker == Chunker::Cdc
            && let Some((start, Extent { len, chunk: Some(_) })) = self.old_at(at)?
        {
            let end = start + len;
            let tail = end.saturating_sub(MEMORY).max(at);
            sure = start == at && end <= at + most && self.affected(tail)? >= end + plan.look(len);
            want = if sure { len } else { (end + LOOK - at).max(plan.cutting.content[1] as u64) };
        }
        loop {
            want = want.min(most);
            let run_end = self.run_end(at, at + want)?;
            self.fill(run_end)?;
            let window = &self.bytes[self.index(at)..self.index(run_end)];
            let len = next_chunk(plan.cutting, plan.chunker, window, true).unwrap_or(window.len());
            let complete = sure || want == most || run_end < at + want;
            if complete || plan.settled(len, window.len()) {
                return Ok(len);
            }
            want += BLOCK_LEN;
        }
    }

    /// Where the run of `from`, which is inside of one, ends, or `to` if it goes on there.
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

    /// How far the old extents can be kept from `at`, a cut of the new content; `at` if not at all.
    fn keep_from(&mut self, at: u64) -> Result<u64> {
        let size = self.plan.size;
        if self.old.is_none() || at >= size {
            return Ok(at);
        }
        let change = self.affected(at)?;
        let (mut at, mut jumped) = (at, false);
        while at < size {
            let Some((start, extent)) = self.old_at(at)? else { break };
            let end = start + extent.len;
            if extent.chunk.is_some() {
                if start != at || end.saturating_add(self.plan.look(extent.len)) > change {
                    break;
                }
                at = end;
            } else {
                // The last block of the file may be shorter, but not if the file goes on.
                let whole = end <= change && (end.is_multiple_of(BLOCK_LEN) || end == size);
                let to = if whole { end } else { block_of(end.min(change)) };
                if !at.is_multiple_of(BLOCK_LEN) || to <= at {
                    break;
                }
                at = to;
                if to < end {
                    break;
                }
            }
            if !jumped {
                // All that ends well before the change is kept, so it need not be looked at.
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

    /// The first byte at or after `at` that changed, or belongs to a block that became a hole or stopped being one.
    fn affected(&mut self, at: u64) -> Result<u64> {
        let change = self.plan.next_change(at);
        let block = block_of(change);
        if block >= self.plan.size || self.is_hole(block)? == self.was_hole(block)? {
            return Ok(change);
        }
        Ok(block.max(at))
    }

    fn was_hole(&mut self, block: u64) -> Result<bool> {
        Ok(self.old_at(block)?.is_some_and(|(_, extent)| extent.chunk.is_none()))
    }

    /// Whether the block that begins at `block` is all zeros now.
    fn is_hole(&mut self, block: u64) -> Result<bool> {
        let plan = self.plan;
        if plan.next_change(block) >= block + BLOCK_LEN {
            return self.was_hole(block);
        }
        if let Some(known) = self.holes.get(&block) {
            return Ok(*known);
        }
        let end = plan.size.min(block + BLOCK_LEN);
        let fresh = plan.change_end(block) >= end;
        let hole = if fresh && plan.data.is_some_and(|data| data(block) >= end) {
            true
        } else {
            if fresh && self.read_to() >= block {
                self.fill(end)?;
            }
            self.parts_are_zero(block..end, true)?
                && (fresh || self.was_hole(block)? || self.parts_are_zero(block..end, false)?)
        };
        self.holes.insert(block, hole);
        Ok(hole)
    }

    /// Whether the changed parts of a stretch, or the others, are all zeros.
    fn parts_are_zero(&mut self, stretch: Range<u64>, changed: bool) -> Result<bool> {
        let mut at = stretch.start;
        while at < stretch.end {
            let change = self.plan.next_change(at).min(stretch.end);
            let end = self.plan.change_end(change).min(stretch.end).max(change);
            let part = if changed { change..end } else { at..change };
            if !self.are_zero(part)? {
                return Ok(false);
            }
            at = end;
        }
        Ok(true)
    }

    fn are_zero(&self, stretch: Range<u64>) -> Result<bool> {
        // Most often the first bytes tell.
        let mut ahead = [0; 4096];
        let mut at = stretch.start;
        while at < stretch.end {
            let known = (self.from..self.read_to()).contains(&at);
            let to = if known { stretch.end.min(self.read_to()) } else { stretch.end.min(at + ahead.len() as u64) };
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

    /// The old chunk that most of a new one was.
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

    /// The index of an offset that is in memory.
    fn index(&self, at: u64) -> usize {
        self.origin + usize::try_from(at.saturating_sub(self.from)).unwrap_or(usize::MAX / 2)
    }

    /// How far the file is in memory from `from` on.
    fn read_to(&self) -> u64 {
        self.from + (self.bytes.len() - self.origin) as u64
    }

    /// Goes on at `at`.
    fn seek(&mut self, at: u64) {
        if !(self.from..=self.read_to()).contains(&at) {
            (self.origin, self.from) = (self.bytes.len(), at);
        }
    }

    /// Reads up to `to`, and on through what changed, since it will be needed.
    fn fill(&mut self, to: u64) -> Result<()> {
        let have = self.read_to();
        if to <= have {
            return Ok(());
        }
        let room = self.plan.step.saturating_sub(self.bytes.len()) as u64;
        let to = to.max(self.plan.change_end(have).min(self.plan.size).min(have + room));
        let held = self.bytes.len();
        self.bytes.resize(held + usize::try_from(to - have).unwrap_or(0), 0);
        (self.plan.read)(have, &mut self.bytes[held..])
    }
}
