//! Flushes: making files, names and inodes durable.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::shared::View;
use crate::mount::errno::{Errno, FsResult};
use crate::mount::file::{FileData, UnstoredBlocks};
use crate::mount::names::{Inode, NameTable, PendingRows};
use crate::mount::overlay::{
    BlockChange, Fact, FlushRows, InodeChange, NameChange, NameTarget, SealChange,
};

impl View {
    /// Makes a file and all names durable.
    pub fn sync(&self, handle: u64) -> FsResult<()> {
        let data = self.file(handle)?;
        // Sync the bytes before taking any lock, so that others do not wait for the disk. In
        // passthrough mode this is useless, because the kernel can write more bytes right after the
        // sync.
        if !data.is_written_by_kernel() {
            data.sync_bytes().map_err(|e| self.report_io(&e))?;
        }
        self.sync_data(&data)
    }

    /// Makes all names durable.
    pub fn sync_names(&self) -> FsResult<()> {
        self.flush(&[], false, Vec::new())
    }

    pub(super) fn sync_data(&self, data: &Arc<FileData>) -> FsResult<()> {
        self.flush(&[Arc::clone(data)], false, Vec::new())
    }

    /// Makes everything durable.
    pub fn sync_all(&self) -> FsResult<()> {
        self.sync_all_with(Vec::new())
    }

    /// Makes everything durable, together with new facts.
    pub fn sync_all_with(&self, facts: Vec<Fact>) -> FsResult<()> {
        let all: Vec<Arc<FileData>> = std::mem::take(&mut *self.unsynced())
            .into_values()
            .collect();
        let done = self.flush(&all, true, facts);
        if done.is_err() {
            all.iter().for_each(|data| self.note_unsynced(data));
        }
        done
    }

    /// Makes everything durable at the end of a mount, and seals the upper files. The mount must
    /// not be in use any more.
    pub fn finish(&self) -> FsResult<()> {
        /// Limit on the bytes that are read to compute missing checksums. Files above the limit get
        /// a seal without checksums.
        const BUDGET: u64 = 256 << 20;
        self.sync_all()?;
        let Some(store) = &self.store else {
            return Ok(());
        };
        let named = |inode: &&Arc<Inode>| inode.nlink > 0;
        let files: Vec<Arc<FileData>> = self
            .names()
            .upper()
            .inodes
            .values()
            .filter(named)
            .filter_map(|inode| inode.data().cloned())
            .collect();
        let (mut seals, mut budget) = (Vec::new(), BUDGET);
        for data in files {
            if self.all_unsealed.load(Ordering::Acquire) {
                data.set_sealed(false);
            }
            // A failure is harmless: the next mount does not verify a file without a seal.
            match data.seal(&mut budget) {
                Ok(seal) => seals.extend(seal.map(|seal| SealChange {
                    ino: data.ino(),
                    seal,
                })),
                Err(e) => (self.log)(&format!(
                    "cannot seal the upper file of {}: {e}",
                    self.shown_path(data.ino())
                )),
            }
        }
        // If the seals do not fit on the disk, record at least the clean end.
        let done = store.finish(seals).or_else(|_| store.finish(Vec::new()));
        done.map_err(|e| self.report("cannot write to the overlay", &e))
    }

    /// Durably removes the seal of a file that is about to change.
    pub(super) fn unseal(&self, data: &FileData) -> FsResult<()> {
        /// Number of seals that are removed one by one. The next removal then removes all remaining
        /// seals, because each removal costs a transaction.
        const EACH: u64 = 64;
        let Some(store) = self.store.as_ref().filter(|_| data.is_sealed()) else {
            return Ok(());
        };
        if !self.all_unsealed.load(Ordering::Acquire) {
            let one = self.unsealed.fetch_add(1, Ordering::AcqRel) < EACH;
            store
                .unseal(one.then(|| data.ino()))
                .map_err(|e| self.report("cannot write to the overlay", &e))?;
            self.all_unsealed.fetch_or(!one, Ordering::AcqRel);
        }
        data.set_sealed(false);
        Ok(())
    }

