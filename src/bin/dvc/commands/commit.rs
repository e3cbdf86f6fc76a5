//! `dvc commit`: makes a version of the worktree, of standard input, or of a command's output.

use crate::args::DryRun;
use crate::failure::Outcome;
use crate::session::Session;
use clap::Args;
use std::ffi::OsString;
use std::path::PathBuf;

/// Options of `commit`.
#[derive(Args, Debug)]
pub(crate) struct CommitArgs {
    /// The message; a second one begins a paragraph
    #[arg(short, long, value_name = "TEXT")]
    pub(crate) message: Vec<String>,
    /// Read the message from FILE, `-` is standard input
    #[arg(short = 'F', long, value_name = "FILE", conflicts_with = "message")]
    pub(crate) file: Option<PathBuf>,
    /// Commit to that branch, which is created where it is missing
    #[arg(short, long, value_name = "NAME")]
    pub(crate) branch: Option<String>,
    /// Tag the version; `@NAME` is a tag of its branch
    #[arg(long, value_name = "NAME")]
    pub(crate) tag: Vec<String>,
    /// Who made it, `Name <mail>`
    #[arg(long, value_name = "AUTHOR")]
    pub(crate) author: Option<String>,
    /// When it was made
    #[arg(long, value_name = "TIME")]
    pub(crate) time: Option<String>,
    /// Add a `Key: value` line about the version
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) trailer: Vec<String>,
    /// Leave out what matches, as in `.dvcsignore`
    #[arg(long, value_name = "PATTERN")]
    pub(crate) exclude: Vec<String>,
    /// Leave out directories marked by a CACHEDIR.TAG
    #[arg(long)]
    pub(crate) exclude_caches: bool,
    /// Do not descend into other file systems
    #[arg(short = 'x', long)]
    pub(crate) one_file_system: bool,
    /// Commit even where nothing changed or the source is empty
    #[arg(long)]
    pub(crate) allow_empty: bool,
    /// Commit standard input as a file of that name
    #[arg(long, value_name = "NAME", conflicts_with = "args")]
    pub(crate) stdin: Option<OsString>,
    /// Commit the output of a command, given after `--`, as a file of that name
    #[arg(long, value_name = "NAME", conflicts_with = "stdin", requires = "args")]
    pub(crate) exec: Option<OsString>,
    /// With --stdin and --exec: keep the other files of the version before
    #[arg(long)]
    pub(crate) add: bool,
    #[command(flatten)]
    pub(crate) dry: DryRun,
    /// Only these paths, or the command of --exec
    #[arg(value_name = "PATH", value_hint = clap::ValueHint::AnyPath)]
    pub(crate) args: Vec<OsString>,
}

/// Runs `commit`.
pub(crate) fn run(session: &Session, _args: &CommitArgs) -> Outcome {
    session.not_built("commit")
}
