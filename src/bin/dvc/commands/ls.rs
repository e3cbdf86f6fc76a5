//! `dvc ls`: what a version holds.

use crate::failure::Outcome;
use crate::session::Session;
use clap::Args;
use std::ffi::OsString;

/// Options of `ls`.
#[derive(Args, Debug)]
pub(crate) struct LsArgs {
    /// The version, and a path in it
    #[arg(value_name = "REV[:PATH]")]
    pub(crate) spec: Option<OsString>,
    /// With mode, owner, size and time
    #[arg(short, long)]
    pub(crate) long: bool,
    /// With everything below
    #[arg(short, long)]
    pub(crate) recursive: bool,
    /// Directories themselves, not what they hold
    #[arg(short, long)]
    pub(crate) directory: bool,
    /// End lines with NUL and write names raw
    #[arg(short = 'z')]
    pub(crate) null: bool,
    /// Only these paths
    #[arg(value_name = "PATH", last = true, value_hint = clap::ValueHint::AnyPath)]
    pub(crate) paths: Vec<OsString>,
}

/// Runs `ls`.
pub(crate) fn run(session: &Session, _args: &LsArgs) -> Outcome {
    session.not_built("ls")
}
