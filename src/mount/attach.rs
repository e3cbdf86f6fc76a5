//! Attaching a FUSE file system to a directory and taking it away, without serving it.
//!
//! In: a mount point and how it is to be mounted. Out: the device by which somebody must serve it, or why it cannot be.
//! Nothing here asks a file system that is mounted but not served: whoever attaches holds the device, and a question
//! to it would wait for itself.

mod fusermount;
mod privilege;

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, StatxFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags};
use rustix::process::{getgid, getuid};

use crate::error::{Failure, Kind};
use crate::sys::io_error::IoError;
use crate::sys::mountinfo::{KIND, MountTable, Mounted};
pub use fusermount::find as find_fusermount;
pub use privilege::{NoPassthrough, is_admin, passthrough_possible};

/// The device by which file systems are served.
const DEVICE: &str = "/dev/fuse";
/// The largest read that the kernel may ask for, in bytes.
const READ_MAX: u32 = 1 << 20;
/// How long a file system may take to show that it is served.
const PATIENCE: Duration = Duration::from_secs(2);
/// What a mount asks of the kernel's write-back and read-ahead, by names in `/sys/class/bdi/MAJ:MIN`.
///
/// The kernel writes back in order, and closing a file waits until its own bytes were handed over. So the bytes that may
/// wait are bounded: with 1.5 GB of them, creating a small file took 3 to 9 seconds instead of 0.4, and writing the large
/// one was no faster. Kernels before 6.2 know only the share of all dirty memory, in percent.
const TUNING: [(&str, &str); 4] =
    [("read_ahead_kb", "4096"), ("max_ratio", "2"), ("max_bytes", "134217728"), ("strict_limit", "1")];

/// How to attach a file system.
#[derive(Clone, Debug)]
pub struct AttachOptions {
    /// The directory to mount it on; a relative path is taken from the current directory.
    pub at: PathBuf,
    /// What the mount table shows as its source, such as `dvc:AMCC@v3`; commas, backslashes and control characters
    /// are shown as `_`.
    pub source: String,
    /// Whether nothing may be written.
    pub read_only: bool,
    /// Whether other users may look into it; permissions are checked by the kernel in any case.
    pub allow_other: bool,
    /// Restrictions that this mount does without, or has in addition.
    pub trust: MountTrust,
}

/// What files of a mount may do besides being read and written. The default is that of removable media: set-user-id bits,
/// set-group-id bits, file capabilities and device nodes are shown, but have no effect, because a version may come from
/// anywhere and the user who runs its files need not be the user who mounted it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MountTrust {
    /// Honour set-user-id and set-group-id bits and file capabilities.
    pub suid: bool,
    /// Let device nodes be opened.
    pub dev: bool,
    /// Do not execute any file.
    pub noexec: bool,
}

/// Who mounted it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// This process, by `mount(2)`.
    Kernel,
    /// The program `fusermount3`, which may do so for every user.
    Fusermount,
}

/// A file system that waits to be served.
#[derive(Debug)]
pub struct Attached {
    /// The device; when its last copy is closed the mount is dead, but stays in the table.
    pub device: OwnedFd,
    /// Who mounted it.
    pub how: How,
    /// The mount point without symbolic links, as the mount table has it.
    pub at: PathBuf,
}

