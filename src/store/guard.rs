//! Exclusive creation for stores that have none: an intent lock around "is it there?" and "write it".
//!
//! A writer puts a lock object of its own, lists, and holds the lock only if it sees its own and no other; else it
//! withdraws and tries later. No clock is compared with another: a lock that does not go away while somebody watches
//! it for [`EXPIRY`] belongs to a dead process and is removed, and a holder that was slower than [`HOLD`] gives up
//! before it writes.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Abilities, Listed, Said, Store, StoreError, Take, Trouble, random_hex};
use crate::observe::{Level, Notice, Observer};

/// A lock that was watched so long is taken away. Longer than [`HOLD`] and the longest time that a small write takes.
pub const EXPIRY: Duration = Duration::from_secs(120);
/// A holder writes only so long after it put its lock.
const HOLD: Duration = Duration::from_secs(30);
/// A write that fails is tried so often.
const ATTEMPTS: u32 = 6;
/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(200);
/// A lock that stays for so long is worth a word to the user: a live holder needs a few requests.
const TELL: Duration = Duration::from_secs(5);
/// Where locks lie.
const LOCKS: &str = "sessions";

/// A store whose `create` is guarded.
pub struct GuardedStore {
    inner: Arc<dyn Store>,
    /// The same without retries: what is done under the lock is done once.
    plain: Arc<dyn Store>,
    observer: Arc<dyn Observer>,
    expiry: Duration,
}

impl GuardedStore {
    /// Around a store that does not decide races; `plain` is the same store without retries.
    pub fn new(inner: Arc<dyn Store>, plain: Arc<dyn Store>, observer: Arc<dyn Observer>) -> Self {
        Self { inner, plain, observer, expiry: EXPIRY }
    }

    /// Takes locks of the dead away sooner; for tests.
    pub fn expiring(mut self, expiry: Duration) -> Self {
        self.expiry = expiry;
        self
    }

    /// Takes an own lock away, also where the user wants everything to stop: one that is left keeps others waiting.
    fn release(&self, key: &str) -> Result<(), StoreError> {
        self.plain.delete(key).or_else(|_| self.inner.delete(key))
    }

    /// The lock's key, and when it was put. All locks of `folder` begin with `name`.
    fn lock(&self, name: &str, folder: &str) -> Result<(String, Instant), StoreError> {
        let since = Instant::now();
        // A foreign lock, since when it is seen, and whether the user knows of it.
        let mut seen: Option<(String, Instant, bool)> = None;
        let mut round = 0u32;
        loop {
            if self.observer.cancelled() {
                return Err(StoreError::Cancelled);
            }
            let mut others = self.locks(name)?;
            if others.is_empty() {
                let own = random_hex()?;
                let own = format!("{name}-{own}");
                let key = format!("{LOCKS}/{own}");
                let put = Instant::now();
                let now = self.inner.create(&key, own.as_bytes()).and_then(|_| self.locks(name));
                let now = now.inspect_err(|_| drop(self.release(&key)))?;
                if now == [own.clone()] {
                    return Ok((key, put));
                }
                self.release(&key)?;
                others = now.into_iter().filter(|name| *name != own).collect();
            }
            match (&seen, others.first()) {
                (Some((other, first, told)), Some(_)) if others.contains(other) => {
                    let age = first.elapsed();
                    if age > self.expiry {
                        self.inner.delete(&format!("{LOCKS}/{other}"))?;
                        self.tell(Level::Info, format!("removed the lock `{LOCKS}/{other}` that a dead process left"));
                        seen = None;
                    } else if age >= TELL.min(self.expiry / 2) && !told {
                        self.tell(Level::Info, self.waits(other, folder, age));
                        seen = Some((other.clone(), *first, true));
                    }
                }
                (_, Some(other)) => {
                    let message =
                        format!("another process is writing to `{folder}` at {}; waiting", self.inner.place());
                    self.tell(Level::Detail, message);
                    seen = Some((other.clone(), Instant::now(), false));
                }
                (_, None) => {}
            }
            if since.elapsed() > self.expiry * 3 {
                return Err(self.too_slow(name, "others hold its intent lock again and again"));
            }
            // Between one and two units, which grow to 0.64 s.
            let unit = 20u64 << round.min(5);
            round += 1;
            let dice = u64::from_str_radix(&random_hex()?[..8], 16).unwrap_or(0);
            super::runtime::sleep(&*self.observer, Duration::from_millis(unit + dice % unit))?;
        }
    }

    fn tell(&self, level: Level, message: String) {
        self.observer.notice(Notice { level, path: Vec::new(), message });
    }

