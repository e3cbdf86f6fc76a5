//! Retries requests after transient errors, with growing pauses. The user sees the retries. A
//! request that is not idempotent is never repeated blindly.
//!
//! A conditional write without a response is repeated. If the key then exists, the store reads the
//! key back, because a lost response must not turn success into failure.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Abilities, ListedKey, ListedObject, Removal, Store, StoreError, Take};
use crate::observe::{Notice, NoticeLevel, Observer};
use crate::work::Cancelled;

/// Limit on the attempts of a request.
// The pauses add up to 3.1 s.
const ATTEMPTS: u32 = 6;
/// The first pause; each further pause is twice as long.
const PAUSE: Duration = Duration::from_millis(100);

/// A store that retries requests.
pub struct RetryStore {
    inner: Arc<dyn Store>,
    observer: Arc<dyn Observer>,
    patience: Option<Duration>,
}

impl RetryStore {
    /// Wraps another store.
    pub fn new(inner: Arc<dyn Store>, observer: Arc<dyn Observer>) -> Self {
        Self {
            inner,
            observer,
            patience: None,
        }
    }

    /// Sets the time after which a failed `get`, `read_at` or `len` is not retried; `None` means no
    /// limit.
    pub fn patient(self, patience: Option<Duration>) -> Self {
        Self { patience, ..self }
    }

    /// Waits before the next attempt. Returns the error if there is no further attempt.
    fn pause(&self, attempt: u32, error: StoreError) -> Result<(), StoreError> {
        if attempt + 1 >= ATTEMPTS || !error.is_transient() {
            return Err(error);
        }
        let pause = PAUSE * 2u32.pow(attempt);
        let causes = std::error::Error::source(&error)
            .map(|e| format!(" ({e})"))
            .unwrap_or_default();
        let message = format!("{error}{causes}; retrying in {:.1} s", pause.as_secs_f32());
        self.observer.notice(Notice {
            level: NoticeLevel::Detail,
            path: Vec::new(),
            message,
        });
        let mut left = pause;
        while !left.is_zero() {
            if self.observer.cancelled() {
                return Err(Cancelled.into());
            }
            let step = left.min(Duration::from_millis(100));
            std::thread::sleep(step);
            left -= step;
        }
        Ok(())
    }

    /// Runs a read with retries. A read may block a process that cannot be interrupted, such as a
    /// reader of a mount, so the retries end after `patience`.
    fn read<T>(&self, mut request: impl FnMut() -> Result<T, StoreError>) -> Result<T, StoreError> {
        let begun = Instant::now();
        let mut attempt = 0;
        loop {
            if self.observer.cancelled() {
                return Err(Cancelled.into());
            }
            match request() {
                Err(e) if self.patience.is_some_and(|limit| begun.elapsed() >= limit) => {
                    return Err(e);
                }
                Err(e) => self.pause(attempt, e)?,
                done => return done,
            }
            attempt += 1;
        }
    }

    fn retry<T>(
        &self,
        mut request: impl FnMut() -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut attempt = 0;
        loop {
            if self.observer.cancelled() {
                return Err(Cancelled.into());
            }
            match request() {
                Err(e) => self.pause(attempt, e)?,
                done => return done,
            }
            attempt += 1;
        }
    }
}

impl Store for RetryStore {
    fn abilities(&self) -> Abilities {
        self.inner.abilities()
    }

    fn place(&self) -> String {
        self.inner.place()
    }

    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        self.read(|| self.inner.get(key))
    }

    fn read_at(&self, key: &str, offset: u64, len: usize) -> Result<Vec<u8>, StoreError> {
        self.read(|| self.inner.read_at(key, offset, len))
    }

    fn read_from(&self, key: &str, offset: u64, take: &mut Take<'_>) -> Result<(), StoreError> {
        let mut at = offset;
        let mut taken = Ok(());
        let mut attempt = 0;
        loop {
            let before = at;
            let read = self.inner.read_from(key, at, &mut |bytes| {
                at += bytes.len() as u64;
                // An error of the consumer must not be retried, so it is kept apart from errors of
                // the store.
                take(bytes).map_err(|e| {
                    taken = Err(e);
                    Cancelled.into()
                })
            });
            std::mem::replace(&mut taken, Ok(()))?;
            // Progress resets the attempts, so that they count only failures without progress.
            attempt = if at > before { 0 } else { attempt };
            match read {
                Err(e) => self.pause(attempt, e)?,
                done => return done,
            }
            attempt += 1;
        }
    }

    fn len(&self, key: &str) -> Result<Option<u64>, StoreError> {
        self.read(|| self.inner.len(key))
    }

    fn create(&self, key: &str, bytes: &[u8]) -> Result<bool, StoreError> {
        let mut unsure = false;
        let mut attempt = 0;
        loop {
            match self.inner.create(key, bytes) {
                // Either another writer has won, or an earlier attempt succeeded and its response
                // was lost. The bytes decide, because entries of different writers differ.
                Ok(false) if unsure => return Ok(self.get(key)?.as_deref() == Some(bytes)),
                Err(e) if e.is_unsure() => {
                    unsure = true;
                    self.pause(attempt, e)?;
                }
                done => return done,
            }
            attempt += 1;
        }
    }

    fn put(&self, file: &Path, key: &str) -> Result<(), StoreError> {
        self.retry(|| self.inner.put(file, key))
    }

    fn replace(&self, file: &Path, key: &str) -> Result<(), StoreError> {
        self.retry(|| self.inner.replace(file, key))
    }

    fn list(&self, dir: &str) -> Result<Vec<ListedKey>, StoreError> {
        self.retry(|| self.inner.list(dir))
    }

    fn list_all(&self, dir: &str) -> Result<Vec<String>, StoreError> {
        self.retry(|| self.inner.list_all(dir))
    }

    fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.retry(|| self.inner.delete(key))
    }

    fn list_objects(&self, dir: &str) -> Result<Vec<ListedObject>, StoreError> {
        self.retry(|| self.inner.list_objects(dir))
    }

    /// A key of a removed object is never used again, so all removals may be repeated.
    fn delete_many(&self, keys: &[String]) -> Result<Removal, StoreError> {
        self.retry(|| self.inner.delete_many(keys))
    }

    fn age(&self, key: &str) -> Result<Option<Duration>, StoreError> {
        self.read(|| self.inner.age(key))
    }
}
