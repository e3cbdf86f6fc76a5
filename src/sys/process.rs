//! Processes that serve mounts, recognised by more than their number, which the system gives away again.
//!
//! In: what a process noted of itself. Out: whether that same process still runs, is stopped, or is gone.

use std::fs;
use std::io;

use serde::{Deserialize, Serialize};

/// Changes with every start of the machine.
const BOOT: &str = "/proc/sys/kernel/random/boot_id";
/// Positions in `/proc/PID/stat`, counted from the field after the name.
const STATE: usize = 0;
const STARTED: usize = 19;

/// A process of this machine, as it describes itself.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
pub struct ProcessIdentity {
    /// Its number.
    pub pid: u32,
    /// The start of the machine, and how long after it the process started.
    #[serde(default)]
    started: String,
    /// The process namespace in which the number counts.
    #[serde(default)]
    namespace: String,
}

/// How a process is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProcessState {
    /// It runs or sleeps.
    Runs,
    /// It is stopped: by a signal, by a debugger, or with its control group.
    Stopped,
    /// It has ended, and another process may have its number.
    Gone,
    /// It is in another process namespace, where this process cannot look.
    Unknown,
}

impl ProcessIdentity {
    /// This process.
    pub fn own() -> Self {
        let pid = std::process::id();
        let started = stat(pid).map(|stat| birth(&stat)).unwrap_or_default();
        Self { pid, started, namespace: namespace() }
    }

    /// How it is now.
    pub fn state(&self) -> ProcessState {
        if self.started.is_empty() || self.namespace != namespace() {
            return ProcessState::Unknown;
        }
        let stat = match stat(self.pid) {
            Ok(stat) if birth(&stat) == self.started => stat,
            _ => return ProcessState::Gone,
        };
        match field(&stat, STATE) {
            "Z" | "X" | "x" => ProcessState::Gone,
            "T" | "t" => ProcessState::Stopped,
            _ => ProcessState::Runs,
        }
    }
}

fn stat(pid: u32) -> io::Result<String> {
    fs::read_to_string(format!("/proc/{pid}/stat"))
}

/// A field behind the name, which may itself hold blanks and brackets.
fn field(stat: &str, at: usize) -> &str {
    stat.rsplit_once(')').and_then(|(_, rest)| rest.split_ascii_whitespace().nth(at)).unwrap_or_default()
}

fn birth(stat: &str) -> String {
    let boot = fs::read_to_string(BOOT).unwrap_or_default();
    format!("{}/{}", boot.trim(), field(stat, STARTED))
}

fn namespace() -> String {
    fs::read_link("/proc/self/ns/pid").map(|link| link.to_string_lossy().into_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::{Pid, Signal, kill_process};
    use std::process::Command;

    fn of(pid: u32) -> ProcessIdentity {
        ProcessIdentity { pid, started: birth(&stat(pid).unwrap()), namespace: namespace() }
    }

    #[test]
    fn a_process_is_the_same_until_it_ends() {
        assert_eq!(ProcessIdentity::own().state(), ProcessState::Runs);
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let (pid, process) = (Pid::from_child(&child), of(child.id()));
        assert_eq!(process.state(), ProcessState::Runs);
        // Of another one with the same number the start differs.
        let other = ProcessIdentity { started: process.started.replace('/', "/1"), ..process.clone() };
        assert_eq!(other.state(), ProcessState::Gone);
        let elsewhere = ProcessIdentity { namespace: "pid:[1]".to_owned(), ..process.clone() };
        assert_eq!(elsewhere.state(), ProcessState::Unknown);
        kill_process(pid, Signal::STOP).unwrap();
        while process.state() == ProcessState::Runs {
            std::thread::yield_now();
        }
        assert_eq!(process.state(), ProcessState::Stopped);
        child.kill().unwrap();
        while process.state() != ProcessState::Gone {
            std::thread::yield_now();
        }
        child.wait().unwrap();
        assert_eq!(process.state(), ProcessState::Gone);
    }
}
