//! A file mapped into memory, shared. The one place of the tests that needs unsafe code: there is no other way to write
//! as a mapping does.

#![allow(unsafe_code)]

use std::fs::File;
use std::ptr::{copy_nonoverlapping, null_mut};

use rustix::mm::{MapFlags, MsyncFlags, ProtFlags, mmap, msync, munmap};

/// The mapping of all of a file, as long as it was.
pub struct Mapping {
    start: *mut u8,
    len: usize,
}

impl Mapping {
    /// Maps a file, which must not be empty and must not shrink meanwhile.
    pub fn of(file: &File) -> Self {
        let len = usize::try_from(file.metadata().unwrap().len()).unwrap();
        // SAFETY: the kernel chooses a place that nothing else has.
        let start = unsafe { mmap(null_mut(), len, ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED, file, 0) };
        Self { start: start.unwrap().cast(), len }
    }

    /// Maps a file that is open for reading only; the same holds for it.
    pub fn to_read(file: &File) -> Self {
        let len = usize::try_from(file.metadata().unwrap().len()).unwrap();
        // SAFETY: the kernel chooses a place that nothing else has.
        let start = unsafe { mmap(null_mut(), len, ProtFlags::READ, MapFlags::SHARED, file, 0) };
        Self { start: start.unwrap().cast(), len }
    }

    /// Writes bytes; all must lie inside.
    pub fn write(&self, offset: usize, bytes: &[u8]) {
        assert!(offset + bytes.len() <= self.len);
        // SAFETY: the range lies in the mapping, as was just checked, and `bytes` elsewhere.
        unsafe { copy_nonoverlapping(bytes.as_ptr(), self.start.add(offset), bytes.len()) };
    }

    /// Reads bytes; all must lie inside.
    pub fn read(&self, offset: usize, len: usize) -> Vec<u8> {
        assert!(offset + len <= self.len);
        let mut out = vec![0; len];
        // SAFETY: the range lies in the mapping, as was just checked, and `out` elsewhere.
        unsafe { copy_nonoverlapping(self.start.add(offset), out.as_mut_ptr(), len) };
        out
    }

    /// Waits until what was written is on disk.
    pub fn sync(&self) {
        // SAFETY: it is the mapping's own range.
        unsafe { msync(self.start.cast(), self.len, MsyncFlags::SYNC) }.unwrap();
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: it is the mapping's own range, and nobody has it any more.
        let _ = unsafe { munmap(self.start.cast(), self.len) };
    }
}
