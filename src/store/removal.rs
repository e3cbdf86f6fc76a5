//! The result of removing many objects.

use parking_lot::Mutex;

use super::error::StoreError;
use crate::error::{Failure, Kind};
use crate::work::fan_out;

/// If a store refuses this number of removals and performs none, the other objects are not tried.
const SAMPLE: usize = 16;

/// The result of removing many objects.
#[derive(Debug, Default)]
pub struct Removal {
    /// Number of objects that the store refused to remove.
    pub refused: usize,
    /// Number of objects whose space the store itself frees later.
    pub deferred: usize,
    /// Why the store refused the first of them.
    pub reason: Option<StoreError>,
}

impl Removal {
    /// Notes the result of one removal. Returns errors other than a refusal.
    pub(super) fn note(&mut self, removed: Result<(), StoreError>) -> Result<(), StoreError> {
        match removed {
            Err(e) if e.kind() == Kind::Denied => {
                self.refused += 1;
                self.reason.get_or_insert(e);
                Ok(())
            }
            removed => removed,
        }
    }

    /// Adds the result of another removal.
    pub fn add(&mut self, other: Self) {
        self.refused += other.refused;
        self.deferred += other.deferred;
        if self.reason.is_none() {
            self.reason = other.reason;
        }
    }
}

/// Removes objects with one request each, several at a time.
pub(super) fn singly(
    keys: &[String],
    in_flight: usize,
    delete: impl Fn(&str) -> Result<(), StoreError> + Sync,
) -> Result<Removal, StoreError> {
    let removal = Mutex::new(Removal::default());
    let remove = |keys: &[String]| {
        fan_out::for_each(in_flight.min(keys.len()), keys.iter(), |key| {
            let removed = delete(key);
            removal.lock().note(removed)
        })
    };
    let (first, rest) = keys.split_at(keys.len().min(SAMPLE));
    remove(first)?;
    // With credentials that are not allowed to remove anything, not every object is tried.
    let refused = removal.lock().refused;
    if refused == SAMPLE {
        removal.lock().refused += rest.len();
    } else {
        remove(rest)?;
    }
    Ok(removal.into_inner())
}
