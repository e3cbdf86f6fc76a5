//! Reads a small file as a whole and stores it.
//!
//! A file that changes while it is read is read again, and counts as unstable only after the last
//! attempt.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use super::large::{ATTEMPTS, OldFile};
use super::store::{INLINE_MAX, store_bytes};
use crate::codec::cut::CHUNK_MAX;
use crate::codec::sniff;
use crate::error::Result;
use crate::model::entry::{Chunker, Node};
use crate::snapshot::output::Output;
use crate::snapshot::walk::entries::{Stat, stat_at};
use crate::sys::uncached::IoMode;

/// Files above this size in bytes are read in pieces.
pub const SMALL_MAX: u64 = 512 << 10;

/// The outcome of [`store_small`].
pub enum SmallFile {
    /// The file was stored.
    Stored {
        /// Chunker and content of the file.
        node: Node,
        /// Length in bytes.
        bytes: u64,
        /// Stat before the bytes were read.
        stat: Stat,
        /// Whether the bytes are the content at one moment.
        stable: bool,
        /// Whether the file did not change at all while it was read, so that its stat identifies
        /// the content.
        fresh: bool,
    },
    /// The file has grown beyond [`SMALL_MAX`].
    Grown(Stat),
    /// The file cannot be read.
    Unreadable(io::Error),
}

/// Reads a small file as a whole and stores it. Reads it again if it changed in the meantime.
/// `buffer` is reused between calls.
pub fn store_small(
    out: &Output<'_>,
    file: &OwnedFd,
    stat: Stat,
    old: Option<&OldFile>,
    buffer: &mut Vec<u8>,
) -> Result<SmallFile> {
    let mut stat = stat;
    let size = |stat: &Stat| usize::try_from(stat.size).unwrap_or(usize::MAX);
    let mut len = match read_whole(file, size(&stat), buffer) {
        Ok(len) => len,
        Err(e) => return Ok(SmallFile::Unreadable(e)),
    };
    let (mut stable, mut fresh) = (false, true);
    let mut second = Vec::new();
    for attempt in 0..=ATTEMPTS {
        let now = match stat_at(file.as_fd(), b"") {
            Ok(now) => now,
            Err(e) => return Ok(SmallFile::Unreadable(e)),
        };
        // The stat is the same after the read, so the bytes are the content of one moment.
        if now.same(&stat) {
            stable = true;
            break;
        }
        fresh = false;
        if attempt == ATTEMPTS {
            break;
        }
        if now.size > SMALL_MAX {
            return Ok(SmallFile::Grown(now));
        }
        match read_whole(file, size(&now), &mut second) {
            // The file was appended to or touched, so it had the first content between both reads.
            Ok(n) if n >= len && second[..len] == buffer[..len] => {
                stable = true;
                break;
            }
            Ok(n) => {
                std::mem::swap(buffer, &mut second);
                (len, stat) = (n, now);
            }
            Err(e) => return Ok(SmallFile::Unreadable(e)),
        }
    }
    let bytes = &buffer[..len];
    let head = &bytes[..len.min(sniff::HEAD)];
    // Inline content has no chunks. The entry omits `Cdc`, so it does not depend on the settings of
    // the repository.
    let chunker = if len as u64 > INLINE_MAX {
        out.repo().chunker().choose(head, len as u64)
    } else {
        Chunker::Cdc
    };
    let content = store_bytes(out, bytes, chunker, old)?;
    Ok(SmallFile::Stored {
        node: Node::File {
            size: len as u64,
            chunker,
            content,
        },
        bytes: len as u64,
        stat,
        stable,
        fresh,
    })
}

fn read_whole(file: &OwnedFd, limit: usize, buffer: &mut Vec<u8>) -> io::Result<usize> {
    if buffer.len() < limit + 1 {
        buffer.resize((limit + 1).next_power_of_two().max(CHUNK_MAX), 0);
    }
    let (mut len, mut once) = (0, IoMode::whole());
    while len < limit {
        match once.read_at(file, &mut buffer[len..limit], len as u64)? {
            0 => break,
            n => len += n,
        }
    }
    Ok(len)
}
