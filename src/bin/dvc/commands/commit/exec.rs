//! The command of `commit --exec`. Its standard output is committed, unless the command fails.

use crate::cancellable::CancellableReader;
use crate::failure::CliError;
use crate::signals::Signals;
use dvc::error::{Failure, Kind};
use dvc::model::path::display;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::process::{Child, Command, ExitStatus, Stdio};

/// Why the output of the command is missing or incomplete.
#[derive(Debug, thiserror::Error)]
enum ExecError {
    #[error("cannot run `{command}`")]
    NotStarted {
        command: String,
        source: std::io::Error,
    },
    #[error("the command `{command}` failed ({status}); nothing was committed")]
    Failed { command: String, status: ExitStatus },
}

impl Failure for ExecError {
    fn kind(&self) -> Kind {
        Kind::CommandFailed
    }
}

/// Starts the command with standard output connected to a pipe.
pub(super) fn spawn(argv: &[OsString]) -> dvc::error::Result<Child> {
    let Some((program, args)) = argv.split_first() else {
        return Err(CliError::option("--exec", "expected a command after `--`").into());
    };
    let spawned = Command::new(program)
        .args(args)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn();
    spawned.map_err(|source| {
        ExecError::NotStarted {
            command: shown(program),
            source,
        }
        .into()
    })
}

/// Returns the standard output of the command.
pub(super) fn output(child: &mut Child, signals: &Signals) -> Box<dyn std::io::Read + Send> {
    match child.stdout.take() {
        Some(out) => Box::new(CancellableReader::new(out, signals.clone())),
        None => Box::new(std::io::empty()),
    }
}

/// Waits for the command. Fails if its exit status is not 0.
pub(super) fn check(child: &mut Child, argv: &[OsString]) -> dvc::error::Result<()> {
    let command = argv
        .first()
        .map(|program| shown(program))
        .unwrap_or_default();
    match child.wait() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(ExecError::Failed { command, status }.into()),
        Err(source) => Err(CliError::File {
            doing: "wait for",
            path: command.into(),
            source,
        }
        .into()),
    }
}

fn shown(program: &OsStr) -> String {
    display(program.as_bytes())
}

/// Kills a command that still runs, because its output is no longer needed.
pub(super) fn end(child: &mut Child) {
    // The command may have exited already.
    let _ = child.kill();
    let _ = child.wait();
}
