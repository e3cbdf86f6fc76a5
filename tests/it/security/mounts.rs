//! The content of a version may come from an attacker. Mounting it must give no user additional
//! privileges.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};

use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};

use crate::mount::harness::{Volume, as_user};
use crate::support::needs;

/// An unprivileged user with access to the mount.
const USER: u32 = 1001;

/// Creates a version with a set-user-id program of root and a device that every user may read.
fn volume() -> Option<Volume> {
    if !needs::root_to("create devices and files of root") {
        return None;
    }
    Volume::of(|w| {
        fs::copy(needs::need("id"), w.join("id")).unwrap();
        chown(w.join("id"), Some(0), Some(0)).unwrap();
        fs::set_permissions(w.join("id"), PermissionsExt::from_mode(0o4755)).unwrap();
        let mode = Mode::from_raw_mode(0o666);
        mknodat(
            CWD,
            w.join("zero"),
            FileType::CharacterDevice,
            mode,
            makedev(1, 5),
        )
        .unwrap();
        fs::set_permissions(w.join("zero"), PermissionsExt::from_mode(0o666)).unwrap();
        fs::set_permissions(w, PermissionsExt::from_mode(0o755)).unwrap();
    })
}

/// Returns the user id as which the program runs, and whether the device can be read.
fn tried(dir: &std::path::Path) -> (String, bool) {
    let (ran, who) = as_user(USER, dir, "\"$DIR/id\" -u");
    assert!(ran, "{who}");
    (
        who.trim().to_owned(),
        as_user(USER, dir, "head -c 1 \"$DIR/zero\" > /dev/null").0,
    )
}

#[test]
fn set_user_id_programs_and_devices_of_a_version_have_no_effect() {
    let Some(v) = volume() else { return };
    for options in [&["--allow-other"][..], &["--allow-other", "--ro"]] {
        let m = v.mount(options);
        assert_eq!(tried(m.root()), (USER.to_string(), false), "{options:?}");
        // The file is shown with its mode, so a commit keeps the mode.
        assert_eq!(
            fs::metadata(m.at("id")).unwrap().permissions().mode() & 0o7777,
            0o4755
        );
    }
}

#[test]
fn root_can_ask_for_them() {
    let Some(v) = volume() else { return };
    let m = v.mount(&["--allow-other", "--suid"]);
    assert_eq!(tried(m.root()), ("0".to_owned(), false));
    drop(m);
    let m = v.mount(&["--allow-other", "--dev"]);
    assert_eq!(tried(m.root()), (USER.to_string(), true));
    drop(m);
    let m = v.mount(&["--allow-other", "--noexec"]);
    assert!(!as_user(USER, m.root(), "\"$DIR/id\"").0);
}
