//! Where a file is cut into chunks: a pure function of its bytes.
//!
//! Aligned 64 KiB blocks of zeros are holes and force a cut at their edges (the last block of a file may be
//! shorter). What lies between holes is cut by content (FastCDC v2020, pinned) or every so many bytes.

use crate::model::entry::Chunker;

/// Holes are whole blocks of this size, aligned to it.
pub const BLOCK: usize = 64 * 1024;
/// No chunk is longer, whatever a repository says.
pub const CHUNK_MAX: usize = 256 * 1024;

/// Which files are cut how; of a whole repository, set when it is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// Database files in pages, all else by content.
    Auto,
    /// Everything by content.
    Content,
    /// Everything in pages.
    Pages,
}

/// A repository's way of cutting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cutting {
    /// Which files are cut how.
    pub rule: Rule,
    /// Content-defined chunks in bytes: the least (but the last before a hole or the end), the average, the most.
    pub content: [usize; 3],
    /// Length in bytes of the pieces of files that are cut in pages.
    pub page: u32,
}

impl Default for Cutting {
    fn default() -> Self {
        Self { rule: Rule::Auto, content: [16 << 10, 64 << 10, CHUNK_MAX], page: 64 << 10 }
    }
}

/// A way of cutting that cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no way of cutting files")]
pub struct BadCutting(pub String);

impl crate::error::Failure for BadCutting {
    fn kind(&self) -> crate::error::Kind {
        crate::error::Kind::Usage
    }

    fn hint(&self) -> Option<String> {
        Some(
            "it is `auto`, `cdc:SIZE` or `fixed:SIZE`, with a power of two from 4 KiB to 64 KiB (fixed: 256 KiB)"
                .into(),
        )
    }
}

impl Cutting {
    /// Everything by content, in chunks of `average` bytes; a power of two from 4 KiB to 64 KiB.
    pub fn by_content(average: u64) -> Option<Self> {
        let average =
            usize::try_from(average).ok().filter(|a| a.is_power_of_two() && (4 << 10..=64 << 10).contains(a))?;
        Some(Self { rule: Rule::Content, content: [average / 4, average, average * 4], ..Self::default() })
    }

    /// Everything in pieces of `page` bytes; a power of two from 4 KiB to 256 KiB.
    pub fn in_pages(page: u64) -> Option<Self> {
        let page = u32::try_from(page).ok().filter(|p| p.is_power_of_two() && (4 << 10..=256 << 10).contains(p))?;
        Some(Self { rule: Rule::Pages, page, ..Self::default() })
    }

    /// The chunker of a file of `size` bytes that begins with `head`.
    pub fn choose(&self, head: &[u8], size: u64) -> Chunker {
        let pages = match self.rule {
            Rule::Auto => super::sniff::is_paged(head, size),
            Rule::Content => false,
            Rule::Pages => true,
        };
        if pages { Chunker::Fixed(self.page) } else { Chunker::Cdc }
    }
}

/// Whether all bytes are zero.
pub fn is_zero(bytes: &[u8]) -> bool {
    let (chunks, rest) = bytes.as_chunks::<64>();
    chunks.iter().all(|c| c.iter().fold(0, |a, b| a | b) == 0) && rest.iter().all(|b| *b == 0)
}

/// The length of the next chunk of `run`, the bytes from the last cut up to the next hole or as far as they are
/// read; `complete` says that the run ends there. `None`: more bytes are needed to tell.
pub fn next_chunk(cutting: &Cutting, chunker: Chunker, run: &[u8], complete: bool) -> Option<usize> {
    if run.is_empty() {
        return None;
    }
    match chunker {
        Chunker::Fixed(size) => {
            let size = usize::try_from(size).unwrap_or(CHUNK_MAX).clamp(1, CHUNK_MAX);
            if run.len() >= size { Some(size) } else { complete.then_some(run.len()) }
        }
        Chunker::Cdc => {
            let [least, average, most] = cutting.content;
            if run.len() < most && !complete {
                return None;
            }
            let window = &run[..run.len().min(most)];
            if window.len() <= least {
                return Some(window.len());
            }
            let cdc = fastcdc::v2020::FastCDC::new(window, least, average, most);
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
        while let Some(n) = next_chunk(&Cutting::default(), chunker, &data[at..], true) {
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
                match next_chunk(&Cutting::default(), Chunker::Cdc, &data[at..end], end == data.len()) {
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
