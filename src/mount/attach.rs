//! Attaches a FUSE file system to a directory, and detaches it. The module `fuse` serves it.
//!
//! Only [`is_dead`], which has a timeout, sends requests to a mount. The caller of any other
//! function may hold the device of a mount that is not served yet, so a request would wait for the
//! caller itself.

use std::ffi::CString;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;
use std::{fs, io};

use error::DEVICE;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, StatxFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags};
use rustix::process::{getgid, getuid};

use crate::sys::mountinfo::{KIND, MountTable, Mounted};

mod error;
mod fusermount;
mod privilege;

pub use error::AttachError;
pub use fusermount::find as find_fusermount;
pub use privilege::{NoPassthrough, is_admin, passthrough_possible};

/// Largest read request of the kernel, in bytes.
const READ_MAX: u32 = 1 << 20;
/// Time limit for a request to a mount, or for an unmount. Both block if the daemon is stuck.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// Write-back and read-ahead settings of a mount, by file name in `/sys/class/bdi/MAJ:MIN`.
///
/// The kernel writes dirty bytes back in order, and closing a file waits until its own bytes are
/// written. The limits keep this wait short: with 1.5 GB of dirty bytes, creating a small file took
/// 3 to 9 seconds instead of 0.4 seconds, and writing the large file was not faster. Kernels before
/// 6.2 only have `max_ratio`, a percentage of all dirty memory.
const TUNING: [(&str, &str); 4] = [
    ("read_ahead_kb", "4096"),
    ("max_ratio", "2"),
    ("max_bytes", "134217728"),
    // Without this setting, the kernel checks the share of a mount only near the limit for all
    // dirty pages (Documentation/ABI/testing/sysfs-class-bdi).
    ("strict_limit", "1"),
];

/// How to attach a file system.
#[derive(Clone, Debug)]
pub struct AttachOptions {
    /// The mount point. A relative path is relative to the current directory.
    pub at: PathBuf,
    /// The source in the mount table, such as `dvc:AMCC@v3`. Commas, backslashes and control
    /// characters are replaced by `_`.
    pub source: String,
    /// Whether writes are refused.
    pub read_only: bool,
    /// Whether other users have access. The kernel checks permissions in any case.
    pub allow_other: bool,
    /// Changes to the default restrictions.
    pub trust: MountTrust,
}

/// Security options of a mount. By default, as for removable media, set-user-ID and set-group-ID
/// bits, file capabilities and device nodes have no effect, because a version may come from an
/// untrusted source, and the user who runs its files need not be the user who mounted it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MountTrust {
    /// Honour set-user-ID and set-group-ID bits and file capabilities.
    pub suid: bool,
    /// Allow opening device nodes.
    pub dev: bool,
    /// Forbid running programs.
    pub noexec: bool,
}

/// How a file system was attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MountMethod {
    /// By this process with `mount(2)`.
    Kernel,
    /// By the set-user-ID program `fusermount3`, which works for every user.
    Fusermount,
}

/// An attached file system that is not served yet.
#[derive(Debug)]
pub struct AttachedMount {
    /// The FUSE device. When its last copy is closed, the mount is dead but stays in the mount
    /// table.
    pub device: OwnedFd,
    /// How the file system was attached.
    pub how: MountMethod,
    /// The mount point without symbolic links, as in the mount table.
    pub at: PathBuf,
}

/// Attaches a file system: with `mount(2)` if that is permitted (for root, or in a user namespace),
/// otherwise with `fusermount3`.
///
/// The mount is `nosuid,nodev` unless the options say otherwise, which requires root outside of
/// user namespaces. Fails with [`AttachError::Dead`] or [`AttachError::AlreadyMounted`] if a dead
/// mount is in the way: see [`is_dead`] and [`detach`].
pub fn attach(options: &AttachOptions) -> Result<AttachedMount, AttachError> {
    ensure_trusted(options.trust)?;
    let at = mount_point(&options.at)?;
    let opened = rustix::fs::open(DEVICE, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty());
    let why = match opened {
        Ok(device) => match mount(options, &at, &device) {
            Ok(()) => {
                return Ok(AttachedMount {
                    device,
                    how: MountMethod::Kernel,
                    at,
                });
            }
            // A security module can also refuse `mount(2)`, and may still allow `fusermount3`.
            Err(e @ (Errno::PERM | Errno::ACCESS)) => {
                format!("mount(2) failed ({})", io::Error::from(e))
            }
            // `ENODEV`: the kernel does not know the file system type (mount(2)).
            Err(Errno::NODEV) => {
                return Err(AttachError::NoDevice(
                    "the kernel does not support FUSE".to_owned(),
                ));
            }
            Err(Errno::NOTCONN | Errno::CONNABORTED) => return Err(AttachError::Dead(at)),
            Err(e) => return Err(AttachError::system("mount on", &at, e)),
        },
        // Try `fusermount3` anyway, because some of its versions open the device as root.
        Err(Errno::ACCESS) if !getuid().is_root() => {
            format!("you have no permission to open `{DEVICE}`")
        }
        Err(e) => return Err(AttachError::NoDevice(io::Error::from(e).to_string())),
    };
    let device = fusermount::mount(&at, &program_options(options), &why)?;
    Ok(AttachedMount {
        device,
        how: MountMethod::Fusermount,
        at,
    })
}