/// Why a file system cannot be attached or taken away.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// The kernel has no FUSE, or does not let us have it.
    #[error("there is no usable `{DEVICE}`: {0}")]
    NoDevice(String),
    /// Neither `mount(2)` nor `fusermount3` may or can do it.
    #[error("mounting on `{}` is not permitted: {why}", at.display())]
    NotPermitted {
        /// The mount point.
        at: PathBuf,
        /// Who said no.
        why: String,
    },
    /// There is no directory to mount on.
    #[error("there is no directory `{}`", .0.display())]
    Missing(PathBuf),
    /// It is no directory.
    #[error("`{}` is not a directory", .0.display())]
    NotADirectory(PathBuf),
    /// A directory that this user may not write, and so not mount on.
    #[error("`{}` cannot be mounted on: it is not writable for you", .0.display())]
    NotOurs(PathBuf),
    /// Others may not be let in by this user.
    #[error("`allow_other` is not permitted for a user that is not root")]
    AllowOther,
    /// `suid` or `dev` without being root of the machine.
    #[error("`{0}` is not permitted: only root of this machine can mount with it")]
    Untrusted(&'static str),
    /// A version is mounted there.
    #[error("`{}` is a dvc mount already", .0.display())]
    AlreadyMounted(PathBuf),
    /// The way to the mount point leads through a mount whose daemon is gone.
    #[error("`{}` lies in a mount that nobody serves any more", .0.display())]
    Dead(PathBuf),
    /// Somebody uses the mount.
    #[error("`{}` is in use", .0.display())]
    InUse(PathBuf),
    /// Its process takes long to flush.
    #[error("`{}` is unmounted, but its process has not ended yet", at.display())]
    StillEnding {
        /// Where it was.
        at: PathBuf,
    },
    /// Another mount namespace has it, so its process goes on.
    #[error("`{}` is unmounted here, but process {pid} sees it in another mount namespace", at.display())]
    StillSeen {
        /// Where it was.
        at: PathBuf,
        /// A process there.
        pid: u32,
    },
    /// There is no dvc mount there.
    #[error("`{}` is not a dvc mount", .0.display())]
    NotMounted(PathBuf),
    /// `fusermount3` fails for a reason of its own.
    #[error("`{}` fails for `{}`: {said}", program.display(), at.display())]
    Refused {
        /// The program.
        program: PathBuf,
        /// The mount point.
        at: PathBuf,
        /// Its words.
        said: String,
    },
    /// The system fails.
    #[error(transparent)]
    System(#[from] IoError),
}

impl AttachError {
    fn system(doing: &'static str, at: &Path, source: impl Into<io::Error>) -> Self {
        Self::System(IoError::new(doing, at, source))
    }
}

impl Failure for AttachError {
    fn kind(&self) -> Kind {
        match self {
            Self::NoDevice(_)
            | Self::NotPermitted { .. }
            | Self::NotOurs(_)
            | Self::AllowOther
            | Self::Untrusted(_) => Kind::Denied,
            Self::Missing(_) | Self::NotMounted(_) => Kind::NotFound,
            Self::NotADirectory(_) => Kind::Usage,
            Self::AlreadyMounted(_)
            | Self::Dead(_)
            | Self::InUse(_)
            | Self::StillEnding { .. }
            | Self::StillSeen { .. } => Kind::Busy,
            Self::Refused { .. } => Kind::System,
            Self::System(e) => e.kind(),
        }
    }

    fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NoDevice(why) if why.contains("Permission denied") => {
                format!("`chmod 666 {DEVICE}` (as root) opens it to every user, as most systems have it")
            }
            Self::NoDevice(_) => format!("`modprobe fuse` loads it; a container needs `--device {DEVICE}`"),
            Self::NotPermitted { .. } => "install `fuse3`, or run as root; a container needs `--device /dev/fuse \
                                          --cap-add SYS_ADMIN`"
                .to_owned(),
            Self::Missing(at) => format!("`mkdir {}` makes it", at.display()),
            Self::NotOurs(_) => "mount on a directory of your own, or run as root".to_owned(),
            Self::AllowOther => {
                "add a line `user_allow_other` to `/etc/fuse.conf` (root can), or mount as root".to_owned()
            }
            Self::Untrusted(option) => format!("mount without `{option}`, or as root outside of a user namespace"),
            Self::AlreadyMounted(_) | Self::Dead(_) => "`dvc umount DIR` takes a mount away".to_owned(),
            Self::StillSeen { .. } => "its process ends when that one does, or when it unmounts it there".to_owned(),
            Self::StillEnding { .. } => "wait, and look into the log beside its overlay".to_owned(),
            Self::InUse(at) => format!("something still uses it; `fuser -vm {}` names it", at.display()),
            Self::NotADirectory(_) | Self::NotMounted(_) | Self::Refused { .. } => return None,
            Self::System(e) => return e.hint(),
        })
    }
}

/// Mounts a file system that nobody serves yet: by `mount(2)` where that is permitted (root, or in a user namespace),
/// else by `fusermount3`.
///
/// Every mount is `nosuid,nodev` unless the options say otherwise, which only root of the machine may ask for. A dead
/// mount of ours at the same place is an error of the kind `busy`: [`is_dead`] and [`detach`] first.
pub fn attach(options: &AttachOptions) -> Result<Attached, AttachError> {
    ensure_trusted(options.trust)?;
    let at = mount_point(&options.at)?;
    let opened = rustix::fs::open(DEVICE, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty());
    let why = match opened {
        Ok(device) => match mount(options, &at, &device) {
            Ok(()) => return Ok(Attached { device, how: How::Kernel, at }),
            // Also a security module says no; `fusermount3` may have a rule of its own.
            Err(e @ (Errno::PERM | Errno::ACCESS)) => format!("mount(2) fails ({})", io::Error::from(e)),
            Err(Errno::NODEV) => return Err(AttachError::NoDevice("the kernel does not know FUSE".to_owned())),
            Err(Errno::NOTCONN | Errno::CONNABORTED) => return Err(AttachError::Dead(at)),
            Err(e) => return Err(AttachError::system("mount on", &at, e)),
        },
        // Some versions of `fusermount3` open it with root's rights, others with the user's.
        Err(Errno::ACCESS) if !getuid().is_root() => format!("`{DEVICE}` is not open to you"),
        Err(e) => return Err(AttachError::NoDevice(io::Error::from(e).to_string())),
    };
    let device = fusermount::mount(&at, &program_options(options), &why)?;
    Ok(Attached { device, how: How::Fusermount, at })
}

