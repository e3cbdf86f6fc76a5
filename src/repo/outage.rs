//! Remembers that a remote did not respond, so that later requests fail immediately for some time.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::error::{Error, Kind};

/// Time without attempts after the first outage; doubles after each further outage.
const PAUSE: Duration = Duration::from_secs(30);
/// Limit on the time without attempts.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// The last outage of a remote, if any.
#[derive(Default)]
pub(super) struct OutageMemory(Mutex<Option<Outage>>);

struct Outage {
    since: Instant,
    pause: Duration,
    detail: String,
}

impl OutageMemory {
    /// Returns the error of the last attempt while no new attempt should be made; `None`
    /// afterwards.
    pub(super) fn current(&self) -> Option<String> {
        let outage = self.0.lock();
        outage
            .as_ref()
            .filter(|o| o.since.elapsed() < o.pause)
            .map(|o| o.detail.clone())
    }

    /// Records an error if it means an outage. Returns whether it does.
    pub(super) fn record(&self, e: &Error) -> bool {
        let is_outage = e.kind() == Kind::Unreachable;
        if is_outage {
            let mut outage = self.0.lock();
            let pause = outage
                .as_ref()
                .map_or(PAUSE, |o| (o.pause * 2).min(PAUSE_MAX));
            *outage = Some(Outage {
                since: Instant::now(),
                pause,
                detail: e.to_string(),
            });
        }
        is_outage
    }
}