/// Fails if this process may not request the options in `trust`.
pub fn ensure_trusted(trust: MountTrust) -> Result<(), AttachError> {
    let asked = [(trust.suid, "suid"), (trust.dev, "dev")]
        .into_iter()
        .find(|(on, _)| *on);
    match asked {
        Some((_, option)) if !privilege::is_real_root() => Err(AttachError::Untrusted(option)),
        _ => Ok(()),
    }
}

/// Fails if [`attach`] would fail: the mount point must be a directory without a dvc mount, and
/// this user must be able to mount.
pub fn ensure_attachable(at: &Path) -> Result<(), AttachError> {
    let at = mount_point(at)?;
    match rustix::fs::open(DEVICE, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()) {
        Ok(_) if is_admin() => Ok(()),
        Err(e) if e != Errno::ACCESS || getuid().is_root() => {
            Err(AttachError::NoDevice(io::Error::from(e).to_string()))
        }
        _ if find_fusermount().is_some() => Ok(()),
        _ => Err(AttachError::NotPermitted {
            at,
            why: "this user is not permitted to mount, and `fusermount3` is not installed"
                .to_owned(),
        }),
    }
}

/// Unmounts a mount of dvc. With `lazy`, the mount disappears from the directory tree immediately,
/// and is shut down when no process uses it any more.
pub fn detach(at: &Path, lazy: bool) -> Result<(), AttachError> {
    // Unmount only mounts of dvc, because the path may also be the mount point of another file
    // system.
    let (at, mounted) = find(at)?;
    if mounted.is_none() {
        return Err(AttachError::NotMounted(at));
    }
    let flags = if lazy {
        UnmountFlags::DETACH
    } else {
        UnmountFlags::empty()
    };
    // `NOFOLLOW`: another user may have replaced the mount point by a symbolic link since the path
    // was resolved.
    match rustix::mount::unmount(&at, flags | UnmountFlags::NOFOLLOW) {
        Ok(()) => Ok(()),
        // A mount by `fusermount3` belongs to root, so only that program can unmount it for the
        // user.
        Err(Errno::PERM | Errno::ACCESS) => fusermount::unmount(&at, lazy),
        Err(Errno::BUSY) => Err(AttachError::InUse(at)),
        // Another process has unmounted it in the meantime.
        Err(Errno::INVAL | Errno::NOENT) => Err(AttachError::NotMounted(at)),
        Err(e) => Err(AttachError::system("unmount", &at, e)),
    }
}

/// Lazily unmounts a mount of dvc. If its process is `stuck`, the unmount may block, because the
/// kernel waits for that process to accept pending writes; the FUSE connection is then aborted.
/// Returns whether it was aborted.
pub fn detach_now(mounted: &Mounted, stuck: bool) -> Result<bool, AttachError> {
    if !stuck {
        return detach(&mounted.at, true).map(|()| false);
    }
    let at = mounted.at.clone();
    // Use a thread, because the call cannot be cancelled and has no time limit.
    let (done, detached) = mpsc::channel();
    let work = move || drop(done.send(detach(&at, true)));
    let started = std::thread::Builder::new()
        .name("dvc-detach".to_owned())
        .spawn(work);
    started.map_err(|e| AttachError::system("unmount", &mounted.at, e))?;
    if let Ok(done) = detached.recv_timeout(ANSWER_TIMEOUT) {
        return done.map(|()| false);
    }
    // The kernel names a connection by its device number (fs/fuse/control.c). The major number of
    // such devices is 0, so the name is the minor number.
    let control = format!("/sys/fs/fuse/connections/{}/abort", mounted.device.1);
    if fs::write(control, "1").is_err() {
        // `MNT_FORCE` aborts the connection too. Call `umount2` directly, because `detach` looks in
        // the mount table, where the mount may already be missing.
        let _ = rustix::mount::unmount(&mounted.at, UnmountFlags::FORCE | UnmountFlags::NOFOLLOW);
    }
    match detached.recv_timeout(ANSWER_TIMEOUT) {
        Ok(done) => done.map(|()| true),
        Err(_) => Err(AttachError::StillEnding {
            at: mounted.at.clone(),
        }),
    }
}

