//! `dvc commit`: makes a version of the worktree, of volumes, of standard input, or of a command's
//! output.

mod args;
mod exec;
mod hooked;
mod make;
mod options;
mod report;
mod volumes;

pub(crate) use args::CommitArgs;
pub(crate) use hooked::{HookedCommit, HookedReport};
pub(crate) use make::commit_mount;
pub(crate) use options::running_database;
pub(crate) use report::{CommitSummary, JsonImport};

use crate::failure::CommandResult;
use crate::session::Session;
use make::{CommitTarget, make};

/// Runs `commit`.
pub(crate) fn run(session: &Session, args: &CommitArgs) -> CommandResult {
    if args.all_volumes || !args.volume.is_empty() {
        return volumes::run(session, args);
    }
    make(
        session,
        args,
        CommitTarget {
            place: &session.place()?,
            branch: None,
            volume: None,
        },
    )
}
