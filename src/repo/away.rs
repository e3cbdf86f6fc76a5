//! A repository that is not on this machine: its immutable objects are read by ranges through the block cache.

use std::collections::{HashMap, HashSet, VecDeque};
use std::fs::File;
use std::io::{self, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};
use tempfile::NamedTempFile;

use super::{LocalRepo, Repo, layout};
use crate::cache::BlockCache;
use crate::error::{Result, carried};
use crate::format::pack::PackKind;
use crate::format::segment::PackName;
use crate::index::segment_reader::SegmentBytes;
use crate::model::id::{Id, ObjectKind};
use crate::store::{Abilities, ListedKey, ServerMessage, Store, StoreError, StoreErrorKind, Take};
use crate::sys::io_error::IoError;
use crate::work::fan_out;

/// Holes of this size between two ranges are fetched along: a request costs more. Where much is wanted they are up to a
/// sixteenth of it and [`GAP_MAX`]: what lies in them is as a rule wanted next.
const GAP: u64 = 256 << 10;
const GAP_MAX: u64 = 1 << 20;
/// So long after a read has failed for good nobody else tries.
const FAILED: Duration = Duration::from_secs(2);
/// One request carries at most this many bytes of what is fetched ahead: a region of the cache.
const PIECE: u64 = 4 << 20;
/// So many of these requests are under way: what a store can take of reads is more than what it can take of packs.
const READERS: usize = 16;

/// A far store whose packs and segments are read through the cache.
pub struct CachedStore {
    inner: Arc<dyn Store>,
    /// None where the store is as near as a cache would be.
    cache: Option<Arc<BlockCache>>,
    /// A repository on this machine that has some of the same objects.
    near: Option<PathBuf>,
    /// Lengths of objects, which never change.
    lens: Mutex<HashMap<String, u64>>,
    /// What `near` has, but damaged.
    not_near: Mutex<HashSet<String>>,
    /// When a read failed at last, and why: those who wait for the same need not find it out one after the other.
    failed: Mutex<Option<(Instant, String)>>,
    /// What is to be fetched ahead, in order. Whoever reads some of a piece before its turn fetches the piece.
    pieces: Mutex<VecDeque<Piece>>,
    calls: AtomicU64,
    /// What was fetched into the cache, with the length of each object.
    fetched: Mutex<HashMap<String, u64>>,
}

/// A part of an object that nobody has begun to fetch.
struct Piece {
    /// The call of [`CachedStore::fetch_ahead`] that wants it.
    call: u64,
    key: String,
    len: u64,
    range: Range<u64>,
}

impl CachedStore {
    /// Around a store; without a cache where it is a directory of this machine. What the repository `near` has is
    /// read there: a key names its content.
    pub fn new(inner: Arc<dyn Store>, cache: Option<Arc<BlockCache>>, near: Option<PathBuf>) -> Self {
        let (lens, not_near, failed) = (Mutex::default(), Mutex::default(), Mutex::default());
        Self {
            inner,
            cache,
            near,
            lens,
            not_near,
            failed,
            pieces: Mutex::default(),
            calls: AtomicU64::new(0),
            fetched: Mutex::default(),
        }
    }

    /// The store itself, for what must be read as it is now.
    pub fn direct(&self) -> &Arc<dyn Store> {
        &self.inner
    }

    /// Remembers the length of an object that somebody else told.
    pub fn learn(&self, key: &str, len: u64) {
        self.lens.lock().insert(key.to_owned(), len);
    }

    fn length(&self, key: &str) -> Result<u64, StoreError> {
        if let Some(len) = self.lens.lock().get(key) {
            return Ok(*len);
        }
        let near = self.near_file(key).and_then(|path| std::fs::metadata(path).ok()).map(|m| m.len());
        let len = near.map_or_else(|| self.inner.len(key), |len| Ok(Some(len)))?;
        let len = len.ok_or_else(|| StoreError::Missing { key: key.to_owned() })?;
        self.learn(key, len);
        Ok(len)
    }

    /// What this process fetched into the cache: objects and their lengths.
    pub fn fetched(&self) -> Vec<(String, u64)> {
        let fetched = self.fetched.lock();
        fetched.iter().map(|(key, len)| (key.clone(), *len)).collect()
    }

    /// Drops what is here of an object: it is damaged here or there.
    pub fn forget(&self, key: &str) {
        self.not_near.lock().insert(key.to_owned());
        if let (Ok(len), Some(cache)) = (self.length(key), &self.cache) {
            cache.forget(key, len);
        }
    }

