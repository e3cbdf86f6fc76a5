//! The current time by the clock of this machine, and by the clock with which the kernel stamps
//! files.
//!
//! Some times of a mount come from the kernel (writeback mode, files in passthrough mode), the
//! others from this process. All of them must come from the same clock. Otherwise, a later change
//! could get an earlier time than the previous one, and `make` would repeat or skip work.

use std::os::fd::OwnedFd;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{Timespec, Timestamps, UTIME_NOW, fstat, futimens};

use crate::model::entry::Time;

/// Returns the current time by the clock of this machine; a clock before 1970 counts as 1970.
pub fn now() -> Time {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Time {
        secs: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        nanos: since.subsec_nanos(),
    }
}

/// Returns the time with which the kernel would stamp a file now.
///
/// The clock `CLOCK_REALTIME_COARSE` differs from that time. Since Linux 6.13, the kernel never
/// stamps a file with an earlier time than the last fine-grained time that it gave to a file of
/// ext4, XFS, Btrfs or tmpfs, and that time is ahead of the coarse clock (measured: in 1997 of 2000
/// writes to ext4). Only the kernel knows that time, so this function stamps an unused pipe and
/// reads its time, which takes less than a microsecond. If that is not permitted, returns the time
/// of the machine's clock.
pub fn stamp_now() -> Time {
    static STAMPED: OnceLock<Option<OwnedFd>> = OnceLock::new();
    let stamped = STAMPED.get_or_init(|| std::io::pipe().ok().map(|(reader, _)| reader.into()));
    stamped.as_ref().and_then(stamp).unwrap_or_else(now)
}

fn stamp(file: &OwnedFd) -> Option<Time> {
    let present = Timespec {
        tv_sec: 0,
        tv_nsec: UTIME_NOW,
    };
    futimens(
        file,
        &Timestamps {
            last_access: present,
            last_modification: present,
        },
    )
    .ok()?;
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

/// Returns a time from the fields of a system call.
pub fn time(secs: i64, nanos: impl TryInto<u32>) -> Time {
    Time {
        secs,
        nanos: nanos.try_into().unwrap_or(0),
    }
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
            // After a stat, the next change of the file gets a fine-grained time.
            let meta = file.as_file().metadata().unwrap();
            let stamped = time(meta.mtime(), meta.mtime_nsec());
            assert!(stamp_now() >= stamped);
        }
    }
}
