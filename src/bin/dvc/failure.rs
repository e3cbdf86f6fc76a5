//! From failures to words and exit codes: text or JSON on standard error, 141 for a closed pipe, 70 for a bug.

use crate::settings::BadConfiguration;
use crate::signals::Signals;
use dvc::error::{Error, Failure, Kind, causes, hint_of_causes};
use dvc::model::text::harmless;
use dvc::store::StoreError;
use dvc::work::Panicked;
use serde::Serialize;
use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;

/// The exit code of a bug in dvc.
pub(crate) const BUG: u8 = Kind::Internal.exit_code();
/// The exit code of a process whose reader went away: 128 + SIGPIPE.
const CLOSED_PIPE: u8 = 141;

/// How a verb that did not fail ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exit(u8);

impl Exit {
    /// Done.
    pub(crate) const DONE: Self = Self(0);
    /// A "no" answer.
    pub(crate) const NO: Self = Self(1);
    /// Ended by a signal, where one came.
    pub(crate) fn unless_cancelled(self, signals: &Signals) -> Self {
        if signals.cancelled() { Self(signals.exit_code()) } else { self }
    }

    /// How a child ended, which has said why.
    pub(crate) fn of_child(status: std::process::ExitStatus) -> Self {
        use std::os::unix::process::ExitStatusExt;
        let code = status.code().or_else(|| status.signal().map(|n| 128 + n));
        Self(code.and_then(|code| u8::try_from(code).ok()).filter(|code| *code != 0).unwrap_or(BUG))
    }

    /// What a failure stands for.
    pub(crate) fn of(failed: &Failed) -> Self {
        Self::with(match failed {
            Failed::Operation(e) => e.kind(),
            Failed::Output(e) => Kind::of_io(e),
        })
    }

    /// Done, with what a kind of failure stands for.
    pub(crate) const fn with(kind: Kind) -> Self {
        Self(kind.exit_code())
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.0)
    }
}

/// The result of a verb.
pub(crate) type Outcome = Result<Exit, Failed>;

/// Why a verb failed.
#[derive(Debug)]
pub(crate) enum Failed {
    /// The operation.
    Operation(Error),
    /// Standard output.
    Output(io::Error),
}

impl From<Error> for Failed {
    fn from(e: Error) -> Self {
        Self::Operation(e)
    }
}

impl From<io::Error> for Failed {
    fn from(e: io::Error) -> Self {
        Self::Output(e)
    }
}

impl From<CliError> for Failed {
    fn from(e: CliError) -> Self {
        Self::Operation(e.into())
    }
}

impl From<BadConfiguration> for Failed {
    fn from(e: BadConfiguration) -> Self {
        Self::Operation(e.into())
    }
}

