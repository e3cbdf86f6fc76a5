//! A directory behind ssh as a store, by sftp through the system's `ssh`.
//!
//! Objects appear whole or not at all, and a name that must be free is taken by a hard link; only a server without hard
//! links makes us write under the final name. Nothing is retried here: a broken connection is dropped and told.

mod connection;
mod directory;
mod listing;
mod pool;
mod ssh;
#[cfg(test)]
mod tests;
mod transfer;

use std::fs::File;
use std::future::Future;
use std::io;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinError;

use self::connection::Answer;
use self::directory::Directory;
use self::pool::Pool;
use self::ssh::Ssh;
use self::transfer::Source;
use super::access::Access;
use super::location::Location;
use super::meter::Meter;
use super::runtime::Effect;
use super::{Abilities, Listed, Said, Store, StoreError, Take, Trouble, runtime};
use crate::observe::Observer;

/// Pieces of a stream that wait for whoever takes them.
const AHEAD: usize = 4;

/// Why a request failed, before it is said for which object.
#[derive(Debug)]
enum Wrong {
    /// The server says no; the connection goes on.
    Answer(Answer, String),
    /// The store is in trouble.
    Trouble(Trouble, String),
    /// A file ends before it should.
    Short,
    /// Something on this machine.
    Here { what: &'static str, key: String, source: io::Error },
}

impl Wrong {
    /// The same once more, for somebody else who waits.
    fn again(&self) -> Self {
        match self {
            Self::Answer(answer, said) => Self::Answer(*answer, said.clone()),
            Self::Trouble(trouble, said) => Self::Trouble(*trouble, said.clone()),
            Self::Short => Self::Short,
            Self::Here { what, key, source } => {
                Self::Here { what, key: key.clone(), source: io::Error::new(source.kind(), source.to_string()) }
            }
        }
    }

    fn panicked(e: JoinError) -> Self {
        Self::Here { what: "talk to", key: "the server".to_owned(), source: io::Error::other(e) }
    }
}

/// A directory behind ssh.
pub struct SftpStore {
    directory: Arc<Directory>,
    place: String,
    meter: Arc<Meter>,
    observer: Arc<dyn Observer>,
}

impl SftpStore {
    /// The store at a location; nobody is called yet.
    pub fn open(location: &Location, access: &Access) -> Result<Self, StoreError> {
        let place = location.to_string();
        let ssh = Ssh::to(location).map_err(|said| StoreError::Away {
            what: "open",
            key: location.path.clone(),
            place: place.clone(),
            trouble: Trouble::UnknownHost,
            said: Said(said),
        })?;
        let root = match location.path.strip_prefix('~') {
            Some(below) => below.trim_matches('/').to_owned(),
            None if location.path.trim_matches('/').is_empty() => "/".to_owned(),
            None => location.path.trim_end_matches('/').to_owned(),
        };
        let meter = Arc::clone(&access.meter);
        let directory = Arc::new(Directory::new(Pool::new(ssh), root, Arc::clone(&meter)));
        Ok(Self { directory, place, meter, observer: Arc::clone(&access.observer) })
    }

    fn failed(&self, what: &'static str, key: &str, wrong: Wrong) -> StoreError {
        let (trouble, said) = match wrong {
            Wrong::Answer(answer, said) => (answer.trouble(), said),
            Wrong::Trouble(trouble, said) => (trouble, said),
            Wrong::Short => return StoreError::Missing { key: key.to_owned() },
            Wrong::Here { what, key, source } => return StoreError::Io { what, key, source },
        };
        StoreError::Away { what, key: key.to_owned(), place: self.place.clone(), trouble, said: Said(said) }
    }

    /// Waits for one operation.
    fn wait<T, F>(
        &self,
        what: &'static str,
        key: &str,
        operation: impl FnOnce(Arc<Directory>, String) -> F,
    ) -> Result<Result<T, Wrong>, StoreError>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Wrong>> + Send + 'static,
    {
        self.meter.request();
        let operation = operation(Arc::clone(&self.directory), key.to_owned());
        let effect = if matches!(what, "write" | "remove") { Effect::Change } else { Effect::Read };
        runtime::run(&*self.observer, effect, operation).map_err(|ended| ended.of(what, key))
    }

