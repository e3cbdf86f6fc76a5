//! Processes that serve mounts, recognised by more than their number, which the system gives away again.
//!
//! In: what a process noted of itself. Out: whether that same process still runs, is stopped, or is gone.

use serde::{Deserialize, Serialize};

use super::procfs::{ProcDir, ProcStat, boot_id};

/// Fields of `/proc/PID/stat`.
const STATE: usize = 3;
const STARTED: usize = 22;

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
        let started = ProcDir::of(pid).stat().map(|stat| birth(&stat)).unwrap_or_default();
        Self { pid, started, namespace: namespace() }
    }

    /// How it is now.
    pub fn state(&self) -> ProcessState {
        if self.started.is_empty() || self.namespace != namespace() {
            return ProcessState::Unknown;
        }
        let stat = match ProcDir::of(self.pid).stat() {
            Ok(stat) if birth(&stat) == self.started => stat,
            _ => return ProcessState::Gone,
        };
        match stat.field(STATE) {
            "Z" | "X" | "x" => ProcessState::Gone,
            "T" | "t" => ProcessState::Stopped,
            _ => ProcessState::Runs,
        }
    }
}

fn birth(stat: &ProcStat) -> String {
    format!("{}/{}", boot_id(), stat.field(STARTED))
}

fn namespace() -> String {
    ProcDir::own().namespace("pid").unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::{Pid, Signal, kill_process};
    use std::process::Command;

    fn of(pid: u32) -> ProcessIdentity {
        ProcessIdentity { pid, started: birth(&ProcDir::of(pid).stat().unwrap()), namespace: namespace() }
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
