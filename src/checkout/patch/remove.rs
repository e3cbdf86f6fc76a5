//! Removes the nodes that a version does not contain. Files that the old version did not contain
//! are kept, together with their directories.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustix::fs::{AtFlags, unlinkat};
use rustix::io::Errno;

use crate::checkout::dir::Dir;
use crate::checkout::error::{concerns_all, error_text, io_error};
use crate::checkout::meta::open_up;
use crate::checkout::restore::engine::Engine;
use crate::checkout::restore::links::Member;
use crate::error::Result;
use crate::model::entry::{Entry, Node};
use crate::model::path::is_reserved;
use crate::observe::{Notice, NoticeLevel};
use crate::work::Cancelled;

/// A directory that is being emptied.
struct Emptying {
    place: Member,
    dir: Arc<Dir>,
    rest: std::vec::IntoIter<Entry>,
}

/// Removes one node. For a directory, removes the content of `old`, then the directory itself if it
/// is empty. `expand` means that the content of the directory was verified to match `old`.
pub(in crate::checkout) fn remove(
    engine: &Engine<'_>,
    place: &Member,
    old: &Entry,
    expand: bool,
) -> Result<u64> {
    let Node::Dir { tree, .. } = &old.node else {
        return unlink(engine, place, AtFlags::empty());
    };
    let mut removed = unlink(engine, place, AtFlags::REMOVEDIR)?;
    if removed > 0 || !expand || !exists(place) {
        return Ok(removed);
    }
    // Use a stack on the heap, because a forged version may be nested deeply enough to overflow
    // that of the thread.
    let mut levels = Vec::new();
    descend(
        engine,
        place.clone(),
        engine.source.entries(tree)?,
        &mut levels,
    )?;
    while let Some(top) = levels.last_mut() {
        if engine.observer.cancelled() {
            return Err(Cancelled.into());
        }
        let Some(entry) = top.rest.next() else {
            if let Some(done) = levels.pop() {
                drop(done.dir);
                removed += unlink(engine, &done.place, AtFlags::REMOVEDIR)?;
                if exists(&done.place) {
                    kept(engine, &done.place);
                }
            }
            continue;
        };
        // Keep the user's repository, even if the version has an entry with its name.
        if is_reserved(&entry.name) {
            continue;
        }
        let place = Member {
            dir: Arc::clone(&top.dir),
            name: entry.name,
        };
        match &entry.node {
            Node::Dir { tree, .. } => {
                descend(engine, place, engine.source.entries(tree)?, &mut levels)?
            }
            _ => removed += unlink(engine, &place, AtFlags::empty())?,
        }
    }
    Ok(removed)
}

fn descend(
    engine: &Engine<'_>,
    place: Member,
    entries: Vec<Entry>,
    levels: &mut Vec<Emptying>,
) -> Result<()> {
    match Dir::open(&place.dir, &place.name, None) {
        Ok(dir) => {
            if let Ok(fd) = dir.fd() {
                open_up(fd.as_fd());
            }
            levels.push(Emptying {
                place,
                dir,
                rest: entries.into_iter(),
            });
            Ok(())
        }
        Err(Errno::NOENT) => Ok(()),
        Err(e) => refuse(engine, &place, e),
    }
}

fn exists(place: &Member) -> bool {
    let stat = |fd: &crate::checkout::dir::DirFd<'_>| {
        rustix::fs::statat(fd, place.name.as_slice(), AtFlags::SYMLINK_NOFOLLOW)
    };
    place.dir.fd().and_then(|fd| stat(&fd)).is_ok()
}

fn kept(engine: &Engine<'_>, place: &Member) {
    let message = "directory kept, because it contains ignored or untracked files".to_owned();
    engine.observer.notice(Notice {
        level: NoticeLevel::Info,
        path: place.dir.path_of(&place.name),
        message,
    });
}

/// Removes a name, unless the name is missing or a directory with entries. Returns the number of
/// removed nodes.
fn unlink(engine: &Engine<'_>, place: &Member, flags: AtFlags) -> Result<u64> {
    match place
        .dir
        .fd()
        .and_then(|fd| unlinkat(fd, place.name.as_slice(), flags))
    {
        Ok(()) => {
            engine.observer.advance(1, 0);
            engine.counts.removed.fetch_add(1, Ordering::Relaxed);
            Ok(1)
        }
        // `EEXIST` is another error for a directory that is not empty (rmdir(2)).
        Err(Errno::NOENT | Errno::NOTEMPTY | Errno::EXIST) => Ok(0),
        Err(e) => refuse(engine, place, e).map(|()| 0),
    }
}

fn refuse(engine: &Engine<'_>, place: &Member, e: Errno) -> Result<()> {
    let path = place.dir.path_of(&place.name);
    if concerns_all(e) {
        return Err(io_error("remove", &path, e));
    }
    engine.incomplete(path, format!("not removed: {}", error_text(e)));
    Ok(())
}
