//! A repository that contains one committed directory, and mounts of it that are removed after the
//! test.
//!
//! Set `DVC_TEST_MOUNT` to options for all mounts, such as `--hydrate all --wait-hydrated`, to run
//! the tests in a different mode.
//!
//! The tests mount with the real `dvc` binary. Dropping a [`Mount`] unmounts it with `dvc umount`;
//! if that fails, the mount is detached and its process is killed.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::fs::{Advice, fadvise};
use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{Pid, Signal, kill_process};

use crate::support::facts::{Compare, differences};
use crate::support::needs;
use crate::support::sandbox::{Run, Sandbox};
use crate::support::servers::s3::{S3, Switches};

/// Options that select passthrough mode.
pub const PASSTHROUGH: &[&str] = &["--hydrate", "all", "--wait-hydrated"];

/// Time limit for the exit of a mount process.
const GONE: Duration = Duration::from_secs(60);

/// A sandbox with a directory `w/` and, next to it, a repository `r/` with the branch `main`.
pub struct Volume {
    pub s: Sandbox,
}

/// A mount of a [`Volume`].
pub struct Mount<'v> {
    volume: &'v Volume,
    at: PathBuf,
    revision: String,
    args: Vec<String>,
    pid: Option<u32>,
}

impl Volume {
    /// Creates a repository without a version. Returns `None` if mounting is impossible.
    pub fn empty() -> Option<Self> {
        if !needs::fuse() {
            return None;
        }
        let mut s = Sandbox::new();
        s.set("DVC_AUTHOR", "Ann <ann@example.org>");
        // Other users need access to the directory.
        fs::set_permissions(s.root(), PermissionsExt::from_mode(0o755)).unwrap();
        s.dvc(["init", "--repo", "../r", "-b", "main"]).ok();
        Some(Self { s })
    }

    /// Creates a repository with one version, which contains what `fill` creates in `w/`. Returns
    /// `None` if mounting is impossible.
    pub fn of(fill: impl FnOnce(&Path)) -> Option<Self> {
        let volume = Self::empty()?;
        fill(&volume.s.at("w"));
        volume.commit("first");
        Some(volume)
    }

    /// Like [`Self::of`], but the repository is a lazy clone, and all data is in the remote.
    pub fn lazy(fill: impl FnOnce(&Path)) -> Option<(S3, Self)> {
        let mut volume = Self::of(fill)?;
        let s3 = S3::start(Switches::default());
        for (name, value) in s3.env() {
            volume.s.set(name, &value);
        }
        volume.dvc(&["remote", "add", "origin", &s3.url("p")]).ok();
        volume.dvc(&["push"]).ok();
        fs::remove_dir_all(volume.s.at("r")).unwrap();
        volume
            .s
            .dvc(["clone", "--lazy", &s3.url("p"), "../lazy"])
            .ok();
        fs::rename(volume.s.at("lazy/.dvcs"), volume.s.at("r")).unwrap();
        Some((s3, volume))
    }

    /// Runs `dvc` on the repository.
    pub fn dvc<S: AsRef<OsStr>>(&self, args: &[S]) -> Run {
        Run::of(&mut self.command(args))
    }

    fn command<S: AsRef<OsStr>>(&self, args: &[S]) -> Command {
        let mut command = self.s.command(["--repo", "../r"]);
        command.args(args);
        command
    }

    /// Commits `w/` to `main`. Returns the id of the tree.
    pub fn commit(&self, message: &str) -> String {
        self.commit_dir("w", "main", message)
    }

    /// Commits a directory of the sandbox to a branch. Returns the id of the tree.
    pub fn commit_dir(&self, dir: &str, branch: &str, message: &str) -> String {
        let dir = format!("../{dir}");
        let run = self.dvc(&[
            "-C",
            &dir,
            "--json",
            "commit",
            "-b",
            branch,
            "-m",
            message,
            "--allow-empty",
        ]);
        tree_of(&run.code(0))
    }

    /// Checks out a version into a new directory of the sandbox.
    pub fn checkout(&self, revision: &str, into: &str) -> PathBuf {
        self.dvc(&["checkout", revision, "--into", &format!("../{into}")])
            .ok();
        self.s.at(into)
    }

