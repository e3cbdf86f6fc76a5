//! `dvc umount`: ends a mount, when all of it is on disk.

use crate::commands::commit;
use crate::commands::mount::absolute;
use crate::dirs;
use crate::failure::{Exit, Outcome};
use crate::session::Session;
use clap::Args;
use dvc::ops::mount::umount;
use std::path::PathBuf;

/// Options of `umount`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  dvc umount /mnt/db\n  dvc umount --commit -m 'new prices' /mnt/db")]
pub(crate) struct UmountArgs {
    /// Mount points
    #[arg(value_name = "DIR", required = true, value_hint = clap::ValueHint::DirPath)]
    pub(crate) dirs: Vec<PathBuf>,
    /// Remove the overlay and all that was changed
    #[arg(long, conflicts_with = "commit")]
    pub(crate) discard: bool,
    /// Commit first
    #[arg(long, requires = "message")]
    pub(crate) commit: bool,
    /// The message of that commit
    #[arg(short, long, value_name = "TEXT", requires = "commit")]
    pub(crate) message: Option<String>,
}

/// Runs `umount`.
pub(crate) fn run(session: &Session, args: &UmountArgs) -> Outcome {
    for dir in &args.dirs {
        let at = absolute(session, dir)?;
        if let Some(message) = args.message.as_deref().filter(|_| args.commit) {
            let exit = commit::of_mount(session, &at, message)?;
            if exit != Exit::DONE {
                return Ok(exit);
            }
        }
        umount(&dirs::run(), &at, args.discard)?;
    }
    Ok(Exit::DONE)
}
