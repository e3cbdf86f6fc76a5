//! Replaces small nodes: made under another name beside their place, synced in batches, and renamed.
//!
//! Invariants: under a name is the old or the new node, never a part; what the differences do not know of is not
//! replaced; temporary files are in the journal's directories before they exist.

use std::collections::HashMap;
use std::os::fd::AsFd;
use std::sync::Arc;

use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags, fsync, openat, renameat, renameat_with, syncfs, unlinkat};
use rustix::io::Errno;

use crate::checkout::error::{concerns_all, io_error, words};
use crate::checkout::meta::Spot;
use crate::checkout::patch::apply::{Change, Patch};
use crate::checkout::patch::journal::temp_name;
use crate::checkout::restore::engine::Item;
use crate::checkout::restore::links::Member;
use crate::error::Result;
use crate::model::entry::Entry;

/// One batch of replaced files is synced together: so many names or bytes.
const BATCH: (usize, u64) = (1024, 64 << 20);
/// Fewer files than this are synced one by one, more by syncing their file system.
const SYNC_ALONE: usize = 8;

impl Patch<'_> {
    /// A name for a temporary file.
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

    /// Makes nodes under temporary names, syncs them together, and renames them.
    pub(in crate::checkout) fn replace_batch(&mut self, batch: Vec<&Change>) -> Result<()> {
        let mut places = Vec::new();
        let mut dirs = Vec::new();
        let mut renamed = HashMap::new();
        for change in batch {
            let Some(place) = self.member(&change.path)? else { continue };
            dirs.push(place.dir.path());
            let temp = Member { dir: Arc::clone(&place.dir), name: self.temp_name() };
            renamed.insert(temp.dir.path_of(&temp.name), change.path.clone());
            places.push((change, place, temp));
        }
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
            // It is found again by the journal.
            let _ = unlinkat(fd, temp.name.as_slice(), AtFlags::empty());
        }
    }

    /// Renames a temporary file to its place. One that is missing could not be made and was reported.
    pub(in crate::checkout) fn put_in_place(&mut self, change: &Change, place: &Member, temp: &Member) -> Result<()> {
        let renamed = place.dir.fd().and_then(|fd| {
            let (from, to) = (temp.name.as_slice(), place.name.as_slice());
            if change.old.is_some() {
                return renameat(&fd, from, &fd, to);
            }
            // What the differences do not know of is not ours to replace.
            match renameat_with(&fd, from, &fd, to, RenameFlags::NOREPLACE) {
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
                    // Renaming one name of a file to another name of it does nothing.
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
                let why = if e == Errno::EXIST { "something else is there".to_owned() } else { words(e) };
                self.engine.incomplete(change.path.clone(), format!("not put in place: {why}"));
                Ok(())
            }
        }
    }

    /// Makes files durable. Nodes that are no files are durable with their directory.
    pub(in crate::checkout) fn sync(&self, files: &[&Member]) -> Result<()> {
        let top = self.touched.get(&b""[..]).map(|t| (&t.dir, t.dev));
        let one_system = self.touched.values().all(|t| Some(t.dev) == top.map(|t| t.1));
        if let Some((top, _)) = top
            && one_system
            && files.len() > SYNC_ALONE
        {
            return top.fd().and_then(syncfs).map_err(|e| io_error("sync", b".", e));
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        for file in files {
            let opened = file.dir.fd().and_then(|fd| openat(fd, file.name.as_slice(), flags, Mode::empty()));
            match opened.and_then(fsync) {
                Ok(()) | Err(Errno::NOENT | Errno::LOOP | Errno::INVAL | Errno::NXIO | Errno::ACCESS) => {}
                Err(e) => return Err(io_error("sync", &file.dir.path_of(&file.name), e)),
            }
        }
        Ok(())
    }
}
