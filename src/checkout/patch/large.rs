//! Patches large files: only the differing ranges are written, and no second copy of the file is
//! needed.
//!
//! On a file system with reflinks, a clone of the file is patched and renamed. On other file
//! systems, the file itself is patched; the journal records it durably before its first change and
//! until all of it is durable.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{FileType, Mode, OFlags, fchmod, fstat, ioctl_ficlone};
use rustix::io::Errno;

use crate::checkout::content::{Piece, Pieces, pieces};
use crate::checkout::error::{ReadError, concerns_all, error_text, io_error};
use crate::checkout::meta::open_file;
use crate::checkout::patch::apply::{Patch, is_as_found};
use crate::checkout::patch::change::Change;
use crate::checkout::restore::links::Member;
use crate::checkout::source::Source;
use crate::error::{Error, Result};
use crate::model::entry::{Content, Entry, Meta, Node};
use crate::model::path::display;
use crate::sys::xattr::ACL_ACCESS;

/// Number of files that are patched and in the journal at the same time.
const AT_ONCE: usize = 16;

/// A file, and the changes of its other hard links.
type Group<'c> = (&'c Change, Vec<&'c Change>);

/// A file that is ready to be patched.
struct Ready<'c> {
    change: &'c Change,
    fd: OwnedFd,
    /// The file that is patched: the file itself, or a clone.
    at: Member,
    place: Member,
    sure: bool,
    others: Vec<&'c Change>,
}

