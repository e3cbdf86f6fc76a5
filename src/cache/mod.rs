//! A bounded cache on the local disk for blocks of immutable objects of remote stores.
//!
//! Objects are divided into regions. Each region is a sparse file that begins with one byte per
//! block, which is 1 if the block is present, and one checksum per block. The cache syncs nothing:
//! a block whose checksum does not match counts as absent. The content that the remote returned is
//! not trusted either; the caller checks object ids, and calls `forget` when an id does not match.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::codec::hash::checksum;
use crate::sys::create;

pub mod weighted;

/// Number of bytes that are fetched and stored together.
pub const BLOCK: u64 = 64 << 10;
/// Number of blocks in a region.
const BLOCKS: u64 = 64;
/// Offset of the first block in the file of a region.
const HEAD: u64 = 4096;
/// Offset of the first checksum, after one byte per block.
const SUMS: u64 = BLOCKS;
/// Length of a checksum in bytes.
const SUM: u64 = 16;
/// Number of bytes of an object that one region covers.
const REGION: u64 = BLOCK * BLOCKS;
/// Number of new bytes after which the cache checks its limit; an eighth of the limit if that is
/// less.
const CHECK_LIMIT_EVERY: u64 = 64 << 20;
/// Limit on the number of files that are open at the same time.
const OPEN_MAX: usize = 256;
/// Minimum interval between two updates of the time of last use of a region.
const MARK_EVERY: Duration = Duration::from_secs(600);

/// A directory of cached blocks.
#[derive(Debug)]
pub struct BlockCache {
    dir: PathBuf,
    limit_bytes: u64,
    /// Bytes added since the last check of the limit.
    new_bytes: AtomicU64,
    /// Open regions, by object, in which blocks have been read and verified.
    open: Mutex<HashMap<String, HashMap<u64, Region>>>,
    /// Blocks that a thread is fetching.
    fetching: (Mutex<HashSet<(String, u64)>>, Condvar),
}

/// A claim on blocks that the current thread is fetching. Dropping the claim wakes the threads that
/// wait for the blocks.
struct FetchClaim<'c> {
    cache: &'c BlockCache,
    blocks: Vec<(String, u64)>,
}

impl Drop for FetchClaim<'_> {
    fn drop(&mut self) {
        let (fetching, finished) = &self.cache.fetching;
        let mut fetching = fetching.lock();
        for block in &self.blocks {
            fetching.remove(block);
        }
        finished.notify_all();
    }
}

/// An open region.
#[derive(Debug)]
struct Region {
    file: Arc<File>,
    inode: u64,
    /// Last update of the time of last use.
    marked: Instant,
    /// One bit per block whose checksum was verified.
    verified: u64,
}

impl BlockCache {
    /// Returns the cache in `dir`, which is created when the first block is stored.
    pub fn new(dir: PathBuf, limit_bytes: u64) -> Self {
        Self {
            dir,
            limit_bytes,
            new_bytes: AtomicU64::new(0),
            open: Mutex::default(),
            fetching: <_>::default(),
        }
    }

    /// Returns the bytes `range` of an object of `len` bytes. Calls `fetch` for the blocks that the
    /// cache does not contain, once for each contiguous run of whole blocks.
    pub fn read<E>(
        &self,
        object: &str,
        len: u64,
        range: Range<u64>,
        fetch: &dyn Fn(Range<u64>) -> Result<Vec<u8>, E>,
    ) -> Result<Vec<u8>, E> {
        if let Some(bytes) = self.read_verified(object, &range) {
            return Ok(bytes);
        }
        let size = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
        let blocks = range.start / BLOCK..range.end.min(len).div_ceil(BLOCK);
        let from = blocks.start * BLOCK;
        let mut bytes = vec![0; size(blocks.end * BLOCK - from)];
        let mut missing: Vec<Range<u64>> = Vec::new();
        for block in blocks {
            let at = size(block * BLOCK - from);
            let slot = bytes.get_mut(at..at + size(BLOCK)).unwrap_or_default();
            if self.load(object, len, block, slot) {
                continue;
            }
            match missing.last_mut() {
                Some(run) if run.end == block => run.end += 1,
                _ => missing.push(block..block + 1),
            }
        }
        while let Some(run) = missing.pop() {
            // Only one thread fetches a block. A block that arrived between the check above and the
            // claim is fetched twice, which is harmless.
            let Some(claim) = self.claim(object, &run) else {
                // Another thread has fetched a part of this run. Check its blocks again, because
                // that thread may have failed, and fetch the rest.
                for block in run.clone() {
                    let at = size(block * BLOCK - from);
                    let slot = bytes.get_mut(at..at + size(BLOCK)).unwrap_or_default();
                    if !self.load(object, len, block, slot) {
                        match missing.last_mut() {
                            Some(last) if last.end == block && run.contains(&last.start) => {
                                last.end += 1
                            }
                            _ => missing.push(block..block + 1),
                        }
                    }
                }
                continue;
            };
            let span = run.start * BLOCK..(run.end * BLOCK).min(len);
            let fetched = fetch(span.clone())?;
            let at = size(span.start - from);
            // A remote may return fewer or more bytes than requested.
            let end = at + fetched.len().min(size(span.end - span.start));
            if let Some(slot) = bytes.get_mut(at..end) {
                slot.copy_from_slice(&fetched[..end - at]);
            }
            // Ignore the error, because a cache that cannot store a block is only slower.
            let _ = self.keep(object, run.start, &fetched);
            drop(claim);
        }
        let (start, end) = (size(range.start - from), size(range.end - from));
        bytes.truncate(end);
        bytes.drain(..start);
        Ok(bytes)
    }