    /// Mounts `main` at `m/`.
    pub fn mount(&self, args: &[&str]) -> Mount<'_> {
        self.mount_at("m", "main", args)
    }

    /// Mounts a version at a directory of the sandbox; creates the directory if it is missing.
    pub fn mount_at(&self, dir: &str, revision: &str, args: &[&str]) -> Mount<'_> {
        let at = self.s.at(dir);
        fs::create_dir_all(&at).unwrap();
        let more = std::env::var("DVC_TEST_MOUNT").unwrap_or_default();
        let args = args
            .iter()
            .copied()
            .chain(more.split_whitespace())
            .map(str::to_owned)
            .collect();
        let mut mount = Mount {
            volume: self,
            at,
            revision: revision.to_owned(),
            args,
            pid: None,
        };
        mount.up();
        mount
    }
}

/// Returns the id of the tree from the JSON output of a commit.
pub fn tree_of(run: &Run) -> String {
    run.json()["tree"].as_str().unwrap().to_owned()
}

impl Mount<'_> {
    /// Returns a path in the mount.
    pub fn at(&self, name: impl AsRef<Path>) -> PathBuf {
        self.at.join(name)
    }

    /// Returns the mount point.
    pub fn root(&self) -> &Path {
        &self.at
    }

    /// Mounts and returns the result, for tests in which mounting must fail.
    pub fn try_up(&mut self) -> Run {
        let mut args = vec!["--json", "mount", &self.revision, self.at.to_str().unwrap()];
        args.extend(self.args.iter().map(String::as_str));
        let run = self.volume.dvc(&args);
        if run.code == 0 {
            self.pid = Some(u32::try_from(run.json()["pid"].as_u64().unwrap()).unwrap());
        }
        run
    }

    /// Mounts. Panics if mounting fails.
    #[track_caller]
    pub fn up(&mut self) {
        self.try_up().ok();
    }

    /// Sets the version and the options for the next mount.
    pub fn set(&mut self, revision: &str, args: &[&str]) {
        self.revision = revision.to_owned();
        self.args = args.iter().map(|a| (*a).to_owned()).collect();
    }

    /// Unmounts. Panics if unmounting fails.
    #[track_caller]
    pub fn down(&mut self) {
        self.down_with(&[]).ok();
    }

    /// Unmounts with additional options and returns the result.
    pub fn down_with(&mut self, args: &[&str]) -> Run {
        let mut all = vec!["umount", self.at.to_str().unwrap()];
        all.extend(args);
        let run = Run::of(&mut self.volume.s.command(all));
        if run.code == 0 {
            self.wait_gone();
        }
        run
    }

    /// Unmounts and mounts again.
    #[track_caller]
    pub fn again(&mut self) {
        self.down();
        self.up();
    }

    /// Kills the mount process, as a crash would.
    pub fn kill(&mut self) {
        if let Some(pid) = self.pid {
            let _ = kill_process(raw(pid), Signal::KILL);
            self.wait_gone();
        }
    }

    fn wait_gone(&mut self) {
        let Some(pid) = self.pid.take() else { return };
        let since = Instant::now();
        while lives(pid) {
            assert!(since.elapsed() < GONE, "process {pid} does not end");
            sleep(Duration::from_millis(10));
        }
    }

    /// Runs `dvc` with the mount as its current directory.
    pub fn dvc<S: AsRef<OsStr>>(&self, args: &[S]) -> Run {
        let mut command = self.volume.s.command(["-C", self.at.to_str().unwrap()]);
        Run::of(command.args(args))
    }

    /// Returns the JSON object of `dvc mount --stats`.
    #[track_caller]
    pub fn stats(&self) -> serde_json::Value {
        Run::of(
            self.volume
                .s
                .command(["mount", "--json", "--stats"])
                .arg(&self.at),
        )
        .ok()
        .json()
    }

    /// Commits the mount. Returns the id of the tree.
    #[track_caller]
    pub fn commit(&self, message: &str) -> String {
        let run = self.dvc(&["--json", "commit", "-m", message]);
        assert!(
            run.code == 0 || run.code == 3,
            "{} {}\n{}",
            run.code,
            run.out,
            run.err
        );
        tree_of(&run)
    }

    /// Returns the lines of `dvc status --porcelain` without the header.
    pub fn status(&self) -> String {
        self.dvc(&["status", "--porcelain"])
            .ok()
            .lines()
            .into_iter()
            .filter(|l| !l.starts_with('#'))
            .fold(String::new(), |mut all, line| {
                all.push_str(line);
                all.push('\n');
                all
            })
    }
}

