//! Where things lie on this machine: the XDG directories, and for root the system's own.

use crate::failure::CliError;
use dvc::sys::procfs::outer_uid;
use std::env::var_os;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

/// The configuration of the machine.
pub(crate) fn system_config() -> PathBuf {
    PathBuf::from("/etc/dvc/config.toml")
}

/// The configuration of the user.
pub(crate) fn user_config() -> Option<PathBuf> {
    match xdg("XDG_CONFIG_HOME") {
        Some(dir) => Some(dir.join("dvc/config.toml")),
        None if is_root() => None,
        None => Some(home()?.join(".config/dvc/config.toml")),
    }
}

/// What can be made again.
pub(crate) fn cache() -> PathBuf {
    match (xdg("XDG_CACHE_HOME"), home()) {
        (Some(dir), _) => dir.join("dvc"),
        (None, Some(home)) if !is_root() => home.join(".cache/dvc"),
        _ => PathBuf::from("/var/cache/dvc"),
    }
}

/// Where sockets and notes of running processes are. `DVC_RUN_DIR` is for containers that see each other's mounts.
pub(crate) fn run() -> PathBuf {
    named_run().unwrap_or_else(|| PathBuf::from(format!("/tmp/dvc-{}", user())))
}

/// Returns [`run`] for use. The directory in `/tmp` is created, or refused if another user could have put names into it:
/// a note there says which repository a mount belongs to.
pub(crate) fn usable_run() -> Result<PathBuf, CliError> {
    let dir = run();
    if named_run().is_none() {
        dvc::sys::create::own_dir(&dir).map_err(|source| CliError::RunDir { path: dir.clone(), source })?;
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

/// What is kept from run to run.
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

/// Where [`state`] is outside of the container that this runs in, if somebody says so.
pub(crate) fn host_state() -> Option<PathBuf> {
    xdg("DVC_HOST_DATA_DIR")
}

/// Relative values are ignored, as the XDG specification demands.
fn xdg(variable: &str) -> Option<PathBuf> {
    var_os(variable).map(PathBuf::from).filter(|p| p.is_absolute())
}

/// Whether `HOME` belongs to another user, as it does after `sudo -u` or for a service account.
pub(crate) fn is_foreign_home() -> bool {
    let owner = home().and_then(|home| std::fs::metadata(home).ok()).map(|home| home.uid());
    owner != Some(rustix::process::geteuid().as_raw())
}

fn home() -> Option<PathBuf> {
    var_os("HOME").map(PathBuf::from).filter(|p| p.is_absolute())
}

/// Whether the system's directories are ours. To root of a user namespace they are mostly somebody else's.
fn is_root() -> bool {
    rustix::process::geteuid().is_root() && std::fs::metadata("/").is_ok_and(|root| root.uid() == 0)
}

/// The user, by the number that he has outside of a user namespace: in those all are root.
fn user() -> u32 {
    outer_uid(rustix::process::geteuid().as_raw())
}