/// Sets read-ahead and write-back limits of a mount. Requires root; failures are ignored, because
/// the settings are not essential. Call this after the mount has answered its first request
/// (`FUSE_INIT`), because the kernel lowers the read-ahead when it receives that reply.
pub fn tune(at: &Path) {
    // Take the device number from the mount table, because `stat` would be a request to the daemon.
    let Ok((_, Some(mounted))) = find(at) else {
        return;
    };
    let (major, minor) = mounted.device;
    for (name, value) in TUNING {
        let _ = fs::write(format!("/sys/class/bdi/{major}:{minor}/{name}"), value);
    }
}

/// Returns whether no process serves the mount at `at` any more, so that every request fails with
/// `ENOTCONN`.
///
/// Sends a request that bypasses the kernel's cache, because the cache outlives the daemon. The
/// request runs in a separate thread, which is abandoned if there is no answer within two seconds:
/// such a mount is stuck, not dead. A mount of another user without `allow_other` counts as alive,
/// because not even root can send requests to it.
pub fn is_dead(at: &Path) -> bool {
    let at = at.to_owned();
    let (answer, answered) = mpsc::channel();
    let ask = move || {
        let asked = rustix::fs::statx(CWD, &at, AtFlags::STATX_FORCE_SYNC, StatxFlags::BASIC_STATS);
        let _ = answer.send(matches!(asked, Err(Errno::NOTCONN | Errno::CONNABORTED)));
    };
    let asking = std::thread::Builder::new()
        .name("dvc-is-dead".to_owned())
        .spawn(ask);
    asking.is_ok() && answered.recv_timeout(ANSWER_TIMEOUT).unwrap_or(false)
}

/// Attaches and detaches a file system at the empty directory `dir`, to find out whether mounting
/// works here.
pub fn try_attach(dir: &Path, allow_other: bool) -> Result<MountMethod, AttachError> {
    let source = "dvc:rehearsal".to_owned();
    let attached = attach(&AttachOptions {
        at: dir.to_owned(),
        source,
        read_only: true,
        allow_other,
        trust: MountTrust::default(),
    })?;
    // Close the device first, so that a concurrent request fails instead of waiting.
    drop(attached.device);
    detach(&attached.at, true)?;
    Ok(attached.how)
}

/// Returns the path without symbolic links, and the dvc mount at this path, if there is one.
fn find(at: &Path) -> Result<(PathBuf, Option<Mounted>), AttachError> {
    let failed = |e| AttachError::system("look up", at, e);
    let table = MountTable::read().map_err(failed)?;
    let real = table.resolved(at).map_err(failed)?;
    let mounted = table
        .top_at(&real)
        .filter(|m| m.is_ours() && m.at == real)
        .cloned();
    Ok((real, mounted))
}

/// Returns the mount point without symbolic links. Fails if it is not a directory, or already a
/// mount of dvc.
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
    // The kernel uses only the file type of `rootmode`.
    // Without `allow_other`, the kernel refuses requests of processes whose ids differ from
    // `user_id` and `group_id`, even those of root (fs/fuse/dir.c).
    let (fd, user, group) = (device.as_raw_fd(), getuid().as_raw(), getgid().as_raw());
    let data = format!(
        "fd={fd},rootmode=40000,user_id={user},group_id={group},{}",
        common_options(options)
    );
    let data = CString::new(data).map_err(|_| Errno::INVAL)?;
    rustix::mount::mount(
        escape_source(&options.source),
        at,
        KIND,
        flags,
        data.as_c_str(),
    )
}

/// Returns the options for both `mount(2)` and `fusermount3`.
fn common_options(options: &AttachOptions) -> String {
    // `default_permissions`: the daemon does not check permissions, so the kernel has to.
    let allow_other = if options.allow_other {
        ",allow_other"
    } else {
        ""
    };
    format!("default_permissions,max_read={READ_MAX}{allow_other}")
}

/// Returns the options for `fusermount3`.
fn program_options(options: &AttachOptions) -> String {
    let subtype = KIND.strip_prefix("fuse.").unwrap_or(KIND);
    let MountTrust { suid, dev, noexec } = options.trust;
    let access = if options.read_only { "ro" } else { "rw" };
    // `fusermount3` adds `nosuid,nodev` by default.
    let extra = [(suid, ",suid"), (dev, ",dev"), (noexec, ",noexec")];
    let access: String = [access]
        .into_iter()
        .chain(extra.iter().filter(|e| e.0).map(|e| e.1))
        .collect();
    format!(
        "{access},fsname={},subtype={subtype},{}",
        escape_source(&options.source),
        common_options(options)
    )
}

/// Replaces the characters of a source that have a meaning in a list of mount options.
pub(super) fn escape_source(source: &str) -> String {
    source
        .chars()
        .map(|c| {
            if c.is_control() || [',', '\\'].contains(&c) {
                '_'
            } else {
                c
            }
        })
        .collect()
}

// The tests serve mounts with `fuser`, which only the feature `mount` includes.
#[cfg(test)]
#[cfg(feature = "mount")]
mod tests;
