//! Remembers that a remote did not respond, so that not every request waits for it again.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::error::{Error, Kind};

/// First interval without attempts; doubles after each further outage.
const PAUSE: Duration = Duration::from_secs(30);
/// Limit on the interval without attempts.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// The outage of a remote.
#[derive(Default)]
pub(super) struct OutageMemory(Mutex<Option<Outage>>);

struct Outage {
    since: Instant,
    pause: Duration,
    detail: String,
}

impl OutageMemory {
    /// Returns the error of the last attempt if another attempt would be too early.
    pub(super) fn current(&self) -> Option<String> {
        let outage = self.0.lock();
        outage.as_ref().filter(|o| o.since.elapsed() < o.pause).map(|o| o.detail.clone())
    }

    /// Records an error. Returns whether the error means an outage.
    pub(super) fn record(&self, e: &Error) -> bool {
        let is_outage = e.kind() == Kind::Unreachable;
        if is_outage {
            let mut outage = self.0.lock();
            let pause = outage.as_ref().map_or(PAUSE, |o| (o.pause * 2).min(PAUSE_MAX));
            *outage = Some(Outage { since: Instant::now(), pause, detail: e.to_string() });
        }
        is_outage
    }
}
