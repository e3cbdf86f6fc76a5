//! Client of the control socket. It fails if the process of the mount is unknown, does not answer a
//! ping in time, or is stopped, and if the caller is cancelled.

use std::fs::File;
use std::io;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Deserialize;

use super::error::ControlError;
use super::note::{note, path_stem};
use super::protocol::{ControlReply, ControlRequest};
use crate::error::{Kind, Result};
use crate::model::id::Id;
use crate::sys::mountinfo::Mounted;
use crate::sys::process::{ProcessIdentity, ProcessState};
use crate::work::Cancelled;

/// Time limit for the reply to a ping.
pub const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// A request fails if the process has been stopped for this long.
const STOPPED_LIMIT: Duration = Duration::from_secs(2);
/// Interval between checks while waiting for a reply.
const POLL_INTERVAL: Duration = Duration::from_millis(200);

/// A connection to the process of a mount.
pub struct MountClient<'c> {
    input: BufReader<ReplyReader<'c>>,
    output: UnixStream,
}

/// Reads replies, and gives up when the process cannot answer any more.
struct ReplyReader<'c> {
    stream: UnixStream,
    at: PathBuf,
    process: ProcessIdentity,
    /// Time at which to give up unconditionally; `None` means no limit.
    deadline: Option<Instant>,
    cancelled: Option<&'c dyn Fn() -> bool>,
    /// Time of the check that first found the process stopped, if it still is.
    stopped_since: Option<Instant>,
}

impl ReplyReader<'_> {
    /// Fails if the caller is cancelled, the deadline has passed, or the process stays stopped.
    fn check(&mut self) -> Result<(), ControlError> {
        if self.cancelled.is_some_and(|cancelled| cancelled()) {
            return Err(Cancelled.into());
        }
        // Continuing the process starts the interval again.
        let stopped = self.process.state() == ProcessState::Stopped;
        self.stopped_since = self
            .stopped_since
            .filter(|_| stopped)
            .or_else(|| stopped.then(Instant::now));
        let expired = self
            .deadline
            .is_some_and(|deadline| Instant::now() >= deadline);
        if expired
            || self
                .stopped_since
                .is_some_and(|since| since.elapsed() >= STOPPED_LIMIT)
        {
            return Err(ControlError::Stuck {
                at: self.at.clone(),
                pid: self.process.pid,
                stopped,
            });
        }
        Ok(())
    }

    /// Converts an I/O error of the connection. Unwraps an error of [`Self::check`].
    fn failed(&self, e: io::Error) -> ControlError {
        match e.downcast::<ControlError>() {
            Ok(found) => found,
            Err(source) => ControlError::Silent {
                at: self.at.clone(),
                source,
            },
        }
    }
}

impl Read for ReplyReader<'_> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        loop {
            match (&self.stream).read(out) {
                Err(e) if is_timeout(&e) => self.check().map_err(io::Error::other)?,
                read => return read,
            }
        }
    }
}

