//! Identifies the processes that serve mounts by more than their process ids, because the system
//! reuses process ids.
//!
//! A process stores its identity; another process can later find out whether the same process still
//! runs, is stopped, or has ended.

use serde::{Deserialize, Serialize};

use super::procfs::{ProcDir, ProcStat, boot_id};

/// Numbers of fields in proc_pid_stat(5).
const STATE: usize = 3;
const STARTED: usize = 22;

/// The identity of a process of this machine.
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
pub struct ProcessIdentity {
    pub pid: u32,
    /// The boot id of the machine, and the start time of the process since boot.
    #[serde(default)]
    started: String,
    /// The PID namespace in which the process id is valid.
    #[serde(default)]
    namespace: String,
}

/// The state of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProcessState {
    /// The process runs or sleeps.
    Runs,
    /// The process is stopped by a signal, by a debugger, or with its control group.
    Stopped,
    /// The process has ended; another process may have its id.
    Gone,
    /// The process is in another PID namespace, in which this process cannot look.
    Unknown,
}

impl ProcessIdentity {
    /// Returns the identity of this process.
    pub fn own() -> Self {
        let pid = std::process::id();
        let started = ProcDir::of(pid)
            .stat()
            .map(|stat| birth(&stat))
            .unwrap_or_default();
        Self {
            pid,
            started,
            namespace: namespace(),
        }
    }

    /// Returns the current state of the process.
    pub fn state(&self) -> ProcessState {
        // A process id of another namespace, or one without a start time, proves nothing.
        if self.started.is_empty() || self.namespace != namespace() {
            return ProcessState::Unknown;
        }
        let stat = match ProcDir::of(self.pid).stat() {
            // The kernel reuses process ids, so the start time must be equal too.
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
    // The start time counts from the boot, so it needs the id of the boot.
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
        ProcessIdentity {
            pid,
            started: birth(&ProcDir::of(pid).stat().unwrap()),
            namespace: namespace(),
        }
    }

    #[test]
    fn a_process_is_the_same_until_it_ends() {
        assert_eq!(ProcessIdentity::own().state(), ProcessState::Runs);
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let (pid, process) = (Pid::from_child(&child), of(child.id()));
        assert_eq!(process.state(), ProcessState::Runs);
        // Another process with the same id has a different start time.
        let other = ProcessIdentity {
            started: process.started.replace('/', "/1"),
            ..process.clone()
        };
        assert_eq!(other.state(), ProcessState::Gone);
        let foreign = ProcessIdentity {
            namespace: "pid:[1]".to_owned(),
            ..process.clone()
        };
        assert_eq!(foreign.state(), ProcessState::Unknown);
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
