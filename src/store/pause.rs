//! Waits that can be cancelled.

use std::time::{Duration, Instant};

use super::StoreError;
use crate::observe::Observer;
use crate::work::Cancelled;

/// Interval at which a waiting caller checks whether it was cancelled.
const TICK: Duration = Duration::from_millis(100);

/// Sleeps for `time`. Fails as soon as the operation is cancelled.
pub(super) fn sleep(observer: &dyn Observer, time: Duration) -> Result<(), StoreError> {
    let until = Instant::now() + time;
    loop {
        if observer.cancelled() {
            return Err(Cancelled.into());
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        std::thread::sleep(left.min(TICK));
    }
}
