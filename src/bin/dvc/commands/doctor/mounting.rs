//! Checks of mounting: the device, a trial mount, passthrough, access for other users, and dead
//! mounts.

use super::check::DoctorCheck;
use crate::session::Session;
use dvc::error::{Failure, with_causes};
use dvc::model::path::display;
use dvc::model::text::count;
use dvc::mount::attach::{self, AttachError, MountMethod};
use dvc::sys::io_error::IoError;
use dvc::sys::mountinfo;
use dvc::sys::procfs::is_in_user_namespace;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

/// The FUSE device.
const DEVICE: &str = "/dev/fuse";

/// Runs all checks.
pub(super) fn checks(session: &Session) -> Vec<DoctorCheck> {
    // A trial mount shows more than a check of the permissions.
    let tried = rehearse(false);
    let mut checks = vec![device(tried.is_ok())];
    if tried.is_ok() {
        checks.extend([
            mounting(&tried),
            passthrough(session),
            allow_other(&rehearse(true)),
        ]);
    } else {
        checks.push(mounting(&tried));
    }
    checks.extend(stale());
    checks
}

/// Makes a trial mount in a temporary directory. A failure to create the directory counts as a
/// failure to mount.
fn rehearse(allow_other: bool) -> Result<MountMethod, AttachError> {
    let failed = |source| {
        AttachError::System(IoError::new(
            "create a directory in",
            std::env::temp_dir(),
            source,
        ))
    };
    let dir = tempfile::Builder::new()
        .prefix("dvc-doctor-")
        .tempdir()
        .map_err(failed)?;
    attach::try_attach(dir.path(), allow_other)
}

fn device(not_needed: bool) -> DoctorCheck {
    let name = "fuse device";
    let e = match std::fs::File::options().read(true).write(true).open(DEVICE) {
        Ok(_) => return DoctorCheck::ok(name, format!("`{DEVICE}` can be opened")),
        Err(e) => e,
    };
    let what = format!("cannot open `{DEVICE}`: {e}");
    let hint = match e.kind() {
        ErrorKind::NotFound => {
            format!("run `modprobe fuse` as root; a container needs `--device {DEVICE}`")
        }
        ErrorKind::PermissionDenied if !rustix::process::geteuid().is_root() => {
            format!("run `chmod 666 {DEVICE}` as root, which is the default on most systems")
        }
        _ => format!("start a container with `--device {DEVICE}`"),
    };
    // The trial mount has worked, for example because fusermount3 may open the device.
    if not_needed {
        DoctorCheck::note(name, what, hint)
    } else {
        DoctorCheck::no(name, what, hint)
    }
}

fn mounting(tried: &Result<MountMethod, AttachError>) -> DoctorCheck {
    let name = "mounting";
    match tried {
        Ok(MountMethod::Kernel) if is_in_user_namespace() => DoctorCheck::ok(
            name,
            "uses `mount(2)`, in this user namespace; set-user-ID bits and device files have no effect",
        ),
        Ok(MountMethod::Kernel) => DoctorCheck::ok(
            name,
            "uses `mount(2)`; set-user-ID bits and device files have no effect unless `--suid` or `--dev` is given",
        ),
        Ok(MountMethod::Fusermount) => {
            let program = attach::find_fusermount().unwrap_or_default();
            let program = program.display();
            DoctorCheck::ok(
                name,
                format!("uses `{program}`; set-user-ID bits and device files have no effect"),
            )
        }
        Err(e) => DoctorCheck::no(name, with_causes(e), e.hint()),
    }
}

fn passthrough(session: &Session) -> DoctorCheck {
    let name = "passthrough";
    // Overlays are in the repository. Without one, check the current directory, where a new
    // repository may be created.
    let overlays = session
        .place()
        .map_or_else(|_| PathBuf::from("."), |place| place.repository);
    match attach::passthrough_possible(&overlays) {
        Ok(()) => DoctorCheck::ok(
            name,
            "the kernel can read and write completely local files without the daemon (mode P)",
        ),
        Err(e) => {
            let what = format!(
                "every read and write that misses the kernel's cache goes through the daemon (mode W): {e}"
            );
            DoctorCheck::note(name, what, e.mend().to_owned())
        }
    }
}

fn allow_other(tried: &Result<MountMethod, AttachError>) -> DoctorCheck {
    let name = "allow_other";
    match tried {
        Ok(MountMethod::Kernel) if is_in_user_namespace() => DoctorCheck::ok(
            name,
            "mounts can be made accessible to users of this user namespace, but not to others",
        ),
        Ok(_) => DoctorCheck::ok(name, "mounts can be made accessible to other users"),
        Err(e) => DoctorCheck::note(
            name,
            format!(
                "mounts cannot be made accessible to other users or containers: {}",
                with_causes(e)
            ),
            e.hint(),
        ),
    }
}

/// Returns one check for each mount whose daemon is gone, or a single check if no mount is dead.
fn stale() -> Vec<DoctorCheck> {
    let name = "mounts";
    let ours = match mountinfo::ours() {
        Ok(ours) => ours,
        Err(e) => {
            return vec![DoctorCheck::note(
                name,
                format!("cannot read the mount table: {e}"),
                None,
            )];
        }
    };
    let program = if rustix::process::geteuid().is_root() {
        "umount -l"
    } else {
        "fusermount3 -uz"
    };
    let hint = |at: &str| format!("run `{program} {at}` to remove it");
    let dead: Vec<DoctorCheck> = ours
        .iter()
        .filter(|mounted| attach::is_dead(&mounted.at))
        .map(|mounted| {
            let at = shown(&mounted.at);
            let what = format!(
                "dead mount of `{}` at `{at}`: its daemon no longer runs",
                display(&mounted.source)
            );
            DoctorCheck::note(name, what, hint(&at))
        })
        .collect();
    match (dead.is_empty(), ours.len()) {
        (false, _) => dead,
        (true, 0) => vec![DoctorCheck::ok(name, "no mounts")],
        (true, n) => vec![DoctorCheck::ok(
            name,
            format!("{}, none dead", count(n as u64, "mount")),
        )],
    }
}

fn shown(path: &Path) -> String {
    display(path.as_os_str().as_bytes())
}
