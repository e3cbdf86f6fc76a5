//! Removes the files below `tmp/` that interrupted processes have left.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use rustix::fs::{FlockOperation, OFlags, flock};

use crate::store::local::LocalStore;

/// Age at which a file that no process of this machine has locked counts as a leftover. A file that
/// arrives over sftp has no lock, but is written to more often than this.
const LEFT_AFTER: Duration = Duration::from_secs(24 * 3600);

/// Removes the leftovers of a store. Errors are ignored, because the next run tries again.
pub(super) fn remove(store: &LocalStore) {
    let Ok(dir) = store.staging() else { return };
    // Use the clock of the file system, which sets the times of files, or that of this machine if
    // the disk is full.
    let now = store
        .stage()
        .ok()
        .and_then(|probe| probe.as_file().metadata().ok()?.modified().ok())
        .unwrap_or_else(SystemTime::now);
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if is_leftover(&entry.path(), now).unwrap_or(false) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn is_leftover(path: &Path, now: SystemTime) -> io::Result<bool> {
    let metadata = path.symlink_metadata()?;
    let age = now.duration_since(metadata.modified()?).unwrap_or_default();
    if !metadata.is_file() || age < LEFT_AFTER {
        return Ok(false);
    }
    let flags = i32::try_from(OFlags::NOFOLLOW.bits()).unwrap_or(0);
    let file: File = OpenOptions::new()
        .read(true)
        .custom_flags(flags)
        .open(path)?;
    Ok(flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_old_files_of_processes_that_have_ended_are_removed() {
        let dir = tempfile::tempdir().unwrap();
        let store = LocalStore::new(dir.path().join("r"));
        let is_used = store.stage().unwrap();
        let tmp = store.staging().unwrap();
        let old = SystemTime::now() - 2 * LEFT_AFTER;
        for name in ["old", "new"] {
            fs::write(tmp.join(name), name).unwrap();
        }
        let left = File::options().write(true).open(tmp.join("old")).unwrap();
        for file in [&left, is_used.as_file()] {
            file.set_modified(old).unwrap();
        }
        drop(left);
        remove(&store);
        assert!(!tmp.join("old").exists());
        assert!(tmp.join("new").exists() && is_used.path().exists());
    }
}