impl Drop for Mount<'_> {
    fn drop(&mut self) {
        let Some(pid) = self.pid else {
            // The process was killed, but its mount may still exist.
            let _ = unmount(&self.at, UnmountFlags::DETACH);
            return;
        };
        let done = self
            .volume
            .s
            .command(["umount".as_ref(), self.at.as_os_str()])
            .output();
        if !done.is_ok_and(|out| out.status.success()) {
            let _ = unmount(&self.at, UnmountFlags::DETACH);
            let _ = kill_process(raw(pid), Signal::KILL);
        }
    }
}

fn raw(pid: u32) -> Pid {
    Pid::from_raw(i32::try_from(pid).unwrap()).unwrap()
}

/// Returns whether a process runs. A zombie counts as ended, because its parent may never reap it.
fn lives(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| {
        !stat
            .rsplit(')')
            .next()
            .unwrap_or("")
            .trim_start()
            .starts_with('Z')
    })
}

/// Returns the comparison of mounts with ordinary directories: a writable mount does not report
/// holes.
pub fn loosely() -> Compare {
    Compare {
        holes: false,
        sockets: true,
        ..Compare::default()
    }
}

/// Asserts that a mount is equal to an ordinary directory.
#[track_caller]
pub fn assert_like(plain: &Path, mount: &Path) {
    assert_like_by(plain, mount, &loosely(), "");
}

/// Asserts that a mount is equal to an ordinary directory in the aspects that `how` selects.
#[track_caller]
pub fn assert_like_by(plain: &Path, mount: &Path, how: &Compare, what: &str) {
    let found = differences(plain, mount, how);
    let shown = found
        .iter()
        .take(30)
        .cloned()
        .collect::<Vec<_>>()
        .join("\n");
    assert!(
        found.is_empty(),
        "{what}: {} difference(s) of {}:\n{shown}",
        found.len(),
        mount.display()
    );
}

/// Returns whether a mount uses passthrough. Skips the test otherwise.
pub fn is_passthrough(m: &Mount<'_>) -> bool {
    let is = m.stats()["mode"] == "passthrough";
    if !is {
        needs::skip("the kernel does not use passthrough here");
    }
    is
}

/// Runs a Python script with arguments. Returns its trimmed output.
#[track_caller]
pub fn python(script: &str, args: &[&Path]) -> String {
    let mut all = vec!["-c", script];
    all.extend(args.iter().map(|p| p.to_str().unwrap()));
    needs::run("python3", &all).trim().to_owned()
}

/// Runs a shell script as another user, with `dir` in `$DIR`. Returns whether it succeeded, and its
/// output.
pub fn as_user(uid: u32, dir: &Path, script: &str) -> (bool, String) {
    let out = Command::new(needs::need("setpriv"))
        .args([
            format!("--reuid={uid}"),
            format!("--regid={uid}"),
            "--clear-groups".to_owned(),
        ])
        .args(["sh", "-c", script])
        .env("DIR", dir)
        .output()
        .unwrap();
    (
        out.status.success(),
        String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned(),
    )
}

/// Drops a file from the page cache, so that the kernel requests its bytes again.
pub fn drop_cache(file: &File) {
    file.sync_all().unwrap();
    fadvise(file, 0, None, Advice::DontNeed).unwrap();
}

/// Returns the errno of an operation that must fail.
#[track_caller]
pub fn errno<T>(result: io::Result<T>) -> i32 {
    match result {
        Ok(_) => panic!("it did not fail"),
        Err(e) => e.raw_os_error().unwrap_or_else(|| panic!("{e}")),
    }
}
