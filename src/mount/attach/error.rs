//! Errors of attaching and detaching.

use std::io;
use std::path::{Path, PathBuf};

use crate::error::{Failure, Kind};
use crate::sys::io_error::IoError;

/// The FUSE device.
pub(super) const DEVICE: &str = "/dev/fuse";

/// A file system cannot be attached or detached.
#[derive(Debug, thiserror::Error)]
pub enum AttachError {
    /// The kernel has no FUSE, or this process cannot open the device.
    #[error("FUSE is not available (`{DEVICE}`): {0}")]
    NoDevice(String),
    /// Neither `mount(2)` nor `fusermount3` is permitted.
    #[error("cannot mount on `{}`: {why}", at.display())]
    NotPermitted {
        /// The mount point.
        at: PathBuf,
        why: String,
    },
    /// The mount point does not exist.
    #[error("cannot mount on `{}`: the directory does not exist", .0.display())]
    Missing(PathBuf),
    /// The mount point is not a directory.
    #[error("cannot mount on `{}`: not a directory", .0.display())]
    NotADirectory(PathBuf),
    /// The user has no write permission on the mount point, which `fusermount3` requires.
    #[error("cannot mount on `{}`: you have no write permission", .0.display())]
    NotOurs(PathBuf),
    /// `fusermount3` does not permit `allow_other` to this user.
    #[error("cannot mount with `allow_other`: not permitted for users other than root")]
    AllowOther,
    /// The requested option, `suid` or `dev`, requires root outside of user namespaces.
    #[error("cannot mount with `{0}`: requires root outside of user namespaces")]
    Untrusted(&'static str),
    /// The mount point is a mount of dvc.
    #[error("cannot mount on `{}`: the directory is already a dvc mount", .0.display())]
    AlreadyMounted(PathBuf),
    /// The path leads through a dead mount.
    #[error("cannot mount on `{}`: the path is in a dead mount, whose daemon no longer runs", .0.display())]
    Dead(PathBuf),
    /// The mount is in use.
    #[error("cannot unmount `{}`: it is in use", .0.display())]
    InUse(PathBuf),
    /// The process of the mount has not exited in time.
    #[error("`{}` was unmounted, but its daemon has not exited yet", at.display())]
    StillEnding {
        /// The mount point.
        at: PathBuf,
    },
    /// The mount is still visible in another mount namespace, so its process continues.
    #[error("`{}` was unmounted here, but is still mounted in the mount namespace of process {pid}", at.display())]
    StillSeen {
        /// The mount point.
        at: PathBuf,
        /// A process in that namespace.
        pid: u32,
    },
    /// There is no mount of dvc at the path.
    #[error("cannot unmount `{}`: not a dvc mount", .0.display())]
    NotMounted(PathBuf),
    /// `fusermount3` failed for another reason.
    #[error("cannot {doing} `{}`: `{}` failed: {output_text}", at.display(), program.display())]
    Refused {
        /// `mount on` or `unmount`.
        doing: &'static str,
        program: PathBuf,
        /// The mount point.
        at: PathBuf,
        /// The last line of the program's error output, or its exit status.
        output_text: String,
    },
    /// A system call failed.
    #[error(transparent)]
    System(#[from] IoError),
}

impl AttachError {
    pub(super) fn system(doing: &'static str, at: &Path, source: impl Into<io::Error>) -> Self {
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
                format!("run `chmod 666 {DEVICE}` as root, which is the default on most systems")
            }
            Self::NoDevice(_) => {
                format!("run `modprobe fuse` as root; a container needs `--device {DEVICE}`")
            }
            Self::NotPermitted { .. } => {
                "install `fuse3`, or run as root; a container needs `--device /dev/fuse \
                                          --cap-add SYS_ADMIN`"
                    .to_owned()
            }
            Self::Missing(at) => format!("run `mkdir {}`", at.display()),
            Self::NotOurs(_) => "mount on a directory that you own, or run as root".to_owned(),
            Self::AllowOther => {
                "add a line `user_allow_other` to `/etc/fuse.conf` as root, or mount as root"
                    .to_owned()
            }
            Self::Untrusted(option) => {
                format!("mount without `{option}`, or as root outside of a user namespace")
            }
            Self::AlreadyMounted(_) | Self::Dead(_) => "run `dvc umount DIR`".to_owned(),
            Self::StillSeen { at, pid } => format!(
                "unmount `{}` in that namespace, or terminate process {pid}",
                at.display()
            ),
            Self::StillEnding { .. } => {
                "wait for the daemon to exit, or read the log of the overlay".to_owned()
            }
            Self::InUse(at) => format!(
                "run `fuser -vm {}` to list the programs that use the mount",
                at.display()
            ),
            Self::NotADirectory(_) | Self::NotMounted(_) | Self::Refused { .. } => return None,
            Self::System(e) => return e.hint(),
        })
    }
}
