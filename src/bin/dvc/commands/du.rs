//! `dvc du`: what versions and branches take.

use crate::failure::Outcome;
use crate::session::Session;
use clap::Args;
use std::ffi::OsString;

/// Options of `du`.
#[derive(Args, Debug)]
pub(crate) struct DuArgs {
    /// Versions and ranges; without any, the whole repository by branch
    #[arg(value_name = "REV")]
    pub(crate) revs: Vec<OsString>,
}

/// Runs `du`.
pub(crate) fn run(session: &Session, _args: &DuArgs) -> Outcome {
    session.not_built("du")
}
