//! Divides a part of a file into chunks and holes, independently of how much of the file is in
//! memory.

use std::ops::Range;

use crate::codec::cut::{BLOCK, ChunkerConfig, next_chunk};
use crate::codec::zero::is_zero;
use crate::model::entry::Chunker;

/// A piece of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// A chunk, as a range of the buffer.
    Chunk(Range<usize>),
    /// A hole of this length in bytes.
    Hole(u64),
}

/// Divides `buf`, which begins at byte `offset` of its file; `offset` must be the end of a chunk or
/// hole. `last` means that the file ends with `buf`; otherwise `buf` ends at a multiple of the
/// block size. Returns the number of bytes in `pieces`. The caller passes the remaining bytes again
/// with the bytes that follow them, because the end of the next chunk depends on both.
pub fn cut(
    config: &ChunkerConfig,
    chunker: Chunker,
    buf: &[u8],
    offset: u64,
    last: bool,
    pieces: &mut Vec<Piece>,
) -> usize {
    let into_block = usize::try_from(offset % BLOCK as u64).unwrap_or(0);
    let mut at = 0;
    while at < buf.len() {
        // `at` is inside a block that is known to contain data, or at the start of a block.
        let mut end = if (at + into_block).is_multiple_of(BLOCK) {
            at
        } else {
            next_edge(at, into_block, buf.len())
        };
        while end < buf.len() && !is_zero(&buf[end..next_edge(end, into_block, buf.len())]) {
            end = next_edge(end, into_block, buf.len());
        }
        // The run ends at a hole or with the file, not only with the buffer.
        let complete = end < buf.len() || last;
        while at < end {
            let Some(len) = next_chunk(config, chunker, &buf[at..end], complete) else {
                // The end of the chunk depends on bytes after the buffer.
                return at;
            };
            pieces.push(Piece::Chunk(at..at + len));
            at += len;
        }
        let hole = at;
        while at < buf.len() && is_zero(&buf[at..next_edge(at, into_block, buf.len())]) {
            at = next_edge(at, into_block, buf.len());
        }
        if at > hole {
            pieces.push(Piece::Hole((at - hole) as u64));
        }
    }
    at
}

/// Returns the next multiple of the block size in the file, as an index of the buffer.
fn next_edge(at: usize, into_block: usize, len: usize) -> usize {
    (at + BLOCK - (at + into_block) % BLOCK).min(len)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(len: usize, mut x: u64) -> Vec<u8> {
        (0..len)
            .map(|_| {
                x ^= x << 13;
                x ^= x >> 7;
                x ^= x << 17;
                // Never zero, so that noise contains no hole.
                x.to_le_bytes()[2] | 1
            })
            .collect()
    }

    fn shape(pieces: &[Piece]) -> Vec<(bool, u64)> {
        let mut out: Vec<(bool, u64)> = Vec::new();
        for p in pieces {
            match p {
                Piece::Chunk(r) => out.push((true, r.len() as u64)),
                // A hole that crosses the end of a buffer comes in several pieces.
                Piece::Hole(n) => match out.last_mut() {
                    Some((false, m)) => *m += n,
                    _ => out.push((false, *n)),
                },
            }
        }
        out
    }

    #[test]
    fn holes_are_aligned_blocks() {
        // The data ends inside the second block, so the hole begins at the third.
        let mut data = noise(100_000, 1);
        data.resize(400_000, 0);
        data.extend(noise(10, 2));
        data.resize(500_000, 0);
        let mut pieces = Vec::new();
        assert_eq!(
            cut(
                &ChunkerConfig::default(),
                Chunker::Fixed(65536),
                &data,
                0,
                true,
                &mut pieces
            ),
            data.len()
        );
        assert_eq!(
            shape(&pieces),
            [
                (true, 65536),
                (true, 65536),
                (false, 262144),
                (true, 65536),
                (false, 41248)
            ]
        );
    }

    #[test]
    fn the_same_however_it_is_fed() {
        let mut data = noise(900_000, 3);
        data.resize(1_400_000, 0);
        data.extend(noise(700_001, 4));
        for chunker in [Chunker::Cdc, Chunker::Fixed(65536)] {
            let mut whole = Vec::new();
            cut(
                &ChunkerConfig::default(),
                chunker,
                &data,
                0,
                true,
                &mut whole,
            );
            for step in [5 * BLOCK, 7 * BLOCK, 16 * BLOCK] {
                let (mut out, mut from, mut to) = (Vec::new(), 0, 0);
                while from < data.len() {
                    to = (to + step).min(data.len());
                    let mut pieces = Vec::new();
                    from += cut(
                        &ChunkerConfig::default(),
                        chunker,
                        &data[from..to],
                        from as u64,
                        to == data.len(),
                        &mut pieces,
                    );
                    out.extend(pieces);
                }
                assert_eq!(shape(&out), shape(&whole), "{chunker:?} {step}");
            }
        }
    }
}
