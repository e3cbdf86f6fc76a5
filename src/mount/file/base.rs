//! The part of a file of a mount that comes from the version.

use std::ops::Range;
use std::sync::Arc;

use crate::model::entry::{Chunker, Content};
use crate::model::id::Id;

/// The file of a version that a file of a mount is based on.
#[derive(Debug, PartialEq, Eq)]
pub struct BaseFile {
    /// The bytes of the file.
    pub content: Content,
    /// Length of the file in bytes.
    pub size: u64,
    /// The chunker that produced the content.
    pub chunker: Chunker,
}

/// A range of a base file.
pub struct BaseRange {
    /// The base file.
    pub base: Arc<BaseFile>,
    /// A range of bytes of the base file.
    pub range: Range<u64>,
}

/// Allocated bytes of a file, that is, bytes that are not holes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AllocatedBytes {
    /// The number of bytes is known.
    Bytes(u64),
    /// The number depends on a chunk list, which has to be read first.
    List {
        /// The chunk list of the version's file.
        list: Id,
        /// Upper bound for the bytes of the list, because the mount may have truncated the file.
        limit: u64,
        /// Bytes of the list that are in the upper file instead.
        replaced: u64,
        /// Allocated bytes of the upper file.
        upper: u64,
    },
}

impl AllocatedBytes {
    /// Counts the first `kept` bytes of a content, of which `replaced` are in the upper file
    /// instead, plus `upper` bytes of the upper file.
    pub fn of(content: &Content, kept: u64, replaced: u64, upper: u64) -> Self {
        match content {
            Content::Inline(_) => Self::Bytes(kept.saturating_sub(replaced) + upper),
            Content::Direct(extents) => {
                let data: u64 = extents
                    .iter()
                    .filter(|x| x.chunk.is_some())
                    .map(|x| x.len)
                    .sum();
                Self::Bytes(data.min(kept).saturating_sub(replaced) + upper)
            }
            Content::List(list) => Self::List {
                list: *list,
                limit: kept,
                replaced,
                upper,
            },
        }
    }

    /// Computes the number of bytes from `data`, the allocated bytes of the chunk list.
    pub fn resolved(self, data: u64) -> Self {
        match self {
            Self::List {
                limit,
                replaced,
                upper,
                ..
            } => Self::Bytes(data.min(limit).saturating_sub(replaced) + upper),
            known => known,
        }
    }
}

/// How much of an upper file is only a copy of the version.
#[derive(Debug)]
pub enum SpareCopies {
    /// Nothing, or too little to be worth freeing.
    Nothing,
    /// Some blocks.
    Blocks,
    /// The complete file, which is equal to this base.
    All(Arc<BaseFile>),
}
