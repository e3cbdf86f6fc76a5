//! `umount`: unmounts, and waits until all changes of a mount are on disk.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::error::{Failure, Kind, Result};
use crate::mount::attach::{self, AttachError};
use crate::mount::control::{ControlError, ControlRequest, MountClient, note};
use crate::mount::health::{MountHealth, health};
use crate::mount::processes::namespaces;
use crate::observe::{Notice, NoticeLevel, Observer};
use crate::ops::mount::{MountState, mounted_at};
use crate::sys::mountinfo::Mounted;

/// The interval at which `umount` checks whether other mount namespaces keep the mount, while it
/// waits for the process of the mount to exit.
const HOLDER_INTERVAL: Duration = Duration::from_secs(2);
/// The time that the process of a mount may take to write its changes and exit.
const END_TIMEOUT: Duration = Duration::from_secs(300);

/// Options of `umount`.
#[derive(Clone, Copy, Debug, Default)]
pub struct UmountOptions {
    /// Remove the overlay.
    pub discard: bool,
    /// Detach the mount immediately, even if processes use it or its own process does not answer.
    pub force: bool,
}

/// Unmounts, and waits until the changes of the mount are on disk. If the mount is in use or its
/// process does not answer, `force` detaches it without waiting.
pub fn umount(
    run: &Path,
    at: &Path,
    options: UmountOptions,
    observer: &dyn Observer,
) -> Result<()> {
    let mounted = mounted_at(at)?;
    let cancelled = || observer.cancelled();
    let ended = MountClient::connect(run, &mounted)
        .and_then(|client| stop(client.cancelled_by(&cancelled), &mounted, options));
    let Err(e) = ended else { return Ok(()) };
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
        return force(&mounted, stuck, observer);
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
fn stop(mut client: MountClient<'_>, mounted: &Mounted, options: UmountOptions) -> Result<()> {
    // Changes that are discarded need not reach the process first.
    if !options.discard {
        client.flush_kernel()?;
    }
    client.request::<()>(&ControlRequest::Stop {
        discard: options.discard,
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
