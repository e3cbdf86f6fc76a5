//! Runs the real `dvc` and stops or kills it directly after its n-th step: a system call that
//! creates, writes, syncs, renames, deletes or lists something below a directory.
//!
//! The tracer is `ptrace`, so the program needs no hooks, and each step is reached without a wait.
//! A process that is stopped gets a SIGSTOP and is not traced any more.

use std::collections::HashMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::child::spawn;

/// The state of a traced process after [`Traced::run_to`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reached {
    /// All threads wait; the step with this name was the last one.
    Step(String),
    /// The process has ended with this code; 128 + N after signal N.
    Ended(i32),
}

/// A process whose steps are counted.
pub struct Traced {
    process: Process,
    /// Steps count below this directory.
    root: PathBuf,
    threads: HashMap<Pid, Thread>,
    /// Names of the steps so far.
    pub steps: Vec<String>,
    /// The thread that made the last step and waits.
    at: Option<Pid>,
}

/// A process that was stopped with SIGSTOP.
pub struct Stopped {
    process: Process,
    /// The exit code, if the process ended before it stopped.
    ended: Option<i32>,
}

struct Process {
    leader: Pid,
    output: PathBuf,
    is_gone: bool,
}

#[derive(Default)]
struct Thread {
    /// Name of the step whose system call is running.
    step: Option<String>,
    is_in_call: bool,
    is_waiting: bool,
}

/// The output and exit code of a process.
#[derive(Debug)]
pub struct Ended {
    pub code: i32,
    pub output: String,
}

const OPTIONS: Options = Options::PTRACE_O_TRACESYSGOOD.union(Options::PTRACE_O_TRACECLONE);
/// Events of any thread that this thread traces.
const ANY: WaitPidFlag = WaitPidFlag::__WALL.union(WaitPidFlag::__WNOTHREAD);

