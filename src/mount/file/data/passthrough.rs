//! Passthrough: the kernel reads and writes the upper file directly, without this process.

use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use rustix::fs::{Timespec, Timestamps};

use super::FileData;
use crate::model::entry::Time;
use crate::sys::clock::time;

impl FileData {
    /// Returns the upper file for use by the kernel. The upper file must be complete. With `write`,
    /// all of it counts as changed from now on.
    pub fn pass_to_kernel(&self, write: bool, mtime: Time) -> io::Result<Arc<File>> {
        let _exclusive = self.exclusive();
        if self.read_state().damage.is_some() {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let upper = self.open_upper()?;
        if !self.is_written_by_kernel() {
            // Set the recorded modification time, so that a later one shows that the kernel has
            // written.
            set_times(&upper, mtime)?;
        }
        if !write {
            self.kernel_readers.fetch_add(1, Ordering::AcqRel);
        } else {
            self.kernel_writers.fetch_add(1, Ordering::AcqRel);
            self.was_written_by_kernel.store(true, Ordering::Release);
            self.note_change();
            let mut state = self.write_state();
            state.sums.disable();
            self.mark_changed(&mut state);
            // The kernel does not report which blocks it writes, so all of them count as written.
            let all = 0..state.kept;
            state.mark_written(&all);
        }
        Ok(upper)
    }

    /// Sets the modification time of the upper file, if the kernel keeps the time there.
    pub fn set_kernel_mtime(&self, mtime: Time) -> io::Result<()> {
        if self.is_written_by_kernel() {
            set_times(&*self.open_upper()?, mtime)
        } else {
            Ok(())
        }
    }

    /// Ends a use by the kernel that [`Self::pass_to_kernel`] started.
    pub fn take_from_kernel(&self, write: bool) {
        if write {
            // Read the last length and time while the file still counts as written by the kernel,
            // because they are ignored afterwards.
            self.refresh_from_kernel();
            self.kernel_writers.fetch_sub(1, Ordering::AcqRel);
        } else {
            self.kernel_readers.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// Returns whether the kernel can write to the upper file directly now.
    pub fn is_written_by_kernel(&self) -> bool {
        self.kernel_writers.load(Ordering::Acquire) > 0
    }

    /// Returns whether the kernel can write, or has ever written, to the upper file directly.
    pub fn was_written_by_kernel(&self) -> bool {
        self.was_written_by_kernel.load(Ordering::Acquire)
    }

    /// Returns whether the kernel reads or writes the upper file directly now.
    pub(super) fn is_open_in_kernel(&self) -> bool {
        self.is_written_by_kernel() || self.kernel_readers.load(Ordering::Acquire) > 0
    }

    /// Reads the length of an upper file that the kernel writes to. Returns its modification time,
    /// or `None` if the kernel does not write to it.
    pub fn refresh_from_kernel(&self) -> Option<Time> {
        if !self.is_written_by_kernel() {
            return None;
        }
        // No other thread may truncate the file between reading and storing the length.
        let _exclusive = self.exclusive();
        self.refresh_exclusive()
    }

    /// Like [`Self::refresh_from_kernel`], for callers that hold the exclusive lock.
    pub(super) fn refresh_exclusive(&self) -> Option<Time> {
        if !self.is_written_by_kernel() {
            return None;
        }
        let upper = self.open_upper().ok()?;
        // The kernel's writes are not counted, so each refresh counts as a change.
        self.note_change();
        let change_count = self.change_count.load(Ordering::Acquire);
        let meta = upper.metadata().ok()?;
        self.cache_space(change_count, meta.blocks() * 512);
        let mut state = self.write_state();
        state.size = meta.len();
        self.update_quota(&upper, &mut state);
        Some(time(meta.mtime(), meta.mtime_nsec()))
    }
}

fn set_times(upper: &File, mtime: Time) -> io::Result<()> {
    let at = Timespec {
        tv_sec: mtime.secs,
        tv_nsec: i64::from(mtime.nanos),
    };
    Ok(rustix::fs::futimens(
        upper,
        &Timestamps {
            last_access: at,
            last_modification: at,
        },
    )?)
}
