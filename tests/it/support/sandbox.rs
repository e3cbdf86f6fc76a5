//! A temporary directory with its own home, in which the real `dvc` runs with a clean environment.
//!
//! In: arguments. Out: [`Run`], whose assertions print the complete output when they fail.

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use dvc::sys::mountinfo::MountTable;
use rustix::mount::{UnmountFlags, unmount};

use super::needs::{is_root, need};

/// The directory. Dropping the sandbox detaches all mounts below it and removes it, unless
/// `DVC_TEST_KEEP=1` is set.
pub struct Sandbox {
    dir: tempfile::TempDir,
    env: Vec<(String, String)>,
}

/// The result of a run of `dvc`.
pub struct Run {
    /// The command line, for error messages.
    pub line: String,
    /// Exit code; 128 + N if signal N ended the process.
    pub code: i32,
    /// Standard output as text.
    pub out: String,
    /// Standard error as text.
    pub err: String,
    /// Standard output as bytes.
    pub bytes: Vec<u8>,
}

/// Returns all paths below a directory, including the directory itself. Does not follow symlinks.
pub fn all_below(dir: &Path) -> Vec<PathBuf> {
    let mut all = vec![dir.to_path_buf()];
    let mut at = 0;
    while at < all.len() {
        if all[at].symlink_metadata().unwrap().is_dir() {
            let entries = fs::read_dir(&all[at]).unwrap();
            all.extend(entries.map(|e| e.unwrap().path()));
        }
        at += 1;
    }
    all
}

impl Sandbox {
    /// Creates an empty sandbox. Commands run in its directory `w/`, the worktree.
    pub fn new() -> Self {
        let mut dir = tempfile::Builder::new()
            .prefix("dvc-it-")
            .tempdir()
            .unwrap();
        dir.disable_cleanup(std::env::var_os("DVC_TEST_KEEP").is_some());
        fs::create_dir(dir.path().join("home")).unwrap();
        fs::create_dir(dir.path().join("w")).unwrap();
        Self {
            dir,
            env: Vec::new(),
        }
    }

    /// Creates a sandbox whose `w/` contains a new repository.
    pub fn with_repo() -> Self {
        let s = Self::new();
        s.dvc(["init"]).ok();
        s
    }

    /// Sets an environment variable for all later runs.
    pub fn set(&mut self, name: &str, value: &str) -> &mut Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Returns the root of the sandbox.
    pub fn root(&self) -> &Path {
        self.dir.path()
    }

    /// Returns a path in the sandbox.
    pub fn at(&self, name: impl AsRef<Path>) -> PathBuf {
        self.root().join(name)
    }

    /// Returns a path in the worktree.
    pub fn w(&self, name: impl AsRef<Path>) -> PathBuf {
        self.root().join("w").join(name)
    }

    /// Writes a file in the worktree, and creates its parent directories.
    pub fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.w(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// Reads a file in the worktree.
    pub fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.w(name)).unwrap()
    }

    /// Returns a command that runs `dvc` in `w/`.
    pub fn command<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(&self, args: I) -> Command {
        let mut c = self.other(env!("CARGO_BIN_EXE_dvc"));
        c.args(args);
        c
    }

    /// Returns a command that runs another program in `w/` with the same clean environment.
    pub fn other(&self, program: impl AsRef<OsStr>) -> Command {
        let mut c = Command::new(program);
        c.current_dir(self.at("w")).env_clear().stdin(Stdio::null());
        let bin = Path::new(env!("CARGO_BIN_EXE_dvc")).parent().unwrap();
        let path = std::env::var("PATH").unwrap_or_default();
        c.env("PATH", format!("{}:{path}", bin.display()));
        c.env("HOME", self.at("home")).env("TMPDIR", self.root());
        for (name, sub) in [
            ("XDG_CONFIG_HOME", "config"),
            ("XDG_CACHE_HOME", "cache"),
            ("XDG_STATE_HOME", "state"),
            ("XDG_DATA_HOME", "share"),
            ("XDG_RUNTIME_DIR", "run"),
        ] {
            c.env(name, self.at("home").join(sub));
        }
        c.env("LC_ALL", "C.UTF-8").env("TZ", "UTC");
        // Tests must never use the Docker engine of the host.
        c.env(
            "DOCKER_HOST",
            format!("unix://{}", self.at("no-engine.sock").display()),
        );
        c.envs(self.env.iter().map(|(k, v)| (k, v)));
        c
    }

    /// Runs `dvc` in `w/`.
    pub fn dvc<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(&self, args: I) -> Run {
        Run::of(&mut self.command(args))
    }

    /// Runs `dvc` without the capability of root to ignore file modes.
    pub fn kept_out<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(&self, args: I) -> Run {
        if !is_root() {
            return self.dvc(args);
        }
        let mut setpriv = self.other(need("setpriv"));
        setpriv.args([
            "--bounding-set=-dac_override,-dac_read_search",
            env!("CARGO_BIN_EXE_dvc"),
        ]);
        Run::of(setpriv.args(args))
    }

    /// Runs `dvc` with standard input.
    pub fn dvc_with<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(
        &self,
        args: I,
        input: &[u8],
    ) -> Run {
        let mut c = self.command(args);
        let line = format!("{c:?}");
        let mut child = c
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_vec();
        let feeder = std::thread::spawn(move || {
            // The program may exit without reading all of its input.
            let _ = stdin.write_all(&input);
        });
        let run = Run::wait(line, child);
        feeder.join().unwrap();
        run
    }

    /// Runs a shell script in `w/` with `dvc` on its `PATH`.
    pub fn sh(&self, script: &str) -> Run {
        Run::of(self.other("bash").args(["-euo", "pipefail", "-c", script]))
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // A failed test may leave a mount, whose process would never exit.
        let Ok(table) = MountTable::read() else {
            return;
        };
        for mount in table
            .iter()
            .rev()
            .filter(|mount| mount.at.starts_with(self.root()))
        {
            if is_root() {
                let _ = unmount(&mount.at, UnmountFlags::DETACH);
            } else {
                let _ = Command::new("fusermount3")
                    .arg("-uz")
                    .arg(&mount.at)
                    .status();
            }
        }
    }
}

