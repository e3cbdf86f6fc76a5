//! Streams the content of one file, for `show REV:PATH` and exports.
//!
//! Holes are returned as zeros, and each chunk is verified before its bytes are written.

use std::io::Write;
use std::ops::Range;

use super::content::pieces;
use super::error::ReadError;
use super::source::Source;
use crate::error::Result;
use crate::model::entry::Content;
use crate::model::path::display;
use crate::observe::Observer;
use crate::work::Cancelled;

/// Writes a file of `size` bytes, or a range of it, to `out`. Returns the number of bytes. `path`
/// is used in messages.
///
/// A range that extends beyond the end is truncated; a range that begins beyond the end is an
/// error.
pub fn stream(
    source: &dyn Source,
    path: &[u8],
    (size, content): (u64, &Content),
    range: Option<Range<u64>>,
    out: &mut dyn Write,
    observer: &dyn Observer,
) -> Result<u64> {
    let Range { start, end } = range.unwrap_or(0..size);
    let end = end.min(size);
    if start > size {
        return Err(ReadError::Range { from: start, size }.into());
    }
    if start >= end {
        return Ok(0);
    }
    let mut write = |bytes: &[u8]| {
        out.write_all(bytes)
            .map_err(|source| ReadError::Output { source })
    };
    if let Content::Inline(bytes) = content {
        let part = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        let Some(bytes) = bytes.get(part(start)..part(end)) else {
            return Err(ReadError::Extents {
                path: display(path),
            }
            .into());
        };
        write(bytes)?;
        return Ok(end - start);
    }
    let zeros = [0u8; 64 * 1024];
    for piece in pieces(source, content, size, || {
        ReadError::Extents {
            path: display(path),
        }
        .into()
    }) {
        let piece = piece?;
        if observer.cancelled() {
            return Err(Cancelled.into());
        }
        if piece.offset >= end {
            break;
        }
        let from = start.saturating_sub(piece.offset);
        let to = piece.len.min(end - piece.offset);
        if from >= to {
            continue;
        }
        if let Some(id) = &piece.chunk {
            let plain = source.chunk(id, piece.len)?;
            let part = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
            write(plain.get(part(from)..part(to)).unwrap_or_default())?;
        } else {
            let mut left = to - from;
            while left > 0 {
                let now = usize::try_from(left).unwrap_or(usize::MAX).min(zeros.len());
                write(zeros.get(..now).unwrap_or_default())?;
                left -= now as u64;
            }
        }
        observer.advance(0, to - from);
    }
    Ok(end - start)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkout::memory::{BLOCK, Memory, noise};
    use crate::error::Kind;
    use crate::observe::Silent;

    #[test]
    fn every_range_gives_its_bytes() {
        let mut m = Memory::default();
        let mut bytes = noise(5 * BLOCK + 100, 1);
        bytes[BLOCK..3 * BLOCK].fill(0);
        let long = m.content(&bytes);
        let short = m.content(b"inline");
        let size = bytes.len() as u64;
        let get = |content, size, range| {
            let mut out = Vec::new();
            let done = stream(&m, b"f", (size, content), range, &mut out, &Silent);
            done.map(|n| {
                assert_eq!(n, out.len() as u64);
                out
            })
        };
        assert!(get(&long, size, None).unwrap() == bytes);
        assert_eq!(get(&short, 6, None).unwrap(), b"inline");
        assert_eq!(get(&short, 6, Some(2..99)).unwrap(), b"line");
        for (from, to) in [
            (0, 1),
            (10, BLOCK),
            (BLOCK - 1, BLOCK + 1),
            (2 * BLOCK, 4 * BLOCK + 3),
            (5 * BLOCK, 6 * BLOCK),
        ] {
            let expected = &bytes[from..to.min(bytes.len())];
            assert!(
                get(&long, size, Some(from as u64..to as u64)).unwrap() == expected,
                "{from}..{to}"
            );
        }
        assert_eq!(get(&long, size, Some(size..size + 5)).unwrap(), b"");
        assert_eq!(
            get(&long, size, Some(size + 1..size + 5))
                .unwrap_err()
                .kind(),
            Kind::Usage
        );
        assert_eq!(
            get(&long, size + 1, None).unwrap_err().kind(),
            Kind::Integrity
        );
        assert_eq!(get(&short, 7, None).unwrap_err().kind(), Kind::Integrity);
    }
}
