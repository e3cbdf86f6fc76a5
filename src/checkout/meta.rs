//! Sets the owner, xattrs, mode and times of a node, in this order.
//!
//! The order matters: a change of the owner clears set-id bits and capabilities, an ACL changes the
//! mode, and every change updates times. A property that already has its value is not set again,
//! because the number of system calls per file limits the speed of a restore.

use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use rustix::fs::{self, AtFlags, Gid, Mode, Stat, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use super::error::error_text;
use crate::model::entry::{Meta, Time, Xattr};
use crate::model::path::display;
use crate::sys::clock::time;
use crate::sys::xattr::ACL_ACCESS;

/// Set by the security policy of the system, so these xattrs are kept even if the version lacks
/// them.
const LABELS: [&[u8]; 2] = [b"security.selinux", b"security.evm"];
/// Prefixes of the xattrs that only a privileged process may set.
const PRIVILEGED: [&[u8]; 2] = [b"trusted.", b"security."];
/// Times that every file system can store, in seconds since 1970.
const SAFE_SECS: std::ops::RangeInclusive<i64> = -(1 << 31)..=(1 << 31) - 1;

/// A node whose metadata is set: an open file, or a name in a directory (links, devices).
#[derive(Clone, Copy)]
pub(super) enum Spot<'a> {
    /// An open file or directory.
    Open(BorrowedFd<'a>),
    /// A name in a directory, for a node that is not opened.
    Named(BorrowedFd<'a>, &'a [u8]),
}

/// The known properties of a node before its metadata is set.
#[derive(Clone, Copy)]
pub(super) struct Known {
    /// Current owner.
    pub(super) uid: u32,
    /// Current group.
    pub(super) gid: u32,
    /// Current mode bits.
    pub(super) mode: u32,
    /// Current modification time; `None` if it is certainly different from the final one.
    pub(super) mtime: Option<Time>,
    /// Whether the node is new and has no xattrs.
    pub(super) fresh: bool,
}

impl Known {
    /// Returns the properties of an existing node.
    pub(super) fn of(stat: &Stat) -> Self {
        Self {
            uid: stat.st_uid,
            gid: stat.st_gid,
            mode: stat.st_mode & 0o7777,
            mtime: Some(mtime(stat)),
            fresh: false,
        }
    }
}

/// The properties that could not be set.
#[derive(Default)]
pub(super) struct Lost {
    /// Whether the owner or group could not be set for lack of privilege.
    pub(super) owner: bool,
    /// Messages about mode bits and xattrs that could not be set for lack of privilege.
    pub(super) denied: Vec<String>,
    /// Messages about all other errors.
    pub(super) other: Vec<String>,
}

impl Lost {
    pub(super) fn is_empty(&self) -> bool {
        !self.owner && self.denied.is_empty() && self.other.is_empty()
    }
}

/// Returns the modification time in a stat.
pub(super) fn mtime(stat: &Stat) -> Time {
    time(stat.st_mtime, stat.st_mtime_nsec)
}

impl Spot<'_> {
    /// Returns the stat of the node.
    pub(super) fn stat(&self) -> Result<Stat, Errno> {
        match self {
            Self::Open(fd) => fs::fstat(fd),
            Self::Named(dir, name) => fs::statat(dir, *name, AtFlags::SYMLINK_NOFOLLOW),
        }
    }

    fn is_dir(&self) -> bool {
        self.stat()
            .is_ok_and(|s| fs::FileType::from_raw_mode(s.st_mode).is_dir())
    }

    fn chown(&self, uid: Option<Uid>, gid: Option<Gid>) -> Result<(), Errno> {
        match self {
            Self::Open(fd) => fs::fchown(fd, uid, gid),
            Self::Named(dir, name) => fs::chownat(dir, *name, uid, gid, AtFlags::SYMLINK_NOFOLLOW),
        }
    }

    /// Sets only the mode.
    pub(super) fn chmod(&self, mode: u32) -> Result<(), Errno> {
        let mode = Mode::from_raw_mode(mode);
        match self {
            Self::Open(fd) => fs::fchmod(fd, mode),
            Self::Named(dir, name) => {
                // There is no portable chmod that does not follow links, but the path of an
                // `O_PATH` descriptor is not a link.
                let flags = fs::OFlags::PATH | fs::OFlags::NOFOLLOW | fs::OFlags::CLOEXEC;
                let fd = fs::openat(dir, *name, flags, Mode::empty())?;
                fs::chmod(format!("/proc/self/fd/{}", fd.as_raw_fd()), mode)
            }
        }
    }

    /// Sets only the modification time.
    pub(super) fn set_mtime(&self, time: Time) -> Result<(), Errno> {
        let times = Timestamps {
            last_access: Timespec {
                tv_sec: 0,
                // A version does not contain access times.
                tv_nsec: fs::UTIME_OMIT,
            },
            last_modification: Timespec {
                tv_sec: time.secs,
                tv_nsec: i64::from(time.nanos),
            },
        };
        match self {
            Self::Open(fd) => fs::futimens(fd, &times),
            Self::Named(dir, name) => fs::utimensat(dir, *name, &times, AtFlags::SYMLINK_NOFOLLOW),
        }
    }

    /// Returns a path to the node itself, for system calls that take no directory descriptor.
    fn proc_path(dir: BorrowedFd<'_>, name: &[u8]) -> Vec<u8> {
        let mut path = format!("/proc/self/fd/{}/", dir.as_raw_fd()).into_bytes();
        path.extend_from_slice(name);
        path
    }

    fn set_xattr(&self, name: &[u8], value: &[u8]) -> Result<(), Errno> {
        match self {
            Self::Open(fd) => fs::fsetxattr(fd, name, value, XattrFlags::empty()),
            Self::Named(dir, node) => fs::lsetxattr(
                Self::proc_path(*dir, node),
                name,
                value,
                XattrFlags::empty(),
            ),
        }
    }

    pub(super) fn remove_xattr(&self, name: &[u8]) -> Result<(), Errno> {
        match self {
            Self::Open(fd) => fs::fremovexattr(fd, name),
            Self::Named(dir, node) => fs::lremovexattr(Self::proc_path(*dir, node), name),
        }
    }

    fn xattr_names(&self) -> Result<Vec<Vec<u8>>, Errno> {
        let list = grow(|buf| match self {
            Self::Open(fd) => fs::flistxattr(fd, buf),
            Self::Named(dir, node) => fs::llistxattr(Self::proc_path(*dir, node), buf),
        });
        match list {
            Ok(list) => Ok(list
                .split(|b| *b == 0)
                .filter(|n| !n.is_empty())
                .map(<[u8]>::to_vec)
                .collect()),
            // The file system has no xattrs.
            Err(Errno::NOTSUP | Errno::NOSYS) => Ok(Vec::new()),
            Err(e) => Err(e),
        }
    }

    fn xattr(&self, name: &[u8]) -> Result<Vec<u8>, Errno> {
        grow(|buf| match self {
            Self::Open(fd) => fs::fgetxattr(fd, name, buf),
            Self::Named(dir, node) => fs::lgetxattr(Self::proc_path(*dir, node), name, buf),
        })
    }

    /// Sets the metadata of the node. `link` means a symbolic link, which has no mode of its own.
    pub(super) fn settle(&self, meta: &Meta, known: Known, link: bool) -> Lost {
        let mut lost = Lost::default();
        let mut mode_now = Some(known.mode);
        let uid = (known.uid != meta.uid).then(|| Uid::from_raw(meta.uid));
        let gid = (known.gid != meta.gid).then(|| Gid::from_raw(meta.gid));
        if uid.is_some() || gid.is_some() {
            match self.chown(uid, gid) {
                // A change of the owner clears the set-user-ID and set-group-ID bits (chown(2)).
                Ok(()) => mode_now = (known.mode & 0o6000 == 0).then_some(known.mode),
                // `EINVAL`: the user namespace has no mapping for the id. The owner of a file may
                // still give it to a group of its own.
                Err(Errno::PERM | Errno::INVAL) => {
                    lost.owner = true;
                    if uid.is_some() && gid.is_some() && self.chown(None, gid).is_ok() {
                        mode_now = None;
                    }
                }
                Err(e) => lost
                    .other
                    .push(format!("owner not restored: {}", error_text(e))),
            }
        }
        let mut mode = meta.mode;
        // If the owner was not restored, setuid and setgid would let everybody who runs the file
        // act as the wrong owner. On a directory these bits grant no privileges.
        if mode & 0o6000 != 0 && !lost.is_empty() && !self.is_dir() {
            mode &= !0o6000;
            let why = format!(
                "setuid and setgid of mode {:04o} not restored, because the owner was not restored",
                meta.mode
            );
            if lost.owner {
                lost.denied.push(why)
            } else {
                lost.other.push(why)
            }
        }
        if !(known.fresh && meta.xattrs.is_empty()) && self.settle_xattrs(meta, known, &mut lost) {
            mode_now = None;
        }
        // Set the mode after the owner and the ACL, because both can change the mode.
        if !link && mode_now != Some(mode) {
            self.settle_mode(mode, &mut lost);
        }
        if known.mtime != Some(meta.mtime) {
            self.settle_mtime(meta.mtime, &mut lost);
        }
        lost
    }

    fn settle_mode(&self, mode: u32, lost: &mut Lost) {
        let set = self.chmod(mode);
        // The kernel silently drops a set-group-ID bit that the caller may not set.
        let kept = match set {
            Ok(()) if mode & 0o6000 != 0 => self.stat().map(|s| s.st_mode & 0o7777 == mode),
            Ok(()) => Ok(true),
            Err(e) => Err(e),
        };
        match kept {
            Ok(true) => {}
            Ok(false) => lost
                .denied
                .push(format!("mode {mode:04o} not restored: not permitted")),
            Err(e) => lost
                .other
                .push(format!("mode {mode:04o} not restored: {}", error_text(e))),
        }
    }

    fn settle_mtime(&self, time: Time, lost: &mut Lost) {
        let set = self.set_mtime(time);
        let kept = match set {
            // The kernel silently changes a time that the file system cannot store to the nearest
            // one that it can.
            Ok(()) if !SAFE_SECS.contains(&time.secs) => {
                self.stat().map(|s| s.st_mtime == time.secs)
            }
            Ok(()) => Ok(true),
            Err(e) => Err(e),
        };
        match kept {
            Ok(true) => {}
            Ok(false) => lost
                .other
                .push("time not restored: the file system cannot store it".to_owned()),
            Err(e) => lost
                .other
                .push(format!("time not restored: {}", error_text(e))),
        }
    }

    /// Sets the xattrs. Returns whether the mode may have changed as a result.
    fn settle_xattrs(&self, meta: &Meta, known: Known, lost: &mut Lost) -> bool {
        let mut mode_changed = false;
        let mut fail = |xattr: &[u8], e: Errno| {
            let why = format!("xattr `{}` not restored: {}", display(xattr), error_text(e));
            let is_privileged = PRIVILEGED.iter().any(|space| xattr.starts_with(space));
            if is_privileged && e == Errno::PERM {
                lost.denied.push(why)
            } else {
                lost.other.push(why)
            }
        };
        let present = if known.fresh {
            Ok(Vec::new())
        } else {
            self.xattr_names()
        };
        let present = match present {
            Ok(names) => names,
            Err(e) => {
                fail(b"*", e);
                Vec::new()
            }
        };
        for name in &present {
            if meta.xattrs.binary_search_by(|x| x.name.cmp(name)).is_err()
                && !LABELS.contains(&name.as_slice())
            {
                mode_changed |= name == ACL_ACCESS;
                match self.remove_xattr(name) {
                    Ok(()) | Err(Errno::NODATA) => {}
                    Err(e) => fail(name, e),
                }
            }
        }
        for Xattr { name, value } in &meta.xattrs {
            if present.contains(name) && self.xattr(name).as_ref() == Ok(value) {
                continue;
            }
            mode_changed |= name == ACL_ACCESS;
            match self.set_xattr(name, value) {
                Ok(()) => {}
                // Setting an xattr requires write permission, which the mode may deny even to the
                // owner.
                Err(Errno::ACCESS) if self.chmod(known.mode | 0o200).is_ok() => {
                    mode_changed = true;
                    if let Err(e) = self.set_xattr(name, value) {
                        fail(name, e);
                    }
                }
                Err(e) => fail(name, e),
            }
        }
        mode_changed
    }
}

