//! Holding still what writes to a volume, for the moment in which a version is made of it.
//!
//! In: profiles, in the order in which they take hold. Out: an operation that ran while they held, and everything as it was.
//! A process of its own, the watchdog, takes hold and lets go: it does so too when nobody is left who could ask it to.

mod database;
mod docker;
mod freeze;
mod lines;
mod profile;
pub mod watchdog;

pub use profile::{Profile, Server, Where};

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use crate::context::Context;
use crate::docker::DockerEngine;
use crate::error::{Failure, Kind, Result, with_causes};
use crate::observe::{Notice, NoticeLevel, Observer};
use crate::sys::mountinfo;
use lines::{Lines, Next};
use watchdog::{Plan, Undo, Why, Word};

/// So much longer than its limit the watchdog may take before it is given up.
const GRACE: Duration = Duration::from_secs(30);
/// So often a wait looks whether it is to end.
const TICK: Duration = Duration::from_millis(200);

/// How writers are held still.
#[derive(Clone, Default)]
pub struct Quiesce {
    /// What takes hold, in this order; let go in reverse.
    pub profiles: Vec<Profile>,
    /// So long at most.
    pub limit: Duration,
    /// This program and the arguments that make it [`watchdog::run`].
    pub watchdog: Vec<OsString>,
    /// Where the Docker engine listens, as `DOCKER_HOST` has it.
    pub engine: Option<String>,
    /// Volumes that are committed, by name: where the engine does not say where a volume is. Else the worktree's path decides.
    pub volumes: Vec<String>,
    /// A password for the databases, if their clients do not know it by themselves.
    pub password: Option<String>,
    /// Directories that dvc writes to besides those of the repository: their file systems are never frozen.
    pub ours: Vec<PathBuf>,
}

/// Nothing is held still.
#[derive(Debug, thiserror::Error)]
pub enum QuiesceError {
    /// Not a profile.
    #[error("`{text}` is no profile: {problem}")]
    Bad {
        /// As given.
        text: String,
        /// What is wrong.
        problem: String,
    },
    /// A file system on which dvc itself writes.
    #[error("`{}` cannot be frozen: `{}` is on the same file system", path.display(), ours.display())]
    Ours {
        /// What was to be frozen.
        path: PathBuf,
        /// What dvc writes to.
        ours: PathBuf,
    },
    /// What was to be frozen is not there.
    #[error("cannot freeze `{}`", path.display())]
    NoPath {
        /// What was to be frozen.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The watchdog cannot be started, or ended by itself.
    #[error("the process that lets go again {what}, nothing was committed")]
    Watchdog {
        /// What happened.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
    /// A step failed; what had taken hold was let go.
    #[error("{message}, nothing was committed")]
    Failed {
        /// What is wrong.
        message: String,
        /// What can be done.
        hint: Option<String>,
    },
    /// It took too long.
    #[error("it took longer than {} s, so everything goes on and nothing was committed", limit.as_secs_f64())]
    Expired {
        /// The limit.
        limit: Duration,
    },
    /// It did not hold until the end, or it does not let go.
    #[error("{}, nothing was committed", problems.join("; "))]
    Broken {
        /// What is wrong.
        problems: Vec<String>,
    },
}

impl Failure for QuiesceError {
    fn kind(&self) -> Kind {
        match self {
            Self::Bad { .. } | Self::Ours { .. } => Kind::Usage,
            _ => Kind::CommandFailed,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Bad { .. } => Some(profile::FORMS.to_owned()),
            Self::Ours { .. } => Some("keep the repository elsewhere (`--repo`), or use another profile".to_owned()),
            Self::Failed { hint, .. } => hint.clone(),
            Self::Expired { .. } => Some("`--quiesce-timeout` allows more; a mount takes only a moment".to_owned()),
            _ => None,
        }
    }
}

/// Does something while writers are held still.
pub fn during<T>(
    quiesce: Option<&Quiesce>,
    context: &Context,
    observer: &dyn Observer,
    act: impl FnOnce(&dyn Observer) -> Result<T>,
) -> Result<T> {
    let Some(quiesce) = quiesce.filter(|q| !q.profiles.is_empty()) else { return act(observer) };
    quiesce.check(context)?;
    let held = quiesce.hold(context, observer)?;
    let watched = Watched { inner: observer, until: held.until };
    let done = act(&watched);
    let released = held.release(quiesce.limit);
    match (done, released) {
        (Ok(done), Ok(())) => Ok(done),
        (Ok(_), Err(e)) => Err(e.into()),
        (Err(e), _) if e.kind() == Kind::Cancelled && !observer.cancelled() => {
            Err(QuiesceError::Expired { limit: quiesce.limit }.into())
        }
        (Err(e), released) => {
            if let Err(also) = released {
                let message = with_causes(&also);
                observer.notice(Notice { level: NoticeLevel::Info, path: Vec::new(), message });
            }
            Err(e)
        }
    }
}

/// An operation is stopped when what it relies on ends.
struct Watched<'o> {
    inner: &'o dyn Observer,
    until: Instant,
}

impl Observer for Watched<'_> {
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
    /// Whether what is to be frozen may be: not what dvc itself writes to.
    fn check(&self, context: &Context) -> Result<(), QuiesceError> {
        for profile in &self.profiles {
            let Profile::Freeze { path } = profile else { continue };
            let on = |path: &Path| -> io::Result<(u32, u32)> {
                // What is not made yet will be where its parent is.
                let there = path.ancestors().find(|p| p.symlink_metadata().is_ok()).unwrap_or(path);
                let mounted = mountinfo::containing(there)?;
                mounted.map(|m| m.device).ok_or_else(|| io::ErrorKind::NotFound.into())
            };
            let no_path = |source| QuiesceError::NoPath { path: path.clone(), source };
            let frozen = path.metadata().and_then(|_| on(path)).map_err(no_path)?;
            let own = [Some(&context.repository), context.open.cache_dir.as_ref(), Some(&context.cache.dir)];
            for ours in own.into_iter().flatten().chain(&self.ours).filter(|ours| ours.is_absolute()) {
                if on(ours).map_err(no_path)? == frozen {
                    return Err(QuiesceError::Ours { path: path.clone(), ours: ours.clone() });
                }
            }
        }
        Ok(())
    }

