//! What a file of a mount is made of: the version's file, and what of it the upper file holds.

use std::fs::File;
use std::ops::Range;
use std::sync::Arc;

use super::frozen::Frozen;
use super::ranges::Ranges;
use super::sums::Sums;
use crate::model::entry::{Chunker, Content};

/// What is noted of writes is noted in blocks of so many bytes.
pub const BLOCK: u64 = 4096;
/// The file of a version that a file of a mount is made of.
#[derive(Debug, PartialEq, Eq)]
pub struct Base {
    /// Its bytes.
    pub content: Content,
    /// Their number.
    pub size: u64,
    /// How it was cut.
    pub chunker: Chunker,
}

/// Written blocks of a file that the store has to note.
#[derive(Debug, Default)]
pub struct Blocks {
    /// The blocks.
    pub ranges: Vec<Range<u64>>,
    /// Whether they are all.
    pub anew: bool,
}

/// What the store keeps of a file, its blocks not counted.
pub struct Facts {
    /// The version's file.
    pub base: Option<Arc<Base>>,
    /// Bytes of it that still count.
    pub kept: u64,
    /// Length now.
    pub size: u64,
    /// Whether there is an upper file.
    pub has_upper: bool,
    /// Whether it differs from the last commit.
    pub changed: bool,
    /// Whether all bytes are in the upper file, durably.
    pub complete: bool,
}

/// What a file is made of.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// The version's file; `None`: all is in the upper file.
    pub base: Option<Arc<Base>>,
    /// Bytes of it that still count.
    pub kept: u64,
    /// Length now.
    pub size: u64,
    /// Blocks below `kept` that the upper file holds.
    pub local: Ranges,
    /// Those of them that were written.
    pub dirty: Ranges,
    /// Written blocks that the store knows, or that are in `fresh`.
    pub(super) noted: Ranges,
    /// Those that it does not know yet.
    pub(super) fresh: Vec<Range<u64>>,
    /// What it knows of others is old.
    pub(super) anew: bool,
    /// What of the file went into the upper file or away since the last version.
    pub changed: bool,
    /// The upper file, while it is open.
    pub(super) upper: Option<Arc<File>>,
    /// Whether there is one.
    pub has_upper: bool,
    /// What of it was counted.
    pub(super) counted: u64,
    /// The file as a version takes it that is being made.
    pub(super) frozen: Option<Arc<Frozen>>,
    /// Checksums of the upper file's blocks. A frozen state shares them: a block of it that changes is saved before.
    pub(super) sums: Arc<Sums>,
    /// Why the upper file cannot be used, if it is damaged as a whole.
    pub(super) lost: Option<Arc<str>>,
}

impl State {
    /// An untouched file.
    pub fn of(base: Arc<Base>) -> Self {
        Self { kept: base.size, size: base.size, base: Some(base), ..Self::default() }
    }

    /// A file as it was put down: with what was written of it.
    pub fn with_upper(base: Option<Arc<Base>>, kept: u64, size: u64, dirty: Ranges, changed: bool) -> Self {
        Self {
            base,
            kept,
            size,
            local: dirty.clone(),
            noted: dirty.clone(),
            dirty,
            changed,
            has_upper: true,
            ..Self::default()
        }
    }

    /// Bytes that the upper file holds although the version has them.
    pub(super) fn spare_bytes(&self) -> u64 {
        self.local.total().saturating_sub(self.dirty.total()) * BLOCK
    }

    /// A file as it was put down, with all of it in the upper file.
    pub fn with_all(self) -> Self {
        let mut local = Ranges::default();
        local.insert(0..self.kept.div_ceil(BLOCK));
        Self { local, ..self }
    }

    /// A new, empty file.
    pub fn empty() -> Self {
        Self { changed: true, ..Self::default() }
    }

    /// Notes that the upper file holds what was written to the blocks of a range.
    pub(super) fn mark(&mut self, range: &Range<u64>) {
        let below = blocks(range);
        let below = below.start..below.end.min(self.kept.div_ceil(BLOCK));
        if !below.is_empty() {
            self.local.insert(below.clone());
            for new in self.dirty.insert(below) {
                // Where all is local, the store may take clean blocks for written ones, and needs not be told of each.
                let told = if self.is_complete() { self.around(&new) } else { new };
                self.fresh.extend(self.noted.insert(told));
            }
        }
    }

    /// The groups of blocks that a range of blocks touches.
    fn around(&self, range: &Range<u64>) -> Range<u64> {
        const GROUP: u64 = (1 << 20) / BLOCK;
        range.start - range.start % GROUP..(range.end.div_ceil(GROUP) * GROUP).min(self.kept.div_ceil(BLOCK))
    }

    /// The rest of the first and of the last block of a range, where the upper file does not hold it.
    pub(super) fn edges(&self, range: &Range<u64>) -> impl Iterator<Item = Range<u64>> + '_ {
        let first = range.start - range.start % BLOCK..range.start.min(self.kept);
        let last = range.end..(range.end.div_ceil(BLOCK) * BLOCK).min(self.kept);
        let lacks = |at: u64| !self.local.covers(&(at / BLOCK..at / BLOCK + 1));
        [first, last].into_iter().filter(move |r| r.start < r.end && lacks(r.start))
    }

    /// Whether all bytes are in the upper file, or there are none of a version.
    pub(super) fn is_complete(&self) -> bool {
        self.base.is_none() || self.has_upper && self.local.covers(&(0..self.kept.div_ceil(BLOCK)))
    }
}

/// The blocks that a range of bytes touches.
pub(super) fn blocks(range: &Range<u64>) -> Range<u64> {
    range.start / BLOCK..range.end.div_ceil(BLOCK)
}
