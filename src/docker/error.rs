//! What can go wrong between us and an engine.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::error::{Failure, Kind};

/// An engine cannot be asked, or it refuses.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// Not a place where an engine can be reached from here.
    #[error("`{host}` is not a Unix socket of a Docker engine")]
    Host {
        /// As it was given.
        host: String,
    },
    /// There is no socket.
    #[error("there is no Docker engine at `{}`", socket.display())]
    Missing {
        /// The socket.
        socket: PathBuf,
    },
    /// The socket is there, and nobody listens.
    #[error("no Docker engine listens at `{}`", socket.display())]
    Deaf {
        /// The socket.
        socket: PathBuf,
    },
    /// The socket may not be used.
    #[error("the Docker engine at `{}` may not be used", socket.display())]
    Denied {
        /// The socket.
        socket: PathBuf,
    },
    /// No answer within the time limit.
    #[error("the Docker engine did not {what} within {} s", limit.as_secs_f64())]
    TimedOut {
        /// What was asked.
        what: String,
        /// The limit.
        limit: Duration,
    },
    /// Whoever waited for it does not any more.
    #[error("nobody waits any more for the Docker engine to {what}")]
    Unwanted {
        /// What was asked.
        what: String,
    },
    /// The connection broke.
    #[error("the Docker engine could not be asked to {what}")]
    Broken {
        /// What was asked.
        what: String,
        /// Why.
        source: io::Error,
    },
    /// It knows no such thing.
    #[error("the Docker engine cannot {what}: {message}")]
    NotFound {
        /// What was asked.
        what: String,
        /// What it said.
        message: String,
    },
    /// It says no.
    #[error("the Docker engine cannot {what} ({status}): {message}")]
    Refused {
        /// What was asked.
        what: String,
        /// The HTTP status.
        status: u16,
        /// What it said.
        message: String,
    },
    /// An answer that makes no sense.
    #[error("the Docker engine's answer to {what} cannot be understood")]
    Garbled {
        /// What was asked.
        what: String,
        /// Why.
        source: io::Error,
    },
    /// This process gets no more threads or descriptors.
    #[error("no client of the Docker engine can be made")]
    Client(#[source] io::Error),
}

impl Failure for EngineError {
    fn kind(&self) -> Kind {
        match self {
            Self::Host { .. } => Kind::Usage,
            Self::Missing { .. } | Self::Deaf { .. } | Self::TimedOut { .. } | Self::Broken { .. } => Kind::Unreachable,
            Self::Unwanted { .. } => Kind::Cancelled,
            Self::Denied { .. } => Kind::Denied,
            Self::NotFound { .. } => Kind::NotFound,
            Self::Refused { status: 401 | 403, .. } => Kind::Denied,
            Self::Refused { status: 409, .. } => Kind::Busy,
            Self::Refused { status: 400, .. } => Kind::Usage,
            Self::Refused { .. } | Self::Garbled { .. } => Kind::Unreachable,
            Self::Client(source) => Kind::of_io(source),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Host { .. } => Some("it has the form `unix:///path/of/the/socket`".to_owned()),
            Self::Missing { .. } | Self::Deaf { .. } => {
                Some("does it run? `DOCKER_HOST=unix:///...` names another socket".to_owned())
            }
            Self::Denied { .. } => Some("only root and the group of the socket may use it".to_owned()),
            _ => None,
        }
    }
}
