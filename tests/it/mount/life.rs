//! The life cycle of a mount and its process: stopped, owned by another user, about to exit, or
//! idle.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use dvc::sys::mountinfo;
use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{Pid, Signal, kill_process};

use crate::mount::harness::{Mount, Volume, as_user};
use crate::mount_live::until;
use crate::support::needs;
use crate::support::sandbox::Run;
use crate::support::zoo::noise;

fn volume() -> Option<Volume> {
    Volume::of(|w| fs::write(w.join("a"), "1").unwrap())
}

fn is_mounted(at: &Path) -> bool {
    mountinfo::ours().unwrap().iter().any(|m| m.at == at)
}

/// The stopped process of a mount; dropping this value continues the process.
struct Stopped(Pid);

impl Stopped {
    fn of(m: &Mount<'_>) -> Self {
        let pid =
            Pid::from_raw(i32::try_from(m.stats()["pid"].as_u64().unwrap()).unwrap()).unwrap();
        kill_process(pid, Signal::STOP).unwrap();
        Self(pid)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        let _ = kill_process(self.0, Signal::CONT);
    }
}

/// Every command returns an error message instead of hanging, and the mount can be detached.
#[test]
fn a_stopped_process_is_reported_and_detached_by_force() {
    let Some(v) = volume() else { return };
    let mut m = v.mount(&[]);
    fs::write(m.at("b"), "2").unwrap();
    let stopped = Stopped::of(&m);
    let pid = stopped.0.as_raw_nonzero().to_string();
    let says = format!(
        "process {pid}, the daemon of the mount at `{}`, is stopped",
        m.root().display()
    );
    for verb in [&["status"][..], &["commit", "-m", "x"], &["log"]] {
        m.dvc(verb)
            .code(11)
            .complains(&says)
            .complains(&format!("kill -CONT {pid}"));
    }
    m.down_with(&[])
        .code(11)
        .complains(&says)
        .complains("dvc umount --force");
    let listed = v.dvc(&["mount"]).ok();
    let own = listed
        .out
        .lines()
        .find(|line| line.contains(m.root().to_str().unwrap()))
        .unwrap();
    assert!(
        own.contains(&format!(
            "process {pid}, the daemon of the mount, is stopped"
        )),
        "{own}"
    );
    Run::of(v.s.command(["umount", "--force"]).arg(m.root())).ok();
    assert!(!is_mounted(m.root()));
    drop(stopped);
    // All data that had reached the process is in the overlay, as after a normal unmount.
    m.up();
    assert_eq!(fs::read(m.at("a")).unwrap(), b"1");
    m.down();
}

#[test]
fn a_mount_in_use_is_detached_by_force_and_served_to_its_users() {
    let Some(v) = volume() else { return };
    let mut m = v.mount(&[]);
    let open = fs::File::open(m.at("a")).unwrap();
    m.down_with(&[]).code(11);
    Run::of(v.s.command(["umount", "-f"]).arg(m.root())).ok();
    assert!(!is_mounted(m.root()));
    assert_eq!(std::io::read_to_string(&open).unwrap(), "1");
    // The process still serves the open file, so the overlay is in use.
    m.try_up().code(11);
    drop(open);
    until("its process ends", || m.try_up().code == 0);
}

/// `umount(8)` returns before the mount process has flushed, so the next mount of the same overlay
/// must wait for that process.
#[test]
fn a_mount_waits_for_the_process_whose_mount_is_gone() {
    let Some(v) = volume() else { return };
    let mut m = v.mount(&[]);
    let bytes = noise(7, 30_000_000);
    for round in 0..4 {
        fs::write(m.at(format!("f{round}")), &bytes).unwrap();
        // A program that another test spawns inherits open descriptors until exec, so the mount may
        // be busy for a moment.
        until("it is unmounted", || {
            unmount(m.root(), UnmountFlags::empty()).is_ok()
        });
        m.up();
    }
    for round in 0..4 {
        assert!(
            fs::read(m.at(format!("f{round}"))).unwrap() == bytes,
            "{round}"
        );
    }
}

