//! Files that come as a stream and not from a directory: cut where they are read, stored by any thread.
//!
//! In: a file's bytes in order, and where it has holes. Out: stretches to be stored, extents of each. The same file is cut
//! as a walk cuts it, so that its tree is the same.

use super::cutter::{Piece, cut};
use super::large::STEP;
use super::list::ListBuilder;
use super::output::Output;
use super::pipeline::store_piece;
use crate::codec::cut::{BLOCK, CHUNK_MAX, Cutting};
use crate::codec::sniff;
use crate::error::Result;
use crate::model::entry::{Chunker, Content, Extent, Node};

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
    cutting: &Cutting,
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
    let chunker = if size > super::pipeline::INLINE_MAX {
        out.repo().cutting().choose(&bytes[..bytes.len().min(sniff::HEAD)], size)
    } else {
        Chunker::Cdc
    };
    let content = super::pipeline::store_bytes(out, bytes, chunker, None)?;
    Ok(Node::File { size, chunker, content })
}