/// What can go wrong in the command line itself.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    /// A file that the command line named.
    #[error("cannot {doing} `{}`", path.display())]
    File { doing: &'static str, path: PathBuf, source: io::Error },
    /// No repository here nor above.
    #[error("there is no repository in `{}` nor above", .0.display())]
    NoRepository(PathBuf),
    /// The directory lies in a mount that cannot be used from here.
    #[error("{0}")]
    UnusableMount(Error),
    /// A repository was to be made inside of a mount.
    #[error("`{}` lies in the mount at `{}`: a repository there could not be used", dir.display(), at.display())]
    InsideMount {
        /// Where it was to be.
        dir: PathBuf,
        /// The mount point.
        at: PathBuf,
    },
    /// Not a repository where one was named.
    #[error("there is no repository at `{}`", .0.display())]
    NotARepository(PathBuf),
    /// The directory of an unrelated program.
    #[error("there is no repository in `{}` nor above", .0.display())]
    Foreign(PathBuf),
    /// A URL where only a directory will do.
    #[error("`{0}` is not a directory on this machine")]
    Remote(String),
    /// No remote of that name.
    #[error("there is no remote `{name}`")]
    NoRemote { name: String, known: String },
    /// A remote in the worktree of its own repository.
    #[error("`{}` lies in the worktree `{}` that it would be a copy of", dir.display(), top.display())]
    InsideWorktree { dir: PathBuf, top: PathBuf },
    /// A value that an option does not take.
    #[error("{option}: {problem}")]
    BadOption { option: String, problem: String },
    /// A verb that changes something was asked for a dry run.
    #[error("`dvc {0}` has no dry run")]
    NoDryRun(&'static str),
    /// The run directory in a place where other users may create names.
    #[error("cannot use the run directory `{}`", path.display())]
    RunDir { path: PathBuf, source: io::Error },
    /// A setting that nobody set.
    #[error("`{0}` is not set")]
    NotSet(String),
}

impl CliError {
    /// A value that an option does not take.
    pub(crate) fn option(option: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::BadOption { option: option.into(), problem: problem.into() }
    }
}

impl Failure for CliError {
    fn kind(&self) -> Kind {
        match self {
            // Not a text, where the user was to write one.
            Self::File { source, .. } if source.kind() == io::ErrorKind::InvalidData => Kind::Usage,
            Self::File { source, .. } | Self::RunDir { source, .. } => Kind::of_io(source),
            Self::NoRepository(_) | Self::NotARepository(_) | Self::Foreign(_) => Kind::NoRepository,
            Self::Remote(_) | Self::BadOption { .. } | Self::NoDryRun(_) => Kind::Usage,
            Self::InsideMount { .. } | Self::InsideWorktree { .. } => Kind::Usage,
            Self::UnusableMount(e) => e.kind(),
            Self::NotSet(_) | Self::NoRemote { .. } => Kind::NotFound,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::File { source, .. } if source.kind() == io::ErrorKind::InvalidData => {
                Some("write it as UTF-8 text (`iconv` converts it)".into())
            }
            Self::NoRepository(_) => Some("`dvc init` creates one, `--repo` and `DVC_REPO` name one elsewhere".into()),
            Self::UnusableMount(e) => e.hint(),
            Self::InsideMount { .. } => Some(
                "choose a directory outside of it; `dvc commit` in the mount makes versions of all that is in it"
                    .into(),
            ),
            Self::NotARepository(_) => {
                Some("`dvc init --repo DIR` creates one; with -C, DIR is relative to that".into())
            }
            Self::Foreign(dir) => {
                let dir = dir.display();
                Some(format!("`{dir}/.dvc` belongs to an unrelated program, this one keeps its data in `.dvcs`"))
            }
            Self::InsideWorktree { .. } => {
                Some("name a directory outside of the worktree, best on another disk".into())
            }
            Self::Remote(_) => Some("a repository elsewhere is only read; `dvc clone` it to work with it".into()),
            Self::NoDryRun(_) => Some("leave `-n` out; nothing was done".into()),
            Self::RunDir { .. } => {
                Some("set `XDG_RUNTIME_DIR` or `DVC_RUN_DIR` to a directory that only you can write to".into())
            }
            Self::NoRemote { known, .. } if known.is_empty() => Some("`dvc remote add NAME URL` adds one".into()),
            Self::NoRemote { known, .. } => Some(format!("there is {known}; `dvc remote add NAME URL` adds one")),
            _ => None,
        }
    }
}

#[derive(Serialize)]
struct JsonFailure<'a> {
    schema: u8,
    code: u8,
    kind: &'a str,
    message: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    causes: Vec<String>,
    hint: Option<String>,
}

/// How failures are told, as far as the command line says it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Voice {
    pub(crate) json: bool,
    /// The value of `--color`.
    pub(crate) colour: Option<String>,
}

impl Voice {
    /// By arguments that are not parsed yet, or cannot be.
    pub(crate) fn of(argv: &[OsString]) -> Self {
        let mut voice = Self::default();
        let mut args = argv.iter().take_while(|a| *a != "--").map(|a| a.to_string_lossy());
        while let Some(arg) = args.next() {
            match arg.strip_prefix("--color") {
                _ if arg == "--json" => voice.json = true,
                Some("") => voice.colour = args.next().map(String::from),
                Some(value) => voice.colour = value.strip_prefix('=').map(str::to_owned).or(voice.colour),
                None => {}
            }
        }
        voice
    }

    pub(crate) fn colours(&self, stream: &impl IsTerminal) -> bool {
        crate::print::colour(self.colour.as_deref(), None, stream)
    }

    /// Writes a failure to standard error.
    pub(crate) fn say(&self, code: u8, kind: &str, message: &str, causes: Vec<String>, hint: Option<String>) {
        let _ = io::stderr().write_all(self.words(code, kind, message, causes, hint).as_bytes());
    }

    fn words(&self, code: u8, kind: &str, message: &str, causes: Vec<String>, hint: Option<String>) -> String {
        let mut text = String::new();
        if self.json {
            let object = JsonFailure { schema: 1, code, kind, message, causes, hint };
            text = crate::print::harmless_json(&object).unwrap_or_default();
            text.push('\n');
        } else {
            let (red, plain) = if self.colours(&io::stderr()) { ("\x1b[1;31m", "\x1b[0m") } else { ("", "") };
            text.push_str(&format!("{red}error:{plain} {}\n", harmless(message)));
            causes.iter().for_each(|cause| text.push_str(&format!("  because: {}\n", harmless(cause))));
            hint.iter().for_each(|hint| text.push_str(&format!("hint: {}\n", harmless(hint))));
        }
        text
    }
}

