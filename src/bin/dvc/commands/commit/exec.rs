//! The command of `commit --exec`: its standard output is committed, unless it fails.

use crate::failure::CliError;
use dvc::error::{Failure, Kind};
use dvc::model::path::display;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};

/// There is no output, or it is not whole.
#[derive(Debug, thiserror::Error)]
enum ExecError {
    /// The command cannot be run.
    #[error("cannot run `{command}`")]
    NotStarted { command: String, source: std::io::Error },
    /// The command failed.
    #[error("`{command}` failed ({status}), nothing was committed")]
    Failed { command: String, status: ExitStatus },
}

impl Failure for ExecError {
    fn kind(&self) -> Kind {
        Kind::CommandFailed
    }
}

/// Starts the command.
pub(super) fn spawn(argv: &[OsString]) -> dvc::error::Result<Child> {
    let Some((program, args)) = argv.split_first() else {
        return Err(CliError::option("--exec", "the command is missing; it follows `--`").into());
    };
    let spawned = Command::new(program).args(args).stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    spawned.map_err(|source| ExecError::NotStarted { command: shown(program), source }.into())
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
    let command = argv.first().map(|program| shown(program)).unwrap_or_default();
    match child.wait() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(ExecError::Failed { command, status }.into()),
        Err(source) => Err(CliError::File { doing: "wait for", path: command.into(), source }.into()),
    }
}

fn shown(program: &OsStr) -> String {
    display(program.as_bytes())
}

/// Ends the command, if it still runs because its output was not wanted any more.
pub(super) fn end(child: &mut Child) {
    let _ = child.kill();
    let _ = child.wait();
}
