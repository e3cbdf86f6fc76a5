//! `dvc init`: creates a repository, in the worktree or elsewhere.

use crate::args::DryRun;
use crate::failure::Outcome;
use crate::session::Session;
use clap::Args;
use std::path::PathBuf;

/// Options of `init`.
#[derive(Args, Debug)]
pub(crate) struct InitArgs {
    /// The directory that becomes a worktree; the current one where none is named
    #[arg(value_hint = clap::ValueHint::DirPath)]
    pub(crate) dir: Option<PathBuf>,
    /// The first branch
    #[arg(short, long, value_name = "NAME")]
    pub(crate) branch: Option<String>,
    /// How files are cut: auto, cdc:SIZE (average) or fixed:SIZE
    #[arg(long, value_name = "SPEC")]
    pub(crate) chunker: Option<String>,
    #[command(flatten)]
    pub(crate) dry: DryRun,
}

/// Runs `init`.
pub(crate) fn run(session: &Session, _args: &InitArgs) -> Outcome {
    session.not_built("init")
}
