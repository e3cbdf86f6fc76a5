//! Replaces small nodes: they are created under a temporary name next to their final one, synced in
//! batches, and renamed.
//!
//! Invariants: a name always refers to the complete old or new node; a node that is not part of the
//! differences is not replaced; the journal lists a directory before temporary files are created in
//! it.

use std::collections::HashMap;
use std::os::fd::AsFd;
use std::sync::Arc;

use rustix::fs::{
    AtFlags, Mode, OFlags, RenameFlags, fsync, openat, renameat, renameat_with, syncfs, unlinkat,
};
use rustix::io::Errno;

use crate::checkout::error::{concerns_all, error_text, io_error};
use crate::checkout::meta::Spot;
use crate::checkout::patch::apply::Patch;
use crate::checkout::patch::change::Change;
use crate::checkout::patch::journal::temp_name;
use crate::checkout::restore::item::Item;
use crate::checkout::restore::links::Member;
use crate::error::Result;
use crate::model::entry::Entry;

/// Number of files, and of bytes, at which a batch is synced.
const BATCH: (usize, u64) = (1024, 64 << 20);
/// Up to this number of files are synced one by one; for more files, the whole file system is
/// synced.
const SYNC_ALONE: usize = 8;

impl Patch<'_> {
    /// Returns a name for a temporary file.
    pub(in crate::checkout) fn temp_name(&mut self) -> Vec<u8> {
        self.temps += 1;
        format!("{}{}", temp_name(self.journal.run()), self.temps).into_bytes()
    }

    /// Replaces nodes in batches.
    pub(in crate::checkout) fn replace(&mut self, all: Vec<&Change>) -> Result<()> {
        let mut batch = Vec::new();
        let mut bytes = 0;
        for change in all {
            bytes += change.new.as_ref().map_or(0, Entry::size);
            batch.push(change);
            if batch.len() >= BATCH.0 || bytes >= BATCH.1 {
                self.replace_batch(std::mem::take(&mut batch))?;
                bytes = 0;
            }
        }
        self.replace_batch(batch)
    }

    /// Creates nodes under temporary names, syncs them together, and renames them.
    pub(in crate::checkout) fn replace_batch(&mut self, batch: Vec<&Change>) -> Result<()> {
        let mut places = Vec::new();
        let mut dirs = Vec::new();
        let mut renamed = HashMap::new();
        for change in batch {
            let Some(place) = self.member(&change.path)? else {
                continue;
            };
            dirs.push(place.dir.path());
            let temp = Member {
                dir: Arc::clone(&place.dir),
                name: self.temp_name(),
            };
            renamed.insert(temp.dir.path_of(&temp.name), change.path.clone());
            places.push((change, place, temp));
        }
        // Notices name the final path, not the temporary one.
        *self.engine.renamed() = renamed;
        if places.is_empty() {
            return Ok(());
        }
        self.journal.temps_in(&dirs)?;
        self.engine.observer.step("checkout batch");
        let ran = self.engine.run(self.options.jobs, |queue| {
            for (change, _, temp) in places.iter().rev() {
                if let Some(new) = &change.new {
                    temp.dir.retain();
                    queue.push(Item::Node(temp.clone(), new.clone()));
                }
            }
        });
        let temps: Vec<&Member> = places.iter().map(|p| &p.2).collect();
        // The new nodes must be durable before they replace the old ones.
        if let Err(e) = ran.and_then(|()| self.sync(&temps)) {
            for temp in temps {
                self.discard(temp);
            }
            return Err(e);
        }
        self.engine.observer.step("checkout made");
        for (change, place, temp) in places {
            self.put_in_place(change, &place, &temp)?;
            self.engine.observer.step("checkout renamed");
        }
        Ok(())
    }

    pub(in crate::checkout) fn discard(&self, temp: &Member) {
        if let Ok(fd) = temp.dir.fd() {
            // Ignore an error, because the next run finds the file by the journal.
            let _ = unlinkat(fd, temp.name.as_slice(), AtFlags::empty());
        }
    }

    /// Renames a temporary file to its final name. A missing temporary file could not be created,
    /// which was reported.
    pub(in crate::checkout) fn put_in_place(
        &mut self,
        change: &Change,
        place: &Member,
        temp: &Member,
    ) -> Result<()> {
        let renamed = place.dir.fd().and_then(|fd| {
            let (from, to) = (temp.name.as_slice(), place.name.as_slice());
            if change.old.is_some() {
                return renameat(&fd, from, &fd, to);
            }
            // A node that is not part of the differences must not be replaced.
            match renameat_with(&fd, from, &fd, to, RenameFlags::NOREPLACE) {
                // The file system has no `RENAME_NOREPLACE`, so a file that appears after the check
                // is replaced.
                Err(Errno::INVAL | Errno::NOSYS) => match Spot::Named(fd.as_fd(), to).stat() {
                    Err(Errno::NOENT) => renameat(&fd, from, &fd, to),
                    Ok(_) => Err(Errno::EXIST),
                    Err(e) => Err(e),
                },
                other => other,
            }
        });
        match renamed {
            Ok(()) => {
                self.made.insert(change.path.clone());
                let mut placed = place.dir.placed();
                if placed.in_part.remove(&temp.name) {
                    placed.in_part.insert(place.name.clone());
                }
                drop(placed);
                if change.new.as_ref().is_some_and(|n| n.link.is_some()) {
                    // rename(2) does nothing if both names are hard links of the same file.
                    self.discard(temp);
                }
                Ok(())
            }
            Err(Errno::NOENT) => Ok(()),
            Err(e) => {
                self.discard(temp);
                place.dir.placed().broken = true;
                if concerns_all(e) {
                    return Err(io_error("rename", &change.path, e));
                }
                let why = if e == Errno::EXIST {
                    "another file exists there".to_owned()
                } else {
                    error_text(e)
                };
                self.engine
                    .incomplete(change.path.clone(), format!("not put in place: {why}"));
                Ok(())
            }
        }
    }

    /// Syncs files. Other nodes become durable with their directory.
    pub(in crate::checkout) fn sync(&self, files: &[&Member]) -> Result<()> {
        let top = self.touched.get(&b""[..]).map(|t| (&t.dir, t.dev));
        let one_system = self
            .touched
            .values()
            .all(|t| Some(t.dev) == top.map(|t| t.1));
        // One `syncfs` is faster than many `fsync` calls, but covers only one file system.
        if let Some((top, _)) = top
            && one_system
            && files.len() > SYNC_ALONE
        {
            return top
                .fd()
                .and_then(syncfs)
                .map_err(|e| io_error("sync", b".", e));
        }
        // Links, pipes and devices cannot be opened or synced like this, which the ignored errors
        // below show.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        for file in files {
            let opened = file
                .dir
                .fd()
                .and_then(|fd| openat(fd, file.name.as_slice(), flags, Mode::empty()));
            match opened.and_then(fsync) {
                Ok(())
                | Err(Errno::NOENT | Errno::LOOP | Errno::INVAL | Errno::NXIO | Errno::ACCESS) => {}
                Err(e) => return Err(io_error("sync", &file.dir.path_of(&file.name), e)),
            }
        }
        Ok(())
    }
}
