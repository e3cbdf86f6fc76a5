//! Restores a whole version into a new or empty directory.
//!
//! Directories are made closed to others and get their own metadata when all that is in them is complete, the target
//! last of all.

use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{Mode, RawDir};
use rustix::io::Errno;

use crate::checkout::dir::{Dir, Finish, OPEN_DIR};
use crate::checkout::error::{ReadError, io_error};
use crate::checkout::meta::Spot;
use crate::checkout::placed::Placements;
use crate::checkout::restore::engine::{Counts, Engine};
use crate::checkout::restore::node::Maker;
use crate::checkout::source::Source;
use crate::error::Result;
use crate::model::entry::Entry;
use crate::model::id::Id;
use crate::model::path::{display, is_reserved};
use crate::observe::Observer;
use crate::sys::xattr::ACL_DEFAULT;

/// How to restore.
#[derive(Clone, Copy)]
pub struct RestoreOptions<'a> {
    /// Threads, at least 1.
    pub jobs: usize,
    /// Hears of directories that are in place.
    pub placements: Option<&'a dyn Placements>,
}

/// What a restore or a patch has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RestoreReport {
    /// Nodes made or changed that are not directories.
    pub files: u64,
    /// Directories made or changed.
    pub dirs: u64,
    /// Bytes written to files.
    pub bytes: u64,
    /// Nodes removed.
    pub removed: u64,
    /// Things that could not be restored; each has its notice.
    pub incomplete: u64,
    /// Nodes not restored since the repository is damaged; each has its notice.
    pub damaged: u64,
    /// Nodes whose owner could not be restored for lack of privilege.
    pub owners_lost: u64,
    /// All that could not be restored for lack of privilege: owners, mode bits, attributes, devices.
    pub denied: u64,
}

impl RestoreReport {
    pub(in crate::checkout) fn of(counts: &Counts) -> Self {
        let get = |c: &AtomicU64| c.load(Ordering::Relaxed);
        Self {
            files: get(&counts.files),
            dirs: get(&counts.dirs),
            bytes: get(&counts.bytes),
            removed: get(&counts.removed),
            incomplete: get(&counts.incomplete),
            damaged: get(&counts.damaged),
            ..Self::default()
        }
    }
}

/// Restores the version with root `tree` into `target`, which is created unless it is an empty directory.
///
/// Damage and what the file system refuses are notices and counted; full disks and the like are errors.
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
        Err(e) => return Err(io_error("make", shown, e)),
    }
    // The target itself may be reached through a link; below it none is followed.
    let flags = OPEN_DIR.difference(rustix::fs::OFlags::NOFOLLOW);
    let fd = rustix::fs::open(target, flags, Mode::empty()).map_err(|e| io_error("open", shown, e))?;
    if !is_empty(fd.as_fd()).map_err(|e| io_error("read", shown, e))? {
        return Err(ReadError::NotEmpty { path: target.display().to_string() }.into());
    }
    // Nothing is to be inherited, and nobody enters before the owner and mode are right.
    let made_private = rustix::fs::fchmod(&fd, Mode::RWXU);
    made_private.map_err(|e| io_error("change the mode of", shown, e))?;
    match Spot::Open(fd.as_fd()).remove_xattr(ACL_DEFAULT) {
        Ok(()) | Err(Errno::NODATA | Errno::NOTSUP | Errno::NOSYS | Errno::INVAL) => {}
        Err(e) => return Err(io_error("remove the default ACL of", shown, e)),
    }
    let maker = Maker::probe(fd.as_fd(), true, observer).map_err(|e| io_error("make a file in", shown, e))?;
    observer.phase("restore", Some(info.totals.files), Some(info.totals.bytes));
    let root = Dir::root(fd, Some(Finish { meta: info.meta, tree: *tree, totals: info.totals }));
    let engine = Engine::new(source, maker, observer, options.placements);
    engine.run(options.jobs, |queue| engine.fill(&root, entries, queue))?;
    engine.close_groups();
    let mut report = RestoreReport::of(&engine.counts);
    engine.maker.complete(&mut report, observer);
    Ok(report)
}

/// Refuses a version that would write into the repository of the worktree. Repositories further down are left out one
/// by one, as damage, because they need not keep the user from everything else.
pub(in crate::checkout) fn refuse_reserved(root: &[Entry]) -> Result<()> {
    match root.iter().find(|e| is_reserved(&e.name)) {
        Some(e) => Err(ReadError::Reserved { path: display(&e.name) }.into()),
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
