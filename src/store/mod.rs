//! Object stores: bytes by key. Packs, index segments, refs and the marker are stored here.
//!
//! The trait [`Store`] is the interface to all stores; `local` is a directory of this machine. When
//! a method that writes returns, its effect is durable.

pub mod access;
#[cfg(feature = "remotes")]
mod answers;
pub mod download;
mod error;
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
mod removal;
pub mod retry;
#[cfg(feature = "remotes")]
mod runtime;
#[cfg(feature = "remotes")]
pub mod sftp;
pub mod trace;
#[cfg(feature = "remotes")]
mod transport;

use std::path::Path;
use std::time::Duration;

pub use removal::Removal;

pub use error::{DistrustedRemote, ServerMessage, StoreError, StoreErrorKind};

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

/// An object in a listing.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ListedObject {
    pub key: String,
    /// Length in bytes, if the listing has it; else 0.
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
    /// The properties of a directory of this machine.
    pub const LOCAL: Self = Self {
        exclusive: true,
        in_flight: 4,
        object_max: u64::MAX,
    };

    /// Returns how long a garbage collection waits between its fences and its second look at the
    /// refs. With an intent lock, a write of another client may become visible late.
    pub const fn settle(&self) -> Duration {
        if self.exclusive {
            Duration::ZERO
        } else {
            LATE_WRITES
        }
    }
}

/// Receives the next bytes of an object.
pub type Take<'a> = dyn FnMut(&[u8]) -> Result<(), StoreError> + 'a;

/// Immutable objects by key, for example `packs/ab/...`. Keys are components joined by `/`.
pub trait Store: Send + Sync {
    /// Returns the properties of the store.
    fn abilities(&self) -> Abilities;
    /// Returns the location for messages: a path, or a URL without secrets.
    fn place(&self) -> String;
    /// Returns a small object, or `None` if it does not exist. In a remote store, an object above
    /// [`SMALL_MAX`] is an error.
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError>;
    /// Returns exactly `len` bytes from `offset`. An object that is missing or shorter is an error.
    fn read_at(&self, key: &str, offset: u64, len: usize) -> Result<Vec<u8>, StoreError>;
    /// Reads all bytes from `offset` on, in pieces of any length. An error of `take` stops the read
    /// and is returned.
    fn read_from(&self, key: &str, offset: u64, take: &mut Take<'_>) -> Result<(), StoreError> {
        let missing = || StoreError::Missing {
            key: key.to_owned(),
        };
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
    /// existing object is replaced or left as it is.
    fn put(&self, file: &Path, key: &str) -> Result<(), StoreError>;
    /// Stores a copy of a local file in place of a damaged object. If the store cannot replace the
    /// object atomically, the object is missing until the file has arrived.
    fn replace(&self, file: &Path, key: &str) -> Result<(), StoreError> {
        self.put(file, key)
    }
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
    /// Returns all objects below `dir` with their lengths, sorted by key.
    fn list_objects(&self, dir: &str) -> Result<Vec<ListedObject>, StoreError> {
        let mut objects = Vec::new();
        for listed in self.list(dir)? {
            let key = format!("{dir}/{}", listed.name);
            if listed.is_dir {
                objects.extend(self.list_objects(&key)?);
            } else {
                objects.push(ListedObject {
                    key,
                    len: listed.len,
                });
            }
        }
        objects.sort_unstable();
        Ok(objects)
    }
    /// Removes objects, many at a time. An object that the store refuses to remove, for example
    /// because of a lock, is not an error.
    fn delete_many(&self, keys: &[String]) -> Result<Removal, StoreError> {
        removal::singly(keys, self.abilities().in_flight, |key| self.delete(key))
    }
    /// Returns how long ago an object was stored, by the clock of the store. `None` if the object
    /// does not exist or the store does not say.
    fn age(&self, _key: &str) -> Result<Option<Duration>, StoreError> {
        Ok(None)
    }
}

/// The time in which a write that an intent lock protects becomes visible: see
/// `docs/decisions/0004-intent-lock-without-clocks.md`.
const LATE_WRITES: Duration = Duration::from_secs(60);
/// Limit in bytes on the small objects (ref entries, the marker, locks) that a remote store reads
/// whole.
pub const SMALL_MAX: u64 = 4 << 20;
/// Limit on the number of entries of a listing, so that a server that never ends a listing cannot
/// fill the memory.
#[cfg(feature = "remotes")]
pub(crate) const ENTRIES_MAX: usize = 8 << 20;
/// Length of the reads of [`Store::read_from`] in a store without streams.
const READ_PIECE: u64 = 1 << 20;
