//! Quiesces the writers of a volume during a commit.
//!
//! Profiles start in the given order, and are undone in reverse order. A separate process, the
//! watchdog, quiesces and releases the writers, so that they are released even if the commit dies.

mod database;
mod docker;
mod error;
mod freeze;
mod lines;
mod profile;
mod protocol;
mod undo;
pub mod watchdog;

pub use error::QuiesceError;
pub use profile::{DatabaseAddress, DatabaseServer, QuiesceProfile};

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use crate::context::Context;
use crate::docker::DockerEngine;
use crate::error::{Kind, Result, with_causes};
use crate::observe::{Notice, NoticeLevel, Observer};
use crate::sys::mountinfo;
use lines::{LineReader, NextLine};
use protocol::{EndReason, POLL_INTERVAL, QuiescePlan, UndoStep, WatchdogEvent};
use undo::undo_all;

/// Time that the watchdog may take beyond the time limit before the commit gives up on it.
const GRACE: Duration = Duration::from_secs(30);

/// How writers are quiesced.
#[derive(Clone, Default)]
pub struct Quiesce {
    /// The profiles, in the order in which they start.
    pub profiles: Vec<QuiesceProfile>,
    /// The time after which the watchdog releases the writers, even if the commit still runs.
    pub limit: Duration,
    /// This program, with the arguments that run [`watchdog::run`].
    pub watchdog: Vec<OsString>,
    /// The socket of the Docker engine, as in `DOCKER_HOST`.
    pub engine: Option<String>,
    /// The names of the committed volumes, for engines that do not report the path of a volume. For
    /// other engines, writers are found by the path of the worktree.
    pub volumes: Vec<String>,
    /// The password of the databases, if their clients do not have it.
    pub password: Option<String>,
    /// Directories outside of the repository that dvc writes to. Their file systems are never
    /// frozen.
    pub ours: Vec<PathBuf>,
}

/// Runs `act` while the writers are quiesced. Fails if they were not quiesced all the time.
pub fn during<T>(
    quiesce: Option<&Quiesce>,
    context: &Context,
    observer: &dyn Observer,
    act: impl FnOnce(&dyn Observer) -> Result<T>,
) -> Result<T> {
    let Some(quiesce) = quiesce.filter(|q| !q.profiles.is_empty()) else {
        return act(observer);
    };
    quiesce.ensure_freezable(context)?;
    let running = quiesce.start(context, observer)?;
    let timed = TimedObserver {
        inner: observer,
        until: running.until,
    };
    let done = act(&timed);
    let released = running.release(quiesce.limit);
    match (done, released) {
        (Ok(done), Ok(())) => Ok(done),
        (Ok(_), Err(e)) => Err(e.into()),
        (Err(e), _) if e.kind() == Kind::Cancelled && !observer.cancelled() => {
            Err(QuiesceError::Expired {
                limit: quiesce.limit,
            }
            .into())
        }
        (Err(e), released) => {
            if let Err(also) = released {
                let message = with_causes(&also);
                observer.notice(Notice {
                    level: NoticeLevel::Info,
                    path: Vec::new(),
                    message,
                });
            }
            Err(e)
        }
    }
}

/// Cancels the operation at the time limit, when the watchdog releases the writers.
struct TimedObserver<'o> {
    inner: &'o dyn Observer,
    until: Instant,
}

impl Observer for TimedObserver<'_> {
    fn phase(&self, name: &'static str, files: Option<u64>, bytes: Option<u64>) {
        self.inner.phase(name, files, bytes);
    }
    fn advance(&self, files: u64, bytes: u64) {
        self.inner.advance(files, bytes);
    }
    fn on_the_way(&self, bytes: u64) {
        self.inner.on_the_way(bytes);
    }
    fn notice(&self, notice: Notice) {
        self.inner.notice(notice);
    }
    fn step(&self, name: &'static str) {
        self.inner.step(name);
    }
    fn cancelled(&self) -> bool {
        self.inner.cancelled() || Instant::now() >= self.until
    }
}