    /// What an object that is not there means to a reader that must have it.
    fn must_have(&self, what: &'static str, key: &str, wrong: Wrong) -> StoreError {
        match wrong {
            Wrong::Answer(Answer::NoSuchFile, _) => StoreError::Missing { key: key.to_owned() },
            wrong => self.failed(what, key, wrong),
        }
    }

    /// `None` for an object that is not there.
    fn may_have<T>(&self, what: &'static str, key: &str, read: Result<T, Wrong>) -> Result<Option<T>, StoreError> {
        match read {
            Ok(read) => Ok(Some(read)),
            Err(Wrong::Answer(Answer::NoSuchFile, _)) => Ok(None),
            Err(wrong) => Err(self.failed(what, key, wrong)),
        }
    }
}

impl Store for SftpStore {
    fn abilities(&self) -> Abilities {
        Abilities { exclusive: true, in_flight: pool::MOST, object_max: u64::MAX }
    }

    fn place(&self) -> String {
        self.place.clone()
    }

    fn get(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let read = self.wait("read", key, |directory, key| async move { directory.get(&key).await })?;
        self.may_have("read", key, read)
    }

    fn read_at(&self, key: &str, offset: u64, len: usize) -> Result<Vec<u8>, StoreError> {
        let read =
            self.wait("read", key, move |directory, key| async move { directory.range(&key, offset, len).await })?;
        read.map_err(|wrong| self.must_have("read", key, wrong))
    }

    fn read_from(&self, key: &str, offset: u64, take: &mut Take<'_>) -> Result<(), StoreError> {
        self.meter.request();
        let (to, mut from) = mpsc::channel(AHEAD);
        let (directory, of) = (Arc::clone(&self.directory), key.to_owned());
        let io = |source| StoreError::Io { what: "read", key: key.to_owned(), source };
        let reader = runtime::start(async move { directory.stream(&of, offset, to).await }).map_err(io)?;
        while let Some(piece) = runtime::next(&*self.observer, &mut from).map_err(|ended| ended.of("read", key))? {
            take(&piece.map_err(|wrong| self.must_have("read", key, wrong))?)?;
        }
        // The channel also ends if the reader did not live to say how it ended.
        let read = runtime::run(&*self.observer, Effect::Read, reader).map_err(|ended| ended.of("read", key))?;
        read.map_err(|e| io(io::Error::other(e)))
    }

    fn len(&self, key: &str) -> Result<Option<u64>, StoreError> {
        let len = self.wait("look at", key, |directory, key| async move { directory.len(&key).await })?;
        self.may_have("look at", key, len)
    }

    fn create(&self, key: &str, bytes: &[u8]) -> Result<bool, StoreError> {
        let source = Source::Bytes(Bytes::copy_from_slice(bytes));
        let created =
            self.wait("write", key, move |directory, key| async move { directory.create(source, &key).await })?;
        created.map_err(|wrong| self.failed("write", key, wrong))
    }

    fn put(&self, file: &Path, key: &str) -> Result<(), StoreError> {
        let open = || -> io::Result<Source> {
            let file = File::open(file)?;
            let len = file.metadata()?.len();
            Ok(Source::File(file, len))
        };
        let here = |source| StoreError::Io { what: "read", key: file.display().to_string(), source };
        let source = open().map_err(here)?;
        let put = self.wait("write", key, move |directory, key| async move { directory.put(source, &key).await })?;
        put.map_err(|wrong| self.failed("write", key, wrong))
    }

    fn list(&self, dir: &str) -> Result<Vec<Listed>, StoreError> {
        let listed = self.wait("list", dir, |directory, dir| async move { directory.list(&dir).await })?;
        let mut listed = listed.map_err(|wrong| self.failed("list", dir, wrong))?;
        listed.sort();
        Ok(listed)
    }

    fn list_all(&self, dir: &str) -> Result<Vec<String>, StoreError> {
        let keys = self.wait("list", dir, |directory, dir| async move { directory.list_all(&dir).await })?;
        let mut keys = keys.map_err(|wrong| self.failed("list", dir, wrong))?;
        keys.sort_unstable();
        Ok(keys)
    }

    fn delete(&self, key: &str) -> Result<(), StoreError> {
        let deleted = self.wait("remove", key, |directory, key| async move { directory.delete(&key).await })?;
        deleted.map_err(|wrong| self.failed("remove", key, wrong))
    }
}