impl<'a> Patch<'a> {
    /// Patches files. Returns the files that must be replaced as a whole, because they are missing,
    /// are being executed, or have hard links outside of the worktree.
    pub(in crate::checkout) fn patch_large<'c>(
        &mut self,
        all: Vec<Group<'c>>,
    ) -> Result<Vec<Group<'c>>> {
        let mut unfit = Vec::new();
        let mut all = all.into_iter().peekable();
        while all.peek().is_some() {
            let mut ready = Vec::new();
            for (change, others) in all.by_ref().take(AT_ONCE) {
                let Some(place) = self.member(&change.path)? else {
                    continue;
                };
                match self.open_old(change, &place) {
                    Ok(Some((fd, sure))) => {
                        let at = place.clone();
                        ready.push(Ready {
                            change,
                            fd,
                            at,
                            place,
                            sure,
                            others,
                        });
                    }
                    Ok(None) => unfit.push((change, others)),
                    Err(e) if concerns_all(e) => return Err(io_error("open", &change.path, e)),
                    Err(e) => self
                        .engine
                        .lose(&place, format!("not patched: {}", error_text(e))),
                }
            }
            self.patch_batch(ready)?;
        }
        Ok(unfit)
    }

    /// Opens a file for patching. Returns the descriptor, and whether the stat still matches the
    /// verified content; `None` if the file must be replaced.
    fn open_old(&self, change: &Change, place: &Member) -> Result<Option<(OwnedFd, bool)>, Errno> {
        let dir = place.dir.fd()?;
        let fd = match open_file(dir.as_fd(), &place.name, OFlags::RDWR) {
            Ok(fd) => fd,
            // The file is being executed, was removed, or is a link, a directory or a socket now
            // (open(2)).
            Err(Errno::TXTBSY | Errno::NOENT | Errno::LOOP | Errno::ISDIR | Errno::NXIO) => {
                return Ok(None);
            }
            Err(e) => return Err(e),
        };
        let stat = fstat(&fd)?;
        let names = change
            .new
            .as_ref()
            .and_then(|n| n.link)
            .map_or(1, |l| u64::from(l.count));
        // A hard link outside of the worktree must keep the old content.
        if !FileType::from_raw_mode(stat.st_mode).is_file() || stat.st_nlink != names {
            return Ok(None);
        }
        let sure = change.sure
            && change
                .old
                .as_ref()
                .is_some_and(|old| is_as_found(&stat, old));
        Ok(Some((fd, sure)))
    }

    /// Creates a clone of an open file next to it, if the file system supports that and the file
    /// has no other hard links to replace.
    fn clone_of(&mut self, file: &Ready<'_>) -> Result<Option<(Member, OwnedFd)>> {
        // A clone would have to replace all hard links of the file at the same time, which is not
        // possible.
        if !self.reflink || !file.others.is_empty() {
            return Ok(None);
        }
        self.journal.temps_in(&[file.place.dir.path()])?;
        let temp = Member {
            dir: Arc::clone(&file.place.dir),
            name: self.temp_name(),
        };
        // The clone has the old content first, which the new mode might expose to other users.
        let closed = Meta {
            mode: 0o600,
            ..Meta::default()
        };
        let made = temp
            .dir
            .fd()
            .and_then(|dir| self.engine.maker.file(dir.as_fd(), &temp.name, &closed));
        let Ok(fd) = made else { return Ok(None) };
        if ioctl_ficlone(&fd, &file.fd).is_ok() {
            return Ok(Some((temp, fd)));
        }
        // Most files are on the same file system, so do not try again.
        self.reflink = false;
        self.discard(&temp);
        Ok(None)
    }

    fn patch_batch(&mut self, mut ready: Vec<Ready<'_>>) -> Result<()> {
        if ready.is_empty() {
            return Ok(());
        }
        let mut items = Vec::new();
        let mut in_place = Vec::new();
        for file in &mut ready {
            let Some(new) = file.change.new.clone() else {
                continue;
            };
            let all = self.differing(file)?;
            let old = file
                .fd
                .try_clone()
                .map_err(|e| io_error("open", &file.change.path, e))?;
            let fd = match self.clone_of(file)? {
                Some((temp, fd)) => {
                    file.at = temp;
                    fd
                }
                None => {
                    in_place.push(file.change.path.clone());
                    old
                }
            };
            // The other names of the group exist already, so there is nothing to link.
            items.push((fd, file.at.clone(), Entry { link: None, ..new }, all));
        }
        // Make the journal durable before the first byte changes, so that a run after a crash knows
        // that the file may contain a mix.
        self.journal.begin_files(&in_place)?;
        self.engine.observer.step("checkout journal");
        // Narrow the mode before the first byte changes, because the old mode must not expose new
        // content.
        for file in ready.iter().filter(|f| f.at.name == f.place.name) {
            if let (Some(old), Some(new)) = (&file.change.old, &file.change.new) {
                narrow(&file.fd, &old.meta, &new.meta);
            }
        }
        let engine = &self.engine;
        let ran = engine.run(self.options.jobs, |queue| {
            for (fd, at, entry, all) in items.into_iter().rev() {
                engine.start(fd, at, entry, all, true, queue);
            }
        });
        if let Err(e) = ran {
            ready
                .iter()
                .filter(|f| f.at.name != f.place.name)
                // The originals of the clones are unchanged.
                .for_each(|f| self.discard(&f.at));
            return Err(e);
        }
        self.engine.observer.step("checkout patched");
        // A torn clone is discarded. A torn file stays in the journal, so that the next checkout
        // completes it.
        let torn = std::mem::take(&mut *self.engine.torn.lock());
        let is_torn = |f: &Ready<'_>| {
            torn.iter()
                .any(|t| Arc::ptr_eq(&t.dir, &f.at.dir) && t.name == f.at.name)
        };
        let (torn, whole): (Vec<_>, Vec<_>) = ready.into_iter().partition(is_torn);
        torn.iter()
            .filter(|f| f.at.name != f.place.name)
            .for_each(|f| self.discard(&f.at));
        for file in &whole {
            // The content must be durable before a clone is renamed, and before the journal says
            // that the file is complete.
            let synced = rustix::fs::fdatasync(&file.fd);
            synced.map_err(|e| io_error("sync", &file.change.path, e))?;
        }
        let clones: Vec<&Member> = whole
            .iter()
            .filter(|f| f.at.name != f.place.name)
            .map(|f| &f.at)
            .collect();
        // `fd` is the old file, so clones are opened and synced by name.
        self.sync(&clones)?;
        for file in &whole {
            if file.at.name != file.place.name {
                self.put_in_place(file.change, &file.place, &file.at)?;
            } else {
                self.made.insert(file.change.path.clone());
            }
            // Metadata that one hard link lacks is missing under all names.
            let in_part = file.place.dir.placed().in_part.contains(&file.place.name);
            for other in &file.others {
                self.made.insert(other.path.clone());
                if in_part && let Some(place) = self.member(&other.path)? {
                    place.dir.placed().in_part.insert(place.name);
                }
                self.engine.observer.advance(1, 0);
            }
        }
        // If a clone could not be renamed, the file has its old content, so it is not complete.
        let done = whole
            .iter()
            .map(|f| f.change.path.clone())
            .filter(|p| self.made.contains(p));
        let done: Vec<Vec<u8>> = done.collect();
        self.journal.end_files(&done)?;
        self.engine.observer.step("checkout whole");
        Ok(())
    }

    /// Returns the pieces of the new content that differ from the old file at the same offset.
    fn differing(&self, file: &Ready<'_>) -> Result<Pieces<'a>> {
        let path = file.change.path.clone();
        let broken = move || -> Error {
            ReadError::Extents {
                path: display(&path),
            }
            .into()
        };
        let Some((new_size, new)) = content_of(file.change.new.as_ref()) else {
            return Err(broken());
        };
        let source = self.engine.source;
        let now = pieces(source, new, new_size, broken.clone());
        match content_of(file.change.old.as_ref()) {
            // The old content is known, so nothing has to be read from the file.
            Some((old_size, old)) if file.sure => {
                Ok(changed(pieces(source, old, old_size, broken), now))
            }
            _ => {
                let fd = file
                    .fd
                    .try_clone()
                    .map_err(|e| io_error("open", &file.change.path, e))?;
                Ok(Box::new(now.filter(move |p| {
                    !p.as_ref().is_ok_and(|p| holds(source, &fd, p))
                })))
            }
        }
    }
}

