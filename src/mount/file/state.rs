//! The state of a file of a mount: the base file of the version, and the blocks that the upper file
//! holds.

use std::fs::File;
use std::ops::Range;
use std::sync::Arc;

use super::base::BaseFile;
use super::block::{BLOCK, blocks_of};
use super::checksums::BlockSums;
use super::ranges::RangeSet;

/// Written blocks that the overlay database has to record.
#[derive(Debug, Default)]
pub struct UnstoredBlocks {
    /// Ranges of block numbers.
    pub ranges: Vec<Range<u64>>,
    /// Set when `ranges` replaces all recorded blocks.
    pub replace: bool,
}

/// The facts about a file that the overlay database stores, without its blocks.
pub struct FileFacts {
    /// The base file.
    pub base: Option<Arc<BaseFile>>,
    /// Length of the prefix of the base file that is still part of the file, in bytes.
    pub kept: u64,
    /// Current length in bytes.
    pub size: u64,
    /// Whether there is an upper file.
    pub has_upper: bool,
    /// Whether the content differs from the last commit.
    pub changed: bool,
    /// Whether the upper file durably holds all bytes.
    pub complete: bool,
}

/// The state of an upper file.
pub struct UpperStatus {
    /// Whether there is an upper file.
    pub exists: bool,
    /// Why it is unusable, if it is damaged.
    pub damage: Option<String>,
}

/// The state of a file.
#[derive(Clone, Debug, Default)]
pub struct FileState {
    /// The base file, or `None` if all bytes are in the upper file.
    pub base: Option<Arc<BaseFile>>,
    /// Length of the prefix of the base file that is still part of the file, in bytes.
    pub kept: u64,
    /// Current length in bytes.
    pub size: u64,
    /// Blocks below `kept` that the upper file holds.
    pub local: RangeSet,
    /// Blocks in `local` that differ from the base.
    pub dirty: RangeSet,
    /// Dirty blocks that are in the overlay database or in `unstored`.
    pub(in crate::mount) stored: RangeSet,
    /// Dirty blocks that the overlay database does not have yet.
    pub(in crate::mount) unstored: Vec<Range<u64>>,
    /// Set when `unstored` replaces all blocks in the overlay database.
    pub(in crate::mount) rewrite_blocks: bool,
    /// Set when the content has changed since the last commit.
    pub changed: bool,
    /// The upper file, while it is open.
    pub(in crate::mount) upper: Option<Arc<File>>,
    /// Whether there is an upper file.
    pub has_upper: bool,
    /// Bytes of the upper file that are counted against the quota.
    pub(in crate::mount) counted_bytes: u64,
    /// Checksums of the upper file. A frozen state shares them, which is safe because a frozen
    /// block is saved before it changes.
    pub(in crate::mount) sums: Arc<BlockSums>,
    /// Why the upper file is unusable, if it is damaged.
    pub(in crate::mount) damage: Option<Arc<str>>,
}

impl FileState {
    /// Returns the state of an unchanged file.
    pub fn of(base: Arc<BaseFile>) -> Self {
        Self {
            kept: base.size,
            size: base.size,
            base: Some(base),
            ..Self::default()
        }
    }

    /// Returns the state of a file that an earlier mount has written to.
    pub fn with_upper(
        base: Option<Arc<BaseFile>>,
        kept: u64,
        size: u64,
        dirty: RangeSet,
        changed: bool,
    ) -> Self {
        Self {
            base,
            kept,
            size,
            // The overlay database does not record which blocks were copied from the version, so
            // only changed blocks are known to be in the upper file.
            local: dirty.clone(),
            stored: dirty.clone(),
            dirty,
            changed,
            has_upper: true,
            ..Self::default()
        }
    }

    /// Returns the number of bytes that both the upper file and the base have.
    pub(in crate::mount) fn spare_bytes(&self) -> u64 {
        self.local.total().saturating_sub(self.dirty.total()) * BLOCK
    }

    /// Marks all blocks of the base as held by the upper file.
    pub fn with_all_local(self) -> Self {
        let mut local = RangeSet::default();
        local.insert(0..self.kept.div_ceil(BLOCK));
        Self { local, ..self }
    }

    /// Returns the state of a new, empty file.
    pub fn empty() -> Self {
        Self {
            changed: true,
            ..Self::default()
        }
    }

    /// Marks the blocks of a range as written.
    pub(in crate::mount) fn mark_written(&mut self, range: &Range<u64>) {
        let below = blocks_of(range);
        let below = below.start..below.end.min(self.kept.div_ceil(BLOCK));
        if !below.is_empty() {
            self.local.insert(below.clone());
            for new in self.dirty.insert(below) {
                // If the upper file is complete, the overlay database may record unchanged blocks
                // as dirty, because the upper file holds their bytes as well. Recording groups of
                // blocks saves database writes.
                let recorded = if self.is_complete() {
                    self.group_around(&new)
                } else {
                    new
                };
                self.unstored.extend(self.stored.insert(recorded));
            }
        }
    }

    /// Extends a range of blocks to the boundaries of groups.
    fn group_around(&self, range: &Range<u64>) -> Range<u64> {
        const GROUP: u64 = (1 << 20) / BLOCK;
        range.start - range.start % GROUP
            ..(range.end.div_ceil(GROUP) * GROUP).min(self.kept.div_ceil(BLOCK))
    }

    /// Returns the parts of the first and of the last block outside of a range, unless the upper
    /// file holds the block.
    pub(in crate::mount) fn edges(
        &self,
        range: &Range<u64>,
    ) -> impl Iterator<Item = Range<u64>> + '_ {
        let first = range.start - range.start % BLOCK..range.start.min(self.kept);
        let last = range.end..(range.end.div_ceil(BLOCK) * BLOCK).min(self.kept);
        let lacks = |at: u64| !self.local.covers(&(at / BLOCK..at / BLOCK + 1));
        [first, last]
            .into_iter()
            .filter(move |r| r.start < r.end && lacks(r.start))
    }

    /// Returns whether no byte is missing from the upper file.
    pub(in crate::mount) fn is_complete(&self) -> bool {
        self.base.is_none() || self.has_upper && self.local.covers(&(0..self.kept.div_ceil(BLOCK)))
    }
}