    /// Claims blocks for this thread. If other threads have claimed some of the blocks, waits until
    /// they have released these and returns `None`.
    fn claim<'c>(&'c self, object: &str, run: &Range<u64>) -> Option<FetchClaim<'c>> {
        let (fetching, finished) = &self.fetching;
        let mut fetching = fetching.lock();
        let blocks = || run.clone().map(|block| (object.to_owned(), block));
        if blocks().any(|block| fetching.contains(&block)) {
            while blocks().any(|block| fetching.contains(&block)) {
                finished.wait(&mut fetching);
            }
            return None;
        }
        fetching.extend(blocks());
        Some(FetchClaim {
            cache: self,
            blocks: blocks().collect(),
        })
    }

    /// Reads `range` without verifying checksums, if the range is in one region and this process
    /// has verified all its blocks before. Returns `None` otherwise.
    fn read_verified(&self, object: &str, range: &Range<u64>) -> Option<Vec<u8>> {
        let region = range.start / REGION;
        let (first, last) = (
            range.start / BLOCK % BLOCKS,
            range.end.checked_sub(1)? / BLOCK % BLOCKS,
        );
        // A range in two regions takes the slow path, which handles any number of regions.
        if (range.end - 1) / REGION != region {
            return None;
        }
        let wanted = bits(first, last - first + 1);
        let file = {
            let mut open = self.opened();
            let region = open.get_mut(object)?.get_mut(&region)?;
            if region.marked.elapsed() > MARK_EVERY {
                region.marked = Instant::now();
                mark_used(&region.file);
            }
            (region.verified & wanted == wanted).then(|| Arc::clone(&region.file))?
        };
        let mut bytes = vec![0; usize::try_from(range.end - range.start).ok()?];
        file.read_exact_at(&mut bytes, HEAD + range.start % REGION)
            .ok()?;
        Some(bytes)
    }

    /// Records that blocks of an open file are valid. All blocks must belong to one region.
    fn mark_verified(&self, object: &str, blocks: &Range<u64>, file: File) {
        let mut open = self.opened();
        // `forget` removes the file while it holds the lock of `open`, so a file that still exists
        // here was not forgotten.
        let still = fs::metadata(self.path(object, blocks.start / BLOCKS)).map(|m| m.ino());
        let Some(inode) = file
            .metadata()
            .map(|m| m.ino())
            .ok()
            .filter(|i| still.is_ok_and(|s| s == *i))
        else {
            return;
        };
        if open.values().map(HashMap::len).sum::<usize>() >= OPEN_MAX {
            open.clear();
        }
        if !open.contains_key(object) {
            open.insert(object.to_owned(), HashMap::new());
        }
        let Some(regions) = open.get_mut(object) else {
            return;
        };
        let fresh = Region {
            file: Arc::new(file),
            inode,
            marked: Instant::now(),
            verified: 0,
        };
        let region = match regions.entry(blocks.start / BLOCKS) {
            // Another process has removed and recreated the file.
            Entry::Occupied(mut old) if old.get().inode != inode => {
                old.insert(fresh);
                old.into_mut()
            }
            entry => entry.or_insert(fresh),
        };
        region.verified |= bits(blocks.start % BLOCKS, blocks.end - blocks.start);
    }

    fn opened(&self) -> MutexGuard<'_, HashMap<String, HashMap<u64, Region>>> {
        self.open.lock()
    }

    /// Returns the parts of `ranges` that are not in the cache, as whole blocks, sorted and merged.
    pub fn missing(&self, object: &str, len: u64, ranges: &[Range<u64>]) -> Vec<Range<u64>> {
        let mut out: Vec<Range<u64>> = Vec::new();
        let mut sorted = ranges.to_vec();
        sorted.sort_unstable_by_key(|r| r.start);
        for range in sorted {
            for block in range.start / BLOCK..range.end.min(len).div_ceil(BLOCK) {
                let span = block * BLOCK..((block + 1) * BLOCK).min(len);
                if out.last().is_some_and(|last| last.end >= span.end) || self.has(object, block) {
                    continue;
                }
                match out.last_mut() {
                    Some(last) if last.end == span.start => last.end = span.end,
                    _ => out.push(span),
                }
            }
        }
        out
    }

    /// Removes all blocks of an object.
    pub fn forget(&self, object: &str, len: u64) {
        let mut open = self.opened();
        open.remove(object);
        for region in 0..len.div_ceil(REGION) {
            let _ = fs::remove_file(self.path(object, region));
        }
    }

    fn path(&self, object: &str, region: u64) -> PathBuf {
        let name: String = object
            .chars()
            // The name of an object becomes one path component.
            .map(|c| if c == '/' { '-' } else { c })
            .collect();
        let dir = object
            // Regions are spread over directories by the first two characters of the object's last
            // component, which is usually a hash.
            .rsplit('/')
            .next()
            .and_then(|last| last.get(..2))
            .unwrap_or("xx");
        self.dir.join(dir).join(format!("{name}.{region}"))
    }

    fn has(&self, object: &str, block: u64) -> bool {
        let mut present = [0];
        let file = File::open(self.path(object, block / BLOCKS));
        file.is_ok_and(|f| f.read_exact_at(&mut present, block % BLOCKS).is_ok()) && present == [1]
    }

    fn load(&self, object: &str, len: u64, block: u64, slot: &mut [u8]) -> bool {
        let Ok(file) = File::open(self.path(object, block / BLOCKS)) else {
            return false;
        };
        let mut present = [0];
        let within = block % BLOCKS;
        if file.read_exact_at(&mut present, within).is_err() || present != [1] {
            return false;
        }
        let bytes = usize::try_from((len - block * BLOCK).min(BLOCK)).unwrap_or(0);
        let Some(slot) = slot.get_mut(..bytes) else {
            return false;
        };
        let mut sum = [0; 16];
        let read = file.read_exact_at(slot, HEAD + within * BLOCK).is_ok()
            && file.read_exact_at(&mut sum, SUMS + within * SUM).is_ok()
            && checksum(&[slot]) == sum;
        if read {
            mark_used(&file);
            self.mark_verified(object, &(block..block + 1), file);
        }
        read
    }

    /// Stores blocks that belong to one region. The blocks count as verified, because they come
    /// from memory.
    fn keep_run(&self, object: &str, first: u64, bytes: &[u8]) -> io::Result<()> {
        let path = self.path(object, first / BLOCKS);
        let mut options = OpenOptions::new();
        options.read(true).write(true);
        let open = || create::open_private(&path, &options);
        let file = match open() {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                create::private_dir(&self.dir)?;
                create::dir(path.parent().unwrap_or(&self.dir))?;
                open()?
            }
            file => file?,
        };
        let within = first % BLOCKS;
        // The last block of an object may be shorter. Its checksum covers only its own bytes.
        let sums: Vec<[u8; 16]> = bytes
            .chunks(usize::try_from(BLOCK).unwrap_or(1))
            .map(|block| checksum(&[block]))
            .collect();
        // The flags come last, so that another process never reads an incomplete block. After a
        // crash the writes may be in any order, and the checksum decides.
        file.write_all_at(bytes, HEAD + within * BLOCK)?;
        file.write_all_at(sums.as_flattened(), SUMS + within * SUM)?;
        file.write_all_at(&vec![1; sums.len()], within)?;
        self.mark_verified(object, &(first..first + sums.len() as u64), file);
        Ok(())
    }

    fn keep(&self, object: &str, first: u64, bytes: &[u8]) -> io::Result<()> {
        let (mut block, mut rest) = (first, bytes);
        while !rest.is_empty() {
            let most = usize::try_from((BLOCKS - block % BLOCKS) * BLOCK).unwrap_or(usize::MAX);
            let (run, more) = rest.split_at(rest.len().min(most));
            self.keep_run(object, block, run)?;
            block += (run.len() as u64).div_ceil(BLOCK);
            rest = more;
        }
        let new = self
            .new_bytes
            .fetch_add(bytes.len() as u64, Ordering::Relaxed)
            + bytes.len() as u64;
        // A check lists the whole cache, so not every write causes one.
        if new > CHECK_LIMIT_EVERY.min(self.limit_bytes / 8) {
            self.new_bytes.store(0, Ordering::Relaxed);
            self.shrink()?;
        }
        Ok(())
    }

    /// Shrinks the cache to nine tenths of the limit if the limit is exceeded.
    fn shrink(&self) -> io::Result<()> {
        if self.used_bytes()? > self.limit_bytes {
            // Leave some space, because each removal lists the whole cache.
            self.shrink_to(self.limit_bytes / 10 * 9)?;
        }
        Ok(())
    }

    /// Removes the least recently used regions until at most `limit_bytes` remain. Returns the
    /// number of bytes that remain.
    pub fn shrink_to(&self, limit_bytes: u64) -> io::Result<u64> {
        let mut regions = stored_regions(&self.dir)?;
        let mut total: u64 = regions.iter().map(|r| r.stored_bytes).sum();
        // Close all regions, because an open file keeps its disk space after its removal.
        self.opened().clear();
        regions.sort_unstable_by_key(|r| r.used);
        for region in regions {
            if total <= limit_bytes {
                break;
            }
            if fs::remove_file(region.path).is_ok() {
                total -= region.stored_bytes;
            }
        }
        Ok(total)
    }

    /// Returns the number of bytes on disk.
    pub fn used_bytes(&self) -> io::Result<u64> {
        Ok(stored_regions(&self.dir)?
            .iter()
            .map(|r| r.stored_bytes)
            .sum())
    }
}

