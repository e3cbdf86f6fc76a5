//! Tests with real mounts. They run only as root with a FUSE device.

use super::*;
use crate::error::{Failure, Kind};
use crate::sys::mountinfo;
use crate::sys::procfs::is_in_user_namespace;
use fuser::{
    Errno as Reply, FileAttr, FileHandle, FileType, Filesystem, INodeNo, ReplyAttr, Request,
};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::time::{Duration, Instant, UNIX_EPOCH};
use tempfile::TempDir;

/// A mount point that is unmounted even if the test fails.
struct Place(TempDir);

impl Place {
    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = detach(self.path(), true);
    }
}

/// Returns a mount point if mounting is possible.
fn place() -> Option<Place> {
    let possible = privilege::is_real_root() && is_admin() && Path::new(DEVICE).exists();
    possible.then(|| {
        Place(
            tempfile::Builder::new()
                .prefix("dvc-attach-")
                .tempdir()
                .unwrap(),
        )
    })
}

fn options(at: &Path) -> AttachOptions {
    AttachOptions {
        at: at.to_owned(),
        // A comma would end a mount option, so it is shown as an underscore.
        source: "dvc:a,b@v3".to_owned(),
        read_only: false,
        allow_other: false,
        trust: MountTrust::default(),
    }
}

fn line(at: &Path) -> Mounted {
    mountinfo::ours()
        .unwrap()
        .into_iter()
        .find(|m| m.at == at)
        .unwrap()
}

#[test]
fn mounted_dead_and_taken_away() {
    let Some(dir) = place() else { return };
    let at = dir.path();
    let all = MountTrust {
        suid: true,
        dev: true,
        noexec: true,
    };
    let trusted = attach(&AttachOptions {
        trust: all,
        ..options(at)
    })
    .unwrap();
    assert!(
        line(at).options.ends_with(",noexec,relatime") && !line(at).options.contains("nosuid"),
        "{:?}",
        line(at)
    );
    drop(trusted);
    detach(at, false).unwrap();
    let attached = attach(&AttachOptions {
        read_only: true,
        allow_other: true,
        ..options(at)
    })
    .unwrap();
    assert_eq!(
        (attached.how, attached.at.as_path()),
        (MountMethod::Kernel, at)
    );
    let found = line(at);
    assert_eq!(
        (found.kind.as_str(), found.source.as_slice()),
        ("fuse.dvc", &b"dvc:a_b@v3"[..])
    );
    assert!(
        found.options.starts_with("ro,nosuid,nodev"),
        "{}",
        found.options
    );
    for option in ["default_permissions", "allow_other", "max_read=1048576"] {
        assert!(
            found.super_options.contains(option),
            "{}",
            found.super_options
        );
    }
    assert_eq!(
        mountinfo::containing(&at.join("a/../b")).unwrap(),
        Some(found)
    );
    let again = attach(&options(at)).unwrap_err();
    assert_eq!(
        (again.kind(), again.to_string()),
        (
            Kind::Busy,
            format!(
                "cannot mount on `{}`: the directory is already a dvc mount",
                at.display()
            )
        )
    );
    assert!(!is_dead(at), "a mount that is not served yet is not dead");
    drop(attached);
    assert!(is_dead(at));
    let inside = attach(&options(&at.join("x"))).unwrap_err();
    assert!(matches!(inside, AttachError::Dead(_)), "{inside}");
    // A thread of `is_dead` that timed out may still use the mount, so retry while it is busy.
    let since = Instant::now();
    while let Err(e) = detach(at, false) {
        assert!(
            matches!(e, AttachError::InUse(_)) && since.elapsed() < Duration::from_secs(20),
            "{e}"
        );
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(!is_dead(at));
    assert!(matches!(detach(at, false), Err(AttachError::NotMounted(_))));
    assert!(mountinfo::ours().unwrap().iter().all(|m| m.at != at));
}

#[test]
fn what_cannot_be_mounted_on() {
    let Some(dir) = place() else { return };
    let (file, missing) = (dir.path().join("file"), dir.path().join("missing"));
    fs::write(&file, "").unwrap();
    assert!(matches!(attach(&options(&file)), Err(AttachError::NotADirectory(at)) if at == file));
    assert!(matches!(
        attach(&options(&file.join("x"))),
        Err(AttachError::NotADirectory(_))
    ));
    assert!(matches!(attach(&options(&missing)), Err(AttachError::Missing(at)) if at == missing));
    assert!(matches!(
        detach(Path::new("/proc"), false),
        Err(AttachError::NotMounted(_))
    ));
}

/// A file system whose attributes the kernel may cache for a day.
struct Kept;

impl Filesystem for Kept {
    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        if ino != INodeNo::ROOT {
            return reply.error(Reply::ENOENT);
        }
        let attr = FileAttr {
            ino,
            size: 0,
            blocks: 0,
            atime: UNIX_EPOCH,
            mtime: UNIX_EPOCH,
            ctime: UNIX_EPOCH,
            crtime: UNIX_EPOCH,
            kind: FileType::Directory,
            perm: 0o755,
            nlink: 2,
            uid: 0,
            gid: 0,
            rdev: 0,
            blksize: 4096,
            flags: 0,
        };
        reply.attr(&Duration::from_secs(86_400), &attr);
    }
}

