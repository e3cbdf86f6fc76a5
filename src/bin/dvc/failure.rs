//! Reports failures as text or JSON on standard error, and returns exit codes: 141 for a closed
//! pipe, 70 for a bug.

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
/// The exit code after a closed pipe: 128 + SIGPIPE.
const CLOSED_PIPE: u8 = 141;

/// The exit code of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exit(u8);

impl Exit {
    pub(crate) const DONE: Self = Self(0);
    /// The verb ran, and its answer is no (`volume has`, `status --exit-code`, a failed check of
    /// `doctor`), or the user did not confirm the action.
    pub(crate) const NO: Self = Self(1);
    /// Returns the exit code of the signal if the operation was cancelled, else this one.
    pub(crate) fn unless_cancelled(self, signals: &Signals) -> Self {
        if signals.cancelled() {
            Self(signals.exit_code())
        } else {
            self
        }
    }

    /// Returns the exit code of a child process that has already reported its error: 128 plus the
    /// number of the signal if one ended it.
    pub(crate) fn of_child(status: std::process::ExitStatus) -> Self {
        use std::os::unix::process::ExitStatusExt;
        // As in a shell, a signal gives 128 plus its number.
        let code = status.code().or_else(|| status.signal().map(|n| 128 + n));
        // The child has failed, so a code of 0 would be wrong.
        Self(
            code.and_then(|code| u8::try_from(code).ok())
                .filter(|code| *code != 0)
                .unwrap_or(BUG),
        )
    }

    /// Returns the exit code of a failure.
    pub(crate) fn of(failed: &Failed) -> Self {
        Self::with(match failed {
            Failed::Operation(e) => e.kind(),
            Failed::Output(e) => Kind::of_io(e),
        })
    }

