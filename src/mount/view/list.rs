//! Listing directories: a handle shows what was there when it began to be read, as far as it still is.
//!
//! The kernel may ask for what is behind a position of another handle's listing: positions do not depend on the handle.

use std::sync::{Mutex, PoisonError};

use super::View;
use super::handles::Handle;
use crate::mount::errno::{Answer, Errno};
use crate::mount::inode::{Attr, Kind};
use crate::mount::lower::Dir;
use crate::mount::names::{Listed, Stop, position};

/// What a handle shows.
pub(super) enum Listing {
    /// A directory of the version, as it is.
    Plain(Dir),
    /// One in which something differs, with what of the version's it needs.
    Merged(Vec<Listed>, #[expect(dead_code, reason = "held, so that it stays known")] Option<Dir>),
}

impl Listing {
    fn len(&self) -> usize {
        match self {
            Self::Plain(dir) => dir.len(),
            Self::Merged(all, _) => all.len(),
        }
    }

    /// The first name behind a position.
    fn behind(&self, at: u64) -> usize {
        match self {
            Self::Plain(..) => usize::try_from(at.saturating_sub(2)).unwrap_or(usize::MAX),
            Self::Merged(all, _) => all.partition_point(|l| l.at <= at),
        }
    }
}

/// A name of a directory.
pub struct Item<'i> {
    /// The name.
    pub name: &'i [u8],
    /// Its inode.
    pub ino: u64,
    /// Its type.
    pub kind: Kind,
    /// What is told of it, where that was asked for; never of `.` and `..`.
    pub attr: Option<Attr>,
    /// Where reading goes on behind it.
    pub next: u64,
}

impl View {
    /// Opens a directory.
    pub fn open_dir(&self, _ino: u64) -> u64 {
        self.put_handle(Handle::Dir(Mutex::default()))
    }

    /// Hands names to `take` from a position on, until it has enough (false). With `attrs` the kernel holds each inode
    /// that was taken.
    pub fn list(
        &self,
        handle: u64,
        ino: u64,
        from: u64,
        attrs: bool,
        take: &mut dyn FnMut(Item<'_>) -> bool,
    ) -> Answer<()> {
        let handle = self.handle(handle)?;
        let Handle::Dir(listing) = &*handle else { return Err(Errno::NOTDIR) };
        let mut listing = listing.lock().unwrap_or_else(PoisonError::into_inner);
        if from == 0 || listing.is_none() {
            *listing = Some(self.ask(|n| match n.plain_dir(ino)? {
                Some(dir) => Ok(Listing::Plain(dir)),
                None => Ok(Listing::Merged(n.list(ino)?, n.below(ino)?)),
            })?);
        }
        let Some(listing) = &*listing else { return Ok(()) };
        let mut at = from;
        for (n, name) in [b".".as_slice(), b".."].into_iter().enumerate().skip(usize::try_from(at.min(2)).unwrap_or(2))
        {
            let number = if n == 0 { ino } else { self.names().parent(ino).unwrap_or(ino) };
            if !take(Item { name, ino: number, kind: Kind::Dir, attr: None, next: n as u64 + 1 }) {
                return Ok(());
            }
            at = n as u64 + 1;
        }
        let mut names = self.names();
        for index in listing.behind(at)..listing.len() {
            let (name, number, mut kind, next) = match listing {
                Listing::Plain(dir) => {
                    let entry = &dir[index];
                    let number = names.upper().number_of(ino, &entry.name, entry.link.as_ref());
                    (&entry.name, number, Kind::of(&entry.node), position(index))
                }
                Listing::Merged(all, _) => (&all[index].name, all[index].ino, all[index].kind, all[index].at),
            };
            let mut attr = None;
            if attrs {
                // The kernel takes for there what it is told with attributes; it becomes known to us by that.
                let known = match names.find(ino, name) {
                    Ok(Some(found)) if found == number => names.attr(number),
                    Ok(_) => continue,
                    Err(e) => Err(e),
                };
                match known {
                    Ok(known) => {
                        kind = known.kind;
                        attr = Some(self.shown(&names, known));
                    }
                    // A name that is gone meanwhile is not told.
                    Err(Stop::Errno(Errno::NOENT | Errno::STALE)) => continue,
                    Err(Stop::Errno(e)) => return Err(e),
                    Err(Stop::Dir(_)) => return Err(Errno::IO),
                }
            }
            if !take(Item { name, ino: number, kind, attr, next }) {
                return Ok(());
            }
            if attrs {
                names.hold(number);
            }
        }
        Ok(())
    }
}
