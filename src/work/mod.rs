//! Work that several threads share: a queue that workers add to, a pipeline that keeps the order,
//! fan-out over many items, and a pool for calls that block.
//!
//! The functions take closures, and return their results or the first error. Invariant: every
//! function except those of the pool joins all of its threads before it returns, even after an
//! error or a panic. If the system provides too few threads, the work is done on fewer.

use std::io;

use crate::error::{Failure, Kind};

pub mod fan_out;
pub mod ordered;
pub mod pool;
pub mod queue;
mod start;

/// The caller cancelled the work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("cancelled")]
pub struct Cancelled;

impl Failure for Cancelled {
    fn kind(&self) -> Kind {
        Kind::Cancelled
    }
    fn hint(&self) -> Option<String> {
        Some("run the command again; data that is already stored is kept".to_owned())
    }
}

/// The system provides no more threads.
#[derive(Debug, thiserror::Error)]
#[error("cannot start a thread")]
pub struct NoThread(#[source] pub io::Error);

impl Failure for NoThread {
    fn kind(&self) -> Kind {
        Kind::System
    }

    fn hint(&self) -> Option<String> {
        Some("raise the limit on processes and threads (`ulimit -u`), or lower `--jobs`".to_owned())
    }
}

/// A worker thread panicked, which is a bug. The panic hook has already reported the panic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a worker thread panicked")]
pub struct Panicked;

impl Failure for Panicked {
    fn kind(&self) -> Kind {
        Kind::Internal
    }
}
