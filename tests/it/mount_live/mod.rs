//! Mounts in use: databases that are committed while they run, every failure that can occur below
//! them, and the path from one machine to another.
//!
//! Dropping a [`Mount`] detaches it and kills its process by id, even if the test fails.

mod databases;
mod failures;
mod live;
mod readme;
mod remote;
mod walk;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::databases::engine::{Engine, Running};
use crate::support::needs;
use crate::support::sandbox::{Run, Sandbox};
use crate::support::servers::program::is_alive;

/// Time limit for a condition. It is generous, because these tests do not measure speed.
const PATIENCE: Duration = Duration::from_secs(60);

/// Returns whether this machine can mount. Skips the test otherwise.
fn possible() -> bool {
    let opened = std::fs::File::options()
        .read(true)
        .write(true)
        .open("/dev/fuse");
    let why = match opened {
        Err(e) => format!("`/dev/fuse` cannot be used: {e}"),
        Ok(_) if needs::is_root() || needs::find("fusermount3").is_some() => return true,
        Ok(_) => "`fusermount3` is not installed".to_owned(),
    };
    needs::skip_or_fail(&why);
    false
}

/// Like [`possible`], but requires root as well, for tests with small file systems or other users.
fn possible_as_root() -> bool {
    needs::root_to("use small file systems and other users") && possible()
}

/// Waits until a condition holds.
#[track_caller]
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < end, "timed out: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// A mount and its process; dropping it detaches the mount and kills the process.
struct Mount<'s> {
    s: &'s Sandbox,
    at: PathBuf,
    pid: Pid,
}

/// Runs `dvc [globals] mount --json ARGS... DIR`, where DIR is the directory `name` of the sandbox.
fn try_mount(s: &Sandbox, globals: &[&str], args: &[&str], name: &str) -> Run {
    let at = s.at(name);
    if std::fs::symlink_metadata(&at).is_err_and(|e| e.kind() == std::io::ErrorKind::NotFound) {
        std::fs::create_dir(&at).unwrap();
    }
    Run::of(
        s.command(globals)
            .args(["mount", "--json"])
            .args(args)
            .arg(&at),
    )
}

impl<'s> Mount<'s> {
    /// Mounts at the directory `name` of the sandbox.
    #[track_caller]
    fn new(s: &'s Sandbox, globals: &[&str], args: &[&str], name: &str) -> Self {
        Self::of(s, name, &try_mount(s, globals, args, name).ok())
    }

    /// Returns the mount that a run of `dvc mount` has created.
    #[track_caller]
    fn of(s: &'s Sandbox, name: &str, run: &Run) -> Self {
        let pid = run.json()["pid"]
            .as_i64()
            .and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?))
            .unwrap();
        Self {
            s,
            at: s.at(name),
            pid,
        }
    }

    /// Returns a path in the mount.
    fn join(&self, name: &str) -> PathBuf {
        self.at.join(name)
    }

    /// Runs `dvc` with the mount as its current directory.
    fn dvc(&self, args: &[&str]) -> Run {
        Run::of(self.s.command(["-C"]).arg(&self.at).args(args))
    }

    /// Runs `dvc umount` with additional arguments.
    fn try_umount(&self, more: &[&str]) -> Run {
        Run::of(self.s.command(["umount"]).args(more).arg(&self.at))
    }

    /// Unmounts, and waits until the process has exited.
    #[track_caller]
    fn umount(self) {
        self.try_umount(&[]).ok();
        self.has_ended();
    }

    /// Kills the process; the dead mount stays.
    fn kill(&self) {
        kill_process(self.pid, Signal::KILL).unwrap();
        self.has_ended();
    }

    #[track_caller]
    fn has_ended(&self) {
        until("the process of the mount ends", || !threads_live(self.pid));
    }

    /// Returns a counter of the mount process, such as `fetched_bytes`.
    #[track_caller]
    fn counted(&self, what: &str) -> u64 {
        let told = Run::of(self.s.command(["mount", "--json", "--stats"]).arg(&self.at))
            .ok()
            .json();
        told["stats"][what]
            .as_u64()
            .unwrap_or_else(|| panic!("no `{what}` in {told}"))
    }
}

/// Returns whether any thread of a process runs. The first thread may exit before other threads,
/// which still serve the mount.
fn threads_live(pid: Pid) -> bool {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", pid.as_raw_nonzero()))
        .into_iter()
        .flatten()
        .flatten();
    tasks
        .filter_map(|task| Pid::from_raw(task.file_name().to_str()?.parse().ok()?))
        .any(is_alive)
}

impl Drop for Mount<'_> {
    fn drop(&mut self) {
        detach(&self.at);
        let _ = kill_process(self.pid, Signal::KILL);
    }
}

/// Detaches a mount without asking its process.
fn detach(at: &Path) {
    while std::fs::read_to_string("/proc/self/mountinfo")
        .unwrap()
        .contains(&format!(" {} ", at.display()))
    {
        let done = match needs::is_root() {
            true => rustix::mount::unmount(at, rustix::mount::UnmountFlags::DETACH).is_ok(),
            false => Command::new("fusermount3")
                .arg("-uz")
                .arg(at)
                .status()
                .is_ok_and(|s| s.success()),
        };
        if !done {
            return;
        }
    }
}

/// Creates a sandbox with a repository `r`. Version 1 of branch `db` is a stopped database with the
/// data directory `w/data`.
fn with_database(engine: Engine) -> Sandbox {
    let s = Sandbox::new();
    open_way(&s);
    engine.install(&s.w("data"), &s.at("s0"));
    s.dvc(["init", "--repo", &r(&s), "-b", "db"]).ok();
    s.dvc([
        "--repo",
        &r(&s),
        "-C",
        "data",
        "commit",
        "-b",
        "db",
        "-m",
        "at rest",
    ])
    .ok();
    s
}

/// Makes the sandbox accessible to the users that database servers run as.
fn open_way(s: &Sandbox) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(s.root(), std::fs::Permissions::from_mode(0o711)).unwrap();
}

/// Returns the path of the sandbox's repository.
fn r(s: &Sandbox) -> String {
    s.at("r").display().to_string()
}

/// Mounts a version of a database at `name`.
#[track_caller]
fn mount_database<'s>(s: &'s Sandbox, engine: Engine, args: &[&str], name: &str) -> Mount<'s> {
    let other = engine.is_other_user().then_some("--allow-other");
    let args: Vec<&str> = args.iter().copied().chain(other).collect();
    Mount::new(s, &["--repo", &r(s)], &args, name)
}

/// Starts the database server on a mount.
fn run_on(engine: Engine, mount: &Mount<'_>) -> Running {
    let name = format!("s-{}", mount.at.file_name().unwrap().to_str().unwrap());
    engine.start(&mount.at, &mount.s.at(name))
}
