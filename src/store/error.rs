//! The errors of all stores, with their kinds and hints.

use crate::error::{Failure, Kind};
use crate::sys::io_error::IoError;
use crate::work::{Cancelled, Panicked};

/// The kind of an error of a remote store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreErrorKind {
    /// `--offline` forbids network access.
    Offline,
    UnknownHost,
    /// The connection cannot be established or was lost.
    Unreachable,
    TimedOut,
    /// The certificate or the host key is not trusted.
    Untrusted,
    /// The store requires credentials and none were found.
    NoCredentials,
    /// The credentials were valid in the past.
    Expired,
    /// Wrong credentials, or no permission.
    Denied,
    /// The store does not accept the time with which requests are signed.
    ClockSkew,
    /// The bucket, container, share or directory does not exist.
    NoPlace,
    /// The bucket is in a different region from that of the request.
    WrongRegion,
    /// The response redirects to another server, which must not get the credentials.
    Redirected,
    /// The object is in an archive tier and cannot be read directly.
    Archived,
    /// The store requires a project to bill for the request.
    Billing,
    /// Another client holds a lock on the file.
    Locked,
    /// No space or quota at the store.
    Full,
    /// The store accepts no object of this length.
    TooLarge,
    /// Too many requests.
    Overloaded,
    /// The server supports SSH but not SFTP.
    NoSftp,
    /// A web page arrived instead of a response of the store.
    WebPage,
    /// Any other error response.
    Refused,
    /// A response that cannot be parsed or is too long.
    InvalidResponse,
}

impl StoreErrorKind {
    /// Returns whether the same request may succeed a little later.
    pub const fn is_transient(self) -> bool {
        matches!(
            self,
            Self::Unreachable | Self::TimedOut | Self::Overloaded | Self::Locked
        )
    }

    /// Returns the message for people, which names neither the operation nor the store.
    pub const fn message(self) -> &'static str {
        match self {
            Self::Offline => "network access is disabled (`--offline`)",
            Self::UnknownHost => "unknown host",
            Self::Unreachable => "server unreachable",
            Self::TimedOut => "no response in time",
            Self::Untrusted => "server identity not verified",
            Self::NoCredentials => "credentials required, but none found",
            Self::Expired => "the credentials have expired",
            Self::Denied => "access denied",
            Self::ClockSkew => "the clocks of this machine and of the server differ too much",
            Self::NoPlace => "no such bucket or directory",
            Self::WrongRegion => "the bucket is in another region",
            Self::Redirected => "the server redirects to another server",
            Self::Archived => "the object is archived",
            Self::Billing => "the bucket bills requests to the caller's project",
            Self::Locked => "locked by another client",
            Self::Full => "no space left",
            Self::TooLarge => "object too large for the server",
            Self::Overloaded => "server overloaded",
            Self::NoSftp => "the server does not offer SFTP",
            Self::WebPage => "received a web page instead of a response from the store",
            Self::Refused => "request rejected",
            Self::InvalidResponse => "invalid response",
        }
    }

    const fn kind(self) -> Kind {
        match self {
            Self::Offline
            | Self::UnknownHost
            | Self::Unreachable
            | Self::TimedOut
            | Self::Overloaded => Kind::Unreachable,
            Self::Untrusted | Self::ClockSkew | Self::Redirected | Self::WebPage | Self::NoSftp => {
                Kind::Unreachable
            }
            Self::Archived
            | Self::Billing
            | Self::Locked
            | Self::Refused
            | Self::InvalidResponse => Kind::Unreachable,
            Self::Denied | Self::NoCredentials | Self::Expired => Kind::Denied,
            Self::WrongRegion => Kind::Usage,
            Self::NoPlace => Kind::NotFound,
            Self::Full | Self::TooLarge => Kind::NoSpace,
        }
    }

    const fn hint(self) -> &'static str {
        match self {
            Self::Offline => "omit `--offline`, or fetch the data while the network is available",
            Self::UnknownHost => "check the URL (`dvc remote list`) and the DNS settings",
            Self::Unreachable | Self::TimedOut => {
                "check that the server runs and the network works, then run the command again"
            }
            Self::Overloaded => "run the command again later",
            Self::Untrusted => {
                "check the certificate and the clock, or the host key in `~/.ssh/known_hosts`"
            }
            Self::NoCredentials => {
                "set the credentials; dvc-remotes(7) lists the variables and files of each store"
            }
            Self::Expired => {
                "get new credentials and run the command again; data that was already transferred is kept"
            }
            Self::Denied => {
                "check the credentials; dvc-remotes(7) lists the sources for each store"
            }
            Self::ClockSkew => {
                "set the clock of this machine (`timedatectl`), then run the command again"
            }
            Self::NoPlace => "create it first, or check the URL (`dvc remote list`)",
            Self::WrongRegion => "add the region to the URL: `?region=NAME` (`dvc remote set`)",
            Self::Redirected => {
                "use the URL of the other server (`dvc remote set`) if you trust it"
            }
            Self::Archived => {
                "restore the object from its archive tier, and keep the repository in a tier with immediate access"
            }
            Self::Billing => "copy the data to a bucket whose owner pays for requests",
            Self::Locked => {
                "stop the other client, or wait until its lock expires, then run the command again"
            }
            Self::Full => {
                "free some space there and run the command again; data that was stored before is safe"
            }
            Self::TooLarge => "raise the request size limit of the server and of its proxies",
            Self::NoSftp => {
                "enable the sftp subsystem in the server's `sshd_config`, and allow it for this account"
            }
            Self::WebPage => "check the URL; a proxy or a login page may intercept requests",
            Self::Refused => {
                "read the reason above, or run `dvc remote check` to test reading, writing and removing"
            }
            Self::InvalidResponse => "check the URL and the proxies, or run `dvc remote check`",
        }
    }
}

