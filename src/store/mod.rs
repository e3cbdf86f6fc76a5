//! Bytes by key: where packs, index segments, refs and the marker live.
//!
//! The trait is the seam to every store; `local` is a directory of this machine. All that a writing call promised
//! is durable when it returns.

pub mod access;
mod answers;
pub mod faulty;
pub mod guard;
mod http;
pub mod local;
pub mod location;
pub mod memory;
pub mod meter;
pub mod oci;
pub mod once;
pub mod open;
pub mod probe;
pub mod remote;
pub mod retry;
mod runtime;
pub mod sftp;
pub mod trace;
mod transport;

use std::io;
use std::path::Path;

use crate::error::{Failure, Kind};

/// One name directly below a folder of keys.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Listed {
    /// The last piece of the key.
    pub name: String,
    /// Whether more keys lie below it.
    pub is_dir: bool,
    /// Length in bytes; 0 for a folder.
    pub len: u64,
}

/// What a store can do, known before it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Abilities {
    /// Whether `create` is decided by the store itself; if not, it is guarded by an intent lock.
    pub exclusive: bool,
    /// Requests that are worth having under way at the same time.
    pub in_flight: usize,
    /// No object may be longer, in bytes.
    pub object_max: u64,
}

impl Abilities {
    /// A directory of this machine.
    pub const LOCAL: Self = Self { exclusive: true, in_flight: 4, object_max: u64::MAX };
}

/// Takes the next bytes of an object.
pub type Take<'a> = dyn FnMut(&[u8]) -> Result<(), StoreError> + 'a;

/// Immutable objects by key (`packs/ab/...`), pieces joined by `/`.
pub trait Store: Send + Sync {
    /// What it can do.
    fn abilities(&self) -> Abilities;
    /// Where it is, for people: a path or a URL without secrets.
    fn place(&self) -> String;
    /// A whole small object, or `None` if it is not there. A remote store reads at most [`SMALL_MAX`] bytes.
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError>;
    /// Exactly `len` bytes from `offset`; an object that is missing or shorter is an error.
    fn read_at(&self, key: &str, offset: u64, len: usize) -> Result<Vec<u8>, StoreError>;
    /// All bytes from `offset` on, in pieces of any length. An error of `take` ends it and comes back.
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
    /// Length in bytes, or `None` if it is not there.
    fn len(&self, key: &str) -> Result<Option<u64>, StoreError>;
    /// Stores a small object unless the key is taken. True: it was free, and the object is durable. After an error
    /// that [`StoreError::is_unsure`] tells, it may be there or not.
    fn create(&self, key: &str, bytes: &[u8]) -> Result<bool, StoreError>;
    /// Stores a copy of a local file, durably and never seen in part. A key names its content, so one that is taken
    /// is as good.
    fn put(&self, file: &Path, key: &str) -> Result<(), StoreError>;
    /// What lies directly below `dir`, sorted by name; nothing if it does not exist.
    fn list(&self, dir: &str) -> Result<Vec<Listed>, StoreError>;
    /// The keys of all objects below `dir`, sorted.
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
    /// Removes an object; one that is not there is fine.
    fn delete(&self, key: &str) -> Result<(), StoreError>;
}

/// No small object (a ref entry, the marker, a lock) is longer, in bytes. A longer answer is not read to its end.
pub const SMALL_MAX: u64 = 4 << 20;
/// No listing has more entries: a server that never ends one must not fill the memory.
pub(crate) const ENTRIES_MAX: usize = 8 << 20;
/// Bytes that [`Store::read_from`] reads at once where a store has no stream of its own.
const READ_PIECE: u64 = 1 << 20;

/// 32 hex digits that nobody has had before.
pub fn random_hex() -> Result<String, StoreError> {
    Ok(crate::model::id::to_hex(&random_bytes()?))
}

/// 16 random bytes.
pub fn random_bytes() -> Result<[u8; 16], StoreError> {
    use std::io::Read;
    let mut bytes = [0u8; 16];
    let read = std::fs::File::open("/dev/urandom").and_then(|mut f| f.read_exact(&mut bytes));
    read.map_err(|source| StoreError::Io { what: "read", key: "/dev/urandom".to_owned(), source })?;
    Ok(bytes)
}

