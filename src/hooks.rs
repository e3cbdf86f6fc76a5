//! Runs programs of the user before and after a commit or a push.
//!
//! Hooks are configured commands, and executables in `hooks/` of a local repository. A hook reads a
//! description of its event from standard input, as JSON. Data from a remote is never run.

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

/// The directory of hooks in a repository.
pub const DIR: &str = "hooks";
/// The time that a hook has to exit after SIGTERM, before it is killed.
const END_TIMEOUT: Duration = Duration::from_secs(2);
/// The interval at which a running hook is checked.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// The moment at which a hook runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HookEvent {
    /// Before a commit reads data. A failure of the hook stops the commit.
    PreCommit,
    /// After a version was created.
    PostCommit,
    /// After a commit failed.
    FailedCommit,
    /// Before the first request to a remote. A failure of the hook stops the push.
    PrePush,
    /// After a push.
    PostPush,
    /// After a push failed.
    FailedPush,
}

impl HookEvent {
    /// All events.
    pub const ALL: [Self; 6] = [
        Self::PreCommit,
        Self::PostCommit,
        Self::FailedCommit,
        Self::PrePush,
        Self::PostPush,
        Self::FailedPush,
    ];

    /// Returns the name in settings, which is also the file name.
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

/// A command that has hooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookVerb {
    Commit,
    /// A push to one remote.
    Push,
}

impl HookVerb {
    const fn events(self) -> [HookEvent; 3] {
        match self {
            Self::Commit => [
                HookEvent::PreCommit,
                HookEvent::PostCommit,
                HookEvent::FailedCommit,
            ],
            Self::Push => [
                HookEvent::PrePush,
                HookEvent::PostPush,
                HookEvent::FailedPush,
            ],
        }
    }
}

/// The hooks of a command, and how to run them.
#[derive(Clone, Default)]
pub struct Hooks {
    /// The configured commands: program and arguments.
    pub commands: BTreeMap<HookEvent, Vec<String>>,
    /// The directory of hooks of the repository, if the repository is local.
    pub dir: Option<PathBuf>,
    /// User id of another user whose hooks may run, because the caller trusts the owner of the
    /// repository.
    pub trusted: Option<u32>,
    /// The time limit of each hook.
    pub limit: Duration,
    /// The file for the output of hooks; `None` discards it.
    pub output: Option<Arc<File>>,
}

/// The description of an event, as a hook reads it.
#[derive(Clone, Debug, Default, Serialize)]
pub struct HookFacts {
    pub repository: String,
    /// The directory that is committed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub worktree: Option<String>,
    /// The volume that is committed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume: Option<String>,
    /// The branch, if it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub branch: Option<String>,
    /// The version, if the event has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The name of the remote.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remote: Option<String>,
    /// The URL of the remote, without a password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<String>,
    /// The branches and tags that the user has named; empty if an option selects them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub refs: Vec<String>,
}

#[derive(Serialize)]
struct HookInput<'t> {
    schema: u8,
    event: &'static str,
    #[serde(flatten)]
    facts: &'t HookFacts,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<HookInputError>,
}

#[derive(Serialize)]
struct HookInputError {
    code: u8,
    kind: &'static str,
    message: String,
    causes: Vec<String>,
}

/// A hook failed, or cannot be run.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the names of the fields explain them")]
pub enum HookError {
    /// The program cannot be run.
    #[error("cannot run the {event} hook `{}`", program.display())]
    NotStarted {
        event: &'static str,
        program: PathBuf,
        source: io::Error,
    },
    /// Another user could replace the program.
    #[error("cannot run the {event} hook `{}`: it belongs to another user, or is writable by others", program.display())]
    Foreign {
        event: &'static str,
        program: PathBuf,
    },
    /// The program exited with an error status, or was killed by a signal.
    #[error("the {event} hook `{}` failed ({status}){}", program.display(), outcome(event))]
    Failed {
        event: &'static str,
        program: PathBuf,
        status: ExitStatus,
    },
    /// The program exceeded the time limit, and was killed.
    #[error("the {event} hook `{}` took longer than {} s and was killed{}", program.display(), limit.as_secs_f64(), outcome(event))]
    TimedOut {
        event: &'static str,
        program: PathBuf,
        limit: Duration,
    },
    /// The command was stopped while the hook ran.
    #[error("interrupted while the {event} hook was running")]
    Cancelled { event: &'static str },
}

/// Describes the outcome of the command whose hook failed.
fn outcome(event: &str) -> &'static str {
    match event {
        "pre-commit" => "; nothing was committed",
        "post-commit" => "; the version exists",
        "pre-push" => "; nothing was pushed",
        "post-push" => "; the push is complete",
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
                Some("make the file executable".to_owned())
            }
            Self::Foreign { .. } => {
                Some("run `chown` and `chmod` so that the file belongs to you and only you can write to it".to_owned())
            }
            Self::TimedOut { .. } => Some("raise the limit with the setting `hook.timeout`".to_owned()),
            _ => None,
        }
    }
}

/// A hook: a program with its arguments.
struct Hook {
    program: PathBuf,
    args: Vec<String>,
}

