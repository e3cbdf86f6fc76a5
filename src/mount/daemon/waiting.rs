//! A mount of an overlay whose last mount is gone, while its process still flushes.
//!
//! The process notes beside the overlay what it serves, and that it is about to end as soon as the kernel has let go of the
//! mount everywhere. The note counts only as long as the overlay is locked.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::mount::attach::AttachError;
use crate::mount::store::Store;
use crate::observe::{Notice, NoticeLevel, Observer};
use crate::sys::create;
use crate::sys::mountinfo;
use crate::sys::process::ProcessIdentity;
use crate::work::Cancelled;

const FILE: &str = "server.json";
/// How long a process may flush at its end.
const FLUSH: Duration = Duration::from_secs(300);
/// How long a process may take to notice that its mount is gone.
const NOTICE: Duration = Duration::from_secs(2);
/// How often the lock is looked at.
const LOOK: Duration = Duration::from_millis(10);

/// The process that has an overlay locked.
#[derive(Debug, Serialize, Deserialize)]
struct Server {
    #[serde(flatten)]
    process: ProcessIdentity,
    /// Its mount point.
    at: PathBuf,
    /// Whether the mount is gone.
    ending: bool,
}

/// Notes that this process serves an overlay.
pub(super) fn begins(overlay: &Path, at: &Path) {
    // Without the note a later mount refuses instead of waiting.
    let _ = write(overlay, at, false);
}

/// Notes that the mount of an overlay is gone, and this process about to end.
pub(super) fn ends(overlay: &Path, at: &Path) {
    let _ = write(overlay, at, true);
}

fn write(overlay: &Path, at: &Path, ending: bool) -> io::Result<()> {
    let server = Server { process: ProcessIdentity::own(), at: at.to_owned(), ending };
    // Not durable: with the process the note loses its meaning.
    let mut file = create::temp_file(overlay, ".server")?;
    file.write_all(&serde_json::to_vec(&server)?)?;
    file.persist(overlay.join(FILE)).map(drop).map_err(|e| e.error)
}

fn read(overlay: &Path) -> Option<Server> {
    serde_json::from_slice(&fs::read(overlay.join(FILE)).ok()?).ok()
}

/// Waits until the process of an overlay has ended whose mount is gone. Returns at once if the overlay is free, or is mounted.
pub fn wait_while_ending(overlay: &Path, observer: &dyn Observer) -> Result<()> {
    let (begun, mut told) = (Instant::now(), false);
    while Store::is_locked(overlay)? {
        let Some(server) = read(overlay) else { return Ok(()) };
        let limit = match server.ending {
            true => FLUSH,
            false if is_mounted(&server.at) => return Ok(()),
            false => NOTICE,
        };
        if begun.elapsed() >= limit {
            let at = server.at;
            return if server.ending { Err(AttachError::StillEnding { at }.into()) } else { Ok(()) };
        }
        if server.ending && !told {
            told = true;
            let message = format!(
                "waiting for process {}, which writes the changes of the last mount to disk",
                server.process.pid
            );
            observer.notice(Notice { level: NoticeLevel::Info, path: Vec::new(), message });
        }
        if observer.cancelled() {
            return Err(Cancelled.into());
        }
        sleep(LOOK);
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

    /// Lets go of the overlay as soon as it is told that somebody waits.
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
        ends(overlay, Path::new("/gone"));
        wait_while_ending(overlay, &observer).unwrap();
        let told = observer.1.lock();
        assert!(told.len() == 1 && told[0].starts_with("waiting for process"), "{told:?}");
        assert!(!Store::is_locked(overlay).unwrap());
    }

    #[test]
    fn one_that_is_served_is_not_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let observer = locked(dir.path());
        // Nothing is noted of it, or its mount is not seen here: it is left to the lock to refuse.
        wait_while_ending(dir.path(), &observer).unwrap();
        begins(dir.path(), Path::new("/elsewhere"));
        wait_while_ending(dir.path(), &observer).unwrap();
        assert!(observer.1.lock().is_empty() && Store::is_locked(dir.path()).unwrap());
    }
}
