//! `dvc umount`: ends a mount, when all of it is on disk.

use crate::args::DryRun;
use crate::commands::mount::absolute;
use crate::commands::{commit, overlays};
use crate::dirs;
use crate::failure::{Exit, Failed, Outcome};
use crate::print::size;
use crate::session::Session;
use clap::Args;
use dvc::mount::health::MountHealth;
use dvc::ops::mount::{MountState, UmountOptions, umount, umount_plan};
use std::io::Write;
use std::path::PathBuf;

/// Options of `umount`.
#[derive(Args, Debug)]
#[command(after_help = "Examples:\n  dvc umount /mnt/db\n  dvc umount --commit -m 'new prices' /mnt/db\n  \
                        dvc umount -n --discard /mnt/db    what would be lost\n  \
                        dvc umount --discard db-1a2b3c4d   an overlay that is not mounted\n  \
                        dvc umount --force /mnt/db         its process is stopped, or programs use it")]
pub(crate) struct UmountArgs {
    /// Mount points; with --discard also names of overlays that are not mounted
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
    /// Detach it at once, also one that is in use or whose process does not answer
    #[arg(short, long, conflicts_with_all = ["discard", "commit"])]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) dry: DryRun,
}

/// Runs `umount`.
pub(crate) fn run(session: &Session, args: &UmountArgs) -> Outcome {
    let dry_run = session.dry_run(args.dry);
    let options = UmountOptions { discard: args.discard, force: args.force };
    let told = session.told()?;
    for dir in &args.dirs {
        if args.discard && overlays::discard(session, dir, dry_run)? {
            continue;
        }
        let at = absolute(session, dir)?;
        if let Some(message) = args.message.as_deref().filter(|_| args.commit) {
            let exit = commit::of_mount(session, &at, message, dry_run)?;
            if exit != Exit::DONE {
                return Ok(exit);
            }
        }
        match dry_run {
            true => show(session, &umount_plan(&dirs::usable_run()?, &at)?, args)?,
            false => umount(&dirs::usable_run()?, &at, options, &*told)?,
        }
    }
    Ok(Exit::DONE)
}

/// Shows what would be ended, and what would become of what is changed.
fn show(session: &Session, state: &MountState, args: &UmountArgs) -> Result<(), Failed> {
    let at = state.mounted.at.display();
    let overlay = state.note.as_ref().and_then(|note| note.overlay.as_deref());
    let discard = args.discard || state.note.as_ref().is_some_and(|note| note.ephemeral);
    let (changed, bytes) = state.facts().map_or((0, 0), |facts| (facts.changed, facts.dirty_bytes));
    let mut out = session.plain_out();
    if session.globals.json {
        out.json(&serde_json::json!({
            "at": state.mounted.at.to_string_lossy(), "overlay": overlay, "alive": state.facts().is_some(),
            "health": state.health.name(),
            "discard": discard, "changed": changed, "dirty_bytes": bytes, "dry_run": true,
        }))?;
    } else if session.globals.quiet == 0 {
        let what = format!("{changed} changed, {} not in a version", size(bytes));
        let then = match (overlay, &state.health) {
            (_, MountHealth::Dead) => "which no process serves any more".to_owned(),
            (_, MountHealth::OtherUser(owner)) => format!("which user {owner} mounted; its changes are kept"),
            (_, MountHealth::Unknown) => "whose process is not known here; its changes are kept".to_owned(),
            (_, MountHealth::Silent { pid, .. }) if args.force => format!("without an answer of process {pid}"),
            (_, MountHealth::Silent { pid, .. }) => format!("as soon as process {pid} answers, or with --force"),
            (None, _) => "read-only".to_owned(),
            (Some(name), _) if discard => format!("and lose overlay {name}: {what}"),
            (Some(name), _) if args.commit => format!("overlay {name} stays"),
            (Some(name), _) => format!("overlay {name} keeps {what}"),
        };
        writeln!(out, "would end {at}, {then}")?;
    }
    out.finish()?;
    Ok(())
}
