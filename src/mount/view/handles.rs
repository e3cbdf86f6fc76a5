//! Handles: opening files, for the kernel alone where that is done, and closing them. Directories are read without one.

use std::collections::HashSet;
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::{Backing, Caller, View, attrs};
use crate::error::Kind;
use crate::mount::data::Data;
use crate::mount::errno::{Answer, Errno};

/// An open file.
pub(super) struct Opened {
    data: Arc<Data>,
    write: bool,
    /// The kernel uses the upper file by itself.
    alone: bool,
}

impl View {
    pub(super) fn file(&self, n: u64) -> Answer<Arc<Data>> {
        let handles = self.handles.read();
        handles.get(&n).map(|opened| Arc::clone(&opened.data)).ok_or(Errno::BADF)
    }

    /// Opens a file, for the kernel alone where that is done; `truncate` empties it.
    pub fn open(&self, caller: Caller, ino: u64, write: bool, truncate: bool) -> Answer<(u64, Backing)> {
        if write && self.options.read_only {
            return Err(Errno::ROFS);
        }
        let data = self.ask(|n| n.open(ino, write))?;
        if truncate && let Err(e) = self.resize(caller, &data, 0) {
            self.closed(&data, false, write);
            return Err(e);
        }
        if write {
            self.wants(ino);
        }
        Ok(self.opened(ino, data, write))
    }

    /// The handle of a file that was opened, and the file for the kernel to use by itself, where it does.
    pub(super) fn opened(&self, ino: u64, data: Arc<Data>, write: bool) -> (u64, Backing) {
        let mut backing = None;
        // The kernel leaves it to whoever serves a write to take set-user-id and the like away.
        let trusted = self.options.passthrough
            && write
            && self.ask(|n| n.look(ino, |meta, _| attrs::loses_trust(meta, false))).unwrap_or(true);
        if self.options.passthrough && self.names().open_alone(ino, data.is_complete() && !trusted) {
            if trusted {
                // Others have it open that way already: it goes before anything is written.
                let gate = self.gate.read();
                self.news.come();
                let _ = self.ask(|n| n.change(ino).map(|inode| attrs::lose_trust(&mut inode.meta, false)));
                drop(gate);
                self.is_stale(ino);
            }
            match self.hand_over(ino, &data, write) {
                Ok(file) => backing = Some(file),
                Err(e) => {
                    if !data.is_frozen() {
                        (self.complain)(&format!("cannot hand a file over to the kernel: {e:?}"));
                    }
                    self.names().open_through(ino);
                }
            }
        }
        let alone = backing.is_some();
        let n = self.next_handle.fetch_add(1, Ordering::Relaxed);
        self.handles.write().insert(n, Opened { data, write, alone });
        (n, backing)
    }

    /// The upper file of an inode for the kernel. One that it may write to is taken for changed, durably, before that.
    fn hand_over(&self, ino: u64, data: &Arc<Data>, write: bool) -> Answer<Arc<File>> {
        let file = {
            let _gate = self.gate.read();
            self.news.come();
            if data.is_frozen() {
                // A version that is being made has to see what is written.
                return Err(Errno::of(Kind::Busy));
            }
            // Its time is set, which is all that a seal without checksums has.
            if write || !data.has_sums() {
                self.unseal(data)?;
            }
            let mtime = self.ask(|n| {
                let attr = n.attr(ino)?;
                if write {
                    n.change(ino)?;
                }
                Ok(attr.mtime)
            })?;
            let file = data.hand_over(write, mtime)?;
            self.note_news(data)?;
            file
        };
        if write {
            self.note_unsynced(data);
            // A file that no version has is taken whole in any case.
            if data.facts().base.is_some()
                && let Err(e) = self.sync_data(data)
            {
                data.take_back(true);
                return Err(e);
            }
        }
        Ok(file)
    }

    /// The kernel could not use a file by itself that it was given: it asks for its bytes, as for those of others.
    pub fn serve_instead(&self, handle: u64, why: &std::io::Error) {
        let opened = {
            let mut handles = self.handles.write();
            let Some(opened) = handles.get_mut(&handle).filter(|opened| opened.alone) else { return };
            opened.alone = false;
            (Arc::clone(&opened.data), opened.write)
        };
        (self.complain)(&format!("the kernel cannot use a file by itself: {why}"));
        opened.0.take_back(opened.1);
        self.names().open_through(opened.0.ino());
    }

    pub(in crate::mount) fn closed(&self, data: &Arc<Data>, alone: bool, write: bool) {
        let mut names = self.names();
        let (last, gone) = names.close(data.ino(), alone, write);
        let pending = names.has_pending();
        drop(names);
        self.discard(gone);
        if pending {
            self.news.come();
        }
        if last {
            data.close_upper();
        }
    }

    /// Closes what was opened.
    pub fn release(&self, handle: u64) {
        let Some(opened) = self.handles.write().remove(&handle) else { return };
        if opened.alone {
            if self.ask(|n| n.catch_up(&opened.data)) == Ok(true) {
                self.is_stale(opened.data.ino());
            }
            if opened.write {
                self.news.come();
            }
            opened.data.take_back(opened.write);
        }
        self.closed(&opened.data, opened.alone, opened.write);
    }

    /// Whether the kernel writes to a file by itself.
    pub fn is_written_alone(&self) -> bool {
        let handles = self.handles.read();
        handles.values().any(|opened| opened.alone && opened.write)
    }

    /// Whether the kernel may hold bytes of a file that it has not handed over: as long as one has it open for writing.
    pub fn is_written(&self, ino: u64) -> bool {
        if self.options.read_only {
            return false;
        }
        let handles = self.handles.read();
        handles.values().any(|opened| opened.write && opened.data.ino() == ino)
    }

    /// A path of an inode; `None` if it has none.
    pub fn path(&self, ino: u64) -> Option<Vec<u8>> {
        self.ask(|n| n.path(ino)).ok().flatten()
    }

    /// Paths of all files that are open for writing.
    pub fn writers(&self) -> Vec<Vec<u8>> {
        let inodes: HashSet<u64> = {
            let handles = self.handles.read();
            handles.values().filter(|opened| opened.write && !opened.alone).map(|opened| opened.data.ino()).collect()
        };
        inodes.into_iter().filter_map(|ino| self.ask(|n| n.path(ino)).ok().flatten()).collect()
    }
}
