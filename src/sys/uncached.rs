//! Uncached I/O for files of which every byte is needed once, so that these bytes do not fill the
//! page cache.
//!
//! The kernel frees a page as soon as its bytes are copied, unless the page was cached before. The
//! I/O then reuses the same few pages, which costs a third of allocating new ones, and the cached
//! pages of other programs stay cached.

use std::io::{self, IoSlice};
use std::num::NonZeroU64;
use std::os::fd::AsFd;
use std::sync::OnceLock;

use rustix::fs::Advice;
use rustix::io::{Errno, IoSliceMut, ReadWriteFlags};

use super::kernel;

/// The kernel flag `RWF_DONTCACHE`.
const DONT_CACHE: ReadWriteFlags = ReadWriteFlags::from_bits_retain(0x80);
/// First kernel release, major and minor, in which the flag works reliably. Linux 6.14 introduced
/// the flag with errors.
const SUPPORTED_SINCE: (u32, u32) = (6, 16);
/// Read-ahead in bytes on kernels without the flag.
const AHEAD: u64 = 8 << 20;

/// The state of uncached access to one file.
pub struct IoMode {
    uncached: bool,
    advised: u64,
}

impl IoMode {
    /// Returns the state for a file that is read in pieces. Disables the read-ahead of the kernel,
    /// because the kernel would drop a partly used page and read it again.
    pub fn in_pieces(file: impl AsFd) -> Self {
        let uncached = is_supported();
        if uncached {
            // The advice is only a hint, so errors do not matter.
            let _ = rustix::fs::fadvise(file, 0, None, Advice::Random);
        }
        Self {
            uncached,
            advised: 0,
        }
    }

    /// Returns the state for a file that is written, or read by a single call.
    pub fn whole() -> Self {
        Self {
            uncached: is_supported(),
            advised: u64::MAX,
        }
    }

    /// Returns the state for a file that is likely to be read again.
    pub fn cached() -> Self {
        Self {
            uncached: false,
            advised: u64::MAX,
        }
    }

    /// Reads into `buf` from `offset`. Returns 0 at the end of the file.
    pub fn read_at(&mut self, file: impl AsFd, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        loop {
            let read = if self.uncached {
                rustix::io::preadv2(&file, &mut [IoSliceMut::new(buf)], offset, DONT_CACHE)
            } else {
                self.advise(&file, offset);
                rustix::io::pread(&file, &mut *buf, offset)
            };
            match read {
                Err(Errno::INTR) => {}
                // Some file systems do not support the flag.
                Err(Errno::OPNOTSUPP | Errno::INVAL | Errno::NOSYS) if self.uncached => {
                    self.uncached = false;
                    let _ = rustix::fs::fadvise(&file, 0, None, Advice::Normal);
                }
                read => return Ok(read?),
            }
        }
    }

    /// Writes all bytes of `slices` at `offset`.
    pub fn write_at(
        &mut self,
        file: impl AsFd,
        mut slices: &mut [IoSlice<'_>],
        mut offset: u64,
    ) -> Result<(), Errno> {
        // Skip leading empty slices, because the kernel would write 0 bytes for them.
        IoSlice::advance_slices(&mut slices, 0);
        while !slices.is_empty() {
            let written = if self.uncached {
                rustix::io::pwritev2(&file, slices, offset, DONT_CACHE)
            } else {
                rustix::io::pwritev(&file, slices, offset)
            };
            match written {
                // A write of 0 bytes would otherwise be repeated forever.
                Ok(0) => return Err(Errno::IO),
                Ok(n) => {
                    offset += n as u64;
                    IoSlice::advance_slices(&mut slices, n);
                }
                Err(Errno::INTR) => {}
                Err(Errno::OPNOTSUPP | Errno::INVAL | Errno::NOSYS) if self.uncached => {
                    self.uncached = false
                }
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    fn advise(&mut self, file: impl AsFd, offset: u64) {
        if self.advised < offset.saturating_add(AHEAD / 2) {
            // The advice is only a hint; without it, reading is slower.
            let _ = rustix::fs::fadvise(
                file,
                self.advised.max(offset),
                NonZeroU64::new(AHEAD),
                Advice::WillNeed,
            );
            self.advised = self.advised.max(offset) + AHEAD;
        }
    }
}

fn is_supported() -> bool {
    static CAN: OnceLock<bool> = OnceLock::new();
    *CAN.get_or_init(|| kernel::is_at_least(SUPPORTED_SINCE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_bytes_either_way() {
        let bytes: Vec<u8> = (0..3_000_000u32).flat_map(u32::to_le_bytes).collect();
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("f"), &bytes).unwrap();
        let file = std::fs::File::open(dir.path().join("f")).unwrap();
        for mut io in [
            IoMode::in_pieces(&file),
            IoMode::whole(),
            IoMode {
                uncached: false,
                advised: 0,
            },
        ] {
            let (mut got, mut buf) = (Vec::new(), vec![0; 1 << 20]);
            loop {
                match io.read_at(&file, &mut buf, got.len() as u64).unwrap() {
                    0 => break,
                    n => got.extend_from_slice(&buf[..n]),
                }
            }
            assert!(got == bytes);
            let copy = std::fs::File::create(dir.path().join("copy")).unwrap();
            let mut slices = [&b""[..], &bytes[..5], b"", &bytes[5..]].map(IoSlice::new);
            io.write_at(&copy, &mut slices, 0).unwrap();
            io.write_at(&copy, &mut [IoSlice::new(b"")], 7).unwrap();
            assert!(std::fs::read(dir.path().join("copy")).unwrap() == bytes);
        }
    }
}
