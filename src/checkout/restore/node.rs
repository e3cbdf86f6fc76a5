//! Creates nodes of every type in an open directory, with their metadata.
//!
//! An existing name is an error, so that nothing is written through a file or link that another
//! process created.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{self, AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::checkout::error::error_text;
use crate::checkout::meta::{Known, Lost, Spot, mtime};
use crate::checkout::restore::report::RestoreReport;
use crate::model::entry::{Entry, Meta, Node, Time};
use crate::model::path::display;
use crate::model::text;
use crate::observe::{Notice, NoticeLevel, Observer};

/// A time before 1970 with nanoseconds, which not every file system can store.
const PROBE_TIME: Time = Time {
    secs: -2,
    nanos: 123_456_789,
};

/// Creates nodes, and knows the owner and mode that new nodes get by default.
pub(in crate::checkout) struct Maker {
    uid: u32,
    gid: u32,
    /// Permission bits that the umask permits.
    mask: u32,
    /// Whether all new nodes get the same owner and mode as the probe. Otherwise, existing
    /// directories may make new nodes inherit other properties.
    uniform: bool,
    owners_lost: AtomicU64,
    denied: AtomicU64,
    /// Whether the caller records the denied properties, so that they are not lost.
    remembered: bool,
    first_lost: OnceLock<Vec<u8>>,
}

