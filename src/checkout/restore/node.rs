//! Makes nodes of every kind in a directory, by descriptor.
//!
//! In: an open directory and an entry. Out: the node with its metadata, and what was lost. A name that exists
//! already is an error: nothing is ever written through what somebody else put there.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{self, AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::checkout::error::words;
use crate::checkout::meta::{Known, Lost, Spot, mtime};
use crate::checkout::restore::whole::RestoreReport;
use crate::model::entry::{Entry, Meta, Node, Time};
use crate::model::path::display;
use crate::observe::{Notice, NoticeLevel, Observer};

/// Exact to the nanosecond, and before 1970.
const PROBE_TIME: Time = Time { secs: -2, nanos: 123_456_789 };

/// Makes nodes, and knows what owner and mode a new one gets by itself.
pub(in crate::checkout) struct Maker {
    uid: u32,
    gid: u32,
    /// Permission bits that creation leaves.
    mask: u32,
    /// Whether new nodes are as the probe was; in directories of others they may inherit something.
    uniform: bool,
    owners_lost: AtomicU64,
    denied: AtomicU64,
    /// Whether the caller remembers what was denied, so that it is not lost.
    remembered: bool,
    first_lost: OnceLock<Vec<u8>>,
}

impl Maker {
    /// Finds out with a nameless file in `root` what new nodes look like. `uniform` promises that all directories
    /// are our own, so that this holds below too.
    pub(in crate::checkout) fn probe(
        root: BorrowedFd<'_>,
        uniform: bool,
        observer: &dyn Observer,
    ) -> Result<Self, Errno> {
        let all = Mode::RWXU | Mode::RWXG | Mode::RWXO;
        let fd = match fs::openat(root, ".", OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC, all) {
            Ok(fd) => fd,
            Err(Errno::NOTSUP | Errno::ISDIR | Errno::INVAL | Errno::NOENT) => {
                let name = format!(".dvc-tmp-probe-{}", std::process::id());
                let fd = fs::openat(root, &name, new_file(), all)?;
                fs::unlinkat(root, &name, AtFlags::empty())?;
                fd
            }
            Err(e) => return Err(e),
        };
        let stat = fs::fstat(&fd)?;
        let times = Spot::Open(fd.as_fd());
        if times.set_mtime(PROBE_TIME).is_err() || times.stat().map(|s| mtime(&s)) != Ok(PROBE_TIME) {
            observer.notice(Notice {
                level: NoticeLevel::Incomplete,
                path: Vec::new(),
                message: "this file system does not keep all times to the nanosecond".to_owned(),
            });
        }
        Ok(Self {
            uid: stat.st_uid,
            gid: stat.st_gid,
            mask: stat.st_mode & 0o777,
            uniform,
            owners_lost: AtomicU64::new(0),
            denied: AtomicU64::new(0),
            remembered: false,
            first_lost: OnceLock::new(),
        })
    }

    /// The same where the caller remembers what was denied: that is noted, and the work counts as complete.
    pub(in crate::checkout) fn remembering(self) -> Self {
        Self { remembered: true, ..self }
    }

    /// How bad it is that something was denied.
    fn denied_level(&self) -> NoticeLevel {
        if self.remembered { NoticeLevel::Info } else { NoticeLevel::Incomplete }
    }

    /// Whether all directories are our own.
    pub(in crate::checkout) fn uniform(&self) -> bool {
        self.uniform
    }

    /// Makes an empty regular file.
    pub(in crate::checkout) fn file(&self, dir: BorrowedFd<'_>, name: &[u8], meta: &Meta) -> Result<OwnedFd, Errno> {
        let mode = if meta.xattrs.is_empty() { meta.mode & 0o777 } else { 0o600 };
        fs::openat(dir, name, new_file(), Mode::from_raw_mode(mode))
    }

    /// Gives a file from [`Maker::file`] its metadata; after its last write.
    pub(in crate::checkout) fn finish_file(&self, fd: BorrowedFd<'_>, meta: &Meta) -> Result<Lost, Errno> {
        let mode = if meta.xattrs.is_empty() { meta.mode & 0o777 } else { 0o600 };
        let spot = Spot::Open(fd);
        Ok(spot.settle(meta, self.known(spot, mode)?, false))
    }

    fn known(&self, spot: Spot<'_>, mode: u32) -> Result<Known, Errno> {
        if self.uniform {
            return Ok(Known { uid: self.uid, gid: self.gid, mode: mode & self.mask, mtime: None, fresh: true });
        }
        let mut known = Known::of(&spot.stat()?);
        known.mtime = None;
        Ok(known)
    }