/// Fails where this process may not ask for what `trust` allows.
pub fn ensure_trusted(trust: MountTrust) -> Result<(), AttachError> {
    let asked = [(trust.suid, "suid"), (trust.dev, "dev")].into_iter().find(|(on, _)| *on);
    match asked {
        Some((_, option)) if !privilege::is_real_root() => Err(AttachError::Untrusted(option)),
        _ => Ok(()),
    }
}

/// Whether [`attach`] would be tried: the mount point is a free directory, and this user can mount at all.
pub fn check(at: &Path) -> Result<(), AttachError> {
    let at = mount_point(at)?;
    match rustix::fs::open(DEVICE, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()) {
        Ok(_) if is_admin() => Ok(()),
        Err(e) if e != Errno::ACCESS || getuid().is_root() => {
            Err(AttachError::NoDevice(io::Error::from(e).to_string()))
        }
        _ if find_fusermount().is_some() => Ok(()),
        _ => Err(AttachError::NotPermitted { at, why: "only root may, and there is no `fusermount3`".to_owned() }),
    }
}

/// Takes a mount of ours away; `lazy` takes it out of the tree at once and ends it when nobody uses it any more.
pub fn detach(at: &Path, lazy: bool) -> Result<(), AttachError> {
    let (at, mounted) = find(at)?;
    if mounted.is_none() {
        return Err(AttachError::NotMounted(at));
    }
    let flags = if lazy { UnmountFlags::DETACH } else { UnmountFlags::empty() };
    match rustix::mount::unmount(&at, flags | UnmountFlags::NOFOLLOW) {
        Ok(()) => Ok(()),
        Err(Errno::PERM | Errno::ACCESS) => fusermount::unmount(&at, lazy),
        Err(Errno::BUSY) => Err(AttachError::InUse(at)),
        // Somebody else was faster.
        Err(Errno::INVAL | Errno::NOENT) => Err(AttachError::NotMounted(at)),
        Err(e) => Err(AttachError::system("unmount", &at, e)),
    }
}

/// Takes a mount of ours out of the tree at once. The process of a `stuck` one does not take what the kernel holds for it:
/// where the kernel would wait for that, the connection between the two is cut. Returns whether it was.
pub fn detach_at_once(mounted: &Mounted, stuck: bool) -> Result<bool, AttachError> {
    if !stuck {
        return detach(&mounted.at, true).map(|()| false);
    }
    let at = mounted.at.clone();
    let (done, detached) = mpsc::channel();
    let work = move || drop(done.send(detach(&at, true)));
    let started = std::thread::Builder::new().name("dvc-detach".to_owned()).spawn(work);
    started.map_err(|e| AttachError::system("unmount", &mounted.at, e))?;
    if let Ok(done) = detached.recv_timeout(PATIENCE) {
        return done.map(|()| false);
    }
    let control = format!("/sys/fs/fuse/connections/{}/abort", mounted.device.1);
    if fs::write(control, "1").is_err() {
        // The mount table may not show it any more, but what was there is found by the path as long as it is.
        let _ = rustix::mount::unmount(&mounted.at, UnmountFlags::FORCE | UnmountFlags::NOFOLLOW);
    }
    match detached.recv_timeout(PATIENCE) {
        Ok(done) => done.map(|()| true),
        Err(_) => Err(AttachError::StillEnding { at: mounted.at.clone() }),
    }
}

/// Tells the kernel how far to read ahead in a mount, and how much of it may wait to be written. Only root can, and
/// nothing depends on it, so nothing is reported. For mounts that are served (their first request is answered):
/// before, the kernel would lower the values again.
pub fn tune(at: &Path) {
    // By the mount table: asking the mount itself for its number would be a request to its daemon.
    let Ok((_, Some(mounted))) = find(at) else { return };
    let (major, minor) = mounted.device;
    for (name, value) in TUNING {
        let _ = fs::write(format!("/sys/class/bdi/{major}:{minor}/{name}"), value);
    }
}

