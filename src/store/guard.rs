//! Exclusive creation in stores without conditional writes: an intent lock protects the check and
//! the write.
//!
//! A writer creates a lock object of its own, lists the locks, and holds the lock only if its own
//! lock is the only one; otherwise the writer removes its lock and retries later. Clocks of
//! different machines are never compared: a lock that does not disappear while a writer watches it
//! for [`EXPIRY`] belongs to a dead process and is removed, and a holder that is slower than
//! [`HOLD`] gives up before it writes.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Abilities, ListedKey, ListedObject, Removal, Store, StoreError, StoreErrorKind, Take};
use crate::observe::{Notice, NoticeLevel, Observer};
use crate::sys::random::random_hex;
use crate::work::Cancelled;

/// A lock that a writer has watched for this time is removed. Longer than [`HOLD`] plus the longest
/// time that a small write takes.
// The sum of `HOLD` (30 s), three requests of 25 s, and 15 s for a request that arrives late
// (docs/decisions/0004).
pub const EXPIRY: Duration = Duration::from_secs(120);
/// A holder may begin a write only within this time after it created its lock.
const HOLD: Duration = Duration::from_secs(30);
/// Limit on the attempts of a write.
const ATTEMPTS: u32 = 6;
/// Pause between two attempts.
const PAUSE: Duration = Duration::from_millis(200);
/// Age at which the user is notified of a lock. A live holder releases its lock sooner, because it
/// needs only a few requests.
const NOTIFY_AFTER: Duration = Duration::from_secs(5);
/// The directory of the locks.
const LOCKS: &str = "sessions";

/// A lock that this process holds.
struct IntentLock {
    key: String,
    created: Instant,
}

/// A lock of another writer.
#[derive(Clone)]
struct ForeignLock {
    name: String,
    first_seen: Instant,
    notified: bool,
}

/// A store whose `create` is protected by an intent lock.
pub struct GuardedStore {
    inner: Arc<dyn Store>,
    /// The same store without retries, because a request under the lock must not be repeated
    /// blindly.
    plain: Arc<dyn Store>,
    observer: Arc<dyn Observer>,
    expiry: Duration,
}

impl GuardedStore {
    /// Protects a store without conditional writes. `plain` is the same store without retries.
    pub fn new(inner: Arc<dyn Store>, plain: Arc<dyn Store>, observer: Arc<dyn Observer>) -> Self {
        Self {
            inner,
            plain,
            observer,
            expiry: EXPIRY,
        }
    }

    /// Sets the time after which abandoned locks are removed; for tests.
    pub fn expiring(mut self, expiry: Duration) -> Self {
        self.expiry = expiry;
        self
    }

    /// Removes the writer's own lock, even after the user has cancelled, because a leftover lock
    /// delays other writers.
    fn release(&self, key: &str) -> Result<(), StoreError> {
        self.plain.delete(key).or_else(|_| self.inner.delete(key))
    }

