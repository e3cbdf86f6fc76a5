//! The command of `commit --exec`: its standard output is committed, unless it fails.

use crate::failure::CliError;
use dvc::error::{Failure, Kind};
use std::ffi::OsString;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};

/// The command failed, so its output is not whole.
#[derive(Debug, thiserror::Error)]
#[error("`{command}` failed ({status}), nothing was committed")]
struct CommandFailed {
    command: String,
    status: ExitStatus,
}

impl Failure for CommandFailed {
    fn kind(&self) -> Kind {
        Kind::CommandFailed
    }
}

/// Starts the command.
pub(super) fn spawn(argv: &[OsString]) -> Result<Child, CliError> {
    let Some((program, args)) = argv.split_first() else {
        return Err(CliError::option("--exec", "the command is missing; it follows `--`"));
    };
    let spawned = Command::new(program).args(args).stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    spawned.map_err(|source| CliError::File { doing: "run", path: program.into(), source })
}

/// What the command prints.
pub(super) fn output(child: &mut Child) -> Box<dyn std::io::Read + Send> {
    match child.stdout.take() {
        Some(out) => Box::<ChildStdout>::new(out),
        None => Box::new(std::io::empty()),
    }
}

/// Waits for the command; its failure is ours.
pub(super) fn check(child: &mut Child, argv: &[OsString]) -> dvc::error::Result<()> {
    let command = argv.first().map(|p| p.to_string_lossy().into_owned()).unwrap_or_default();
    match child.wait() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(CommandFailed { command, status }.into()),
        Err(source) => Err(CliError::File { doing: "wait for", path: command.into(), source }.into()),
    }
}

/// Ends the command, if it still runs because its output was not wanted any more.
pub(super) fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}
