//! Restores a whole version into a new or empty directory.
//!
//! A directory is created private and gets its own metadata when everything below it is complete;
//! the target itself comes last.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use rustix::fs::{Mode, RawDir};
use rustix::io::Errno;

use crate::checkout::dir::{Dir, Finish, OPEN_DIR};
use crate::checkout::error::{ReadError, io_error};
use crate::checkout::meta::Spot;
use crate::checkout::placed::Placements;
use crate::checkout::restore::engine::Engine;
use crate::checkout::restore::node::Maker;
use crate::checkout::restore::report::RestoreReport;
use crate::checkout::source::Source;
use crate::error::Result;
use crate::model::entry::Entry;
use crate::model::id::Id;
use crate::model::path::{display, is_reserved};
use crate::observe::Observer;
use crate::sys::xattr::ACL_DEFAULT;

/// Options of a restore.
#[derive(Clone, Copy)]
pub struct RestoreOptions<'a> {
    /// Number of threads, at least 1.
    pub jobs: usize,
    /// Receives the directories that are complete.
    pub placements: Option<&'a dyn Placements>,
}

/// Restores the version with root `tree` into `target`, which must be missing or empty.
///
/// Damage and rejections by the file system are counted and reported as notices; errors that
/// concern all files, such as a full disk, are returned.
pub fn restore(
    source: &dyn Source,
    tree: &Id,
    target: &Path,
    options: &RestoreOptions<'_>,
    observer: &dyn Observer,
) -> Result<RestoreReport> {
    let (info, entries) = source.root(tree)?;
    refuse_reserved(&entries)?;
    let shown = target.as_os_str().as_encoded_bytes();
    match rustix::fs::mkdir(target, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => {}
        Err(e) => return Err(io_error("create", shown, e)),
    }
    // The target itself may be a link; no link below it is followed.
    let flags = OPEN_DIR.difference(rustix::fs::OFlags::NOFOLLOW);
    let fd =
        rustix::fs::open(target, flags, Mode::empty()).map_err(|e| io_error("open", shown, e))?;
    if !is_empty(fd.as_fd()).map_err(|e| io_error("read", shown, e))? {
        return Err(ReadError::NotEmpty {
            path: target.display().to_string(),
        }
        .into());
    }
    // New nodes must not inherit an ACL, and no other user may enter before the owner and mode are
    // final.
    let made_private = rustix::fs::fchmod(&fd, Mode::RWXU);
    made_private.map_err(|e| io_error("change the mode of", shown, e))?;
    match Spot::Open(fd.as_fd()).remove_xattr(ACL_DEFAULT) {
        // The directory has no default ACL, or the file system has no ACLs.
        Ok(()) | Err(Errno::NODATA | Errno::NOTSUP | Errno::NOSYS | Errno::INVAL) => {}
        Err(e) => return Err(io_error("remove the default ACL of", shown, e)),
    }
    let maker = Maker::probe(fd.as_fd(), true, observer)
        .map_err(|e| io_error("create a file in", shown, e))?;
    observer.phase("restore", Some(info.totals.files), Some(info.totals.bytes));
    let root = Dir::root(
        fd,
        Some(Finish {
            meta: info.meta,
            tree: *tree,
            totals: info.totals,
        }),
    );
    let engine = Engine::new(source, maker, observer, options.placements);
    engine.run(options.jobs, |queue| engine.fill(&root, entries, queue))?;
    engine.close_groups();
    let mut report = RestoreReport::of(&engine.counts);
    engine.maker.complete(&mut report, observer);
    Ok(report)
}

/// Fails if the version would write into the repository of the worktree. Repositories further below
/// are skipped one by one and reported as damage, because the rest of the version can still be
/// restored.
pub(in crate::checkout) fn refuse_reserved(root: &[Entry]) -> Result<()> {
    match root.iter().find(|e| is_reserved(&e.name)) {
        Some(e) => Err(ReadError::Reserved {
            path: display(&e.name),
        }
        .into()),
        None => Ok(()),
    }
}

fn is_empty(dir: BorrowedFd<'_>) -> Result<bool, Errno> {
    let mut buf = Vec::with_capacity(4096);
    let mut names = RawDir::new(dir, buf.spare_capacity_mut());
    while let Some(entry) = names.next() {
        if !matches!(entry?.file_name().to_bytes(), b"." | b"..") {
            return Ok(false);
        }
    }
    Ok(true)
}
