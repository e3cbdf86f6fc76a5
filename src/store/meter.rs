//! Counts what goes over the network, and holds it back where a rate is set.
//!
//! One meter is shared by all requests to a store; whoever shows progress looks at it from time to time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Bytes of one direction.
#[derive(Debug, Default)]
pub struct Flow {
    bytes: AtomicU64,
    /// Bytes a second; `None` is as fast as it goes.
    rate: Option<u64>,
    /// When the bytes that were let through so far are due.
    due: Mutex<Option<Instant>>,
}

impl Flow {
    /// At most `rate` bytes a second.
    pub fn new(rate: Option<u64>) -> Self {
        Self { rate: rate.filter(|r| *r > 0), ..Self::default() }
    }

    /// Bytes so far.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Counts bytes, and says how long the next ones must wait.
    pub fn pass(&self, bytes: u64) -> Duration {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        let Some(rate) = self.rate else { return Duration::ZERO };
        let now = Instant::now();
        let mut due = self.due.lock();
        #[allow(clippy::cast_precision_loss, reason = "a rate is not exact to the byte")]
        let takes = Duration::from_secs_f64(bytes as f64 / rate as f64);
        let next = due.filter(|d| *d > now).unwrap_or(now) + takes;
        *due = Some(next);
        next - now
    }
}

/// What goes to and comes from a store.
#[derive(Debug, Default)]
pub struct Meter {
    /// Sent.
    pub up: Flow,
    /// Received.
    pub down: Flow,
    requests: AtomicU64,
}

impl Meter {
    /// With rates in bytes a second.
    pub fn new(up: Option<u64>, down: Option<u64>) -> Self {
        Self { up: Flow::new(up), down: Flow::new(down), requests: AtomicU64::new(0) }
    }

    /// Counts a request.
    pub fn request(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }

    /// Requests so far.
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
        assert!(wait > Duration::from_millis(1500) && wait <= Duration::from_secs(2), "{wait:?}");
        assert_eq!(slow.bytes(), 2000);
    }
}