/// Gives the owner access to a directory whose mode denies it. The final mode is set later.
pub(super) fn open_up(dir: BorrowedFd<'_>) {
    if rustix::process::geteuid().is_root() {
        return;
    }
    if let Ok(stat) = fs::fstat(dir)
        && stat.st_mode & 0o700 != 0o700
    {
        // If this fails, the work in the directory fails with a better message.
        let _ = fs::fchmod(dir, Mode::from_raw_mode((stat.st_mode & 0o7777) | 0o700));
    }
}

/// Opens a regular file in a directory without following links, even if its mode denies access to
/// the owner.
pub(super) fn open_file(
    dir: BorrowedFd<'_>,
    name: &[u8],
    access: fs::OFlags,
) -> Result<OwnedFd, Errno> {
    // Without `NONBLOCK`, opening would wait forever if the name was replaced by a pipe.
    let flags = fs::OFlags::NOFOLLOW | fs::OFlags::NONBLOCK | fs::OFlags::CLOEXEC;
    let open = || fs::openat(dir, name, flags | access, Mode::empty());
    match open() {
        Err(Errno::ACCESS) => {
            // Only the owner may do this. The final mode is set later.
            let mode = Spot::Named(dir, name).stat()?.st_mode & 0o7777;
            Spot::Named(dir, name).chmod(mode | 0o600)?;
            open()
        }
        other => other,
    }
}

