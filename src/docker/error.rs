//! Errors of requests to a Docker engine.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::error::{Failure, Kind};

/// The error for an engine that cannot be reached, or that rejects a request.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The address is not that of a local socket.
    #[error("unsupported Docker address `{host}`: not a Unix socket")]
    Host { host: String },
    #[error("this build of dvc does not support Docker (feature `docker`)")]
    NotBuilt,
    /// The socket does not exist.
    #[error("no Docker engine at `{}`", socket.display())]
    Missing { socket: PathBuf },
    /// The socket exists, but no process accepts connections.
    #[error("no Docker engine is listening on `{}`", socket.display())]
    NotListening { socket: PathBuf },
    /// No permission to connect to the socket.
    #[error("cannot connect to the Docker engine at `{}`: permission denied", socket.display())]
    Denied { socket: PathBuf },
    /// No response within the time limit.
    #[error("cannot {what}: no response from the Docker engine within {} s", limit.as_secs_f64())]
    TimedOut {
        /// The request as a phrase, such as "list volumes".
        what: String,
        limit: Duration,
    },
    /// The caller cancelled the request.
    #[error("cannot {what}: the request was cancelled")]
    Cancelled { what: String },
    /// The connection failed during the request.
    #[error("cannot {what}: the connection to the Docker engine failed")]
    ConnectionLost { what: String, source: io::Error },
    /// The container, volume or other object of the request does not exist.
    #[error("cannot {what}: {message}")]
    NotFound {
        what: String,
        /// The message of the engine.
        message: String,
    },
    /// The engine rejects the request.
    #[error("cannot {what}: the Docker engine returned status {status}: {message}")]
    Refused {
        what: String,
        /// The HTTP status.
        status: u16,
        /// The message of the engine.
        message: String,
    },
    /// The response cannot be parsed, or is too long.
    #[error("cannot {what}: invalid response from the Docker engine")]
    InvalidResponse { what: String, source: io::Error },
    /// The process cannot create more threads or descriptors.
    #[error("cannot create a client for the Docker engine")]
    Client(#[source] io::Error),
}

impl Failure for EngineError {
    fn kind(&self) -> Kind {
        match self {
            Self::Host { .. } | Self::NotBuilt => Kind::Usage,
            Self::Missing { .. }
            | Self::NotListening { .. }
            | Self::TimedOut { .. }
            | Self::ConnectionLost { .. } => Kind::Unreachable,
            Self::Cancelled { .. } => Kind::Cancelled,
            Self::Denied { .. } => Kind::Denied,
            Self::NotFound { .. } => Kind::NotFound,
            Self::Refused {
                status: 401 | 403, ..
            } => Kind::Denied,
            Self::Refused { status: 409, .. } => Kind::Busy,
            Self::Refused { status: 400, .. } => Kind::Usage,
            Self::Refused { .. } | Self::InvalidResponse { .. } => Kind::Unreachable,
            Self::Client(source) => Kind::of_io(source),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Host { .. } => Some("use the form `unix:///path/of/the/socket`".to_owned()),
            Self::Missing { .. } | Self::NotListening { .. } => Some(
                "start the Docker engine, or set `DOCKER_HOST` to another socket: `unix:///...`"
                    .to_owned(),
            ),
            Self::Denied { .. } => {
                Some("run dvc as root or as a member of the socket's group".to_owned())
            }
            _ => None,
        }
    }
}