impl Run {
    /// Runs a command and waits until it exits.
    pub fn of(c: &mut Command) -> Self {
        let line = c
            .get_args()
            .map(|a| a.to_string_lossy().into_owned())
            .collect::<Vec<_>>()
            .join(" ");
        Self::wait(
            line,
            c.stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap(),
        )
    }

    /// Waits for a child whose output is piped.
    pub fn wait(line: String, child: Child) -> Self {
        use std::os::unix::process::ExitStatusExt;
        let out = child.wait_with_output().unwrap();
        let code = out
            .status
            .code()
            .unwrap_or_else(|| 128 + out.status.signal().unwrap());
        let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
        let run = Self {
            line,
            code,
            out: text(&out.stdout),
            err: text(&out.stderr),
            bytes: out.stdout,
        };
        assert!(!run.err.contains("panicked at"), "{}", run.shown());
        run
    }

    fn shown(&self) -> String {
        format!(
            "$ dvc {}\n[exit code {}]\n-- stdout\n{}-- stderr\n{}",
            self.line, self.code, self.out, self.err
        )
    }

    /// Asserts exit code 0.
    #[track_caller]
    pub fn ok(self) -> Self {
        self.code(0)
    }

    /// Asserts an exit code.
    #[track_caller]
    pub fn code(self, code: i32) -> Self {
        assert_eq!(self.code, code, "\n{}", self.shown());
        self
    }

    /// Asserts that standard output contains `part`.
    #[track_caller]
    pub fn says(self, part: &str) -> Self {
        assert!(self.out.contains(part), "no `{part}` in\n{}", self.shown());
        self
    }

    /// Asserts that standard error contains `part`.
    #[track_caller]
    pub fn complains(self, part: &str) -> Self {
        assert!(self.err.contains(part), "no `{part}` in\n{}", self.shown());
        self
    }

    /// Parses standard output as one JSON value.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e}\n{}", self.shown()))
    }

    /// Parses standard output as one JSON value per line.
    #[track_caller]
    pub fn json_lines(&self) -> Vec<serde_json::Value> {
        let parse = |l| serde_json::from_str(l).unwrap_or_else(|e| panic!("{e}\n{}", self.shown()));
        self.out.lines().map(parse).collect()
    }

    /// Returns the lines of standard output.
    pub fn lines(&self) -> Vec<&str> {
        self.out.lines().collect()
    }
}

#[cfg(test)]
mod tests {
    use dvc::sys::mountinfo::MountTable;

    use super::super::needs::{root_to, run};
    use super::{Sandbox, fs};

    #[test]
    fn a_dropped_sandbox_detaches_mounts_below_it() {
        if !root_to("mount a file system") {
            return;
        }
        let s = Sandbox::new();
        let (root, outer) = (s.root().to_owned(), s.at("outer"));
        for dir in [&outer, &outer.join("in ner")] {
            fs::create_dir(dir).unwrap();
            run("mount", &["-t", "tmpfs", "none", dir.to_str().unwrap()]);
        }
        drop(s);
        assert!(
            !MountTable::read()
                .unwrap()
                .iter()
                .any(|mount| mount.at.starts_with(&root))
        );
    }
}
