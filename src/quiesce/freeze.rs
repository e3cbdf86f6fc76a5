//! Freezes file systems: writes to a frozen file system block until it is thawed.
//!
//! This module has the only unsafe code of dvc: two ioctls without an argument, for which no crate
//! in use has a function. Running the program `fsfreeze` instead would not always work, because it
//! may be missing in a container.

use std::fs::File;
use std::io;
use std::path::Path;

use rustix::ioctl::{NoArg, Opcode, ioctl, opcode};

/// `FIFREEZE` and `FITHAW` of `linux/fs.h`.
const FREEZE: Opcode = opcode::read_write::<std::ffi::c_int>(b'X', 119);
const THAW: Opcode = opcode::read_write::<std::ffi::c_int>(b'X', 120);

/// A file system to freeze.
pub(super) struct FrozenFs(File);

/// Opens the file system of a path. The file stays open, because the path may become unreachable
/// while the file system is frozen.
pub(super) fn open(path: &Path) -> io::Result<FrozenFs> {
    Ok(FrozenFs(File::open(path)?))
}

impl FrozenFs {
    /// Freezes the file system. Fails if it is frozen already.
    pub(super) fn freeze(&self) -> io::Result<()> {
        #[expect(unsafe_code, reason = "no crate here has a safe call for this request")]
        // SAFETY: the kernel does not look at the argument of this request, so no memory is
        // touched.
        unsafe {
            ioctl(&self.0, NoArg::<FREEZE>::new())?;
        }
        Ok(())
    }

    /// Thaws the file system, if it is frozen.
    pub(super) fn thaw(&self) -> io::Result<()> {
        #[expect(unsafe_code, reason = "no crate here has a safe call for this request")]
        // SAFETY: the kernel does not look at the argument of this request, so no memory is
        // touched.
        let thawed = unsafe { ioctl(&self.0, NoArg::<THAW>::new()) };
        // The kernel returns EINVAL if the file system is not frozen.
        match thawed {
            Ok(()) | Err(rustix::io::Errno::INVAL) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_requests_are_the_kernels() {
        assert_eq!((FREEZE, THAW), (0xC004_5877, 0xC004_5878));
    }
}