#[test]
fn a_daemon_that_died_is_noticed_past_the_cache() {
    let Some(dir) = place() else { return };
    let at = dir.path();
    let attached = attach(&options(at)).unwrap();
    let serve = |device| {
        let config = fuser::Config::default();
        fuser::Session::from_fd(Kept, device, fuser::SessionACL::Owner, config)
            .unwrap()
            .spawn()
            .unwrap()
    };
    let session = serve(attached.device);
    assert!(fs::metadata(at).unwrap().is_dir());
    tune(at);
    let (major, minor) = line(at).device;
    let ahead = fs::read_to_string(format!("/sys/class/bdi/{major}:{minor}/read_ahead_kb"));
    assert!(ahead.is_ok_and(|kb| kb.trim() == "4096"));
    let inside = fs::File::open(at).unwrap();
    let busy = detach(at, false).unwrap_err();
    assert_eq!(
        (busy.kind(), busy.to_string()),
        (
            Kind::Busy,
            format!("cannot unmount `{}`: it is in use", at.display())
        )
    );
    assert!(!is_dead(at));
    // For the kernel, this is the same as the death of the daemon.
    abort(minor);
    let _ = session.guard.join();
    assert!(
        fs::metadata(at).is_ok(),
        "the kernel still has the attributes"
    );
    assert!(is_dead(at));
    detach(at, true).unwrap();
    drop(inside);
}

/// Aborts the connection of the mount with this minor device number.
fn abort(minor: u32) {
    let control = tempfile::tempdir().unwrap();
    rustix::mount::mount("none", control.path(), "fusectl", MountFlags::empty(), None).unwrap();
    // `fusectl` has a directory for each connection, named by the minor number of its device.
    let aborted = fs::write(control.path().join(format!("{minor}/abort")), "1");
    rustix::mount::unmount(control.path(), UnmountFlags::DETACH).unwrap();
    aborted.unwrap();
}

/// Environment variable with the mount point, set for a test that runs again as another user.
const AGAIN: &str = "DVC_TEST_ATTACH_AT";

/// Runs a test of this file again with the command prefix `by`, which changes the user, in a mount
/// namespace in which all users can open the FUSE device.
fn again(test: &str, at: &Path, by: &str) {
    let own = tempfile::Builder::new()
        .prefix("dvc-attach-")
        .tempdir()
        .unwrap();
    fs::set_permissions(own.path(), fs::Permissions::from_mode(0o755)).unwrap();
    // Copy the test program, because other users cannot read the build directory.
    let program = own.path().join("tests");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let script = format!(
        // 10:229 is the device number of FUSE (Documentation/admin-guide/devices.txt in the
        // kernel).
        "mknod -m 666 $0/fuse c 10 229 && mount --bind $0/fuse {DEVICE} && exec {by} $0/tests --exact $1"
    );
    let out = Command::new("unshare")
        .args(["-m", "sh", "-c", &script])
        .arg(own.path())
        .arg(format!("mount::attach::tests::{test}"))
        .env(AGAIN, at)
        .current_dir("/")
        .output()
        .unwrap();
    let (output_text, failed) = (
        String::from_utf8_lossy(&out.stdout),
        String::from_utf8_lossy(&out.stderr),
    );
    assert!(
        out.status.success() && output_text.contains("1 passed"),
        "{output_text}{failed}"
    );
}