/// Returns a mask of `count` blocks from `first` on. `count` is at least 1.
fn bits(first: u64, count: u64) -> u64 {
    (u64::MAX >> (BLOCKS - count)) << first
}

/// The file of a region.
struct StoredRegion {
    used: SystemTime,
    stored_bytes: u64,
    path: PathBuf,
}

/// Returns all regions on disk.
fn stored_regions(dir: &Path) -> io::Result<Vec<StoredRegion>> {
    let mut all = Vec::new();
    let dirs = match fs::read_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(all),
        dirs => dirs?,
    };
    for dir in dirs.flatten() {
        for entry in fs::read_dir(dir.path()).into_iter().flatten().flatten() {
            if let Ok(meta) = entry.metadata() {
                let used = meta.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                all.push(StoredRegion {
                    used,
                    // Regions are sparse, so their length says nothing about their disk space.
                    // `st_blocks` counts units of 512 bytes (stat(3type)).
                    stored_bytes: meta.blocks() * 512,
                    path: entry.path(),
                });
            }
        }
    }
    Ok(all)
}

fn mark_used(file: &File) {
    // The modification time serves as the time of last use, because access times are often switched
    // off.
    let modified = file.metadata().and_then(|m| m.modified());
    if modified.is_ok_and(|at| at.elapsed().is_ok_and(|age| age > MARK_EVERY)) {
        let _ = file.set_modified(SystemTime::now());
    }
}

