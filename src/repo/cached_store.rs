//! The store of a remote repository, which reads ranges of immutable objects through the block
//! cache.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};

use super::layout;
use crate::cache::BlockCache;
use crate::error::carried;
use crate::index::segment_reader::SegmentBytes;
use crate::store::{
    Abilities, ListedKey, ListedObject, Removal, Store, StoreError, StoreErrorKind, Take,
};
use crate::work::fan_out;

/// Gaps of at most this size between two ranges are fetched too, because one more request costs
/// more than the bytes. For a large fetch, the limit is a sixteenth of the requested bytes, up to
/// [`GAP_MAX`], because the bytes in the gaps are usually needed next.
const GAP: u64 = 256 << 10;
/// Upper bound of the limit on gaps.
const GAP_MAX: u64 = 1 << 20;
/// For this long after a failed read, other reads fail without sending a request.
const FAILED: Duration = Duration::from_secs(2);
/// Limit on the bytes of a request that fetches in advance: one region of the cache.
const PIECE: u64 = 4 << 20;
/// Number of concurrent requests that fetch in advance. Reads allow more concurrency than uploads
/// of packs.
const READERS: usize = 16;

/// A remote store that reads packs and index segments through the cache.
pub struct CachedStore {
    inner: Arc<dyn Store>,
    /// `None` if the store is a directory, which is as fast as the cache.
    cache: Option<Arc<BlockCache>>,
    /// Directory of a local repository that has some of the same objects.
    local: Option<PathBuf>,
    /// Known lengths of objects; the length of an immutable object never changes.
    lens: Mutex<HashMap<String, u64>>,
    /// Objects whose copy in `local` is damaged.
    damaged_local: Mutex<HashSet<String>>,
    /// Time and error of the last failed read, so that threads which wait for the same server do
    /// not all run into the time limit one after the other.
    failed: Mutex<Option<(Instant, String)>>,
    /// Pieces to fetch in advance, in order. A reader that needs a part of a waiting piece fetches
    /// that piece itself.
    pieces: Mutex<VecDeque<Piece>>,
    calls: AtomicU64,
    /// Objects that this process has partly fetched into the cache, with their lengths.
    fetched: Mutex<HashMap<String, u64>>,
}

/// A part of an object that is to be fetched in advance and that no thread has started to fetch.
struct Piece {
    /// Number of the call of [`CachedStore::fetch_ahead`] that has requested the piece.
    call: u64,
    key: String,
    len: u64,
    range: Range<u64>,
}

impl CachedStore {
    /// Wraps a store. A local directory needs no cache. Objects that the repository in `local` has
    /// are read from there, because equal keys mean equal content.
    pub fn new(
        inner: Arc<dyn Store>,
        cache: Option<Arc<BlockCache>>,
        local: Option<PathBuf>,
    ) -> Self {
        Self {
            inner,
            cache,
            local,
            lens: Mutex::default(),
            damaged_local: Mutex::default(),
            failed: Mutex::default(),
            pieces: Mutex::default(),
            calls: AtomicU64::new(0),
            fetched: Mutex::default(),
        }
    }

    /// Returns the store without the cache, for objects that can change.
    pub fn direct(&self) -> &Arc<dyn Store> {
        &self.inner
    }

    /// Records the length of an object, so that no request is needed for it.
    pub fn learn(&self, key: &str, len: u64) {
        self.lens.lock().insert(key.to_owned(), len);
    }

    fn length(&self, key: &str) -> Result<u64, StoreError> {
        if let Some(len) = self.lens.lock().get(key) {
            return Ok(*len);
        }
        let local = self
            .local_file(key)
            .and_then(|path| std::fs::metadata(path).ok())
            .map(|m| m.len());
        // The local copy answers without a request, because equal keys mean equal bytes.
        let len = local.map_or_else(|| self.inner.len(key), |len| Ok(Some(len)))?;
        let len = len.ok_or_else(|| StoreError::Missing {
            key: key.to_owned(),
        })?;
        self.learn(key, len);
        Ok(len)
    }

