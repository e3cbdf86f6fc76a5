//! A store for tests that injects faults: at one request, or at random with a seed; before the
//! request is executed, or after it so that only the response is lost. Records all requests.

use std::path::Path;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use super::{Abilities, ListedKey, ListedObject, Removal, Store, StoreError, StoreErrorKind, Take};

/// The point at which a request fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The request does not arrive.
    Request,
    /// The request is executed, but its response is lost.
    Reply,
}

/// The requests that fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FaultTrigger {
    Never,
    /// The request with this number, counted from 0.
    At(u64, Fault),
    /// This percentage of the requests.
    Chance(u64),
}

/// The faults of all stores that are opened for one location.
#[derive(Debug)]
pub struct Faults {
    when: FaultTrigger,
    error_kind: StoreErrorKind,
    state: Mutex<FaultState>,
}

#[derive(Debug)]
struct FaultState {
    dice: u64,
    asked: Vec<String>,
    failed: u64,
}

impl Faults {
    fn new(when: FaultTrigger, error_kind: StoreErrorKind, seed: u64) -> Arc<Self> {
        let state = FaultState {
            // A xorshift generator never leaves the state 0.
            dice: seed | 1,
            asked: Vec::new(),
            failed: 0,
        };
        Arc::new(Self {
            when,
            error_kind,
            state: Mutex::new(state),
        })
    }

    /// Injects no faults; only records requests.
    pub fn none() -> Arc<Self> {
        Self::new(FaultTrigger::Never, StoreErrorKind::Unreachable, 1)
    }

    /// Fails request `number`, counted from 0, with an error of `error_kind`.
    pub fn at(number: u64, fault: Fault, error_kind: StoreErrorKind) -> Arc<Self> {
        Self::new(FaultTrigger::At(number, fault), error_kind, 1)
    }

    /// Fails about `percent` percent of the requests, about half of them after their execution.
    pub fn by_chance(percent: u64, seed: u64) -> Arc<Self> {
        Self::new(
            FaultTrigger::Chance(percent),
            StoreErrorKind::Unreachable,
            seed,
        )
    }

    /// Returns all requests so far, in the form `create refs/...`.
    pub fn asked(&self) -> Vec<String> {
        self.state().asked.clone()
    }

    /// Returns the number of failed requests.
    pub fn failed(&self) -> u64 {
        self.state().failed
    }

    fn state(&self) -> MutexGuard<'_, FaultState> {
        self.state.lock()
    }

    fn next(&self, what: &str, key: &str) -> Option<Fault> {
        let mut state = self.state();
        let number = state.asked.len() as u64;
        state.asked.push(format!("{what} {key}"));
        let fault = match self.when {
            FaultTrigger::Never => None,
            FaultTrigger::At(at, fault) => (at == number).then_some(fault),
            FaultTrigger::Chance(percent) => {
                // xorshift64: the same seed injects the same faults.
                state.dice ^= state.dice << 13;
                state.dice ^= state.dice >> 7;
                state.dice ^= state.dice << 17;
                // Other bits select the half, so that it does not depend on the hit.
                let (hit, half) = (state.dice % 100 < percent, (state.dice >> 32) & 1 == 0);
                hit.then_some(if half { Fault::Request } else { Fault::Reply })
            }
        };
        state.failed += u64::from(fault.is_some());
        fault
    }
}

/// A store that injects faults into another store.
pub struct FaultyStore {
    inner: Arc<dyn Store>,
    faults: Arc<Faults>,
    exclusive: bool,
}

impl FaultyStore {
    /// Injects `faults` into the requests to `inner`.
    pub fn new(inner: Arc<dyn Store>, faults: Arc<Faults>) -> Self {
        Self {
            inner,
            faults,
            exclusive: true,
        }
    }

    /// Reports that the store does not support conditional writes, so that an intent lock protects
    /// it.
    pub fn without_conditional_writes(mut self) -> Self {
        self.exclusive = false;
        self
    }

    fn error(&self, what: &'static str, key: &str) -> StoreError {
        StoreError::remote(
            what,
            key,
            self.inner.place(),
            self.faults.error_kind,
            "injected fault",
        )
    }

