//! Finds out by experiment whether a store supports conditional writes, because a server may ignore
//! the condition that a client sends.

use super::{Store, StoreError};
use crate::sys::random::random_hex;
use crate::work::fan_out;

/// The byte that each writer of a race writes.
const WRITERS: &[u8] = &[0, 1, 2, 3, 4, 5, 6, 7];
/// Number of races.
// A server that checks first and writes later had several winners in half of the races
// (docs/decisions/0004).
const ROUNDS: usize = 5;
/// Directory of the probe objects, which are removed at the end.
const DIR: &str = "sessions";

/// Checks that objects can be removed, because an intent lock that cannot be removed would block
/// all other writers.
pub fn can_remove(store: &dyn Store) -> Result<(), StoreError> {
    let key = format!("{DIR}/probe-{}-remove", random_hex()?);
    store.create(&key, b"remove")?;
    store.delete(&key)
}

/// Returns whether concurrent `create` calls have exactly one winner, whose bytes are then stored.
pub fn is_exclusive(store: &dyn Store) -> Result<bool, StoreError> {
    let dir = format!("{DIR}/probe-{}-", random_hex()?);
    let mut keys = Vec::new();
    let found = race_all(store, &dir, &mut keys);
    // Remove the objects even after an error of the race; that error is reported first.
    let removed = keys.iter().try_for_each(|key| store.delete(key));
    let exclusive = found?;
    removed.map(|()| exclusive)
}

fn race_all(store: &dyn Store, dir: &str, keys: &mut Vec<String>) -> Result<bool, StoreError> {
    let first = format!("{dir}0");
    keys.push(first.clone());
    // A server that ignores the condition fails here, without a race.
    if !store.create(&first, b"first")? || store.create(&first, b"second")? {
        return Ok(false);
    }
    // A server may report a failure and still replace the object.
    if store.get(&first)?.as_deref() != Some(b"first") {
        return Ok(false);
    }
    for round in 1..=ROUNDS {
        let key = format!("{dir}{round}");
        keys.push(key.clone());
        if !race(store, &key)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn race(store: &dyn Store, key: &str) -> Result<bool, StoreError> {
    let mut winners = Vec::new();
    for created in fan_out::together(WRITERS.len(), |n| store.create(key, &WRITERS[n..=n])) {
        winners.push(created??);
    }
    let winner = WRITERS
        .iter()
        .zip(winners)
        .filter_map(|(writer, has_won)| has_won.then_some(*writer));
    let winner: Vec<u8> = winner.collect();
    // A server may report one winner and keep the bytes of another.
    Ok(winner.len() == 1 && store.get(key)? == Some(winner))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::memory::MemoryStore;

    #[test]
    fn an_exclusive_store_is_found_so_and_left_clean() {
        let store = MemoryStore::default();
        assert!(is_exclusive(&store).unwrap());
        assert!(store.list_all(DIR).unwrap().is_empty());
    }
}
