//! Work that several threads do together, and how it ends early.

use crate::error::{Failure, Kind};

/// The caller asked the work to stop.
#[derive(Debug, thiserror::Error)]
#[error("stopped")]
pub struct Cancelled;

impl Failure for Cancelled {
    fn kind(&self) -> Kind {
        Kind::Cancelled
    }
    fn hint(&self) -> Option<String> {
        Some("run the command again; what was stored so far is not stored twice".to_owned())
    }
}

/// A worker thread panicked, which is a bug.
#[derive(Debug, thiserror::Error)]
#[error("a worker thread panicked")]
pub struct Panicked;

impl Failure for Panicked {
    fn kind(&self) -> Kind {
        Kind::Internal
    }
}
