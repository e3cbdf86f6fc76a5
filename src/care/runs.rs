//! Sets of object ids that need not fit into memory: sorted 8-byte prefixes in temporary files.
//!
//! In: ids, added by several threads. Out: one sorted set for each kind of pack, which is read in
//! order or searched. Two ids with the same prefix count as one, so a set may contain too many
//! objects, but never too few.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::{BufReader, BufWriter, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;
use tempfile::NamedTempFile;

use crate::error::Result;
use crate::format::pack::PackKind;
use crate::model::id::Id;
use crate::sys::create;
use crate::sys::io_error::IoError;

/// Number of prefixes in the buffer of a thread and kind at which the buffer is written as a run: 4
/// MiB.
const RUN_PREFIXES: usize = 512 << 10;
/// Maximum number of runs that are merged in one pass.
const FAN_IN: usize = 64;
/// Number of prefixes in a page of a set. A search reads one page.
const PAGE: usize = 512;
/// Length of a prefix in bytes.
const WIDTH: usize = 8;
/// Number of merged bytes of a run after which their space is freed.
const RELEASED: u64 = 256 << 10;

/// Collects ids and writes them as sorted runs.
pub(super) struct PrefixRuns {
    dir: PathBuf,
    runs: Mutex<[Vec<NamedTempFile>; 3]>,
}

/// The ids of one thread that are not in a run yet.
pub(super) struct PrefixBuffer<'r> {
    runs: &'r PrefixRuns,
    pending: [Vec<u64>; 3],
}

/// A sorted set of prefixes without duplicates.
#[derive(Debug)]
pub(super) struct PrefixSet {
    /// `None` if the set is empty.
    file: Option<NamedTempFile>,
    len: usize,
    /// The first prefix of each page.
    firsts: Vec<u64>,
}

/// The sets of all kinds of packs.
pub(super) type PrefixSets = [PrefixSet; 3];

impl PrefixRuns {
    /// Creates an empty collection whose temporary files are in `dir`.
    pub(super) fn new(dir: &Path) -> Self {
        Self {
            dir: dir.to_path_buf(),
            runs: Mutex::default(),
        }
    }

    /// Returns a buffer for one thread.
    pub(super) fn buffer(&self) -> PrefixBuffer<'_> {
        PrefixBuffer {
            runs: self,
            pending: Default::default(),
        }
    }

    /// Merges all runs. The caller has flushed every buffer.
    pub(super) fn merge(self) -> Result<PrefixSets> {
        let [data, list, tree] = self.runs.into_inner();
        let merge = |runs| merge_all(&self.dir, runs);
        Ok([merge(data)?, merge(list)?, merge(tree)?])
    }
}

impl PrefixBuffer<'_> {
    /// Buffers the prefix of an id. Writes the buffer as a run when it is full.
    pub(super) fn add(&mut self, kind: PackKind, id: &Id) -> Result<()> {
        let pending = &mut self.pending[usize::from(kind.number())];
        pending.push(id.prefix());
        if pending.len() < RUN_PREFIXES {
            Ok(())
        } else {
            self.spill(kind)
        }
    }

    /// Writes all pending ids as runs.
    pub(super) fn flush(&mut self) -> Result<()> {
        PackKind::ALL
            .into_iter()
            .try_for_each(|kind| self.spill(kind))
    }

    fn spill(&mut self, kind: PackKind) -> Result<()> {
        let pending = &mut self.pending[usize::from(kind.number())];
        if pending.is_empty() {
            return Ok(());
        }
        pending.sort_unstable();
        pending.dedup();
        let run = write_run(&self.runs.dir, pending.iter().map(|prefix| Ok(*prefix)))?.0;
        pending.clear();
        self.runs.runs.lock()[usize::from(kind.number())].push(run);
        Ok(())
    }
}

impl PrefixSet {
    /// Returns all prefixes in ascending order.
    pub(super) fn iter(&self) -> Result<PrefixIter> {
        self.file
            .as_ref()
            .map_or(Ok(PrefixIter(None)), PrefixIter::open)
    }

    /// Returns whether the set contains the prefix of an id. Costs at most one read of 4 KiB.
    pub(super) fn contains(&self, id: &Id) -> Result<bool> {
        let prefix = id.prefix();
        let Some(file) = &self.file else {
            return Ok(false);
        };
        let Some(page) = self
            .firsts
            .partition_point(|first| *first <= prefix)
            .checked_sub(1)
        else {
            return Ok(false);
        };
        let mut bytes = [0; PAGE * WIDTH];
        let len = (self.len - page * PAGE).min(PAGE) * WIDTH;
        let bytes = &mut bytes[..len];
        let read = file
            .as_file()
            .read_exact_at(bytes, (page * PAGE * WIDTH) as u64);
        read.map_err(IoError::at("read", file.path()))?;
        Ok(bytes
            .as_chunks()
            .0
            .binary_search_by_key(&prefix, |raw| u64::from_le_bytes(*raw))
            .is_ok())
    }
}

/// Reads a run or a set in order.
pub(super) struct PrefixIter(Option<(BufReader<std::fs::File>, PathBuf)>);

impl PrefixIter {
    fn open(file: &NamedTempFile) -> Result<Self> {
        // Open a separate descriptor, because iterators of one file must not share a position.
        let open = file.reopen().map_err(IoError::at("open", file.path()))?;
        Ok(Self(Some((
            BufReader::with_capacity(64 << 10, open),
            file.path().to_path_buf(),
        ))))
    }
}