#[cfg(test)]
#[allow(
    clippy::single_range_in_vec_init,
    reason = "one range of a list of ranges"
)]
mod tests {
    use super::*;
    use parking_lot::Mutex;

    fn object(len: usize) -> Vec<u8> {
        (0..len)
            .map(|n| u8::try_from(n * 7 / 3 % 251).unwrap())
            .collect()
    }

    #[test]
    fn what_was_read_once_is_not_fetched_again() {
        let dir = tempfile::tempdir().unwrap();
        let cache = BlockCache::new(dir.path().join("c"), 1 << 30);
        let bytes = object(10_000_000);
        let asked = Mutex::new(Vec::new());
        let fetch = |r: Range<u64>| {
            asked.lock().push(r.clone());
            Ok::<_, ()>(
                bytes[usize::try_from(r.start).unwrap()..usize::try_from(r.end).unwrap()].to_vec(),
            )
        };
        let len = bytes.len() as u64;
        for range in [
            0..10,
            65_530..65_540,
            4_190_000..4_200_000,
            9_999_990..10_000_000,
            0..len,
        ] {
            let expected =
                &bytes[usize::try_from(range.start).unwrap()..usize::try_from(range.end).unwrap()];
            assert_eq!(
                cache.read("packs/ab/abcd", len, range, &fetch).unwrap(),
                expected
            );
        }
        let before = asked.lock().len();
        assert_eq!(
            cache.read("packs/ab/abcd", len, 0..len, &fetch).unwrap(),
            bytes
        );
        assert_eq!(asked.lock().len(), before);
        assert!(
            cache
                .missing("packs/ab/abcd", len, &[5..6, 100..len])
                .is_empty()
        );
        assert_eq!(
            cache.missing("packs/ab/abce", len, &[5..6, 70_000..140_000]),
            [0..BLOCK * 3]
        );
        cache.forget("packs/ab/abcd", len);
        assert_eq!(cache.missing("packs/ab/abcd", len, &[0..1]).len(), 1);
        assert_eq!(
            cache.read("packs/ab/abcd", len, 1..3, &|_| Err(())),
            Err(())
        );
    }