impl Traced {
    /// Starts a command that waits until [`Self::run_to`]. Its output goes to a file.
    pub fn start(command: &Command, root: &Path) -> Self {
        let output = tempfile::NamedTempFile::new().unwrap();
        let (file, output) = output.keep().unwrap();
        // The shell stops itself before it becomes the program.
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", "kill -STOP $$; exec \"$@\"", "sh"]);
        shell.arg(command.get_program()).args(command.get_args());
        shell.env_clear();
        for (name, value) in command.get_envs() {
            shell.env(name, value.unwrap_or_default());
        }
        if let Some(dir) = command.get_current_dir() {
            shell.current_dir(dir);
        }
        shell
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .process_group(0);
        let leader = Pid::from_raw(i32::try_from(spawn(&mut shell).id()).unwrap());
        let stopped = waitpid(leader, Some(WaitPidFlag::WUNTRACED)).unwrap();
        assert!(matches!(stopped, WaitStatus::Stopped(..)), "{stopped:?}");
        ptrace::seize(leader, OPTIONS | Options::PTRACE_O_EXITKILL).unwrap();
        kill(leader, Signal::SIGCONT).unwrap();
        Self::of(leader, output, root)
    }

    fn of(leader: Pid, output: PathBuf, root: &Path) -> Self {
        Self {
            process: Process {
                leader,
                output,
                is_gone: false,
            },
            root: root.canonicalize().unwrap(),
            threads: HashMap::from([(leader, Thread::default())]),
            steps: Vec::new(),
            at: None,
        }
    }

    /// Lets the process run until it has made `count` steps in total.
    pub fn run_to(&mut self, count: usize) -> Reached {
        self.run_until(|steps| steps.len() >= count)
    }

    /// Lets the process run until `is_there` accepts the steps so far, or until it ends.
    pub fn run_until(&mut self, is_there: impl Fn(&[String]) -> bool) -> Reached {
        if let Some(thread) = self.at.take() {
            self.resume(thread, None);
        }
        loop {
            match self.next() {
                Some(code) => return Reached::Ended(code),
                None => {
                    if let Some(thread) = self.at {
                        if is_there(&self.steps) {
                            return Reached::Step(self.steps.last().unwrap().clone());
                        }
                        self.at = None;
                        self.resume(thread, None);
                    }
                }
            }
        }
    }

    /// Handles one event. Returns the exit code if the process has ended.
    fn next(&mut self) -> Option<i32> {
        let status = waitpid(Pid::from_raw(-1), Some(ANY)).unwrap();
        match status {
            WaitStatus::Exited(pid, code) => return self.gone(pid, code),
            WaitStatus::Signaled(pid, signal, _) => return self.gone(pid, 128 + signal as i32),
            WaitStatus::PtraceSyscall(pid) => {
                let thread = self.threads.entry(pid).or_default();
                thread.is_in_call = !thread.is_in_call;
                if thread.is_in_call {
                    thread.step = step_of(pid, &self.root);
                } else if let Some(step) = thread.step.take() {
                    thread.is_waiting = true;
                    self.steps.push(step);
                    self.at = Some(pid);
                    return None;
                }
                self.resume(pid, None);
            }
            WaitStatus::PtraceEvent(pid, ..) => {
                self.threads.entry(pid).or_default();
                self.resume(pid, None);
            }
            WaitStatus::Stopped(pid, signal) => {
                self.threads.entry(pid).or_default();
                self.resume(pid, Some(signal));
            }
            _ => {}
        }
        None
    }

    fn gone(&mut self, pid: Pid, code: i32) -> Option<i32> {
        self.threads.remove(&pid);
        self.process.is_gone |= pid == self.process.leader;
        (pid == self.process.leader).then_some(code)
    }

    fn resume(&mut self, pid: Pid, signal: Option<Signal>) {
        if let Some(thread) = self.threads.get_mut(&pid) {
            thread.is_waiting = false;
        }
        match ptrace::syscall(pid, signal) {
            // The thread has been killed in the meantime; its exit is the next event.
            Ok(()) | Err(Errno::ESRCH) => {}
            Err(e) => panic!("{e}"),
        }
    }

    /// Kills the process with SIGKILL, and waits until it is gone.
    pub fn kill(mut self) {
        kill(self.process.leader, Signal::SIGKILL).unwrap();
        while self.next().is_none() {}
    }

    /// Stops the process with SIGSTOP, and stops tracing it.
    pub fn stop(mut self) -> Stopped {
        kill(self.process.leader, Signal::SIGSTOP).unwrap();
        // Another thread may end the process at this moment.
        let mut ended = None;
        let mut waiting: HashMap<Pid, Option<Signal>> = HashMap::new();
        for (pid, thread) in &self.threads {
            if thread.is_waiting {
                waiting.insert(*pid, None);
            }
        }
        let mut running: Vec<Pid> = self
            .threads
            .keys()
            .filter(|pid| !waiting.contains_key(*pid))
            .copied()
            .collect();
        for pid in &running {
            let _ = ptrace::interrupt(*pid);
        }
        while let Some(pid) = running.pop() {
            match waitpid(pid, Some(ANY)) {
                Ok(WaitStatus::Exited(pid, code)) if pid == self.process.leader => {
                    ended = Some(code);
                }
                Ok(WaitStatus::Exited(..) | WaitStatus::Signaled(..)) | Err(_) => {}
                Ok(WaitStatus::Stopped(pid, signal)) => _ = waiting.insert(pid, Some(signal)),
                // A thread that starts at this moment is in the thread list of the process.
                Ok(_) => _ = waiting.insert(pid, None),
            }
        }
        for pid in threads_of(self.process.leader) {
            if waiting.contains_key(&pid) {
                continue;
            }
            let _ = ptrace::interrupt(pid);
            if waitpid(pid, Some(ANY)).is_ok() {
                waiting.insert(pid, None);
            }
        }
        for (pid, signal) in waiting {
            let _ = ptrace::detach(pid, signal);
        }
        self.threads.clear();
        let process = Process {
            leader: self.process.leader,
            output: std::mem::take(&mut self.process.output),
            is_gone: false,
        };
        self.process.is_gone = true;
        while !threads_of(process.leader)
            .iter()
            .all(|pid| matches!(state_of(*pid), Some('T' | 'Z' | 'X') | None))
        {
            std::thread::yield_now();
        }
        Stopped { process, ended }
    }

    /// Returns the output so far.
    pub fn output(&self) -> String {
        fs::read_to_string(&self.process.output).unwrap()
    }
}

