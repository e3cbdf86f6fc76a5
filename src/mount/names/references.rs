//! Reference counts of inodes: lookups of the kernel and open handles. An inode without a name is
//! removed when both counts are zero.

use std::sync::Arc;

use super::inode::InodeBody;
use super::table::{Lookup, NameTable};
use super::upper::RETIRED;
use crate::model::entry::Node;
use crate::mount::errno::Errno;
use crate::mount::file::{FileData, FileState};

/// The effect of closing a file.
pub struct ClosedFile {
    /// Whether no handle is open any more.
    pub last: bool,
    /// The file, if it had no name and was removed.
    pub removed: Option<Arc<FileData>>,
}

impl NameTable {
    /// Counts a reply that made an inode known to the kernel.
    pub fn add_lookup(&mut self, ino: u64) {
        match self.untouched.get_mut(&ino) {
            Some(known) => known.1 += 1,
            None => *self.lookups.entry(ino).or_default() += 1,
        }
    }

    /// Subtracts `times` lookups of an inode. Returns the file if the inode was removed.
    pub fn forget(&mut self, ino: u64, times: u64) -> Option<Arc<FileData>> {
        let untouched = match self.untouched.get_mut(&ino) {
            Some(known) => {
                known.1 = known.1.saturating_sub(times);
                if known.1 == 0 && !self.open_untouched.contains_key(&ino) {
                    self.untouched.remove(&ino);
                }
                true
            }
            None => {
                if let Some(held) = self.lookups.get_mut(&ino) {
                    *held = held.saturating_sub(times);
                    if *held == 0 {
                        self.lookups.remove(&ino);
                    }
                }
                false
            }
        };
        if !self.is_known_to_kernel(ino) {
            // The kernel has no lookups of this inode left, so it has cached none of the names. A
            // switch need not invalidate them.
            self.aliases.remove(&ino);
        }
        if untouched {
            None
        } else {
            self.remove_unused(ino)
        }
    }

    /// Returns whether the kernel knows an inode.
    pub(super) fn is_known_to_kernel(&self, ino: u64) -> bool {
        let untouched = self.untouched.get(&ino).is_some_and(|known| known.1 > 0);
        untouched || self.lookups.contains_key(&ino)
    }

    /// Removes an inode that has no name and no references. Returns its file.
    pub(super) fn remove_unused(&mut self, ino: u64) -> Option<Arc<FileData>> {
        let inode = self.upper.inodes.get(&ino)?;
        if inode.nlink > 0 || self.lookups.contains_key(&ino) || self.open_counts.contains_key(&ino)
        {
            return None;
        }
        let inode = self.upper.inodes.remove(&ino)?;
        self.upper.names.remove(&ino);
        self.hard_links.remove(&ino);
        self.pending.inodes.insert(ino);
        self.changed.remove(&ino);
        match &inode.what {
            InodeBody::File(data) => Some(Arc::clone(data)),
            _ => None,
        }
    }

    /// Opens a file. Each call needs a [`Self::close`]. Opening a retired inode for writing fails
    /// with `ESTALE`, because the kernel then looks up the name again and finds the inode of the
    /// current version.
    pub fn open(&mut self, ino: u64, write: bool) -> Lookup<Arc<FileData>> {
        let data = match self.upper.inodes.get(&ino) {
            Some(inode) => match &inode.what {
                InodeBody::File(_) if write && inode.parent == RETIRED => {
                    return Err(Errno::STALE.into());
                }
                InodeBody::File(data) => Arc::clone(data),
                InodeBody::Dir { .. } => return Err(Errno::ISDIR.into()),
                _ => return Err(Errno::INVAL.into()),
            },
            None if write && self.place(ino)?.is_retired() => return Err(Errno::STALE.into()),
            None => match self.open_untouched.get(&ino) {
                Some(data) => Arc::clone(data),
                None => {
                    let place = self.place(ino)?;
                    let (dir, at) = self.entry(&place)?;
                    if !matches!(dir[at].node, Node::File { .. }) {
                        return Err(Errno::INVAL.into());
                    }
                    let data = Arc::new(FileData::new(
                        ino,
                        Arc::clone(&self.space),
                        FileState::of(self.base_of(ino)?),
                    ));
                    self.open_untouched.insert(ino, Arc::clone(&data));
                    data
                }
            },
        };
        let opened = self.open_counts.entry(ino).or_default();
        opened.daemon_opens += 1;
        opened.writers += u64::from(write);
        Ok(data)
    }

    /// Counts the last open of an inode as passthrough. `complete` is whether the upper file can be
    /// used. Returns false if passthrough is impossible, because all handles of an inode must be of
    /// the same kind.
    pub fn open_in_kernel(&mut self, ino: u64, complete: bool) -> bool {
        let Some(opened) = self.open_counts.get_mut(&ino) else {
            return false;
        };
        let may = opened.kernel_opens > 0 || complete && opened.daemon_opens == 1;
        if may {
            opened.daemon_opens -= 1;
            opened.kernel_opens += 1;
        }
        may
    }

    /// Counts the last open of an inode as served by this process, not as passthrough.
    pub fn open_in_daemon(&mut self, ino: u64) {
        if let Some(opened) = self.open_counts.get_mut(&ino) {
            opened.daemon_opens += 1;
            opened.kernel_opens = opened.kernel_opens.saturating_sub(1);
        }
    }

    /// Closes a handle of a file.
    pub fn close(&mut self, ino: u64, in_kernel: bool, write: bool) -> ClosedFile {
        if let Some(opened) = self.open_counts.get_mut(&ino) {
            let n = if in_kernel {
                &mut opened.kernel_opens
            } else {
                &mut opened.daemon_opens
            };
            *n = n.saturating_sub(1);
            opened.writers = opened.writers.saturating_sub(u64::from(write));
            if opened.daemon_opens + opened.kernel_opens > 0 {
                return ClosedFile {
                    last: false,
                    removed: None,
                };
            }
        }
        self.open_counts.remove(&ino);
        self.open_untouched.remove(&ino);
        if self.untouched.get(&ino).is_some_and(|known| known.1 == 0) {
            self.untouched.remove(&ino);
        }
        ClosedFile {
            last: true,
            removed: self.remove_unused(ino),
        }
    }

    /// Returns the inodes that have a name and are open for writing.
    pub fn open_for_write(&self) -> Vec<u64> {
        let named = |ino: &u64| {
            self.upper
                .inodes
                .get(ino)
                .is_none_or(|inode| inode.nlink > 0)
        };
        self.open_counts
            .iter()
            .filter(|(_, o)| o.writers > 0)
            .map(|(ino, _)| *ino)
            .filter(named)
            .collect()
    }
}