    /// Acquires the lock on `folder`. `name` is the common prefix of the lock objects of the
    /// folder.
    fn lock(&self, name: &str, folder: &str) -> Result<IntentLock, StoreError> {
        let since = Instant::now();
        let mut seen: Option<ForeignLock> = None;
        let mut round = 0u32;
        loop {
            if self.observer.cancelled() {
                return Err(Cancelled.into());
            }
            // No lock is created while another one is visible, because it could not be acquired and
            // would delay its holder's successors.
            let mut others = self.locks(name)?;
            if others.is_empty() {
                // The name is never reused, so a waiter cannot mistake a new lock for an old one.
                let own = random_hex()?;
                let own = format!("{name}-{own}");
                let key = format!("{LOCKS}/{own}");
                // The time counts from before the request, because the lock may exist long before
                // the response arrives.
                let created = Instant::now();
                let now = self
                    .inner
                    .create(&key, own.as_bytes())
                    .and_then(|_| self.locks(name));
                // The lock may exist although its response was lost, so remove it after an error,
                // too.
                let now = now.inspect_err(|_| drop(self.release(&key)))?;
                // Every writer creates its lock before it lists, so at least one of two writers
                // sees the other.
                if now == [own.clone()] {
                    return Ok(IntentLock { key, created });
                }
                self.release(&key)?;
                others = now.into_iter().filter(|name| *name != own).collect();
            }
            match (&seen, others.first()) {
                (Some(lock), Some(_)) if others.contains(&lock.name) => {
                    // The age is measured with the clock of this process, from when it first saw
                    // the lock.
                    let (other, age) = (&lock.name, lock.first_seen.elapsed());
                    if age > self.expiry {
                        self.inner.delete(&format!("{LOCKS}/{other}"))?;
                        self.notify(
                            NoticeLevel::Info,
                            format!("removed the abandoned lock `{LOCKS}/{other}`"),
                        );
                        seen = None;
                    } else if age >= NOTIFY_AFTER.min(self.expiry / 2) && !lock.notified {
                        self.notify(NoticeLevel::Info, self.waiting_notice(other, folder, age));
                        seen = Some(ForeignLock {
                            notified: true,
                            ..lock.clone()
                        });
                    }
                }
                // The watched lock is gone and another one has taken its place, so the time starts
                // again.
                (_, Some(other)) => {
                    let message = format!(
                        "waiting for another writer of `{folder}` at {}",
                        self.inner.place()
                    );
                    self.notify(NoticeLevel::Detail, message);
                    seen = Some(ForeignLock {
                        name: other.clone(),
                        first_seen: Instant::now(),
                        notified: false,
                    });
                }
                (_, None) => {}
            }
            // A store that is too slow, or a crowd of writers, must end in an error and not in an
            // endless wait.
            if since.elapsed() > self.expiry * 3 {
                return Err(self.too_slow(
                    name,
                    "timeout: other writers held the intent lock for too long",
                ));
            }
            // Wait between one and two units; the unit grows from 20 ms to 0.64 s.
            let unit = 20u64 << round.min(5);
            round += 1;
            // The random part keeps two writers from colliding in every round. The text consists of
            // hex digits, so parsing it cannot fail.
            let dice = u64::from_str_radix(&random_hex()?[..8], 16).unwrap_or(0);
            super::pause::sleep(&*self.observer, Duration::from_millis(unit + dice % unit))?;
        }
    }

    fn notify(&self, level: NoticeLevel, message: String) {
        self.observer.notice(Notice {
            level,
            path: Vec::new(),
            message,
        });
    }

    /// Returns the notice about a lock that does not disappear.
    fn waiting_notice(&self, other: &str, folder: &str, age: Duration) -> String {
        let (place, age, expiry) = (self.inner.place(), age.as_secs(), self.expiry.as_secs());
        format!(
            "waiting for the lock `{LOCKS}/{other}` on `{folder}` at {place}: unchanged for {age} s; \
             it is considered abandoned and removed after {expiry} s"
        )
    }

    fn too_slow(&self, key: &str, detail: &str) -> StoreError {
        StoreError::remote(
            "lock",
            key,
            self.inner.place(),
            StoreErrorKind::Overloaded,
            detail,
        )
    }

    fn locks(&self, name: &str) -> Result<Vec<String>, StoreError> {
        Ok(self
            .names(LOCKS)?
            .into_iter()
            .filter(|key| key.starts_with(name))
            .collect())
    }

    fn names(&self, dir: &str) -> Result<Vec<String>, StoreError> {
        Ok(self
            .inner
            .list(dir)?
            .into_iter()
            .map(|listed| listed.name)
            .collect())
    }
}