    /// Brings ranges of objects into the cache: near ones in one request, many requests at a time.
    pub fn fetch_ahead(&self, wanted: &[(String, Vec<Range<u64>>)]) -> Result<u64, StoreError> {
        let Some(cache) = &self.cache else { return Ok(0) };
        let call = self.calls.fetch_add(1, Ordering::Relaxed);
        let mut pieces = Vec::new();
        let much: u64 = wanted.iter().flat_map(|(_, ranges)| ranges).map(|r| r.end - r.start).sum();
        let gap = (much / 16).clamp(GAP, GAP_MAX);
        for (key, ranges) in wanted {
            if self.near_file(key).is_some() {
                continue;
            }
            let len = self.length(key)?;
            for span in joined(cache.missing(key, len, ranges), gap) {
                let mut at = span.start;
                while at < span.end {
                    let end = ((at / PIECE + 1) * PIECE).min(span.end);
                    pieces.push(Piece { call, key: key.clone(), len, range: at..end });
                    at = end;
                }
            }
        }
        let bytes = pieces.iter().map(|p| p.range.end - p.range.start).sum();
        let threads = READERS.min(pieces.len());
        self.pieces().extend(pieces);
        let work = || -> Result<(), StoreError> {
            while let Some(piece) = self.take_piece(|p| p.call == call) {
                self.through(cache, &piece.key, piece.len, piece.range)?;
            }
            Ok(())
        };
        let done = fan_out::run(threads, work);
        // After an error some are left.
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

    /// The same object on this machine.
    pub(super) fn near_file(&self, key: &str) -> Option<PathBuf> {
        let near = self.near.as_ref().map(|near| near.join(key)).filter(|path| path.is_file())?;
        let damaged = self.not_near.lock().contains(key);
        (!damaged).then_some(near)
    }

    fn cached(&self, key: &str, len: u64, range: Range<u64>) -> Result<Vec<u8>, StoreError> {
        if let Some(Ok(file)) = self.near_file(key).map(File::open) {
            let mut bytes = vec![0; usize::try_from(range.end - range.start).unwrap_or(usize::MAX)];
            if FileExt::read_exact_at(&file, &mut bytes, range.start).is_ok() {
                return Ok(bytes);
            }
        }
        let Some(cache) = &self.cache else { return self.fetch(key, range) };
        while let Some(piece) =
            self.take_piece(|p| p.key == key && p.range.start < range.end && range.start < p.range.end)
        {
            // What cannot be had of it is found out once more below.
            let _ = self.through(cache, key, len, piece.range);
        }
        self.through(cache, key, len, range)
    }

    fn through(&self, cache: &BlockCache, key: &str, len: u64, range: Range<u64>) -> Result<Vec<u8>, StoreError> {
        cache.read(key, len, range, &|r| {
            self.fetched.lock().insert(key.to_owned(), len);
            self.fetch(key, r)
        })
    }

    fn fetch(&self, key: &str, range: Range<u64>) -> Result<Vec<u8>, StoreError> {
        let size = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
        let failed = || self.failed.lock();
        if let Some((_, detail)) = failed().as_ref().filter(|(at, _)| at.elapsed() < FAILED) {
            let (place, detail) = (self.inner.place(), ServerMessage(detail.clone()));
            let key = key.to_owned();
            return Err(StoreError::Remote { what: "read", key, place, error_kind: StoreErrorKind::TimedOut, detail });
        }
        self.inner.read_at(key, range.start, size).inspect_err(|e| {
            if e.is_transient() {
                *failed() = Some((Instant::now(), format!("a moment ago: {e}")));
            }
        })
    }
}

/// Ranges with small holes between them as one.
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
        self.inner.get(key)
    }

    fn read_at(&self, key: &str, offset: u64, len: usize) -> Result<Vec<u8>, StoreError> {
        if !is_immutable(key) {
            return self.inner.read_at(key, offset, len);
        }
        let (whole, end) = (self.length(key)?, offset.saturating_add(len as u64));
        if end > whole {
            return Err(StoreError::Missing { key: key.to_owned() });
        }
        self.cached(key, whole, offset..end)
    }

    fn read_from(&self, key: &str, offset: u64, take: &mut Take<'_>) -> Result<(), StoreError> {
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

    fn list(&self, dir: &str) -> Result<Vec<ListedKey>, StoreError> {
        let listed = self.inner.list(dir)?;
        if is_immutable(dir) {
            listed.iter().filter(|l| !l.is_dir).for_each(|l| self.learn(&format!("{dir}/{}", l.name), l.len));
        }
        Ok(listed)
    }

    fn list_all(&self, dir: &str) -> Result<Vec<String>, StoreError> {
        self.inner.list_all(dir)
    }

    fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.inner.delete(key)
    }
}

