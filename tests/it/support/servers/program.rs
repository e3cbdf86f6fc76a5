//! A server as a separate program: started on a free loopback port, ready once it answers, and
//! killed together with all processes that it has started.
//!
//! The server also ends together with the thread that has started it, so that an aborted test run
//! leaves no process behind. Its output is in `out.log` and `err.log` in its directory.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};

use super::super::needs;

/// Time limit for a server to become ready.
const PATIENCE: Duration = Duration::from_secs(30);
/// Number of attempts to start a server, because another program may take the port first.
const ATTEMPTS: usize = 3;

type Start = Box<dyn Fn(u16) -> Command + Send + Sync>;
type Ready = Box<dyn Fn(u16) -> bool + Send + Sync>;

/// A running server and its directory.
pub struct Program {
    name: &'static str,
    port: u16,
    dir: tempfile::TempDir,
    start: Start,
    ready: Ready,
    child: Option<Child>,
}

/// Creates a directory for a server; `DVC_TEST_KEEP=1` keeps it.
pub fn directory(name: &str) -> tempfile::TempDir {
    let mut dir = tempfile::Builder::new()
        .prefix(&format!("dvc-{name}-"))
        .tempdir()
        .unwrap();
    dir.disable_cleanup(std::env::var_os("DVC_TEST_KEEP").is_some());
    dir
}

/// Returns a port that is free now. The port is below the range of ephemeral ports.
pub fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = u16::try_from(std::process::id() % 1100).unwrap() * 10;
    loop {
        let port = 20_000 + (first + NEXT.fetch_add(1, Ordering::Relaxed)) % 12_000;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

/// Returns whether a process listens on the port.
pub fn listens(port: u16) -> bool {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// Returns a command that is killed when the thread that starts it exits.
pub fn command(program: &Path) -> Command {
    let mut c = Command::new(needs::need("setpriv"));
    c.args(["--pdeathsig", "KILL"]).arg(program);
    c
}

impl Program {
    /// Starts a server and waits until `ready` returns true. `start` returns the command for a
    /// port.
    pub fn start(
        name: &'static str,
        dir: tempfile::TempDir,
        start: impl Fn(u16) -> Command + Send + Sync + 'static,
        ready: impl Fn(u16) -> bool + Send + Sync + 'static,
    ) -> Self {
        let (start, ready) = (Box::new(start), Box::new(ready));
        let mut program = Self {
            name,
            port: 0,
            dir,
            start,
            ready,
            child: None,
        };
        for attempt in 1..=ATTEMPTS {
            program.port = free_port();
            match program.try_start() {
                Ok(()) => break,
                Err(e) => assert!(attempt < ATTEMPTS, "{e}"),
            }
        }
        program
    }

    fn try_start(&mut self) -> Result<(), String> {
        let log = |name: &str| {
            File::options()
                .append(true)
                .create(true)
                .open(self.dir.path().join(name))
                .unwrap()
        };
        let mut c = (self.start)(self.port);
        c.stdin(Stdio::null())
            .stdout(log("out.log"))
            .stderr(log("err.log"))
            .process_group(0);
        self.child = Some(
            c.spawn()
                .unwrap_or_else(|e| panic!("cannot start {}: {e}", self.name)),
        );
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            if let Some(status) = self.child.as_mut().unwrap().try_wait().unwrap() {
                self.child = None;
                return Err(format!(
                    "{} ended with {status} before it answered\n{}",
                    self.name,
                    self.logs()
                ));
            }
            if (self.ready)(self.port) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        self.kill();
        Err(format!(
            "{} did not answer within {} s\n{}",
            self.name,
            PATIENCE.as_secs(),
            self.logs()
        ))
    }

    /// Returns the port.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Returns the server's directory.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Returns a path in the server's directory.
    pub fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Returns the complete output, for error messages.
    pub fn logs(&self) -> String {
        ["out.log", "err.log"]
            .map(|f| {
                format!(
                    "-- {f}\n{}",
                    fs::read_to_string(self.at(f)).unwrap_or_default()
                )
            })
            .concat()
    }

    /// Returns the ids of the server's processes, including descendants.
    pub fn processes(&self) -> Vec<Pid> {
        self.child
            .as_ref()
            .map(|c| with_descendants(Pid::from_child(c)))
            .unwrap_or_default()
    }

    /// Asks the server to exit, waits for a few seconds, and then kills it.
    pub fn stop(&mut self) {
        if let Some(child) = &mut self.child {
            // The server may have exited already.
            let _ = kill_process(Pid::from_child(child), Signal::TERM);
            let end = Instant::now() + Duration::from_secs(5);
            while Instant::now() < end && child.try_wait().unwrap().is_none() {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        self.kill();
    }

    /// Kills the server and all processes that it has started.
    pub fn kill(&mut self) {
        let Some(mut child) = self.child.take() else {
            return;
        };
        // Sessions of sshd leave the process group, so list the descendants before the kill.
        let all = with_descendants(Pid::from_child(&child));
        let _ = kill_process_group(Pid::from_child(&child), Signal::KILL);
        for pid in all {
            let _ = kill_process(pid, Signal::KILL);
        }
        let _ = child.wait();
    }

    /// Restarts the server on the same port, after killing it if it runs.
    pub fn start_again(&mut self) {
        self.kill();
        self.try_start().unwrap_or_else(|e| panic!("{e}"));
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Returns the state letter and the parent process id of a process.
fn state(pid: i32) -> io::Result<(char, i32)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The program name in parentheses may contain spaces.
    let mut rest = text
        .rsplit_once(") ")
        .map_or("", |(_, rest)| rest)
        .split(' ');
    let letter = rest.next().and_then(|s| s.chars().next()).unwrap_or('X');
    Ok((
        letter,
        rest.next().and_then(|p| p.parse().ok()).unwrap_or(0),
    ))
}

/// Returns whether a process runs. A zombie does not count.
pub fn is_alive(pid: Pid) -> bool {
    state(pid.as_raw_nonzero().get()).is_ok_and(|(letter, _)| !matches!(letter, 'Z' | 'X'))
}

/// Returns a process and its current descendants.
pub fn with_descendants(pid: Pid) -> Vec<Pid> {
    let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(id) = entry.file_name().to_str().and_then(|n| n.parse().ok()) else {
            continue;
        };
        if let Ok((_, parent)) = state(id) {
            children.entry(parent).or_default().push(id);
        }
    }
    let mut found = vec![pid.as_raw_nonzero().get()];
    let mut at = 0;
    while at < found.len() {
        found.extend(children.get(&found[at]).into_iter().flatten());
        at += 1;
    }
    found.into_iter().filter_map(Pid::from_raw).collect()
}
