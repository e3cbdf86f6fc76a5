//! The directories of this program: the XDG directories, or the system directories for root.

use crate::failure::CliError;
use dvc::sys::procfs::outer_uid;
use std::env::var_os;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// Returns the path of the machine-wide configuration file.
pub(crate) fn system_config() -> PathBuf {
    PathBuf::from("/etc/dvc/config.toml")
}

/// Returns the path of the user's configuration file; `None` for root and without `HOME`, unless
/// `XDG_CONFIG_HOME` is set.
pub(crate) fn user_config() -> Option<PathBuf> {
    match xdg("XDG_CONFIG_HOME") {
        Some(dir) => Some(dir.join("dvc/config.toml")),
        // The settings of root are those of the machine.
        None if is_root() => None,
        None => Some(home()?.join(".config/dvc/config.toml")),
    }
}

/// Returns the directory for data that can be rebuilt.
pub(crate) fn cache() -> PathBuf {
    match (xdg("XDG_CACHE_HOME"), home()) {
        (Some(dir), _) => dir.join("dvc"),
        (None, Some(home)) if !is_root() => home.join(".cache/dvc"),
        _ => PathBuf::from("/var/cache/dvc"),
    }
}

/// Returns the directory for the sockets and notes of running processes. Containers can share one
/// through `DVC_RUN_DIR`, so that they see each other's mounts.
pub(crate) fn run() -> PathBuf {
    named_run().unwrap_or_else(|| PathBuf::from(format!("/tmp/dvc-{}", user())))
}

/// Returns [`run`], ready for use: a directory in `/tmp` is created. It is refused if another user
/// could create files in it, because a note there names the repository of a mount.
pub(crate) fn usable_run() -> Result<PathBuf, CliError> {
    let dir = run();
    // All users can write to `/tmp`, so the directory must be checked.
    if named_run().is_none() {
        dvc::sys::create::own_dir(&dir).map_err(|source| CliError::RunDir {
            path: dir.clone(),
            source,
        })?;
    }
    Ok(dir)
}

fn named_run() -> Option<PathBuf> {
    if let Some(dir) = xdg("DVC_RUN_DIR") {
        return Some(dir);
    }
    match xdg("XDG_RUNTIME_DIR") {
        _ if is_root() => Some(PathBuf::from("/run/dvc")),
        dir => dir.map(|dir| dir.join("dvc")),
    }
}

/// Returns the directory for state that outlives a process.
pub(crate) fn state() -> PathBuf {
    if let Some(dir) = xdg("DVC_DATA_DIR") {
        return dir;
    }
    match (xdg("XDG_STATE_HOME"), home()) {
        (Some(dir), _) => dir.join("dvc"),
        (None, Some(home)) if !is_root() => home.join(".local/state/dvc"),
        _ => PathBuf::from("/var/lib/dvc"),
    }
}

/// Returns the path that [`state`] has on the host, if this process runs in a container whose
/// environment names it.
pub(crate) fn host_state() -> Option<PathBuf> {
    xdg("DVC_HOST_DATA_DIR")
}

/// Returns the path in an environment variable. A relative path is ignored, as the XDG
/// specification requires.
fn xdg(variable: &str) -> Option<PathBuf> {
    var_os(variable)
        .map(PathBuf::from)
        .filter(|p| p.is_absolute())
}

/// Returns whether `HOME` belongs to another user, as it does after `sudo -u` or for a service
/// account, or is not set.
pub(crate) fn is_foreign_home() -> bool {
    let owner = home()
        .and_then(|home| std::fs::metadata(home).ok())
        .map(|home| home.uid());
    owner != Some(rustix::process::geteuid().as_raw())
}

fn home() -> Option<PathBuf> {
    var_os("HOME")
        .map(PathBuf::from)
        .filter(|p| p.is_absolute())
}

/// Returns whether this process is root and owns the system directories. Root of a user namespace
/// usually does not own them.
fn is_root() -> bool {
    rustix::process::geteuid().is_root() && std::fs::metadata("/").is_ok_and(|root| root.uid() == 0)
}

/// Returns the user id outside of the user namespace, because several users may be root inside of
/// theirs.
fn user() -> u32 {
    outer_uid(rustix::process::geteuid().as_raw())
}
