//! Freezing a file system: from then on nobody writes to it, until it is thawed.
//!
//! The one place with unsafe code: two requests to the kernel that take no argument, for which no crate here has a call. A
//! program that does it is not there where dvc is the only program.

use std::fs::File;
use std::io;
use std::path::Path;

use rustix::ioctl::{NoArg, Opcode, ioctl, opcode};

/// `FIFREEZE` and `FITHAW` of `linux/fs.h`.
const FREEZE: Opcode = opcode::read_write::<std::ffi::c_int>(b'X', 119);
const THAW: Opcode = opcode::read_write::<std::ffi::c_int>(b'X', 120);

/// A file system on which nobody writes.
pub(super) struct Frozen(File);

/// The file system that a path is on, not yet frozen. Held open: by its path it may not be found any more.
pub(super) fn open(path: &Path) -> io::Result<Frozen> {
    Ok(Frozen(File::open(path)?))
}

impl Frozen {
    /// Freezes it. Fails if it is frozen already.
    pub(super) fn freeze(&self) -> io::Result<()> {
        #[expect(unsafe_code, reason = "no crate here has a safe call for this request")]
        // SAFETY: the kernel does not look at the argument of this request, so no memory is touched.
        unsafe {
            ioctl(&self.0, NoArg::<FREEZE>::new())?;
        }
        Ok(())
    }

    /// Thaws it; one that is not frozen stays as it is.
    pub(super) fn thaw(&self) -> io::Result<()> {
        #[expect(unsafe_code, reason = "no crate here has a safe call for this request")]
        // SAFETY: the kernel does not look at the argument of this request, so no memory is touched.
        let thawed = unsafe { ioctl(&self.0, NoArg::<THAW>::new()) };
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
