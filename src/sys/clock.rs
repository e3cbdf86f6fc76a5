//! The present: by the clock of this machine, and by the clock with which the kernel stamps files.
//!
//! Some times of a mount come from the kernel (writeback mode, files in passthrough mode), the others from this process.
//! All of them must come from one clock, or a later change gets an earlier time than the one before it and `make` repeats
//! or skips work.

use std::os::fd::OwnedFd;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{Timespec, Timestamps, UTIME_NOW, fstat, futimens};

use crate::model::entry::Time;

/// Returns the present by the clock of this machine; a clock before 1970 counts as 1970.
pub fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time { secs: i64::try_from(since.as_secs()).unwrap_or(i64::MAX), nanos: since.subsec_nanos() }
}

/// Returns the time that the kernel would stamp a file with now.
///
/// `CLOCK_REALTIME_COARSE` is not that time: since Linux 6.13 the kernel never stamps a file with an earlier time than the
/// last fine-grained one that it gave to a file of ext4, XFS, Btrfs or tmpfs, and that one is ahead of the coarse clock
/// (measured: in 1997 of 2000 writes to ext4). Only the kernel itself knows it, so a pipe that nothing uses is stamped
/// and looked at; that takes less than a microsecond. Where that is not permitted, it is the clock of the machine.
pub fn stamp_now() -> Time {
    static STAMPED: OnceLock<Option<OwnedFd>> = OnceLock::new();
    let stamped = STAMPED.get_or_init(|| std::io::pipe().ok().map(|(reader, _)| reader.into()));
    stamped.as_ref().and_then(stamp).unwrap_or_else(now)
}

fn stamp(file: &OwnedFd) -> Option<Time> {
    let present = Timespec { tv_sec: 0, tv_nsec: UTIME_NOW };
    futimens(file, &Timestamps { last_access: present, last_modification: present }).ok()?;
    let stamped = fstat(file).ok()?;
    Some(time(stamped.st_mtime, stamped.st_mtime_nsec))
}

/// Converts a time for interfaces of the standard library.
pub fn to_system(time: Time) -> SystemTime {
    let nanos = Duration::from_nanos(u64::from(time.nanos));
    match u64::try_from(time.secs) {
        Ok(secs) => UNIX_EPOCH + Duration::from_secs(secs) + nanos,
        Err(_) => UNIX_EPOCH - Duration::from_secs(time.secs.unsigned_abs()) + nanos,
    }
}

/// Returns a time as system calls give it.
pub fn time(secs: i64, nanos: impl TryInto<u32>) -> Time {
    Time { secs, nanos: nanos.try_into().unwrap_or(0) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::os::unix::fs::MetadataExt;

    #[test]
    fn it_is_never_behind_the_times_that_the_kernel_gave_to_files() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        for _ in 0..200 {
            file.write_all(b"x").unwrap();
            // A file that was looked at gets a fine-grained time with its next change.
            let meta = file.as_file().metadata().unwrap();
            let stamped = time(meta.mtime(), meta.mtime_nsec());
            assert!(stamp_now() >= stamped);
        }
    }
}