    /// Makes files durable, then names and inodes. With `times`, changes that affect only times are
    /// included.
    ///
    /// The rows are a consistent state of the mount, because the write barrier keeps changes out
    /// while they are collected. A file whose length a crash could revert is synced before its row
    /// is written. Most syncs run before the barrier is taken and the rest after it is released, so
    /// that no program waits for the disk.
    fn flush(&self, files: &[Arc<FileData>], times: bool, facts: Vec<Fact>) -> FsResult<()> {
        let Some(store) = &self.store else {
            return Ok(());
        };
        // Two flushes at the same time could store the older state last.
        let _flushing = self.flushing.lock();
        let mut blocks: Vec<(Arc<FileData>, UnstoredBlocks)> = Vec::new();
        let mut failed = None;
        let mut sync = |data: &Arc<FileData>| match data.sync() {
            Ok(unstored) if unstored.ranges.is_empty() && !unstored.replace => {}
            Ok(unstored) => blocks.push((Arc::clone(data), unstored)),
            Err(e) => drop(failed.get_or_insert(self.report_io(&e))),
        };
        files.iter().for_each(&mut sync);
        // Sync as much as possible before the barrier is taken.
        self.unstable(times).iter().for_each(&mut sync);
        let (pending, removed_files, mut flush) = {
            let _barrier = self.write_barrier.write();
            let mut names = self.names();
            let mut pending = names.take_pending();
            // Without `times`, changed times wait for the periodic flush, so that each fsync of a
            // file whose blocks are recorded needs no transaction.
            if times {
                pending.inodes.extend(pending.times.drain());
            } else {
                names.return_pending(PendingRows {
                    times: std::mem::take(&mut pending.times),
                    ..PendingRows::default()
                });
            }
            let removed_files = std::mem::take(&mut *self.removed_files.lock());
            let flush = rows(&names, &pending);
            (pending, removed_files, flush)
        };
        flush
            .inodes
            .iter()
            .filter_map(|change| unstable(change.inode.as_deref()?))
            .for_each(|data| sync(&data));
        let change = |(data, unstored): &(Arc<FileData>, UnstoredBlocks)| BlockChange {
            ino: data.ino(),
            ranges: unstored.ranges.clone(),
        };
        flush.blocks = blocks.iter().map(change).collect();
        flush.replaced_blocks = blocks
            .iter()
            .filter(|(_, unstored)| unstored.replace)
            .map(|(data, _)| data.ino())
            .collect();
        flush.facts = facts;
        let done = match failed {
            Some(e) => Err(e),
            None if flush.is_empty() => Ok(()),
            // The name of a new upper file must be durable before a row refers to it, because a
            // missing file counts as damage.
            None => self.space.sync_names().map_err(Errno::from).and_then(|()| {
                store
                    .flush(&flush)
                    .map_err(|e| self.report("cannot write to the overlay", &e))
            }),
        };
        if done.is_err() {
            self.names().return_pending(pending);
            self.removed_files.lock().extend(removed_files);
            for (data, unstored) in blocks {
                data.return_unstored(unstored);
                self.note_unsynced(&data);
            }
            return done;
        }
        for data in removed_files {
            // A running snapshot may still read the upper file, so keep it for now.
            if data.is_frozen() {
                self.removed_files.lock().push(data);
            } else {
                data.remove_upper();
            }
        }
        Ok(())
    }

    fn report_io(&self, e: &std::io::Error) -> Errno {
        (self.log)(&format!("cannot write to the overlay: {e}"));
        Errno::from(e)
    }

    /// Returns the files that have to be synced before their rows can be written.
    fn unstable(&self, times: bool) -> Vec<Arc<FileData>> {
        self.names()
            .unstored_inodes(times)
            .filter_map(|inode| unstable(inode))
            .collect()
    }
}

/// Returns the file of an inode, if it has to be synced before its row can be written.
fn unstable(inode: &Inode) -> Option<Arc<FileData>> {
    inode
        .data()
        .filter(|data| data.must_sync_first() || data.has_unstored_blocks())
        .cloned()
}

/// Returns the rows of changed inodes and names.
fn rows(names: &NameTable, pending: &PendingRows) -> FlushRows {
    let upper = names.upper();
    let inodes = pending.inodes.iter().map(|ino| {
        // A file without a name exists only for its open handles, so its row is removed.
        let inode = upper
            .inodes
            .get(ino)
            .filter(|inode| inode.data().is_none() || inode.nlink > 0);
        InodeChange {
            ino: *ino,
            inode: inode.cloned(),
            changed: names.is_changed(*ino),
        }
    });
    let changes = pending.names.iter().map(|name| {
        let target = match upper
            .names
            .get(&name.parent)
            .and_then(|names| names.get(&name.name))
        {
            Some(Some(ino)) => NameTarget::Inode(*ino),
            Some(None) => NameTarget::Removed,
            None => NameTarget::Version,
        };
        NameChange {
            name: name.clone(),
            target,
        }
    });
    FlushRows {
        inodes: inodes.collect(),
        names: changes.collect(),
        ..FlushRows::default()
    }
}
