//! Programs that people want to run before and after a commit or a push.
//!
//! In: configured commands, executables in `hooks/` of a repository on this machine, and what is about to happen, which
//! they get as JSON on standard input. Out: whether they succeeded. Nothing that came from a remote is ever run.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Seek, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{Pid, Signal, kill_process_group};
use serde::Serialize;

use crate::error::{Error, Failure, Kind, Result, causes, with_causes};
use crate::observe::{Notice, NoticeLevel, Observer};

/// The directory of a repository in which hooks lie.
pub const DIR: &str = "hooks";
/// A hook whose time is up, or that is not wanted any more, may take so long to end by itself.
const END: Duration = Duration::from_secs(2);
/// So often it is looked whether a hook has ended.
const TICK: Duration = Duration::from_millis(10);

/// When a hook runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Event {
    /// Before anything is read; its failure stops the commit.
    PreCommit,
    /// When a version was made.
    PostCommit,
    /// When none was made, because something failed.
    FailedCommit,
    /// Before a remote is asked; its failure stops the push.
    PrePush,
    /// When a remote has everything.
    PostPush,
    /// When it has not.
    FailedPush,
}

impl Event {
    /// All.
    pub const ALL: [Self; 6] =
        [Self::PreCommit, Self::PostCommit, Self::FailedCommit, Self::PrePush, Self::PostPush, Self::FailedPush];

    /// Its name, as in settings and of files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::PreCommit => "pre-commit",
            Self::PostCommit => "post-commit",
            Self::FailedCommit => "failed-commit",
            Self::PrePush => "pre-push",
            Self::PostPush => "post-push",
            Self::FailedPush => "failed-push",
        }
    }
}

/// What hooks are around.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// A commit.
    Commit,
    /// A push to one remote.
    Push,
}

impl Verb {
    const fn events(self) -> [Event; 3] {
        match self {
            Self::Commit => [Event::PreCommit, Event::PostCommit, Event::FailedCommit],
            Self::Push => [Event::PrePush, Event::PostPush, Event::FailedPush],
        }
    }
}

/// Which hooks there are.
#[derive(Clone, Default)]
pub struct Hooks {
    /// Configured commands: program and arguments.
    pub commands: BTreeMap<Event, Vec<String>>,
    /// The directory of the repository's own, if it is on this machine.
    pub dir: Option<PathBuf>,
    /// Another user whose hooks are run from there: the caller trusts the owner of the repository.
    pub trusted: Option<u32>,
    /// So long each may take.
    pub limit: Duration,
    /// Where what they print goes; nowhere if `None`.
    pub output: Option<Arc<File>>,
}

/// What a hook is told.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Facts {
    /// The repository.
    pub repository: String,
    /// What is committed from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worktree: Option<String>,
    /// The volume that is committed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume: Option<String>,
    /// The branch, as far as it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// The version, when there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The remote's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote: Option<String>,
    /// Its URL, without a password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// Branches and tags that are pushed; all that is asked for by an option if there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub refs: Vec<String>,
}

#[derive(Serialize)]
struct Told<'t> {
    schema: u8,
    event: &'static str,
    #[serde(flatten)]
    facts: &'t Facts,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<ToldError>,
}

#[derive(Serialize)]
struct ToldError {
    code: u8,
    kind: &'static str,
    message: String,
    causes: Vec<String>,
}

/// A hook did not do its part.
#[derive(Debug, thiserror::Error)]
pub enum HookError {
    /// It cannot be run.
    #[error("the {event} hook `{}` cannot be run", program.display())]
    NotStarted {
        /// Its event.
        event: &'static str,
        /// The program.
        program: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Somebody else could make us run anything.
    #[error("the {event} hook `{}` belongs to another user, or others may write to it", program.display())]
    Foreign {
        /// Its event.
        event: &'static str,
        /// The program.
        program: PathBuf,
    },
    /// It failed.
    #[error("the {event} hook `{}` failed ({status}){}", program.display(), stands(event))]
    Failed {
        /// Its event.
        event: &'static str,
        /// The program.
        program: PathBuf,
        /// How it ended.
        status: ExitStatus,
    },
    /// It took too long, and was ended.
    #[error("the {event} hook `{}` took longer than {} s and was ended{}", program.display(), limit.as_secs_f64(), stands(event))]
    TimedOut {
        /// Its event.
        event: &'static str,
        /// The program.
        program: PathBuf,
        /// The limit.
        limit: Duration,
    },
    /// Whoever waits for it was stopped.
    #[error("stopped while the {event} hook ran")]
    Cancelled {
        /// Its event.
        event: &'static str,
    },
}

/// What holds although a hook failed.
fn stands(event: &str) -> &'static str {
    match event {
        "pre-commit" => ", nothing was committed",
        "post-commit" => "; the version stands",
        "pre-push" => ", nothing was pushed",
        "post-push" => "; what was pushed stands",
        _ => "",
    }
}

impl Failure for HookError {
    fn kind(&self) -> Kind {
        match self {
            Self::Cancelled { .. } => Kind::Cancelled,
            _ => Kind::CommandFailed,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::NotStarted { source, .. } if source.kind() == io::ErrorKind::PermissionDenied => {
                Some("is it executable?".to_owned())
            }
            Self::Foreign { .. } => Some("only hooks of root and of yourself are run".to_owned()),
            Self::TimedOut { .. } => Some("`hook.timeout` allows more".to_owned()),
            _ => None,
        }
    }
}

