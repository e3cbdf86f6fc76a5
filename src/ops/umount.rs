//! `umount`: unmounts, and waits until all changes of a mount are on disk.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::error::{Error, Failure, Kind, Result, with_causes};
use crate::mount::attach::{self, AttachError};
use crate::mount::control::{ControlError, ControlRequest, MountClient, note};
use crate::mount::health::{MountHealth, health};
use crate::mount::processes::namespaces;
use crate::observe::{Notice, NoticeLevel, Observer};
use crate::ops::mount::{MountState, OVERLAYS, mounted_at};
use crate::repo::local_trash::LocalTrash;
use crate::sys::clock;
use crate::sys::mountinfo::Mounted;

/// The interval at which `umount` checks whether other mount namespaces keep the mount, while it
/// waits for the process of the mount to exit.
const HOLDER_INTERVAL: Duration = Duration::from_secs(2);
/// The time that the process of a mount may take to write its changes and exit.
const END_TIMEOUT: Duration = Duration::from_secs(300);

/// Options of `umount`.
#[derive(Clone, Copy, Debug, Default)]
pub struct UmountOptions {
    /// Move the overlay to the trash, if it has changes, or else remove it.
    pub discard: bool,
    /// With `discard`, delete the overlay instead of moving it to the trash.
    pub no_trash: bool,
    /// Detach the mount immediately, even if processes use it or its own process does not answer.
    pub force: bool,
}

/// Unmounts, and waits until the changes of the mount are on disk. If the mount is in use or its
/// process does not answer, `force` detaches it without waiting. Returns the id of the discarded
/// overlay in the trash.
pub fn umount(
    run: &Path,
    at: &Path,
    options: UmountOptions,
    observer: &dyn Observer,
) -> Result<Option<String>> {
    let mounted = mounted_at(at)?;
    let overlay = DiscardedOverlay::of(run, &mounted, options);
    let cancelled = || observer.cancelled();
    let ended = MountClient::connect(run, &mounted)
        .and_then(|client| stop(client.cancelled_by(&cancelled), &mounted, options, observer));
    let Err(e) = ended else {
        return overlay.map_or(Ok(None), DiscardedOverlay::in_trash);
    };
    end_without_answer(&mounted, options, e, observer)?;
    Ok(None)
}

/// The error for a mount that was unmounted, but whose overlay could not be discarded.
#[derive(Debug, thiserror::Error)]
#[error("unmounted, but the overlay `{name}` was not discarded: see `{}`", log.display())]
struct NotDiscarded {
    name: String,
    log: PathBuf,
}

impl Failure for NotDiscarded {
    fn kind(&self) -> Kind {
        Kind::Incomplete
    }

    fn hint(&self) -> Option<String> {
        let name = &self.name;
        Some(format!(
            "run `dvc umount --discard {name}` again, or `dvc umount --discard --no-trash {name}` to delete it"
        ))
    }
}

/// The overlay of a mount that is unmounted with `discard`.
struct DiscardedOverlay {
    repository: PathBuf,
    name: String,
    /// The inode number of its directory. Another mount may create an overlay of the name.
    ino: Option<u64>,
    since_secs: i64,
}

impl DiscardedOverlay {
    fn of(run: &Path, mounted: &Mounted, options: UmountOptions) -> Option<Self> {
        let note = note(run, mounted).filter(|note| options.discard && !note.ephemeral)?;
        let mut overlay = Self {
            repository: note.repository,
            name: note.overlay?,
            ino: None,
            since_secs: clock::now().secs,
        };
        overlay.ino = overlay.ino_now();
        Some(overlay)
    }

    fn dir(&self) -> PathBuf {
        self.repository.join(OVERLAYS).join(&self.name)
    }

    fn ino_now(&self) -> Option<u64> {
        Some(fs::symlink_metadata(self.dir()).ok()?.ino())
    }

    /// Returns the entry into which the process of the mount has moved the overlay; `None` if the
    /// overlay had no changes or was deleted. Fails if it was not discarded.
    fn in_trash(self) -> Result<Option<String>> {
        if self.ino.is_some() && self.ino_now() == self.ino {
            return Err(NotDiscarded {
                log: self.dir().join("log"),
                name: self.name,
            }
            .into());
        }
        let entries = LocalTrash::of(&self.repository).list()?;
        let found = entries
            .into_iter()
            .filter(|entry| entry.name() == self.name && entry.time >= self.since_secs)
            .max_by_key(|entry| entry.time);
        Ok(found.map(|entry| entry.id))
    }
}