/// What is wrong with a store that is not on this machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The network is forbidden by `--offline`.
    Offline,
    /// Its host name is not known.
    UnknownHost,
    /// Nobody answers, or the connection broke.
    Unreachable,
    /// No answer in time.
    TimedOut,
    /// The certificate or the host key is not to be trusted.
    Untrusted,
    /// The store wants credentials and none were found.
    NoCredentials,
    /// The credentials were good once.
    Expired,
    /// Wrong credentials, or not allowed.
    Denied,
    /// Requests are signed with a time that the store does not accept.
    ClockSkew,
    /// The bucket, container, share or directory does not exist.
    NoPlace,
    /// The bucket is in another region than the one that was asked.
    WrongRegion,
    /// The answer points to another server, to which credentials must not go.
    Redirected,
    /// The object lies in an archive tier and cannot be read as it is.
    Archived,
    /// The store wants to know who pays for the request.
    Billing,
    /// Another client holds a lock on the file.
    Locked,
    /// No space or quota there.
    Full,
    /// The store takes no object of this length.
    TooLarge,
    /// Too many requests.
    Overloaded,
    /// The server has ssh but no sftp.
    NoSftp,
    /// A web page came instead of the store's answer.
    WebPage,
    /// Any other refusal.
    Refused,
    /// An answer that makes no sense.
    Nonsense,
}

impl Trouble {
    /// Whether the same request may succeed a little later.
    pub const fn passes(self) -> bool {
        matches!(self, Self::Unreachable | Self::TimedOut | Self::Overloaded | Self::Locked)
    }

    /// What is wrong, for people.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Offline => "the network is not to be used (`--offline`)",
            Self::UnknownHost => "its host name is not known",
            Self::Unreachable => "it cannot be reached",
            Self::TimedOut => "it did not answer in time",
            Self::Untrusted => "it could not prove who it is",
            Self::NoCredentials => "it wants credentials, and none were found",
            Self::Expired => "the credentials have expired",
            Self::Denied => "access is denied",
            Self::ClockSkew => "the clocks of this machine and of the store differ too much",
            Self::NoPlace => "there is no such place",
            Self::WrongRegion => "the bucket is in another region",
            Self::Redirected => "it redirects to another server",
            Self::Archived => "the object is archived",
            Self::Billing => "it bills requests to the caller's project",
            Self::Locked => "another client has locked it",
            Self::Full => "there is no space left",
            Self::TooLarge => "it takes no object of this size",
            Self::Overloaded => "it is overloaded",
            Self::NoSftp => "it offers no sftp",
            Self::WebPage => "a web page answered instead of the store",
            Self::Refused => "it refused",
            Self::Nonsense => "its answer makes no sense",
        }
    }

    const fn kind(self) -> Kind {
        match self {
            Self::Offline | Self::UnknownHost | Self::Unreachable | Self::TimedOut | Self::Overloaded => {
                Kind::Unreachable
            }
            Self::Untrusted | Self::ClockSkew | Self::Redirected | Self::WebPage | Self::NoSftp => Kind::Unreachable,
            Self::Archived | Self::Billing | Self::Locked | Self::Refused | Self::Nonsense => Kind::Unreachable,
            Self::Denied | Self::NoCredentials | Self::Expired => Kind::Denied,
            Self::WrongRegion => Kind::Usage,
            Self::NoPlace => Kind::NotFound,
            Self::Full | Self::TooLarge => Kind::NoSpace,
        }
    }

    const fn hint(self) -> &'static str {
        match self {
            Self::Offline => "leave `--offline` out, or fetch what is needed while there is a network",
            Self::UnknownHost => "check the URL (`dvc remote list`) and the name service",
            Self::Unreachable | Self::TimedOut => "check that the server runs and the network; run the command again",
            Self::Overloaded => "run the command again later",
            Self::Untrusted => "check the certificate and the clock, or the host key in `~/.ssh/known_hosts`",
            Self::NoCredentials => "set the credentials; dvc-remotes(7) lists the variables and files of each store",
            Self::Expired => "get new credentials and run the command again; what arrived is kept",
            Self::Denied => "check the credentials; dvc-remotes(7) says where each store takes them from",
            Self::ClockSkew => "set the clock of this machine (`timedatectl`), then run the command again",
            Self::NoPlace => "create it first, or check the URL (`dvc remote list`)",
            Self::WrongRegion => "put the region into the URL: `?region=NAME` (`dvc remote set`)",
            Self::Redirected => "use the URL that it points to (`dvc remote set`), if you trust that server",
            Self::Archived => {
                "restore the object from its archive tier first, and keep the repository in a tier that can be read"
            }
            Self::Billing => "copy the data to a bucket whose owner pays for requests",
            Self::Locked => "end the other client or wait until its lock expires, then run the command again",
            Self::Full => "free some space there and run the command again; what was stored before is safe",
            Self::TooLarge => "raise the server's limit on the size of a request (of a proxy in front of it, too)",
            Self::NoSftp => "enable the sftp subsystem in the server's `sshd_config`, and allow it for this account",
            Self::WebPage => "check the URL; a proxy or a login page may stand in between",
            Self::Refused => "look at the reason above; `dvc remote check` tries reading, writing and removing",
            Self::Nonsense => "check the URL and what stands between here and the store; `dvc remote check` tries it",
        }
    }
}