/// The message of a server or program, for the chain of causes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ServerMessage(pub String);

/// The reason why a location must not be used: it is configured by a repository that the caller
/// does not trust.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct DistrustedRemote {
    /// Reason why the repository is not trusted.
    pub why: String,
    /// Imperative phrase that says what the user can do.
    pub hint: String,
}

/// The error of a store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("this build of dvc does not support remotes such as `{place}` (feature `remotes`)")]
    NotBuilt { place: String },
    /// The object does not exist, or is too short.
    #[error("`{key}` in the repository is missing or truncated")]
    Missing { key: String },
    /// A local store failed.
    #[error(transparent)]
    Io(#[from] IoError),
    /// A remote store failed.
    #[error("cannot {what}{} {place}: {}", if key.is_empty() { String::new() } else { format!(" `{key}` at") }, error_kind.message())]
    Remote {
        /// The operation as a verb, such as "read".
        what: &'static str,
        /// The object; empty if the operation concerns the whole store.
        key: String,
        /// URL of the store without secrets.
        place: String,
        error_kind: StoreErrorKind,
        #[source]
        detail: ServerMessage,
    },
    /// The remote is configured by a repository that is not trusted.
    #[error("cannot access {place}: the repository that configures this remote is not trusted")]
    Distrusted {
        /// URL of the store without secrets.
        place: String,
        source: DistrustedRemote,
    },
    /// The caller cancelled the operation.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
    /// A thread that sent requests panicked.
    #[error(transparent)]
    Panicked(#[from] Panicked),
}

impl StoreError {
    /// Returns the error of a remote store at `place` for an operation on `key`, which is empty if
    /// the operation concerns the whole store.
    pub fn remote(
        what: &'static str,
        key: &str,
        place: impl Into<String>,
        error_kind: StoreErrorKind,
        detail: impl Into<String>,
    ) -> Self {
        let detail = ServerMessage(detail.into());
        Self::Remote {
            what,
            key: key.to_owned(),
            place: place.into(),
            error_kind,
            detail,
        }
    }

    /// Returns whether the change may have been made despite this error.
    pub const fn is_unsure(&self) -> bool {
        match self {
            Self::Remote { error_kind, .. } => {
                // A proxy may replace the response of a server that has executed the request.
                error_kind.is_transient()
                    || matches!(
                        error_kind,
                        StoreErrorKind::InvalidResponse | StoreErrorKind::WebPage
                    )
            }
            // The caller stopped waiting, but the request may already be at the server.
            Self::Cancelled(_) | Self::Panicked(_) => true,
            Self::Missing { .. }
            | Self::Io(_)
            | Self::Distrusted { .. }
            | Self::NotBuilt { .. } => false,
        }
    }

    /// Returns whether the same request may succeed a little later.
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Remote { error_kind, .. } if error_kind.is_transient())
    }
}

impl Failure for StoreError {
    fn kind(&self) -> Kind {
        match self {
            Self::Missing { .. } => Kind::Integrity,
            Self::Io(e) => e.kind(),
            Self::Remote { error_kind, .. } => error_kind.kind(),
            Self::Distrusted { .. } => Kind::Denied,
            Self::NotBuilt { .. } => Kind::Usage,
            Self::Cancelled(e) => e.kind(),
            Self::Panicked(e) => e.kind(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Missing { .. } => {
                Some("run `dvc fsck` to list the damage and the affected versions".to_owned())
            }
            Self::Io(e) => e.hint(),
            Self::Remote { error_kind, .. } => Some(error_kind.hint().to_owned()),
            Self::Distrusted { source, .. } => Some(source.hint.clone()),
            Self::NotBuilt { .. } => Some("install dvc with its default features".to_owned()),
            Self::Cancelled(e) => e.hint(),
            Self::Panicked(_) => None,
        }
    }
}
