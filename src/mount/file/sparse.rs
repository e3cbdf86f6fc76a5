//! Access to upper files, which are sparse and may be shorter than the file that they belong to.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use rustix::fs::FallocateFlags;

use crate::mount::errno::FsResult;
use crate::mount::lower::HoleRun;

/// Fills `out` from `offset` on, with zeros after the end of the file.
pub(super) fn read_or_zeros(file: &File, mut out: &mut [u8], mut offset: u64) -> io::Result<()> {
    while !out.is_empty() {
        match file.read_at(out, offset) {
            Ok(0) => {
                out.fill(0);
                break;
            }
            Ok(n) => {
                out = &mut out[n..];
                offset += n as u64;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Fills a range with zeros, and frees its space if the file system supports holes.
pub(super) fn punch_hole(file: &File, range: &Range<u64>) -> io::Result<()> {
    let flags = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
    match rustix::fs::fallocate(file, flags, range.start, range.end - range.start) {
        Err(rustix::io::Errno::OPNOTSUPP) => write_zeros(file, range),
        done => Ok(done?),
    }
}

fn write_zeros(file: &File, range: &Range<u64>) -> io::Result<()> {
    let zeros = vec![0; 64 << 10];
    let mut at = range.start;
    while at < range.end {
        let n = (range.end - at).min(zeros.len() as u64);
        file.write_all_at(&zeros[..usize::try_from(n).unwrap_or(0)], at)?;
        at += n;
    }
    Ok(())
}

/// Returns the hole or data run that contains the offset `at`, clipped to `end`.
pub(super) fn hole_run(file: &File, at: u64, end: u64) -> FsResult<HoleRun> {
    match rustix::fs::seek(file, rustix::fs::SeekFrom::Data(at)) {
        Ok(data) if data > at => Ok(HoleRun {
            hole: true,
            end: data.min(end),
        }),
        Ok(_) => Ok(HoleRun {
            hole: false,
            end: rustix::fs::seek(file, rustix::fs::SeekFrom::Hole(at))?.min(end),
        }),
        // `ENXIO`: there is no data at or after the offset (lseek(2)).
        Err(rustix::io::Errno::NXIO) => Ok(HoleRun { hole: true, end }),
        Err(e) => Err(e.into()),
    }
}