/// Restricts the mode of an old file during the patch to the users that may read it in both
/// versions, and removes set-id bits.
fn narrow(fd: &OwnedFd, old: &Meta, new: &Meta) {
    let Ok(stat) = fstat(fd) else { return };
    let now = stat.st_mode & 0o7777;
    let acl = |meta: &Meta| {
        meta.xattrs
            .iter()
            .find(|x| x.name == ACL_ACCESS)
            .map(|x| x.value.clone())
    };
    let same = (stat.st_uid, stat.st_gid) == (new.uid, new.gid) && acl(old) == acl(new);
    // With another owner or ACL, the bits of group and others apply to other users than before.
    let mode = now & new.mode & if same { 0o777 } else { 0o700 };
    if mode != now {
        // If the mode cannot be set now, setting the final mode fails too, which is then reported.
        let _ = fchmod(fd, Mode::from_raw_mode(mode));
    }
}

fn content_of(entry: Option<&Entry>) -> Option<(u64, &Content)> {
    match entry.map(|e| &e.node) {
        Some(Node::File { size, content, .. }) => Some((*size, content)),
        _ => None,
    }
}

/// Returns the pieces of `now` that `before` does not have at the same offset. Unreadable parts of
/// `before` count as different.
fn changed<'a>(before: Pieces<'a>, now: Pieces<'a>) -> Pieces<'a> {
    let mut before = before.peekable();
    let same = move |p: &Piece| {
        loop {
            match before.peek() {
                // Skips old pieces that end before this one.
                Some(Ok(b)) if b.offset + b.len <= p.offset => _ = before.next(),
                // Any part of an old hole is a hole already.
                Some(Ok(b)) if b.chunk.is_none() && p.chunk.is_none() => {
                    return b.offset <= p.offset && b.offset + b.len >= p.offset + p.len;
                }
                Some(Ok(b)) => return b == p,
                Some(Err(_)) => _ = before.next(),
                None => return false,
            }
        }
    };
    let mut same = same;
    Box::new(now.filter(move |p| !p.as_ref().is_ok_and(&mut same)))
}

/// Returns whether an open file already has the bytes of a piece. Holes are always punched again,
/// because that costs nothing.
fn holds(source: &dyn Source, fd: &OwnedFd, piece: &Piece) -> bool {
    let Some(id) = &piece.chunk else { return false };
    let Ok(len) = usize::try_from(piece.len) else {
        return false;
    };
    let mut bytes = vec![0u8; len];
    let mut at = 0;
    while let Some(rest) = bytes.get_mut(at..).filter(|r| !r.is_empty()) {
        match rustix::io::pread(fd, rest, piece.offset + at as u64) {
            Ok(0) => return false,
            Ok(n) => at += n,
            Err(Errno::INTR) => {}
            // An unreadable part counts as different, so that it is written again.
            Err(_) => return false,
        }
    }
    source.chunk_id(&bytes) == *id
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::id::Id;

    fn list(runs: &[(u64, u8)]) -> Pieces<'static> {
        let mut offset = 0;
        let all: Vec<_> = runs
            .iter()
            .map(|(len, c)| {
                let piece = Piece {
                    offset,
                    len: *len,
                    chunk: (*c > 0).then_some(Id([*c; 32])),
                };
                offset += len;
                Ok(piece)
            })
            .collect();
        Box::new(all.into_iter())
    }

    fn differ(before: &[(u64, u8)], now: &[(u64, u8)]) -> Vec<(u64, u64)> {
        changed(list(before), list(now))
            .map(|p| p.unwrap())
            .map(|p| (p.offset, p.len))
            .collect()
    }

    #[test]
    fn only_what_moved_or_changed_is_written() {
        assert_eq!(differ(&[(10, 1), (10, 2)], &[(10, 1), (10, 2)]), []);
        assert_eq!(
            differ(&[(10, 1), (10, 2), (5, 3)], &[(10, 1), (10, 9), (5, 3)]),
            [(10, 10)]
        );
        // An inserted chunk moves the rest, so everything after it is written.
        assert_eq!(
            differ(&[(10, 1), (10, 2)], &[(3, 7), (10, 1), (10, 2)]),
            [(0, 3), (3, 10), (13, 10)]
        );
        assert_eq!(
            differ(&[(10, 1)], &[(10, 1), (10, 1), (4, 0)]),
            [(10, 10), (20, 4)]
        );
        // A hole inside a larger hole exists already.
        assert_eq!(
            differ(&[(10, 1), (20, 0)], &[(12, 1), (10, 0), (8, 2)]),
            [(0, 12), (22, 8)]
        );
        assert_eq!(
            differ(&[(10, 0), (20, 2)], &[(15, 0), (15, 3)]),
            [(0, 15), (15, 15)]
        );
    }
}