    /// Returns the exit code for a kind of failure, for a verb that continued after the failure.
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
pub(crate) type CommandResult = Result<Exit, Failed>;

/// The failure of a verb.
#[derive(Debug)]
pub(crate) enum Failed {
    /// An operation of the library failed.
    Operation(Error),
    /// Standard output cannot be written.
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

/// Failures of the command line itself.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CliError {
    /// A file or directory cannot be used.
    #[error("cannot {doing} `{}`", path.display())]
    File {
        doing: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    /// No repository in the directory or any parent.
    #[error("no repository in `{}` or any parent directory", .0.display())]
    NoRepository(PathBuf),
    /// The directory is in a mount that this process cannot use.
    #[error("{0}")]
    UnusableMount(Error),
    /// A new repository would be inside a mount.
    #[error("cannot create a repository in `{}`: it is inside the dvc mount at `{}`", dir.display(), at.display())]
    InsideMount {
        /// The directory of the new repository.
        dir: PathBuf,
        /// The mount point.
        at: PathBuf,
    },
    /// The named directory is not a repository.
    #[error("no repository at `{}`", .0.display())]
    NotARepository(PathBuf),
    /// No repository, only the `.dvc` directory of an unrelated program with the same name.
    #[error("no repository in `{}` or any parent directory", .0.display())]
    Foreign(PathBuf),
    /// A URL where a local directory is required.
    #[error("cannot use the repository at `{0}`: this command needs a local repository")]
    Remote(String),
    /// No remote has that name; `known` lists the others.
    #[error("no remote `{name}`")]
    NoRemote { name: String, known: String },
    /// A new remote would be inside the worktree of its own repository.
    #[error("cannot add a remote at `{}`: it is inside the worktree `{}` and would be lost with the worktree", dir.display(), top.display())]
    InsideWorktree { dir: PathBuf, top: PathBuf },
    /// An option has a value that it does not accept.
    #[error("{option}: {problem}")]
    BadOption { option: String, problem: String },
    /// The verb changes something and has no dry run.
    #[error("`dvc {0}` does not support a dry run")]
    NoDryRun(&'static str),
    /// The run directory cannot be created, or other users may create names in it.
    #[error("cannot create or access the run directory `{}`", path.display())]
    RunDir { path: PathBuf, source: io::Error },
    /// The setting has no value.
    #[error("the setting `{0}` is not set")]
    NotSet(String),
}

impl CliError {
    /// Returns the error for a value that `option` does not accept.
    pub(crate) fn option(option: impl Into<String>, problem: impl Into<String>) -> Self {
        Self::BadOption {
            option: option.into(),
            problem: problem.into(),
        }
    }
}

impl Failure for CliError {
    fn kind(&self) -> Kind {
        match self {
            // The user wrote this file, and it is not UTF-8 text.
            Self::File { source, .. } if source.kind() == io::ErrorKind::InvalidData => Kind::Usage,
            Self::File { source, .. } | Self::RunDir { source, .. } => Kind::of_io(source),
            Self::NoRepository(_) | Self::NotARepository(_) | Self::Foreign(_) => {
                Kind::NoRepository
            }
            Self::Remote(_) | Self::BadOption { .. } | Self::NoDryRun(_) => Kind::Usage,
            Self::InsideMount { .. } | Self::InsideWorktree { .. } => Kind::Usage,
            Self::UnusableMount(e) => e.kind(),
            Self::NotSet(_) | Self::NoRemote { .. } => Kind::NotFound,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::File { source, .. } if source.kind() == io::ErrorKind::InvalidData => {
                Some("save the file as UTF-8 text (`iconv` converts it)".into())
            }
            Self::NoRepository(_) => {
                Some("run `dvc init` to create one, or name one with `--repo` or `DVC_REPO`".into())
            }
            Self::UnusableMount(e) => e.hint(),
            Self::InsideMount { .. } => Some(
                "choose a directory outside of the mount; run `dvc commit` in the mount to make a version of its files"
                    .into(),
            ),
            Self::NotARepository(_) => {
                Some("run `dvc init --repo DIR` to create one; DIR is relative to the directory of -C".into())
            }
            Self::Foreign(dir) => {
                let dir = dir.display();
                Some(format!("run `dvc init` to create one; `{dir}/.dvc` belongs to an unrelated program"))
            }
            Self::InsideWorktree { .. } => {
                Some("choose a directory outside of the worktree, if possible on another disk".into())
            }
            Self::Remote(_) => Some("run `dvc clone` to get a local copy of the repository".into()),
            Self::NoDryRun(_) => Some("run the command without `-n`; nothing was done".into()),
            Self::RunDir { .. } => {
                Some("set `XDG_RUNTIME_DIR` or `DVC_RUN_DIR` to a directory that only you can write to".into())
            }
            Self::NoRemote { known, .. } if known.is_empty() => Some("run `dvc remote add NAME URL` to add one".into()),
            Self::NoRemote { known, .. } => {
                Some(format!("use one of {known}, or run `dvc remote add NAME URL` to add one"))
            }
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

/// The format of error messages, as the command line gives it.
#[derive(Clone, Debug, Default)]
pub(crate) struct ErrorFormat {
    pub(crate) json: bool,
    /// The value of `--color`.
    pub(crate) colour: Option<String>,
}

impl ErrorFormat {
    /// Reads the format from arguments that are not parsed yet, or cannot be parsed.
    pub(crate) fn of(argv: &[OsString]) -> Self {
        let mut voice = Self::default();
        let mut args = argv
            .iter()
            .take_while(|a| *a != "--")
            .map(|a| a.to_string_lossy());
        while let Some(arg) = args.next() {
            match arg.strip_prefix("--color") {
                _ if arg == "--json" => voice.json = true,
                Some("") => voice.colour = args.next().map(String::from),
                Some(value) => {
                    voice.colour = value.strip_prefix('=').map(str::to_owned).or(voice.colour)
                }
                None => {}
            }
        }
        voice
    }

    pub(crate) fn colours(&self, stream: &impl IsTerminal) -> bool {
        crate::print::colour(self.colour.as_deref(), None, stream)
    }

    /// Writes a failure to standard error.
    pub(crate) fn print(
        &self,
        code: u8,
        kind: &str,
        message: &str,
        causes: Vec<String>,
        hint: Option<String>,
    ) {
        // If standard error cannot be written, only the exit code is left.
        let _ = io::stderr().write_all(self.text(code, kind, message, causes, hint).as_bytes());
    }

    fn text(
        &self,
        code: u8,
        kind: &str,
        message: &str,
        causes: Vec<String>,
        hint: Option<String>,
    ) -> String {
        let mut text = String::new();
        if self.json {
            let object = JsonFailure {
                schema: 1,
                code,
                kind,
                message,
                causes,
                hint,
            };
            text = crate::print::harmless_json(&object).unwrap_or_default();
            text.push('\n');
        } else {
            let (red, plain) = if self.colours(&io::stderr()) {
                ("\x1b[1;31m", "\x1b[0m")
            } else {
                ("", "")
            };
            text.push_str(&format!("{red}error:{plain} {}\n", harmless(message)));
            causes
                .iter()
                .for_each(|cause| text.push_str(&format!("  because: {}\n", harmless(cause))));
            hint.iter()
                .for_each(|hint| text.push_str(&format!("hint: {}\n", harmless(hint))));
        }
        text
    }
}

/// Reports a failure and returns the exit code.
pub(crate) fn report(failed: &Failed, format: &ErrorFormat, signals: &Signals) -> ExitCode {
    match failed {
        Failed::Operation(e) if e.kind() == Kind::Cancelled => {
            let code = signals.exit_code();
            format.print(
                code,
                Kind::Cancelled.name(),
                &e.to_string(),
                Vec::new(),
                e.hint(),
            );
            ExitCode::from(code)
        }
        // The panic hook has already reported the panic.
        Failed::Operation(e) if is_panic(e.as_error()) => ExitCode::from(e.kind().exit_code()),
        Failed::Operation(e) => {
            let (kind, causes) = (e.kind(), causes(e.as_error()));
            let hint = e
                .hint()
                .or_else(|| hint_of_causes(e.as_error()).map(str::to_owned));
            format.print(kind.exit_code(), kind.name(), &e.to_string(), causes, hint);
            ExitCode::from(kind.exit_code())
        }
        // The reader, such as `head`, needs no more output. Other programs die of SIGPIPE without a
        // message.
        Failed::Output(e) if e.kind() == io::ErrorKind::BrokenPipe => ExitCode::from(CLOSED_PIPE),
        Failed::Output(e) => {
            let kind = Kind::of_io(e);
            let (causes, hint) = (vec![e.to_string()], hint_of_causes(e).map(str::to_owned));
            format.print(
                kind.exit_code(),
                kind.name(),
                "cannot write to standard output",
                causes,
                hint,
            );
            ExitCode::from(kind.exit_code())
        }
    }
}

fn is_panic(e: &(dyn std::error::Error + 'static)) -> bool {
    e.is::<Panicked>() || matches!(e.downcast_ref(), Some(StoreError::Panicked(_)))
}

/// Start of the standard library's panic message when the system cannot start a thread.
const NO_THREAD: &str = "failed to spawn thread";

/// Returns the exit code of a panic.
pub(crate) fn of_panic(payload: &(dyn std::any::Any + Send)) -> ExitCode {
    let kind = if panic_message(payload).starts_with(NO_THREAD) {
        Kind::System
    } else {
        Kind::Internal
    };
    ExitCode::from(kind.exit_code())
}

fn panic_message(payload: &(dyn std::any::Any + Send)) -> &str {
    let what = payload.downcast_ref::<&str>().copied();
    what.or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("panic")
}

/// Installs a panic hook that reports the panic as a bug in dvc, without a thread name or a
/// backtrace note. A failure to start a thread is reported as an ordinary error.
pub(crate) fn install_panic_hook(format: ErrorFormat) {
    std::panic::set_hook(Box::new(move |panic| {
        let what = panic_message(panic.payload());
        if what.starts_with(NO_THREAD) {
            // At a limit on threads, pthread_create(3) fails with EAGAIN.
            let e = io::Error::from(rustix::io::Errno::AGAIN);
            let (kind, hint) = (Kind::System, hint_of_causes(&e).map(str::to_owned));
            format.print(
                kind.exit_code(),
                kind.name(),
                "cannot start a thread",
                vec![e.to_string()],
                hint,
            );
            return;
        }
        let place = panic
            .location()
            .map(|l| format!(" at {}:{}", l.file(), l.line()))
            .unwrap_or_default();
        let trace = std::backtrace::Backtrace::capture();
        let trace = (trace.status() == std::backtrace::BacktraceStatus::Captured)
            .then(|| trace.to_string());
        let _ = io::stderr().write_all(bug(&format, &format!("{what}{place}"), trace).as_bytes());
    }));
}

fn bug(format: &ErrorFormat, what: &str, trace: Option<String>) -> String {
    let hint = "report this bug with the command that you ran; RUST_BACKTRACE=1 adds a backtrace"
        .to_owned();
    let hint = if trace.is_none() { Some(hint) } else { None };
    let message = format!("this is a bug in dvc: {what}");
    format.text(
        BUG,
        Kind::Internal.name(),
        &message,
        trace.into_iter().collect(),
        hint,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_known_before_the_arguments_are_parsed() {
        let of = |args: &[&str]| {
            let voice = ErrorFormat::of(&args.iter().map(OsString::from).collect::<Vec<_>>());
            (voice.json, voice.colour)
        };
        assert_eq!(of(&["dvc", "--jsno", "log"]), (false, None));
        assert_eq!(
            of(&["dvc", "--json", "--color", "never", "--color=always"]),
            (true, Some("always".to_owned()))
        );
        assert_eq!(
            of(&["dvc", "--colour=always", "--", "--json"]),
            (false, None)
        );
    }
    #[test]
    fn a_bug_is_reported_like_every_failure() {
        let voice = ErrorFormat {
            json: true,
            colour: None,
        };
        let told: serde_json::Value =
            serde_json::from_str(&bug(&voice, "oops at a.rs:1", None)).unwrap();
        assert_eq!(
            (&told["schema"], &told["code"], &told["kind"]),
            (&1.into(), &70.into(), &"internal".into())
        );
        assert_eq!(told["message"], "this is a bug in dvc: oops at a.rs:1");
        assert!(told["hint"].as_str().unwrap().contains("RUST_BACKTRACE"));
        let voice = ErrorFormat {
            json: false,
            colour: Some("never".to_owned()),
        };
        let told = bug(&voice, "oops", Some("trace".to_owned()));
        assert_eq!(
            told,
            "error: this is a bug in dvc: oops\n  because: trace\n"
        );
    }
}
