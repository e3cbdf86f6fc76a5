//! Objects that `status`, `diff` and dry runs have computed but not stored.

use std::collections::HashMap;

use parking_lot::RwLock;

use super::frames::Plain;
use crate::model::id::Id;

/// Objects in memory, by id.
#[derive(Default)]
pub struct Volatile(RwLock<HashMap<Id, Plain>>);

impl Volatile {
    /// Keeps an object in memory until the repository is closed.
    pub fn put(&self, id: Id, bytes: Vec<u8>) {
        self.0.write().insert(id, Plain::alone(bytes));
    }

    /// Removes and returns all objects.
    pub fn take(&self) -> Vec<(Id, Vec<u8>)> {
        let all = std::mem::take(&mut *self.0.write());
        all.into_iter()
            .map(|(id, plain)| (id, plain.to_vec()))
            .collect()
    }

    /// Returns whether an object is in memory.
    pub fn has(&self, id: &Id) -> bool {
        self.0.read().contains_key(id)
    }

    pub(super) fn get(&self, id: &Id) -> Option<Plain> {
        self.0.read().get(id).cloned()
    }
}
