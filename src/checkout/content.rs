//! The content of a file as pieces at offsets, and how pieces are written.
//!
//! Adjacent chunks are written in one call, because the file system then takes one lock and can use
//! larger pages. Holes are skipped in a new file and punched in an existing one.

use std::io::IoSlice;
use std::os::fd::BorrowedFd;

use rustix::fs::FallocateFlags;
use rustix::io::Errno;

use super::source::Source;
use crate::error::{Error, Result};
use crate::model::entry::Content;
use crate::model::id::Id;
use crate::sys::uncached::IoMode;

/// Limit on the bytes that are written in one call.
const GATHER_BYTES: usize = 1 << 20;

/// A part of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// Offset in bytes.
    pub(super) offset: u64,
    /// Length in bytes.
    pub(super) len: u64,
    /// The chunk; `None` is a hole.
    pub(super) chunk: Option<Id>,
}

/// Pieces of a file in order; pieces that need not be written may be absent.
pub(super) type Pieces<'a> = Box<dyn Iterator<Item = Result<Piece>> + Send + 'a>;

/// Returns all pieces of a file. If their lengths do not add up to `size`, the iterator ends with
/// the error `broken`. Inline content has no pieces.
pub(super) fn pieces<'a>(
    source: &'a dyn Source,
    content: &Content,
    size: u64,
    broken: impl Fn() -> Error + Send + 'a,
) -> Pieces<'a> {
    let mut extents = source.extents(content);
    let mut offset = if let Content::Inline(bytes) = content {
        bytes.len() as u64
    } else {
        0
    };
    let mut over = false;
    Box::new(std::iter::from_fn(move || {
        if over {
            return None;
        }
        match extents.next() {
            // Check before anything is written, because a forged version could otherwise fill the
            // disk.
            Some(Ok(extent)) => match offset.checked_add(extent.len).filter(|end| *end <= size) {
                Some(end) => {
                    let piece = Piece {
                        offset,
                        len: extent.len,
                        chunk: extent.chunk,
                    };
                    offset = end;
                    return Some(Ok(piece));
                }
                None => {
                    over = true;
                    return Some(Err(broken()));
                }
            },
            Some(Err(e)) => {
                over = true;
                return Some(Err(e));
            }
            None => over = true,
        }
        (offset != size).then(|| Err(broken()))
    }))
}

/// The error for a piece that could not be written.
pub(super) enum WriteError {
    /// The file system returned an error.
    Target(Errno),
    /// The version could not be read.
    Source(Error),
}

/// Writes pieces in order. `holes` means that the file existed before, so holes must be punched. A
/// new file has them already.
pub(super) fn write_pieces(
    source: &dyn Source,
    fd: BorrowedFd<'_>,
    mut once: IoMode,
    pieces: &[Piece],
    holes: bool,
) -> Result<(), WriteError> {
    let mut at = 0;
    while let Some(first) = pieces.get(at) {
        let Some(id) = &first.chunk else {
            if holes {
                punch(fd, first.offset, first.len).map_err(WriteError::Target)?;
            }
            at += 1;
            continue;
        };
        let mut run = vec![source.chunk(id, first.len).map_err(WriteError::Source)?];
        let mut bytes = run.iter().map(|p| p.len()).sum::<usize>();
        let mut end = first.offset + first.len;
        at += 1;
        while let Some(next) = pieces.get(at)
            && let Some(id) = &next.chunk
            // In a patch, pieces that did not change are absent.
            && next.offset == end
            && bytes < GATHER_BYTES
        {
            let plain = source.chunk(id, next.len).map_err(WriteError::Source)?;
            bytes += plain.len();
            end += next.len;
            run.push(plain);
            at += 1;
        }
        let mut slices: Vec<IoSlice<'_>> = run.iter().map(|p| IoSlice::new(p)).collect();
        once.write_at(fd, &mut slices, first.offset)
            .map_err(WriteError::Target)?;
    }
    Ok(())
}

/// Writes all of `bytes` at an offset.
pub(super) fn write_at(fd: BorrowedFd<'_>, bytes: &[u8], offset: u64) -> Result<(), Errno> {
    IoMode::cached().write_at(fd, &mut [IoSlice::new(bytes)], offset)
}

/// Punches a hole, or writes zeros if the file system does not support holes.
fn punch(fd: BorrowedFd<'_>, offset: u64, len: u64) -> Result<(), Errno> {
    // fallocate(2) accepts `PUNCH_HOLE` only together with `KEEP_SIZE`.
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    match rustix::io::retry_on_intr(|| rustix::fs::fallocate(fd, flags, offset, len)) {
        Err(Errno::NOTSUP | Errno::NOSYS) => {
            // A hole may be terabytes long, so the zeros are written in parts.
            let zeros = vec![0u8; usize::try_from(len.min(1 << 20)).unwrap_or(1 << 20)];
            let mut done = 0;
            while done < len {
                let now = zeros
                    .len()
                    .min(usize::try_from(len - done).unwrap_or(usize::MAX));
                write_at(fd, zeros.get(..now).unwrap_or_default(), offset + done)?;
                done += now as u64;
            }
            Ok(())
        }
        other => other,
    }
}
