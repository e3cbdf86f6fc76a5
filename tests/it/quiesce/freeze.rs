//! `fsfreeze:PATH` on a small ext4: frozen while it is read, thawed after any failure, and refused
//! if dvc itself writes to it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::until;
use crate::support::held::Held;
use crate::support::needs::{self, need, run};
use crate::support::sandbox::{Run, Sandbox};

/// A small ext4 file system; thawed and unmounted when dropped.
struct Disk(PathBuf);

impl Disk {
    fn new(s: &Sandbox, name: &str) -> Self {
        let (image, at) = (s.at(format!("{name}.img")), s.at(name));
        fs::File::create(&image).unwrap().set_len(24 << 20).unwrap();
        run("mkfs.ext4", &["-q", image.to_str().unwrap()]);
        fs::create_dir(&at).unwrap();
        run(
            "mount",
            &["-o", "loop", image.to_str().unwrap(), at.to_str().unwrap()],
        );
        Self(at)
    }

    /// Runs `fsfreeze` with the option `how`. Returns whether that succeeded.
    fn steer(&self, how: &str) -> bool {
        let mut c = Command::new(need("fsfreeze"));
        c.arg(how)
            .arg(&self.0)
            .stderr(Stdio::null())
            .status()
            .unwrap()
            .success()
    }

    /// Returns whether the file system is frozen, by trying to freeze it: a frozen one cannot be
    /// frozen again.
    fn is_frozen(&self) -> bool {
        if self.steer("--freeze") {
            assert!(self.steer("--unfreeze"));
            return false;
        }
        true
    }

    /// Waits until a write to the file system blocks because it is frozen. Returns the blocked
    /// process.
    #[track_caller]
    fn wait_for_freeze(&self) -> std::process::Child {
        let mut n = 0;
        let mut waiting = None;
        until("it is frozen", || {
            n += 1;
            let mut touch = Command::new("touch")
                .arg(self.0.join(format!("probe-{n}")))
                .spawn()
                .unwrap();
            std::thread::sleep(Duration::from_millis(300));
            let waits = touch.try_wait().unwrap().is_none();
            if waits {
                waiting = Some(touch);
            }
            waits
        });
        // Check that the write is blocked and not only slow.
        assert!(self.is_frozen());
        waiting.unwrap()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.steer("--unfreeze");
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Returns whether file systems can be frozen here. Skips the test otherwise.
fn possible() -> bool {
    let is = needs::is_root() && Path::new("/dev/loop-control").exists();
    if !is {
        needs::skip_or_fail("freezing needs root and loop devices");
    }
    is
}

/// Creates a sandbox with a disk `d` that contains a file, and a repository on another file system.
fn scene() -> Option<(Sandbox, Disk)> {
    if !possible() {
        return None;
    }
    let s = Sandbox::new();
    s.dvc(["init", "--repo", s.at("r").to_str().unwrap()]).ok();
    let disk = Disk::new(&s, "d");
    fs::write(disk.0.join("file"), "content").unwrap();
    Some((s, disk))
}

fn command(s: &Sandbox, disk: &Disk, limit: &str) -> Command {
    let mut c = s.command(["--repo"]);
    c.arg(s.at("r")).arg("-C").arg(&disk.0).args([
        "commit",
        "-m",
        "x",
        "--quiesce-timeout",
        limit,
        "--quiesce",
    ]);
    c.arg(format!("fsfreeze:{}", disk.0.display()));
    c
}

fn versions(s: &Sandbox) -> usize {
    let log = Run::of(s.command(["--repo"]).arg(s.at("r")).args(["log", "--json"]));
    if log.code == 0 {
        log.json_lines().len()
    } else {
        0
    }
}

#[test]
fn a_file_system_is_frozen_and_thawed() {
    let Some((s, disk)) = scene() else { return };
    let held = Held::start(&mut command(&s, &disk, "1h"));
    let mut writes = disk.wait_for_freeze();
    held.go_on().ok().complains("froze");
    assert!(writes.wait().unwrap().success() && !disk.is_frozen());
    assert_eq!(versions(&s), 1);
    let shown = s
        .dvc(["--repo", s.at("r").to_str().unwrap(), "show", "main:file"])
        .ok();
    assert_eq!(shown.out, "content");
}

#[test]
fn a_killed_commit_leaves_nothing_frozen() {
    let Some((s, disk)) = scene() else { return };
    let held = Held::start(&mut command(&s, &disk, "1h"));
    let mut writes = disk.wait_for_freeze();
    held.kill();
    until("it is thawed", || {
        writes.try_wait().unwrap().is_some_and(|s| s.success())
    });
    assert!(!disk.is_frozen());
    assert_eq!(versions(&s), 0);
}

#[test]
fn the_timeout_thaws() {
    let Some((s, disk)) = scene() else { return };
    let held = Held::start(&mut command(&s, &disk, "3s"));
    let mut writes = disk.wait_for_freeze();
    until("it is thawed", || {
        writes.try_wait().unwrap().is_some_and(|s| s.success())
    });
    held.go_on().code(7).complains("longer than 3 s");
    assert_eq!(versions(&s), 0);
}

#[test]
fn file_systems_that_dvc_writes_to_are_never_frozen() {
    let Some((s, disk)) = scene() else { return };
    let profile = format!("fsfreeze:{}", disk.0.display());
    // First the repository is on the disk, then the cache directory, and then no file of dvc.
    Run::of(s.command(["-C"]).arg(&disk.0).arg("init")).ok();
    let inside =
        Run::of(
            s.command(["-C"])
                .arg(&disk.0)
                .args(["commit", "-m", "x", "--quiesce", &profile]),
        );
    inside.code(2).complains("is on the same file system");
    fs::remove_dir_all(disk.0.join(".dvcs")).unwrap();
    let mut c = command(&s, &disk, "10s");
    Run::of(c.env("XDG_CACHE_HOME", disk.0.join("not/yet")))
        .code(2)
        .complains("not/yet");
    let mut c = s.command(["--repo"]);
    c.arg(s.at("r")).arg("-C").arg(&disk.0).args([
        "commit",
        "-m",
        "x",
        "--quiesce",
        "fsfreeze:/no/such",
    ]);
    Run::of(&mut c)
        .code(7)
        .complains("cannot freeze `/no/such`");
    assert!(!disk.is_frozen());
    // A file system that another process has frozen is left frozen.
    assert!(disk.steer("--freeze"));
    Run::of(&mut command(&s, &disk, "10s"))
        .code(7)
        .complains("cannot freeze");
    assert!(disk.is_frozen() && disk.steer("--unfreeze"));
    assert_eq!(versions(&s), 0);
}
