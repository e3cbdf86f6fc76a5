//! Listing directories: whoever reads one from its start sees what is there then, as far as it still is when he goes on.
//!
//! The kernel opens no directory and has no handle of one (a question less for each): positions mean the same to all.

use std::sync::Arc;

use super::View;
use crate::mount::errno::{Answer, Errno};
use crate::mount::inode::{Allocated, Attr, Kind};
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

/// Merged directories of which the list is kept.
const KEPT: usize = 8;

impl View {
    /// A directory, for reading it from a position on.
    fn listing(&self, ino: u64, from: u64) -> Answer<Arc<Listing>> {
        let kept = || self.listings.lock();
        if from > 0
            && let Some((_, listing)) = kept().iter().find(|(of, _)| *of == ino)
        {
            return Ok(Arc::clone(listing));
        }
        let listing = self.ask(|n| match n.plain_dir(ino)? {
            Some(dir) => Ok(Arc::new(Listing::Plain(dir))),
            None => Ok(Arc::new(Listing::Merged(n.list(ino)?, n.below(ino)?))),
        })?;
        let mut kept = kept();
        kept.retain(|(of, _)| *of != ino);
        if matches!(*listing, Listing::Merged(..)) {
            if kept.len() == KEPT {
                kept.pop_front();
            }
            kept.push_back((ino, Arc::clone(&listing)));
        }
        Ok(listing)
    }

    /// Forgets what was listed.
    pub(super) fn forget_listings(&self) {
        self.listings.lock().clear();
    }

    /// Hands names to `take` from a position on, until it has enough (false). With `attrs` the kernel holds each inode
    /// that was taken.
    pub fn list(&self, ino: u64, from: u64, attrs: bool, take: &mut dyn FnMut(Item<'_>) -> bool) -> Answer<()> {
        let listing = self.listing(ino, from)?;
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
            let (name, number, mut kind, next) = match &*listing {
                Listing::Plain(dir) => {
                    let entry = &dir[index];
                    let number = match names.number_at(ino, entry) {
                        Ok(number) => number,
                        Err(Stop::Errno(e)) => return Err(e),
                        Err(Stop::Dir(_)) => return Err(Errno::IO),
                    };
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
                    Ok(mut known) => {
                        kind = known.kind;
                        // The list is not read here, for each of a thousand files of which few are asked more.
                        if let Allocated::List { list, .. } = known.allocated
                            && let Some(data) = self.lower.known_allocated(&list)
                        {
                            known.allocated = known.allocated.resolved(data);
                        }
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
