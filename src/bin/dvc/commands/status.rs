//! `dvc status`: what differs between the worktree and the version that it came from.

use crate::failure::Outcome;
use crate::session::Session;
use clap::Args;
use std::ffi::OsString;

/// Options of `status`.
#[derive(Args, Debug)]
pub(crate) struct StatusArgs {
    /// Lines for scripts, which never change
    #[arg(long)]
    pub(crate) porcelain: bool,
    /// End lines with NUL and write names raw; implies --porcelain
    #[arg(short = 'z')]
    pub(crate) null: bool,
    /// End with 1 where something differs
    #[arg(long)]
    pub(crate) exit_code: bool,
    /// Only these paths
    #[arg(value_name = "PATH", value_hint = clap::ValueHint::AnyPath)]
    pub(crate) paths: Vec<OsString>,
}

/// Runs `status`.
pub(crate) fn run(session: &Session, _args: &StatusArgs) -> Outcome {
    session.not_built("status")
}
