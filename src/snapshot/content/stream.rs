//! Stores files that arrive as a stream. The reading thread divides them into chunks; any thread
//! may store the chunks.
//!
//! The chunk boundaries are the same as in a walk, so that the same file gets the same tree.

use std::io;

use super::large::STEP;
use super::list::ListBuilder;
use super::store::{INLINE_MAX, flush_small, store_bytes, store_piece};
use crate::codec::chunk::{Piece, cut};
use crate::codec::cut::{BLOCK, CHUNK_MAX, ChunkerConfig};
use crate::codec::sniff;
use crate::error::{Failure, Kind, Result};
use crate::model::entry::{Chunker, Content, Extent, Node};
use crate::observe::Observer;
use crate::snapshot::output::Output;
use crate::work::Cancelled;

/// A file that is read in order.
pub trait Bytes {
    /// Reads the next bytes. Returns 0 at the end of the file.
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize>;
    /// Returns the length of the hole at the current position.
    fn hole(&self) -> u64;
    /// Skips `len` bytes of the hole.
    fn skip_hole(&mut self, len: u64);
}

/// Chunks and holes of a part of a file.
pub struct Stretch {
    buffer: Vec<u8>,
    pieces: Vec<Piece>,
    chunker: Chunker,
}

impl Stretch {
    /// Stores the new chunks.
    pub fn store(self, out: &Output<'_>) -> Result<Vec<Extent>> {
        let Self {
            buffer,
            pieces,
            chunker,
        } = self;
        pieces
            .into_iter()
            .map(|piece| store_piece(out, &buffer, piece, chunker, None, 0))
            .collect()
    }

    /// Returns the length in bytes including holes.
    pub fn len(&self) -> u64 {
        let len = |piece: &Piece| match piece {
            Piece::Chunk(range) => range.len() as u64,
            Piece::Hole(len) => *len,
        };
        self.pieces.iter().map(len).sum()
    }

    /// Returns whether there are no chunks or holes.
    pub fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }
}

/// Divides a file of `size` bytes into chunks, and passes its parts to `give` in order. Returns the
/// chunker.
pub fn cut_file(
    config: &ChunkerConfig,
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
            // Whole blocks of a hole need not be read.
            // A hole ends at the last block boundary before the data.
            let hole = bytes.hole().min(size - at);
            let hole = if at + hole == size {
                hole
            } else {
                hole - hole % BLOCK as u64
            };
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
        let chunker = *chosen.get_or_insert_with(|| config.choose(head, size));
        let used = cut(config, chunker, &buffer[..held], offset, last, &mut pieces);
        if !pieces.is_empty() {
            let mut next = vec![0u8; STEP + CHUNK_MAX];
            next[..held - used].copy_from_slice(&buffer[used..held]);
            let mut done = std::mem::replace(&mut buffer, next);
            done.truncate(used);
            held -= used;
            give(Stretch {
                buffer: done,
                pieces,
                chunker,
            })?;
        }
        if last {
            return Ok(chunker);
        }
    }
}

/// Assembles the extents of a file.
#[derive(Default)]
pub struct Gathered(ListBuilder);

impl Gathered {
    /// Appends extents.
    pub fn push(&mut self, extents: Vec<Extent>, out: &Output<'_>) -> Result<()> {
        extents
            .into_iter()
            .try_for_each(|extent| self.0.push(extent, out))
    }

    /// Returns the node of the whole file.
    pub fn finish(self, size: u64, chunker: Chunker, out: &Output<'_>) -> Result<Node> {
        let content = if size == 0 {
            Content::Inline(Vec::new())
        } else {
            self.0.finish(out)?
        };
        Ok(Node::File {
            size,
            chunker,
            content,
        })
    }
}

/// Stores a file whose content is in memory.
pub fn store_file(out: &Output<'_>, bytes: &[u8]) -> Result<Node> {
    let size = bytes.len() as u64;
    let chunker = if size > INLINE_MAX {
        out.repo()
            .chunker()
            .choose(&bytes[..bytes.len().min(sniff::HEAD)], size)
    } else {
        Chunker::Cdc
    };
    let content = store_bytes(out, bytes, chunker, None)?;
    Ok(Node::File {
        size,
        chunker,
        content,
    })
}

/// Stores a stream as the content of a file. Returns the length in bytes, the chunker and the
/// content.
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
        // Reads end at a multiple of the block size in the stream, so that holes are detected as in
        // a file.
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
            return Ok((
                held as u64,
                Chunker::Cdc,
                Content::Inline(buffer[..held].to_vec()),
            ));
        }
        // The total length is not known yet. The choice depends on the length only below 64 KiB,
        // and such a stream has ended.
        let chunker = *chunker.get_or_insert_with(|| {
            out.repo()
                .chunker()
                .choose(&buffer[..held.min(sniff::HEAD)], held as u64)
        });
        let mut pieces = Vec::new();
        let used = cut(
            out.repo().chunker(),
            chunker,
            &buffer[..held],
            offset,
            last,
            &mut pieces,
        );
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

/// The error for a stream that cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("cannot read the data to commit")]
pub struct StreamError(#[source] io::Error);

impl Failure for StreamError {
    fn kind(&self) -> Kind {
        Kind::of_io(&self.0)
    }
}