impl Store for GuardedStore {
    fn abilities(&self) -> Abilities {
        Abilities {
            exclusive: false,
            ..self.inner.abilities()
        }
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

    /// Creates the object while this writer holds the lock on its directory, so that no other
    /// writer creates an object there at the same time.
    fn create(&self, key: &str, bytes: &[u8]) -> Result<bool, StoreError> {
        let folder = key.rsplit_once('/').map_or("", |(folder, _)| folder);
        // One lock covers one folder, so that pushes to different branches do not wait for each
        // other. The hash makes a single path component of the folder.
        let name = format!("lock-{}", &blake3::hash(folder.as_bytes()).to_hex()[..32]);
        let mut attempts = 0;
        loop {
            let lock = self.lock(&name, folder)?;
            // A write without a response may still arrive, so the lock must remain until the
            // outcome is known.
            let mut unsure = false;
            let done = loop {
                // Compare only the part before the first dot: the number of a ref entry must be
                // unique, even if another writer has used it with a different suffix.
                let number = key
                    .rsplit_once('/')
                    .map_or(key, |(_, name)| name)
                    .split('.')
                    .next()
                    .unwrap_or(key);
                let done = match self.names(folder) {
                    // The number is taken. The entry is this writer's own if an earlier attempt
                    // arrived although its response was lost.
                    Ok(names) if names.iter().any(|n| n.split('.').next() == Some(number)) => Some(
                        self.inner
                            .get(key)
                            .map(|there| there.as_deref() == Some(bytes)),
                    ),
                    // A slower holder must not write: other writers may remove its lock before the
                    // write arrives.
                    Ok(_) if lock.created.elapsed() < HOLD => {
                        let created = self.plain.create(key, bytes);
                        unsure |= created.as_ref().is_err_and(StoreError::is_unsure);
                        Some(created)
                    }
                    Ok(_) => None,
                    Err(e) => Some(Err(e)),
                };
                attempts += 1;
                let passes = matches!(&done, Some(Err(e)) if e.is_transient());
                if !passes || attempts >= ATTEMPTS || lock.created.elapsed() >= HOLD {
                    break done;
                }
                // The pause fails if the user has cancelled; then return the outcome so far.
                if super::pause::sleep(&*self.observer, PAUSE).is_err() {
                    break done;
                }
            };
            if unsure && !matches!(done, Some(Ok(_))) {
                // The lock is not released: other writers remove it after [`EXPIRY`], when the
                // write can no longer arrive.
                return done.unwrap_or_else(|| {
                    Err(self.too_slow(key, "responses are too slow to hold a lock"))
                });
            }
            let released = self.release(&lock.key);
            match done {
                // No write is under way here, so another attempt under a new lock is safe.
                Some(Err(e)) if e.is_transient() && attempts < ATTEMPTS => {}
                // The write is done. Other writers remove a leftover lock after [`EXPIRY`].
                Some(done) => return done,
                None if attempts >= ATTEMPTS => {
                    return Err(self.too_slow(key, "responses are too slow to hold a lock"));
                }
                // Stop if the lock could not be removed: the next attempt would wait for it until
                // it expires.
                None => released?,
            }
        }
    }

    fn put(&self, file: &Path, key: &str) -> Result<(), StoreError> {
        // Packs and segments are named by their content, so concurrent writers need no lock.
        self.inner.put(file, key)
    }

    fn replace(&self, file: &Path, key: &str) -> Result<(), StoreError> {
        self.inner.replace(file, key)
    }

    fn list(&self, dir: &str) -> Result<Vec<ListedKey>, StoreError> {
        self.inner.list(dir)
    }

    fn list_all(&self, dir: &str) -> Result<Vec<String>, StoreError> {
        self.inner.list_all(dir)
    }

    fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.inner.delete(key)
    }

    fn list_objects(&self, dir: &str) -> Result<Vec<ListedObject>, StoreError> {
        self.inner.list_objects(dir)
    }

    fn delete_many(&self, keys: &[String]) -> Result<Removal, StoreError> {
        self.inner.delete_many(keys)
    }

