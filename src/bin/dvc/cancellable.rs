//! A reader of a terminal, a pipe or a socket that a signal cancels, even if no bytes ever arrive.

use crate::signals::Signals;
use dvc::error::carried;
use dvc::work::Cancelled;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use std::io::{self, Read};
use std::os::fd::AsFd;

/// Interval between checks for a signal.
const INTERVAL: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 100_000_000,
};

/// A reader that stops waiting for bytes when a signal cancels the operation.
pub(crate) struct CancellableReader<R> {
    inner: R,
    signals: Signals,
}

impl<R: Read + AsFd> CancellableReader<R> {
    pub(crate) const fn new(inner: R, signals: Signals) -> Self {
        Self { inner, signals }
    }
}

impl<R: Read + AsFd> Read for CancellableReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while !self.signals.cancelled() {
            // A read may block for a long time, so poll(2) waits in short steps and the signals are
            // checked in between.
            let mut fds = [PollFd::new(&self.inner, PollFlags::IN)];
            match poll(&mut fds, Some(&INTERVAL)) {
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) => return self.inner.read(buffer),
                Err(e) => return Err(e.into()),
            }
        }
        Err(carried(Cancelled))
    }
}
