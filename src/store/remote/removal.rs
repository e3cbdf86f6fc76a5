//! Removes many objects with few requests.

use super::{PIECE_LIMIT, RESPONSE_MAX, RemoteStore};
use crate::store::removal::{self, Removal};
use crate::store::runtime::Effect;
use crate::store::{Store, StoreError};

/// Maximum number of objects in one request: the limit of S3.
const BATCH_MAX: usize = 1000;

impl RemoteStore {
    pub(super) fn remove_many(&self, keys: &[String]) -> Result<Removal, StoreError> {
        let most = self.op.info().capability().delete_max_size;
        let most = most.unwrap_or(1).clamp(1, BATCH_MAX);
        let mut removal = Removal::default();
        for batch in keys.chunks(most) {
            if batch.len() > 1 && self.remove_batch(batch)? {
                continue;
            }
            // The response does not say enough about each object, or the server does not support
            // requests for several objects.
            let in_flight = self.abilities.in_flight;
            removal.add(removal::singly(batch, in_flight, |key| self.delete(key))?);
        }
        Ok(removal)
    }

    /// Removes objects with one request. Returns whether all of them are removed.
    fn remove_batch(&self, keys: &[String]) -> Result<bool, StoreError> {
        let (op, batch) = (self.op.clone(), keys.to_vec());
        let first = keys.first().map_or("", String::as_str);
        let removed = self.run_request(
            ("remove", Effect::Change),
            first,
            PIECE_LIMIT,
            RESPONSE_MAX,
            async move { op.delete_iter(batch).await },
        );
        match removed {
            Ok(_) => Ok(true),
            Err(e) if e.is_transient() || matches!(e, StoreError::Cancelled(_)) => Err(e),
            Err(_) => Ok(false),
        }
    }
}
