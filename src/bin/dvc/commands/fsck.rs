//! `dvc fsck`: checks the repository, and rebuilds its catalogue and index.

use crate::args::DryRun;
use crate::failure::Outcome;
use crate::session::Session;
use clap::Args;

/// Options of `fsck`.
#[derive(Args, Debug)]
pub(crate) struct FsckArgs {
    /// Read and verify the data as well, or that part of it
    #[arg(long, value_name = "PERCENT", num_args = 0..=1, require_equals = true, default_missing_value = "100")]
    pub(crate) data: Option<String>,
    /// Stop after that time, such as 2h; the next run goes on there
    #[arg(long, value_name = "TIME")]
    pub(crate) max_time: Option<String>,
    /// Make the catalogue and the index again, from packs and refs alone
    #[arg(long)]
    pub(crate) rebuild: bool,
    #[command(flatten)]
    pub(crate) dry: DryRun,
}

/// Runs `fsck`.
pub(crate) fn run(session: &Session, _args: &FsckArgs) -> Outcome {
    session.not_built("fsck")
}
