//! Chunking of files, as a pure function of their bytes.
//!
//! Aligned blocks of 64 KiB of zeros are holes, and a chunk ends where a hole begins (the last
//! block of a file may be shorter). The data between holes is split by content (FastCDC v2020, at a
//! pinned version) or into chunks of a fixed size.

use crate::model::entry::Chunker;

/// Size and alignment of the blocks of which a hole consists, in bytes.
pub const BLOCK: usize = 64 * 1024;
/// Limit on the length of a chunk in bytes. No setting of a repository can raise it.
pub const CHUNK_MAX: usize = 256 * 1024;

/// The rule that selects the chunker of a file; set when a repository is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChunkerRule {
    /// Pages for database files, content-defined chunks for all other files.
    Auto,
    /// Content-defined chunks for all files.
    Content,
    /// Pages for all files.
    Pages,
}

/// The chunker settings of a repository.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChunkerConfig {
    pub rule: ChunkerRule,
    /// Minimum, average and maximum length of content-defined chunks in bytes. The last chunk
    /// before a hole or the end of the file may be shorter than the minimum.
    pub content: [usize; 3],
    /// Length in bytes of the chunks of files that are split into pages.
    pub page: u32,
}

impl Default for ChunkerConfig {
    fn default() -> Self {
        Self {
            rule: ChunkerRule::Auto,
            content: [16 << 10, 64 << 10, CHUNK_MAX],
            page: 64 << 10,
        }
    }
}

/// The error for an unknown chunker setting.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown chunker `{0}`")]
pub struct UnknownChunker(pub String);

impl crate::error::Failure for UnknownChunker {
    fn kind(&self) -> crate::error::Kind {
        crate::error::Kind::Usage
    }

    fn hint(&self) -> Option<String> {
        Some("use `auto`, `cdc:SIZE` or `fixed:SIZE`; SIZE is a power of two from 4K to 64K (`fixed`: 256K)".into())
    }
}

impl ChunkerConfig {
    /// Returns settings for content-defined chunks of `average` bytes. `None` unless `average` is a
    /// power of two from 4 KiB to 64 KiB.
    pub fn by_content(average: u64) -> Option<Self> {
        let average = usize::try_from(average)
            .ok()
            .filter(|a| a.is_power_of_two() && (4 << 10..=64 << 10).contains(a))?;
        Some(Self {
            rule: ChunkerRule::Content,
            content: [average / 4, average, average * 4],
            ..Self::default()
        })
    }

    /// Returns settings for chunks of `page` bytes. `None` unless `page` is a power of two from 4
    /// KiB to 256 KiB.
    pub fn in_pages(page: u64) -> Option<Self> {
        let page = u32::try_from(page)
            .ok()
            .filter(|p| p.is_power_of_two() && (4 << 10..=256 << 10).contains(p))?;
        Some(Self {
            rule: ChunkerRule::Pages,
            page,
            ..Self::default()
        })
    }

    /// Returns the chunker for a file of `size` bytes that begins with `head`.
    pub fn choose(&self, head: &[u8], size: u64) -> Chunker {
        let pages = match self.rule {
            ChunkerRule::Auto => super::sniff::is_paged(head, size),
            ChunkerRule::Content => false,
            ChunkerRule::Pages => true,
        };
        if pages {
            Chunker::Fixed(self.page)
        } else {
            Chunker::Cdc
        }
    }
}

/// Returns the length of the next chunk in `run`, the bytes between the previous chunk and the next
/// hole or the point to which the caller has read. `complete` means that no further bytes follow
/// before the next hole or the end of the file. Returns `None` if more bytes are needed to find the
/// end of the chunk.
pub fn next_chunk(
    config: &ChunkerConfig,
    chunker: Chunker,
    run: &[u8],
    complete: bool,
) -> Option<usize> {
    if run.is_empty() {
        return None;
    }
    match chunker {
        Chunker::Fixed(size) => {
            // The size may come from a repository, so enforce the limit.
            let size = usize::try_from(size)
                .unwrap_or(CHUNK_MAX)
                .clamp(1, CHUNK_MAX);
            if run.len() >= size {
                Some(size)
            } else {
                complete.then_some(run.len())
            }
        }
        Chunker::Cdc => {
            let [least, average, most] = config.content;
            // The cut may be anywhere up to the maximum, so the result must not depend on how much
            // was read.
            if run.len() < most && !complete {
                return None;
            }
            let window = &run[..run.len().min(most)];
            if window.len() <= least {
                return Some(window.len());
            }
            // `new` uses normalisation level 1, which is part of the format.
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
        while let Some(n) = next_chunk(&ChunkerConfig::default(), chunker, &data[at..], true) {
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

    // If these numbers change, an update of `fastcdc` has changed the ids of existing content.
    const GOLDEN: &[usize] = &[107373, 20054, 68325, 116126, 82734, 205388];

    #[test]
    fn same_cuts_however_it_is_read() {
        let data = noise(2_000_000);
        let whole = cuts(Chunker::Cdc, &data);
        for step in [CHUNK_MAX, 300_000, 1_000_000] {
            let (mut at, mut end, mut out) = (0, 0, Vec::new());
            while at < data.len() {
                match next_chunk(
                    &ChunkerConfig::default(),
                    Chunker::Cdc,
                    &data[at..end],
                    end == data.len(),
                ) {
                    Some(n) => {
                        out.push(n);
                        at += n;
                    }
                    // Read more, as a caller does.
                    None => end = (end + step).min(data.len()),
                }
            }
            assert_eq!(out, whole);
        }
    }

    #[test]
    fn fixed() {
        assert_eq!(
            cuts(Chunker::Fixed(65536), &noise(150_000)),
            [65536, 65536, 18928]
        );
    }
}
