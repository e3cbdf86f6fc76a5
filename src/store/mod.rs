//! Object stores: bytes by key. Packs, index segments, refs and the marker are stored here.
//!
//! The trait [`Store`] is the interface to all stores; `local` is a directory of this machine. When
//! a method that writes returns, its effect is durable.

pub mod access;
#[cfg(feature = "remotes")]
mod answers;
pub mod download;
pub mod faulty;
pub mod guard;
#[cfg(feature = "remotes")]
mod http;
pub mod local;
pub mod location;
pub mod memory;
pub mod meter;
#[cfg(feature = "remotes")]
pub mod oci;
pub mod open;
mod pause;
pub mod probe;
#[cfg(feature = "remotes")]
pub mod remote;
pub mod retry;
#[cfg(feature = "remotes")]
mod runtime;
#[cfg(feature = "remotes")]
pub mod sftp;
pub mod trace;
#[cfg(feature = "remotes")]
mod transport;

use std::path::Path;

use crate::error::{Failure, Kind};
use crate::sys::io_error::IoError;
use crate::work::{Cancelled, Panicked};

/// A name directly below a directory of keys.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListedKey {
    /// The last component of the key.
    pub name: String,
    /// Whether the name is a prefix of further keys.
    pub is_dir: bool,
    /// Length in bytes; 0 for a directory.
    pub len: u64,
}

/// Properties of a store that are known without a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Abilities {
    /// Whether the store supports conditional writes, so that `create` has exactly one winner. If
    /// not, an intent lock protects `create`.
    pub exclusive: bool,
    /// Useful number of concurrent requests.
    pub in_flight: usize,
    /// Limit on the length of an object in bytes.
    pub object_max: u64,
}

impl Abilities {
    /// A directory of this machine.
    pub const LOCAL: Self = Self { exclusive: true, in_flight: 4, object_max: u64::MAX };
}

/// Receives the next bytes of an object.
pub type Take<'a> = dyn FnMut(&[u8]) -> Result<(), StoreError> + 'a;

/// Immutable objects by key, for example `packs/ab/...`. Keys are components joined by `/`.
pub trait Store: Send + Sync {
    /// Returns the properties of the store.
    fn abilities(&self) -> Abilities;
    /// Returns the location for messages: a path, or a URL without secrets.
    fn place(&self) -> String;
    /// Returns a small object, or `None` if it does not exist. A remote store reads at most
    /// [`SMALL_MAX`] bytes.
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError>;
    /// Returns exactly `len` bytes from `offset`. An object that is missing or shorter is an error.
    fn read_at(&self, key: &str, offset: u64, len: usize) -> Result<Vec<u8>, StoreError>;
    /// Reads all bytes from `offset` on, in pieces of any length. An error of `take` stops the read
    /// and is returned.
    fn read_from(&self, key: &str, offset: u64, take: &mut Take<'_>) -> Result<(), StoreError> {
        let missing = || StoreError::Missing { key: key.to_owned() };
        let (mut at, end) = (offset, self.len(key)?.ok_or_else(missing)?);
        while at < end {
            let len = usize::try_from((end - at).min(READ_PIECE)).unwrap_or(usize::MAX);
            take(&self.read_at(key, at, len)?)?;
            at += len as u64;
        }
        Ok(())
    }
    /// Returns the length of an object in bytes, or `None` if it does not exist.
    fn len(&self, key: &str) -> Result<Option<u64>, StoreError>;
    /// Stores a small object durably unless the key exists. Returns whether the key was free. After
    /// an error for which [`StoreError::is_unsure`] is true, the object may exist or not.
    fn create(&self, key: &str, bytes: &[u8]) -> Result<bool, StoreError>;
    /// Stores a copy of a local file durably and atomically. A key identifies its content, so an
    /// existing object is left as it is.
    fn put(&self, file: &Path, key: &str) -> Result<(), StoreError>;
    /// Returns the names directly below `dir`, sorted. Returns no names if `dir` does not exist.
    fn list(&self, dir: &str) -> Result<Vec<ListedKey>, StoreError>;
    /// Returns the keys of all objects below `dir`, sorted.
    fn list_all(&self, dir: &str) -> Result<Vec<String>, StoreError> {
        let mut keys = Vec::new();
        for listed in self.list(dir)? {
            let key = format!("{dir}/{}", listed.name);
            match listed.is_dir {
                true => keys.extend(self.list_all(&key)?),
                false => keys.push(key),
            }
        }
        keys.sort_unstable();
        Ok(keys)
    }
    /// Removes an object. A missing object is not an error.
    fn delete(&self, key: &str) -> Result<(), StoreError>;
}

