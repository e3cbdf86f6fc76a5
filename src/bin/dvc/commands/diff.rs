//! `dvc diff`: what differs between two versions, or between a version and the worktree.

use crate::failure::Outcome;
use crate::session::Session;
use clap::Args;
use std::ffi::OsString;

/// Options of `diff`.
#[derive(Args, Debug)]
pub(crate) struct DiffArgs {
    /// A version (compared with the worktree), two versions, or A..B; each may name a path, REV:PATH
    #[arg(value_name = "REV", num_args = 0..=2)]
    pub(crate) revs: Vec<OsString>,
    /// Each file with its size and what changed of it
    #[arg(long)]
    pub(crate) stat: bool,
    /// Names and letters, the default
    #[arg(long)]
    pub(crate) name_status: bool,
    /// Names only
    #[arg(long)]
    pub(crate) name_only: bool,
    /// Changed byte ranges, from the chunk lists alone
    #[arg(long)]
    pub(crate) chunks: bool,
    /// Changed lines of text files
    #[arg(short, long)]
    pub(crate) patch: bool,
    /// End with 1 where something differs
    #[arg(long)]
    pub(crate) exit_code: bool,
    /// End lines with NUL and write names raw
    #[arg(short = 'z')]
    pub(crate) null: bool,
    /// Only these paths
    #[arg(value_name = "PATH", last = true, value_hint = clap::ValueHint::AnyPath)]
    pub(crate) paths: Vec<OsString>,
}

/// Runs `diff`.
pub(crate) fn run(session: &Session, _args: &DiffArgs) -> Outcome {
    session.not_built("diff")
}