impl Iterator for PrefixIter {
    type Item = Result<u64>;

    fn next(&mut self) -> Option<Self::Item> {
        let (file, path) = self.0.as_mut()?;
        let mut raw = [0; WIDTH];
        match file.read_exact(&mut raw) {
            Ok(()) => Some(Ok(u64::from_le_bytes(raw))),
            Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => {
                self.0 = None;
                None
            }
            Err(e) => Some(Err(IoError::at("read", path)(e).into())),
        }
    }
}

/// Writes sorted prefixes without duplicates; returns the file, the number of prefixes and the
/// first one of each page.
fn write_run(
    dir: &Path,
    prefixes: impl Iterator<Item = Result<u64>>,
) -> Result<(NamedTempFile, usize, Vec<u64>)> {
    let file = create::temp_file(dir, "gc-").map_err(IoError::at("create a file in", dir))?;
    let mut out = BufWriter::with_capacity(256 << 10, file);
    let (mut len, mut firsts, mut last) = (0, Vec::new(), None);
    for prefix in prefixes {
        let prefix = prefix?;
        if last == Some(prefix) {
            continue;
        }
        last = Some(prefix);
        if len % PAGE == 0 {
            firsts.push(prefix);
        }
        len += 1;
        out.write_all(&prefix.to_le_bytes())
            .map_err(IoError::at("write", dir))?;
    }
    let file = out
        .into_inner()
        .map_err(|e| IoError::at("write", dir)(e.into_error()))?;
    Ok((file, len, firsts))
}

fn merge_all(dir: &Path, mut runs: Vec<NamedTempFile>) -> Result<PrefixSet> {
    while runs.len() > FAN_IN {
        let rest = runs.split_off(FAN_IN);
        let merged = merge_some(dir, &runs)?.0;
        runs = rest;
        // Append the merged run, so that every run is merged about equally often.
        runs.push(merged);
    }
    if runs.is_empty() {
        return Ok(PrefixSet {
            file: None,
            len: 0,
            firsts: Vec::new(),
        });
    }
    let (file, len, firsts) = merge_some(dir, &runs)?;
    Ok(PrefixSet {
        file: Some(file),
        len,
        firsts,
    })
}

fn merge_some(dir: &Path, runs: &[NamedTempFile]) -> Result<(NamedTempFile, usize, Vec<u64>)> {
    let mut iters = runs
        .iter()
        .map(PrefixIter::open)
        .collect::<Result<Vec<_>>>()?;
    // Space of the runs is freed during the merge, so the runs and the merged set together take
    // little more space than one of them.
    let mut read = vec![0u64; runs.len()];
    let mut heap = BinaryHeap::with_capacity(iters.len());
    for (n, iter) in iters.iter_mut().enumerate() {
        heap.extend(iter.next().transpose()?.map(|prefix| Reverse((prefix, n))));
    }
    let merged = std::iter::from_fn(|| {
        let mut top = heap.peek_mut()?;
        let Reverse((prefix, n)) = *top;
        if let (Some(read), Some(run)) = (read.get_mut(n), runs.get(n)) {
            *read += WIDTH as u64;
            if *read % RELEASED == 0 {
                release(run, *read);
            }
        }
        match iters.get_mut(n)?.next() {
            Some(Ok(next)) => top.0.0 = next,
            Some(Err(e)) => return Some(Err(e)),
            None => _ = std::collections::binary_heap::PeekMut::pop(top),
        }
        Some(Ok(prefix))
    });
    write_run(dir, merged)
}

/// Frees the space of the first bytes of a run. A file system that cannot do this frees it when the
/// run is deleted.
fn release(run: &NamedTempFile, bytes: u64) {
    use rustix::fs::{FallocateFlags, fallocate};
    let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    let _ = fallocate(run, hole, 0, bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(n: u64) -> Id {
        let mut id = [7; 32];
        id[..8].copy_from_slice(&n.to_be_bytes());
        Id(id)
    }

    #[test]
    fn sets_of_many_runs_are_sorted_and_searched() {
        let dir = tempfile::tempdir().unwrap();
        let runs = PrefixRuns::new(dir.path());
        // More runs than are merged at once, with duplicates in and between them.
        for run in 0..3 * FAN_IN as u64 {
            let mut buffer = runs.buffer();
            for n in 0..100 {
                buffer
                    .add(PackKind::Data, &id((n * 37 + run) % 5000 * 3))
                    .unwrap();
            }
            buffer.flush().unwrap();
        }
        let [data, list, _] = runs.merge().unwrap();
        let all = data.iter().unwrap().collect::<Result<Vec<_>>>().unwrap();
        assert!(all.is_sorted_by(|a, b| a < b));
        assert_eq!(all.len(), data.len);
        for n in 0..15_100 {
            assert_eq!(
                data.contains(&id(n)).unwrap(),
                all.binary_search(&n).is_ok(),
                "{n}"
            );
        }
        assert!(list.iter().unwrap().next().is_none() && !list.contains(&id(3)).unwrap());
        assert_eq!(
            std::fs::read_dir(dir.path()).unwrap().count(),
            1,
            "runs are removed"
        );
    }
}
