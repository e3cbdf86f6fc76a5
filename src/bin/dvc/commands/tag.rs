//! `dvc tag`: lists, creates and deletes tags.

use crate::args::DryRun;
use crate::failure::Outcome;
use crate::session::Session;
use clap::Args;

/// Options of `tag`.
#[derive(Args, Debug)]
pub(crate) struct TagArgs {
    /// Delete the named tags
    #[arg(short, long, requires = "names")]
    pub(crate) delete: bool,
    /// Move a tag that exists
    #[arg(short, long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) dry: DryRun,
    /// The new tag (NAME, BRANCH@NAME, or @NAME for the current branch) and its version; without any, tags are listed
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,
}

/// Runs `tag`.
pub(crate) fn run(session: &Session, _args: &TagArgs) -> Outcome {
    session.not_built("tag")
}
