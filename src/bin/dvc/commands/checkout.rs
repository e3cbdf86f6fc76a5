//! `dvc checkout`: brings a version, or paths of it, into the worktree or another directory.

use crate::args::DryRun;
use crate::failure::Outcome;
use crate::session::Session;
use clap::Args;
use std::ffi::OsString;
use std::path::PathBuf;

/// Options of `checkout`.
#[derive(Args, Debug)]
pub(crate) struct CheckoutArgs {
    /// The version; a branch name moves the worktree to that branch
    #[arg(value_name = "REV")]
    pub(crate) rev: Option<OsString>,
    /// Write to DIR, which is created, and leave the worktree alone
    #[arg(long, value_name = "DIR", value_hint = clap::ValueHint::DirPath)]
    pub(crate) into: Option<PathBuf>,
    /// Create that branch at the version and move the worktree to it
    #[arg(short, long, value_name = "NAME", conflicts_with_all = ["into", "paths"])]
    pub(crate) branch: Option<String>,
    /// Remove files that the version does not have, the default for a whole checkout
    #[arg(long, conflicts_with_all = ["keep_extra", "paths"])]
    pub(crate) delete: bool,
    /// Keep files that the version does not have
    #[arg(long)]
    pub(crate) keep_extra: bool,
    /// Read back and compare everything that was written
    #[arg(long)]
    pub(crate) verify: bool,
    /// Even where changes would be lost or the target is in use
    #[arg(short, long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) dry: DryRun,
    /// Only these paths; no other file is touched
    #[arg(value_name = "PATH", last = true, value_hint = clap::ValueHint::AnyPath)]
    pub(crate) paths: Vec<OsString>,
}

/// Runs `checkout`.
pub(crate) fn run(session: &Session, _args: &CheckoutArgs) -> Outcome {
    session.not_built("checkout")
}
