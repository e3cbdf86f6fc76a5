//! A shared memory mapping of a file. Only this part of the tests has unsafe code, because the
//! kernel handles writes through a mapping differently from all other writes.

#![allow(unsafe_code)]

use std::fs::File;
use std::ptr::{copy_nonoverlapping, null_mut};

use rustix::mm::{MapFlags, MsyncFlags, ProtFlags, mmap, msync, munmap};

/// A mapping of a whole file, with the file's length at the time of the call.
pub struct Mapping {
    start: *mut u8,
    len: usize,
}

impl Mapping {
    /// Maps a file for reading and writing. The file must not be empty and must not shrink while it
    /// is mapped.
    pub fn of(file: &File) -> Self {
        let len = usize::try_from(file.metadata().unwrap().len()).unwrap();
        // SAFETY: the kernel chooses an unused address range.
        let start = unsafe {
            mmap(
                null_mut(),
                len,
                ProtFlags::READ | ProtFlags::WRITE,
                MapFlags::SHARED,
                file,
                0,
            )
        };
        Self {
            start: start.unwrap().cast(),
            len,
        }
    }

    /// Maps a file that is open only for reading, under the same conditions as [`Self::of`].
    pub fn to_read(file: &File) -> Self {
        let len = usize::try_from(file.metadata().unwrap().len()).unwrap();
        // SAFETY: the kernel chooses an unused address range.
        let start = unsafe { mmap(null_mut(), len, ProtFlags::READ, MapFlags::SHARED, file, 0) };
        Self {
            start: start.unwrap().cast(),
            len,
        }
    }

    /// Writes bytes. The range must lie within the mapping.
    pub fn write(&self, offset: usize, bytes: &[u8]) {
        assert!(offset + bytes.len() <= self.len);
        // SAFETY: the range was checked above, and `bytes` does not overlap the mapping.
        unsafe { copy_nonoverlapping(bytes.as_ptr(), self.start.add(offset), bytes.len()) };
    }

    /// Reads bytes. The range must lie within the mapping.
    pub fn read(&self, offset: usize, len: usize) -> Vec<u8> {
        assert!(offset + len <= self.len);
        let mut out = vec![0; len];
        // SAFETY: the range was checked above, and `out` does not overlap the mapping.
        unsafe { copy_nonoverlapping(self.start.add(offset), out.as_mut_ptr(), len) };
        out
    }

    /// Waits until all writes through the mapping are on disk.
    pub fn sync(&self) {
        // SAFETY: the range is the mapping itself.
        unsafe { msync(self.start.cast(), self.len, MsyncFlags::SYNC) }.unwrap();
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: the range is the mapping itself, which is not used any more.
        let _ = unsafe { munmap(self.start.cast(), self.len) };
    }
}