/// One program.
struct Hook {
    program: PathBuf,
    args: Vec<String>,
}

impl Hooks {
    /// Does something between its hooks. `learned` adds what is known when it is done; without a version, or whatever else the
    /// hook is for, it says `false` and there is no hook afterwards. An error of the last hook comes beside the result.
    pub fn around<T>(
        &self,
        verb: Verb,
        mut facts: Facts,
        observer: &dyn Observer,
        act: impl FnOnce() -> Result<T>,
        learned: impl FnOnce(&T, &mut Facts) -> bool,
    ) -> Result<(T, Option<HookError>)> {
        let [before, after, failed] = verb.events();
        let done = self.run(before, &facts, None, observer).map_err(Error::from).and_then(|()| act());
        match done {
            Ok(done) => {
                let told = learned(&done, &mut facts);
                let hook = if told { self.run(after, &facts, None, observer).err() } else { None };
                Ok((done, hook))
            }
            Err(e) => {
                if let Err(also) = self.run(failed, &facts, Some(&e), &Deaf(observer)) {
                    let message = with_causes(&also);
                    observer.notice(Notice { level: NoticeLevel::Info, path: Vec::new(), message });
                }
                Err(e)
            }
        }
    }

    /// Runs the hooks of an event, until one fails.
    fn run(&self, event: Event, facts: &Facts, e: Option<&Error>, observer: &dyn Observer) -> Result<(), HookError> {
        for hook in self.of(event)? {
            let error = e.map(|e| ToldError {
                code: e.kind().exit_code(),
                kind: e.kind().name(),
                message: e.to_string(),
                causes: causes(e.as_error()),
            });
            let mut told =
                serde_json::to_vec(&Told { schema: 1, event: event.name(), facts, error }).unwrap_or_default();
            told.push(b'\n');
            self.run_one(event.name(), &hook, &told, observer)?;
        }
        Ok(())
    }

    /// The configured one, then that of the repository.
    fn of(&self, event: Event) -> Result<Vec<Hook>, HookError> {
        let mut found = Vec::new();
        if let Some((program, args)) = self.commands.get(&event).and_then(|command| command.split_first()) {
            found.push(Hook { program: PathBuf::from(program), args: args.to_vec() });
        }
        if let Some(dir) = &self.dir {
            let program = dir.join(event.name());
            if is_executable(&program) {
                if !(self.is_ours(dir) && self.is_ours(&program)) {
                    return Err(HookError::Foreign { event: event.name(), program });
                }
                found.push(Hook { program, args: Vec::new() });
            }
        }
        Ok(found)
    }

    /// Whether only root, the caller and a trusted owner decide what a path contains.
    fn is_ours(&self, path: &Path) -> bool {
        let own = rustix::process::geteuid().as_raw();
        let is_trusted = |owner| owner == own || owner == 0 || Some(owner) == self.trusted;
        path.metadata().is_ok_and(|m| is_trusted(m.uid()) && m.mode() & 0o002 == 0)
    }

    fn run_one(&self, event: &'static str, hook: &Hook, told: &[u8], observer: &dyn Observer) -> Result<(), HookError> {
        let program = || hook.program.clone();
        let not_started = |source| HookError::NotStarted { event, program: program(), source };
        let output = match &self.output {
            Some(file) => file.try_clone().map(Stdio::from).map_err(not_started)?,
            None => Stdio::null(),
        };
        let mut c = Command::new(&hook.program);
        c.args(&hook.args).stdin(input(told).map_err(not_started)?).stdout(output).process_group(0);
        let mut child = c.spawn().map_err(not_started)?;
        let until = Instant::now() + self.limit;
        loop {
            match child.try_wait().map_err(not_started)? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => return Err(HookError::Failed { event, program: program(), status }),
                None if observer.cancelled() => {
                    end(&mut child);
                    return Err(HookError::Cancelled { event });
                }
                None if Instant::now() >= until => {
                    end(&mut child);
                    return Err(HookError::TimedOut { event, program: program(), limit: self.limit });
                }
                None => std::thread::sleep(TICK),
            }
        }
    }
}

/// Whether there is a hook at a path. As in git, a file that is not executable is none.
pub fn is_executable(program: &Path) -> bool {
    program.metadata().is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}

/// What a hook reads. It lies in memory, so that nobody waits for a hook that does not.
fn input(told: &[u8]) -> io::Result<Stdio> {
    let mut file = File::from(memfd_create("hook", MemfdFlags::CLOEXEC)?);
    file.write_all(told)?;
    file.rewind()?;
    Ok(file.into())
}

/// Ends a hook with all that it started.
fn end(child: &mut Child) {
    let group = Pid::from_child(child);
    let _ = kill_process_group(group, Signal::TERM);
    let until = Instant::now() + END;
    while Instant::now() < until && matches!(child.try_wait(), Ok(None)) {
        std::thread::sleep(TICK);
    }
    let _ = kill_process_group(group, Signal::KILL);
    let _ = child.wait();
}

/// Tells of a failure also where the failure is that somebody was stopped.
struct Deaf<'o>(&'o dyn Observer);

impl Observer for Deaf<'_> {
    fn notice(&self, notice: Notice) {
        self.0.notice(notice);
    }
}
