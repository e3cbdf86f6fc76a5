//! Writes files: small files in one step, large files in ranges that several threads process.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use rustix::fs::{Stat, fstat, ftruncate};
use rustix::io::Errno;

use crate::checkout::content::{Pieces, WriteError, pieces, write_at, write_pieces};
use crate::checkout::error::{ReadError, concerns_all, error_text, io_error};
use crate::checkout::meta::{Known, Lost, Spot};
use crate::checkout::restore::engine::Engine;
use crate::checkout::restore::item::{Failed, Item, Large};
use crate::checkout::restore::links::Member;
use crate::checkout::restore::node::refused;
use crate::error::{Kind, Result};
use crate::model::entry::{Content, Entry, Node};
use crate::model::path::display;
use crate::sys::uncached::IoMode;
use crate::work::queue::LaneWorker;

/// Length of a range in bytes.
const RANGE: u64 = 8 << 20;

impl<'a> Engine<'a> {
    /// Creates a large file and pushes its first range.
    pub(in crate::checkout) fn large(
        &self,
        place: Member,
        entry: Entry,
        queue: &LaneWorker<'_, Item<'a>>,
    ) -> Result<()> {
        let Node::File { size, content, .. } = &entry.node else {
            return Ok(());
        };
        let path = place.dir.path_of(&place.name);
        let all = pieces(self.source, content, *size, move || {
            ReadError::Extents {
                path: display(&path),
            }
            .into()
        });
        let made = place.dir.fd().and_then(|dir| {
            let fd = self.maker.file(dir.as_fd(), &place.name, &entry.meta)?;
            // The size is set first, because ranges are written in any order and holes are not
            // written.
            ftruncate(&fd, *size)
                .inspect_err(|_| self.unlink(&place))
                .map(|()| fd)
        });
        match made {
            Ok(fd) => {
                self.start(fd, place, entry, all, false, queue);
                Ok(())
            }
            Err(e) => {
                let failed = target_error(e, &place)?;
                self.done(&place, entry, Err(failed), None)
            }
        }
    }

    /// Pushes the first range of a large file. `old` means that the file existed before.
    pub(in crate::checkout) fn start(
        &self,
        fd: OwnedFd,
        place: Member,
        entry: Entry,
        all: Pieces<'a>,
        old: bool,
        queue: &LaneWorker<'_, Item<'a>>,
    ) {
        place.dir.retain();
        let file = Large {
            fd,
            place,
            entry,
            old,
            ranges: AtomicUsize::new(1),
            failed: Mutex::new(None),
        };
        queue.push(Item::Range(Arc::new(file), all));
    }

    pub(in crate::checkout) fn range(
        &self,
        file: Arc<Large>,
        mut rest: Pieces<'a>,
        queue: &LaneWorker<'_, Item<'a>>,
    ) -> Result<()> {
        let mut now = Vec::new();
        let (mut bytes, mut holes) = (0, 0);
        let mut more = true;
        let mut outcome = Ok(());
        // Holes have no bytes, so the number of pieces is limited too.
        while bytes < RANGE && now.len() < 4096 {
            match rest.next() {
                Some(Ok(piece)) => {
                    *(if piece.chunk.is_some() {
                        &mut bytes
                    } else {
                        &mut holes
                    }) += piece.len;
                    now.push(piece);
                }
                Some(Err(e)) => {
                    outcome = Err(WriteError::Source(e));
                    more = false;
                    break;
                }
                None => {
                    more = false;
                    break;
                }
            }
        }
        // Push the rest first, so that another thread can continue while this one writes.
        if more {
            file.ranges.fetch_add(1, Ordering::AcqRel);
            queue.push(Item::Range(Arc::clone(&file), rest));
        }
        let failed_before = file.failed.lock().is_some();
        // After an error, the rest of the file is not written.
        if outcome.is_ok() && !failed_before {
            outcome = write_pieces(
                self.source,
                file.fd.as_fd(),
                // Large files bypass the page cache (docs/decisions/0002).
                IoMode::whole(),
                &now,
                file.old,
            );
        }
        if let Err(e) = outcome {
            let failed = write_error(e, &file.place)?;
            file.failed.lock().get_or_insert(failed);
        } else {
            self.counts.bytes.fetch_add(bytes, Ordering::Relaxed);
            self.observer.advance(0, bytes + holes);
        }
        if file.ranges.fetch_sub(1, Ordering::AcqRel) == 1
            && let Some(file) = Arc::into_inner(file)
        {
            let dir = Arc::clone(&file.place.dir);
            self.finish_large(file)?;
            self.release(&dir);
        }
        Ok(())
    }

