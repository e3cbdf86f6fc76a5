//! What the kernel holds and what is open, counted; an inode without a name goes when nobody does any more.

use std::sync::Arc;

use super::{Found, Names, RETIRED};
use crate::model::entry::Node;
use crate::mount::data::Data;
use crate::mount::errno::Errno;
use crate::mount::inode::What;
use crate::mount::state::State;

impl Names {
    /// Counts that the kernel was told of an inode.
    pub fn hold(&mut self, ino: u64) {
        match self.untouched.get_mut(&ino) {
            Some(known) => known.1 += 1,
            None => *self.held.entry(ino).or_default() += 1,
        }
    }

    /// Counts that the kernel let go of an inode so many times. Returns a file that is gone for good.
    pub fn forget(&mut self, ino: u64, times: u64) -> Option<Arc<Data>> {
        let untouched = match self.untouched.get_mut(&ino) {
            Some(known) => {
                known.1 = known.1.saturating_sub(times);
                if known.1 == 0 && !self.reading.contains_key(&ino) {
                    self.untouched.remove(&ino);
                }
                true
            }
            None => {
                if let Some(held) = self.held.get_mut(&ino) {
                    *held = held.saturating_sub(times);
                    if *held == 0 {
                        self.held.remove(&ino);
                    }
                }
                false
            }
        };
        if !self.is_held(ino) {
            // A name that the kernel knows holds its inode: it knows none of this one, and need not be told of any when
            // another version is shown.
            self.aliases.remove(&ino);
        }
        if untouched { None } else { self.purge(ino) }
    }

    /// Whether the kernel knows an inode.
    pub(super) fn is_held(&self, ino: u64) -> bool {
        let untouched = self.untouched.get(&ino).is_some_and(|known| known.1 > 0);
        untouched || self.held.contains_key(&ino)
    }

    /// Removes an inode that has no name and that nobody holds.
    pub(super) fn purge(&mut self, ino: u64) -> Option<Arc<Data>> {
        let inode = self.upper.inodes.get(&ino)?;
        if inode.nlink > 0 || self.held.contains_key(&ino) || self.opened.contains_key(&ino) {
            return None;
        }
        let inode = self.upper.inodes.remove(&ino)?;
        self.upper.names.remove(&ino);
        self.hard_links.remove(&ino);
        self.pending.inodes.insert(ino);
        self.changed.remove(&ino);
        match &inode.what {
            What::File(data) => Some(Arc::clone(data)),
            _ => None,
        }
    }

    /// The bytes of a file that is opened. Each is to be closed. One of a version that is not shown any more can only be
    /// read: the kernel looks its name up again, and finds what is shown.
    pub fn open(&mut self, ino: u64, write: bool) -> Found<Arc<Data>> {
        let data = match self.upper.inodes.get(&ino) {
            Some(inode) => match &inode.what {
                What::File(_) if write && inode.parent == RETIRED => return Err(Errno::STALE.into()),
                What::File(data) => Arc::clone(data),
                What::Dir { .. } => return Err(Errno::ISDIR.into()),
                _ => return Err(Errno::INVAL.into()),
            },
            None if write && self.place(ino)?.is_retired() => return Err(Errno::STALE.into()),
            None => match self.reading.get(&ino) {
                Some(data) => Arc::clone(data),
                None => {
                    let place = self.place(ino)?;
                    let (dir, at) = self.entry(&place)?;
                    if !matches!(dir[at].node, Node::File { .. }) {
                        return Err(Errno::INVAL.into());
                    }
                    let data = Arc::new(Data::new(ino, Arc::clone(&self.space), State::of(self.base_of(ino)?)));
                    self.reading.insert(ino, Arc::clone(&data));
                    data
                }
            },
        };
        let opened = self.opened.entry(ino).or_default();
        opened.through += 1;
        opened.writers += u64::from(write);
        Ok(data)
    }

    /// Makes the last opening of an inode one by the kernel alone, if it may be: all of its openings have to be alike.
    pub fn open_alone(&mut self, ino: u64, complete: bool) -> bool {
        let Some(opened) = self.opened.get_mut(&ino) else { return false };
        let may = opened.alone > 0 || complete && opened.through == 1;
        if may {
            opened.through -= 1;
            opened.alone += 1;
        }
        may
    }

    /// Makes the last opening of an inode one through us again.
    pub fn open_through(&mut self, ino: u64) {
        if let Some(opened) = self.opened.get_mut(&ino) {
            opened.through += 1;
            opened.alone = opened.alone.saturating_sub(1);
        }
    }

    /// Closes a file once. True if nobody has it open now, with the file where it is gone for good.
    pub fn close(&mut self, ino: u64, alone: bool, write: bool) -> (bool, Option<Arc<Data>>) {
        if let Some(opened) = self.opened.get_mut(&ino) {
            let n = if alone { &mut opened.alone } else { &mut opened.through };
            *n = n.saturating_sub(1);
            opened.writers = opened.writers.saturating_sub(u64::from(write));
            if opened.through + opened.alone > 0 {
                return (false, None);
            }
        }
        self.opened.remove(&ino);
        self.reading.remove(&ino);
        if self.untouched.get(&ino).is_some_and(|known| known.1 == 0) {
            self.untouched.remove(&ino);
        }
        (true, self.purge(ino))
    }

    /// Inodes with a name that are open for writing.
    pub fn written(&self) -> Vec<u64> {
        let named = |ino: &u64| self.upper.inodes.get(ino).is_none_or(|inode| inode.nlink > 0);
        self.opened.iter().filter(|(_, o)| o.writers > 0).map(|(ino, _)| *ino).filter(named).collect()
    }
}
