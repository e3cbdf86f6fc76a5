//! `dvc umount`: unmounts versions, after all changes are on disk unless `--force` is given.

use crate::commands::commit::commit_mount;
use crate::commands::mount::absolute;
use crate::commands::overlays;
use crate::dirs;
use crate::failure::{CommandResult, Exit, Failed};
use crate::globals::DryRun;
use crate::print::size;
use crate::session::Session;
use clap::Args;
use dvc::model::text::count;
use dvc::mount::health::MountHealth;
use dvc::observe::{Notice, NoticeLevel, Observer};
use dvc::ops::mount::MountState;
use dvc::ops::umount::{UmountOptions, umount, umount_plan};
use serde::Serialize;
use std::borrow::Cow;
use std::io::Write;
use std::path::PathBuf;

/// Options of `umount`.
#[derive(Args, Debug)]
#[command(
    after_help = "Examples:\n  dvc umount /mnt/db\n  dvc umount --commit -m 'new prices' /mnt/db\n  \
                        dvc umount -n --discard /mnt/db    what would be discarded\n  \
                        dvc umount --discard db-1a2b3c4d   an overlay that is not mounted\n  \
                        dvc umount --force /mnt/db         its daemon does not respond, or programs use it"
)]
pub(crate) struct UmountArgs {
    /// Unmount these mount points; with --discard, also remove overlays by name that are not
    /// mounted
    #[arg(value_name = "DIR", required = true, value_hint = clap::ValueHint::DirPath)]
    pub(crate) dirs: Vec<PathBuf>,
    /// Move the overlay with all changes to the trash
    #[arg(long, conflicts_with = "commit")]
    pub(crate) discard: bool,
    /// With --discard, delete the changes instead of moving them to the trash
    #[arg(long, requires = "discard")]
    pub(crate) no_trash: bool,
    /// Commit the changes first
    #[arg(long, requires = "message")]
    pub(crate) commit: bool,
    /// Use this message for the commit
    #[arg(short, long, value_name = "TEXT", requires = "commit")]
    pub(crate) message: Option<String>,
    /// Detach the mount at once, even if it is in use or its daemon does not respond
    #[arg(short, long, conflicts_with_all = ["discard", "commit"])]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) dry: DryRun,
}

/// Runs `umount`.
pub(crate) fn run(session: &Session, args: &UmountArgs) -> CommandResult {
    let dry_run = session.dry_run(args.dry);
    let options = UmountOptions {
        discard: args.discard,
        no_trash: args.no_trash,
        force: args.force,
    };
    let notices = session.store_notices()?;
    for dir in &args.dirs {
        if args.discard && overlays::discard(session, dir, args.no_trash, dry_run)? {
            continue;
        }
        let at = absolute(session, dir)?;
        if let Some(message) = args.message.as_deref().filter(|_| args.commit) {
            let exit = commit_mount(session, &at, message, dry_run)?;
            if exit != Exit::DONE {
                notices.notice(Notice {
                    level: NoticeLevel::Warning,
                    path: Vec::new(),
                    message: format!(
                        "`{}` stays mounted: files changed while they were read",
                        at.display()
                    ),
                });
                return Ok(exit);
            }
        }
        if dry_run {
            show(session, &umount_plan(&dirs::usable_run()?, &at)?, args)?;
        } else {
            let trash = umount(&dirs::usable_run()?, &at, options, &*notices)?;
            if args.discard {
                overlays::print_discarded(session, &at.to_string_lossy(), trash.as_deref())?;
            }
        }
    }
    Ok(Exit::DONE)
}

#[derive(Serialize)]
struct JsonUmountPlan<'a> {
    mount_point: Cow<'a, str>,
    overlay: Option<&'a str>,
    alive: bool,
    health: &'static str,
    discard: bool,
    to_trash: bool,
    changed_files: u64,
    dirty_bytes: u64,
    dry_run: bool,
}

/// Shows what would be unmounted, and what would happen to the changes.
fn show(session: &Session, state: &MountState, args: &UmountArgs) -> Result<(), Failed> {
    let at = state.mounted.at.display();
    let overlay = state.note.as_ref().and_then(|note| note.overlay.as_deref());
    let is_ephemeral = state.note.as_ref().is_some_and(|note| note.ephemeral);
    let discard = args.discard || is_ephemeral;
    let (changed, bytes) = state
        .facts()
        .map_or((0, 0), |facts| (facts.changed, facts.dirty_bytes));
    let is_kept = discard && !is_ephemeral && !args.no_trash && changed > 0;
    let mut out = session.plain_out();
    if session.globals.json {
        out.json(&JsonUmountPlan {
            mount_point: state.mounted.at.to_string_lossy(),
            overlay,
            alive: state.facts().is_some(),
            health: state.health.name(),
            discard,
            to_trash: is_kept,
            changed_files: changed,
            dirty_bytes: bytes,
            dry_run: true,
        })?;
    } else if session.globals.quiet == 0 {
        let what = format!(
            "{} changed, {} uncommitted",
            count(changed, "file"),
            size(bytes)
        );
        let then = match (overlay, &state.health) {
            (_, MountHealth::Dead) => "a dead mount, whose daemon no longer runs".to_owned(),
            (_, MountHealth::OtherUser(owner)) => {
                format!("mounted by user {owner}; its changes are kept")
            }
            (_, MountHealth::Unknown) => {
                "whose daemon cannot be found; its changes are kept".to_owned()
            }
            (_, MountHealth::Silent { pid, .. }) if args.force => {
                format!("although process {pid} does not respond")
            }
            (_, MountHealth::Silent { pid, .. }) => {
                format!("as soon as process {pid} responds, or at once with --force")
            }
            (None, _) => "read-only".to_owned(),
            (Some(name), _) if is_kept => {
                format!("and move overlay {name} to the trash: {what}")
            }
            (Some(name), _) if discard => format!("and remove overlay {name}: {what}"),
            (Some(name), _) if args.commit => format!("and keep overlay {name}"),
            (Some(name), _) => format!("overlay {name} keeps {what}"),
        };
        writeln!(out, "would unmount {at}, {then}")?;
    }
    out.finish()?;
    Ok(())
}