    fn finish_large(&self, file: Large) -> Result<()> {
        let Large {
            fd,
            place,
            entry,
            old,
            failed,
            ..
        } = file;
        let failed = failed.into_inner();
        if let Some(failed) = failed {
            return self.give_up_large(&place, entry, old, failed);
        }
        // An existing file may be longer than the new content.
        let settled = if old {
            ftruncate(&fd, entry.size())
                .and_then(|()| fstat(&fd))
                .map(|stat| Spot::Open(fd.as_fd()).settle(&entry.meta, Known::of(&stat), false))
        } else {
            self.maker.finish_file(fd.as_fd(), &entry.meta)
        };
        match settled {
            Ok(lost) => {
                self.lost(lost, &place);
                let stat = self.stat(|| fstat(&fd));
                self.done(&place, entry, Ok(()), stat)
            }
            Err(e) => {
                let failed = target_error(e, &place)?;
                self.give_up_large(&place, entry, old, failed)
            }
        }
    }

    /// Removes an incomplete new file; keeps an existing file and records that it is torn.
    fn give_up_large(&self, place: &Member, entry: Entry, old: bool, failed: Failed) -> Result<()> {
        if old {
            self.torn.lock().push(place.clone());
        } else {
            self.unlink(place);
        }
        self.done(place, entry, Err(failed), None)
    }

    /// Creates a small file.
    pub(in crate::checkout) fn small(&self, place: &Member, entry: Entry) -> Result<()> {
        match self.write_small(place, &entry) {
            Ok((lost, stat)) => {
                self.lost(lost, place);
                self.counts.bytes.fetch_add(entry.size(), Ordering::Relaxed);
                self.observer.advance(0, entry.size());
                self.done(place, entry, Ok(()), stat)
            }
            Err(WriteError::Target(e)) if !concerns_all(e) => {
                let why = refused(&entry, e);
                self.done(place, entry, Err(Failed::Target(why)), None)
            }
            Err(e) => {
                let failed = write_error(e, place)?;
                self.done(place, entry, Err(failed), None)
            }
        }
    }

    fn write_small(
        &self,
        place: &Member,
        entry: &Entry,
    ) -> Result<(Lost, Option<Stat>), WriteError> {
        let Node::File { size, content, .. } = &entry.node else {
            return Err(WriteError::Target(Errno::INVAL));
        };
        let dir = place.dir.fd().map_err(WriteError::Target)?;
        let fd = self
            .maker
            .file(dir.as_fd(), &place.name, &entry.meta)
            .map_err(WriteError::Target)?;
        let fd = fd.as_fd();
        let written = match content {
            Content::Inline(bytes) if bytes.len() as u64 == *size => {
                write_at(fd, bytes, 0).map_err(WriteError::Target)
            }
            _ => {
                let path = || display(&place.dir.path_of(&place.name));
                let all = pieces(self.source, content, *size, || {
                    ReadError::Extents { path: path() }.into()
                });
                all.collect::<Result<Vec<_>>>()
                    .map_err(WriteError::Source)
                    .and_then(|all| {
                        // A hole at the end is not written, so the length has to be set.
                        if all.last().is_some_and(|p| p.chunk.is_none()) {
                            ftruncate(fd, *size).map_err(WriteError::Target)?;
                        }
                        write_pieces(self.source, fd, IoMode::cached(), &all, false)
                    })
            }
        };
        let settled = written.and_then(|()| {
            self.maker
                .finish_file(fd, &entry.meta)
                .map_err(WriteError::Target)
        });
        match settled {
            Ok(lost) => Ok((lost, self.stat(|| fstat(fd)))),
            Err(e) => {
                self.unlink(place);
                Err(e)
            }
        }
    }
}

fn target_error(e: Errno, place: &Member) -> Result<Failed> {
    if concerns_all(e) {
        return Err(io_error("write", &place.dir.path_of(&place.name), e));
    }
    Ok(Failed::Target(format!("not restored: {}", error_text(e))))
}

fn write_error(e: WriteError, place: &Member) -> Result<Failed> {
    match e {
        WriteError::Target(e) => target_error(e, place),
        // Damage concerns one file. Any other error of the repository would affect the following
        // files too.
        WriteError::Source(e) if e.kind() == Kind::Integrity => Ok(Failed::Source(e)),
        WriteError::Source(e) => Err(e),
    }
}
