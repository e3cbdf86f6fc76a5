//! A child process that does not outlive its test.

use std::ops::{Deref, DerefMut};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};

use rustix::process::{Pid, Signal, kill_process_group};

use super::sandbox::Run;

/// A running process in its own process group. Dropping the value kills the group, so that a failed
/// test leaves no process behind.
pub struct Spawned {
    child: Option<Child>,
    line: String,
}

impl Spawned {
    /// Starts a command.
    pub fn start(c: &mut Command) -> Self {
        let line = format!("{c:?}");
        Self {
            child: Some(c.process_group(0).spawn().unwrap()),
            line,
        }
    }

    /// Waits until the process exits. Its output must be piped.
    pub fn finish(mut self) -> Run {
        Run::wait(self.line.clone(), self.child.take().unwrap())
    }
}

impl Deref for Spawned {
    type Target = Child;

    fn deref(&self) -> &Child {
        self.child.as_ref().unwrap()
    }
}

impl DerefMut for Spawned {
    fn deref_mut(&mut self) -> &mut Child {
        self.child.as_mut().unwrap()
    }
}

impl Drop for Spawned {
    fn drop(&mut self) {
        // Once the process has been reaped, its id may belong to another process group.
        if let Some(child) = &mut self.child
            && matches!(child.try_wait(), Ok(None))
        {
            let _ = kill_process_group(Pid::from_child(child), Signal::KILL);
            let _ = child.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Stdio;

    use super::{Command, Pid, Spawned};
    use crate::support::servers::program::{is_alive, with_descendants};

    #[test]
    fn a_dropped_process_ends_with_its_children() {
        let mut c = Command::new("sh");
        c.args(["-c", "sleep 1000 & wait"])
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let spawned = Spawned::start(&mut c);
        let all = loop {
            let all = with_descendants(Pid::from_child(&spawned));
            if all.len() == 2 {
                break all;
            }
        };
        drop(spawned);
        // The sleeping process is not a child of this process. Wait until another process has
        // reaped it.
        while all.iter().any(|pid| is_alive(*pid)) {
            std::thread::yield_now();
        }
    }
}