impl Stopped {
    /// Lets the process continue without waiting for it.
    fn go_on(&self) {
        // The process may have ended already.
        let _ = kill(self.process.leader, Signal::SIGCONT);
    }

    /// Lets the process continue, and waits until it ends.
    pub fn thaw(mut self) -> Ended {
        self.go_on();
        let code = match self.ended {
            Some(code) => code,
            None => match waitpid(self.process.leader, None).unwrap() {
                WaitStatus::Exited(_, code) => code,
                WaitStatus::Signaled(_, signal, _) => 128 + signal as i32,
                other => panic!("{other:?}"),
            },
        };
        self.process.is_gone = true;
        Ended {
            code,
            output: fs::read_to_string(&self.process.output).unwrap(),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if !self.is_gone {
            let _ = kill(self.leader, Signal::SIGKILL);
            while waitpid(self.leader, Some(WaitPidFlag::__WALL))
                .is_ok_and(|s| !matches!(s, WaitStatus::Exited(..) | WaitStatus::Signaled(..)))
            {
            }
        }
        if !self.output.as_os_str().is_empty() {
            let _ = fs::remove_file(&self.output);
        }
    }
}

fn threads_of(leader: Pid) -> Vec<Pid> {
    let Ok(entries) = fs::read_dir(format!("/proc/{leader}/task")) else {
        return Vec::new();
    };
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .map(Pid::from_raw)
        .collect()
}

/// Returns the state letter of a thread.
fn state_of(pid: Pid) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit(')').next()?.trim_start().chars().next()
}

/// Returns the name of the step that a thread at the entry of a system call makes, if it is one.
fn step_of(pid: Pid, root: &Path) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{pid}/syscall")).ok()?;
    let mut words = text.split_whitespace();
    let number: libc::c_long = words.next()?.parse().ok()?;
    let args: Vec<u64> = words
        .map_while(|word| u64::from_str_radix(word.strip_prefix("0x")?, 16).ok())
        .collect();
    let arg = |n: usize| args.get(n).copied().unwrap_or(0);
    // Paths below file descriptors of directories, with their arguments.
    let (name, path) = match number {
        libc::SYS_openat => {
            let flags = libc::c_int::try_from(arg(2) & 0x7fff_ffff).ok()?;
            let is_new = flags & (libc::O_CREAT | libc::O_TMPFILE & !libc::O_DIRECTORY) != 0;
            ("create", is_new.then(|| path_at(pid, arg(0), arg(1)))??)
        }
        libc::SYS_mkdirat => ("mkdir", path_at(pid, arg(0), arg(1))?),
        libc::SYS_linkat => ("link", path_at(pid, arg(2), arg(3))?),
        libc::SYS_renameat2 => ("rename", path_at(pid, arg(2), arg(3))?),
        libc::SYS_unlinkat => ("unlink", path_at(pid, arg(0), arg(1))?),
        libc::SYS_fsync | libc::SYS_fdatasync => ("sync", path_of(pid, arg(0))?),
        libc::SYS_getdents64 => ("list", path_of(pid, arg(0))?),
        libc::SYS_ftruncate => ("truncate", path_of(pid, arg(0))?),
        libc::SYS_write | libc::SYS_pwrite64 => ("write", path_of(pid, arg(0))?),
        _ => old_call(pid, number, &args)?,
    };
    let below = path.strip_prefix(root).ok()?;
    Some(format!("{name} {}", class_of(below)))
}

