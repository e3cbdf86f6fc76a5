//! Checks of mounting: the device, a trial, passthrough, letting others in, mounts that a dead daemon left behind.

use super::Check;
use crate::session::Session;
use dvc::error::{Failure, with_causes};
use dvc::model::path::display;
use dvc::mount::attach::{self, AttachError, MountMethod};
use dvc::sys::io_error::IoError;
use dvc::sys::mountinfo;
use dvc::sys::procfs::is_in_user_namespace;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The device of FUSE.
const DEVICE: &str = "/dev/fuse";

/// All of them.
pub(super) fn checks(session: &Session) -> Vec<Check> {
    let tried = rehearse(false);
    let mut checks = vec![device(tried.is_ok())];
    if tried.is_ok() {
        checks.extend([mounting(&tried), passthrough(session), allow_other(&rehearse(true))]);
    } else {
        checks.push(mounting(&tried));
    }
    checks.extend(stale());
    checks
}

/// Mounts in a temporary directory. What keeps us from making one is a failure of the same rank.
fn rehearse(allow_other: bool) -> Result<MountMethod, AttachError> {
    let failed = |source| AttachError::System(IoError::new("make a directory in", std::env::temp_dir(), source));
    let dir = tempfile::Builder::new().prefix("dvc-doctor-").tempdir().map_err(failed)?;
    attach::try_attach(dir.path(), allow_other)
}

fn device(not_needed: bool) -> Check {
    let name = "fuse device";
    let e = match std::fs::File::options().read(true).write(true).open(DEVICE) {
        Ok(_) => return Check::ok(name, format!("`{DEVICE}` can be opened")),
        Err(e) => e,
    };
    let what = format!("`{DEVICE}` cannot be opened: {e}");
    let mend = match e.kind() {
        ErrorKind::NotFound => format!("`modprobe fuse` loads it; a container needs `--device {DEVICE}`"),
        ErrorKind::PermissionDenied if !rustix::process::geteuid().is_root() => {
            format!("`chmod 666 {DEVICE}` (as root) opens it to every user, as most systems have it")
        }
        _ => format!("a container needs `--device {DEVICE}`"),
    };
    if not_needed { Check::note(name, what, mend) } else { Check::no(name, what, mend) }
}

fn mounting(tried: &Result<MountMethod, AttachError>) -> Check {
    let name = "mounting";
    match tried {
        Ok(MountMethod::Kernel) if is_in_user_namespace() => {
            Check::ok(name, "works by `mount(2)`, in this user namespace; set-user-id bits and devices have no effect")
        }
        Ok(MountMethod::Kernel) => Check::ok(
            name,
            "works by `mount(2)`; set-user-id bits and devices have no effect unless `--suid` or `--dev` is given",
        ),
        Ok(MountMethod::Fusermount) => {
            let program = attach::find_fusermount().unwrap_or_default();
            let program = program.display();
            Check::ok(name, format!("works by `{program}`; set-user-id bits and devices have no effect"))
        }
        Err(e) => Check::no(name, with_causes(e), e.hint()),
    }
}

fn passthrough(session: &Session) -> Check {
    let name = "passthrough";
    // Overlays are kept in the repository; one that is to be made may come to lie here.
    let overlays = session.place().map_or_else(|_| PathBuf::from("."), |place| place.repository);
    match attach::passthrough_possible(&overlays) {
        Ok(()) => Check::ok(name, "the kernel can read and write files that are wholly local by itself (mode P)"),
        Err(e) => {
            let what =
                format!("every read and write that misses the kernel's cache goes through the daemon (mode W): {e}");
            Check::note(name, what, e.mend().to_owned())
        }
    }
}

fn allow_other(tried: &Result<MountMethod, AttachError>) -> Check {
    let name = "allow_other";
    match tried {
        Ok(MountMethod::Kernel) if is_in_user_namespace() => {
            Check::ok(name, "users of this user namespace can be let into a mount, nobody else")
        }
        Ok(_) => Check::ok(name, "other users can be let into a mount"),
        Err(e) => Check::note(
            name,
            format!("other users, and containers, cannot be let into a mount: {}", with_causes(e)),
            e.hint(),
        ),
    }
}

/// A line for each mount whose daemon is gone, or one for all where there is none.
fn stale() -> Vec<Check> {
    let name = "mounts";
    let ours = match mountinfo::ours() {
        Ok(ours) => ours,
        Err(e) => return vec![Check::note(name, format!("the mount table cannot be read: {e}"), None)],
    };
    let take_away = |at: &str| match rustix::process::geteuid().is_root() {
        true => format!("`umount -l {at}` takes it away"),
        false => format!("`fusermount3 -uz {at}` takes it away"),
    };
    let dead: Vec<Check> = ours
        .iter()
        .filter(|mounted| attach::is_dead(&mounted.at))
        .map(|mounted| {
            let at = shown(&mounted.at);
            let what = format!("`{at}` is a mount of `{}` that nobody serves any more", display(&mounted.source));
            Check::note(name, what, take_away(&at))
        })
        .collect();
    match (dead.is_empty(), ours.len()) {
        (false, _) => dead,
        (true, 0) => vec![Check::ok(name, "nothing is mounted, and nothing was left behind")],
        (true, count) => vec![Check::ok(name, format!("{count} mounted, nothing was left behind"))],
    }
}

fn shown(path: &Path) -> String {
    display(path.as_os_str().as_bytes())
}