impl Hooks {
    /// Runs an operation between its hooks.
    ///
    /// `learned` adds the result to the facts. It returns `false` if no hook should run for the
    /// result, such as a commit without changes. An error of the last hook is returned together
    /// with the result, because the operation is already done.
    pub fn around<T>(
        &self,
        verb: HookVerb,
        mut facts: HookFacts,
        observer: &dyn Observer,
        act: impl FnOnce() -> Result<T>,
        learned: impl FnOnce(&T, &mut HookFacts) -> bool,
    ) -> Result<(T, Option<HookError>)> {
        let [before, after, failed] = verb.events();
        let done = self
            .run(before, &facts, None, observer)
            .map_err(Error::from)
            .and_then(|()| act());
        match done {
            Ok(done) => {
                let has_event = learned(&done, &mut facts);
                let hook = if has_event {
                    self.run(after, &facts, None, observer).err()
                } else {
                    None
                };
                Ok((done, hook))
            }
            Err(e) => {
                if let Err(also) = self.run(failed, &facts, Some(&e), &Uncancelled(observer)) {
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

    /// Runs the hooks of an event, until one fails.
    fn run(
        &self,
        event: HookEvent,
        facts: &HookFacts,
        e: Option<&Error>,
        observer: &dyn Observer,
    ) -> Result<(), HookError> {
        for hook in self.of(event)? {
            let error = e.map(|e| HookInputError {
                code: e.kind().exit_code(),
                kind: e.kind().name(),
                message: e.to_string(),
                causes: causes(e.as_error()),
            });
            let mut input = serde_json::to_vec(&HookInput {
                schema: 1,
                event: event.name(),
                facts,
                error,
            })
            .unwrap_or_default();
            input.push(b'\n');
            self.run_one(event.name(), &hook, &input, observer)?;
        }
        Ok(())
    }

    /// Returns the hooks of an event: the configured one, then the one of the repository.
    fn of(&self, event: HookEvent) -> Result<Vec<Hook>, HookError> {
        let mut found = Vec::new();
        if let Some((program, args)) = self
            .commands
            .get(&event)
            .and_then(|command| command.split_first())
        {
            found.push(Hook {
                program: PathBuf::from(program),
                args: args.to_vec(),
            });
        }
        if let Some(dir) = &self.dir {
            let program = dir.join(event.name());
            if is_executable(&program) {
                if !(self.is_ours(dir) && self.is_ours(&program)) {
                    return Err(HookError::Foreign {
                        event: event.name(),
                        program,
                    });
                }
                found.push(Hook {
                    program,
                    args: Vec::new(),
                });
            }
        }
        Ok(found)
    }

    /// Returns whether a path belongs to root, to this user or to the trusted owner, and is not
    /// writable by all users.
    fn is_ours(&self, path: &Path) -> bool {
        let own = rustix::process::geteuid().as_raw();
        let is_trusted = |owner| owner == own || owner == 0 || Some(owner) == self.trusted;
        path.metadata()
            .is_ok_and(|m| is_trusted(m.uid()) && m.mode() & 0o002 == 0)
    }

    fn run_one(
        &self,
        event: &'static str,
        hook: &Hook,
        input: &[u8],
        observer: &dyn Observer,
    ) -> Result<(), HookError> {
        let program = || hook.program.clone();
        let not_started = |source| HookError::NotStarted {
            event,
            program: program(),
            source,
        };
        let output = match &self.output {
            Some(file) => file.try_clone().map(Stdio::from).map_err(not_started)?,
            None => Stdio::null(),
        };
        let mut c = Command::new(&hook.program);
        c.args(&hook.args)
            .stdin(in_memory(input).map_err(not_started)?)
            .stdout(output)
            .process_group(0);
        let mut child = c.spawn().map_err(not_started)?;
        let until = Instant::now() + self.limit;
        loop {
            match child.try_wait().map_err(not_started)? {
                Some(status) if status.success() => return Ok(()),
                Some(status) => {
                    return Err(HookError::Failed {
                        event,
                        program: program(),
                        status,
                    });
                }
                None if observer.cancelled() => {
                    end(&mut child);
                    return Err(HookError::Cancelled { event });
                }
                None if Instant::now() >= until => {
                    end(&mut child);
                    return Err(HookError::TimedOut {
                        event,
                        program: program(),
                        limit: self.limit,
                    });
                }
                None => std::thread::sleep(POLL_INTERVAL),
            }
        }
    }
}

/// Returns whether a path is an executable file. As in git, other files are not hooks.
pub fn is_executable(program: &Path) -> bool {
    program
        .metadata()
        .is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}

/// Returns the input of a hook as a file in memory, because a write to a pipe would block if the
/// hook does not read.
fn in_memory(input: &[u8]) -> io::Result<Stdio> {
    let mut file = File::from(memfd_create("hook", MemfdFlags::CLOEXEC)?);
    file.write_all(input)?;
    file.rewind()?;
    Ok(file.into())
}

/// Asks a hook and all processes of its group to exit, and kills those that remain when the hook
/// has exited or after [`END_TIMEOUT`].
fn end(child: &mut Child) {
    let group = Pid::from_child(child);
    let _ = kill_process_group(group, Signal::TERM);
    let until = Instant::now() + END_TIMEOUT;
    while Instant::now() < until && matches!(child.try_wait(), Ok(None)) {
        std::thread::sleep(POLL_INTERVAL);
    }
    let _ = kill_process_group(group, Signal::KILL);
    let _ = child.wait();
}

/// Passes notices to another observer, but never reports cancellation, because the `failed-*` hooks
/// also run for a cancelled command.
struct Uncancelled<'o>(&'o dyn Observer);

impl Observer for Uncancelled<'_> {
    fn notice(&self, notice: Notice) {
        self.0.notice(notice);
    }
}
