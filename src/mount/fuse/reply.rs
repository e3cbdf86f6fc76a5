//! Answers, told in the form that each kind of request wants.

use std::cell::RefCell;
use std::time::Duration;

use fuser::{FopenFlags, Generation, ReplyAttr, ReplyData, ReplyEmpty, ReplyEntry, ReplyXattr};

use super::caught;
use super::convert::{attr, raw};
use crate::mount::errno::{Answer, Errno};
use crate::mount::inode::Attr;
use crate::mount::view::View;

/// The kernel is told of every change, since all of them pass here: what it knows stays true.
pub(super) const TTL: Duration = Duration::from_secs(7 * 86_400);
/// What the kernel has read of a file stays true when it is opened again; closing tells nothing.
pub(super) const KEEP: FopenFlags = FopenFlags::FOPEN_KEEP_CACHE.union(FopenFlags::FOPEN_NOFLUSH);

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

pub(super) fn empty(reply: ReplyEmpty, answer: Answer<()>) {
    match answer {
        Ok(()) => reply.ok(),
        Err(e) => reply.error(raw(e)),
    }
}

pub(super) fn entry(reply: ReplyEntry, answer: Answer<Attr>) {
    match answer {
        Ok(a) => reply.entry(&TTL, &attr(&a), Generation(0)),
        Err(e) => reply.error(raw(e)),
    }
}

pub(super) fn attributes(reply: ReplyAttr, answer: Answer<Attr>) {
    match answer {
        Ok(a) => reply.attr(&TTL, &attr(&a)),
        Err(e) => reply.error(raw(e)),
    }
}

pub(super) fn xattr(reply: ReplyXattr, size: u32, answer: Answer<Vec<u8>>) {
    match answer {
        Ok(value) => match u32::try_from(value.len()) {
            Ok(len) if size == 0 => reply.size(len),
            Ok(len) if len <= size => reply.data(&value),
            _ => reply.error(raw(Errno::RANGE)),
        },
        Err(e) => reply.error(raw(e)),
    }
}

pub(super) fn read(view: &View, handle: u64, offset: u64, size: u32, reply: ReplyData) {
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
