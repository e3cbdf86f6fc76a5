//! Bytes by key: where packs, index segments, refs and the marker live.
//!
//! The trait is the seam to every store; `local` is a directory of this machine. All that a writing call promised
//! is durable when it returns.

pub mod local;
pub mod once;
pub mod trace;

use std::io;

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

/// Immutable objects by key (`packs/ab/...`), pieces joined by `/`.
pub trait Store: Send + Sync {
    /// A whole small object, or `None` if it is not there.
    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError>;
    /// Exactly `len` bytes from `offset`; an object that is missing or shorter is an error.
    fn read_at(&self, key: &str, offset: u64, len: usize) -> Result<Vec<u8>, StoreError>;
    /// Length in bytes, or `None` if it is not there.
    fn len(&self, key: &str) -> Result<Option<u64>, StoreError>;
    /// Stores an object unless the key is taken. True: it was free, and the object is durable.
    fn create(&self, key: &str, bytes: &[u8]) -> Result<bool, StoreError>;
    /// Moves a finished local file to a key, durably. A key names its content, so one that is taken is as good.
    fn publish(&self, file: tempfile::NamedTempFile, key: &str) -> Result<(), StoreError>;
    /// What lies directly below `dir`, sorted by name; nothing if it does not exist.
    fn list(&self, dir: &str) -> Result<Vec<Listed>, StoreError>;
    /// Removes an object; one that is not there is fine.
    fn delete(&self, key: &str) -> Result<(), StoreError>;
}

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
}

impl Failure for StoreError {
    fn kind(&self) -> Kind {
        match self {
            Self::Missing { .. } => Kind::Integrity,
            Self::Io { source, .. } => Kind::of_io(source),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Missing { .. } => Some("`dvc fsck` names what is damaged and which versions it reaches".to_owned()),
            Self::Io { source, .. } if Kind::of_io(source) == Kind::NoSpace => {
                Some("free some space and run the command again; what was committed before is safe".to_owned())
            }
            Self::Io { .. } => None,
        }
    }
}