    /// What is said of a lock that does not go away.
    fn waits(&self, other: &str, folder: &str, age: Duration) -> String {
        let (place, age, expiry) = (self.inner.place(), age.as_secs(), self.expiry.as_secs());
        format!(
            "waiting for the lock `{LOCKS}/{other}` on `{folder}` at {place}: seen unchanged for {age} s; \
             it is removed after {expiry} s, as left over by a dead process"
        )
    }

    fn too_slow(&self, key: &str, said: &str) -> StoreError {
        let (key, place, said) = (key.to_owned(), self.inner.place(), Said(said.to_owned()));
        StoreError::Away { what: "lock", key, place, trouble: Trouble::Overloaded, said }
    }

    fn locks(&self, name: &str) -> Result<Vec<String>, StoreError> {
        Ok(self.names(LOCKS)?.into_iter().filter(|key| key.starts_with(name)).collect())
    }

    fn names(&self, dir: &str) -> Result<Vec<String>, StoreError> {
        Ok(self.inner.list(dir)?.into_iter().map(|listed| listed.name).collect())
    }
}

impl Store for GuardedStore {
    fn abilities(&self) -> Abilities {
        Abilities { exclusive: false, ..self.inner.abilities() }
    }

    fn place(&self) -> String {
        self.inner.place()
    }

    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.inner.get(key)
    }

    fn read_at(&self, key: &str, offset: u64, len: usize) -> Result<Vec<u8>, StoreError> {
        self.inner.read_at(key, offset, len)
    }

    fn read_from(&self, key: &str, offset: u64, take: &mut Take<'_>) -> Result<(), StoreError> {
        self.inner.read_from(key, offset, take)
    }

    fn len(&self, key: &str) -> Result<Option<u64>, StoreError> {
        self.inner.len(key)
    }

    /// Nobody else creates anything in the same folder meanwhile.
    fn create(&self, key: &str, bytes: &[u8]) -> Result<bool, StoreError> {
        let folder = key.rsplit_once('/').map_or("", |(folder, _)| folder);
        let name = format!("lock-{}", &blake3::hash(folder.as_bytes()).to_hex()[..32]);
        let mut attempts = 0;
        loop {
            let (lock, put) = self.lock(&name, folder)?;
            // A write that was not answered may still arrive: until it is settled the lock must stand.
            let mut unsure = false;
            let done = loop {
                // Somebody may have numbered an entry of this folder in another way: the number is what counts.
                let number = key.rsplit_once('/').map_or(key, |(_, name)| name).split('.').next().unwrap_or(key);
                let done = match self.names(folder) {
                    Ok(names) if names.iter().any(|n| n.split('.').next() == Some(number)) => {
                        Some(self.inner.get(key).map(|there| there.as_deref() == Some(bytes)))
                    }
                    Ok(_) if put.elapsed() < HOLD => {
                        let created = self.plain.create(key, bytes);
                        unsure |= created.as_ref().is_err_and(StoreError::is_unsure);
                        Some(created)
                    }
                    Ok(_) => None,
                    Err(e) => Some(Err(e)),
                };
                attempts += 1;
                let passes = matches!(&done, Some(Err(e)) if e.passes());
                if !passes || attempts >= ATTEMPTS || put.elapsed() >= HOLD {
                    break done;
                }
                // An error is that everything shall stop; what is known by then counts.
                if super::runtime::sleep(&*self.observer, PAUSE).is_err() {
                    break done;
                }
            };
            if unsure && !matches!(done, Some(Ok(_))) {
                // It goes away by itself, when no write can arrive any more.
                return done.unwrap_or_else(|| Err(self.too_slow(key, "it answers too slowly to hold a lock")));
            }
            let released = self.release(&lock);
            match done {
                Some(Err(e)) if e.passes() && attempts < ATTEMPTS => {}
                // The write stands; a lock that is left over goes away by itself.
                Some(done) => return done,
                None if attempts >= ATTEMPTS => return Err(self.too_slow(key, "it answers too slowly to hold a lock")),
                None => released?,
            }
        }
    }

    fn put(&self, file: &Path, key: &str) -> Result<(), StoreError> {
        self.inner.put(file, key)
    }

    fn list(&self, dir: &str) -> Result<Vec<Listed>, StoreError> {
        self.inner.list(dir)
    }

    fn list_all(&self, dir: &str) -> Result<Vec<String>, StoreError> {
        self.inner.list_all(dir)
    }

    fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.inner.delete(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::Silent;
    use crate::store::memory::MemoryStore;

    /// Says that every key is free: what a server does that ignores conditions.
    #[derive(Default)]
    struct Careless(MemoryStore, Arc<Flag>);

    impl Store for Careless {
        fn abilities(&self) -> Abilities {
            self.0.abilities()
        }
        fn place(&self) -> String {
            self.0.place()
        }
        fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
            self.0.get(key)
        }
        fn read_at(&self, key: &str, offset: u64, len: usize) -> Result<Vec<u8>, StoreError> {
            self.0.read_at(key, offset, len)
        }
        fn len(&self, key: &str) -> Result<Option<u64>, StoreError> {
            self.0.len(key)
        }
        fn create(&self, key: &str, bytes: &[u8]) -> Result<bool, StoreError> {
            std::thread::sleep(Duration::from_millis(2));
            self.1.0.store(key.starts_with("refs"), std::sync::atomic::Ordering::Relaxed);
            self.0.overwrite(key, bytes.to_vec());
            Ok(true)
        }
        fn put(&self, file: &Path, key: &str) -> Result<(), StoreError> {
            self.0.put(file, key)
        }
        fn list(&self, dir: &str) -> Result<Vec<Listed>, StoreError> {
            self.0.list(dir)
        }
        fn delete(&self, key: &str) -> Result<(), StoreError> {
            self.0.delete(key)
        }
    }

    #[test]
    fn one_of_many_wins_on_a_careless_store() {
        let inner: Arc<dyn Store> = Arc::new(Careless::default());
        let winners: Vec<u8> = std::thread::scope(|s| {
            let threads: Vec<_> = (0..8u8)
                .map(|n| {
                    let store = GuardedStore::new(Arc::clone(&inner), Arc::clone(&inner), Arc::new(Silent));
                    s.spawn(move || store.create("refs/heads/main/5", &[n]).unwrap().then_some(n))
                })
                .collect();
            threads.into_iter().filter_map(|t| t.join().unwrap()).collect()
        });
        assert_eq!(winners.len(), 1);
        assert_eq!(inner.get("refs/heads/main/5").unwrap(), Some(winners));
        assert!(inner.list_all("sessions").unwrap().is_empty());
    }

    /// Keeps what is said to users who did not ask for details.
    #[derive(Default)]
    struct Told(parking_lot::Mutex<Vec<String>>);

    impl Observer for Told {
        fn notice(&self, notice: Notice) {
            if notice.level > Level::Detail {
                self.0.lock().push(notice.message);
            }
        }
    }

    /// Becomes true while a ref is being written.
    #[derive(Default)]
    struct Flag(std::sync::atomic::AtomicBool);

    impl Observer for Flag {
        fn cancelled(&self) -> bool {
            self.0.load(std::sync::atomic::Ordering::Relaxed)
        }
    }

    #[test]
    fn whoever_is_stopped_leaves_no_lock() {
        let flag = Arc::new(Flag::default());
        let observer: Arc<dyn Observer> = Arc::clone(&flag) as Arc<dyn Observer>;
        let plain: Arc<dyn Store> = Arc::new(Careless(MemoryStore::default(), flag));
        let retried = Arc::new(super::super::retry::RetryStore::new(Arc::clone(&plain), Arc::clone(&observer)));
        let store = GuardedStore::new(retried, Arc::clone(&plain), Arc::clone(&observer));
        store.create("refs/heads/main/5", b"x").unwrap();
        assert!(observer.cancelled());
        assert!(plain.list_all("sessions").unwrap().is_empty());
    }

    #[test]
    fn the_lock_of_a_dead_process_goes_away() {
        let inner: Arc<dyn Store> = Arc::new(Careless::default());
        let told = Arc::new(Told::default());
        let observer: Arc<dyn Observer> = Arc::<Told>::clone(&told);
        let store =
            GuardedStore::new(Arc::clone(&inner), Arc::clone(&inner), observer).expiring(Duration::from_millis(300));
        let (left, _) = store.lock(&format!("lock-{}", &blake3::hash(b"refs").to_hex()[..32]), "refs").unwrap();
        assert!(inner.get(&left).unwrap().is_some());
        assert!(store.create("refs/x", b"y").unwrap());
        assert!(inner.list_all("sessions").unwrap().is_empty());
        // Meanwhile the user was told what is waited for, and for how long.
        let told = told.0.lock();
        assert!(told[0].contains(&format!("waiting for the lock `{left}` on `refs`")), "{told:?}");
        assert!(told[0].contains("it is removed after"), "{told:?}");
        assert_eq!(told[1], format!("removed the lock `{left}` that a dead process left"));
    }
}