#[test]
fn fusermount_does_it_for_everybody() {
    if let Some(at) = std::env::var_os(AGAIN) {
        return as_nobody(Path::new(&at));
    }
    let Some(dir) = place().filter(|_| find_fusermount().is_some()) else {
        return;
    };
    let at = dir.path();
    // Characters that mountinfo escapes, a comma, and a byte that is not UTF-8.
    let ours = at.join(OsStr::from_bytes(b"ours \xff, and one \\ more"));
    for dir in [&ours, &at.join("not ours")] {
        fs::create_dir(dir).unwrap();
    }
    std::os::unix::fs::chown(&ours, Some(65_534), Some(65_534)).unwrap();
    fs::set_permissions(at, fs::Permissions::from_mode(0o755)).unwrap();
    again(
        "fusermount_does_it_for_everybody",
        &ours,
        "setpriv --reuid 65534 --regid 65534 --clear-groups",
    );
}

fn as_nobody(at: &Path) {
    let attached = attach(&options(at)).unwrap();
    assert_eq!(attached.how, MountMethod::Fusermount);
    let flags = rustix::io::fcntl_getfd(&attached.device).unwrap();
    assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
    let found = line(at);
    assert_eq!(
        (found.kind.as_str(), found.source.as_slice()),
        ("fuse.dvc", &b"dvc:a_b@v3"[..])
    );
    assert!(found.options.contains("nosuid,nodev"), "{}", found.options);
    for option in ["default_permissions", "max_read=1048576"] {
        assert!(
            found.super_options.contains(option),
            "{}",
            found.super_options
        );
    }
    drop(attached);
    assert!(is_dead(at));
    detach(at, false).unwrap();
    let suid = attach(&AttachOptions {
        trust: MountTrust {
            suid: true,
            ..MountTrust::default()
        },
        ..options(at)
    });
    assert!(
        matches!(suid, Err(AttachError::Untrusted("suid"))),
        "{suid:?}"
    );
    let not_ours = attach(&options(&at.with_file_name("not ours")));
    assert!(
        matches!(not_ours, Err(AttachError::NotOurs(_))),
        "{not_ours:?}"
    );
    assert_eq!(try_attach(at, false).unwrap(), MountMethod::Fusermount);
    assert_eq!(
        passthrough_possible(Path::new("/")),
        Err(NoPassthrough::Capability)
    );
    let allowed = fs::read_to_string("/etc/fuse.conf")
        .is_ok_and(|conf| conf.lines().any(|l| l == "user_allow_other"));
    match try_attach(at, true) {
        Ok(how) => assert!(allowed && how == MountMethod::Fusermount),
        Err(e) => assert!(!allowed && matches!(e, AttachError::AllowOther), "{e}"),
    }
    assert!(mountinfo::ours().unwrap().iter().all(|m| m.at != at));
}

#[test]
fn root_of_a_user_namespace_needs_nobody() {
    if let Some(at) = std::env::var_os(AGAIN) {
        return as_root_of_a_user_namespace(Path::new(&at));
    }
    let Some(dir) = place() else { return };
    // Some containers forbid user namespaces.
    if Command::new("unshare")
        .args(["-Urm", "true"])
        .output()
        .unwrap()
        .status
        .success()
    {
        again(
            "root_of_a_user_namespace_needs_nobody",
            dir.path(),
            "unshare -Urm",
        );
    }
}

fn as_root_of_a_user_namespace(at: &Path) {
    assert!(is_admin() && is_in_user_namespace());
    let attached = attach(&AttachOptions {
        allow_other: true,
        ..options(at)
    })
    .unwrap();
    assert_eq!(attached.how, MountMethod::Kernel);
    assert!(line(at).options.contains("nosuid,nodev"));
    let dev = ensure_trusted(MountTrust {
        dev: true,
        ..MountTrust::default()
    });
    assert!(matches!(dev, Err(AttachError::Untrusted("dev"))), "{dev:?}");
    drop(attached);
    assert!(is_dead(at));
    detach(at, false).unwrap();
    assert_eq!(
        passthrough_possible(Path::new("/")),
        Err(NoPassthrough::UserNamespace)
    );
}
