//! A server that is a program: started on a free loopback port, awaited until it answers, ended with all it started.
//!
//! It ends with the thread that started it too, so that an aborted test run leaves nothing behind. What it prints is in
//! `out.log` and `err.log` of its directory.

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

/// Nobody waits longer for a server.
const PATIENCE: Duration = Duration::from_secs(30);
/// Another program may take the port between our look and the start.
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

/// A directory for a server; `DVC_TEST_KEEP=1` keeps it for a look.
pub fn directory(name: &str) -> tempfile::TempDir {
    let mut dir = tempfile::Builder::new().prefix(&format!("dvc-{name}-")).tempdir().unwrap();
    dir.disable_cleanup(std::env::var_os("DVC_TEST_KEEP").is_some());
    dir
}

/// A port that is free now. It lies below those that the system gives to outgoing connections.
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

/// Whether somebody listens there.
pub fn listens(port: u16) -> bool {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok()
}

/// A command that ends with the thread that starts it.
pub fn command(program: &Path) -> Command {
    let mut c = Command::new(needs::need("setpriv"));
    c.args(["--pdeathsig", "KILL"]).arg(program);
    c
}

impl Program {
    /// Starts a server, `start` being its command for a port, and waits until it is `ready`.
    pub fn start(
        name: &'static str,
        dir: tempfile::TempDir,
        start: impl Fn(u16) -> Command + Send + Sync + 'static,
        ready: impl Fn(u16) -> bool + Send + Sync + 'static,
    ) -> Self {
        let (start, ready) = (Box::new(start), Box::new(ready));
        let mut program = Self { name, port: 0, dir, start, ready, child: None };
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
        let log = |name: &str| File::options().append(true).create(true).open(self.dir.path().join(name)).unwrap();
        let mut c = (self.start)(self.port);
        c.stdin(Stdio::null()).stdout(log("out.log")).stderr(log("err.log")).process_group(0);
        self.child = Some(c.spawn().unwrap_or_else(|e| panic!("cannot start {}: {e}", self.name)));
        let end = Instant::now() + PATIENCE;
        while Instant::now() < end {
            if let Some(status) = self.child.as_mut().unwrap().try_wait().unwrap() {
                self.child = None;
                return Err(format!("{} ended with {status} before it answered\n{}", self.name, self.logs()));
            }
            if (self.ready)(self.port) {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        self.kill();
        Err(format!("{} did not answer within {} s\n{}", self.name, PATIENCE.as_secs(), self.logs()))
    }

    /// Where it listens.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Its directory.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// A file of its directory.
    pub fn at(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// All that it printed.
    pub fn logs(&self) -> String {
        ["out.log", "err.log"]
            .map(|f| format!("-- {f}\n{}", fs::read_to_string(self.at(f)).unwrap_or_default()))
            .concat()
    }

    /// Ids of its processes.
    pub fn processes(&self) -> Vec<Pid> {
        self.child.as_ref().map(|c| with_descendants(Pid::from_child(c))).unwrap_or_default()
    }

    /// Asks it to end, and waits.
    pub fn stop(&mut self) {
        if let Some(child) = &mut self.child {
            // It may have ended by itself.
            let _ = kill_process(Pid::from_child(child), Signal::TERM);
            let end = Instant::now() + Duration::from_secs(5);
            while Instant::now() < end && child.try_wait().unwrap().is_none() {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        self.kill();
    }

    /// Ends it at once, with all it started.
    pub fn kill(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        // Sessions of sshd leave the process group.
        let all = with_descendants(Pid::from_child(&child));
        let _ = kill_process_group(Pid::from_child(&child), Signal::KILL);
        for pid in all {
            let _ = kill_process(pid, Signal::KILL);
        }
        let _ = child.wait();
    }

    /// Starts it again on the same port.
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

/// State letter and parent of a process.
fn state(pid: i32) -> io::Result<(char, i32)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name in parentheses may hold spaces.
    let mut rest = text.rsplit_once(") ").map_or("", |(_, rest)| rest).split(' ');
    let letter = rest.next().and_then(|s| s.chars().next()).unwrap_or('X');
    Ok((letter, rest.next().and_then(|p| p.parse().ok()).unwrap_or(0)))
}

/// Whether a process runs; a dead one that nobody waited for does not.
pub fn is_alive(pid: Pid) -> bool {
    state(pid.as_raw_nonzero().get()).is_ok_and(|(letter, _)| !matches!(letter, 'Z' | 'X'))
}

/// A process and all that it started, as far as they are its descendants still.
pub fn with_descendants(pid: Pid) -> Vec<Pid> {
    let mut children: BTreeMap<i32, Vec<i32>> = BTreeMap::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(id) = entry.file_name().to_str().and_then(|n| n.parse().ok()) else { continue };
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
