//! Where a file is cut into chunks: a pure function of its bytes.
//!
//! Aligned 64 KiB blocks of zeros are holes and force a cut at their edges (the last block of a file may be
//! shorter). What lies between holes is cut by content (FastCDC v2020, pinned) or every so many bytes.

use crate::model::entry::Chunker;

/// Holes are whole blocks of this size, aligned to it.
pub const BLOCK: usize = 64 * 1024;
/// No content-defined chunk is shorter, but the last before a hole or the end.
pub const CDC_MIN: usize = 16 * 1024;
/// What content-defined chunks are long on average.
pub const CDC_AVERAGE: usize = 64 * 1024;
/// No chunk is longer.
pub const CHUNK_MAX: usize = 256 * 1024;

/// Whether all bytes are zero.
pub fn is_zero(bytes: &[u8]) -> bool {
    let (chunks, rest) = bytes.as_chunks::<64>();
    chunks.iter().all(|c| c.iter().fold(0, |a, b| a | b) == 0) && rest.iter().all(|b| *b == 0)
}

/// The length of the next chunk of `run`, the bytes from the last cut up to the next hole or as far as they are
/// read; `complete` says that the run ends there. `None`: more bytes are needed to tell.
pub fn next_chunk(chunker: Chunker, run: &[u8], complete: bool) -> Option<usize> {
    if run.is_empty() {
        return None;
    }
    match chunker {
        Chunker::Fixed(size) => {
            let size = usize::try_from(size).unwrap_or(CHUNK_MAX).clamp(1, CHUNK_MAX);
            if run.len() >= size { Some(size) } else { complete.then_some(run.len()) }
        }
        Chunker::Cdc => {
            if run.len() < CHUNK_MAX && !complete {
                return None;
            }
            let window = &run[..run.len().min(CHUNK_MAX)];
            if window.len() <= CDC_MIN {
                return Some(window.len());
            }
            let cdc = fastcdc::v2020::FastCDC::new(window, CDC_MIN, CDC_AVERAGE, CHUNK_MAX);
            let (_, end) = cdc.cut(0, window.len());
            Some(end.clamp(1, window.len()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(len: usize) -> Vec<u8> {
        let mut x = 0x9e37_79b9_7f4a_7c15_u64;
        (0..len)
            .map(|_| {
                x ^= x << 13;
                x ^= x >> 7;
                x ^= x << 17;
                x.to_le_bytes()[3]
            })
            .collect()
    }

    fn cuts(chunker: Chunker, data: &[u8]) -> Vec<usize> {
        let mut out = Vec::new();
        let mut at = 0;
        while let Some(n) = next_chunk(chunker, &data[at..], true) {
            out.push(n);
            at += n;
        }
        assert_eq!(at, data.len());
        out
    }

    #[test]
    fn golden_cut_points() {
        assert_eq!(cuts(Chunker::Cdc, &noise(600_000)), GOLDEN);
    }

    const GOLDEN: &[usize] = &[107373, 20054, 68325, 116126, 82734, 205388];

    #[test]
    fn same_cuts_however_it_is_read() {
        let data = noise(2_000_000);
        let whole = cuts(Chunker::Cdc, &data);
        for step in [CHUNK_MAX, 300_000, 1_000_000] {
            let (mut at, mut end, mut out) = (0, 0, Vec::new());
            while at < data.len() {
                match next_chunk(Chunker::Cdc, &data[at..end], end == data.len()) {
                    Some(n) => {
                        out.push(n);
                        at += n;
                    }
                    None => end = (end + step).min(data.len()),
                }
            }
            assert_eq!(out, whole);
        }
    }

    #[test]
    fn fixed() {
        assert_eq!(cuts(Chunker::Fixed(65536), &noise(150_000)), [65536, 65536, 18928]);
    }

    #[test]
    fn zeros() {
        assert!(is_zero(&[0; 1000]));
        let mut v = vec![0; 1000];
        v[999] = 1;
        assert!(!is_zero(&v));
    }
}
