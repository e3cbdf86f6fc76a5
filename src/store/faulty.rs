//! A store that fails as a test wants: at one request, or by a seeded chance; before the request is carried out, or
//! after it, so that only the reply is lost. What was asked is written down.

use std::path::Path;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use super::{Abilities, Listed, Said, Store, StoreError, Take, Trouble};

/// What goes wrong with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It does not arrive.
    Request,
    /// It is carried out, and nobody is told.
    Reply,
}

/// Which requests go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    Never,
    /// The one with this number, counted from 0.
    At(u64, Fault),
    /// So many of a hundred, either way.
    Chance(u64),
}

/// What goes wrong, shared by all stores that are opened for one place.
#[derive(Debug)]
pub struct Faults {
    when: When,
    trouble: Trouble,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    dice: u64,
    asked: Vec<String>,
    failed: u64,
}

impl Faults {
    fn new(when: When, trouble: Trouble, seed: u64) -> Arc<Self> {
        let state = State { dice: seed | 1, asked: Vec::new(), failed: 0 };
        Arc::new(Self { when, trouble, state: Mutex::new(state) })
    }

    /// Nothing fails; what is asked is written down.
    pub fn none() -> Arc<Self> {
        Self::new(When::Never, Trouble::Unreachable, 1)
    }

    /// Request `number`, counted from 0, fails with `trouble`.
    pub fn at(number: u64, fault: Fault, trouble: Trouble) -> Arc<Self> {
        Self::new(When::At(number, fault), trouble, 1)
    }

    /// So many of a hundred requests fail, half of them after they were carried out.
    pub fn by_chance(percent: u64, seed: u64) -> Arc<Self> {
        Self::new(When::Chance(percent), Trouble::Unreachable, seed)
    }

    /// Every request so far, as `create refs/...`.
    pub fn asked(&self) -> Vec<String> {
        self.state().asked.clone()
    }

    /// How many failed.
    pub fn failed(&self) -> u64 {
        self.state().failed
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    fn next(&self, what: &str, key: &str) -> Option<Fault> {
        let mut state = self.state();
        let number = state.asked.len() as u64;
        state.asked.push(format!("{what} {key}"));
        let fault = match self.when {
            When::Never => None,
            When::At(at, fault) => (at == number).then_some(fault),
            When::Chance(percent) => {
                state.dice ^= state.dice << 13;
                state.dice ^= state.dice >> 7;
                state.dice ^= state.dice << 17;
                let (hit, half) = (state.dice % 100 < percent, (state.dice >> 32) & 1 == 0);
                hit.then_some(if half { Fault::Request } else { Fault::Reply })
            }
        };
        state.failed += u64::from(fault.is_some());
        fault
    }
}

/// A store around another.
pub struct FaultyStore {
    inner: Arc<dyn Store>,
    faults: Arc<Faults>,
    exclusive: bool,
}

impl FaultyStore {
    /// Fails as `faults` says.
    pub fn new(inner: Arc<dyn Store>, faults: Arc<Faults>) -> Self {
        Self { inner, faults, exclusive: true }
    }

    /// Says that it does not decide races, so that it is guarded.
    pub fn modest(mut self) -> Self {
        self.exclusive = false;
        self
    }

    fn error(&self, what: &'static str, key: &str) -> StoreError {
        let (place, trouble) = (self.inner.place(), self.faults.trouble);
        StoreError::Away { what, key: key.to_owned(), place, trouble, said: Said("a fault on purpose".to_owned()) }
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
        Abilities { exclusive: inner.exclusive && self.exclusive, ..inner }
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

    /// Where the reply is lost, half of the first piece has come.
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
        self.ask("look at", key, || self.inner.len(key))
    }

    fn create(&self, key: &str, bytes: &[u8]) -> Result<bool, StoreError> {
        self.ask("create", key, || self.inner.create(key, bytes))
    }

    fn put(&self, file: &Path, key: &str) -> Result<(), StoreError> {
        self.ask("put", key, || self.inner.put(file, key))
    }

    fn list(&self, dir: &str) -> Result<Vec<Listed>, StoreError> {
        self.ask("list", dir, || self.inner.list(dir))
    }

    fn list_all(&self, dir: &str) -> Result<Vec<String>, StoreError> {
        self.ask("list", dir, || self.inner.list_all(dir))
    }

    fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.ask("remove", key, || self.inner.delete(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::memory::MemoryStore;

    #[test]
    fn a_lost_reply_is_of_a_request_that_was_carried_out() {
        let faults = Faults::at(1, Fault::Reply, Trouble::Unreachable);
        let store = FaultyStore::new(Arc::new(MemoryStore::default()), Arc::clone(&faults));
        assert!(store.create("a", b"1").unwrap());
        assert!(store.create("b", b"2").unwrap_err().is_unsure());
        assert_eq!(store.get("b").unwrap().as_deref(), Some(&b"2"[..]));
        assert_eq!((faults.asked().join(", ").as_str(), faults.failed()), ("create a, create b, get b", 1));
        let faults = Faults::at(0, Fault::Request, Trouble::Refused);
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