    /// Returns the objects that this process has partly fetched into the cache, with their lengths.
    pub fn fetched(&self) -> Vec<(String, u64)> {
        let fetched = self.fetched.lock();
        fetched
            .iter()
            .map(|(key, len)| (key.clone(), *len))
            .collect()
    }

    /// Stops using the copy of an object in the local repository, and drops its cached blocks,
    /// because one of them is damaged.
    pub fn forget(&self, key: &str) {
        self.damaged_local.lock().insert(key.to_owned());
        if let (Ok(len), Some(cache)) = (self.length(key), &self.cache) {
            cache.forget(key, len);
        }
    }

    /// Drops the cached blocks of an object that the store does not have any more.
    pub fn drop_cached(&self, key: &str) {
        let len = self.lens.lock().remove(key);
        self.fetched.lock().remove(key);
        if let (Some(len), Some(cache)) = (len, &self.cache) {
            cache.forget(key, len);
        }
    }

    /// Fetches ranges of objects into the cache with several concurrent requests. Ranges that are
    /// close together share a request. Returns the number of fetched bytes. Does nothing without a
    /// cache.
    pub fn fetch_ahead(&self, wanted: &[(String, Vec<Range<u64>>)]) -> Result<u64, StoreError> {
        let Some(cache) = &self.cache else {
            return Ok(0);
        };
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        let mut pieces = Vec::new();
        let much: u64 = wanted
            .iter()
            .flat_map(|(_, ranges)| ranges)
            .map(|r| r.end - r.start)
            .sum();
        let gap = (much / 16).clamp(GAP, GAP_MAX);
        for (key, ranges) in wanted {
            // A local object is read from the local repository, so a copy in the cache would waste
            // space.
            if self.local_file(key).is_some() {
                continue;
            }
            let len = self.length(key)?;
            for span in joined(cache.missing(key, len, ranges), gap) {
                let mut at = span.start;
                while at < span.end {
                    // Split at the region boundaries of the cache, because the cache writes
                    // complete regions at once.
                    let end = ((at / PIECE + 1) * PIECE).min(span.end);
                    pieces.push(Piece {
                        call,
                        key: key.clone(),
                        len,
                        range: at..end,
                    });
                    at = end;
                }
            }
        }
        let bytes = pieces.iter().map(|p| p.range.end - p.range.start).sum();
        let threads = READERS.min(pieces.len());
        self.pieces().extend(pieces);
        let work = || -> Result<(), StoreError> {
            // Threads of another call may have taken some pieces already, so the loop ends when
            // none is left.
            while let Some(piece) = self.take_piece(|p| p.call == call) {
                self.through(cache, &piece.key, piece.len, piece.range)?;
            }
            Ok(())
        };
        let done = fan_out::run(threads, work);
        // After an error, remove the remaining pieces of this call.
        self.pieces().retain(|p| p.call != call);
        done.map(|()| bytes)
    }