impl Quiesce {
    /// Fails if dvc itself writes to a file system to freeze.
    fn ensure_freezable(&self, context: &Context) -> Result<(), QuiesceError> {
        for profile in &self.profiles {
            let QuiesceProfile::Freeze { path } = profile else {
                continue;
            };
            let on = |path: &Path| -> io::Result<(u32, u32)> {
                // A path that does not exist yet will be on the file system of its nearest existing
                // parent.
                let there = path
                    .ancestors()
                    .find(|p| p.symlink_metadata().is_ok())
                    .unwrap_or(path);
                let mounted = mountinfo::containing(there)?;
                mounted
                    .map(|m| m.device)
                    .ok_or_else(|| io::ErrorKind::NotFound.into())
            };
            let no_path = |source| QuiesceError::NoPath {
                path: path.clone(),
                source,
            };
            let frozen = path.metadata().and_then(|_| on(path)).map_err(no_path)?;
            let own = [
                Some(&context.repository),
                context.open.cache_dir.as_ref(),
                Some(&context.cache.dir),
            ];
            for ours in own
                .into_iter()
                .flatten()
                .chain(&self.ours)
                .filter(|ours| ours.is_absolute())
            {
                if on(ours).map_err(no_path)? == frozen {
                    return Err(QuiesceError::Ours {
                        path: path.clone(),
                        ours: ours.clone(),
                    });
                }
            }
        }
        Ok(())
    }

    /// Starts the watchdog, and waits until the writers are quiesced.
    fn start(&self, context: &Context, observer: &dyn Observer) -> Result<RunningWatchdog> {
        let failed = |source| QuiesceError::Watchdog {
            what: "cannot be started",
            source,
        };
        let (program, args) = self
            .watchdog
            .split_first()
            .ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
        let mut c = Command::new(program);
        // The watchdog may outlive this process, so readers of standard error must not wait for it.
        c.args(args)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        let until = Instant::now() + self.limit;
        let mut child = c.spawn().map_err(failed)?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let mut running = RunningWatchdog {
            child,
            input,
            events: LineReader::new(File::from(
                output
                    .map(OwnedFd::from)
                    .ok_or_else(|| failed(io::ErrorKind::Other.into()))?,
            )),
            undo: Vec::new(),
            engine: self.engine.clone(),
            until,
            ended: false,
        };
        let plan = QuiescePlan {
            profiles: self.profiles.clone(),
            source: context.worktree.clone(),
            volumes: self.volumes.clone(),
            engine: self.engine.clone(),
            password: self.password.clone(),
            limit_ms: u64::try_from(self.limit.as_millis()).unwrap_or(u64::MAX),
        };
        let mut line = serde_json::to_vec(&plan).map_err(|e| failed(io::Error::other(e)))?;
        line.push(b'\n');
        let sent = running
            .input
            .as_mut()
            .map_or(Ok(()), |input| input.write_all(&line));
        sent.map_err(failed)?;
        let event = running
            .next_event(self.limit + GRACE, &|| observer.cancelled())
            .inspect_err(|_| {
                for message in running.give_up() {
                    observer.notice(Notice {
                        level: NoticeLevel::Info,
                        path: Vec::new(),
                        message,
                    });
                }
            });
        match event? {
            WatchdogEvent::Quiesced { did } => {
                for message in did {
                    observer.notice(Notice {
                        level: NoticeLevel::Info,
                        path: Vec::new(),
                        message,
                    });
                }
                Ok(running)
            }
            WatchdogEvent::Failed { message, hint } => {
                Err(QuiesceError::Failed { message, hint }.into())
            }
            WatchdogEvent::Ended { why, problems } => Err(ended(why, problems, self.limit).into()),
            WatchdogEvent::Undo(_) => Err(failed(io::ErrorKind::InvalidData.into()).into()),
        }
    }
}

/// Returns the error for an end that was not requested, or that had problems.
fn ended(why: EndReason, mut problems: Vec<String>, limit: Duration) -> QuiesceError {
    match why {
        EndReason::Expired => return QuiesceError::Expired { limit },
        EndReason::Gone => problems.insert(
            0,
            "the watchdog process received a request to terminate".to_owned(),
        ),
        EndReason::Asked => {}
    }
    QuiesceError::Broken { problems }
}

