//! `dvc undo`: takes back the last change of a branch or tag, by its ref log.

use crate::args::DryRun;
use crate::failure::Outcome;
use crate::session::Session;
use clap::Args;

/// Options of `undo`.
#[derive(Args, Debug)]
pub(crate) struct UndoArgs {
    /// The branch or tag; without one, whatever changed last
    #[arg(value_name = "NAME")]
    pub(crate) name: Option<String>,
    #[command(flatten)]
    pub(crate) dry: DryRun,
}

/// Runs `undo`.
pub(crate) fn run(session: &Session, _args: &UndoArgs) -> Outcome {
    session.not_built("undo")
}