    fn pieces(&self) -> MutexGuard<'_, VecDeque<Piece>> {
        self.pieces.lock()
    }

    fn take_piece(&self, is_it: impl Fn(&Piece) -> bool) -> Option<Piece> {
        let mut pieces = self.pieces();
        let at = pieces.iter().position(is_it)?;
        pieces.remove(at)
    }

    /// Returns the path of the same object in the local repository, if it exists and is not known
    /// to be damaged.
    pub(super) fn local_file(&self, key: &str) -> Option<PathBuf> {
        let path = self
            .local
            .as_ref()
            .map(|root| root.join(key))
            .filter(|path| path.is_file())?;
        let damaged = self.damaged_local.lock().contains(key);
        (!damaged).then_some(path)
    }

    fn cached(&self, key: &str, len: u64, range: Range<u64>) -> Result<Vec<u8>, StoreError> {
        // An unreadable or short local file is not an error here, because the remote has the
        // object, too.
        if let Some(Ok(file)) = self.local_file(key).map(File::open) {
            let mut bytes = vec![0; usize::try_from(range.end - range.start).unwrap_or(usize::MAX)];
            if FileExt::read_exact_at(&file, &mut bytes, range.start).is_ok() {
                return Ok(bytes);
            }
        }
        let Some(cache) = &self.cache else {
            return self.fetch(key, range);
        };
        // Fetching only a part of a queued piece would split it and cause three times as many
        // requests (docs/decisions/0007).
        while let Some(piece) = self
            .take_piece(|p| p.key == key && p.range.start < range.end && range.start < p.range.end)
        {
            // Ignore an error here, because the read below reports it.
            let _ = self.through(cache, key, len, piece.range);
        }
        self.through(cache, key, len, range)
    }

    fn through(
        &self,
        cache: &BlockCache,
        key: &str,
        len: u64,
        range: Range<u64>,
    ) -> Result<Vec<u8>, StoreError> {
        cache.read(key, len, range, &|r| {
            self.fetched.lock().insert(key.to_owned(), len);
            self.fetch(key, r)
        })
    }

    fn fetch(&self, key: &str, range: Range<u64>) -> Result<Vec<u8>, StoreError> {
        let size = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
        let failed = || self.failed.lock();
        if let Some((_, detail)) = failed().as_ref().filter(|(at, _)| at.elapsed() < FAILED) {
            return Err(StoreError::remote(
                "read",
                key,
                self.inner.place(),
                StoreErrorKind::TimedOut,
                detail,
            ));
        }
        // Only errors of the network count. A missing object says nothing about the next request.
        self.inner.read_at(key, range.start, size).inspect_err(|e| {
            if e.is_transient() {
                *failed() = Some((
                    Instant::now(),
                    format!("not retried, because a request failed a moment ago: {e}"),
                ));
            }
        })
    }
}

/// Joins ranges if the gap between them is at most `gap` bytes. The ranges must be sorted.
fn joined(ranges: Vec<Range<u64>>, gap: u64) -> Vec<Range<u64>> {
    let mut out: Vec<Range<u64>> = Vec::new();
    for range in ranges {
        match out.last_mut() {
            Some(last) if range.start <= last.end + gap => last.end = last.end.max(range.end),
            _ => out.push(range),
        }
    }
    out
}

fn is_immutable(key: &str) -> bool {
    key.starts_with(layout::PACKS) || key.starts_with(layout::INDEX)
}

impl Store for CachedStore {
    fn abilities(&self) -> Abilities {
        self.inner.abilities()
    }

    fn place(&self) -> String {
        self.inner.place()
    }

    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        // Refs and the marker can change, so they are never cached.
        self.inner.get(key)
    }

    fn read_at(&self, key: &str, offset: u64, len: usize) -> Result<Vec<u8>, StoreError> {
        if !is_immutable(key) {
            return self.inner.read_at(key, offset, len);
        }
        let (whole, end) = (self.length(key)?, offset.saturating_add(len as u64));
        if end > whole {
            return Err(StoreError::Missing {
                key: key.to_owned(),
            });
        }
        self.cached(key, whole, offset..end)
    }

    fn read_from(&self, key: &str, offset: u64, take: &mut Take<'_>) -> Result<(), StoreError> {
        // Whole objects are streamed once, so they would only displace useful blocks of the cache.
        self.inner.read_from(key, offset, take)
    }

    fn len(&self, key: &str) -> Result<Option<u64>, StoreError> {
        self.inner.len(key)
    }

    fn create(&self, key: &str, bytes: &[u8]) -> Result<bool, StoreError> {
        self.inner.create(key, bytes)
    }

    fn put(&self, file: &Path, key: &str) -> Result<(), StoreError> {
        self.inner.put(file, key)
    }

    fn replace(&self, file: &Path, key: &str) -> Result<(), StoreError> {
        self.inner.replace(file, key)
    }

    fn list(&self, dir: &str) -> Result<Vec<ListedKey>, StoreError> {
        let listed = self.inner.list(dir)?;
        // A listing has the lengths, which saves one request per object.
        if is_immutable(dir) {
            listed
                .iter()
                .filter(|l| !l.is_dir)
                .for_each(|l| self.learn(&format!("{dir}/{}", l.name), l.len));
        }
        Ok(listed)
    }

    fn list_all(&self, dir: &str) -> Result<Vec<String>, StoreError> {
        self.inner.list_all(dir)
    }

    fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.inner.delete(key)
    }

    fn list_objects(&self, dir: &str) -> Result<Vec<ListedObject>, StoreError> {
        let listed = self.inner.list_objects(dir)?;
        if is_immutable(dir) {
            // A registry does not list the lengths of all objects.
            let known = listed.iter().filter(|object| object.len > 0);
            known.for_each(|object| self.learn(&object.key, object.len));
        }
        Ok(listed)
    }

    fn delete_many(&self, keys: &[String]) -> Result<Removal, StoreError> {
        let removed = self.inner.delete_many(keys)?;
        keys.iter().for_each(|key| self.drop_cached(key));
        Ok(removed)
    }

    fn age(&self, key: &str) -> Result<Option<Duration>, StoreError> {
        self.inner.age(key)
    }
}