    /// Takes hold.
    fn hold(&self, context: &Context, observer: &dyn Observer) -> Result<Held> {
        let failed = |source| QuiesceError::Watchdog { what: "cannot be started", source };
        let (program, args) = self.watchdog.split_first().ok_or_else(|| failed(io::ErrorKind::NotFound.into()))?;
        let mut c = Command::new(program);
        // It may live longer, and whoever reads what this process complains does not wait for it.
        c.args(args).current_dir("/").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let until = Instant::now() + self.limit;
        let mut child = c.spawn().map_err(failed)?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let mut held = Held {
            child,
            input,
            words: Lines::new(File::from(
                output.map(OwnedFd::from).ok_or_else(|| failed(io::ErrorKind::Other.into()))?,
            )),
            undo: Vec::new(),
            engine: self.engine.clone(),
            until,
            ended: false,
        };
        let plan = Plan {
            profiles: self.profiles.clone(),
            source: context.worktree.clone(),
            volumes: self.volumes.clone(),
            engine: self.engine.clone(),
            password: self.password.clone(),
            limit_ms: u64::try_from(self.limit.as_millis()).unwrap_or(u64::MAX),
        };
        let mut line = serde_json::to_vec(&plan).map_err(|e| failed(io::Error::other(e)))?;
        line.push(b'\n');
        let sent = held.input.as_mut().map_or(Ok(()), |input| input.write_all(&line));
        sent.map_err(failed)?;
        let word = held.word(self.limit + GRACE, &|| observer.cancelled()).inspect_err(|_| {
            for message in held.give_up() {
                observer.notice(Notice { level: NoticeLevel::Info, path: Vec::new(), message });
            }
        });
        match word? {
            Word::Held { did } => {
                for message in did {
                    observer.notice(Notice { level: NoticeLevel::Info, path: Vec::new(), message });
                }
                Ok(held)
            }
            Word::Failed { message, hint } => Err(QuiesceError::Failed { message, hint }.into()),
            Word::Ended { why, problems } => Err(ended(why, problems, self.limit).into()),
            Word::Undo(_) => Err(failed(io::ErrorKind::InvalidData.into()).into()),
        }
    }
}