/// A whole pack as a file of this machine.
pub enum PackFile {
    /// Where it is.
    Here(PathBuf),
    /// A copy that goes away again.
    Fetched(NamedTempFile),
}

impl PackFile {
    /// Where it is now.
    pub fn path(&self) -> &Path {
        match self {
            Self::Here(path) => path,
            Self::Fetched(file) => file.path(),
        }
    }
}

impl Repo {
    /// Brings chunks that are not on this machine into the cache, those that lie near each other in one request. Returns
    /// the bytes that were asked for.
    pub fn fetch_ahead(&self, chunks: &[Id]) -> Result<u64> {
        let (Some(far), index) = (self.remote_store(), self.index()?) else {
            let mut missing = Vec::new();
            for id in chunks {
                if !self.has(ObjectKind::Chunk, id)? {
                    missing.push(*id);
                }
            }
            return match self.behind()? {
                Some(behind) if !missing.is_empty() => behind.fetch_ahead(&missing),
                _ => Ok(0),
            };
        };
        let mut packs: HashMap<PackName, Vec<Range<u64>>> = HashMap::new();
        for id in chunks {
            let Some(row) = index.lookup(PackKind::Data, id)? else { continue };
            for place in row.base.iter().chain([&row.place]) {
                let from = u64::from(place.offset);
                packs.entry(place.pack).or_default().push(from..from + u64::from(place.stored));
            }
        }
        let wanted: Vec<_> = packs.into_iter().map(|(pack, ranges)| (layout::pack(&pack), ranges)).collect();
        Ok(far.fetch_ahead(&wanted)?)
    }

    /// A pack as a file; one that is elsewhere is fetched whole. One that is missing is only found so when it is read.
    pub fn pack_file(&self, name: &PackName) -> Result<PackFile> {
        let key = layout::pack(name);
        if let Some(local) = self.as_local().map(LocalRepo::files) {
            return Ok(PackFile::Here(local.path(&key)));
        }
        let io = |source| IoError::new("keep a copy of", &key, source);
        let file = self.state_dir().map_or_else(|_| NamedTempFile::new(), NamedTempFile::new_in).map_err(io)?;
        // A store must not fill the disk with more than the pack has.
        let index = self.index()?;
        let known = PackKind::ALL.into_iter().find_map(|kind| index.pack_bytes(kind, name)).filter(|bytes| *bytes > 0);
        let mut left = known.unwrap_or(u64::MAX);
        self.store.read_from(&key, 0, &mut |bytes| {
            left = left.checked_sub(bytes.len() as u64).ok_or_else(|| StoreError::Missing { key: key.clone() })?;
            (&mut file.as_file()).write_all(bytes).map_err(|e| io(e).into())
        })?;
        Ok(PackFile::Fetched(file))
    }
}

/// An index segment of a far store.
pub(super) struct FarSegment {
    pub(super) store: Arc<CachedStore>,
    pub(super) key: String,
    pub(super) len: u64,
}

impl std::fmt::Debug for FarSegment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("FarSegment").field(&self.key).finish()
    }
}

impl SegmentBytes for FarSegment {
    fn total(&self) -> io::Result<u64> {
        Ok(self.len)
    }

    fn read_exact_at(&self, buffer: &mut [u8], at: u64) -> io::Result<()> {
        if at.saturating_add(buffer.len() as u64) > self.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let bytes = self.store.cached(&self.key, self.len, at..at + buffer.len() as u64).map_err(carried)?;
        buffer.copy_from_slice(&bytes);
        Ok(())
    }

    fn forget(&self) {
        self.store.forget(&self.key);
    }
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init, reason = "one range of a list of ranges")]
mod tests {
    use super::*;
    use crate::store::memory::MemoryStore;

    #[test]
    fn near_ranges_are_one_request() {
        assert_eq!(joined(vec![0..10, 20..30, 200_000..200_010], GAP), [0..200_010]);
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
            store.fetch_ahead(&[("packs/aa/x".to_owned(), vec![0..10, 5_000_000..9_000_000])]).unwrap() > 4_000_000
        );
        memory.delete("packs/aa/x").unwrap();
        assert_eq!(store.read_at("packs/aa/x", 6_000_000, 100_000).unwrap(), bytes[6_000_000..6_100_000]);
        assert_eq!(store.read_at("packs/aa/x", 1, 4).unwrap(), bytes[1..5]);
        assert!(matches!(store.read_at("packs/aa/x", 1_000_000, 4), Err(StoreError::Missing { .. })));
        assert!(matches!(store.read_at("packs/aa/x", 8_999_999, 2), Err(StoreError::Missing { .. })));
    }
}