/// A running watchdog. Dropping it releases the writers.
struct RunningWatchdog {
    child: Child,
    input: Option<ChildStdin>,
    events: LineReader,
    /// The steps to undo if the watchdog dies.
    undo: Vec<UndoStep>,
    engine: Option<String>,
    until: Instant,
    ended: bool,
}

impl RunningWatchdog {
    /// Returns the next event. A [`WatchdogEvent::Undo`] is only recorded.
    fn next_event(
        &mut self,
        limit: Duration,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<WatchdogEvent> {
        let until = Instant::now() + limit;
        loop {
            let lost = |what, kind: io::ErrorKind| QuiesceError::Watchdog {
                what,
                source: kind.into(),
            };
            if cancelled() {
                return Err(crate::work::Cancelled.into());
            }
            match self.events.next(POLL_INTERVAL) {
                NextLine::Line(line) => match serde_json::from_str(&line) {
                    Ok(WatchdogEvent::Undo(undo)) => self.undo.push(undo),
                    Ok(event) => {
                        self.ended = !matches!(event, WatchdogEvent::Quiesced { .. });
                        return Ok(event);
                    }
                    Err(_) => {
                        return Err(
                            lost("sent an invalid message", io::ErrorKind::InvalidData).into()
                        );
                    }
                },
                NextLine::End => {
                    let mut problems = self.undo_here();
                    if problems.is_empty() {
                        return Err(
                            lost("terminated unexpectedly", io::ErrorKind::UnexpectedEof).into(),
                        );
                    }
                    problems.insert(0, "the watchdog process terminated unexpectedly".to_owned());
                    return Err(QuiesceError::Broken { problems }.into());
                }
                NextLine::Late if Instant::now() >= until => {
                    return Err(lost("does not respond", io::ErrorKind::TimedOut).into());
                }
                NextLine::Late => {}
            }
        }
    }

    /// Releases the writers. An error means that they were not quiesced the whole time, or that a
    /// step cannot be undone.
    fn release(mut self, limit: Duration) -> Result<(), QuiesceError> {
        let requested = self
            .input
            .as_mut()
            .map_or(Ok(()), |input| input.write_all(b"release\n"));
        // Ignore errors, because a watchdog that has exited by itself has reported the reason.
        drop(requested);
        match self.next_event(GRACE + limit, &|| false) {
            Ok(WatchdogEvent::Ended {
                why: EndReason::Asked,
                problems,
            }) if problems.is_empty() => Ok(()),
            Ok(WatchdogEvent::Ended { why, problems }) => Err(ended(why, problems, limit)),
            Ok(_) => Err(QuiesceError::Broken {
                problems: vec!["the watchdog sent an invalid message".to_owned()],
            }),
            Err(e) => Err(QuiesceError::Broken {
                problems: vec![with_causes(e.as_error())],
            }),
        }
    }

    /// Undoes the steps of a dead watchdog in this process, and returns the problems.
    fn undo_here(&mut self) -> Vec<String> {
        self.ended = true;
        let engine = DockerEngine::new(self.engine.as_deref()).ok();
        let last_first = self.undo.drain(..).rev().collect();
        undo_all(last_first, engine.as_ref(), Duration::ZERO)
    }

    /// Releases the writers of an aborted commit, and returns the problems.
    fn give_up(&mut self) -> Vec<String> {
        drop(self.input.take());
        if self.ended {
            return Vec::new();
        }
        let mut event = self.next_event(GRACE * 2, &|| false);
        if let Ok(WatchdogEvent::Quiesced { .. }) = event {
            event = self.next_event(GRACE * 2, &|| false);
        }
        self.ended = true;
        match event {
            Ok(WatchdogEvent::Ended { problems, .. }) => problems,
            Ok(WatchdogEvent::Failed { message, .. }) => vec![message],
            Ok(_) => vec!["the watchdog sent an invalid message".to_owned()],
            Err(e) => vec![with_causes(e.as_error())],
        }
    }
}

impl Drop for RunningWatchdog {
    fn drop(&mut self) {
        drop(self.give_up());
        // Do not wait for the watchdog, because it continues alone if a step cannot be undone yet.
        let _ = self.child.try_wait();
    }
}