/// Limit on small objects (ref entries, the marker, locks) in bytes. Reading stops at this limit.
pub const SMALL_MAX: u64 = 4 << 20;
/// Limit on the entries of a listing, because a server that never ends a listing must not fill the
/// memory.
#[cfg(feature = "remotes")]
pub(crate) const ENTRIES_MAX: usize = 8 << 20;
/// Length of the reads of [`Store::read_from`] in a store without streams.
const READ_PIECE: u64 = 1 << 20;

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
    /// The bucket is in another region than the one of the request.
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
    /// Whether the same request may succeed a little later.
    pub const fn is_transient(self) -> bool {
        matches!(self, Self::Unreachable | Self::TimedOut | Self::Overloaded | Self::Locked)
    }

    /// Returns the message.
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
            Self::WebPage => "received a web page instead of a response of the store",
            Self::Refused => "request rejected",
            Self::InvalidResponse => "invalid response",
        }
    }

    const fn kind(self) -> Kind {
        match self {
            Self::Offline | Self::UnknownHost | Self::Unreachable | Self::TimedOut | Self::Overloaded => {
                Kind::Unreachable
            }
            Self::Untrusted | Self::ClockSkew | Self::Redirected | Self::WebPage | Self::NoSftp => Kind::Unreachable,
            Self::Archived | Self::Billing | Self::Locked | Self::Refused | Self::InvalidResponse => Kind::Unreachable,
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
            Self::Untrusted => "check the certificate and the clock, or the host key in `~/.ssh/known_hosts`",
            Self::NoCredentials => "set the credentials; dvc-remotes(7) lists the variables and files of each store",
            Self::Expired => "get new credentials and run the command again; data that was already transferred is kept",
            Self::Denied => "check the credentials; dvc-remotes(7) says where each store takes them from",
            Self::ClockSkew => "set the clock of this machine (`timedatectl`), then run the command again",
            Self::NoPlace => "create it first, or check the URL (`dvc remote list`)",
            Self::WrongRegion => "add the region to the URL: `?region=NAME` (`dvc remote set`)",
            Self::Redirected => "use the URL of the other server (`dvc remote set`) if you trust it",
            Self::Archived => {
                "restore the object from its archive tier, and keep the repository in a tier with immediate access"
            }
            Self::Billing => "copy the data to a bucket whose owner pays for requests",
            Self::Locked => "stop the other client, or wait until its lock expires, then run the command again",
            Self::Full => "free some space there and run the command again; data that was stored before is safe",
            Self::TooLarge => "raise the request size limit of the server and of its proxies",
            Self::NoSftp => "enable the sftp subsystem in the server's `sshd_config`, and allow it for this account",
            Self::WebPage => "check the URL; a proxy or a login page may intercept requests",
            Self::Refused => "read the reason above, or run `dvc remote check` to test reading, writing and removing",
            Self::InvalidResponse => "check the URL and the proxies, or run `dvc remote check`",
        }
    }
}

/// The message of a server or program, for the chain of causes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ServerMessage(pub String);

/// The error of a store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("this build of dvc cannot use `{place}` (feature `remotes`)")]
    NotBuilt { place: String },
    /// The object does not exist, or is too short.
    #[error("`{key}` is missing or truncated in the repository")]
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
    #[error("cannot use {place}: the repository that configures this remote is not trusted")]
    Distrusted {
        /// URL of the store without secrets.
        place: String,
        source: access::DistrustedRemote,
    },
    /// The caller cancelled the operation.
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
    /// A thread that sent requests panicked.
    #[error(transparent)]
    Panicked(#[from] Panicked),
}

impl StoreError {
    /// Whether the change may have been made despite this error.
    pub const fn is_unsure(&self) -> bool {
        match self {
            Self::Remote { error_kind, .. } => {
                error_kind.is_transient()
                    || matches!(error_kind, StoreErrorKind::InvalidResponse | StoreErrorKind::WebPage)
            }
            Self::Cancelled(_) | Self::Panicked(_) => true,
            Self::Missing { .. } | Self::Io(_) | Self::Distrusted { .. } | Self::NotBuilt { .. } => false,
        }
    }

    /// Whether the same request may succeed a little later.
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
            Self::Missing { .. } => Some("run `dvc fsck` to list the damage and the affected versions".to_owned()),
            Self::Io(e) => e.hint(),
            Self::Remote { error_kind, .. } => Some(error_kind.hint().to_owned()),
            Self::Distrusted { source, .. } => Some(source.hint.clone()),
            Self::NotBuilt { .. } => Some("install dvc with its default features".to_owned()),
            Self::Cancelled(e) => e.hint(),
            Self::Panicked(_) => None,
        }
    }
}
