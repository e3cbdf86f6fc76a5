//! Stores chunks: as a delta if that is smaller, in a frame of its own, or in a frame with other
//! small chunks.
//!
//! Each thread collects small chunks; [`flush_small`] stores those that the calling thread still
//! has.

use super::frame::{Class, Gather, Packer};
use super::large::OldFile;
use super::list::ListBuilder;
use crate::codec::chunk::{Piece, cut};
use crate::error::Result;
use crate::format::object::encode_links;
use crate::model::entry::{Chunker, Content, Extent};
use crate::model::id::{Id, ObjectKind};
use crate::model::tree::LinkTable;
use crate::snapshot::output::Output;

/// Files up to this size in bytes are stored in the tree object of their directory.
pub const INLINE_MAX: u64 = 256;
/// Minimum length of a chunk for a delta; for a shorter chunk, the delta saves less than its index
/// row costs.
const DELTA_MIN: usize = 1024;

thread_local! {
    static SMALL: std::cell::RefCell<Gather> = std::cell::RefCell::new(Gather::new(ObjectKind::Chunk));
}

/// Stores bytes as the content of a file.
pub fn store_bytes(
    out: &Output<'_>,
    bytes: &[u8],
    chunker: Chunker,
    old: Option<&OldFile>,
) -> Result<Content> {
    if bytes.len() as u64 <= INLINE_MAX {
        return Ok(Content::Inline(bytes.to_vec()));
    }
    let mut pieces = Vec::new();
    cut(out.repo().chunker(), chunker, bytes, 0, true, &mut pieces);
    let mut list = ListBuilder::default();
    let mut at = 0u64;
    for piece in pieces {
        let extent = store_piece(out, bytes, piece, chunker, old, at)?;
        at += extent.len;
        list.push(extent, out)?;
    }
    list.finish(out)
}

pub(in crate::snapshot) fn store_piece(
    out: &Output<'_>,
    buffer: &[u8],
    piece: Piece,
    chunker: Chunker,
    old: Option<&OldFile>,
    at: u64,
) -> Result<Extent> {
    Ok(match piece {
        Piece::Hole(len) => Extent { len, chunk: None },
        Piece::Chunk(range) => {
            let chunk = &buffer[range];
            let id = out.repo().ids().id(ObjectKind::Chunk, chunk);
            if out.claim_chunk(&id, chunk.len())? {
                store_chunk(out, id, chunk, chunker, old, at)?;
            }
            Extent {
                len: chunk.len() as u64,
                chunk: Some(id),
            }
        }
    })
}

fn store_chunk(
    out: &Output<'_>,
    id: Id,
    chunk: &[u8],
    chunker: Chunker,
    old: Option<&OldFile>,
    at: u64,
) -> Result<()> {
    // If the old version is unreadable, the chunk is stored whole.
    let base = old
        .filter(|_| out.sink().is_some() && chunk.len() >= DELTA_MIN)
        .and_then(|old| {
            let (_, mut extents) = out
                .repo()
                // A chunk after the old end has the last old chunk as its base.
                .extents_at(&old.content, at.min(old.size.saturating_sub(1)))
                .ok()?;
            extents.next()?.ok()?.chunk
        });
    store_claimed(out, id, chunk, chunker, base)
}

/// Stores a claimed chunk, as a delta against `base` if that is clearly smaller. Otherwise, a page
/// gets its own frame, and any other chunk is stored with the chunks that this thread collects.
pub(in crate::snapshot) fn store_claimed(
    out: &Output<'_>,
    id: Id,
    chunk: &[u8],
    chunker: Chunker,
    base: Option<Id>,
) -> Result<()> {
    let Some(sink) = out.sink() else {
        return Ok(());
    };
    if let Some(base) = base.filter(|_| chunk.len() >= DELTA_MIN)
        && Packer::with(|p| p.delta(sink, out.repo(), &base, id, chunk))?
    {
        return Ok(());
    }
    if matches!(chunker, Chunker::Fixed(_)) {
        let len = u32::try_from(chunk.len()).unwrap_or(u32::MAX);
        return Packer::with(|p| p.whole(sink, Class::Pages, chunk, &[(id, len)]));
    }
    let full = SMALL.with_borrow_mut(|g| g.add(id, chunk));
    full.map_or(Ok(()), |full| {
        Packer::with(|p| p.chunks(sink, Class::Plain, &full))
    })
}

/// Stores the chunks that this thread has collected, for callers that store bytes outside of a
/// walk.
pub fn flush_small(out: &Output<'_>) -> Result<()> {
    let rest = SMALL.with_borrow_mut(Gather::take);
    out.sink().map_or(Ok(()), |sink| {
        Packer::with(|p| p.chunks(sink, Class::Plain, &rest))
    })
}

/// Stores the table of hard links like the content of a file.
pub fn store_links(out: &Output<'_>, table: &LinkTable) -> Result<Content> {
    let content = store_bytes(out, &encode_links(table), Chunker::Cdc, None)?;
    flush_small(out)?;
    Ok(content)
}