/// Says what failed, and gives the exit code.
pub(crate) fn report(failed: &Failed, voice: &Voice, signals: &Signals) -> ExitCode {
    match failed {
        Failed::Operation(e) if e.kind() == Kind::Cancelled => {
            let code = signals.exit_code();
            voice.say(code, Kind::Cancelled.name(), &e.to_string(), Vec::new(), e.hint());
            ExitCode::from(code)
        }
        // The panic hook has reported it.
        Failed::Operation(e) if is_panic(e.as_error()) => ExitCode::from(e.kind().exit_code()),
        Failed::Operation(e) => {
            let (kind, causes) = (e.kind(), causes(e.as_error()));
            let hint = e.hint().or_else(|| hint_of_causes(e.as_error()).map(str::to_owned));
            voice.say(kind.exit_code(), kind.name(), &e.to_string(), causes, hint);
            ExitCode::from(kind.exit_code())
        }
        Failed::Output(e) if e.kind() == io::ErrorKind::BrokenPipe => ExitCode::from(CLOSED_PIPE),
        Failed::Output(e) => {
            let kind = Kind::of_io(e);
            let (causes, hint) = (vec![e.to_string()], hint_of_causes(e).map(str::to_owned));
            voice.say(kind.exit_code(), kind.name(), "cannot write to standard output", causes, hint);
            ExitCode::from(kind.exit_code())
        }
    }
}

fn is_panic(e: &(dyn std::error::Error + 'static)) -> bool {
    e.is::<Panicked>() || matches!(e.downcast_ref(), Some(StoreError::Panicked(_)))
}

/// What the standard library panics with where the system gives no thread.
const NO_THREAD: &str = "failed to spawn thread";

/// The exit code of a panic.
pub(crate) fn of_panic(payload: &(dyn std::any::Any + Send)) -> ExitCode {
    let kind = if words_of(payload).starts_with(NO_THREAD) { Kind::System } else { Kind::Internal };
    ExitCode::from(kind.exit_code())
}

fn words_of(payload: &(dyn std::any::Any + Send)) -> &str {
    let what = payload.downcast_ref::<&str>().copied();
    what.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("panic")
}

/// A panic is a bug in dvc: one short message, then exit code 70. Only a thread that the system does not give is none.
pub(crate) fn install_panic_hook(voice: Voice) {
    std::panic::set_hook(Box::new(move |panic| {
        let what = words_of(panic.payload());
        if what.starts_with(NO_THREAD) {
            let e = io::Error::from(rustix::io::Errno::AGAIN);
            let (kind, hint) = (Kind::System, hint_of_causes(&e).map(str::to_owned));
            voice.say(kind.exit_code(), kind.name(), "cannot start a thread", vec![e.to_string()], hint);
            return;
        }
        let place = panic.location().map(|l| format!(" at {}:{}", l.file(), l.line())).unwrap_or_default();
        let trace = std::backtrace::Backtrace::capture();
        let trace = (trace.status() == std::backtrace::BacktraceStatus::Captured).then(|| trace.to_string());
        let _ = io::stderr().write_all(bug(&voice, &format!("{what}{place}"), trace).as_bytes());
    }));
}

fn bug(voice: &Voice, what: &str, trace: Option<String>) -> String {
    let hint = "please report it, with what you did; RUST_BACKTRACE=1 tells more".to_owned();
    let hint = if trace.is_none() { Some(hint) } else { None };
    let message = format!("this is a bug in dvc: {what}");
    voice.words(BUG, Kind::Internal.name(), &message, trace.into_iter().collect(), hint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_to_speak_is_known_before_the_arguments_are() {
        let of = |args: &[&str]| {
            let voice = Voice::of(&args.iter().map(OsString::from).collect::<Vec<_>>());
            (voice.json, voice.colour)
        };
        assert_eq!(of(&["dvc", "--jsno", "log"]), (false, None));
        assert_eq!(of(&["dvc", "--json", "--color", "never", "--color=always"]), (true, Some("always".to_owned())));
        assert_eq!(of(&["dvc", "--colour=always", "--", "--json"]), (false, None));
    }
    #[test]
    fn a_bug_is_told_as_every_failure_is() {
        let voice = Voice { json: true, colour: None };
        let told: serde_json::Value = serde_json::from_str(&bug(&voice, "oops at a.rs:1", None)).unwrap();
        assert_eq!((&told["schema"], &told["code"], &told["kind"]), (&1.into(), &70.into(), &"internal".into()));
        assert_eq!(told["message"], "this is a bug in dvc: oops at a.rs:1");
        assert!(told["hint"].as_str().unwrap().contains("RUST_BACKTRACE"));
        let voice = Voice { json: false, colour: Some("never".to_owned()) };
        let told = bug(&voice, "oops", Some("trace".to_owned()));
        assert_eq!(told, "error: this is a bug in dvc: oops\n  because: trace\n");
    }
}