    /// What a directory from [`Maker::dir`] has when it is full.
    pub(in crate::checkout) fn known_dir(&self, spot: Spot<'_>) -> Result<Known, Errno> {
        self.known(spot, 0o700)
    }

    /// Makes a directory that only its owner may enter; its metadata is set when it is full.
    pub(in crate::checkout) fn dir(dir: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
        fs::mkdirat(dir, name, Mode::RWXU)
    }

    /// Makes a node that is neither a file nor a directory, with its metadata.
    pub(in crate::checkout) fn special(&self, dir: BorrowedFd<'_>, name: &[u8], entry: &Entry) -> Result<Lost, Errno> {
        let meta = &entry.meta;
        let spot = Spot::Named(dir, name);
        let perm = Mode::from_raw_mode(meta.mode & 0o777);
        match &entry.node {
            Node::Symlink { target } => {
                fs::symlinkat(target.as_slice(), dir, name)?;
                return Ok(spot.settle(meta, self.known(spot, 0o777)?, true));
            }
            Node::Fifo => fs::mknodat(dir, name, FileType::Fifo, perm, 0)?,
            Node::CharDevice { major, minor } => {
                fs::mknodat(dir, name, FileType::CharacterDevice, perm, fs::makedev(*major, *minor))?;
            }
            Node::BlockDevice { major, minor } => {
                fs::mknodat(dir, name, FileType::BlockDevice, perm, fs::makedev(*major, *minor))?;
            }
            Node::File { .. } | Node::Dir { .. } => return Err(Errno::INVAL),
        }
        Ok(spot.settle(meta, self.known(spot, meta.mode & 0o777)?, false))
    }

    /// Says what was lost of a node; a missing privilege to set owners is said once, at the end.
    pub(in crate::checkout) fn report(&self, lost: Lost, path: impl Fn() -> Vec<u8>, observer: &dyn Observer) -> u64 {
        if lost.owner {
            self.owners_lost.fetch_add(1, Ordering::Relaxed);
            self.first_lost.get_or_init(&path);
        }
        if !lost.denied.is_empty() {
            self.denied.fetch_add(1, Ordering::Relaxed);
        }
        let denied = if self.remembered { 0 } else { lost.denied.len() };
        let others = denied + lost.other.len();
        for message in lost.denied {
            observer.notice(Notice { level: self.denied_level(), path: path(), message });
        }
        for message in lost.other {
            observer.notice(Notice { level: NoticeLevel::Incomplete, path: path(), message });
        }
        others as u64
    }

    /// Notes a device that could not be created. Returns whether it was denied and the caller remembers that.
    pub(in crate::checkout) fn is_denied_device(&self, entry: &Entry, e: Errno) -> bool {
        let is_device = matches!(entry.node, Node::CharDevice { .. } | Node::BlockDevice { .. });
        if e != Errno::PERM || !is_device {
            return false;
        }
        self.denied.fetch_add(1, Ordering::Relaxed);
        self.remembered
    }

    /// Completes a report by what could not be restored for lack of privilege, and reports the owners among it.
    pub(in crate::checkout) fn complete(&self, report: &mut RestoreReport, observer: &dyn Observer) {
        report.owners_lost = self.report_owners(observer);
        if !self.remembered {
            report.incomplete += report.owners_lost;
        }
        report.denied = report.owners_lost + self.denied.load(Ordering::Relaxed);
    }

    /// Says how many owners were not set; returns the number.
    fn report_owners(&self, observer: &dyn Observer) -> u64 {
        let count = self.owners_lost.load(Ordering::Relaxed);
        if let Some(first) = self.first_lost.get() {
            let message = match count {
                1 => "owner not restored: not permitted".to_owned(),
                n => format!("owner not restored here and {} more times: not permitted", n - 1),
            };
            observer.notice(Notice { level: self.denied_level(), path: first.clone(), message });
        }
        count
    }
}

/// How a file that does not exist yet is opened.
fn new_file() -> OFlags {
    OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC
}

/// Words for a node that could not be made.
pub(in crate::checkout) fn refused(entry: &Entry, e: Errno) -> String {
    let what = match &entry.node {
        Node::File { .. } => "file".to_owned(),
        Node::Dir { .. } => "directory".to_owned(),
        Node::Symlink { target } => format!("link to `{}`", display(target)),
        Node::Fifo => "pipe".to_owned(),
        Node::CharDevice { major, minor } => format!("character device {major}:{minor}"),
        Node::BlockDevice { major, minor } => format!("block device {major}:{minor}"),
    };
    format!("{what} not made: {}", words(e))
}