/// Whether the mount at `at` is one that nobody serves any more: every question to it fails with `ENOTCONN`.
///
/// It is asked past the kernel's cache, which outlives a daemon, by a thread that is left behind where the answer takes
/// longer than two seconds: a mount that is alive but stuck is not dead. A mount of another user that is not open to
/// others cannot be asked, not even by root, and counts as alive.
pub fn is_dead(at: &Path) -> bool {
    let at = at.to_owned();
    let (answer, answered) = mpsc::channel();
    let ask = move || {
        let asked = rustix::fs::statx(CWD, &at, AtFlags::STATX_FORCE_SYNC, StatxFlags::BASIC_STATS);
        let _ = answer.send(matches!(asked, Err(Errno::NOTCONN | Errno::CONNABORTED)));
    };
    let asking = std::thread::Builder::new().name("dvc-is-dead".to_owned()).spawn(ask);
    asking.is_ok() && answered.recv_timeout(PATIENCE).unwrap_or(false)
}

/// Tries in `dir`, an empty directory, whether mounting works here, and leaves nothing behind.
pub fn rehearse(dir: &Path, allow_other: bool) -> Result<How, AttachError> {
    let source = "dvc:rehearsal".to_owned();
    let attached = attach(&AttachOptions {
        at: dir.to_owned(),
        source,
        read_only: true,
        allow_other,
        trust: MountTrust::default(),
    })?;
    // Closed first, so that whoever comes by meanwhile gets an error and does not wait.
    drop(attached.device);
    detach(&attached.at, true)?;
    Ok(attached.how)
}

/// The path without symbolic links, and the mount of ours of which it is the mount point.
fn find(at: &Path) -> Result<(PathBuf, Option<Mounted>), AttachError> {
    let failed = |e| AttachError::system("look up", at, e);
    let table = MountTable::read().map_err(failed)?;
    let real = table.resolved(at).map_err(failed)?;
    let mounted = table.top_at(&real).filter(|m| m.is_ours() && m.at == real).cloned();
    Ok((real, mounted))
}

/// The mount point without symbolic links: a directory, and no mount of ours.
fn mount_point(at: &Path) -> Result<PathBuf, AttachError> {
    let (at, mounted) = find(at)?;
    if mounted.is_some() {
        return Err(AttachError::AlreadyMounted(at));
    }
    match fs::metadata(&at) {
        Ok(found) if found.is_dir() => Ok(at),
        Ok(_) => Err(AttachError::NotADirectory(at)),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Err(AttachError::Missing(at)),
        Err(e) if e.kind() == io::ErrorKind::NotADirectory => Err(AttachError::NotADirectory(at)),
        Err(e) => match Errno::from_io_error(&e) {
            Some(Errno::NOTCONN | Errno::CONNABORTED) => Err(AttachError::Dead(at)),
            _ => Err(AttachError::system("look at", &at, e)),
        },
    }
}

fn mount(options: &AttachOptions, at: &Path, device: &OwnedFd) -> Result<(), Errno> {
    let MountTrust { suid, dev, noexec } = options.trust;
    let mut flags = MountFlags::empty();
    flags.set(MountFlags::NOSUID, !suid);
    flags.set(MountFlags::NODEV, !dev);
    flags.set(MountFlags::NOEXEC, noexec);
    flags.set(MountFlags::RDONLY, options.read_only);
    // The mode of a directory: the kernel takes only the type from it.
    let (fd, user, group) = (device.as_raw_fd(), getuid().as_raw(), getgid().as_raw());
    let data = format!("fd={fd},rootmode=40000,user_id={user},group_id={group},{}", common_options(options));
    let data = CString::new(data).map_err(|_| Errno::INVAL)?;
    rustix::mount::mount(shown(&options.source), at, KIND, flags, data.as_c_str())
}

/// What the kernel and `fusermount3` are told alike.
fn common_options(options: &AttachOptions) -> String {
    let allow_other = if options.allow_other { ",allow_other" } else { "" };
    format!("default_permissions,max_read={READ_MAX}{allow_other}")
}

/// What `fusermount3` is told.
fn program_options(options: &AttachOptions) -> String {
    let subtype = KIND.strip_prefix("fuse.").unwrap_or(KIND);
    let MountTrust { suid, dev, noexec } = options.trust;
    let access = if options.read_only { "ro" } else { "rw" };
    // The program adds `nosuid,nodev` by itself.
    let extra = [(suid, ",suid"), (dev, ",dev"), (noexec, ",noexec")];
    let access: String = [access].into_iter().chain(extra.iter().filter(|e| e.0).map(|e| e.1)).collect();
    format!("{access},fsname={},subtype={subtype},{}", shown(&options.source), common_options(options))
}

/// The source without what would end an option.
pub(super) fn shown(source: &str) -> String {
    source.chars().map(|c| if c.is_control() || [',', '\\'].contains(&c) { '_' } else { c }).collect()
}

#[cfg(test)]
mod tests;
