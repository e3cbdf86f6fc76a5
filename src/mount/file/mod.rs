//! The bytes of one file of a mount.

mod base;
mod bitmap;
mod block;
mod checked;
mod checksums;
mod data;
mod frozen;
mod ranges;
mod readahead;
mod seal;
mod sparse;
mod state;
mod upper_files;

pub use base::{AllocatedBytes, BaseFile, BaseRange, SpareCopies};
pub(super) use bitmap::{add_bitmap, bitmaps_of, union};
pub use block::BLOCK;
pub(super) use checksums::BlockSums;
pub use checksums::SumRow;
pub use data::FileData;
pub use frozen::FrozenFile;
pub use ranges::{RangeRun, RangeSet};
pub use seal::FileSeal;
pub use state::{FileFacts, FileState, UnstoredBlocks, UpperStatus};
pub use upper_files::{UPPER_DIR, UpperFile, UpperFiles};
