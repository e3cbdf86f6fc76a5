//! A PostgreSQL server on a data directory. The server refuses to run as root, so tests of root run
//! it as `nobody`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use super::super::needs::{is_root, need};
use super::super::servers::program::{is_alive, with_descendants};

/// Id of user and group `nobody`.
const NOBODY: u32 = 65534;

/// A running server; killed when dropped.
pub struct Postgres {
    child: Child,
    dir: PathBuf,
}

/// Returns the path of a program, of the newest PostgreSQL version that Debian packages have
/// installed.
fn find(name: &str) -> PathBuf {
    let versions = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten()
        .map(|e| e.path());
    let mut found: Vec<PathBuf> = versions
        .map(|dir| dir.join("bin").join(name))
        .filter(|p| p.is_file())
        .collect();
    found.sort_by_key(|p| {
        p.components()
            .nth(4)
            .and_then(|v| v.as_os_str().to_str()?.parse::<u32>().ok())
    });
    found
        .pop()
        .unwrap_or_else(|| panic!("`{name}` of PostgreSQL is not installed; run tests/setup.sh"))
}

/// Returns a command that runs a PostgreSQL program as the user that owns the data.
fn command(name: &str) -> Command {
    let program = find(name);
    let mut c = if is_root() {
        let mut c = Command::new(need("setpriv"));
        let id = NOBODY.to_string();
        c.args([
            &format!("--reuid={id}"),
            &format!("--regid={id}"),
            "--clear-groups",
            "--",
        ])
        .arg(program);
        c
    } else {
        Command::new(program)
    };
    c.current_dir("/")
        .stdin(Stdio::null())
        .env("LC_ALL", "C.UTF-8")
        .env("HOME", "/");
    c
}

#[track_caller]
fn done(c: &mut Command) -> String {
    let out = c.output().unwrap();
    assert!(out.status.success(), "{c:?}: {}", both(&out));
    String::from_utf8_lossy(&out.stdout).trim().to_owned()
}

fn both(out: &Output) -> String {
    format!(
        "{}{}",
        String::from_utf8_lossy(&out.stdout),
        String::from_utf8_lossy(&out.stderr)
    )
}

/// Creates a directory that belongs to the server's user. That user needs access to the parent
/// directories.
fn private(dir: &Path) {
    fs::create_dir(dir).unwrap();
    fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).unwrap();
    if is_root() {
        std::os::unix::fs::chown(dir, Some(NOBODY), Some(NOBODY)).unwrap();
    }
}

/// Creates an empty data directory with checksums.
pub fn install(data: &Path) {
    private(data);
    let mut c = command("initdb");
    c.args([
        "--data-checksums",
        "--auth=trust",
        "--username=postgres",
        "--locale=C.UTF-8",
        "-D",
    ])
    .arg(data);
    done(&mut c);
}

/// Asserts that all page checksums in the data directory of a stopped server are correct.
#[track_caller]
pub fn checksums(data: &Path) {
    let said = done(command("pg_checksums").arg("--check").arg("-D").arg(data));
    assert!(said.contains("Bad checksums:  0"), "{said}");
}

impl Postgres {
    /// Starts a server with its socket and log in `dir`, which is created if it is missing, and
    /// waits until it accepts connections.
    pub fn start(data: &Path, dir: PathBuf) -> Self {
        if !dir.exists() {
            private(&dir);
        }
        let log = fs::File::create(dir.join("log")).unwrap();
        let mut c = command("postgres");
        c.arg("-D")
            .arg(data)
            .args(["-c", "listen_addresses=", "-c", "shared_buffers=32MB", "-c"]);
        c.arg(format!("unix_socket_directories={}", dir.display()))
            .stdout(Stdio::null())
            .stderr(log);
        let mut server = Self {
            child: c.spawn().unwrap(),
            dir,
        };
        let until = Instant::now() + Duration::from_secs(120);
        while server.run("select 1").is_err() {
            assert!(
                server.child.try_wait().unwrap().is_none(),
                "the server ended: {}",
                server.log()
            );
            assert!(
                Instant::now() < until,
                "the server does not answer: {}",
                server.log()
            );
            std::thread::sleep(Duration::from_millis(50));
        }
        server
    }

    /// Returns the server's log.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.join("log")).unwrap_or_default()
    }

    /// Returns the command of a client program, connected to this server.
    pub fn client(&self, name: &str) -> Command {
        let mut c = command(name);
        c.args(["-U", "postgres", "-h"]).arg(&self.dir);
        c
    }

    /// Returns a client command that reads statements from its input and prints each result
    /// immediately.
    pub fn sql_client(&self) -> Command {
        let mut c = self.client("psql");
        c.args([
            "-X",
            "-q",
            "-t",
            "-A",
            "-v",
            "ON_ERROR_STOP=1",
            "-d",
            "postgres",
        ]);
        c
    }

    /// Runs statements. Returns their output, or the error message.
    pub fn run(&self, sql: &str) -> Result<String, String> {
        let out = self.sql_client().args(["-c", sql]).output().unwrap();
        let text = String::from_utf8_lossy(&out.stdout).trim().to_owned();
        if out.status.success() {
            Ok(text)
        } else {
            Err(both(&out))
        }
    }

    /// Runs statements that must succeed. Returns their output.
    #[track_caller]
    pub fn sql(&self, sql: &str) -> String {
        self.run(sql)
            .unwrap_or_else(|e| panic!("{sql}: {e}\n{}", self.log()))
    }

    /// Runs `pgbench`, which must succeed. Returns the output.
    #[track_caller]
    pub fn bench(&self, args: &[&str]) -> String {
        done(self.client("pgbench").args(args).arg("postgres"))
    }

    /// Asserts that the server's own check of all tables and indexes reports no error.
    #[track_caller]
    pub fn check(&self) {
        let mut c = self.client("pg_amcheck");
        let out = c
            .args(["--all", "--install-missing", "--heapallindexed"])
            .output()
            .unwrap();
        assert!(
            out.status.success() && out.stdout.is_empty(),
            "{}\n{}",
            both(&out),
            self.log()
        );
    }

    /// Stops the server cleanly.
    pub fn stop(mut self) {
        kill_process(Pid::from_child(&self.child), Signal::INT).unwrap();
        assert!(self.child.wait().unwrap().success(), "{}", self.log());
    }

    /// Kills the server and all its processes, as a power failure would.
    pub fn kill(self) {
        drop(self);
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_some()) {
            return;
        }
        let all = with_descendants(Pid::from_child(&self.child));
        for pid in &all {
            let _ = kill_process(*pid, Signal::KILL);
        }
        let _ = self.child.wait();
        // Wait for all processes, because the next server fails to start while the shared memory is
        // in use.
        while all.iter().any(|pid| is_alive(*pid)) {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
