//! `dvc branch`: lists, creates, renames and deletes branches.

use crate::args::DryRun;
use crate::failure::Outcome;
use crate::session::Session;
use clap::Args;

/// Options of `branch`.
#[derive(Args, Debug)]
pub(crate) struct BranchArgs {
    /// Delete the named branches
    #[arg(short, long, requires = "names", conflicts_with = "rename")]
    pub(crate) delete: bool,
    /// Rename: the old name (else the current branch) and the new one
    #[arg(short = 'm', long = "move", requires = "names")]
    pub(crate) rename: bool,
    /// Move a branch that exists
    #[arg(short, long)]
    pub(crate) force: bool,
    /// Print the name of the current branch
    #[arg(long, conflicts_with_all = ["delete", "rename", "names"])]
    pub(crate) show_current: bool,
    #[command(flatten)]
    pub(crate) dry: DryRun,
    /// The new branch and its version; without any, branches are listed
    #[arg(value_name = "NAME")]
    pub(crate) names: Vec<String>,
}

/// Runs `branch`.
pub(crate) fn run(session: &Session, _args: &BranchArgs) -> Outcome {
    session.not_built("branch")
}
