//! Making changes durable: of one file, or of all.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::View;
use crate::error::Result;
use crate::model::id::Id;
use crate::mount::data::Data;
use crate::mount::errno::{Answer, Errno};
use crate::mount::error::MountError;
use crate::mount::inode::{Inode, What};
use crate::mount::inside::Inside;
use crate::mount::names::{Dirs, Forgotten, Moved, Names, Pending, Upper};
use crate::mount::state::Blocks;
use crate::mount::store::{Flush, GIVEN, RETIRED};
use crate::mount::users::User;
use crate::sys::io_error::IoError;

/// An attempt to show another version.
pub enum Shown {
    /// It is shown; the kernel has to forget this.
    Done(Forgotten),
    /// Files are open for writing: inodes and paths, and who has each open, where that is known.
    Written(Vec<(u64, Vec<u8>, Option<User>)>),
}

impl View {
    /// Makes a file durable, and all names.
    pub fn sync(&self, handle: u64) -> Answer<()> {
        let data = self.file(handle)?;
        // The disk is waited for before others have to wait for this. What the kernel writes to is never known to be there.
        if !data.is_handed_over() {
            data.sync_bytes().map_err(|e| self.cannot_write(&e))?;
        }
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

    /// Makes everything durable at the end, and seals the upper files. Nobody uses the mount any more.
    pub fn finish(&self) -> Answer<()> {
        /// Bytes that are read of blocks whose checksums are not known.
        const BUDGET: u64 = 256 << 20;
        self.sync_all()?;
        let Some(store) = &self.store else { return Ok(()) };
        let named = |inode: &&Arc<Inode>| inode.nlink > 0;
        let files: Vec<Arc<Data>> = self.names().upper().inodes.values().filter(named).filter_map(file_of).collect();
        let (mut seals, mut budget) = (Vec::new(), BUDGET);
        for data in files {
            if self.all_unsealed.load(Ordering::Acquire) {
                data.set_sealed(false);
            }
            // A file without a seal is not judged by the next mount.
            match data.seal(&mut budget) {
                Ok(seal) => seals.extend(seal.map(|seal| (data.ino(), seal))),
                Err(e) => (self.complain)(&format!("cannot seal an upper file: {e}")),
            }
        }
        let done = store.finish(seals).or_else(|_| store.finish(Vec::new()));
        done.map_err(|e| self.failed("cannot write to the overlay", &e))
    }

    /// Forgets, durably, what the store says of a file as it is on disk: it is about to change.
    pub(super) fn unseal(&self, data: &Data) -> Answer<()> {
        /// So many files are unsealed one by one; then all of them are, so that it is not paid for each.
        const EACH: u64 = 64;
        let Some(store) = self.store.as_ref().filter(|_| data.is_sealed()) else { return Ok(()) };
        if !self.all_unsealed.load(Ordering::Acquire) {
            let one = self.unsealed.fetch_add(1, Ordering::AcqRel) < EACH;
            store.unseal(one.then(|| data.ino())).map_err(|e| self.failed("cannot write to the overlay", &e))?;
            self.all_unsealed.fetch_or(!one, Ordering::AcqRel);
        }
        data.set_sealed(false);
        Ok(())
    }

    /// Shows the version of which `root` holds the root and nothing else; changes are given up, which only `force` allows.
    ///
    /// All directories that are needed are read before other threads have to wait.
    pub fn replace(
        &self,
        root: &Upper,
        facts: &[(&'static str, Vec<u8>)],
        force: bool,
        inside: &[Inside],
    ) -> Result<Shown> {
        let mut dirs = Dirs::default();
        loop {
            let first = self.names().plan(root.clone(), &dirs, inside);
            if let Moved::Unread(trees) = first {
                dirs.read(&self.lower, &trees)?;
                continue;
            }
            match self.replace_at_once(root, facts, force, inside, &dirs)? {
                Ok(shown) => return Ok(shown),
                // Something else became known meanwhile.
                Err(trees) => dirs.read(&self.lower, &trees)?,
            }
        }
    }

    /// Does that, or tells which directories have to be read first.
    fn replace_at_once(
        &self,
        root: &Upper,
        facts: &[(&'static str, Vec<u8>)],
        force: bool,
        inside: &[Inside],
        dirs: &Dirs,
    ) -> Result<std::result::Result<Shown, Vec<Id>>> {
        let _one = self.flushing.lock();
        let _alone = self.gate.write();
        let mapped = self.mapped_alone().into_iter().map(|(ino, user)| (ino, Some(user)));
        let mut names = self.names();
        let written: Vec<_> = mapped.chain(names.written().into_iter().map(|ino| (ino, None))).collect();
        if !written.is_empty() {
            let mut path = |ino| names.path(ino).ok().flatten().unwrap_or_default();
            let all = written.into_iter().map(|(ino, user)| (ino, path(ino), user));
            return Ok(Ok(Shown::Written(all.collect())));
        }
        let is_changed = |inode: &Arc<Inode>| matches!(&inode.what, What::File(data) if data.is_changed());
        if !force && (names.any_changed() || names.upper().inodes.values().any(is_changed)) {
            return Err(MountError::Dirty.into());
        }
        let mut plan = match names.plan(root.clone(), dirs, inside) {
            Moved::Ready(plan) => *plan,
            Moved::Unread(trees) => return Ok(Err(trees)),
            Moved::MountPoint(at) => return Err(MountError::MountPoint { at }.into()),
        };
        if let Some(store) = &self.store {
            store.replace(&kept_rows(&plan.upper, facts).map_err(IoError::at("flush", self.space.dir()))?)?;
        }
        let (retired, dropped) = (std::mem::take(&mut plan.retired), std::mem::take(&mut plan.dropped));
        let forgotten = names.adopt(plan);
        let files = |inode: &Arc<Inode>| matches!(&inode.what, What::File(_) if inode.nlink > 0);
        let kept: HashSet<u64> = names.upper().inodes.iter().filter(|(_, i)| files(i)).map(|(ino, _)| *ino).collect();
        drop(names);
        self.unsynced().retain(|ino, _| kept.contains(ino));
        self.forget_listings();
        retired.iter().for_each(|data| data.retire());
        let doomed = std::mem::take(&mut *self.doomed.lock());
        doomed.iter().chain(&dropped).for_each(|data| data.remove_upper());
        Ok(Ok(Shown::Done(forgotten)))
    }

    /// Makes files durable and then what is known of them; `times`: also changes that can wait.
    ///
    /// What the store is told is one state of the mount: nobody changes anything while it is put together. Files whose
    /// lengths a crash may take back are on disk before they are told, but no program waits for the disk meanwhile: what
    /// is not there yet when the state is put together is brought there afterwards, when programs go on.
    fn flush(&self, files: &[Arc<Data>], times: bool, facts: Vec<(&'static str, Vec<u8>)>) -> Answer<()> {
        let Some(store) = &self.store else { return Ok(()) };
        let _one = self.flushing.lock();
        let mut blocks: Vec<(Arc<Data>, Blocks)> = Vec::new();
        let mut failed = None;
        let mut sync = |data: &Arc<Data>| match data.sync() {
            Ok(fresh) if fresh.ranges.is_empty() && !fresh.anew => {}
            Ok(fresh) => blocks.push((Arc::clone(data), fresh)),
            Err(e) => drop(failed.get_or_insert(self.cannot_write(&e))),
        };
        files.iter().for_each(&mut sync);
        // Most of it, so that little is left for the moment in which the state is put together and soon after.
        self.unstable(times).iter().for_each(&mut sync);
        let (pending, doomed, mut flush) = {
            let _alone = self.gate.write();
            let mut names = self.names();
            let mut pending = names.take_pending();
            if times {
                pending.inodes.extend(pending.times.drain());
            } else {
                names.put_back(Pending { times: std::mem::take(&mut pending.times), ..Pending::default() });
            }
            let doomed = std::mem::take(&mut *self.doomed.lock());
            let flush = rows(&names, &pending);
            (pending, doomed, flush)
        };
        flush.inodes.iter().filter_map(|(_, inode, _)| unstable(inode.as_deref()?)).for_each(|data| sync(&data));
        flush.blocks = blocks.iter().map(|(data, fresh)| (data.ino(), fresh.ranges.clone())).collect();
        flush.anew = blocks.iter().filter(|(_, fresh)| fresh.anew).map(|(data, _)| data.ino()).collect();
        flush.meta = facts;
        let told = match failed {
            Some(e) => Err(e),
            None if flush.is_empty() => Ok(()),
            None => self
                .space
                .sync_names()
                .map_err(Errno::from)
                .and_then(|()| store.flush(&flush).map_err(|e| self.failed("cannot write to the overlay", &e))),
        };
        if told.is_err() {
            self.names().put_back(pending);
            self.doomed.lock().extend(doomed);
            for (data, fresh) in blocks {
                data.put_back(fresh);
                self.note_unsynced(&data);
            }
            return told;
        }
        for data in doomed {
            // A version that is being made may need it still.
            match data.is_frozen() {
                true => self.doomed.lock().push(data),
                false => data.remove_upper(),
            }
        }
        Ok(())
    }

    fn cannot_write(&self, e: &std::io::Error) -> Errno {
        (self.complain)(&format!("cannot write to the overlay: {e}"));
        Errno::from(e)
    }

    /// Files of which the store is to be told, and cannot be yet.
    fn unstable(&self, times: bool) -> Vec<Arc<Data>> {
        self.names().to_be_told(times).filter_map(|inode| unstable(inode)).collect()
    }
}

/// The file of an inode, if the store cannot be told of it yet.
fn unstable(inode: &Inode) -> Option<Arc<Data>> {
    match &inode.what {
        What::File(data) if data.is_unsettled() || data.has_fresh() => Some(Arc::clone(data)),
        _ => None,
    }
}

fn file_of(inode: &Arc<Inode>) -> Option<Arc<Data>> {
    match &inode.what {
        What::File(data) => Some(Arc::clone(data)),
        _ => None,
    }
}

/// What the store is to know of inodes and names, as they are now.
pub(in crate::mount) fn rows(names: &Names, pending: &Pending) -> Flush {
    let upper = names.upper();
    let inodes = pending.inodes.iter().map(|ino| {
        let inode = upper.inodes.get(ino).filter(|inode| !matches!(&inode.what, What::File(_)) || inode.nlink > 0);
        (*ino, inode.cloned(), names.is_changed(*ino))
    });
    let told = pending.names.iter().map(|(parent, name)| {
        let now = upper.names.get(parent).and_then(|names| names.get(name)).copied();
        (*parent, name.clone(), now)
    });
    Flush { inodes: inodes.collect(), names: told.collect(), ..Flush::default() }
}

/// What the store is to know of a version that is shown from now on: what is kept of what was known of it.
fn kept_rows(upper: &Upper, facts: &[(&'static str, Vec<u8>)]) -> std::io::Result<Flush> {
    let named = upper.inodes.iter().filter(|(_, inode)| inode.nlink > 0);
    let inodes: Vec<_> = named.map(|(ino, inode)| (*ino, Some(Arc::clone(inode)), false)).collect();
    for (_, inode, _) in &inodes {
        let Some(What::File(data)) = inode.as_ref().map(|inode| &inode.what) else { continue };
        data.set_sealed(false);
        if data.is_unsettled() {
            // A length that a crash may take back is not told.
            data.sync().map(|blocks| data.put_back(blocks))?;
        }
    }
    let all = upper.names.iter().flat_map(|(dir, names)| names.iter().map(|(name, ino)| (*dir, name.clone(), *ino)));
    let names = all.map(|(dir, name, ino)| (dir, name, Some(ino))).collect();
    let mut meta = facts.to_vec();
    meta.push((RETIRED, upper.retired.iter().flat_map(|ino| ino.to_be_bytes()).collect()));
    meta.push((GIVEN, upper.given.iter().flat_map(|(from, to)| [*from, *to]).flat_map(u64::to_be_bytes).collect()));
    Ok(Flush { inodes, names, meta, ..Flush::default() })
}
