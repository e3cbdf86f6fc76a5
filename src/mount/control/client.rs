//! Asking the process that serves a mount, without waiting for one that cannot answer.
//!
//! In: a mount and what is asked. Out: the answer, or why there is none: the process is stopped or stuck, it is not known
//! here, or the caller was cancelled.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::{Ask, ControlError, Reply, base, note};
use crate::error::{Kind, Result};
use crate::model::id::Id;
use crate::sys::mountinfo::Mounted;
use crate::sys::process::{ProcessIdentity, ProcessState};
use crate::work::Cancelled;

/// How long a process may take to show that it is well.
pub const HELLO: Duration = Duration::from_secs(10);
/// How long a process may be stopped in the middle of an answer.
const STOPPED: Duration = Duration::from_secs(2);
/// How often a caller that waits looks whether to wait on.
const LOOK: Duration = Duration::from_millis(200);

/// A connection to a mount.
pub struct Client<'c> {
    input: BufReader<Waiter<'c>>,
    output: UnixStream,
}

/// The answers of a mount's process, waited for as long as there is hope.
struct Waiter<'c> {
    stream: UnixStream,
    at: PathBuf,
    process: ProcessIdentity,
    /// When to give up in any case.
    until: Option<Instant>,
    cancelled: Option<&'c dyn Fn() -> bool>,
    /// Since when the process is known to be stopped.
    stopped: Option<Instant>,
}

impl Waiter<'_> {
    /// Looks whether to wait on.
    fn check(&mut self) -> Result<(), ControlError> {
        if self.cancelled.is_some_and(|cancelled| cancelled()) {
            return Err(Cancelled.into());
        }
        let stopped = self.process.state() == ProcessState::Stopped;
        self.stopped = self.stopped.filter(|_| stopped).or_else(|| stopped.then(Instant::now));
        let late = self.until.is_some_and(|until| Instant::now() >= until);
        if late || self.stopped.is_some_and(|since| since.elapsed() >= STOPPED) {
            return Err(ControlError::Stuck { at: self.at.clone(), pid: self.process.pid, stopped });
        }
        Ok(())
    }

    /// What a failure to hear from the process means.
    fn failed(&self, e: io::Error) -> ControlError {
        match e.downcast::<ControlError>() {
            Ok(found) => found,
            Err(source) => ControlError::Silent { at: self.at.clone(), source },
        }
    }
}

impl Read for Waiter<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            match (&self.stream).read(out) {
                Err(e) if is_late(&e) => self.check().map_err(io::Error::other)?,
                read => return read,
            }
        }
    }
}

fn is_late(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}

impl<'c> Client<'c> {
    /// Connects to the process of a mount, which has to show within some seconds that it is well.
    pub fn connect(run: &Path, mounted: &Mounted) -> Result<Self> {
        let at = mounted.at.clone();
        let Some(note) = note(run, mounted) else {
            let ours = rustix::process::geteuid().as_raw();
            return Err(match mounted.owner() {
                Some(owner) if owner != ours => ControlError::OtherUser { at, owner },
                _ => ControlError::Unknown { at },
            }
            .into());
        };
        let process = note.process;
        let opened = UnixStream::connect(base(run, mounted.device).with_extension("sock"))
            .and_then(|stream| Ok((stream.try_clone()?, stream)))
            .and_then(|(output, stream)| stream.set_read_timeout(Some(LOOK)).map(|()| (output, stream)));
        let (output, stream) = opened.map_err(|source| ControlError::Silent { at: at.clone(), source })?;
        let until = Some(Instant::now() + HELLO);
        let waiter = Waiter { stream, at, process, until, cancelled: None, stopped: None };
        let mut client = Self { input: BufReader::new(waiter), output };
        client.ask::<()>(&Ask::Hello)?;
        client.input.get_mut().until = None;
        Ok(client)
    }

    /// Gives up as soon as `cancelled` says so.
    pub fn heed(mut self, cancelled: &'c dyn Fn() -> bool) -> Self {
        self.input.get_mut().cancelled = Some(cancelled);
        self
    }

    /// The process.
    pub fn process(&self) -> &ProcessIdentity {
        &self.input.get_ref().process
    }

    /// Asks, and waits for the answer.
    pub fn ask<T: for<'d> Deserialize<'d>>(&mut self, ask: &Ask) -> Result<T> {
        match self.exchange(ask).map_err(|e| self.input.get_ref().failed(e))? {
            Reply::Done(done) => Ok(done),
            Reply::Failed { kind, message, hint } => {
                let kind = Kind::ALL.into_iter().find(|k| k.name() == kind).unwrap_or(Kind::Internal);
                Err(ControlError::Refused { kind, message, hint }.into())
            }
        }
    }

    fn exchange<T: for<'d> Deserialize<'d>>(&mut self, ask: &Ask) -> io::Result<Reply<T>> {
        let mut text = serde_json::to_vec(ask).map_err(io::Error::other)?;
        text.push(b'\n');
        (&self.output).write_all(&text)?;
        let mut line = Vec::new();
        if self.input.read_until(b'\n', &mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        serde_json::from_slice(&line).map_err(io::Error::other)
    }

    /// Gives up on answers that take longer.
    pub fn hurry(&mut self, limit: Duration) {
        self.input.get_mut().until = Some(Instant::now() + limit);
    }

    /// Receives objects that an answer told of.
    pub fn receive(&mut self, count: u64) -> Result<Vec<(Id, Vec<u8>)>> {
        const OBJECT_MAX: u64 = 1 << 30;
        let mut receive = || -> io::Result<Vec<(Id, Vec<u8>)>> {
            let mut out = Vec::new();
            for _ in 0..count {
                let (mut id, mut len) = ([0; 32], [0; 8]);
                self.input.read_exact(&mut id)?;
                self.input.read_exact(&mut len)?;
                let len = u64::from_be_bytes(len);
                if len > OBJECT_MAX {
                    return Err(io::ErrorKind::InvalidData.into());
                }
                let mut bytes = vec![0; usize::try_from(len).unwrap_or(0)];
                self.input.read_exact(&mut bytes)?;
                out.push((Id(id), bytes));
            }
            Ok(out)
        };
        Ok(receive().map_err(|e| self.input.get_ref().failed(e))?)
    }

    /// Makes the kernel hand over what it holds back of files that are open for writing.
    pub fn settle_kernel(&mut self) -> Result<()> {
        use std::os::unix::ffi::OsStrExt;
        for path in self.ask::<Vec<Vec<u8>>>(&Ask::Writers)? {
            let path = self.input.get_ref().at.join(std::ffi::OsStr::from_bytes(&path));
            // One that is gone meanwhile needs nothing.
            let Ok(file) = File::open(&path) else { continue };
            file.sync_all().map_err(|source| ControlError::Sync { path, source })?;
        }
        Ok(())
    }

    /// Waits until the process has ended the connection, at most so long. True if it has.
    pub fn wait_end(&mut self, limit: Duration) -> Result<bool> {
        self.hurry(limit);
        let mut rest = [0; 64];
        match self.input.read(&mut rest).map_err(|e| self.input.get_ref().failed(e)) {
            Ok(read) => Ok(read == 0),
            // It may need longer to flush, but not if it cannot go on.
            Err(ControlError::Stuck { stopped: false, .. }) => Ok(false),
            Err(e @ (ControlError::Stuck { .. } | ControlError::Cancelled(_))) => Err(e.into()),
            Err(_) => Ok(true),
        }
    }
}