#[test]
fn another_users_mount_is_reported_as_such() {
    let Some(v) = volume() else { return };
    if !needs::root_to("act as other users") {
        return;
    }
    let m = v.mount(&["--allow-other"]);
    let dvc = env!("CARGO_BIN_EXE_dvc");
    if !as_user(1001, m.root(), &format!("test -x {dvc}")).0 {
        return needs::skip(&format!("other users cannot run {dvc}"));
    }
    let as_other = |verb: &str| {
        as_user(
            1001,
            m.root(),
            &format!("HOME=/nonexistent {dvc} {verb}; echo \"code $?\""),
        )
    };
    let at = m.root().display();
    for verb in ["-C \"$DIR\" status", "umount \"$DIR\""] {
        let (_, said) = as_other(verb);
        assert!(
            said.contains(&format!("the mount at `{at}`: it was mounted by user 0"))
                && said.contains("code 12"),
            "{verb}: {said}"
        );
    }
    let (_, listed) = as_other("mount");
    assert!(
        listed.contains(&format!("{at}: mounted by user 0")),
        "{listed}"
    );
    assert!(is_mounted(m.root()));
}

/// The runtime directory is not that of the mount, as when root unmounts a user's mount. The
/// control socket is not found, so only the kernel's interface works.
#[test]
fn a_mount_of_an_unknown_process_is_unmounted() {
    let Some(v) = volume() else { return };
    let mut m = v.mount(&[]);
    fs::write(m.at("b"), "2").unwrap();
    let elsewhere =
        |args: &[&OsStr]| Run::of(v.s.command(args).env("DVC_RUN_DIR", v.s.at("elsewhere")));
    let (at, c) = (m.root().as_os_str(), OsStr::new("-C"));
    elsewhere(&[c, at, OsStr::new("status")])
        .code(11)
        .complains("its daemon cannot be found");
    elsewhere(&[OsStr::new("umount"), OsStr::new("--discard"), at]).code(11);
    elsewhere(&[OsStr::new("umount"), at]).ok();
    assert!(!is_mounted(m.root()));
    m.up();
    assert_eq!(fs::read(m.at("b")).unwrap(), b"2");
}

/// Returns the number of voluntary context switches of all threads of a process.
fn waits(pid: u64) -> u64 {
    let mut all = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task")).unwrap() {
        let status = fs::read_to_string(task.unwrap().path().join("status")).unwrap_or_default();
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        all += line.map_or(0, |n| n.trim().parse::<u64>().unwrap());
    }
    all
}

/// An idle mount sleeps, but only after it has written all data to disk.
#[test]
fn an_idle_mount_does_not_wake_up() {
    let Some(v) = volume() else { return };
    let mut m = v.mount(&[]);
    fs::write(m.at("b"), "2").unwrap();
    let pid = m.stats()["pid"].as_u64().unwrap();
    // Once two samples are equal, everything is flushed.
    let since = Instant::now();
    let mut before = waits(pid);
    loop {
        std::thread::sleep(Duration::from_secs(6));
        let now = waits(pid);
        if now == before {
            break;
        }
        assert!(
            since.elapsed() < Duration::from_secs(60),
            "it wakes up again and again: {before}, {now}"
        );
        before = now;
    }
    m.kill();
    let _ = unmount(m.root(), UnmountFlags::DETACH);
    m.up();
    assert_eq!(fs::read(m.at("b")).unwrap(), b"2");
}

#[test]
fn a_repository_is_not_created_inside_a_mount() {
    let Some(v) = volume() else { return };
    let m = v.mount(&[]);
    fs::create_dir(m.at("project")).unwrap();
    let project = m.at("project").display().to_string();
    for args in [
        &["init", "-b", "inner"][..],
        &["init", "sub"],
        &["clone", v.s.at("r").to_str().unwrap(), "copy"],
    ] {
        let run = v.s.dvc([&["-C", &project], args].concat());
        run.code(2).complains(&format!(
            "is inside the dvc mount at `{}`",
            m.root().display()
        ));
    }
    assert_eq!(fs::read_dir(m.at("project")).unwrap().count(), 0);
}

#[test]
fn a_url_without_a_version_means_the_default_branch() {
    let Some((s3, v)) = Volume::lazy(|w| fs::write(w.join("a"), "1").unwrap()) else {
        return;
    };
    let repo = v.s.at("r").canonicalize().unwrap();
    fs::create_dir(v.s.at("m")).unwrap();
    let at = v.s.at("m").display().to_string();
    for url in [
        s3.url("p"),
        format!("file://{}", repo.display()),
        repo.display().to_string(),
    ] {
        let told = v.s.dvc(["mount", "--json", &url, &at]).ok().json();
        let seen = fs::read(v.s.at("m/a"));
        v.s.dvc(["umount", "--discard", &at]).ok();
        assert_eq!(
            (told["revision"].as_str(), seen.unwrap()),
            (Some("main"), b"1".to_vec()),
            "{url}"
        );
    }
}
