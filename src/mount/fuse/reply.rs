//! Sends replies in the form that each kind of request expects.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use fuser::{FopenFlags, Generation, ReplyAttr, ReplyData, ReplyEmpty, ReplyEntry, ReplyXattr};

use super::convert::{attr, raw};
use crate::mount::errno::{Errno, FsResult};
use crate::mount::names::NodeAttr;
use crate::mount::view::View;

/// Time for which the kernel may cache entries and attributes. All changes pass through the kernel,
/// or are followed by an invalidation, so cached data stays valid.
pub(super) const TTL: Duration = Duration::from_secs(7 * 86_400);
/// The kernel may keep the pages of a file across opens, and need not report each close.
pub(super) const KEEP: FopenFlags = FopenFlags::FOPEN_KEEP_CACHE.union(FopenFlags::FOPEN_NOFLUSH);

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

pub(super) fn empty(reply: ReplyEmpty, answer: FsResult<()>) {
    match answer {
        Ok(()) => reply.ok(),
        Err(e) => reply.error(raw(e)),
    }
}

pub(super) fn entry(reply: ReplyEntry, answer: FsResult<NodeAttr>) {
    match answer {
        Ok(a) => reply.entry(&TTL, &attr(&a), Generation(0)),
        Err(e) => reply.error(raw(e)),
    }
}

pub(super) fn attributes(reply: ReplyAttr, answer: FsResult<NodeAttr>) {
    match answer {
        Ok(a) => reply.attr(&TTL, &attr(&a)),
        Err(e) => reply.error(raw(e)),
    }
}

pub(super) fn xattr(reply: ReplyXattr, size: u32, answer: FsResult<Vec<u8>>) {
    match answer {
        Ok(value) => match u32::try_from(value.len()) {
            // Size 0 requests only the length (getxattr(2)).
            Ok(len) if size == 0 => reply.size(len),
            Ok(len) if len <= size => reply.data(&value),
            _ => reply.error(raw(Errno::RANGE)),
        },
        Err(e) => reply.error(raw(e)),
    }
}

pub(super) fn read(view: &View, handle: u64, offset: u64, size: u32, reply: ReplyData) {
    // A buffer for each thread saves allocating and clearing up to 1 MiB for each read.
    BUFFER.with_borrow_mut(|buffer| {
        let size = size as usize;
        if buffer.len() < size {
            buffer.resize(size, 0);
        }
        match caught(|| view.read(handle, offset, &mut buffer[..size])) {
            Ok(n) => reply.data(&buffer[..n]),
            Err(e) => reply.error(raw(e)),
        }
    });
}

/// Turns a panic into `EIO`, so that a bug fails only one request.
pub(super) fn caught<T>(work: impl FnOnce() -> FsResult<T>) -> FsResult<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or(Err(Errno::IO))
}
