//! Counts the transferred bytes, and delays transfers if a rate limit is set.
//!
//! All requests to a store share one meter; a progress display polls it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// The bytes transferred in one direction.
#[derive(Debug, Default)]
pub struct Flow {
    bytes: AtomicU64,
    /// Limit in bytes per second.
    rate: Option<u64>,
    /// Time at which the rate limit allows further bytes.
    due: Mutex<Option<Instant>>,
}

impl Flow {
    /// Returns a flow of at most `rate` bytes per second; `None` and 0 set no limit.
    pub fn new(rate: Option<u64>) -> Self {
        Self {
            rate: rate.filter(|r| *r > 0),
            ..Self::default()
        }
    }

    /// Returns the number of bytes so far.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Counts bytes, and returns how long the caller must wait before transferring more.
    pub fn pass(&self, bytes: u64) -> Duration {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let Some(rate) = self.rate else {
            return Duration::ZERO;
        };
        let now = Instant::now();
        let mut due = self.due.lock();
        #[allow(
            clippy::cast_precision_loss,
            reason = "a rate is not exact to the byte"
        )]
        let takes = Duration::from_secs_f64(bytes as f64 / rate as f64);
        // All transfers share one queue, so parallel requests together stay below the rate.
        let next = due.filter(|d| *d > now).unwrap_or(now) + takes;
        *due = Some(next);
        next - now
    }
}

/// The transfers to and from a store.
#[derive(Debug, Default)]
pub struct Meter {
    /// Sent bytes.
    pub up: Flow,
    /// Received bytes.
    pub down: Flow,
    requests: AtomicU64,
}

impl Meter {
    /// Returns a meter with limits in bytes per second.
    pub fn new(up: Option<u64>, down: Option<u64>) -> Self {
        Self {
            up: Flow::new(up),
            down: Flow::new(down),
            requests: AtomicU64::new(0),
        }
    }

    /// Counts a request.
    pub fn request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns the number of requests so far.
    pub fn requests(&self) -> u64 {
        self.requests.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_makes_the_next_bytes_wait() {
        let free = Flow::new(None);
        assert_eq!(free.pass(1 << 40), Duration::ZERO);
        let slow = Flow::new(Some(1000));
        assert!(slow.pass(500) <= Duration::from_millis(500));
        let wait = slow.pass(1500);
        assert!(
            wait > Duration::from_millis(1500) && wait <= Duration::from_secs(2),
            "{wait:?}"
        );
        assert_eq!(slow.bytes(), 2000);
    }
}
