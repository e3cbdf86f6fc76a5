//! `dvc show`: a version with what it changed, or the bytes of a file in it.

use crate::failure::Outcome;
use crate::session::Session;
use clap::Args;
use std::ffi::OsString;

/// Options of `show`.
#[derive(Args, Debug)]
pub(crate) struct ShowArgs {
    /// Versions, or REV:PATH for the file itself
    #[arg(value_name = "REV[:PATH]")]
    pub(crate) specs: Vec<OsString>,
    /// With the files that changed and by how much
    #[arg(long)]
    pub(crate) stat: bool,
    /// With the names and letters of what changed
    #[arg(long)]
    pub(crate) name_status: bool,
    /// How to print a version, as in `log`
    #[arg(long, value_name = "FORMAT", visible_alias = "pretty")]
    pub(crate) format: Option<String>,
}

/// Runs `show`.
pub(crate) fn run(session: &Session, _args: &ShowArgs) -> Outcome {
    session.not_built("show")
}
