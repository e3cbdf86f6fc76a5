//! Read-ahead: detects sequential reads of a file, and decides what to fetch next.

use std::ops::Range;

/// Maximum number of bytes by which a request may deviate from the expected offset and still count
/// as sequential, because the kernel sends the requests of a sequential read out of order.
const SLACK: u64 = 16 << 20;
/// Number of consecutive requests outside of [`SLACK`] after which the sequential read counts as
/// over, and detection starts again.
const STRAYS: u8 = 4;
const WINDOW_MIN: u64 = 2 << 20;
// Sixteen requests of 4 MiB, one for each region of the block cache (docs/decisions/0007).
const WINDOW_MAX: u64 = 64 << 20;

/// The recent reads of a file.
#[derive(Debug, Default)]
pub(super) struct ReadPattern {
    /// Expected offset of the next read, if the file is read sequentially.
    next: u64,
    /// End of the range that was already fetched ahead.
    until: u64,
    /// Bytes to fetch ahead. The window doubles with each fetch; 0 means that no sequential read
    /// was detected.
    window: u64,
    /// Number of requests outside of [`SLACK`] since the last one within it.
    strays: u8,
}

impl ReadPattern {
    /// Notes a read. Returns the range to fetch next, at most up to `limit`. `limit` is called only
    /// if a range is due, and returns `None` if there is nothing to fetch.
    pub(super) fn note_read(
        &mut self,
        offset: u64,
        len: u64,
        limit: impl FnOnce() -> Option<u64>,
    ) -> Option<Range<u64>> {
        let end = offset.saturating_add(len);
        let skipped = if self.window == 0 { 0 } else { SLACK };
        if offset > self.next + skipped || offset + SLACK < self.next {
            self.strays += 1;
            if self.window == 0 || self.strays == STRAYS {
                *self = Self {
                    next: end,
                    until: end,
                    window: 0,
                    strays: 0,
                };
            }
            return None;
        }
        self.strays = 0;
        self.next = self.next.max(end);
        // Fetch only when less than half of the window is left, so that fetches are few and large.
        if self.until > self.next + self.window / 2 {
            return None;
        }
        self.window = (self.window * 2).clamp(WINDOW_MIN, WINDOW_MAX);
        let range = self.until.max(self.next)..(self.next + self.window).min(limit()?);
        if range.is_empty() {
            return None;
        }
        self.until = range.end;
        Some(range)
    }
}