    fn ask<T>(
        &self,
        what: &'static str,
        key: &str,
        request: impl FnOnce() -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        match self.faults.next(what, key) {
            None => request(),
            Some(Fault::Request) => Err(self.error(what, key)),
            Some(Fault::Reply) => {
                request()?;
                Err(self.error(what, key))
            }
        }
    }
}

impl Store for FaultyStore {
    fn abilities(&self) -> Abilities {
        let inner = self.inner.abilities();
        Abilities {
            exclusive: inner.exclusive && self.exclusive,
            ..inner
        }
    }

    fn place(&self) -> String {
        self.inner.place()
    }

    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.ask("get", key, || self.inner.get(key))
    }

    fn read_at(&self, key: &str, offset: u64, len: usize) -> Result<Vec<u8>, StoreError> {
        self.ask("read", key, || self.inner.read_at(key, offset, len))
    }

    /// If the response is lost, half of its first piece still arrives.
    fn read_from(&self, key: &str, offset: u64, take: &mut Take<'_>) -> Result<(), StoreError> {
        match self.faults.next("read", key) {
            None => self.inner.read_from(key, offset, take),
            Some(Fault::Request) => Err(self.error("read", key)),
            Some(Fault::Reply) => self.inner.read_from(key, offset, &mut |bytes| {
                take(bytes.get(..bytes.len() / 2).unwrap_or_default())?;
                Err(self.error("read", key))
            }),
        }
    }

    fn len(&self, key: &str) -> Result<Option<u64>, StoreError> {
        self.ask("inspect", key, || self.inner.len(key))
    }

    fn create(&self, key: &str, bytes: &[u8]) -> Result<bool, StoreError> {
        self.ask("create", key, || self.inner.create(key, bytes))
    }

    fn put(&self, file: &Path, key: &str) -> Result<(), StoreError> {
        self.ask("put", key, || self.inner.put(file, key))
    }

    fn list(&self, dir: &str) -> Result<Vec<ListedKey>, StoreError> {
        self.ask("list", dir, || self.inner.list(dir))
    }

    fn list_all(&self, dir: &str) -> Result<Vec<String>, StoreError> {
        self.ask("list", dir, || self.inner.list_all(dir))
    }

    fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.ask("remove", key, || self.inner.delete(key))
    }

    fn list_objects(&self, dir: &str) -> Result<Vec<ListedObject>, StoreError> {
        self.ask("list", dir, || self.inner.list_objects(dir))
    }

    fn delete_many(&self, keys: &[String]) -> Result<Removal, StoreError> {
        let key = keys.first().map_or("", String::as_str);
        self.ask("remove", key, || self.inner.delete_many(keys))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::memory::MemoryStore;

    #[test]
    fn a_lost_reply_is_of_a_request_that_was_carried_out() {
        let faults = Faults::at(1, Fault::Reply, StoreErrorKind::Unreachable);
        let store = FaultyStore::new(Arc::new(MemoryStore::default()), Arc::clone(&faults));
        assert!(store.create("a", b"1").unwrap());
        assert!(store.create("b", b"2").unwrap_err().is_unsure());
        assert_eq!(store.get("b").unwrap().as_deref(), Some(&b"2"[..]));
        assert_eq!(
            (faults.asked().join(", ").as_str(), faults.failed()),
            ("create a, create b, get b", 1)
        );
        let faults = Faults::at(0, Fault::Request, StoreErrorKind::Refused);
        let store = FaultyStore::new(Arc::new(MemoryStore::default()), faults);
        assert!(!store.create("a", b"1").unwrap_err().is_unsure());
        assert_eq!(store.get("a").unwrap(), None);
    }

    #[test]
    fn chance_is_seeded() {
        let run = |seed| {
            let faults = Faults::by_chance(20, seed);
            let store = FaultyStore::new(Arc::new(MemoryStore::default()), Arc::clone(&faults));
            let failed: Vec<bool> = (0..200).map(|_| store.get("x").is_err()).collect();
            assert!((20..60).contains(&faults.failed()), "{}", faults.failed());
            failed
        };
        assert_eq!(run(7), run(7));
        assert_ne!(run(7), run(8));
    }
}
