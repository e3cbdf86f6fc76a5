//! Starting the process that serves a mount, and the log of that process.
//!
//! The command starts the daemon as a child process and reads one line of its standard output: the
//! note of the mount, in JSON. A child that exits without this line has already reported its error
//! on standard error.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;
use std::process::{ChildStdout, Command, ExitStatus, Stdio};

use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};

use crate::model::text::harmless;
use crate::mount::control::MountNote;
use crate::sys::create;

/// A log of more bytes than this is renamed to `log.old` when the next daemon opens it.
const LOG_MAX: u64 = 4 << 20;
/// Interval between checks for a cancellation.
const CANCEL_INTERVAL: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 100_000_000,
};

/// The outcome of starting a daemon.
pub enum DaemonStart {
    /// The mount is attached and served.
    Mounted(Box<MountNote>),
    /// The process exited without a mount, after it had reported the error.
    Failed(ExitStatus),
}

/// Starts the process that serves a mount, and waits until it reports the mount or exits. If
/// `cancelled` returns true before that, the process is terminated, and unmounts.
pub fn start_daemon(
    command: &mut Command,
    cancelled: &dyn Fn() -> bool,
) -> io::Result<DaemonStart> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    if let Some(output) = child.stdout.take()
        && wait_for_output(&output, cancelled)?
    {
        BufReader::new(output).read_line(&mut line)?;
    }
    if cancelled() {
        // The process may already have exited because of the same signal.
        let _ = kill_process(Pid::from_child(&child), Signal::TERM);
        // Wait for the process, because it may still have to unmount.
        return Ok(DaemonStart::Failed(child.wait()?));
    }
    Ok(match serde_json::from_str(&line) {
        Ok(note) => DaemonStart::Mounted(Box::new(note)),
        Err(_) => DaemonStart::Failed(child.wait()?),
    })
}

/// Waits until a line or the end of the output can be read. Returns false if `cancelled` returns
/// true first.
fn wait_for_output(output: &ChildStdout, cancelled: &dyn Fn() -> bool) -> io::Result<bool> {
    while !cancelled() {
        match poll(
            &mut [PollFd::new(output, PollFlags::IN)],
            Some(&CANCEL_INTERVAL),
        ) {
            Ok(0) | Err(Errno::INTR) => {}
            Ok(_) => return Ok(true),
            Err(e) => return Err(e.into()),
        }
    }
    Ok(false)
}

/// Reports the mount to the process that called [`start_daemon`].
pub fn report_mounted(out: &mut dyn Write, note: &MountNote) -> io::Result<()> {
    let line = serde_json::to_string(note).map_err(io::Error::other)?;
    writeln!(out, "{line}")?;
    out.flush()
}

/// The log of a daemon. Lines go to the fallback until the daemon knows where its log file is.
pub struct DaemonLog {
    out: Mutex<Box<dyn Write + Send>>,
}

impl DaemonLog {
    /// Returns a log that writes to `fallback`.
    pub fn new(fallback: Box<dyn Write + Send>) -> Self {
        Self {
            out: Mutex::new(fallback),
        }
    }

    /// Writes to the file at `path` from now on, if the file can be opened.
    pub fn open(&self, path: &Path) {
        if fs::metadata(path).is_ok_and(|m| m.len() > LOG_MAX) {
            let _ = fs::rename(path, path.with_extension("old"));
        }
        if let Ok(file) = create::open_private(path, File::options().append(true)) {
            *self.out.lock() = Box::new(file);
        }
    }

    /// Writes one line with a timestamp. A log that cannot be written must not stop the daemon, so
    /// errors are ignored.
    pub fn write(&self, text: &str) {
        // Escape control characters, because paths and messages of a remote could otherwise deceive
        // the terminal of a reader.
        let line = format!("{} {}\n", jiff::Timestamp::now(), harmless(text));
        let _ = self.out.lock().write_all(line.as_bytes());
    }
}