/// What an end is that was not asked for, or with problems.
fn ended(why: Why, mut problems: Vec<String>, limit: Duration) -> QuiesceError {
    match why {
        Why::Expired => return QuiesceError::Expired { limit },
        Why::Gone => problems.insert(0, "the process that lets go again was asked to end".to_owned()),
        Why::Asked => {}
    }
    QuiesceError::Broken { problems }
}

/// What was taken hold of; let go when dropped.
struct Held {
    child: Child,
    input: Option<ChildStdin>,
    words: Lines,
    /// What has to be undone should the watchdog be gone.
    undo: Vec<Undo>,
    engine: Option<String>,
    until: Instant,
    ended: bool,
}

impl Held {
    /// The next word that is none about undoing.
    fn word(&mut self, limit: Duration, cancelled: &dyn Fn() -> bool) -> Result<Word> {
        let until = Instant::now() + limit;
        loop {
            let lost = |what, kind: io::ErrorKind| QuiesceError::Watchdog { what, source: kind.into() };
            if cancelled() {
                return Err(crate::work::Cancelled.into());
            }
            match self.words.next(TICK) {
                Next::Line(line) => match serde_json::from_str(&line) {
                    Ok(Word::Undo(undo)) => self.undo.push(undo),
                    Ok(word) => {
                        self.ended = !matches!(word, Word::Held { .. });
                        return Ok(word);
                    }
                    Err(_) => return Err(lost("cannot be understood", io::ErrorKind::InvalidData).into()),
                },
                Next::End => {
                    let mut problems = self.undo_here();
                    if problems.is_empty() {
                        return Err(lost("ended by itself", io::ErrorKind::UnexpectedEof).into());
                    }
                    problems.insert(0, "the process that lets go again ended by itself".to_owned());
                    return Err(QuiesceError::Broken { problems }.into());
                }
                Next::Late if Instant::now() >= until => {
                    return Err(lost("does not answer", io::ErrorKind::TimedOut).into());
                }
                Next::Late => {}
            }
        }
    }

    /// Lets go. An error means that it did not hold all the time, or that something does not let go.
    fn release(mut self, limit: Duration) -> Result<(), QuiesceError> {
        let asked = self.input.as_mut().map_or(Ok(()), |input| input.write_all(b"release\n"));
        // One that has ended by itself has said why.
        drop(asked);
        match self.word(GRACE + limit, &|| false) {
            Ok(Word::Ended { why: Why::Asked, problems }) if problems.is_empty() => Ok(()),
            Ok(Word::Ended { why, problems }) => Err(ended(why, problems, limit)),
            Ok(_) => Err(QuiesceError::Broken { problems: vec!["the watchdog cannot be understood".to_owned()] }),
            Err(e) => Err(QuiesceError::Broken { problems: vec![with_causes(e.as_error())] }),
        }
    }

    /// The watchdog is gone: what it told is undone here. Nobody is left who could do more about what is returned.
    fn undo_here(&mut self) -> Vec<String> {
        self.ended = true;
        let engine = DockerEngine::new(self.engine.as_deref()).ok();
        let last_first = self.undo.drain(..).rev().collect();
        watchdog::undo_all(last_first, engine.as_ref(), Duration::ZERO)
    }

    /// Lets go of what nobody wants any more; returns what does not let go.
    fn give_up(&mut self) -> Vec<String> {
        drop(self.input.take());
        if self.ended {
            return Vec::new();
        }
        let mut word = self.word(GRACE * 2, &|| false);
        if let Ok(Word::Held { .. }) = word {
            word = self.word(GRACE * 2, &|| false);
        }
        self.ended = true;
        match word {
            Ok(Word::Ended { problems, .. }) => problems,
            Ok(Word::Failed { message, .. }) => vec![message],
            Ok(_) => vec!["the watchdog cannot be understood".to_owned()],
            Err(e) => vec![with_causes(e.as_error())],
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        drop(self.give_up());
        // It goes on by itself if something does not let go yet.
        let _ = self.child.try_wait();
    }
}
