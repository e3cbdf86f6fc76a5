//! Detects whether a file can be the remains of a checkout that was killed while it wrote the file.
//!
//! In a directory that did not exist before, a new file is written under its final name: in any
//! order, with zeros where nothing has been written yet, and without any byte that differs from the
//! version. The check changes nothing and follows no link.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, SeekFrom, fstat, openat, seek};
use rustix::io::Errno;

use crate::checkout::content::pieces;
use crate::checkout::dir::OPEN_DIR;
use crate::checkout::error::ReadError;
use crate::checkout::source::Source;
use crate::error::Result;
use crate::model::entry::{Content, Entry, Node};
use crate::model::path::{display, split};

/// Number of bytes that are read at a time to check for zeros.
const BLOCK: u64 = 1 << 20;

/// Returns whether the file at `path` below `root` contains only zeros and bytes of `whole` at
/// their offsets. Returns false for a file that cannot be read.
pub fn is_part_of(source: &dyn Source, root: &Path, path: &[u8], whole: &Entry) -> Result<bool> {
    let Node::File { size, content, .. } = &whole.node else {
        return Ok(false);
    };
    let Ok(fd) = open(root, path) else {
        return Ok(false);
    };
    let Ok(stat) = fstat(&fd) else {
        return Ok(false);
    };
    let len = u64::try_from(stat.st_size).unwrap_or_default();
    if !FileType::from_raw_mode(stat.st_mode).is_file() || len > *size {
        return Ok(false);
    }
    let fd = fd.as_fd();
    if let Content::Inline(bytes) = content {
        return Ok(bytes_at(fd, 0, bytes.len() as u64).is_ok_and(|now| is_begun(&now, bytes)));
    }
    let shown = display(path);
    for piece in pieces(source, content, *size, move || {
        ReadError::Extents {
            path: shown.clone(),
        }
        .into()
    }) {
        let piece = piece?;
        if piece.offset >= len {
            break;
        }
        let Some(id) = &piece.chunk else {
            if !is_zero(fd, piece.offset, len.min(piece.offset + piece.len)).unwrap_or(false) {
                return Ok(false);
            }
            continue;
        };
        let Ok(now) = bytes_at(fd, piece.offset, piece.len) else {
            return Ok(false);
        };
        // The chunk itself is read only if the piece was written in part.
        let is_known = now.iter().all(|b| *b == 0)
            || now.len() as u64 == piece.len && source.chunk_id(&now) == *id;
        if !is_known && !is_begun(&now, &source.chunk(id, piece.len)?) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Returns whether each byte is either correct or zero.
fn is_begun(now: &[u8], whole: &[u8]) -> bool {
    now.len() <= whole.len()
        && now
            .iter()
            .zip(whole)
            .all(|(now, right)| *now == 0 || now == right)
}

fn open(root: &Path, path: &[u8]) -> Result<OwnedFd, Errno> {
    let mut fd = rustix::fs::open(root, OPEN_DIR, Mode::empty())?;
    let names = split(path).ok_or(Errno::INVAL)?;
    let (name, above) = names.split_last().ok_or(Errno::ISDIR)?;
    for name in above {
        fd = openat(&fd, name.as_slice(), OPEN_DIR, Mode::empty())?;
    }
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    openat(&fd, name.as_slice(), flags, Mode::empty())
}

/// Returns the bytes from an offset on; fewer at the end of the file.
fn bytes_at(fd: BorrowedFd<'_>, offset: u64, len: u64) -> Result<Vec<u8>, Errno> {
    let mut bytes = vec![0u8; usize::try_from(len).map_err(|_| Errno::FBIG)?];
    let mut at = 0;
    while let Some(rest) = bytes.get_mut(at..).filter(|r| !r.is_empty()) {
        match rustix::io::pread(fd, rest, offset + at as u64) {
            Ok(0) => break,
            Ok(n) => at += n,
            Err(Errno::INTR) => {}
            Err(e) => return Err(e),
        }
    }
    bytes.truncate(at);
    Ok(bytes)
}

/// Returns whether a range contains only zeros. Holes are not read.
fn is_zero(fd: BorrowedFd<'_>, mut at: u64, end: u64) -> Result<bool, Errno> {
    while at < end {
        at = match seek(fd, SeekFrom::Data(at)) {
            Ok(data) => data.max(at),
            Err(Errno::NXIO) => return Ok(true),
            // The file system does not report holes, so the bytes must be read.
            Err(_) => at,
        };
        if at >= end {
            break;
        }
        let now = bytes_at(fd, at, BLOCK.min(end - at))?;
        if now.iter().any(|b| *b != 0) {
            return Ok(false);
        }
        if now.is_empty() {
            break;
        }
        at += now.len() as u64;
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkout::memory::{BLOCK, Memory, noise};

    #[test]
    fn what_a_killed_writer_leaves_and_what_it_does_not() {
        let temp = tempfile::tempdir().unwrap();
        let mut m = Memory::default();
        let mut bytes = noise(3 * BLOCK + 100, 1);
        bytes[BLOCK..2 * BLOCK].fill(0);
        std::fs::create_dir(temp.path().join("d")).unwrap();
        for whole in [bytes.clone(), bytes[..50].to_vec()] {
            let entry = m.file("f", &whole);
            let is_part = |now: &[u8]| {
                std::fs::write(temp.path().join("d/f"), now).unwrap();
                is_part_of(&m, temp.path(), b"d/f", &entry).unwrap()
            };
            let mut holed = whole.clone();
            let middle = whole.len() / 3..whole.len() / 2;
            holed[middle.clone()].fill(0);
            for now in [
                &[][..],
                &whole[..10],
                &whole[..whole.len() - 7],
                &whole,
                &holed,
                &vec![0; whole.len()],
            ] {
                assert!(is_part(now), "{} of {}", now.len(), whole.len());
            }
            let mut mine = holed.clone();
            mine[middle.start + 1] = whole[middle.start + 1].wrapping_add(1).max(1);
            for now in [
                b"mine".to_vec(),
                mine,
                [&whole[..], b"\0"].concat(),
                [&whole[..9], b"m\0\0"].concat(),
            ] {
                assert!(!is_part(&now), "{} of {}", now.len(), whole.len());
            }
        }
        let entry = m.file("f", &bytes);
        std::os::unix::fs::symlink("f", temp.path().join("d/link")).unwrap();
        for path in [&b"d/link"[..], b"d/none", b"d", b""] {
            assert!(!is_part_of(&m, temp.path(), path, &entry).unwrap());
        }
    }
}