impl Maker {
    /// Probes with a temporary file in `root` which owner and mode new nodes get, and reports if
    /// the file system cannot store all times. `uniform` promises that this process creates all
    /// directories, so that the result holds below them too.
    pub(in crate::checkout) fn probe(
        root: BorrowedFd<'_>,
        uniform: bool,
        observer: &dyn Observer,
    ) -> Result<Self, Errno> {
        // Request all permission bits; the umask has cleared the bits that are missing afterwards.
        let all = Mode::RWXU | Mode::RWXG | Mode::RWXO;
        let fd = match fs::openat(
            root,
            ".",
            OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC,
            all,
        ) {
            Ok(fd) => fd,
            // The file system has no `O_TMPFILE` (open(2)).
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
        if times.set_mtime(PROBE_TIME).is_err() || times.stat().map(|s| mtime(&s)) != Ok(PROBE_TIME)
        {
            observer.notice(Notice {
                level: NoticeLevel::Incomplete,
                path: Vec::new(),
                message: "this file system does not store all timestamps with nanosecond precision"
                    .to_owned(),
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

    /// Marks denied properties as recorded by the caller, so that the result counts as complete.
    pub(in crate::checkout) fn remembering(self) -> Self {
        Self {
            remembered: true,
            ..self
        }
    }

    /// Returns the level of notices about denied properties.
    fn denied_level(&self) -> NoticeLevel {
        if self.remembered {
            NoticeLevel::Info
        } else {
            NoticeLevel::Incomplete
        }
    }

    /// Returns whether this process has created all directories.
    pub(in crate::checkout) fn uniform(&self) -> bool {
        self.uniform
    }

    /// Creates an empty regular file.
    pub(in crate::checkout) fn file(
        &self,
        dir: BorrowedFd<'_>,
        name: &[u8],
        meta: &Meta,
    ) -> Result<OwnedFd, Errno> {
        // An ACL can deny what the mode grants, so the file stays private until its xattrs are set.
        let mode = if meta.xattrs.is_empty() {
            meta.mode & 0o777
        } else {
            0o600
        };
        fs::openat(dir, name, new_file(), Mode::from_raw_mode(mode))
    }

    /// Sets the metadata of a file from [`Maker::file`], after its last write.
    pub(in crate::checkout) fn finish_file(
        &self,
        fd: BorrowedFd<'_>,
        meta: &Meta,
    ) -> Result<Lost, Errno> {
        let mode = if meta.xattrs.is_empty() {
            meta.mode & 0o777
        } else {
            0o600
        };
        let spot = Spot::Open(fd);
        Ok(spot.settle(meta, self.known(spot, mode)?, false))
    }

    fn known(&self, spot: Spot<'_>, mode: u32) -> Result<Known, Errno> {
        // Every new node is like the probe, which saves a stat for each.
        if self.uniform {
            return Ok(Known {
                uid: self.uid,
                gid: self.gid,
                mode: mode & self.mask,
                mtime: None,
                fresh: true,
            });
        }
        let mut known = Known::of(&spot.stat()?);
        known.mtime = None;
        Ok(known)
    }

    /// Returns the state of a directory from [`Maker::dir`] when it is complete.
    pub(in crate::checkout) fn known_dir(&self, spot: Spot<'_>) -> Result<Known, Errno> {
        self.known(spot, 0o700)
    }

    /// Creates a directory that only its owner can access; its metadata is set when it is complete.
    pub(in crate::checkout) fn dir(dir: BorrowedFd<'_>, name: &[u8]) -> Result<(), Errno> {
        fs::mkdirat(dir, name, Mode::RWXU)
    }

    /// Creates a node that is neither a file nor a directory, with its metadata.
    pub(in crate::checkout) fn special(
        &self,
        dir: BorrowedFd<'_>,
        name: &[u8],
        entry: &Entry,
    ) -> Result<Lost, Errno> {
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
                fs::mknodat(
                    dir,
                    name,
                    FileType::CharacterDevice,
                    perm,
                    fs::makedev(*major, *minor),
                )?;
            }
            Node::BlockDevice { major, minor } => {
                fs::mknodat(
                    dir,
                    name,
                    FileType::BlockDevice,
                    perm,
                    fs::makedev(*major, *minor),
                )?;
            }
            Node::File { .. } | Node::Dir { .. } => return Err(Errno::INVAL),
        }
        Ok(spot.settle(meta, self.known(spot, meta.mode & 0o777)?, false))
    }

    /// Reports the lost properties of a node and returns their number. Lost owners are only
    /// counted, and reported once at the end.
    pub(in crate::checkout) fn report(
        &self,
        lost: Lost,
        path: impl Fn() -> Vec<u8>,
        observer: &dyn Observer,
    ) -> u64 {
        if lost.owner {
            self.owners_lost.fetch_add(1, Ordering::Relaxed);
            self.first_lost.get_or_init(&path);
        }
        if !lost.denied.is_empty() {
            self.denied.fetch_add(1, Ordering::Relaxed);
        }
        let denied = if self.remembered {
            0
        } else {
            lost.denied.len()
        };
        let others = denied + lost.other.len();
        for message in lost.denied {
            observer.notice(Notice {
                level: self.denied_level(),
                path: path(),
                message,
            });
        }
        for message in lost.other {
            observer.notice(Notice {
                level: NoticeLevel::Incomplete,
                path: path(),
                message,
            });
        }
        others as u64
    }

    /// Counts a device that could not be created. Returns whether the caller records the denied
    /// device.
    pub(in crate::checkout) fn is_denied_device(&self, entry: &Entry, e: Errno) -> bool {
        let is_device = matches!(
            entry.node,
            Node::CharDevice { .. } | Node::BlockDevice { .. }
        );
        // mknod(2) creates devices only for a process with `CAP_MKNOD`.
        if e != Errno::PERM || !is_device {
            return false;
        }
        self.denied.fetch_add(1, Ordering::Relaxed);
        self.remembered
    }

    /// Adds the properties that could not be restored for lack of privilege to a report, and
    /// reports lost owners.
    pub(in crate::checkout) fn complete(
        &self,
        report: &mut RestoreReport,
        observer: &dyn Observer,
    ) {
        report.owners_lost = self.report_owners(observer);
        if !self.remembered {
            report.incomplete += report.owners_lost;
        }
        report.denied = report.owners_lost + self.denied.load(Ordering::Relaxed);
    }

    /// Reports how many owners were not set, and returns the number.
    fn report_owners(&self, observer: &dyn Observer) -> u64 {
        let count = self.owners_lost.load(Ordering::Relaxed);
        if let Some(first) = self.first_lost.get() {
            let message = match count {
                1 => "owner not restored: not permitted".to_owned(),
                n => format!(
                    "owner not restored for this and {}: not permitted",
                    text::count(n - 1, "other file")
                ),
            };
            observer.notice(Notice {
                level: self.denied_level(),
                path: first.clone(),
                message,
            });
        }
        count
    }
}

/// Returns the flags for creating a file.
fn new_file() -> OFlags {
    OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC
}

/// Returns the message for a node that could not be created.
pub(in crate::checkout) fn refused(entry: &Entry, e: Errno) -> String {
    let what = match &entry.node {
        Node::File { .. } => "file".to_owned(),
        Node::Dir { .. } => "directory".to_owned(),
        Node::Symlink { target } => format!("symbolic link to `{}`", display(target)),
        Node::Fifo => "named pipe".to_owned(),
        Node::CharDevice { major, minor } => format!("character device {major}:{minor}"),
        Node::BlockDevice { major, minor } => format!("block device {major}:{minor}"),
    };
    format!("{what} not created: {}", error_text(e))
}