/// An index segment in a remote store.
pub(super) struct RemoteSegment {
    pub(super) store: Arc<CachedStore>,
    pub(super) key: String,
    pub(super) len: u64,
}

impl std::fmt::Debug for RemoteSegment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("RemoteSegment").field(&self.key).finish()
    }
}

impl SegmentBytes for RemoteSegment {
    fn total(&self) -> io::Result<u64> {
        Ok(self.len)
    }

    fn read_exact_at(&self, buffer: &mut [u8], at: u64) -> io::Result<()> {
        // The length comes from a listing, and a damaged footer may refer to bytes beyond the end.
        if at.saturating_add(buffer.len() as u64) > self.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let bytes = self
            .store
            .cached(&self.key, self.len, at..at + buffer.len() as u64)
            .map_err(carried)?;
        buffer.copy_from_slice(&bytes);
        Ok(())
    }

    fn forget(&self) {
        self.store.forget(&self.key);
    }
}

#[cfg(test)]
#[allow(
    clippy::single_range_in_vec_init,
    reason = "one range of a list of ranges"
)]
mod tests {
    use super::*;
    use crate::store::memory::MemoryStore;

    #[test]
    fn close_ranges_are_one_request() {
        assert_eq!(
            joined(vec![0..10, 20..30, 200_000..200_010], GAP),
            [0..200_010]
        );
        assert_eq!(joined(vec![0..10, 1_000_000..1_000_010], GAP).len(), 2);
    }

    #[test]
    fn ranges_come_from_the_cache_once_they_were_fetched() {
        let dir = tempfile::tempdir().unwrap();
        let memory = Arc::new(MemoryStore::default());
        let bytes: Vec<u8> = (0..9_000_000u32).map(|n| n.to_le_bytes()[1]).collect();
        memory.overwrite("packs/aa/x", bytes.clone());
        let cache = Arc::new(BlockCache::new(dir.path().to_path_buf(), 1 << 30));
        let store = CachedStore::new(Arc::clone(&memory) as Arc<dyn Store>, Some(cache), None);
        assert!(
            store
                .fetch_ahead(&[("packs/aa/x".to_owned(), vec![0..10, 5_000_000..9_000_000])])
                .unwrap()
                > 4_000_000
        );
        memory.delete("packs/aa/x").unwrap();
        assert_eq!(
            store.read_at("packs/aa/x", 6_000_000, 100_000).unwrap(),
            bytes[6_000_000..6_100_000]
        );
        assert_eq!(store.read_at("packs/aa/x", 1, 4).unwrap(), bytes[1..5]);
        assert!(matches!(
            store.read_at("packs/aa/x", 1_000_000, 4),
            Err(StoreError::Missing { .. })
        ));
        assert!(matches!(
            store.read_at("packs/aa/x", 8_999_999, 2),
            Err(StoreError::Missing { .. })
        ));
    }
}
