//! The error of a request to an SFTP server.

use std::io;

use openssh_sftp_client::error::SftpErrorKind;
use tokio::task::JoinError;

use crate::store::StoreErrorKind;

/// The error of a request. The store adds the operation and the object.
#[derive(Debug)]
pub(super) enum SftpError {
    /// The server returned an error status; the connection remains usable.
    Status(SftpStatus, String),
    /// The connection or the server failed.
    Store(StoreErrorKind, String),
    /// A file is shorter than expected.
    Truncated,
    /// An operation on this machine failed.
    Local {
        what: &'static str,
        key: String,
        source: io::Error,
    },
}

impl SftpError {
    /// Returns a copy of the error for another waiting request.
    pub(super) fn duplicate(&self) -> Self {
        match self {
            Self::Status(status, detail) => Self::Status(*status, detail.clone()),
            Self::Store(error_kind, detail) => Self::Store(*error_kind, detail.clone()),
            Self::Truncated => Self::Truncated,
            Self::Local { what, key, source } => Self::Local {
                what,
                key: key.clone(),
                source: io::Error::new(source.kind(), source.to_string()),
            },
        }
    }

    pub(super) fn panicked(e: JoinError) -> Self {
        Self::Local {
            what: "complete a request to",
            key: "the server".to_owned(),
            source: io::Error::other(e),
        }
    }
}

/// The status of a failed request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SftpStatus {
    /// The file or a parent directory does not exist.
    NoSuchFile,
    Denied,
    /// Any other cause, for example an existing name or a full disk.
    Failure,
    /// The server does not support the request.
    Unsupported,
}

impl SftpStatus {
    pub(super) const fn of(kind: SftpErrorKind) -> Self {
        match kind {
            SftpErrorKind::NoSuchFile => Self::NoSuchFile,
            SftpErrorKind::PermDenied => Self::Denied,
            SftpErrorKind::BadMessage | SftpErrorKind::OpUnsupported => Self::Unsupported,
            _ => Self::Failure,
        }
    }

    /// Returns the kind of the error.
    pub(super) const fn error_kind(self) -> StoreErrorKind {
        match self {
            Self::NoSuchFile => StoreErrorKind::NoPlace,
            Self::Denied => StoreErrorKind::Denied,
            Self::Failure | Self::Unsupported => StoreErrorKind::Refused,
        }
    }
}