/// System calls that newer architectures do not have.
#[cfg(target_arch = "x86_64")]
fn old_call(pid: Pid, number: libc::c_long, args: &[u64]) -> Option<(&'static str, PathBuf)> {
    let cwd = libc::AT_FDCWD as u64;
    let path = |n: usize| path_at(pid, cwd, args.get(n).copied().unwrap_or(0));
    Some(match number {
        libc::SYS_mkdir => ("mkdir", path(0)?),
        libc::SYS_link => ("link", path(1)?),
        libc::SYS_rename => ("rename", path(1)?),
        libc::SYS_unlink => ("unlink", path(0)?),
        libc::SYS_rmdir => ("rmdir", path(0)?),
        libc::SYS_renameat => ("rename", path_at(pid, *args.get(2)?, *args.get(3)?)?),
        _ => return None,
    })
}

#[cfg(not(target_arch = "x86_64"))]
fn old_call(_: Pid, _: libc::c_long, _: &[u64]) -> Option<(&'static str, PathBuf)> {
    None
}

/// The path of an open file.
fn path_of(pid: Pid, fd: u64) -> Option<PathBuf> {
    fs::read_link(format!(
        "/proc/{pid}/fd/{}",
        u32::try_from(fd & 0xffff_ffff).ok()?
    ))
    .ok()
}

/// The path in the memory of a thread, relative to a directory that is open.
fn path_at(pid: Pid, fd: u64, address: u64) -> Option<PathBuf> {
    let mut bytes = [0; 4096];
    let memory = File::open(format!("/proc/{pid}/mem")).ok()?;
    let read = memory.read_at(&mut bytes, address).ok()?;
    let end = bytes[..read].iter().position(|b| *b == 0)?;
    let path = Path::new(std::str::from_utf8(&bytes[..end]).ok()?).to_path_buf();
    if path.is_absolute() {
        return Some(path);
    }
    let dir = if fd & 0xffff_ffff == (libc::AT_FDCWD as u64) & 0xffff_ffff {
        fs::read_link(format!("/proc/{pid}/cwd")).ok()?
    } else {
        path_of(pid, fd)?
    };
    Some(dir.join(path))
}

/// A path in which random and numbered components are replaced by `*`.
fn class_of(path: &Path) -> String {
    let parts: Vec<String> = path
        .components()
        .map(|part| {
            let part = part.as_os_str().to_string_lossy();
            let is_number = part.chars().any(|c| c.is_ascii_digit())
                && part.chars().all(|c| c.is_ascii_hexdigit());
            match is_number
                || part.len() > 24
                || part.starts_with("tmp")
                || part.starts_with('.') && part.len() > 6
            {
                true => "*".to_owned(),
                false => part.into_owned(),
            }
        })
        .collect();
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(dir: &Path) -> Command {
        let mut command = Command::new("/bin/sh");
        command
            .current_dir(dir)
            .args(["-c", "echo 1 > a; echo 2 > b; echo 3 > c; echo done"]);
        command
    }

    #[test]
    fn a_process_stops_and_dies_after_the_given_step() {
        let dir = tempfile::tempdir().unwrap();
        let mut all = Traced::start(&script(dir.path()), dir.path());
        assert_eq!(all.run_to(usize::MAX), Reached::Ended(0));
        assert_eq!(all.output(), "done\n");
        let steps = all.steps.clone();
        assert!(steps.len() >= 4 && steps[0] == "create a", "{steps:?}");

        for name in ["a", "b", "c"] {
            fs::remove_file(dir.path().join(name)).unwrap();
        }

        let mut dies = Traced::start(&script(dir.path()), dir.path());
        assert_eq!(dies.run_to(1), Reached::Step("create a".to_owned()));
        dies.kill();
        assert!(dir.path().join("a").exists() && !dir.path().join("b").exists());

        let mut stops = Traced::start(&script(dir.path()), dir.path());
        let is_made = |steps: &[String]| steps.iter().any(|step| step == "create b");
        assert!(matches!(stops.run_until(is_made), Reached::Step(_)));
        let stopped = stops.stop();
        assert!(dir.path().join("a").exists() && !dir.path().join("c").exists());
        let ended = stopped.thaw();
        assert_eq!((ended.code, ended.output.as_str()), (0, "done\n"));
        assert!(dir.path().join("c").exists());
    }
}