/// Detaches a mount whose process did not stop it, if the options and the error `e` allow that.
fn end_without_answer(
    mounted: &Mounted,
    options: UmountOptions,
    e: Error,
    observer: &dyn Observer,
) -> Result<()> {
    let at = &mounted.at;
    let (stuck, unknown, in_use) = match e.as_error().downcast_ref::<ControlError>() {
        Some(ControlError::Stuck { .. }) => (true, false, false),
        Some(ControlError::Refused {
            kind: Kind::Busy, ..
        }) => (false, false, true),
        Some(
            ControlError::OtherUser { .. }
            | ControlError::Unknown { .. }
            | ControlError::Silent { .. },
        ) => (false, true, false),
        _ => (false, false, false),
    };
    // A dead mount has no process that could still write changes.
    if unknown && attach::is_dead(at) {
        return Ok(attach::detach(at, true)?);
    }
    if options.force && (stuck || unknown || in_use) {
        return force(mounted, stuck, observer);
    }
    let others = matches!(
        e.as_error().downcast_ref(),
        Some(ControlError::OtherUser { .. })
    );
    // Only root may detach a mount of another user.
    if !unknown || options.discard || others && !rustix::process::geteuid().is_root() {
        return Err(e);
    }
    // Only detach the mount. The kernel writes its cached data back and the process writes its
    // changes, but without a connection there is no way to wait for the process to exit.
    match attach::detach(at, false) {
        Err(refused) if refused.kind() == Kind::Denied => return Err(e),
        done => done?,
    }
    let message = format!(
        "{}: unmounted; its daemon exits when all changes are on disk",
        at.display()
    );
    observer.notice(Notice {
        level: NoticeLevel::Info,
        path: Vec::new(),
        message,
    });
    Ok(())
}

/// Asks the process of the mount to stop, and waits until it has exited.
fn stop(
    mut client: MountClient<'_>,
    mounted: &Mounted,
    options: UmountOptions,
    observer: &dyn Observer,
) -> Result<()> {
    // Changes that are deleted need not reach the process first.
    if !options.discard {
        client.flush_kernel()?;
    } else if !options.no_trash
        && let Err(e) = client.flush_kernel()
    {
        if e.as_error().is::<ControlError>() {
            return Err(e);
        }
        // A full disk must not keep a user from discarding changes.
        let message = format!(
            "data that cannot be written is missing from the trash: {}",
            with_causes(&e)
        );
        observer.notice(Notice {
            level: NoticeLevel::Warning,
            path: Vec::new(),
            message,
        });
    }
    client.request::<()>(&ControlRequest::Stop {
        discard: options.discard,
        no_trash: options.no_trash,
    })?;
    let begun = Instant::now();
    while !client.wait_for_end(HOLDER_INTERVAL)? {
        let at = mounted.at.clone();
        // A mount namespace that still has the mount keeps its process running.
        if let Some(pid) = namespaces::other_namespaces(mounted.device, None)
            .into_iter()
            .next()
        {
            return Err(AttachError::StillSeen { at, pid }.into());
        }
        if begun.elapsed() > END_TIMEOUT {
            return Err(AttachError::StillEnding { at }.into());
        }
    }
    Ok(())
}

/// Detaches a mount. Cuts the kernel's connection to a stuck process if the kernel would wait for
/// that process to accept cached data.
fn force(mounted: &Mounted, stuck: bool, observer: &dyn Observer) -> Result<()> {
    let cut = attach::detach_now(mounted, stuck)?;
    let at = mounted.at.display();
    let message = match (stuck, cut) {
        (_, true) => format!("{at}: detached; data that was only in the kernel's cache is lost"),
        (true, false) => {
            format!(
                "{at}: detached; its daemon keeps the overlay locked until the daemon resumes or is killed"
            )
        }
        (false, false) => {
            format!("{at}: detached; its daemon exits when the mount is no longer in use")
        }
    };
    observer.notice(Notice {
        level: NoticeLevel::Info,
        path: Vec::new(),
        message,
    });
    Ok(())
}

/// Returns the mount that [`umount`] would unmount, with its state.
pub fn umount_plan(run: &Path, at: &Path) -> Result<MountState> {
    let mounted = mounted_at(at)?;
    // Data that is only in the cache of the kernel would be missing from the counts.
    let settle = |mut client: MountClient<'_>| client.flush_kernel();
    let settled = MountClient::connect(run, &mounted).and_then(settle);
    let health = health(run, std::slice::from_ref(&mounted))
        .pop()
        .unwrap_or(MountHealth::Unknown);
    match (settled, &health) {
        (Err(e), MountHealth::Served(_)) => Err(e),
        _ => Ok(MountState {
            note: note(run, &mounted),
            health,
            mounted,
        }),
    }
}
