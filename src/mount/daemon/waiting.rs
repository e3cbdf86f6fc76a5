//! Waits for the process of an earlier mount of the same overlay that is still flushing.
//!
//! A process records in the overlay that it serves the overlay, and later that it is about to exit,
//! because the mount is gone from all mount namespaces. The record is valid only while the overlay
//! is locked.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};
use std::{fs, io};

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::mount::attach::AttachError;
use crate::mount::overlay::OverlayDb;
use crate::observe::{Notice, NoticeLevel, Observer};
use crate::sys::process::ProcessIdentity;
use crate::sys::{create, mountinfo};
use crate::work::Cancelled;

const FILE: &str = "server.json";
/// Time limit for a process to flush before it exits.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(300);
/// Time limit for a process to notice that its mount is gone.
const NOTICE_TIMEOUT: Duration = Duration::from_secs(2);
/// Interval between checks of the lock.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// The process that has locked an overlay.
#[derive(Debug, Serialize, Deserialize)]
struct OverlayServer {
    #[serde(flatten)]
    process: ProcessIdentity,
    /// The mount point.
    at: PathBuf,
    /// Whether the mount is gone and the process is about to exit.
    ending: bool,
}

/// Records that this process serves an overlay.
pub(super) fn write_serving(overlay: &Path, at: &Path) {
    // Ignore errors: without the record, a later mount fails instead of waiting.
    let _ = write(overlay, at, false);
}

/// Records that the mount of an overlay is gone and this process is about to exit.
pub(super) fn write_ending(overlay: &Path, at: &Path) {
    let _ = write(overlay, at, true);
}

fn write(overlay: &Path, at: &Path, ending: bool) -> io::Result<()> {
    let server = OverlayServer {
        process: ProcessIdentity::own(),
        at: at.to_owned(),
        ending,
    };
    // The record need not be durable, because it is invalid after the process has exited.
    let mut file = create::temp_file(overlay, ".server")?;
    file.write_all(&serde_json::to_vec(&server)?)?;
    file.persist(overlay.join(FILE))
        .map(drop)
        .map_err(|e| e.error)
}

fn read(overlay: &Path) -> Option<OverlayServer> {
    serde_json::from_slice(&fs::read(overlay.join(FILE)).ok()?).ok()
}

/// Returns whether this process still has the lock of an overlay that it has served.
pub(super) fn is_locked_by_this_process(overlay: &Path) -> Result<bool> {
    let is_ours = |server: OverlayServer| server.process == ProcessIdentity::own();
    Ok(OverlayDb::is_locked(overlay)? && read(overlay).is_some_and(is_ours))
}

/// Waits until the process of an unmounted overlay has exited. Returns immediately if no process
/// has locked the overlay, or if it is still mounted. Fails if the process takes too long to flush.
pub fn wait_while_ending(overlay: &Path, observer: &dyn Observer) -> Result<()> {
    let (begun, mut reported) = (Instant::now(), false);
    while OverlayDb::is_locked(overlay)? {
        let Some(server) = read(overlay) else {
            return Ok(());
        };
        if !server.ending && is_mounted(&server.at) {
            return Ok(());
        }
        // A process notices the end of its mount at once. Writing its changes can take much longer.
        let limit = if server.ending {
            FLUSH_TIMEOUT
        } else {
            NOTICE_TIMEOUT
        };
        if begun.elapsed() >= limit {
            let at = server.at;
            return if server.ending {
                Err(AttachError::StillEnding { at }.into())
            } else {
                Ok(())
            };
        }
        if server.ending && !reported {
            reported = true;
            let message = format!(
                "waiting for process {}, the daemon of the previous mount, to write its changes to disk",
                server.process.pid
            );
            observer.notice(Notice {
                level: NoticeLevel::Info,
                path: Vec::new(),
                message,
            });
        }
        if observer.cancelled() {
            return Err(Cancelled.into());
        }
        sleep(POLL_INTERVAL);
    }
    Ok(())
}

fn is_mounted(at: &Path) -> bool {
    mountinfo::ours().is_ok_and(|all| all.iter().any(|m| m.at == at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use parking_lot::Mutex;
    use rustix::fs::{FlockOperation, flock};
    use std::fs::File;

    /// Releases the overlay as soon as it receives a notice.
    struct Ends(Mutex<Option<File>>, Mutex<Vec<String>>);

    impl Observer for Ends {
        fn notice(&self, notice: Notice) {
            drop(self.0.lock().take());
            self.1.lock().push(notice.message);
        }
    }

    fn locked(overlay: &Path) -> Ends {
        let lock = File::create(overlay.join("lock")).unwrap();
        flock(&lock, FlockOperation::LockExclusive).unwrap();
        Ends(Mutex::new(Some(lock)), Mutex::default())
    }

    #[test]
    fn an_overlay_is_waited_for_whose_process_is_about_to_end() {
        let dir = tempfile::tempdir().unwrap();
        let overlay = dir.path();
        wait_while_ending(overlay, &Ends(Mutex::default(), Mutex::default())).unwrap();
        let observer = locked(overlay);
        write_ending(overlay, Path::new("/gone"));
        wait_while_ending(overlay, &observer).unwrap();
        let told = observer.1.lock();
        assert!(
            told.len() == 1 && told[0].starts_with("waiting for process"),
            "{told:?}"
        );
        assert!(!OverlayDb::is_locked(overlay).unwrap());
    }

    #[test]
    fn one_that_is_served_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let observer = locked(dir.path());
        // Without a record, or if the mount is not visible to this process, the wait ends although
        // the overlay is locked. Opening it then fails.
        wait_while_ending(dir.path(), &observer).unwrap();
        write_serving(dir.path(), Path::new("/elsewhere"));
        wait_while_ending(dir.path(), &observer).unwrap();
        assert!(observer.1.lock().is_empty() && OverlayDb::is_locked(dir.path()).unwrap());
    }
}
