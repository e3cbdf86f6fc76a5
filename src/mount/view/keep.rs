//! Making changes durable: of one file, or of all.

use std::sync::{Arc, PoisonError};

use super::View;
use crate::error::Result;
use crate::mount::data::Data;
use crate::mount::errno::{Answer, Errno};
use crate::mount::error::MountError;
use crate::mount::inode::{Inode, ROOT, What};
use crate::mount::names::{Names, Pending, Upper};
use crate::mount::store::Flush;

/// What the kernel knew of a version that is not shown any more.
pub struct Forgotten {
    /// Inodes.
    pub inodes: Vec<u64>,
    /// Names, by directory.
    pub names: Vec<(u64, Vec<u8>)>,
}

impl View {
    /// Makes a file durable, and all names.
    pub fn sync(&self, handle: u64) -> Answer<()> {
        let data = self.file(handle)?;
        self.sync_data(&data)
    }

    /// Makes all names durable.
    pub fn sync_names(&self) -> Answer<()> {
        self.flush(&[], false, Vec::new())
    }

    pub(super) fn sync_data(&self, data: &Arc<Data>) -> Answer<()> {
        self.flush(&[Arc::clone(data)], false, Vec::new())
    }

    /// Makes everything durable.
    pub fn sync_all(&self) -> Answer<()> {
        self.sync_with(Vec::new())
    }

    /// Makes everything durable, and these facts with it.
    pub fn sync_with(&self, facts: Vec<(&'static str, Vec<u8>)>) -> Answer<()> {
        let all: Vec<Arc<Data>> = std::mem::take(&mut *self.unsynced()).into_values().collect();
        let done = self.flush(&all, true, facts);
        if done.is_err() {
            all.iter().for_each(|data| self.note_unsynced(data));
        }
        done
    }

    /// Shows another version, of which nothing is changed; what was changed is given up, which only `force` allows.
    pub fn replace(&self, upper: Upper, facts: Vec<(&'static str, Vec<u8>)>, force: bool) -> Result<Forgotten> {
        let _alone = self.gate.write().unwrap_or_else(PoisonError::into_inner);
        let _one = self.flushing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut names = self.names();
        let files = |inode: &Arc<Inode>| match &inode.what {
            What::File(data) => Some(Arc::clone(data)),
            _ => None,
        };
        let written: Vec<Arc<Data>> = names.upper().inodes.values().filter_map(files).collect();
        if !force && (!names.changed().is_empty() || written.iter().any(|data| data.is_changed())) {
            return Err(MountError::Dirty.into());
        }
        if let Some(store) = &self.store {
            let root = upper.inodes.get(&ROOT).cloned();
            store.replace(&Flush { inodes: vec![(ROOT, root, false)], meta: facts, ..Flush::default() })?;
        }
        let open = names.open_files();
        // Where it keeps lengths by itself it would keep the old ones.
        let known = names.replace(upper, !self.options.read_only && !self.options.passthrough);
        drop(names);
        self.unsynced().clear();
        for data in written {
            data.discard();
        }
        for data in open {
            // One that the version does not have stays what it was until it is closed.
            if let Ok(base) = self.ask(|n| n.base_of(data.ino())) {
                data.reset(base);
            }
        }
        Ok(Forgotten {
            inodes: known.iter().map(|k| k.0).chain([ROOT]).collect(),
            names: known.into_iter().map(|k| (k.1, k.2)).collect(),
        })
    }

    /// Makes files durable and then what is known of them; `times`: also changes that can wait.
    fn flush(&self, files: &[Arc<Data>], times: bool, facts: Vec<(&'static str, Vec<u8>)>) -> Answer<()> {
        let Some(store) = &self.store else { return Ok(()) };
        let _one = self.flushing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut blocks = Vec::new();
        for data in files {
            match data.sync() {
                Ok(fresh) if fresh.ranges.is_empty() && !fresh.anew => {}
                Ok(fresh) => blocks.push((Arc::clone(data), fresh)),
                Err(e) => {
                    (self.complain)(&format!("cannot write to the overlay: {e}"));
                    return Err(e.into());
                }
            }
        }
        let (mut pending, inodes) = {
            let mut names = self.names();
            // It was perhaps told of the file when nothing was written yet, and would not look for the bytes.
            names.note(files.iter().filter(|data| data.take_untold()).map(|data| data.ino()));
            let mut pending = names.take_pending();
            if times {
                pending.inodes.extend(pending.times.drain());
            } else {
                names.put_back(Pending { times: std::mem::take(&mut pending.times), ..Pending::default() });
            }
            let inodes = pending.inodes.clone();
            (pending, inodes)
        };
        if inodes.is_empty() && pending.names.is_empty() && blocks.is_empty() && facts.is_empty() {
            return Ok(());
        }
        // A length that a crash may take back must not be relied on.
        for ino in &inodes {
            let Some(data) = self.data_of(*ino).filter(|data| data.is_unsettled()) else { continue };
            match data.sync() {
                Ok(fresh) => blocks.push((data, fresh)),
                Err(e) => {
                    self.names().put_back(pending);
                    blocks.into_iter().for_each(|(data, fresh)| data.put_back(fresh));
                    return Err(e.into());
                }
            }
        }
        let flush = {
            let names = self.names();
            let mut flush = rows(&names, &pending);
            flush.blocks = blocks.iter().map(|(data, fresh)| (data.ino(), fresh.ranges.clone())).collect();
            flush.meta = facts;
            flush.anew = blocks.iter().filter(|(_, fresh)| fresh.anew).map(|(data, _)| data.ino()).collect();
            flush
        };
        if let Err(e) = store.flush(&flush) {
            self.failed("cannot write to the overlay", &e);
            pending.inodes.extend(inodes);
            self.names().put_back(pending);
            blocks.into_iter().for_each(|(data, fresh)| data.put_back(fresh));
            return Err(Errno::from(&e));
        }
        Ok(())
    }
}

/// What the store is to know of inodes and names, as they are now.
pub(in crate::mount) fn rows(names: &Names, pending: &Pending) -> Flush {
    let upper = names.upper();
    let inodes = pending.inodes.iter().map(|ino| {
        let inode = upper.inodes.get(ino).filter(|inode| !matches!(&inode.what, What::File(_)) || inode.nlink > 0);
        (*ino, inode.cloned(), names.changed().contains(ino))
    });
    let told = pending.names.iter().map(|(parent, name)| {
        let now = upper.names.get(parent).and_then(|names| names.get(name)).copied();
        (*parent, name.clone(), now)
    });
    Flush { inodes: inodes.collect(), names: told.collect(), ..Flush::default() }
}