    fn age(&self, key: &str) -> Result<Option<Duration>, StoreError> {
        self.inner.age(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::Silent;
    use crate::store::memory::MemoryStore;

    /// A store that overwrites existing keys, like a server that ignores conditions.
    #[derive(Default)]
    struct UnconditionalStore(MemoryStore, Arc<Flag>);

    impl Store for UnconditionalStore {
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
            // The pause makes it likely that the writers overlap.
            std::thread::sleep(Duration::from_millis(2));
            self.1.0.store(
                key.starts_with("refs"),
                std::sync::atomic::Ordering::Relaxed,
            );
            self.0.overwrite(key, bytes.to_vec());
            Ok(true)
        }
        fn put(&self, file: &Path, key: &str) -> Result<(), StoreError> {
            self.0.put(file, key)
        }
        fn list(&self, dir: &str) -> Result<Vec<ListedKey>, StoreError> {
            self.0.list(dir)
        }
        fn delete(&self, key: &str) -> Result<(), StoreError> {
            self.0.delete(key)
        }
    }

    #[test]
    fn one_of_many_wins_without_conditional_writes() {
        let inner: Arc<dyn Store> = Arc::new(UnconditionalStore::default());
        let winners: Vec<u8> = std::thread::scope(|s| {
            let threads: Vec<_> = (0..8u8)
                .map(|n| {
                    let store =
                        GuardedStore::new(Arc::clone(&inner), Arc::clone(&inner), Arc::new(Silent));
                    s.spawn(move || {
                        store
                            .create("refs/heads/main/5", &[n])
                            .unwrap()
                            .then_some(n)
                    })
                })
                .collect();
            threads
                .into_iter()
                .filter_map(|t| t.join().unwrap())
                .collect()
        });
        assert_eq!(winners.len(), 1);
        assert_eq!(inner.get("refs/heads/main/5").unwrap(), Some(winners));
        assert!(inner.list_all("sessions").unwrap().is_empty());
    }

    /// Records the notices that are shown without `--verbose`.
    #[derive(Default)]
    struct NoticeRecorder(parking_lot::Mutex<Vec<String>>);

    impl Observer for NoticeRecorder {
        fn notice(&self, notice: Notice) {
            if notice.level > NoticeLevel::Detail {
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
    fn a_cancelled_writer_leaves_no_lock() {
        let flag = Arc::new(Flag::default());
        let observer: Arc<dyn Observer> = Arc::clone(&flag) as Arc<dyn Observer>;
        let plain: Arc<dyn Store> = Arc::new(UnconditionalStore(MemoryStore::default(), flag));
        let retried = Arc::new(super::super::retry::RetryStore::new(
            Arc::clone(&plain),
            Arc::clone(&observer),
        ));
        let store = GuardedStore::new(retried, Arc::clone(&plain), Arc::clone(&observer));
        store.create("refs/heads/main/5", b"x").unwrap();
        assert!(observer.cancelled());
        assert!(plain.list_all("sessions").unwrap().is_empty());
    }

    #[test]
    fn the_lock_of_a_dead_process_goes_away() {
        let inner: Arc<dyn Store> = Arc::new(UnconditionalStore::default());
        let recorder = Arc::new(NoticeRecorder::default());
        let observer: Arc<dyn Observer> = Arc::<NoticeRecorder>::clone(&recorder);
        let store = GuardedStore::new(Arc::clone(&inner), Arc::clone(&inner), observer)
            .expiring(Duration::from_millis(300));
        // Another process would use the same name for its lock on `refs`.
        let left = store
            .lock(
                &format!("lock-{}", &blake3::hash(b"refs").to_hex()[..32]),
                "refs",
            )
            .unwrap()
            .key;
        assert!(inner.get(&left).unwrap().is_some());
        assert!(store.create("refs/x", b"y").unwrap());
        assert!(inner.list_all("sessions").unwrap().is_empty());
        // The user was notified of the lock and of the waiting time.
        let notices = recorder.0.lock();
        assert!(
            notices[0].contains(&format!("waiting for the lock `{left}` on `refs`")),
            "{notices:?}"
        );
        assert!(
            notices[0].contains("is considered abandoned and removed after"),
            "{notices:?}"
        );
        assert_eq!(notices[1], format!("removed the abandoned lock `{left}`"));
    }
}