/// Calls with a growing buffer until the result fits.
fn grow(mut call: impl FnMut(&mut [u8]) -> Result<usize, Errno>) -> Result<Vec<u8>, Errno> {
    let mut buf = vec![0u8; 512];
    loop {
        match call(&mut buf) {
            Ok(len) => {
                buf.truncate(len);
                return Ok(buf);
            }
            Err(Errno::RANGE) if buf.len() < 1 << 20 => buf.resize(buf.len() * 8, 0),
            Err(e) => return Err(e),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;
    use crate::checkout::memory::{as_nobody, meta};

    #[test]
    fn rights_of_the_owner_are_not_given_to_another() {
        if as_nobody("checkout::meta::tests::rights_of_the_owner_are_not_given_to_another") {
            return;
        }
        let temp = tempfile::tempdir().unwrap();
        let settle = |fd: BorrowedFd<'_>, mode: u32| {
            let spot = Spot::Open(fd);
            let known = Known::of(&spot.stat().unwrap());
            let lost = spot.settle(
                &Meta {
                    uid: 0,
                    ..meta(mode)
                },
                known,
                false,
            );
            (
                lost.owner,
                lost.denied.len() + lost.other.len(),
                spot.stat().unwrap().st_mode & 0o7777,
            )
        };
        let file = tempfile::tempfile_in(temp.path()).unwrap();
        assert_eq!(settle(file.as_fd(), 0o6755), (true, 1, 0o755));
        assert_eq!(settle(file.as_fd(), 0o644), (true, 0, 0o644));
        // On a directory, the bit only determines the group of new files, so it is kept.
        let dir = std::fs::File::open(temp.path()).unwrap();
        assert_eq!(settle(dir.as_fd(), 0o2755), (true, 0, 0o2755));
    }
}