fn is_timeout(e: &io::Error) -> bool {
    matches!(
        e.kind(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted
    )
}

impl<'c> MountClient<'c> {
    /// Connects to the process of a mount, and pings it.
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
        let opened = UnixStream::connect(path_stem(run, mounted.device).with_extension("sock"))
            .and_then(|stream| Ok((stream.try_clone()?, stream)))
            .and_then(|(output, stream)| {
                stream
                    .set_read_timeout(Some(POLL_INTERVAL))
                    .map(|()| (output, stream))
            });
        let (output, stream) = opened.map_err(|source| ControlError::Silent {
            at: at.clone(),
            source,
        })?;
        let deadline = Some(Instant::now() + PING_TIMEOUT);
        let waiter = ReplyReader {
            stream,
            at,
            process,
            deadline,
            cancelled: None,
            stopped_since: None,
        };
        let mut client = Self {
            input: BufReader::new(waiter),
            output,
        };
        // The kernel completes a connection to a stopped process too, so only a reply shows that
        // the process works.
        client.request::<()>(&ControlRequest::Ping)?;
        client.input.get_mut().deadline = None;
        Ok(client)
    }

    /// Makes requests fail as soon as `cancelled` returns true.
    pub fn cancelled_by(mut self, cancelled: &'c dyn Fn() -> bool) -> Self {
        self.input.get_mut().cancelled = Some(cancelled);
        self
    }

    /// Returns the process of the mount.
    pub fn process(&self) -> &ProcessIdentity {
        &self.input.get_ref().process
    }

    /// Sends a request and waits for the reply.
    pub fn request<T: for<'d> Deserialize<'d>>(&mut self, ask: &ControlRequest) -> Result<T> {
        match self
            .round_trip(ask)
            .map_err(|e| self.input.get_ref().failed(e))?
        {
            ControlReply::Done(done) => Ok(done),
            ControlReply::Failed {
                kind,
                message,
                hint,
            } => {
                let kind = Kind::ALL
                    .into_iter()
                    .find(|k| k.name() == kind)
                    // A daemon of a newer version may have error kinds that this program does not
                    // know.
                    .unwrap_or(Kind::Internal);
                Err(ControlError::Refused {
                    kind,
                    message,
                    hint,
                }
                .into())
            }
        }
    }

    fn round_trip<T: for<'d> Deserialize<'d>>(
        &mut self,
        ask: &ControlRequest,
    ) -> io::Result<ControlReply<T>> {
        let mut text = serde_json::to_vec(ask).map_err(io::Error::other)?;
        text.push(b'\n');
        (&self.output).write_all(&text)?;
        let mut line = Vec::new();
        if self.input.read_until(b'\n', &mut line)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        serde_json::from_slice(&line).map_err(io::Error::other)
    }

    /// Limits the total time for all further replies.
    pub fn set_timeout(&mut self, limit: Duration) {
        self.input.get_mut().deadline = Some(Instant::now() + limit);
    }

    /// Receives the objects that a reply has announced.
    pub fn receive_objects(&mut self, count: u64) -> Result<Vec<(Id, Vec<u8>)>> {
        const OBJECT_MAX: u64 = 1 << 30;
        let mut receive = || -> io::Result<Vec<(Id, Vec<u8>)>> {
            let mut out = Vec::new();
            for _ in 0..count {
                let (mut id, mut len) = ([0; 32], [0; 8]);
                self.input.read_exact(&mut id)?;
                self.input.read_exact(&mut len)?;
                let len = u64::from_be_bytes(len);
                // The limit keeps an error in the protocol from allocating all memory.
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

    /// Makes the kernel write back its cached writes of files that are open for writing. The
    /// process of the mount cannot do this itself: the kernel sends the writes to that process, so
    /// it would wait for itself.
    pub fn flush_kernel(&mut self) -> Result<()> {
        use std::os::unix::ffi::OsStrExt;
        for path in self.request::<Vec<Vec<u8>>>(&ControlRequest::Writers)? {
            let path = self
                .input
                .get_ref()
                .at
                .join(std::ffi::OsStr::from_bytes(&path));
            // A removed file needs no flush.
            let Ok(file) = File::open(&path) else {
                continue;
            };
            file.sync_all()
                .map_err(|source| ControlError::Sync { path, source })?;
        }
        Ok(())
    }

    /// Waits at most `limit` for the process to close the connection. Returns whether it did.
    pub fn wait_for_end(&mut self, limit: Duration) -> Result<bool> {
        self.set_timeout(limit);
        let mut rest = [0; 64];
        match self
            .input
            .read(&mut rest)
            .map_err(|e| self.input.get_ref().failed(e))
        {
            Ok(read) => Ok(read == 0),
            // The time limit has passed. The process may need longer to flush, unless it is
            // stopped.
            Err(ControlError::Stuck { stopped: false, .. }) => Ok(false),
            Err(e @ (ControlError::Stuck { .. } | ControlError::Cancelled(_))) => Err(e.into()),
            // Any other error means that the connection is broken, because the process has exited.
            Err(_) => Ok(true),
        }
    }
}
