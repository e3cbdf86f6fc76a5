//! Making changes durable: of one file, or of all.

use std::sync::{Arc, PoisonError};

use super::View;
use crate::mount::data::Data;
use crate::mount::errno::{Answer, Errno};
use crate::mount::inode::What;
use crate::mount::names::{Names, Pending};
use crate::mount::store::Flush;

impl View {
    /// Makes a file durable, and all names.
    pub fn sync(&self, handle: u64) -> Answer<()> {
        let data = self.file(handle)?;
        self.sync_data(&data)
    }

    /// Makes all names durable.
    pub fn sync_names(&self) -> Answer<()> {
        self.flush(&[], false)
    }

    pub(super) fn sync_data(&self, data: &Arc<Data>) -> Answer<()> {
        self.flush(&[Arc::clone(data)], false)
    }

    /// Makes everything durable.
    pub fn sync_all(&self) -> Answer<()> {
        let all: Vec<Arc<Data>> = std::mem::take(&mut *self.unsynced()).into_values().collect();
        let done = self.flush(&all, true);
        if done.is_err() {
            all.iter().for_each(|data| self.note_unsynced(data));
        }
        done
    }

    /// Makes files durable and then what is known of them; `times`: also changes that can wait.
    fn flush(&self, files: &[Arc<Data>], times: bool) -> Answer<()> {
        let Some(store) = &self.store else { return Ok(()) };
        let _one = self.flushing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut blocks = Vec::new();
        for data in files {
            match data.sync() {
                Ok(ranges) if ranges.is_empty() => {}
                Ok(ranges) => blocks.push((Arc::clone(data), ranges)),
                Err(e) => {
                    (self.complain)(&format!("cannot write to the overlay: {e}"));
                    return Err(e.into());
                }
            }
        }
        let (mut pending, inodes) = {
            let mut names = self.names();
            let mut pending = names.take_pending();
            if times {
                pending.inodes.extend(pending.times.drain());
            } else {
                names.put_back(Pending { times: std::mem::take(&mut pending.times), ..Pending::default() });
            }
            let inodes = pending.inodes.clone();
            (pending, inodes)
        };
        if inodes.is_empty() && pending.names.is_empty() && blocks.is_empty() {
            return Ok(());
        }
        // A length that a crash may take back must not be relied on.
        for ino in &inodes {
            let Some(data) = self.data_of(*ino).filter(|data| data.is_unsettled()) else { continue };
            match data.sync() {
                Ok(ranges) => blocks.push((data, ranges)),
                Err(e) => {
                    self.names().put_back(pending);
                    blocks.into_iter().for_each(|(data, ranges)| data.put_back(ranges));
                    return Err(e.into());
                }
            }
        }
        let flush = {
            let names = self.names();
            let mut flush = rows(&names, &pending);
            flush.blocks = blocks.iter().map(|(data, ranges)| (data.ino(), ranges.clone())).collect();
            flush
        };
        if let Err(e) = store.flush(&flush) {
            self.failed("cannot write to the overlay", &e);
            pending.inodes.extend(inodes);
            self.names().put_back(pending);
            blocks.into_iter().for_each(|(data, ranges)| data.put_back(ranges));
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
