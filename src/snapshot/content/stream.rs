//! Files that come as a stream and not from a directory: cut where they are read, stored by any thread.
//!
//! In: a file's bytes in order, and where it has holes. Out: stretches to be stored, extents of each. The same file is cut
//! as a walk cuts it, so that its tree is the same.

use std::io;

use super::large::STEP;
use super::list::ListBuilder;
use super::store::{INLINE_MAX, flush_small, store_bytes, store_piece};
use crate::codec::cut::{BLOCK, CHUNK_MAX, ChunkerConfig};
use crate::codec::sniff;
use crate::error::{Failure, Kind, Result};
use crate::model::entry::{Chunker, Content, Extent, Node};
use crate::observe::Observer;
use crate::snapshot::chunk::{Piece, cut};
use crate::snapshot::output::Output;
use crate::work::Cancelled;

/// A file that is being read, in order.
pub trait Bytes {
    /// The next bytes; 0 at the end of the file.
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize>;
    /// How many zeros come next that need not be read.
    fn hole(&self) -> u64;
    /// Goes over some of them.
    fn skip_hole(&mut self, len: u64);
}

/// Chunks and holes of one stretch of a file.
pub struct Stretch {
    buffer: Vec<u8>,
    pieces: Vec<Piece>,
    chunker: Chunker,
}

impl Stretch {
    /// Stores what is new of it.
    pub fn store(self, out: &Output<'_>) -> Result<Vec<Extent>> {
        let Self { buffer, pieces, chunker } = self;
        pieces.into_iter().map(|piece| store_piece(out, &buffer, piece, chunker, None, 0)).collect()
    }

    /// Its length in bytes, holes counted.
    pub fn len(&self) -> u64 {
        let len = |piece: &Piece| match piece {
            Piece::Chunk(range) => range.len() as u64,
            Piece::Hole(len) => *len,
        };
        self.pieces.iter().map(len).sum()
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }
}

/// Cuts a file of `size` bytes and hands its stretches over in order. Returns how it was cut.
pub fn cut_file(
    cutting: &ChunkerConfig,
    size: u64,
    bytes: &mut dyn Bytes,
    give: &mut dyn FnMut(Stretch) -> Result<()>,
) -> Result<Chunker> {
    let mut buffer = vec![0u8; STEP + CHUNK_MAX];
    let (mut held, mut at) = (0, 0u64);
    let mut chosen = None;
    loop {
        let mut pieces = Vec::new();
        if held == 0 && chosen.is_some() && at.is_multiple_of(BLOCK as u64) {
            // Whole blocks of a hole are as good as read.
            let hole = bytes.hole().min(size - at);
            let hole = if at + hole == size { hole } else { hole - hole % BLOCK as u64 };
            if hole > 0 {
                bytes.skip_hole(hole);
                at += hole;
                pieces.push(Piece::Hole(hole));
            }
        }
        let offset = at - held as u64;
        let want = (STEP as u64 - at % BLOCK as u64).min(size - at);
        let end = held + usize::try_from(want).unwrap_or(STEP);
        while held < end {
            match bytes.read(&mut buffer[held..end])? {
                0 => break,
                n => {
                    held += n;
                    at += n as u64;
                }
            }
        }
        let last = at == size || held < end;
        let head = &buffer[..held.min(sniff::HEAD)];
        let chunker = *chosen.get_or_insert_with(|| cutting.choose(head, size));
        let used = cut(cutting, chunker, &buffer[..held], offset, last, &mut pieces);
        if !pieces.is_empty() {
            let mut next = vec![0u8; STEP + CHUNK_MAX];
            next[..held - used].copy_from_slice(&buffer[used..held]);
            let mut done = std::mem::replace(&mut buffer, next);
            done.truncate(used);
            held -= used;
            give(Stretch { buffer: done, pieces, chunker })?;
        }
        if last {
            return Ok(chunker);
        }
    }
}

/// Puts the extents of a file together.
#[derive(Default)]
pub struct Gathered(ListBuilder);

impl Gathered {
    /// The next ones.
    pub fn push(&mut self, extents: Vec<Extent>, out: &Output<'_>) -> Result<()> {
        extents.into_iter().try_for_each(|extent| self.0.push(extent, out))
    }

    /// The whole file.
    pub fn finish(self, size: u64, chunker: Chunker, out: &Output<'_>) -> Result<Node> {
        let content = if size == 0 { Content::Inline(Vec::new()) } else { self.0.finish(out)? };
        Ok(Node::File { size, chunker, content })
    }
}

/// Stores a file that is in memory.
pub fn store_file(out: &Output<'_>, bytes: &[u8]) -> Result<Node> {
    let size = bytes.len() as u64;
    let chunker = if size > INLINE_MAX {
        out.repo().chunker().choose(&bytes[..bytes.len().min(sniff::HEAD)], size)
    } else {
        Chunker::Cdc
    };
    let content = store_bytes(out, bytes, chunker, None)?;
    Ok(Node::File { size, chunker, content })
}

/// Stores a stream as a file's content: its length in bytes, how it was cut, what it holds.
pub fn store_stream(
    out: &Output<'_>,
    observer: &dyn Observer,
    input: &mut dyn io::Read,
) -> Result<(u64, Chunker, Content)> {
    let mut buffer = vec![0u8; STEP + CHUNK_MAX];
    let (mut held, mut offset) = (0, 0u64);
    let mut chunker = None;
    let mut list = ListBuilder::default();
    loop {
        // Up to a multiple of the block size in the stream, so that holes are seen as in a file.
        let start = usize::try_from((offset + held as u64) % BLOCK as u64).unwrap_or(0);
        let mut want = STEP - start;
        while want > 0 {
            match input.read(&mut buffer[held..held + want]) {
                Ok(0) => break,
                Ok(n) => {
                    held += n;
                    want -= n;
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(StreamError(e).into()),
            }
        }
        if observer.cancelled() {
            return Err(Cancelled.into());
        }
        let last = want > 0;
        if last && offset == 0 && held as u64 <= INLINE_MAX {
            return Ok((held as u64, Chunker::Cdc, Content::Inline(buffer[..held].to_vec())));
        }
        let chunker =
            *chunker.get_or_insert_with(|| out.repo().chunker().choose(&buffer[..held.min(sniff::HEAD)], held as u64));
        let mut pieces = Vec::new();
        let used = cut(out.repo().chunker(), chunker, &buffer[..held], offset, last, &mut pieces);
        for piece in pieces {
            list.push(store_piece(out, &buffer, piece, chunker, None, 0)?, out)?;
        }
        observer.advance(0, used as u64);
        buffer.copy_within(used..held, 0);
        held -= used;
        offset += used as u64;
        if last {
            flush_small(out)?;
            observer.advance(1, 0);
            return Ok((offset, chunker, list.finish(out)?));
        }
    }
}

/// A stream cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the stream")]
pub struct StreamError(#[source] io::Error);

impl Failure for StreamError {
    fn kind(&self) -> Kind {
        Kind::of_io(&self.0)
    }
}