    #[test]
    fn a_block_that_is_not_as_it_was_written_is_fetched_again() {
        let dir = tempfile::tempdir().unwrap();
        let bytes = object(300_000);
        let fetched = Mutex::new(0);
        let fetch = |r: Range<u64>| {
            *fetched.lock() += 1;
            Ok::<_, ()>(
                bytes[usize::try_from(r.start).unwrap()..usize::try_from(r.end).unwrap()].to_vec(),
            )
        };
        let len = bytes.len() as u64;
        // Each read uses a new cache, because a cache verifies a block only once.
        let process = || BlockCache::new(dir.path().to_path_buf(), 1 << 30);
        let read = || {
            process()
                .read("packs/ab/abcd", len, 0..len, &fetch)
                .unwrap()
                == bytes
        };
        assert!(read() && read());
        assert_eq!(*fetched.lock(), 1);
        let path = process().path("packs/ab/abcd", 0);
        let file = File::options().write(true).open(&path).unwrap();
        // Damages the second block.
        file.write_all_at(b"x", HEAD + BLOCK + 5).unwrap();
        assert!(read() && read());
        assert_eq!(*fetched.lock(), 2);
        // The last block of a short object is not valid for a longer object.
        file.set_len(HEAD + 4 * BLOCK + 5).unwrap();
        file.set_len(HEAD + 5 * BLOCK).unwrap();
        assert!(read() && read());
        assert_eq!(*fetched.lock(), 3);
    }

    #[test]
    fn a_file_that_another_process_made_anew_is_another_file() {
        let dir = tempfile::tempdir().unwrap();
        let [ours, theirs] = [0, 1].map(|_| BlockCache::new(dir.path().to_path_buf(), 1 << 30));
        let bytes = object(300_000);
        let part = |r: Range<u64>| {
            bytes[usize::try_from(r.start).unwrap()..usize::try_from(r.end).unwrap()].to_vec()
        };
        let read = |cache: &BlockCache, block: u64| {
            let range = block * BLOCK + 7..block * BLOCK + 70;
            let read = cache.read("packs/ab/abcd", bytes.len() as u64, range.clone(), &|r| {
                Ok::<_, ()>(part(r))
            });
            assert_eq!(read.unwrap(), part(range), "{block}");
        };
        read(&ours, 0);
        read(&ours, 0);
        // `theirs` plays another process, which recreates the file with block 1 only.
        fs::remove_file(ours.path("packs/ab/abcd", 0)).unwrap();
        read(&theirs, 1);
        for block in [1, 1, 0, 0, 1] {
            read(&ours, block);
        }
        assert!(
            ours.missing("packs/ab/abcd", bytes.len() as u64, &[0..2 * BLOCK])
                .is_empty()
        );
        ours.forget("packs/ab/abcd", bytes.len() as u64);
        assert!(
            ours.read("packs/ab/abcd", bytes.len() as u64, 0..1, &|_| Err(()))
                .is_err()
        );
    }

    #[test]
    fn it_stays_below_its_limit() {
        let dir = tempfile::tempdir().unwrap();
        // Forty objects of 1 MiB do not fit into 8 MiB.
        let cache = BlockCache::new(dir.path().to_path_buf(), 8 << 20);
        for n in 0..40 {
            let fetch =
                |r: Range<u64>| Ok::<_, ()>(vec![n; usize::try_from(r.end - r.start).unwrap()]);
            cache
                .read(&format!("packs/aa/{n}"), 1 << 20, 0..1 << 20, &fetch)
                .unwrap();
            assert!(cache.used_bytes().unwrap() <= 10 << 20);
        }
        assert!(cache.used_bytes().unwrap() >= 4 << 20);
    }
}