/// What a server or a program said, for the chain of causes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Said(pub String);

/// A store could not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The object is not there, or shorter than it must be.
    #[error("`{key}` is missing or cut short in the repository")]
    Missing {
        /// The object.
        key: String,
    },
    /// The system said no.
    #[error("cannot {what} `{key}`")]
    Io {
        /// What was tried.
        what: &'static str,
        /// The object.
        key: String,
        /// What the system said.
        source: io::Error,
    },
    /// A store elsewhere said no, or nothing.
    #[error("cannot {what}{} {place}: {}", if key.is_empty() { String::new() } else { format!(" `{key}` at") }, trouble.words())]
    Away {
        /// What was tried.
        what: &'static str,
        /// The object.
        key: String,
        /// The store's URL, without secrets.
        place: String,
        /// What is wrong.
        trouble: Trouble,
        /// What it said.
        #[source]
        said: Said,
    },
    /// A repository that is not trusted names the store.
    #[error("cannot use {place}, which is a remote of a repository that is not trusted")]
    Distrusted {
        /// The store's URL, without secrets.
        place: String,
        /// The reason.
        source: access::Distrusted,
    },
    /// The caller stopped it.
    #[error("stopped")]
    Cancelled,
}

impl StoreError {
    /// Whether a change may have been made although this was the answer.
    pub const fn is_unsure(&self) -> bool {
        match self {
            Self::Away { trouble, .. } => trouble.passes() || matches!(trouble, Trouble::Nonsense | Trouble::WebPage),
            Self::Cancelled => true,
            Self::Missing { .. } | Self::Io { .. } | Self::Distrusted { .. } => false,
        }
    }

    /// Whether the same request may succeed a little later.
    pub const fn passes(&self) -> bool {
        matches!(self, Self::Away { trouble, .. } if trouble.passes())
    }
}

impl Failure for StoreError {
    fn kind(&self) -> Kind {
        match self {
            Self::Missing { .. } => Kind::Integrity,
            Self::Io { source, .. } => Kind::of_io(source),
            Self::Away { trouble, .. } => trouble.kind(),
            Self::Distrusted { .. } => Kind::Denied,
            Self::Cancelled => Kind::Cancelled,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Missing { .. } => Some("`dvc fsck` names what is damaged and which versions it reaches".to_owned()),
            Self::Io { source, .. } if source.kind() == io::ErrorKind::FileTooLarge => {
                Some("raise the limit of file sizes (`ulimit -f`); what was committed before is safe".to_owned())
            }
            Self::Io { source, .. } if Kind::of_io(source) == Kind::NoSpace => {
                Some("free some space and run the command again; what was committed before is safe".to_owned())
            }
            Self::Away { trouble, .. } => Some(trouble.hint().to_owned()),
            Self::Distrusted { source, .. } => Some(source.hint.clone()),
            Self::Io { .. } | Self::Cancelled => None,
        }
    }
}
